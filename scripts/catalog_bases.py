"""Shapes of embedding and reranking models from the model they were made of, where their parameter count proves it.

A model that was tuned from another keeps its layers, and loses or keeps its output matrix; rows of the vocabulary that
only padded it are often dropped. Where the count is, to the last parameter, that of the base with so many rows fewer,
the shape is the base's. Any other difference (a head of its own, words of its own, a projection) leaves it unknown.
"""

from collections.abc import Mapping
from typing import Any

from modelpick.catalog import architecture
from modelpick.errors import CannotTellError

# Rows beyond the tokenizer's words that published models pad to: 267 of Qwen3, 271 of its embedding models.
MOST_PADDING = 1024
# What a base says of how it is to be run, and what its quantization and its windows are: not handed on.
_NOT_HANDED_ON = frozenset(
    {"architectures", "max_position_embeddings", "sliding_window", "rope_scaling", "quantization_config"}
)
# What two models of one shape have in common.
_MACHINE = (
    "model_type", "num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads",
    "num_key_value_heads", "head_dim", "vocab_size", "tie_word_embeddings",
)  # fmt: skip


def shape_of_base(base: Mapping[str, Any], parameters: int) -> dict[str, Any] | None:
    """The config of a decoder with exactly `parameters`, of the shape of `base` (a config); None where they differ.

    Tied or without an output matrix, which counts the same, before one with an output matrix of its own.
    """
    plain = {key: value for key, value in base.items() if key not in _NOT_HANDED_ON}
    words = plain.get("vocab_size")
    if not isinstance(words, int) or words <= MOST_PADDING or "text_config" in base or "quantization_config" in base:
        return None
    for tied in (True, False):
        config = plain | {"tie_word_embeddings": tied}
        whole, fewer = (_counted(config | {"vocab_size": size}) for size in (words, words - 1))
        if whole is None or fewer is None:
            return None
        dropped, rest = divmod(whole - parameters, whole - fewer)
        if rest == 0 and 0 <= dropped <= MOST_PADDING:
            return config | {"vocab_size": words - dropped}
    return None


def _counted(config: Mapping[str, Any]) -> int | None:
    """Parameters of a decoder of which every matrix is read."""
    try:
        shape = architecture.read(config)
    except CannotTellError:
        return None
    return shape.parameters if shape.kind == "decoder" and shape.exact and not shape.guessed else None


def add_base_shapes(rows: list[dict[str, Any]]) -> None:
    """Gives embedding and reranking models without a shape that of the base they name.

    Where none is named, but the family is: that of the family's models, if all that have its count agree.
    """
    by_id = {str(row["id"]).lower(): row for row in rows}
    waiting = [row for row in rows if _lacks_shape(row)]
    while sum(_add(row, _bases(row, rows, by_id)) for row in waiting if _lacks_shape(row)):
        pass  # now what was tuned from a model that has just got its shape


def _lacks_shape(row: Mapping[str, Any]) -> bool:
    capabilities = set(row.get("capabilities") or ())
    finds = bool({"embedding", "rerank"} & capabilities) and "vision" not in capabilities
    exact = row["parameters_exact"] and row["parameters"]
    return bool(finds and exact and not (row["config"] or {}).get("num_hidden_layers"))


def _bases(row: Mapping[str, Any], rows: list[dict[str, Any]], by_id: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The models with a config whose shape this one may have."""
    named = row.get("base_models") or ()
    if named:
        found = [by_id.get(str(id).lower()) for id, relation in named if relation == "finetune"]
        return [one for one in found if one is not None and one["config"]] if len(named) == 1 else []
    family = (row["config"] or {}).get("model_type")
    return [one for one in rows if family and (one["config"] or {}).get("model_type") == family and one is not row]


def _add(row: dict[str, Any], bases: list[dict[str, Any]]) -> bool:
    known = row["config"] or {}
    fits = [(base, shape) for base in bases if (shape := shape_of_base(base["config"], row["parameters"]))]
    if not fits or any(_machine(shape) != _machine(fits[0][1]) for _, shape in fits):
        return False
    base, shape = fits[0]
    if row.get("dimension") not in (None, shape.get("hidden_size")):
        return False
    if any(shape.get(key, value) != value for key, value in known.items()):
        return False
    row["config"] = known | shape
    source = f"derived: {base['id']} has this shape, and so many parameters"
    if row.get("base_models"):
        source = f"derived: {base['id']}, of which it was made, has this shape, and so many parameters"
    row["sources"] |= {f"config.{key}": source for key in shape if key not in known}
    return True


def _machine(shape: Mapping[str, Any]) -> list[Any]:
    return [shape.get(key) for key in _MACHINE]
