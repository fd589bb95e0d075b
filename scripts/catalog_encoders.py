"""Shapes of embedding and reranking models from their parameter count: one published encoder, and no other, has it.

BERT, RoBERTa and XLM-RoBERTa count V x H for words, P x H for positions, T x H for types and 2 H for their norm, then
12 H^2 + 13 H a layer (four projections, two of four times the width, two norms, with biases), and H^2 + H where the
pooler of BERT is kept; one score of a reranker is H + 1 more, after a layer of the pooler's size. DeBERTa-v3 has 512 H
for distances and 2 H for their norm instead of positions and types: transformers 5.23.0, models/bert, models/roberta,
models/deberta_v2; its words and sizes: github.com/microsoft/DeBERTa, README.md. A count of this many digits that agrees
to the last one is no accident. Heads do not change it; they are those of the published sizes (facts/models.jsonl has
them of BERT and XLM-RoBERTa), of the small ones those of MiniLM's.
"""

from collections.abc import Iterator
from typing import Any

# model_type: words, types, and how many positions more than the longest text the table has (the padding's id and one).
_FAMILIES = {"bert": (30522, 2, 0), "roberta": (50265, 1, 2), "xlm-roberta": (250002, 1, 2)}
_SIZES = (  # width, layers, heads
    (384, 2, 12), (384, 4, 12), (384, 6, 12), (384, 12, 12), (768, 6, 12), (768, 12, 12), (1024, 24, 16),
)  # fmt: skip
_DEBERTA_SIZES = ((384, 12, 6), (768, 12, 12), (1024, 24, 16))
_DEBERTA: dict[str, Any] = {
    "model_type": "deberta-v2", "vocab_size": 128100, "max_position_embeddings": 512, "type_vocab_size": 0,
    "relative_attention": True, "position_buckets": 256, "position_biased_input": False, "share_att_key": True,
    "norm_rel_ebd": "layer_norm", "pos_att_type": ["p2c", "c2p"],
}  # fmt: skip
FEWEST_ROUNDED = 250_000_000  # parameters: half a million is 0.2 % of them
_LENGTHS = (512, 1024, 2048, 4096, 8192)


def shape_of_count(
    parameters: int, width: int | None, length: int | None, family: str | None = None
) -> dict[str, Any] | None:
    """The config of the only encoder with this many parameters, vectors of this width, and this model_type.

    None without one. A count in whole millions is a rounded one. Below FEWEST_ROUNDED it tells too little:
    multilingual-e5-small, whose vocabulary has 35 words more, rounds as XLM-RoBERTa does. Above, the longest text and
    the width or the family must be stated, and agree.
    """
    is_rounded = parameters % 1_000_000 == 0
    told = length is not None and (width is not None or family is not None)
    if is_rounded and (not told or parameters < FEWEST_ROUNDED):
        return None
    found = [
        config
        for count, reads, config in _encoders()
        if width in (None, config["hidden_size"])
        and family in (None, config["model_type"])
        and (round(count, -6) == parameters and reads == length if is_rounded else count == parameters)
    ]
    return found[0] if found and all(config == found[0] for config in found) else None


def _encoders() -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Parameters without the pooler, with it, and with one score after it; the longest text, the config."""
    for body, length, config in (*_absolute(), *_relative()):
        width = config["hidden_size"]
        pooler = width**2 + width
        for head in (0, pooler, pooler + width + 1):
            yield body + head, length, config


def _absolute() -> Iterator[tuple[int, int, dict[str, Any]]]:
    for model_type, (words, types, more) in _FAMILIES.items():
        for width, layers, heads in _SIZES:
            for length in _LENGTHS:
                positions = length + more
                body = (words + positions + types + 2) * width + layers * (12 * width**2 + 13 * width)
                yield body, length, {
                    "model_type": model_type, "hidden_size": width, "num_hidden_layers": layers,
                    "num_attention_heads": heads, "intermediate_size": 4 * width, "vocab_size": words,
                    "max_position_embeddings": positions, "type_vocab_size": types,
                }  # fmt: skip


def _relative() -> Iterator[tuple[int, int, dict[str, Any]]]:
    """DeBERTa-v3: what is read at once is bound by its tokenizer, and not by a table."""
    for width, layers, heads in _DEBERTA_SIZES:
        rows = _DEBERTA["vocab_size"] + 2 * _DEBERTA["position_buckets"] + 2 + 2
        yield rows * width + layers * (12 * width**2 + 13 * width), _DEBERTA["max_position_embeddings"], {
            **_DEBERTA, "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
            "intermediate_size": 4 * width,
        }  # fmt: skip


def add_encoder_shape(row: dict[str, Any]) -> None:
    """Gives an embedding or reranking model without a shape the one that its parameter count tells."""
    known = row["config"] or {}
    finds = {"embedding", "rerank"} & set(row.get("capabilities") or ())
    if not finds or known.get("num_hidden_layers") or not row["parameters"]:
        return
    shape = shape_of_count(row["parameters"], row.get("dimension"), row.get("context"), known.get("model_type"))
    if shape is None or any(known.get(key, value) != value for key, value in shape.items()):
        return
    fresh = {key: value for key, value in shape.items() if key not in known}
    row["config"] = known | fresh
    source = "derived: the only published encoder with this many parameters, of this width"
    row["sources"] |= {f"config.{key}": source for key in fresh}
