"""Reads config.json into an Architecture. Pure.

`families.FAMILIES` gives the defaults of a family; what the config itself says takes precedence.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelpick.catalog.architecture import encoders, fields, layers, mixers, towers, translators
from modelpick.catalog.architecture.encoder_families import PADDED_IF_UNKNOWN, EncoderFamily
from modelpick.catalog.architecture.families import FAMILIES, STANDARD, standard_for
from modelpick.catalog.architecture.family import Family
from modelpick.catalog.architecture.fields import Config, flag, integer, missing, needed
from modelpick.catalog.architecture.quantization import checkpoint
from modelpick.catalog.architecture.shape import Architecture, LayerGroup
from modelpick.catalog.architecture.translator_families import TranslatorFamily
from modelpick.errors import CannotTellError

_TEXT_TOWERS = ("text_config", "llm_config", "language_config", "thinker_config")
_INHERITED = ("quantization_config", "compression_config", "torch_dtype", "dtype")  # by a text tower without its own
_PARTS = ("attn_config", "ffn_config")  # mpt and dbrx describe attention and MLP in nested tables
_UNTOLD = (
    "config.json leaves out most of the parameters, as where it does not tell the experts of a mixture: all are "
    "counted as dense, an upper bound of memory and time"
)
_WIDTHS = frozenset((*fields.WIDTH, *fields.EXPERT_WIDTH, "intermediate_size_mlp"))
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


def may_encode_or_hear(config: Config) -> bool:
    """False where `read` and `read_as_decoder` could describe none but a text decoder: known by the family alone."""
    text, _ = _text(config)
    family = FAMILIES.get(str(text.get("model_type")))
    return family is not None and (not isinstance(family, Family) or family.kind != "decoder")


def _read_known(config: Config) -> Architecture:
    text, several = _text(config)
    kind = fields.model_type(text)
    family = FAMILIES.get(kind)
    if family is None:
        raise missing(kind, "its model_type is not one that modelpick knows")
    shape = _read(text, kind, family, several, ())
    return _with_tower(shape, config, several or family.sees)


_UNSEEN = "text part only: vision and audio towers are counted only in the repository's total, where known"
_DEEP = ("encoder_layers", "num_hidden_layers", "num_layers", "depth", "layers")
_VISION = ("vision_config", "vision_tower_config", "vit_config")
_SEEN = "its vision tower is counted from vision_config, within about 5 %; other towers only in the repository's total"


def _with_tower(shape: Architecture, config: Config, sees: bool) -> Architecture:
    """The shape with what the config says of images, or the sentence that it says nothing of them."""
    tower = towers.tower(config, shape.hidden) if shape.kind == "decoder" else None
    uncounted = _uncounted(config, seen=tower is not None)
    if tower is None:
        if not sees:
            return replace(shape, uncounted=uncounted)
        return replace(shape, exact=False, assumptions=(_UNSEEN, *shape.assumptions), uncounted=uncounted)
    return replace(
        shape, tower=tower, other_parameters=shape.other_parameters + tower.parameters, exact=False,
        assumptions=(_SEEN, *shape.assumptions), uncounted=uncounted,
    )  # fmt: skip


def _uncounted(config: Config, *, seen: bool) -> str:
    """The first part that the config describes as a network of its own, and that no count here holds; "" if none."""
    for key, part in config.items():
        if not str(key).endswith("_config") or not isinstance(part, Mapping):
            continue
        if key in _TEXT_TOWERS:
            inner = _uncounted(part, seen=seen or any(isinstance(part.get(name), Mapping) for name in _VISION))
            if inner:
                return inner
        elif not (seen and key in _VISION) and any(part.get(name) for name in (*fields.HIDDEN, *_DEEP, "embed_dim")):
            return str(key)
    # fuyu projects patches of an image without a tower
    return "patch_size" if not seen and "text_config" in config and config.get("patch_size") else ""


def read_as_decoder(config: Config, parameters: int, *, untold: bool = False) -> Architecture:
    """A config that `read` cannot read, as a standard gated decoder; only where `parameters` is known otherwise.

    Every layer is taken to cache keys and values of all tokens, which is an upper bound, and the result says so; one of
    a family with delta-rule layers is counted as both. An unstated MLP width follows from the parameter count; so does
    that of a config which leaves out most of the parameters (`untold`): experts, counted as if each token passed all.
    Raises CannotTellError as `read` does.
    """
    text, several = _text(config)
    kind = str(text.get("model_type") or "unknown")
    known = FAMILIES.get(kind)
    if isinstance(known, EncoderFamily):
        return _encoder_by_count(text, kind, known, parameters)
    standard = standard_for(known)
    if untold:  # every layer has an MLP, which takes what is not told
        standard = replace(standard, one_part_layers=False)
    notes: tuple[str, ...] = (f"model_type {kind!r} is read as a standard decoder that caches every layer",)
    if untold or (integer(text, fields.WIDTH) is None and not integer(text, fields.EXPERT_WIDTH, smallest=0)):
        text = {key: value for key, value in text.items() if key not in _WIDTHS} | {"intermediate_size": 1}
        narrow = _read(text, kind, standard, several, ())
        spare = max(parameters - narrow.parameters, 0)
        experts = max((run.experts.count for run in narrow.layers if run.experts), default=1)
        text["intermediate_size"] = spare // (3 * narrow.hidden * narrow.depth * experts) + 1
        if untold:
            notes = (_UNTOLD, *((mixers.UNKNOWN_WINDOWS,) if known and mixers.windows_unknown(text, known) else ()))
        else:
            notes += ("the MLP width is derived from the parameter count",)
    shape = _read(text, kind, standard, several, notes)
    if not FAMILIES.get(kind, STANDARD).hybrid:
        return replace(shape, guessed=shape.guessed or untold or kind not in FAMILIES)
    both = mixers.most(shape.hidden, max(run.attention.query_width for run in shape.layers if run.attention))
    notes = (
        *shape.assumptions,
        "config.json does not say which layers use attention: each is counted as both kinds, an upper bound",
    )
    layers_of_both = tuple(replace(run, mixer=both) for run in shape.layers)
    guessed = shape.guessed or untold or not FAMILIES[kind].kimi_delta  # `both` is a bound of delta rules alone
    return replace(shape, layers=layers_of_both, assumptions=notes, guessed=guessed)


def _encoder_by_count(config: Config, kind: str, family: EncoderFamily, parameters: int) -> Architecture:
    """An encoder whose positions are not stated: as many as the parameters leave room for."""
    if integer(config, fields.CONTEXT) is not None:
        raise missing(kind, "config.json lacks more than its positions")
    narrow = encoders.read_encoder({**config, fields.CONTEXT[0]: 1}, kind, family)
    positions = max((parameters - narrow.parameters) // narrow.hidden + 1, 1)
    if positions > fields.LARGEST["context"]:
        raise missing(kind, "config.json lacks max_position_embeddings")
    shape = encoders.read_encoder({**config, fields.CONTEXT[0]: positions}, kind, family)
    note = "the number of its positions is derived from the parameter count"
    return replace(shape, context=None, exact=False, assumptions=(*shape.assumptions, note))


def longest_of(config: Config, *, encoder: bool = False) -> int | None:
    """`Architecture.longest` of a config.json, of a family that `read` does not know too; None where it states none.

    An unknown encoder (`encoder`) is taken to pad its positions as RoBERTa does, which is two tokens on the safe side.
    """
    try:
        return read(config).longest
    except CannotTellError:
        text, _ = _text(config)
        positions = integer(text, fields.CONTEXT, largest=fields.LARGEST["context"])
        padded = PADDED_IF_UNKNOWN if encoder else 0
        return None if positions is None else max(positions - padded, 1)


def _text(config: Config) -> tuple[Config, bool]:
    """The text tower's config, and whether there are other towers."""
    text: Config = config
    for _ in range(_DEEPEST + 1):
        inner = next((tower for key in _TEXT_TOWERS if isinstance(tower := text.get(key), Mapping)), None)
        if inner is None:
            break
        inherited: dict[str, object] = {key: text[key] for key in _INHERITED if text.get(key)}
        tied = text.get("tie_word_embeddings")
        outer = {} if tied is None else {"tie_word_embeddings": tied}  # the output matrix is the whole model's
        if not inner.get("model_type"):
            inherited["model_type"] = text.get("model_type")
        text = {**inherited, **inner, **outer}
    else:
        raise fields.bad("text_config", "nested", "one text tower")
    several = text is not config
    for part in _PARTS:
        if isinstance(own := text.get(part), Mapping):  # what the model itself says takes precedence over its parts
            text = {**own, **text}
    return text, several


def _read(config: Config, kind: str, family: Family, several: bool, assumptions: tuple[str, ...]) -> Architecture:
    if isinstance(family, EncoderFamily):
        return encoders.read_encoder(config, kind, family)
    if isinstance(family, TranslatorFamily):
        return translators.read_translator(config, kind, family)
    if family.kind == "encoder-decoder":
        return translators.read_t5(config, kind, family)
    hidden = needed(config, fields.HIDDEN)
    vocabulary = integer(config, fields.VOCABULARY, largest=fields.LARGEST["vocabulary"]) or family.vocabulary
    if vocabulary is None:
        raise missing(kind, "config.json lacks vocab_size")
    groups, notes, once = _groups(config, kind, family, hidden)
    own = family.extra_of(config, hidden)
    if mixers.windows_unknown(config, family):
        assumptions += (mixers.UNKNOWN_WINDOWS,)
    narrow = integer(config, ("word_embed_proj_dim",)) or hidden
    embedding, head = vocabulary * narrow, vocabulary * (narrow + family.head_bias)
    other = layers.norm_size(family, hidden) + own.once + once
    if own.layer:
        groups = tuple(replace(run, other_parameters=run.other_parameters + own.layer) for run in groups)
    if narrow != hidden:  # opt-350m: projections in and out, and no final norm
        embedding += 2 * narrow * hidden
        other = other if flag(config, "do_layer_norm_before", False) else 0
    context = integer(config, fields.CONTEXT, largest=fields.LARGEST["context"])
    if family.positions is not None:
        embedding += (needed(config, fields.CONTEXT) + family.positions) * hidden
    if family.embedding_norm:
        other += layers.norm_size(family, hidden)
    return Architecture(
        model_type=kind,
        kind="decoder",
        hidden=hidden,
        vocabulary=vocabulary,
        layers=groups,
        encoder=(),
        embedding_parameters=embedding + own.embedding,
        head_parameters=head,
        tied=flag(config, "tie_word_embeddings", family.tied),
        other_parameters=other,
        norm=family.norm,
        parallel=layers.is_parallel(config, family),
        context=context,
        dtype=_dtype(config),
        checkpoint=checkpoint(config, groups),
        exact=family.counted and not several and not notes,
        assumptions=assumptions + notes,
        guessed=bool(notes),
        untrained=family.untrained,
        sdpa=family.sdpa,
        score_bias="shared" if flag(config, "alibi", False) else "",  # modeling_falcon.py: in the mask, made once
        rotary=family.rotary,
        upcasts_logits=family.upcasts_logits,
        caps_scores=_caps(config, "attn_logit_softcapping", family.caps_scores),
        caps_logits=_caps(config, "final_logit_softcapping", family.caps_logits),
    )


def _groups(
    config: Config, kind: str, family: Family, hidden: int
) -> tuple[tuple[LayerGroup, ...], tuple[str, ...], int]:
    """Layers, what was assumed of them, and parameters that a plan of layers has once."""
    if family.plan is not None:
        planned, once = family.plan(config, family, hidden)
        return planned, (), once
    return *layers.layer_groups(config, kind, family, hidden), 0


def _caps(config: Config, key: str, default: bool) -> bool:
    """Whether a soft cap is set: a number; null is none."""
    return bool(config[key]) if key in config else default


def _dtype(config: Config) -> str | None:
    value: Any = config.get("torch_dtype") or config.get("dtype")
    return value if isinstance(value, str) else None
