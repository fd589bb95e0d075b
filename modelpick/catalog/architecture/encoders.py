"""Encoder-decoder (T5) and encoder-only (BERT) models. Pure."""

from modelpick.catalog.architecture import fields
from modelpick.catalog.architecture.families import Family
from modelpick.catalog.architecture.fields import Config, flag, integer, needed
from modelpick.catalog.architecture.quantization import checkpoint
from modelpick.catalog.architecture.shape import (
    Architecture,
    Attention,
    FeedForward,
    LayerGroup,
    Projection,
    Role,
)

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
    encoder = _t5_run(depth, hidden, heads, size, width, gated, cross=False, extra=every * bias)
    decoder = _t5_run(decoder_depth, hidden, heads, size, width, gated, cross=True, extra=every * bias)
    return Architecture(
        model_type=kind,
        kind="encoder-decoder",
        hidden=hidden,
        vocabulary=vocabulary,
        layers=(decoder,),
        encoder=(encoder,),
        embedding_parameters=vocabulary * hidden,
        head_parameters=vocabulary * hidden,
        tied=tied,
        other_parameters=2 * hidden + (0 if every else 2 * bias),
        norm="t5",
        score_bias="layers",
        dropout=config.get("dropout_rate") != 0,
        parallel=False,
        context=integer(config, ("n_positions",)),
        relative_positions=True,
        dtype=dtype if isinstance(dtype := config.get("torch_dtype"), str) else None,
        checkpoint=checkpoint(config, (decoder, encoder)),
        exact=family.counted,
        assumptions=(),
    )


def _t5_run(
    depth: int, hidden: int, heads: int, size: int, width: int, gated: bool, *, cross: bool, extra: int
) -> LayerGroup:
    inner = heads * size
    roles: tuple[Role, ...] = ("query", "key", "value")
    one = [Projection(name, role, hidden, inner) for name, role in zip("qkv", roles, strict=True)]
    one.append(Projection("o", "output", inner, hidden))
    projections = one * (2 if cross else 1)
    if gated:
        projections += [Projection("wi_0", "gate", hidden, width), Projection("wi_1", "up", hidden, width)]
    else:
        projections.append(Projection("wi", "up", hidden, width))
    projections.append(Projection("wo", "down", width, hidden))
    norms = 3 if cross else 2
    return LayerGroup(
        count=depth,
        projections=tuple(projections),
        attention=Attention(heads, heads, size, size),
        cross_attention=cross,
        feed_forward=FeedForward(
            width, gated, unfused_activation=gated
        ),  # gated-gelu is gelu_new (configuration_t5.py)
        other_parameters=norms * hidden + extra,
        norms=norms,
        linear_weights=sum(p.weights for p in projections),
        linear_outputs=sum(p.outputs for p in projections),
    )


def read_bert(config: Config, kind: str, family: Family) -> Architecture:
    """A BERT or RoBERTa (modeling_bert.py, modeling_roberta.py) with the head its `architectures` names."""
    hidden, vocabulary = needed(config, fields.HIDDEN), needed(config, fields.VOCABULARY)
    depth = needed(config, fields.LAYERS, largest=fields.LARGEST["layers"])
    heads, width = needed(config, fields.HEADS), needed(config, fields.WIDTH)
    if hidden % heads:
        raise fields.bad("num_attention_heads", heads, f"a divisor of hidden_size {hidden}")
    roles: tuple[Role, ...] = ("query", "key", "value")
    projections = [Projection(n, r, hidden, hidden, True) for n, r in zip(family.names.qkv, roles, strict=True)]
    projections.append(Projection("dense", "output", hidden, hidden, True))
    projections.append(Projection("dense", "up", hidden, width, True))
    projections.append(Projection("dense", "down", width, hidden, True))
    positions = needed(config, fields.CONTEXT)
    types = integer(config, ("type_vocab_size",), smallest=0)
    embedding = (vocabulary + positions + (2 if types is None else types)) * hidden
    heads_named = fields.names(config, "architectures") or []
    masked = any("MaskedLM" in str(name) or "PreTraining" in str(name) for name in heads_named)
    dense = hidden * hidden + hidden
    other = 2 * hidden + (dense + 2 * hidden + vocabulary if masked else dense)  # head's transform, or the pooler
    if any("PreTraining" in str(name) for name in heads_named):
        other += dense + 2 * hidden + 2
    run = LayerGroup(
        count=depth,
        projections=tuple(projections),
        attention=Attention(heads, heads, hidden // heads, hidden // heads),
        feed_forward=FeedForward(width, gated=False),
        other_parameters=4 * hidden + sum(p.outputs for p in projections),
        norms=2,
        linear_weights=sum(p.weights for p in projections),
        linear_outputs=sum(p.outputs for p in projections),
    )
    return Architecture(
        model_type=kind,
        kind="encoder",
        hidden=hidden,
        vocabulary=vocabulary,
        layers=(run,),
        encoder=(),
        embedding_parameters=embedding,
        head_parameters=vocabulary * hidden,
        tied=flag(config, "tie_word_embeddings", True),
        other_parameters=other,
        norm="layer",
        dropout=config.get("hidden_dropout_prob") != 0,
        parallel=False,
        context=positions,
        padded_positions=family.padded_positions,
        dtype=dtype if isinstance(dtype := config.get("torch_dtype"), str) else None,
        checkpoint=None,
        exact=family.counted,
        assumptions=(),
    )
