"""Which layers use attention, over which window, and which use state spaces or convolutions. Pure."""

from modelpick.catalog.architecture import fields
from modelpick.catalog.architecture.family import Family
from modelpick.catalog.architecture.fields import Config, flag, integer, needed
from modelpick.catalog.architecture.shape import Mixer, Projection

# Bytes per channel and token, on top of 8 elements of the compute type, that the plain paths of transformers 5.23 save
# for the backward pass; a forward pass alone holds a little less. Measured in bf16, by counting the saved storages of
# one layer (tests/memory/test_delta_rules.py): torch_chunk_gated_delta_rule 89 in all with as many key heads as value
# heads (84 with half as many), chunk_kimi_delta_attention 910 with heads of 128, whose decay is a number for each pair
# of tokens in a chunk and each channel.
_GATED_DELTA, _KIMI_DELTA = 89.0 - 16, 910.0 - 16
ATTENTIVE = frozenset({"full", "sliding", "global", "both", "cross"})
RECURRENT = frozenset({"mamba", "mamba2", "linear", "conv", "both"})
_WORDS = {
    "full_attention": "full", "attention": "full", "sliding_attention": "sliding", "local_attention": "sliding",
    "chunked_attention": "sliding", "global_attention": "full", "linear_attention": "linear", "conv": "conv",
    "global": "full", "local": "sliding", "full": "full", "sliding": "sliding",
    "mamba": "mamba2", "mlp": "mlp", "moe": "moe", "short_conv": "conv",
    # Attention that picks some tokens still keeps the keys of all: transformers 5, ALLOWED_ATTN_LAYER_TYPES.
    "indexed_attention": "full", "deepseek_sparse_attention": "full", "compressed_sparse_attention": "full",
    "heavily_compressed_attention": "full", "minimax_m3_sparse": "full", "reference_sliding_attention": "full",
}  # fmt: skip
_NEMOTRON = {"M": "mamba2", "*": "full", "-": "mlp", "E": "moe"}  # hybrid_override_pattern (modeling_nemotron_h.py)
_UPPER_BOUND = "config.json does not say which layers use attention: all are counted, an upper bound on the cache"


def kinds(config: Config, kind: str, family: Family, depth: int) -> tuple[list[str], tuple[str, ...]]:
    """What mixes the tokens in each of `depth` layers, and what had to be assumed about it."""
    if family.mamba in ("1", "2"):
        return ["mamba2" if family.mamba == "2" else "mamba"] * depth, ()
    if family.mamba == "with_attention":
        return (
            (["both"] * depth, ())
            if config.get("mamba_d_ssm") or config.get("mamba_d_state")
            else (
                ["full"] * depth,
                ("config.json does not describe the state-space part: its small state is not counted",),
            )
        )
    stated = fields.names(config, "layer_types")
    stated = fields.names(config, "layers_block_type") if stated is None else stated
    if stated is not None:
        return _from_words(config, kind, family, stated, depth), ()
    crossing = config.get("cross_attention_layers")
    if isinstance(crossing, list | tuple):  # modeling_mllama.py
        return ["cross" if layer in crossing else "full" for layer in range(depth)], ()
    pattern = config.get("hybrid_override_pattern")
    if isinstance(pattern, str) and family.one_part_layers:
        if len(pattern) != depth or not set(pattern) <= set(_NEMOTRON):
            raise fields.bad("hybrid_override_pattern", pattern, f"{depth} letters of M, *, - and E")
        return [_NEMOTRON[letter] for letter in pattern], ()
    found = _by_interval(config, family, depth)
    if found is not None:
        return found, ()
    if family.hybrid:
        raise fields.missing(kind, "config.json does not say which layers use attention")
    if family.bound_by_attention:
        return ["full"] * depth, (_UPPER_BOUND,)
    return _by_window(config, family, depth), ()


WINDOWS = ("sliding_window", "window_size", "attention_chunk_size")
UNKNOWN_WINDOWS = "its attention windows are not known: every layer is counted with all tokens, an upper bound"


def windows_unknown(config: Config, family: Family) -> bool:
    """Whether the family has layers with a window and the config does not say how long it is; null says: none."""
    return bool(family.window) and not any(key in config for key in WINDOWS)


def has_mlp(family: Family, token_kind: str) -> bool:
    """Whether an MLP or experts follow: not in Mamba alone, and where layers have one part only as layers of it."""
    if family.mamba in ("1", "2"):
        return False
    return not family.one_part_layers or token_kind in ("mlp", "moe")


def _from_words(config: Config, kind: str, family: Family, words: list[str], depth: int) -> list[str]:
    if len(words) != depth:
        raise fields.bad("layer_types", f"{len(words)} entries", f"{depth}, one per layer")
    unknown = next((word for word in words if word not in _WORDS), None)
    if unknown is not None:
        raise fields.missing(kind, f"layer_types contains {unknown!r}")
    found = [_WORDS[word] for word in words]
    if "linear" in found and not family.kimi_delta and any(key.startswith("mamba_") for key in config):
        found = ["mamba2" if each == "linear" else each for each in found]  # as transformers 5 saves them
    if family.first_mamba:
        return ["mamba" if word == "mamba2" else word for word in found]
    if integer(config, ("global_head_dim", "num_global_key_value_heads")):
        return ["global" if word == "full" else word for word in found]
    return found


def _by_interval(config: Config, family: Family, depth: int) -> list[str] | None:
    """Hybrids that attend every n-th layer: jamba, bamba, qwen3_next, lfm2."""
    period = integer(config, ("attn_layer_period",))
    if family.first_mamba and period:
        offset = integer(config, ("attn_layer_offset",), smallest=0) or 0
        return ["full" if layer % period == offset else "mamba" for layer in range(depth)]
    every = integer(config, ("full_attention_interval", "layer_group_size"))
    if every:
        return ["linear" if (layer + 1) % every else "full" for layer in range(depth)]
    attending = config.get("attn_layer_indices") or config.get("full_attn_idxs")
    if "attn_layer_indices" in config and attending is None:
        return ["mamba2"] * depth  # modeling_bamba.py: null is no layer at all
    if isinstance(attending, list | tuple):
        other = "conv" if family.convolutions else "mamba2"
        return ["full" if layer in attending else other for layer in range(depth)]
    return None


def _by_window(config: Config, family: Family, depth: int) -> list[str]:
    """Sliding windows by the family's habit, or by the config's own pattern key."""
    window = integer(config, WINDOWS)
    if window is None or not flag(config, "use_sliding_window", True):
        return ["full"] * depth
    every = integer(config, ("sliding_window_pattern", "_sliding_window_pattern")) if family.window else None
    if family.window == "pattern" or every:
        period = every or family.pattern
        return ["sliding" if (layer + 1) % period else "full" for layer in range(depth)]
    if family.window == "even":
        first = "full" if config.get("attention_types") is not None else "sliding"  # gpt_neo: global, local, ...
        second = "sliding" if first == "full" else "full"
        return [second if layer % 2 else first for layer in range(depth)]
    if family.window == "all":
        return ["sliding"] * depth
    if config.get("use_sliding_window") and config.get("max_window_layers") is not None:  # qwen2
        full = needed(config, ("max_window_layers",), smallest=0)
        return ["full" if layer < full else "sliding" for layer in range(depth)]
    return ["full"] * depth


def mixer(config: Config, family: Family, token_kind: str, hidden: int) -> tuple[Mixer, list[Projection], int]:
    """A recurrent or convolutional mixer: its states, its linear layers, its other parameters."""
    if token_kind == "mamba":
        return _mamba(config, family, hidden)
    if token_kind == "linear":
        if family.lightning:
            return _lightning(config, hidden)
        return _kimi_delta(config, family, hidden) if family.kimi_delta else _delta_net(config, hidden)
    if token_kind == "conv":
        taps = integer(config, ("conv_L_cache",)) or 3
        bias = flag(config, "conv_bias", False)
        made = [Projection("in_proj", "other", hidden, 3 * hidden, bias)]
        made.append(Projection("out_proj", "other", hidden, hidden, bias))
        return Mixer(hidden, 0, hidden * taps), made, hidden * taps + hidden * bias
    return _mamba2(config, family, hidden)


def _mamba(config: Config, family: Family, hidden: int) -> tuple[Mixer, list[Projection], int]:
    """Mamba-1 (arXiv 2312.00752; modeling_mamba.py, modeling_jamba.py)."""
    state = integer(config, ("state_size", "mamba_d_state", "ssm_state_size")) or 16
    taps = integer(config, ("conv_kernel", "mamba_d_conv")) or 4
    inner = integer(config, ("intermediate_size",)) if not family.first_mamba else None
    if inner is None:
        inner = (integer(config, ("expand", "mamba_expand")) or 2) * hidden
    rank = integer(config, ("time_step_rank", "mamba_dt_rank")) or -(-hidden // 16)
    made = [
        Projection("in_proj", "other", hidden, 2 * inner),
        Projection("x_proj", "other", inner, rank + 2 * state),
        Projection("dt_proj", "other", rank, inner, bias=True),
        Projection("out_proj", "other", inner, hidden),
    ]
    extra = inner * taps + inner + inner * state + inner  # convolution and its bias, A, D
    if family.first_mamba:
        extra += rank + 2 * state  # norms of the step and of both projections of the state
    return Mixer(inner, inner * state, inner * taps), made, extra


def _mamba2(config: Config, family: Family, hidden: int) -> tuple[Mixer, list[Projection], int]:
    """Mamba-2 (arXiv 2405.21060; modeling_falcon_h1.py, modeling_mamba2.py, modeling_nemotron_h.py)."""
    heads = integer(config, ("mamba_n_heads", "mamba_num_heads", "num_heads")) or 0
    size = integer(config, ("mamba_d_head", "mamba_head_dim", "head_dim")) or 64
    state = integer(config, ("mamba_d_state", "ssm_state_size", "state_size")) or 128
    groups = integer(config, ("mamba_n_groups", "n_groups")) or 1
    taps = integer(config, ("mamba_d_conv", "conv_kernel")) or 4
    inner = integer(config, ("mamba_d_ssm",)) or heads * size
    if not inner:
        inner = (integer(config, ("mamba_expand", "expand")) or 2) * hidden
    heads = heads or inner // size
    mixed = inner + 2 * groups * state
    made = [
        Projection("in_proj", "other", hidden, inner + mixed + heads),
        Projection("out_proj", "other", inner, hidden),
    ]
    normed = flag(config, "mamba_rms_norm", not family.ungated_norm)
    extra = mixed * taps + mixed + 3 * heads + (inner if normed else 0)
    return Mixer(inner, heads * size * state, mixed * taps), made, extra


def _delta_net(config: Config, hidden: int) -> tuple[Mixer, list[Projection], int]:
    """Gated DeltaNet (modeling_qwen3_next.py)."""
    keys = needed(config, ("linear_num_key_heads",))
    values = needed(config, ("linear_num_value_heads",))
    key_size, value_size = needed(config, ("linear_key_head_dim",)), needed(config, ("linear_value_head_dim",))
    taps = integer(config, ("linear_conv_kernel_dim",)) or 4
    key_width, value_width = keys * key_size, values * value_size
    made = [
        Projection("in_proj_qkvz", "other", hidden, 2 * key_width + 2 * value_width),
        Projection("in_proj_ba", "other", hidden, 2 * values),
        Projection("out_proj", "other", value_width, hidden),
    ]
    mixed = 2 * key_width + value_width
    state = values * key_size * value_size
    extra = mixed * taps + 2 * values + value_size
    return Mixer(value_width, state, mixed * taps, _GATED_DELTA), made, extra


def _lightning(config: Config, hidden: int) -> tuple[Mixer, list[Projection], int]:
    """Lightning attention (arXiv 2501.08313; modeling_minimax.py): a matrix for each head, a gate, a norm."""
    heads = needed(config, fields.HEADS)
    size = integer(config, ("head_dim",)) or hidden // heads
    width = heads * size
    made = [
        Projection("qkv_proj", "other", hidden, 3 * width),
        Projection("output_gate", "other", hidden, width),
        Projection("out_proj", "other", width, hidden),
    ]
    return Mixer(width, heads * size * size, 0), made, width


def _kimi_delta(config: Config, family: Family, hidden: int) -> tuple[Mixer, list[Projection], int]:
    """Kimi Delta Attention (arXiv 2510.26692; modeling_bailing_hybrid.py, BailingHybridDeltaAttention).

    The short convolution distinguishes it from the lightning attention of earlier models of the same model_type.
    """
    heads, size = needed(config, ("linear_num_heads", *fields.HEADS)), needed(config, ("linear_head_dim", "head_dim"))
    taps = needed(config, ("short_conv_kernel_size", "linear_conv_kernel_dim"))
    width = heads * size
    inward = [Projection(name, "other", hidden, width) for name in ("q_proj", "k_proj", "v_proj")]
    for name in ("f", "g"):
        if family.low_rank_gates:  # modeling_kimi_linear.py
            inward.append(Projection(f"{name}_a_proj", "other", hidden, size))
            inward.append(Projection(f"{name}_b_proj", "other", size, width))
        else:
            inward.append(Projection(f"{name}_proj", "other", hidden, width))
    made = [*inward, Projection("b_proj", "other", hidden, heads), Projection("o_proj", "other", width, hidden)]
    convolution = 3 * width * taps
    return Mixer(width, heads * size * size, convolution, _KIMI_DELTA), made, convolution + heads + width + size


def most(hidden: int, heads: int) -> Mixer:
    """A delta rule as large as any published: twice the hidden size, or all the heads there are (`heads`, their width).

    Kimi Linear has 4096 channels at a hidden size of 2304, Ling 3.0 4096 at 2560.
    """
    width = max(2 * hidden, heads)
    return Mixer(width, width * 128, 3 * width * 4, _KIMI_DELTA)
