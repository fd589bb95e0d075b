"""Reads config.json into an Architecture. Pure.

A family is settled by `families.FAMILIES`; whatever the config says itself outranks it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelpick.catalog.architecture import encoders, fields, mixers
from modelpick.catalog.architecture.families import COUNTED, FAMILIES, STANDARD, Family
from modelpick.catalog.architecture.fields import Config, checkpoint, flag, missing, needed, whole
from modelpick.catalog.architecture.shape import (
    Architecture,
    Attention,
    Experts,
    FeedForward,
    LayerGroup,
    Projection,
    Role,
)
from modelpick.errors import CannotTellError

_TEXT_TOWERS = ("text_config", "llm_config", "language_config", "thinker_config")
_PARTS = ("attn_config", "ffn_config")  # mpt and dbrx tell of attention and MLP in tables of their own
_SHAPES: dict[str, Architecture] = {}  # what `read` made of a config, by its text
_MOST_SHAPES, _LONGEST_KEY = 4096, 20_000  # entries; characters: a config of a catalog row has some 300
_DEEPEST = 3  # text_config of text_config: thinker_config.text_config is the deepest published


def read(config: Config | None) -> Architecture:
    """The architecture of a model from its config.json.

    Raises CannotTellError: code `unknown_architecture` when the model_type is not known or a fact is missing (the
    message names it), code `bad_config` when a value cannot be what it says.
    """
    if not config:
        raise missing("?", "there is no config.json")
    # A third of the catalog's rows repeat another's config. The text tells values of all types apart (1, 1.0
    # and true differ), and an Architecture cannot be changed, so one may be handed out twice.
    key = repr(config)
    shape = _SHAPES.get(key)
    if shape is None:
        shape = _read_known(config)
        if len(key) <= _LONGEST_KEY:
            if len(_SHAPES) >= _MOST_SHAPES:
                _SHAPES.clear()
            _SHAPES[key] = shape
    return shape


def _read_known(config: Config) -> Architecture:
    text, towers = _text(config)
    kind = fields.model_type(text)
    family = FAMILIES.get(kind)
    if family is None:
        raise missing(kind, "its model_type is not one that modelpick knows")
    assumptions = ("text part only: vision and audio towers count by the repository's total, where known",)
    return _read(text, kind, family, towers, assumptions if towers else ())


def read_as_decoder(config: Config, parameters: int) -> Architecture:
    """A config that `read` cannot read, as a standard gated decoder; only where `parameters` is known otherwise.

    Every layer is taken to cache keys and values of all tokens, which is an upper bound, and the result says so; one of
    a family with delta-rule layers is taken to do both. An MLP width that is not told follows from the parameter count.
    Raises CannotTellError as `read` does.
    """
    text, towers = _text(config)
    kind = str(text.get("model_type") or "unknown")
    told: tuple[str, ...] = (f"model_type {kind!r} is read as a standard decoder that caches every layer",)
    if whole(text, fields.WIDTH) is None and not whole(text, fields.EXPERT_WIDTH, smallest=0):
        text = {**text, "intermediate_size": 1}
        narrow = _read(text, kind, STANDARD, towers, ())
        spare = max(parameters - narrow.parameters, 0)
        experts = max((run.experts.count for run in narrow.layers if run.experts), default=1)
        text["intermediate_size"] = spare // (3 * narrow.hidden * narrow.depth * experts) + 1
        told += ("its MLP width follows from the parameter count",)
    shape = _read(text, kind, STANDARD, towers, told)
    if not FAMILIES.get(kind, STANDARD).hybrid:
        return replace(shape, guessed=shape.guessed or kind not in FAMILIES)
    both = mixers.most(shape.hidden, max(run.attention.query_width for run in shape.layers if run.attention))
    told = (*shape.assumptions, "which layers attend is not told: each is taken to mix both ways, an upper bound")
    return replace(shape, layers=tuple(replace(run, mixer=both) for run in shape.layers), assumptions=told)


def longest_of(config: Config, *, encoder: bool = False) -> int | None:
    """`Architecture.longest` of a config.json, of a family that `read` does not know too; None where it tells none.

    An unknown encoder (`encoder`) is taken to pad its positions as RoBERTa does, which is two tokens on the safe side.
    """
    try:
        return read(config).longest
    except CannotTellError:
        text, _ = _text(config)
        positions = whole(text, fields.CONTEXT, largest=fields.LARGEST["context"])
        padded = FAMILIES["roberta"].padded_positions if encoder else 0
        return None if positions is None else max(positions - padded, 1)


def _text(config: Config) -> tuple[Config, bool]:
    """The text tower's config, and whether there are other towers beside it."""
    text: Config = config
    for _ in range(_DEEPEST + 1):
        inner = next((text[key] for key in _TEXT_TOWERS if isinstance(text.get(key), Mapping)), None)
        if inner is None:
            break
        inherited = {key: text[key] for key in ("quantization_config", "torch_dtype", "dtype") if text.get(key)}
        tied = text.get("tie_word_embeddings")
        if tied is not None and inner.get("tie_word_embeddings") is None:
            inherited["tie_word_embeddings"] = tied
        if not inner.get("model_type"):
            inherited["model_type"] = text.get("model_type")
        text = {**inherited, **inner}
    else:
        raise fields.bad("text_config", "nested", "one text tower")
    towers = text is not config
    for part in _PARTS:
        if isinstance(text.get(part), Mapping):  # what the model itself says outranks its parts
            text = {**text[part], **text}
    return text, towers


def _read(config: Config, kind: str, family: Family, towers: bool, assumptions: tuple[str, ...]) -> Architecture:
    if kind in encoders.ENCODER_DECODERS:
        return encoders.read_t5(config, kind, family, checkpoint(config))
    if kind in encoders.ENCODERS:
        return encoders.read_bert(config, kind, family)
    hidden = needed(config, fields.HIDDEN)
    vocabulary = whole(config, fields.VOCABULARY, largest=fields.LARGEST["vocabulary"]) or family.vocabulary
    if vocabulary is None:
        raise missing(kind, "config.json lacks vocab_size")
    layers, told = _layers(config, kind, family, hidden)
    narrow = whole(config, ("word_embed_proj_dim",)) or hidden
    embedding, head = vocabulary * narrow, vocabulary * (narrow + family.head_bias)
    other = _norm_size(family, hidden)
    if narrow != hidden:  # opt-350m: projections in and out, and no final norm
        embedding += 2 * narrow * hidden
        other = other if flag(config, "do_layer_norm_before", False) else 0
    context = whole(config, fields.CONTEXT, largest=fields.LARGEST["context"])
    if family.positions is not None:
        embedding += (needed(config, fields.CONTEXT) + family.positions) * hidden
    if family.embedding_norm:
        other += _norm_size(family, hidden)
    return Architecture(
        model_type=kind,
        kind="decoder",
        hidden=hidden,
        vocabulary=vocabulary,
        layers=layers,
        encoder=(),
        embedding_parameters=embedding,
        head_parameters=head,
        tied=flag(config, "tie_word_embeddings", family.tied),
        other_parameters=other,
        norm=family.norm,
        parallel=_parallel(config, kind, family),
        context=context,
        dtype=_dtype(config),
        checkpoint=checkpoint(config),
        exact=kind in COUNTED and not towers and not told,
        assumptions=assumptions + told,
        guessed=bool(told),
        sdpa=family.sdpa,
        score_bias="shared" if flag(config, "alibi", False) else "",  # modeling_falcon.py: in the mask, made once
        rotary=family.rotary,
        upcasts_logits=family.upcasts_logits,
        caps_scores=_caps(config, "attn_logit_softcapping", family.caps_scores),
        caps_logits=_caps(config, "final_logit_softcapping", family.caps_logits),
    )


def _layers(config: Config, kind: str, family: Family, hidden: int) -> tuple[tuple[LayerGroup, ...], tuple[str, ...]]:
    """The runs of alike layers: layers are sorted by what mixes their tokens, and by whether experts follow."""
    depth = needed(config, fields.LAYERS, largest=fields.LARGEST["layers"])
    if family.routed and whole(config, fields.EXPERTS, smallest=0) is None:
        raise missing(kind, "config.json lacks num_experts")
    token_kinds, told = mixers.kinds(config, kind, family, depth)
    routed = _routed(config, depth)
    runs: dict[tuple[str, bool], int] = {}
    for position, token_kind in enumerate(token_kinds):
        key = (token_kind, routed[position])
        runs[key] = runs.get(key, 0) + 1
    window = whole(config, ("sliding_window", "window_size", "attention_chunk_size")) if _windowed(config) else None
    built = tuple(
        _layer(config, kind, family, hidden, count, token_kind, has_experts, window)
        for (token_kind, has_experts), count in runs.items()
    )
    return built, told


def _layer(
    config: Config, kind: str, family: Family, hidden: int, count: int, token_kind: str, routed: bool,
    window: int | None,
) -> LayerGroup:  # fmt: skip
    projections: list[Projection] = []
    other = family.norms * _norm_size(family, hidden)
    attention = mixer = feed_forward = experts = None
    if token_kind in mixers.ATTENTIVE:
        attention = _attention(config, kind, family, hidden, window if token_kind == "sliding" else None, token_kind)
        projections += _attention_projections(config, family, hidden, attention)
        other += _attention_extras(config, family, attention)
    if token_kind in mixers.RECURRENT:
        mixer, made, extra = mixers.mixer(config, kind, token_kind, hidden)
        projections += made
        other += extra
    if mixers.has_mlp(kind, token_kind):
        if routed or token_kind == "moe":
            experts, made, extra = _experts(config, family, hidden)
            projections += made
            other += extra
        else:
            feed_forward = _feed_forward(config, kind, family, hidden)
            projections += _mlp_projections(config, family, hidden, feed_forward)
    norms = _norms(config, kind, family)
    if norms != family.norms:
        other += (norms - family.norms) * _norm_size(family, hidden)
    return LayerGroup(
        count=count,
        projections=tuple(projections),
        attention=attention,
        feed_forward=feed_forward,
        experts=experts,
        mixer=mixer,
        other_parameters=other + sum(p.outputs for p in projections if p.bias),
        norms=norms,
        linear_weights=sum(p.inputs * p.outputs for p in projections),
        linear_outputs=sum(p.outputs for p in projections),
    )


def _attention(
    config: Config, kind: str, family: Family, hidden: int, window: int | None, token_kind: str
) -> Attention:
    heads = needed(config, fields.HEADS)
    latent = whole(config, ("kv_lora_rank",))
    if latent:
        rotary = needed(config, ("qk_rope_head_dim",))
        plain = whole(config, ("qk_nope_head_dim",)) or whole(config, ("v_head_dim", "head_dim")) or 128
        return Attention(heads, heads, plain + rotary, whole(config, ("v_head_dim",)) or plain, None, latent + rotary)
    size = whole(config, ("head_dim", "attention_head_dim", "kv_channels"))
    if size is None:
        if hidden % heads:
            raise fields.bad("num_attention_heads", heads, f"a divisor of hidden_size {hidden}")
        size = hidden // heads
    kv_heads = _kv_heads(config, kind, heads)
    if token_kind == "global":  # gemma 4: full-attention layers have heads of their own
        size = whole(config, ("global_head_dim",)) or size
        kv_heads = whole(config, ("num_global_key_value_heads",)) or kv_heads
    if heads % kv_heads:
        raise fields.bad("num_key_value_heads", kv_heads, f"a divisor of num_attention_heads {heads}")
    one_key = kind == "falcon" and kv_heads == 1  # modeling_falcon.py: neither repeated nor told to sdpa
    fused = family.rotary and len(family.names.qkv) == 1 and not one_key
    width = whole(config, ("v_head_dim",)) or size
    normed = _norms_queries(config, family)
    return Attention(
        heads, kv_heads, size, width, window, rotates_fused=fused, normed=normed, unfused=one_key
    )  # fmt: skip


def _norms_queries(config: Config, family: Family) -> bool:
    return flag(config, "use_qk_norm", flag(config, "qk_layernorm", bool(family.qk_norm)))


def _kv_heads(config: Config, kind: str, heads: int) -> int:
    if kind == "falcon" and not flag(config, "new_decoder_architecture", False):
        return 1 if flag(config, "multi_query", True) else heads
    if kind == "gpt_bigcode":
        return 1 if flag(config, "multi_query", True) else heads
    if kind == "chatglm" and not flag(config, "multi_query_attention", True):
        return heads
    return whole(config, fields.KV_HEADS) or heads


def _attention_projections(config: Config, family: Family, hidden: int, attention: Attention) -> list[Projection]:
    query, output = attention.query_width, attention.output_width
    bias = _bias(config, family, "qkv")
    if attention.latent:
        made = _latent_projections(config, hidden, attention, flag(config, "attention_bias", False))
        return [*made, Projection("g_proj", "other", hidden, attention.heads)] if family.head_gate else made
    keys, values = attention.kv_heads * attention.head_dim, attention.kv_heads * attention.value_dim
    if flag(config, "attn_output_gate", False):  # qwen3_next: a gate beside the queries
        query *= 2
    if len(family.names.qkv) == 1:
        made = [Projection(family.names.qkv[0], "qkv", hidden, query + keys + values, bias)]
    else:
        roles: tuple[Role, Role, Role] = ("query", "key", "value")
        sizes = (query, keys, values)
        made = [Projection(n, r, hidden, s, bias) for n, r, s in zip(family.names.qkv, roles, sizes, strict=True)]
    made.append(Projection(family.names.output, "output", output, hidden, _bias(config, family, "output")))
    return made


def _latent_projections(config: Config, hidden: int, attention: Attention, bias: bool) -> list[Projection]:
    """MLA's projections (modeling_deepseek_v3.py): queries through q_lora_rank where it is set."""
    compressed = needed(config, ("kv_lora_rank",))
    query_rank = whole(config, ("q_lora_rank",))
    rotary = attention.latent - compressed
    made = []
    if query_rank:
        made.append(Projection("q_a_proj", "query", hidden, query_rank, bias))
        made.append(Projection("q_b_proj", "query", query_rank, attention.query_width))
    else:
        made.append(Projection("q_proj", "query", hidden, attention.query_width))
    expanded = attention.heads * (attention.head_dim - rotary + attention.value_dim)
    made.append(Projection("kv_a_proj_with_mqa", "key", hidden, attention.latent, bias))
    made.append(Projection("kv_b_proj", "value", compressed, expanded))
    made.append(Projection("o_proj", "output", attention.output_width, hidden, bias))
    return made


def _attention_extras(config: Config, family: Family, attention: Attention) -> int:
    """Parameters of attention outside its projections: norms of queries and keys, of latents, sinks."""
    if attention.latent:
        return needed(config, ("kv_lora_rank",)) + (whole(config, ("q_lora_rank",)) or 0)
    extra = attention.heads if family.sinks else 0
    norm = family.qk_norm
    if attention.normed:
        if norm == "full":
            extra += attention.query_width + attention.kv_heads * attention.head_dim
        elif norm == "head":
            extra += 2 * attention.head_dim
        else:  # cohere and stablelm keep one norm per head
            extra += (attention.heads + attention.kv_heads) * attention.head_dim
    return extra


def _feed_forward(config: Config, kind: str, family: Family, hidden: int) -> FeedForward:
    width = whole(config, fields.WIDTH) or whole(config, fields.EXPERT_WIDTH, smallest=0)
    if not width:
        ratio = config.get("expansion_ratio") or family.width
        if not ratio:
            raise missing(kind, "config.json lacks intermediate_size")
        if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio < 1000:
            raise fields.bad("expansion_ratio", ratio, "a number between 0 and 1000")
        width = int(ratio * hidden)
    if kind == "qwen":  # Qwen-1 states the width of both halves together
        width //= 2
    return FeedForward(width, family.gated, family.unfused_activation)


def _mlp_projections(config: Config, family: Family, hidden: int, mlp: FeedForward) -> list[Projection]:
    bias = _bias(config, family, "mlp")
    up = family.names.up
    if not mlp.gated:
        made = [Projection(up[0], "up", hidden, mlp.width, bias)]
    elif len(up) == 1:
        made = [Projection(up[0], "gate_up", hidden, 2 * mlp.width, bias)]
    else:
        made = [Projection(up[0], "gate", hidden, mlp.width, bias), Projection(up[1], "up", hidden, mlp.width, bias)]
    return [*made, Projection(family.names.down, "down", mlp.width, hidden, bias)]


def _experts(config: Config, family: Family, hidden: int) -> tuple[Experts, list[Projection], int]:
    """The experts, their shared dense part as projections, and the router's parameters."""
    count = needed(config, fields.EXPERTS)
    per_token = whole(config, fields.EXPERTS_PER_TOKEN) or 1
    width = whole(config, fields.EXPERT_WIDTH) or needed(config, fields.WIDTH)
    if per_token > count:
        raise fields.bad("num_experts_per_tok", per_token, f"at most {count} experts")
    shared = whole(config, ("shared_expert_intermediate_size", "shared_intermediate_size"), smallest=0)
    if shared is None:
        number = whole(config, ("n_shared_experts", "num_shared_experts", "num_shared_expert"), smallest=0) or 0
        shared = number * (whole(config, ("moe_shared_expert_intermediate_size",)) or width)
    matrices = 3 if family.gated else 2
    projections: list[Projection] = []
    router = hidden * count
    if shared:
        made = FeedForward(shared, family.gated)
        projections = _mlp_projections(config, family, hidden, made)
    kind = fields.model_type(config) if config.get("model_type") else ""
    if kind in ("qwen2_moe", "qwen3_next", "qwen3_5_moe", "qwen3_5_moe_text"):
        router += hidden  # the shared expert's gate
    if kind in ("deepseek_v3", "glm4_moe", "kimi_k2"):
        router += count  # e_score_correction_bias
    if kind == "gpt_oss":
        router += count + count * (2 * width + hidden)  # biases of the router and of the experts
    experts = Experts(count, per_token, width, family.gated, shared, count * matrices * hidden * width)
    return experts, projections, router


def _routed(config: Config, depth: int) -> list[bool]:
    """Which layers have experts, by the keys that families use for it."""
    count = whole(config, fields.EXPERTS, smallest=0)
    if not count or count == 1:
        return [False] * depth
    first_dense = whole(config, ("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index"), smallest=0) or 0
    step = whole(config, ("decoder_sparse_step", "moe_layer_freq", "expert_layer_period", "interleave_moe_layer_step"))
    offset = whole(config, ("expert_layer_offset",), smallest=0)
    dense = config.get("mlp_only_layers") or ()
    if not isinstance(dense, list | tuple):
        raise fields.bad("mlp_only_layers", dense, "a list of layers")
    step = step or 1
    if offset is not None:
        return [layer % step == offset for layer in range(depth)]
    return [layer >= first_dense and layer not in dense and (layer + 1) % step == 0 for layer in range(depth)]


def _windowed(config: Config) -> bool:
    return flag(config, "use_sliding_window", True)


def _caps(config: Config, key: str, default: bool) -> bool:
    """Whether a soft cap is set: a number; null is none."""
    return bool(config[key]) if key in config else default


def _parallel(config: Config, kind: str, family: Family) -> bool:
    if kind == "falcon":
        return flag(config, "new_decoder_architecture", False) or flag(config, "parallel_attn", True)
    if kind == "gpt_neox":
        return flag(config, "use_parallel_residual", True)
    return family.parallel


def _norms(config: Config, kind: str, family: Family) -> int:
    if kind == "falcon" and not flag(config, "new_decoder_architecture", False):
        return 1 if flag(config, "parallel_attn", True) else 2
    return family.norms


def _norm_size(family: Family, hidden: int) -> int:
    return hidden * (family.norm_weight + family.norm_bias)


def _bias(config: Config, family: Family, part: str) -> bool:
    """Whether a projection has a bias: the config's keys first, then the family's habit."""
    if part == "mlp":
        return flag(config, "mlp_bias", flag(config, "use_bias", flag(config, "bias", family.mlp_bias)))
    default = family.qkv_bias if part == "qkv" else family.output_bias
    if part == "qkv":
        default = flag(config, "qkv_bias", flag(config, "use_qkv_bias", flag(config, "add_qkv_bias", default)))
    if family.qkv_bias == family.output_bias:  # one key for all of attention
        default = flag(config, "attention_bias", default)
    return flag(config, "use_bias", flag(config, "bias", default))


def _dtype(config: Config) -> str | None:
    value: Any = config.get("torch_dtype") or config.get("dtype")
    return value if isinstance(value, str) else None
