"""What one layer is made of: attention, feed-forward or experts, mixers, norms; and how many layers are alike. Pure."""

from modelpick.catalog.architecture import fields, mixers, overrides
from modelpick.catalog.architecture.family import Family
from modelpick.catalog.architecture.fields import Config, flag, integer, missing, needed
from modelpick.catalog.architecture.shape import Attention, Experts, FeedForward, LayerGroup, Projection, Role


def layer_groups(
    config: Config, kind: str, family: Family, hidden: int
) -> tuple[tuple[LayerGroup, ...], tuple[str, ...]]:
    """The groups of alike layers, by what mixes their tokens, whether experts follow and what is their own; and what
    was assumed."""
    depth = depth_of(config)
    if family.routed and integer(config, fields.EXPERTS, smallest=0) is None:
        raise missing(kind, "config.json lacks num_experts")
    token_kinds, assumptions = mixers.kinds(config, kind, family, depth)
    routed = _routed(config, depth)
    own = overrides.of_layers(config, depth)
    runs: dict[tuple[str, bool, overrides.Own], int] = {}
    for position, token_kind in enumerate(token_kinds):
        key = (token_kind, routed[position], own[position])
        runs[key] = runs.get(key, 0) + 1
    window = integer(config, mixers.WINDOWS) if _windowed(config) else None
    built = tuple(
        _layer({**config, **dict(mine)}, kind, family, hidden, count, token_kind, has_experts, window)
        for (token_kind, has_experts, mine), count in runs.items()
    )
    return built, assumptions


def depth_of(config: Config) -> int:
    """Layers, stated or listed (nemotron_h as transformers 5 saves it)."""
    listed = config.get("layers_block_type")
    if integer(config, fields.LAYERS, largest=fields.LARGEST["layers"]) is None and isinstance(listed, list) and listed:
        return len(listed)
    return needed(config, fields.LAYERS, largest=fields.LARGEST["layers"])


def _layer(
    config: Config, kind: str, family: Family, hidden: int, count: int, token_kind: str, routed: bool,
    window: int | None,
) -> LayerGroup:  # fmt: skip
    projections: list[Projection] = []
    other = family.norms * norm_size(family, hidden)
    attention = mixer = feed_forward = experts = None
    if token_kind in mixers.ATTENTIVE:
        attention = _attention(config, family, hidden, window if token_kind == "sliding" else None, token_kind)
        projections += _attention_projections(config, family, hidden, attention)
        other += _attention_extras(config, family, attention, token_kind)
    if token_kind in mixers.RECURRENT:
        mixer, made, extra = mixers.mixer(config, family, token_kind, hidden)
        projections += made
        other += extra
    if mixers.has_mlp(family, token_kind):
        sparse = token_kind == "moe" if family.one_part_layers else routed
        if sparse:
            experts, made, extra = _experts(config, family, hidden)
            projections += made
            other += extra
        if not sparse or family.dense_beside_experts:
            feed_forward = _feed_forward(config, kind, family, hidden)
            projections += _mlp_projections(config, family, hidden, feed_forward)
    norms = _norms(config, family)
    if norms != family.norms:
        other += (norms - family.norms) * norm_size(family, hidden)
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


def _attention(config: Config, family: Family, hidden: int, window: int | None, token_kind: str) -> Attention:
    heads = needed(config, fields.HEADS)
    latent = integer(config, ("kv_lora_rank",))
    if latent:
        rotary = needed(config, ("qk_rope_head_dim",))
        plain = integer(config, ("qk_nope_head_dim",)) or integer(config, ("v_head_dim", "head_dim")) or 128
        return Attention(
            heads, heads, plain + rotary, integer(config, ("v_head_dim",)) or plain, None, latent + rotary,
            indexed=integer(config, ("index_head_dim",)) or 0, picked=integer(config, ("index_topk",)),
        )  # fmt: skip
    size = integer(config, ("head_dim", "attention_head_dim", "kv_channels"))
    if size is None:
        if hidden % heads:
            raise fields.bad("num_attention_heads", heads, f"a divisor of hidden_size {hidden}")
        size = hidden // heads
    kv_heads = _kv_heads(config, family, heads)
    if token_kind == "sliding" and (family.doubles_window_keys or "swa_num_key_value_heads" in config):
        kv_heads = integer(config, ("swa_num_key_value_heads",)) or 2 * kv_heads
    if token_kind == "global":  # gemma 4: full-attention layers have heads of their own
        size = integer(config, ("global_head_dim",)) or size
        kv_heads = integer(config, ("num_global_key_value_heads",)) or kv_heads
    if heads % kv_heads:
        raise fields.bad("num_key_value_heads", kv_heads, f"a divisor of num_attention_heads {heads}")
    one_key = family.unrepeated_key and kv_heads == 1
    fused = family.rotary and len(family.names.qkv) == 1 and not one_key
    width = integer(config, ("v_head_dim",)) or size
    normed = _norms_queries(config, family) or token_kind == "cross"
    return Attention(
        heads, kv_heads, size, width, window, rotates_fused=fused, normed=normed, unfused=one_key,
        shares_keys=config.get(overrides.SHARES_KEYS) is True, of_images=token_kind == "cross",
        keys_are_values=token_kind != "sliding" and flag(config, "attention_k_eq_v", False),
    )  # fmt: skip


def _norms_queries(config: Config, family: Family) -> bool:
    return flag(config, "use_qk_norm", flag(config, "qk_layernorm", bool(family.qk_norm)))


def _kv_heads(config: Config, family: Family, heads: int) -> int:
    if family.one_key_by and not (family.new_decoder and flag(config, "new_decoder_architecture", False)):
        return 1 if flag(config, family.one_key_by, True) else heads
    if family.all_keys_unless and not flag(config, family.all_keys_unless, True):
        return heads
    return integer(config, fields.KV_HEADS) or heads


def _attention_projections(config: Config, family: Family, hidden: int, attention: Attention) -> list[Projection]:
    query, output = attention.query_width, attention.output_width
    bias = _bias(config, family, "qkv")
    if attention.latent:
        made = _latent_projections(config, hidden, attention, flag(config, "attention_bias", False))
        return [*made, Projection("g_proj", "other", hidden, attention.heads)] if family.head_gate else made
    keys, values = attention.kv_heads * attention.head_dim, attention.kv_heads * attention.value_dim
    if flag(config, "attn_output_gate", family.output_gate == "fused"):  # qwen3_next: a gate as wide as the queries
        query *= 2
    if attention.shares_keys:
        keys = values = 0
    elif attention.keys_are_values:
        values = 0
    if len(family.names.qkv) == 1:
        made = [Projection(family.names.qkv[0], "qkv", hidden, query + keys + values, bias)]
    else:
        roles: tuple[Role, Role, Role] = ("query", "key", "value")
        sizes = (query, keys, values)
        made = [Projection(n, r, hidden, s, bias) for n, r, s in zip(family.names.qkv, roles, sizes, strict=True) if s]
    made.append(Projection(family.names.output, "output", output, hidden, _bias(config, family, "output")))
    gate = {"head": attention.heads, "full": output}.get(family.output_gate, 0)
    if gate and flag(config, "use_attention_gate", flag(config, "gating", True)):
        made.append(Projection("g_proj", "other", hidden, gate))
    return made


def _latent_projections(config: Config, hidden: int, attention: Attention, bias: bool) -> list[Projection]:
    """MLA's projections (modeling_deepseek_v3.py): queries through q_lora_rank where it is set."""
    compressed = needed(config, ("kv_lora_rank",))
    query_rank = integer(config, ("q_lora_rank",))
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
    if attention.indexed:  # modeling_deepseek_v32.py, Indexer: queries of the latent, one key, a weight for each head
        heads = needed(config, ("index_n_heads",))
        made.append(Projection("wq_b", "other", query_rank or hidden, heads * attention.indexed))
        made.append(Projection("wk", "other", hidden, attention.indexed))
        made.append(Projection("weights_proj", "other", hidden, heads))
    return made


def _attention_extras(config: Config, family: Family, attention: Attention, token_kind: str) -> int:
    """Parameters of attention outside its projections: norms of queries and keys, of latents, sinks."""
    if attention.latent:
        norms = needed(config, ("kv_lora_rank",)) + (integer(config, ("q_lora_rank",)) or 0)
        return norms + 2 * attention.indexed
    extra = attention.heads if family.sinks and (token_kind == "sliding" or not family.sinks_in_windows) else 0
    norm = "head" if token_kind == "cross" else family.qk_norm
    extra += 2 if token_kind == "cross" else 0  # modeling_mllama.py: a gate of attention, one of the MLP
    if attention.normed:
        if norm == "full":
            extra += attention.query_width + attention.kv_heads * attention.head_dim
        elif norm == "head":
            extra += (1 if attention.shares_keys else 2) * attention.head_dim * (1 + family.norm_bias)
        elif norm != "bare":  # cohere and stablelm keep one norm per head
            extra += (attention.heads + attention.kv_heads) * attention.head_dim
    return extra


def _feed_forward(config: Config, kind: str, family: Family, hidden: int) -> FeedForward:
    width = integer(config, ("intermediate_size_mlp", *fields.WIDTH)) or integer(
        config, fields.EXPERT_WIDTH, smallest=0
    )
    if not width:
        ratio = config.get("expansion_ratio") or config.get("intermediate_multiple_size") or family.width
        if not ratio:
            raise missing(kind, "config.json lacks intermediate_size")
        if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio < 1000:
            raise fields.bad("expansion_ratio", ratio, "a number between 0 and 1000")
        width = int(ratio * hidden)
    if family.width_of_both:
        width //= 2
    if family.adjusts_width and flag(config, "block_auto_adjust_ff_dim", True):
        width = _adjusted(config, width)
    if flag(config, "use_double_wide_mlp", False) and config.get(overrides.SHARES_KEYS) is True:
        width *= 2  # modeling_gemma4.py
    return FeedForward(width, family.gated, family.unfused_activation)


def _adjusted(config: Config, width: int) -> int:
    """modeling_lfm2.py: two thirds of it, times a factor, up to a multiple."""
    factor = config.get("block_ffn_dim_multiplier")
    if factor is None:
        return int(2 * width / 3)
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < 1000:
        raise fields.bad("block_ffn_dim_multiplier", factor, "a number between 0 and 1000")
    multiple = integer(config, ("block_multiple_of",)) or 256
    return -(-int(factor * int(2 * width / 3)) // multiple) * multiple


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
    per_token = integer(config, fields.EXPERTS_PER_TOKEN) or 1
    width = integer(config, fields.EXPERT_WIDTH) or needed(config, fields.WIDTH)
    if per_token > count:
        raise fields.bad("num_experts_per_tok", per_token, f"at most {count} experts")
    shared = integer(config, ("shared_expert_intermediate_size", "shared_intermediate_size"), smallest=0)
    if shared is None:
        keys = ("n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts")
        stated = integer(config, keys, smallest=0)
        number = family.shared_experts if stated is None else stated
        shared = number * (integer(config, ("moe_shared_expert_intermediate_size",)) or width)
    matrices = 3 if family.gated else 2
    projections: list[Projection] = []
    router = hidden * count
    if shared:
        made = FeedForward(shared, family.gated)
        projections = _mlp_projections(config, family, hidden, made)
    if family.shared_gate:
        router += hidden  # the shared expert's gate
    if family.score_correction:
        router += count  # e_score_correction_bias
    if family.dense_beside_experts:  # modeling_gemma4.py: a scale of the router's input, one of each expert, norms
        router += hidden + count + 3 * hidden
    if family.expert_biases:
        router += count + count * (2 * width + hidden)  # biases of the router and of the experts
    latent = integer(config, ("moe_latent_size",))  # modeling_nemotron_h.py: experts work in a narrower space
    if latent:
        projections.append(Projection("fc1_latent_proj", "other", hidden, latent))
        projections.append(Projection("fc2_latent_proj", "other", latent, hidden))
    experts = Experts(count, per_token, width, family.gated, shared, count * matrices * (latent or hidden) * width)
    return experts, projections, router


def _routed(config: Config, depth: int) -> list[bool]:
    """Which layers have experts, by the keys that families use for it."""
    count = integer(config, fields.EXPERTS, smallest=0)
    if not count or count == 1 or not flag(config, "is_moe", True):
        return [False] * depth
    stated = config.get("mlp_layer_types")
    if stated is not None:  # as transformers 5 saves them
        words = fields.names(config, "mlp_layer_types") or []
        if len(words) != depth:
            raise fields.bad("mlp_layer_types", f"{len(words)} entries", f"{depth}, one per layer")
        return [word == "sparse" for word in words]
    listed = next((config[key] for key in ("moe_layers", "moe_layer_freq") if isinstance(config.get(key), list)), None)
    if isinstance(listed, list):  # llama 4 numbers them, others have a 0 or 1 for each
        if len(listed) == depth and set(map(str, listed)) <= {"0", "1"}:
            return [each == 1 for each in listed]
        return [layer in listed for layer in range(depth)]
    first_dense = (
        integer(config, ("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index"), smallest=0) or 0
    )
    last = integer(config, ("moe_layer_end_index",), smallest=-1)
    end = depth if last is None or last < 0 else last + 1
    step = integer(
        config,
        ("decoder_sparse_step", "moe_layer_freq", "moe_layer_interval", "expert_layer_period",
         "interleave_moe_layer_step"),
    )  # fmt: skip
    offset = integer(config, ("expert_layer_offset",), smallest=0)
    dense = config.get("mlp_only_layers") or ()
    if not isinstance(dense, list | tuple):
        raise fields.bad("mlp_only_layers", dense, "a list of layers")
    step = step or 1
    if offset is not None:
        return [layer % step == offset for layer in range(depth)]
    return [first_dense <= layer < end and layer not in dense and (layer + 1) % step == 0 for layer in range(depth)]


def _windowed(config: Config) -> bool:
    return flag(config, "use_sliding_window", True)


def is_parallel(config: Config, family: Family) -> bool:
    """Whether attention and MLP read the same normed input."""
    if family.new_decoder and flag(config, "new_decoder_architecture", False):
        return True
    return flag(config, family.parallel_key, True) if family.parallel_key else family.parallel


def _norms(config: Config, family: Family) -> int:
    if family.new_decoder and not flag(config, "new_decoder_architecture", False):
        return 1 if is_parallel(config, family) else 2
    return family.norms


def norm_size(family: Family, hidden: int) -> int:
    """Parameters of one norm."""
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
