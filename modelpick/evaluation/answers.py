"""Held-out questions answered by the model itself, before and after: what a user sees, which a loss does not show.

The measures follow from the form of the data: valid JSON where every expected answer is JSON, calls of tools where
answers call them, F1 where the answers are a few labels, and exact match always.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from modelpick.datasets.examples import Example
from modelpick.evaluation.score import Interval, ScoreComparison, Scores, compare
from modelpick.loading.load import Loaded, longest_known
from modelpick.loading.tokenize import begins_with_bos, prompt_text

ANSWERS = "held-out answers"  # what every comparison of this module is named
_MOST_TOKENS = 512  # of an answer: longer ones are compared by their beginning, which is said in the record
_ROOM = 1.5  # times the longest expected answer: a model that says more than was asked is seen to
_LONGEST_LABEL = 60  # characters: a longer answer is no label
_RESAMPLES = 1000  # Efron & Tibshirani, An Introduction to the Bootstrap (1993), section 12.4: 1000 or more


def answer(loaded: Loaded, examples: Sequence[Example], batch: int = 8) -> tuple[str, ...]:
    """Greedy answers of a decoder or encoder-decoder to the examples' questions, in their order.

    Each may be half as long again as the longest expected one, at most 512 tokens, and as the model's context leaves
    room for; the model's own generation settings are not used.
    """
    import torch

    model: Any = loaded.model
    tokenizer: Any = loaded.tokenizer
    prompts = [_prompt(loaded, example) for example in examples]
    expected = max((len(tokenizer(one.answer or "")["input_ids"]) for one in examples), default=0)
    new_tokens = min(_MOST_TOKENS, round(_ROOM * expected) + 8)
    limit = longest_known(model.config, loaded.kind)
    was_training, side = model.training, tokenizer.padding_side
    model.eval()
    tokenizer.padding_side = "left"
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    texts = [""] * len(prompts)
    try:
        for start in range(0, len(order), batch):
            picked = order[start : start + batch]
            inputs = tokenizer(
                [prompts[index] for index in picked], return_tensors="pt", padding=True,
                add_special_tokens=loaded.kind != "decoder",
            ).to(next(model.parameters()).device)  # fmt: skip
            inputs.pop("token_type_ids", None)
            asked = inputs["input_ids"].shape[1]
            room = new_tokens if limit is None else min(new_tokens, limit - asked)
            if room <= 0:
                continue  # the question alone fills the context: no answer, which counts as wrong
            with torch.inference_mode():
                made = model.generate(
                    **inputs, max_new_tokens=room, do_sample=False, temperature=None, top_p=None, top_k=None,
                    pad_token_id=tokenizer.pad_token_id,
                )  # fmt: skip
            written = made if loaded.kind == "encoder-decoder" else made[:, asked:]
            for index, row in zip(picked, written, strict=True):
                texts[index] = str(tokenizer.decode(row, skip_special_tokens=True)).strip()
    finally:
        model.train(was_training)
        tokenizer.padding_side = side
    return tuple(texts)


def _prompt(loaded: Loaded, example: Example) -> str:
    text = prompt_text(example, loaded.tokenizer, loaded.kind)
    plain = loaded.kind == "decoder" and text == example.prompt  # a template writes its own begin token
    return (loaded.tokenizer.bos_token if plain and begins_with_bos(loaded.tokenizer) else "") + text


@dataclass(frozen=True, slots=True)
class Measure:
    """One way to mark an answer: its name, and whether the answer to an example is right by it."""

    name: str
    right: Callable[[Example, str], bool]


def measures_for(examples: Sequence[Example]) -> tuple[Measure, ...]:
    """The measures that the form of the expected answers allows."""
    found = [Measure("exact match", lambda example, text: _same(example.answer or "", text))]
    if examples and all(_is_json(example.answer or "") for example in examples):
        found.append(Measure("valid JSON", lambda example, text: _is_json(text)))
    if any(_calls_of(example) for example in examples):
        found.append(Measure("tool calls", lambda example, text: calls_in(text) == _calls_of(example)))
    return tuple(found)


def compare_answers(
    examples: Sequence[Example], before: Sequence[str], after: Sequence[str], min_effect: float
) -> tuple[ScoreComparison, ...]:
    """Every measure of the answers before and after."""
    rows = []
    for measure in measures_for(examples):
        first, second = (
            Scores(
                measure.name,
                tuple(float(measure.right(one, text)) for one, text in zip(examples, texts, strict=True)),
            )
            for texts in (before, after)
        )
        rows.append(compare(ANSWERS, first, second, min_effect))
    if are_labels([example.answer or "" for example in examples]):
        rows.append(_compare_f1([(example.answer or "").strip() for example in examples], before, after, min_effect))
    return tuple(rows)


def are_labels(answers: Sequence[str]) -> bool:
    """Whether answers are labels: at least two, short, on one line, and each twice on average."""
    known = {text.strip() for text in answers}
    short = all(len(text) <= _LONGEST_LABEL and "\n" not in text for text in known)
    return short and 2 <= len(known) <= len(answers) / 2


def macro_f1(expected: Sequence[str], given: Sequence[str]) -> float:
    """The mean over the expected labels of 2 TP / (2 TP + FP + FN); a label that is never given scores 0.

    >>> macro_f1(["a", "a", "b"], ["a", "b", "b"])
    0.6666666666666666
    """
    right = Counter(one for one, other in zip(expected, given, strict=True) if one == other)
    wanted, said = Counter(expected), Counter(given)
    return sum(2 * right[label] / (wanted[label] + said[label]) for label in wanted) / max(1, len(wanted))


def _compare_f1(
    expected: Sequence[str], before: Sequence[str], after: Sequence[str], min_effect: float
) -> ScoreComparison:
    """Macro F1, with a percentile bootstrap interval over cases: F1 does not come from one figure a case."""
    first, second = ([text.strip() for text in texts] for texts in (before, after))
    draw = random.Random(0)
    every = range(len(expected))
    found = []
    for _ in range(_RESAMPLES):
        drawn = draw.choices(every, k=len(expected))
        labels = [expected[index] for index in drawn]
        gained = macro_f1(labels, [second[index] for index in drawn])
        found.append(gained - macro_f1(labels, [first[index] for index in drawn]))
    found.sort()
    was, now = macro_f1(expected, first), macro_f1(expected, second)
    low, high = found[round(0.025 * _RESAMPLES)], found[round(0.975 * _RESAMPLES) - 1]
    scores = [
        Scores("label F1", tuple(float(one == other) for one, other in zip(expected, texts, strict=True)), value)
        for texts, value in ((first, was), (second, now))
    ]
    return compare(ANSWERS, scores[0], scores[1], min_effect, Interval(now - was, low, high))


def _same(expected: str, text: str) -> bool:
    """The same text but for white space at its ends, or the same JSON value."""
    if expected.strip() == text.strip():
        return True
    return _is_json(expected) and _is_json(text) and json.loads(expected) == json.loads(text)


def _is_json(text: str) -> bool:
    """Whether a text is a JSON object or list; a bare number or word is an answer like any other."""
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def calls_in(text: str) -> Counter[tuple[str, str]]:
    """The calls of tools in a text, in whatever marks the template puts around them: every JSON object that has a name
    and arguments, as (name, arguments with sorted keys)."""
    return Counter(_call(found) for found in _objects(text) if "name" in found)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The outermost JSON objects in a text that look like calls, from left to right."""
    decoder, start = json.JSONDecoder(), text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        inner = value.get("function", value)
        if isinstance(inner, dict) and isinstance(inner.get("name"), str) and _arguments(inner) is not None:
            yield inner
        start = text.find("{", end)


def _arguments(call: dict[str, Any]) -> Any:
    return call.get("arguments", call.get("parameters"))


def _call(call: dict[str, Any]) -> tuple[str, str]:
    arguments = _arguments(call)
    with suppress(ValueError):
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    return str(call["name"]), json.dumps(arguments, sort_keys=True)


def _calls_of(example: Example) -> Counter[tuple[str, str]]:
    calls: Any = getattr(example, "calls", ())
    return Counter(_call({"name": call.name, "arguments": call.arguments}) for call in calls)


def as_lines(examples: Sequence[Example], before: Sequence[str], after: Sequence[str]) -> str:
    """answers.jsonl: each question with the expected answer and both answers, one object a line."""
    rows = (
        {"line": one.line, "question": one.asked, "expected": one.answer, "before": first, "after": second}
        for one, first, second in zip(examples, before, after, strict=True)
    )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
