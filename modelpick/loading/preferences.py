"""Pairs of answers and judged answers become token ids: the question once, and each answer to it."""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelpick.datasets.examples import Example
from modelpick.errors import UsageError
from modelpick.loading.tokenize import IGNORED, Encoded, EncodedRow, encode, tokenized

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_WHOLE = 1 << 30  # tokens: nothing is cut while the question is told from its answers


def encode_pairs(examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase", context: int) -> Encoded:
    """Rows for TRL's DPOTrainer: `prompt_ids`, `chosen_ids`, `rejected_ids`.

    The question ends where the two sides, as the model's template renders them, begin to differ or to be learned. A
    pair whose question fills the context is left out. Raises UsageError as `tokenize.encode` does.
    """
    rows: list[dict[str, Any]] = []
    for chosen, rejected in _sides(examples, tokenizer):
        shared = 0
        for here, there in zip(chosen[0], rejected[0], strict=False):
            if here != there:
                break
            shared += 1
        ends = min(shared, chosen[1], rejected[1])
        rows.append({
            "prompt_ids": chosen[0][:ends], "chosen_ids": chosen[0][ends:], "rejected_ids": rejected[0][ends:],
        })  # fmt: skip
    return _encoded(rows, ("chosen_ids", "rejected_ids"), context)


def encode_thumbs(
    examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase", context: int, seed: int
) -> Encoded:
    """Rows for TRL's KTOTrainer: `prompt_ids`, `completion_ids`, `label` (liked or not), in an order drawn by `seed`.

    TRL takes them in their order (its KL term pairs neighbours), so that order is drawn once. Raises UsageError as
    `tokenize.encode` does, and code="one_label" where all answers were liked, or none.
    """
    if len({example.liked for example in examples}) < 2:
        raise UsageError(
            "every answer was judged the same", fix="give answers with thumbs up and thumbs down", code="one_label"
        )
    rows: list[dict[str, Any]] = []
    for example, (side,) in zip(examples, _sides(examples, tokenizer), strict=True):
        ids, begins = side
        rows.append({"prompt_ids": ids[:begins], "completion_ids": ids[begins:], "label": bool(example.liked)})
    random.Random(seed).shuffle(rows)
    return _encoded(rows, ("completion_ids",), context)


def as_answers(rows: Sequence[Any], key: str) -> tuple[EncodedRow, ...]:
    """The answers `key` of such rows as rows to score: labels on the answer alone."""
    return tuple(
        EncodedRow(
            input_ids=[*row["prompt_ids"], *row[key]], labels=[IGNORED] * len(row["prompt_ids"]) + list(row[key])
        )
        for row in rows
    )


def _sides(examples: Sequence[Example], tokenizer: Any) -> list[list[tuple[list[int], int]]]:
    """Of each example its sides: the token ids up to the last learned one, and where the last answer begins."""
    apart = [example.sides() for example in examples]
    every = [side.last_answer_only() for sides in apart for side in sides]
    encode(every, tokenizer, "decoder", _WHOLE)  # refuses what a row would not teach
    made = iter(tokenized(every, tokenizer, "decoder"))
    return [[_answer_of(next(made).rows[-1]) for _ in sides] for sides in apart]


def _answer_of(row: EncodedRow) -> tuple[list[int], int]:
    labels = row["labels"]
    end = max(place for place, label in enumerate(labels) if label != IGNORED) + 1
    begin = end
    while begin > 0 and labels[begin - 1] != IGNORED:
        begin -= 1
    return row["input_ids"][:end], begin


def _encoded(rows: list[dict[str, Any]], answers: tuple[str, ...], context: int) -> Encoded:
    whole = [[len(row["prompt_ids"]) + len(row[name]) for name in answers] for row in rows]
    longest = max((max(lengths) for lengths in whole), default=0)
    kept: list[Any] = [row for row in rows if len(row["prompt_ids"]) < context]
    if rows and not kept:
        raise UsageError(
            f"no example's question fits in {context} tokens",
            fix=f"raise --context (the longest has {longest})",
            code="context_too_short",
        )
    cut = sum(max(lengths) > context for lengths in whole)
    tokens = sum(min(length, context) for lengths in whole for length in lengths)
    return Encoded(tuple(kept), cut, len(rows) - len(kept), longest, tokens)
