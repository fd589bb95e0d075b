"""Shapes of embedding models from their parameter count: one of the published encoders, and no other, has it.

BERT, RoBERTa and XLM-RoBERTa count V x H for words, P x H for positions, T x H for types and 2 H for their norm, then
12 H^2 + 13 H a layer (four projections, two of four times the width, two norms, with biases), and H^2 + H where the
pooler of BERT is kept: transformers 5.23.0, models/bert, models/roberta. A count of this many digits that agrees to the
last one is no accident. Heads do not change it; they are those of the published sizes (facts/models.jsonl has them of
BERT and XLM-RoBERTa), of the small ones those of MiniLM's.
"""

from collections.abc import Iterator
from typing import Any

# model_type: words, types, and how many positions more than the longest text the table has (the padding's id and one).
_FAMILIES = {"bert": (30522, 2, 0), "roberta": (50265, 1, 2), "xlm-roberta": (250002, 1, 2)}
_SIZES = ((384, 6, 12), (384, 12, 12), (768, 6, 12), (768, 12, 12), (1024, 24, 16))  # width, layers, heads
FEWEST_ROUNDED = 250_000_000  # parameters: half a million is 0.2 % of them
_LENGTHS = (512, 1024, 2048, 4096, 8192)


def shape_of_count(parameters: int, width: int | None, length: int | None) -> dict[str, Any] | None:
    """The config of the only encoder with this many parameters and vectors of this width; None without one.

    A count in whole millions is a rounded one. Below FEWEST_ROUNDED it tells too little: multilingual-e5-small, whose
    vocabulary has 35 words more, rounds as XLM-RoBERTa does. Above, width and longest text must be stated, and agree.
    """
    is_rounded = parameters % 1_000_000 == 0
    if is_rounded and (width is None or length is None or parameters < FEWEST_ROUNDED):
        return None
    found = [
        config
        for count, reads, config in _encoders()
        if width in (None, config["hidden_size"])
        and (round(count, -6) == parameters and reads == length if is_rounded else count == parameters)
    ]
    return found[0] if found and all(config == found[0] for config in found) else None


def _encoders() -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Parameters without the pooler and with it, the longest text, the config."""
    for model_type, (words, types, more) in _FAMILIES.items():
        for width, layers, heads in _SIZES:
            for length in _LENGTHS:
                positions = length + more
                body = (words + positions + types + 2) * width + layers * (12 * width**2 + 13 * width)
                config = {
                    "model_type": model_type, "hidden_size": width, "num_hidden_layers": layers,
                    "num_attention_heads": heads, "intermediate_size": 4 * width, "vocab_size": words,
                    "max_position_embeddings": positions, "type_vocab_size": types,
                }  # fmt: skip
                yield body, length, config
                yield body + width**2 + width, length, config


def add_encoder_shape(row: dict[str, Any]) -> None:
    """Gives an embedding model without a shape the one that its parameter count tells."""
    known = row["config"] or {}
    if "embedding" not in (row.get("capabilities") or ()) or known.get("num_hidden_layers") or not row["parameters"]:
        return
    shape = shape_of_count(row["parameters"], row.get("dimension"), row.get("context"))
    if shape is None or any(known.get(key, value) != value for key, value in shape.items()):
        return
    fresh = {key: value for key, value in shape.items() if key not in known}
    row["config"] = known | fresh
    source = "derived: the only published encoder with this many parameters, of this width"
    row["sources"] |= {f"config.{key}": source for key in fresh}
