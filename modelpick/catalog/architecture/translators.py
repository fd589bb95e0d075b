"""Encoder-decoders: T5 and its kin, BART and its kin, and those that hear (Whisper). Pure."""

from dataclasses import replace

from modelpick.catalog.architecture import fields
from modelpick.catalog.architecture.encoders import ROLES
from modelpick.catalog.architecture.family import Family
from modelpick.catalog.architecture.fields import Config, flag, integer, needed
from modelpick.catalog.architecture.quantization import checkpoint
from modelpick.catalog.architecture.shape import (
    Architecture,
    Attention,
    Experts,
    FeedForward,
    LayerGroup,
    Projection,
)
from modelpick.catalog.architecture.translator_families import TranslatorFamily

_BUCKETS = 32  # T5's default relative_attention_num_buckets


def read_t5(config: Config, kind: str, family: Family) -> Architecture:
    """A T5 (modeling_t5.py): bias-free linears, RMS norms, one relative bias a stack (one a layer in umt5)."""
    hidden, vocabulary = needed(config, ("d_model",)), needed(config, fields.VOCABULARY)
    heads, size, width = needed(config, ("num_heads",)), needed(config, ("d_kv",)), needed(config, ("d_ff",))
    depth = needed(config, ("num_layers", "num_hidden_layers"), largest=fields.LARGEST["layers"])
    decoder_depth = integer(config, ("num_decoder_layers",), largest=fields.LARGEST["layers"]) or depth
    gated = str(config.get("feed_forward_proj") or "relu").startswith("gated")
    buckets = integer(config, ("relative_attention_num_buckets",)) or _BUCKETS
    every = 1 if family.bias_in_each_layer else 0
    bias = buckets * heads
    tied = flag(config, "tie_word_embeddings", family.tied)
    one = _t5_layer(hidden, heads, size, width, gated, cross=False, extra=every * bias)
    encoder = _sparse(config, replace(one, count=depth), hidden, "encoder")
    other = 2 * hidden + (0 if every else 2 * bias)
    if config.get("encoder_attention_type") == "transient-global":  # modeling_longt5.py: a norm in each layer, a bias
        encoder = tuple(replace(run, other_parameters=run.other_parameters + hidden) for run in encoder)
        other += bias
    both = _t5_layer(hidden, heads, size, width, gated, cross=True, extra=every * bias)
    decoder = _sparse(config, replace(both, count=decoder_depth), hidden, "decoder")
    return Architecture(
        model_type=kind,
        kind="encoder-decoder",
        hidden=hidden,
        vocabulary=vocabulary,
        layers=decoder,
        encoder=encoder,
        embedding_parameters=vocabulary * hidden,
        head_parameters=vocabulary * hidden,
        tied=tied,
        other_parameters=other,
        norm="t5",
        score_bias="layers",
        dropout=config.get("dropout_rate") != 0,
        parallel=False,
        context=integer(config, ("n_positions",)),
        relative_positions=True,
        dtype=dtype if isinstance(dtype := config.get("torch_dtype"), str) else None,
        checkpoint=checkpoint(config, (*decoder, *encoder)),
        exact=family.counted,
        assumptions=(),
    )


def _t5_layer(
    hidden: int, heads: int, size: int, width: int, gated: bool, *, cross: bool, extra: int
) -> LayerGroup:  # fmt: skip
    inner = heads * size
    one = [Projection(name, role, hidden, inner) for name, role in zip("qkv", ROLES, strict=True)]
    one.append(Projection("o", "output", inner, hidden))
    projections = one * (2 if cross else 1)
    if gated:
        projections += [Projection("wi_0", "gate", hidden, width), Projection("wi_1", "up", hidden, width)]
    else:
        projections.append(Projection("wi", "up", hidden, width))
    projections.append(Projection("wo", "down", width, hidden))
    norms = 3 if cross else 2
    return _with_sums(
        LayerGroup(
            count=1,
            projections=tuple(projections),
            attention=Attention(heads, heads, size, size),
            cross_attention=cross,
            feed_forward=FeedForward(
                width, gated, unfused_activation=gated
            ),  # gated-gelu is gelu_new (configuration_t5.py)
            other_parameters=norms * hidden + extra,
            norms=norms,
        )
    )


def _with_sums(group: LayerGroup) -> LayerGroup:
    return replace(
        group,
        linear_weights=sum(p.weights for p in group.projections),
        linear_outputs=sum(p.outputs for p in group.projections),
    )


def _sparse(config: Config, run: LayerGroup, hidden: int, stack: str) -> tuple[LayerGroup, ...]:
    """The run, every n-th layer of which has experts where the config says so (modeling_switch_transformers.py,
    modeling_nllb_moe.py)."""
    count = integer(config, ("num_experts",)) if f"{stack}_sparse_step" in config else None
    step = integer(config, (f"{stack}_sparse_step",), smallest=0)
    if not count or not step:
        return (run,)
    stated = integer(config, (f"num_sparse_{stack}_layers",), smallest=0)
    routed = stated if stated is not None else run.count // step
    routed = min(routed, run.count)
    assert run.feed_forward is not None
    width, biased = run.feed_forward.width, any(p.bias for p in run.projections if p.role == "down")
    biases = width + hidden if biased else 0
    experts = Experts(count, 1 if biased is False else 2, width, run.feed_forward.gated, 0)
    mlp = [p for p in run.projections if p.role in ("up", "gate", "down")]
    experts = replace(experts, weights=count * sum(p.weights for p in mlp))
    other = run.other_parameters - biases + count * hidden + count * biases
    other += count if flag(config, "router_bias", False) else 0
    kept = tuple(p for p in run.projections if p not in mlp)
    sparse = _with_sums(
        replace(run, count=routed, projections=kept, feed_forward=None, experts=experts, other_parameters=other)
    )
    dense = replace(run, count=run.count - routed)
    return tuple(group for group in (dense, sparse) if group.count)


_DEPTHS = {"encoder": ("encoder_layers",), "decoder": ("decoder_layers",)}


def read_translator(config: Config, kind: str, family: TranslatorFamily) -> Architecture:
    """A BART, or an encoder-decoder built like it: layers with biases, cross attention, learned or fixed positions."""
    hidden = needed(config, ("d_model", "hidden_size"))
    named = [str(name) for name in fields.names(config, "architectures") or []]
    if family.halves_only and any(not name.endswith("TextToText") for name in named):
        raise fields.missing(kind, f"of {named[0]} only the halves for text (ForTextToText) are counted")
    source, target, tied = _vocabularies(config, family)
    norm = hidden * (1 + family.norm_bias)
    extra = family.extra_of(config, hidden)
    encoder = _layer(config, family, hidden, "encoder", norm, extra.layer)
    decoder = _layer(config, family, hidden, "decoder", norm, 0)
    other = 2 * norm * (family.last_norm + family.normed_embedding) + extra.once
    shared = flag(config, "share_encoder_decoder_embeddings", True) and source == target and not family.two_vocabularies
    rows = target if shared or family.heard else source + target
    if family.positions is not None:
        rows += sum(needed(config, (key,)) + family.positions for key in family.positions_of)
    dropout = config.get("dropout")
    return Architecture(
        model_type=kind,
        kind="encoder-decoder",
        hidden=hidden,
        vocabulary=target,
        layers=_sparse(config, decoder, hidden, "decoder"),
        encoder=_sparse(config, encoder, hidden, "encoder"),
        embedding_parameters=rows * hidden,
        head_parameters=target * hidden,
        tied=tied,
        other_parameters=other,
        norm="layer",
        dropout=dropout != 0,
        parallel=False,
        context=integer(config, (family.positions_of[1], "max_target_positions", *fields.CONTEXT)),
        dtype=dtype if isinstance(dtype := config.get("torch_dtype") or config.get("dtype"), str) else None,
        checkpoint=checkpoint(config, (decoder, encoder)),
        exact=family.counted,
        assumptions=_assumptions(family, config),
        heard=needed(config, ("max_source_positions",)) if family.heard else None,
    )


def _assumptions(family: TranslatorFamily, config: Config) -> tuple[str, ...]:
    if not family.heard:
        return ()
    read = needed(config, ("max_source_positions",))
    return (f"the encoder reads {read:,} positions of sound whatever is asked; the context is what the decoder writes",)


def _vocabularies(config: Config, family: TranslatorFamily) -> tuple[int, int, bool]:
    """Rows of the encoder's and of the decoder's embedding, and whether the output matrix is tied to the latter."""
    most = fields.LARGEST["vocabulary"]
    if family.two_vocabularies:
        source = needed(config, ("src_vocab_size",), largest=most)
        return source, needed(config, ("tgt_vocab_size",), largest=most), flag(config, "tie_word_embeddings", False)
    vocabulary = needed(config, fields.VOCABULARY, largest=most)
    shares = flag(config, "share_encoder_decoder_embeddings", True)
    target = vocabulary if shares else integer(config, ("decoder_vocab_size",), largest=most) or vocabulary
    return vocabulary, target, flag(config, "tie_word_embeddings", family.tied)


def _layer(
    config: Config, family: TranslatorFamily, hidden: int, stack: str, norm: int, extra: int
) -> LayerGroup:  # fmt: skip
    depth = needed(config, (f"{stack}_layers", f"num_{stack}_layers", "num_hidden_layers"), largest=10_000)
    heads, width = needed(config, (f"{stack}_attention_heads",)), needed(config, (f"{stack}_ffn_dim",))
    if hidden % heads:
        raise fields.bad(f"{stack}_attention_heads", heads, f"a divisor of d_model {hidden}")
    biases = (family.qkv_bias, family.key_bias, family.qkv_bias)
    parts = zip(family.names.qkv, ROLES, biases, strict=True)
    attention = [Projection(name, role, hidden, hidden, bias) for name, role, bias in parts]
    attention.append(Projection(family.names.output, "output", hidden, hidden, family.output_bias))
    cross = stack == "decoder"
    made = attention * (2 if cross else 1)
    made.append(Projection(family.names.up[0], "up", hidden, width, True))
    made.append(Projection(family.names.down, "down", width, hidden, True))
    norms = 3 if cross else 2
    return _with_sums(
        LayerGroup(
            count=depth,
            projections=tuple(made),
            attention=Attention(heads, heads, hidden // heads, hidden // heads),
            cross_attention=cross,
            feed_forward=FeedForward(width, gated=False),
            other_parameters=norms * norm + extra + sum(p.outputs for p in made if p.bias),
            norms=norms,
        )
    )
