"""Decoders whose layers follow a plan of their own: RWKV, xLSTM, RecurrentGemma, Zamba, LongCat. Pure.

Read from transformers 5.23.0: modeling_rwkv.py, modeling_xlstm.py, modeling_recurrent_gemma.py, modeling_zamba.py,
modeling_zamba2.py, modeling_longcat_flash.py.
"""

from dataclasses import replace

from modelpick.catalog.architecture import fields, layers, mixers
from modelpick.catalog.architecture.family import Family, Planned
from modelpick.catalog.architecture.fields import Config, flag, integer, needed
from modelpick.catalog.architecture.shape import Attention, Experts, FeedForward, LayerGroup, Mixer, Projection, Role

_SHARED_NAMES = ("q_proj", "k_proj", "v_proj")
_ROLES: tuple[Role, Role, Role] = ("query", "key", "value")


def _group(count: int, made: list[Projection], other: int, norms: int, **parts: object) -> LayerGroup:
    base = LayerGroup(
        count=count,
        projections=tuple(made),
        other_parameters=other + sum(p.outputs for p in made if p.bias),
        norms=norms,
        linear_weights=sum(p.weights for p in made),
        linear_outputs=sum(p.outputs for p in made),
    )
    return replace(base, **parts)  # type: ignore[arg-type]


def _depth(config: Config) -> int:
    return needed(config, fields.LAYERS, largest=fields.LARGEST["layers"])


def rwkv(config: Config, family: Family, hidden: int) -> Planned:
    """RWKV-4: its state is five vectors a layer, three of them in fp32."""
    inner = integer(config, ("attention_hidden_size",)) or hidden
    width = integer(config, ("intermediate_size",)) or 4 * hidden
    made = [Projection(name, "other", hidden, inner) for name in ("key", "value", "receptance")]
    made += [
        Projection("output", "output", inner, hidden),
        Projection("key", "up", hidden, width),
        Projection("receptance", "other", hidden, hidden),
        Projection("value", "down", width, hidden),
    ]
    run = _group(
        _depth(config), made, 2 * inner + 5 * hidden + 4 * hidden, 2,
        mixer=Mixer(inner, 3 * inner, 2 * hidden), feed_forward=FeedForward(width, gated=False),
    )  # fmt: skip
    return (run,), 2 * hidden  # a norm before the first layer


def xlstm(config: Config, family: Family, hidden: int) -> Planned:
    """mLSTM: a matrix of keys by values for each head, in fp32."""
    heads = needed(config, fields.HEADS)
    multiple = needed(config, ("mlstm_round_up_to_multiple_of", "ffn_round_up_to_multiple_of"))
    keys, values = (_part(config, key, hidden, multiple) for key in ("qk_dim_factor", "v_dim_factor"))
    width = _part(config, "ffn_proj_factor", hidden, needed(config, ("ffn_round_up_to_multiple_of",)))
    bias = flag(config, "use_bias", False)
    sizes = (("q", keys), ("k", keys), ("v", values), ("ogate_preact", values))
    made = [Projection(name, "other", hidden, size, bias) for name, size in sizes]
    made += [Projection(name, "other", hidden, heads, True) for name in ("igate_preact", "fgate_preact")]
    made += [
        Projection("out_proj", "output", values, hidden, bias),
        Projection("proj_up_gate", "gate", hidden, width, bias),
        Projection("proj_up", "up", hidden, width, bias),
        Projection("proj_down", "down", width, hidden, bias),
    ]
    state = keys * values // heads + keys + heads
    run = _group(
        _depth(config), made, 2 * hidden + values, 2, mixer=Mixer(values, state, 0), feed_forward=FeedForward(width)
    )
    return (run,), 0 if flag(config, "add_out_norm", True) else -hidden


def _part(config: Config, key: str, hidden: int, multiple: int) -> int:
    share = config.get(key)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1000:
        raise fields.bad(key, share, "a number between 0 and 1000")
    return -(-int(hidden * share) // multiple) * multiple


def recurrent_gemma(config: Config, family: Family, hidden: int) -> Planned:
    """RG-LRU: gates of a block for each head, a state of one vector; attention looks back one window."""
    depth, heads = _depth(config), needed(config, fields.HEADS)
    inner = integer(config, ("lru_width",)) or hidden
    width = needed(config, ("intermediate_size",)) // 2
    plan = fields.names(config, "layers_block_type") or fields.names(config, "block_types")
    plan = plan or fields.names(config, "_block_types") or ["recurrent", "recurrent", "attention"]
    kinds = [plan[layer % len(plan)] for layer in range(depth)]
    attending = sum("attention" in kind and "linear" not in kind for kind in kinds)
    mlp = [
        Projection("gate_proj", "gate", hidden, width, True),
        Projection("up_proj", "up", hidden, width, True),
        Projection("down_proj", "down", width, hidden, True),
    ]
    taps = needed(config, ("conv1d_width",))
    made = [Projection(name, "other", hidden, inner, True) for name in ("linear_y", "linear_x")]
    made.append(Projection("linear_out", "other", inner, hidden, True))
    gates = inner + 2 * (inner * inner // heads + inner)
    recurring = _group(
        depth - attending, made + mlp, 2 * hidden + inner * taps + inner + gates, 2,
        mixer=Mixer(inner, inner, inner * (taps - 1)), feed_forward=FeedForward(width),
    )  # fmt: skip
    size = integer(config, ("head_dim",)) or hidden // heads
    keys = integer(config, fields.KV_HEADS) or heads
    sizes = (heads * size, keys * size, keys * size)
    bias = flag(config, "attention_bias", False)
    looking = [Projection(n, r, hidden, s, bias) for n, r, s in zip(_SHARED_NAMES, _ROLES, sizes, strict=True)]
    looking.append(Projection("o_proj", "output", heads * size, hidden, True))
    attention = _group(
        attending, looking + mlp, 2 * hidden, 2,
        attention=Attention(heads, keys, size, size, needed(config, ("attention_window_size", "sliding_window"))),
        feed_forward=FeedForward(width),
    )  # fmt: skip
    return tuple(run for run in (recurring, attention) if run.count), 0


def _hybrids(config: Config, depth: int) -> int:
    """How many of Zamba's layers call a shared block before their state space."""
    plan = fields.names(config, "layers_block_type") or fields.names(config, "layer_types")
    if plan is None:
        listed = config.get("hybrid_layer_ids")
        if not isinstance(listed, list) or len(listed) > depth:
            raise fields.missing(fields.model_type(config), "config.json does not say which layers use attention")
        return len(listed)
    if len(plan) != depth:
        raise fields.bad("layers_block_type", f"{len(plan)} entries", f"{depth}, one per layer")
    return sum(word == "hybrid" for word in plan)


def _shared_block(config: Config, hidden: int, calls: int, sets: int, names: tuple[str, ...]) -> LayerGroup:
    """Attention and an MLP over the hidden states and the embeddings, whose weights several layers share."""
    wide = integer(config, ("attention_hidden_size",)) or 2 * hidden
    heads = needed(config, fields.HEADS)
    keys = integer(config, fields.KV_HEADS) or heads
    size = integer(config, ("attention_head_dim",)) or wide // heads
    width = needed(config, ("intermediate_size",))
    bias = flag(config, "add_bias_linear", False)
    sizes = (heads * size, keys * size, keys * size)
    made = [Projection(n, r, wide, s) for n, r, s in zip(_SHARED_NAMES, _ROLES, sizes, strict=True)]
    made.append(Projection("o_proj", "output", heads * size, hidden))
    if len(names) == 1:
        made.append(Projection(names[0], "gate_up", hidden, 2 * width, bias))
    else:
        made += [Projection(names[0], "gate", hidden, width), Projection(names[1], "up", hidden, width)]
    made.append(Projection("down_proj", "down", width, hidden, bias))
    return _group(
        calls, made, wide + hidden, 2, attention=Attention(heads, keys, size, size),
        feed_forward=FeedForward(width), sets=min(sets, calls),
    )  # fmt: skip


def zamba(config: Config, family: Family, hidden: int) -> Planned:
    """Mamba-1 with heads; every so many layers one block of attention, the same each time, speaks first."""
    depth = _depth(config)
    calls = _hybrids(config, depth)
    mixer, made, other = mixers.mixer({**config, "intermediate_size": None}, Family(mamba="1"), "mamba", hidden)
    shared = _shared_block(config, hidden, calls, 1, ("gate_proj", "up_proj"))
    return _zamba_layers(depth, calls, made, mixer, other, 0, hidden, shared), 0


def zamba2(config: Config, family: Family, hidden: int) -> Planned:
    """Mamba-2; a few blocks of attention take turns, each call with a low-rank adapter of its own."""
    depth = _depth(config)
    calls, rank = _hybrids(config, depth), needed(config, ("adapter_rank",))
    inner = (integer(config, ("mamba_expand",)) or 2) * hidden
    heads = needed(config, ("n_mamba_heads",))
    state, taps = needed(config, ("mamba_d_state",)), integer(config, ("mamba_d_conv",)) or 4
    mixed = inner + 2 * (integer(config, ("mamba_ngroups",)) or 1) * state
    bias = flag(config, "add_bias_linear", False)
    made = [
        Projection("in_proj", "other", hidden, inner + mixed + heads, bias),
        Projection("out_proj", "other", inner, hidden, bias),
    ]
    extra = mixed * taps + mixed * flag(config, "use_conv_bias", True) + 3 * heads + inner
    wide = integer(config, ("attention_hidden_size",)) or 2 * hidden
    adapter = rank * (hidden + 2 * needed(config, ("intermediate_size",)))
    adapter += 6 * rank * wide if flag(config, "use_shared_attention_adapter", False) else 0
    shared = _shared_block(config, hidden, calls, needed(config, ("num_mem_blocks",)), ("gate_up_proj",))
    mixer = Mixer(inner, inner * state, mixed * taps)
    return _zamba_layers(depth, calls, made, mixer, extra, adapter, hidden, shared), 0


def _zamba_layers(
    depth: int, calls: int, made: list[Projection], mixer: Mixer, other: int, adapter: int, hidden: int,
    shared: LayerGroup,
) -> tuple[LayerGroup, ...]:  # fmt: skip
    joined = [*made, Projection("linear", "other", hidden, hidden)]
    plain = _group(depth - calls, made, other + hidden, 1, mixer=mixer)
    calling = _group(calls, joined, other + hidden + adapter, 1, mixer=mixer)
    return tuple(run for run in (plain, calling, shared) if run.count)


def longcat(config: Config, family: Family, hidden: int) -> Planned:
    """Each layer has attention and a dense MLP twice, and experts as well, some of which do nothing."""
    depth = _depth(config)
    twice = {**config, "num_hidden_layers": 2 * depth, "num_layers": None, "n_routed_experts": 0, "num_experts": 0}
    runs, _ = layers.layer_groups(twice, fields.model_type(config), replace(family, routed=False), hidden)
    count, idle = needed(config, ("n_routed_experts",)), integer(config, ("zero_expert_num",), smallest=0) or 0
    width = needed(config, fields.EXPERT_WIDTH)
    per_token = needed(config, fields.EXPERTS_PER_TOKEN)
    router = (count + idle) * hidden + (count + idle) * flag(config, "router_bias", False)
    weights = 2 * (count + idle) * hidden * width + count * hidden * width
    experts = Experts(count, min(per_token, count), width, True, 0, weights)
    return (*runs, _group(depth, [], router, 0, experts=experts)), 0
