"""Encoders: of text (BERT and its kin), and of sound (wav2vec 2.0 and its kin). Pure."""

from collections.abc import Mapping

from modelpick.catalog.architecture import fields, sound
from modelpick.catalog.architecture.encoder_families import EncoderFamily
from modelpick.catalog.architecture.fields import Config, flag, integer, needed
from modelpick.catalog.architecture.shape import (
    Architecture,
    Attention,
    FeedForward,
    LayerGroup,
    Projection,
    Role,
)

ROLES: tuple[Role, Role, Role] = ("query", "key", "value")


def read_encoder(config: Config, kind: str, family: EncoderFamily) -> Architecture:
    """An encoder with the head that its `architectures` names: of masked words, a classifier, of sound, or none."""
    hidden = needed(config, fields.HIDDEN)
    vocabulary = integer(config, fields.VOCABULARY, largest=fields.LARGEST["vocabulary"])
    if vocabulary is None:
        raise fields.missing(kind, "config.json lacks vocab_size")
    depth = needed(config, fields.LAYERS, largest=fields.LARGEST["layers"])
    narrow = (integer(config, (family.narrow,)) if family.narrow else None) or hidden
    extra = family.extra_of(config, hidden)
    norm = hidden * (family.norm_weight + flag(config, "norm_bias", family.norm_bias))
    head, head_parameters, tied = _head(config, family, hidden, narrow, vocabulary)
    embedding, other = _embedding(config, family, hidden, narrow, vocabulary)
    return Architecture(
        model_type=kind,
        kind="encoder",
        hidden=hidden,
        vocabulary=vocabulary,
        layers=(_layer(config, family, hidden, depth, 2 * norm + extra.layer),),
        encoder=(),
        embedding_parameters=embedding,
        head_parameters=head_parameters,
        tied=tied,
        other_parameters=other + (norm if family.last_norm else 0) + head + extra.once,
        norm=family.norm,
        dropout=config.get("hidden_dropout_prob", config.get("dropout")) != 0 and family.norm == "layer",
        parallel=False,
        context=None if family.sound else _context(config, family),
        relative_positions=family.sound,
        padded_positions=family.padded_positions,
        dtype=dtype if isinstance(dtype := config.get("torch_dtype"), str) else None,
        checkpoint=None,
        exact=family.counted,
        assumptions=(sound.FRAMES,) if family.sound else (),
        sdpa=family.sdpa,
        score_bias=family.score_bias,
        rotary=family.rotary,
        labels=labels_of(config),
        untrained=family.untrained,
        front=sound.width(config) if family.sound else 0,
    )


def _context(config: Config, family: EncoderFamily) -> int | None:
    if family.positions is None:
        return integer(config, fields.CONTEXT, largest=fields.LARGEST["context"])
    return needed(config, fields.CONTEXT)


def labels_of(config: Config) -> int:
    """Classes of a classifier: `num_labels`, the entries of `id2label`, or the two that transformers makes."""
    named = config.get("id2label")
    if isinstance(named, Mapping) and named:
        return len(named)
    return integer(config, ("num_labels", "_num_labels"), largest=fields.LARGEST["vocabulary"]) or 2


def _embedding(
    config: Config, family: EncoderFamily, hidden: int, narrow: int, vocabulary: int
) -> tuple[int, int]:  # fmt: skip
    """Parameters of the embeddings, and of their norm; of sound, of what takes their place."""
    if family.sound:
        return 0, sound.front(config, hidden, family.stacked_positions)
    rows = vocabulary
    if family.positions is not None and flag(config, "position_biased_input", True):
        rows += needed(config, fields.CONTEXT) + family.positions
    stated = integer(config, ("type_vocab_size",), smallest=0)
    rows += family.types if stated is None or (not family.types and family.positions is None) else stated
    projected = narrow != hidden or family.narrow in ("input_embedding_size",)
    embedding = rows * narrow + (narrow * hidden + hidden * family.narrow_bias if projected else 0)
    normed = narrow if family.norms_narrow else hidden
    bias = flag(config, "norm_bias", family.norm_bias)
    return embedding, normed * (1 + bias) if family.embedding_norm else 0


def _layer(config: Config, family: EncoderFamily, hidden: int, depth: int, other: int) -> LayerGroup:
    heads, width = needed(config, fields.HEADS), needed(config, ("hidden_dim", *fields.WIDTH))
    size = integer(config, ("head_dim",))
    if size is None:
        if hidden % heads:
            raise fields.bad("num_attention_heads", heads, f"a divisor of hidden_size {hidden}")
        size = hidden // heads
    keys = integer(config, fields.KV_HEADS) or heads
    if heads % keys:
        raise fields.bad("num_key_value_heads", keys, f"a divisor of num_attention_heads {heads}")
    if family.narrow and "head_ratio" in config:  # modeling_convbert.py: convolutions take the place of some heads
        heads = keys = max(heads // needed(config, ("head_ratio",)), 1)
        size = hidden // heads // 2
    biased = flag(config, "attention_bias", family.qkv_bias)
    names = family.names
    sizes = (heads * size, keys * size, keys * size)
    if len(names.qkv) == 1:
        made = [Projection(names.qkv[0], "qkv", hidden, sum(sizes), biased)]
    else:
        made = [Projection(n, r, hidden, s, biased) for n, r, s in zip(names.qkv, ROLES, sizes, strict=True)]
    inner = hidden if "head_ratio" in config else heads * size
    made.append(Projection(names.output, "output", inner, hidden, flag(config, "attention_bias", family.output_bias)))
    up = flag(config, "mlp_bias", family.mlp_bias)
    if not family.gated:
        made.append(Projection(names.up[0], "up", hidden, width, up))
    elif len(names.up) == 1:
        made.append(Projection(names.up[0], "gate_up", hidden, 2 * width, up))
    else:
        made += [Projection(names.up[0], "gate", hidden, width, up), Projection(names.up[1], "up", hidden, width, up)]
    made.append(Projection(names.down, "down", width, hidden, flag(config, "mlp_bias", family.down_bias)))
    sets = None
    if family.narrow and "num_hidden_groups" in config:  # modeling_albert.py: layers of a group share their weights
        sets = min(needed(config, ("num_hidden_groups",)) * (integer(config, ("inner_group_num",)) or 1), depth)
    return LayerGroup(
        count=depth,
        projections=tuple(made),
        attention=Attention(heads, keys, size, size, rotates_fused=family.rotary and len(names.qkv) == 1),
        feed_forward=FeedForward(width, family.gated, family.unfused_activation),
        other_parameters=other + sum(p.outputs for p in made if p.bias),
        norms=2,
        linear_weights=sum(p.weights for p in made),
        linear_outputs=sum(p.outputs for p in made),
        sets=sets,
    )


def _head(config: Config, family: EncoderFamily, hidden: int, narrow: int, vocabulary: int) -> tuple[int, int, bool]:
    """Parameters of the head that `architectures` names, outside its output matrix; that matrix; whether it is tied."""
    named = [str(name) for name in fields.names(config, "architectures") or []]
    dense, labels = hidden * hidden + hidden, labels_of(config)
    if family.sound:
        return *sound.head(named, config, hidden, vocabulary, quantizer=family.counts_quantizer), False
    wide = (integer(config, (family.wide_head,)) if family.wide_head else None) or narrow
    normed = wide * (1 + flag(config, "norm_bias", family.norm_bias))
    transform = hidden * wide + wide * family.transform_bias + normed if family.transforms else 0
    if any(part in name for name in named for part in ("MaskedLM", "PreTraining", "LMHead", "CausalLM")):
        pretrained = any("PreTraining" in name for name in named)
        pooler = dense if family.always_pooled or pretrained else 0
        next_sentence = 2 * hidden + 2 if pretrained else 0
        bias = flag(config, "decoder_bias", family.head_bias) * vocabulary
        return (
            transform + bias + pooler + next_sentence,
            vocabulary * wide,
            flag(config, "tie_word_embeddings", family.tied),
        )
    classifier = labels * (hidden + 1) + (dense if family.always_pooled else 0)
    if any("SequenceClassification" in name or "MultipleChoice" in name for name in named):
        deepens = family.deepens_pooled if family.always_pooled else family.deepens
        deep = transform if family.classifies_by_head else dense if deepens else 0
        return classifier + deep, 0, True
    if any("TokenClassification" in name or "QuestionAnswering" in name for name in named):
        return classifier + (transform if family.classifies_by_head else 0), 0, True
    return dense if family.pooled else 0, 0, True
