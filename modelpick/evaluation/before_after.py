"""The same measurements before and after, on the new task and on what the model should not lose."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelpick import schema
from modelpick.datasets import read
from modelpick.datasets.examples import Example
from modelpick.datasets.split import Data
from modelpick.errors import UsageError
from modelpick.evaluation import answers as answering
from modelpick.evaluation.probe import ask
from modelpick.evaluation.probe.run import Suite
from modelpick.evaluation.probe.suite import Answers, Case
from modelpick.evaluation.score import ScoreComparison, Scores, compare, score
from modelpick.files import data_file, read_json, write_atomically
from modelpick.loading import environment, preferences, tokenize
from modelpick.loading.load import Loaded
from modelpick.loading.tokenize import Encoded, EncodedRow
from modelpick.planning.recipe import RunSettings
from modelpick.schema import to_json


@dataclass(frozen=True, slots=True)
class Before:
    """What the untuned model scored, kept on disk so that a resumed run compares with the same figures."""

    held_out: Scores | None
    general: Scores | None
    probe: Answers | None
    few_shot: Answers | None = None  # the same cases, after solved ones
    answers: tuple[str, ...] | None = None  # to the first held-out questions


def measure(loaded: Loaded, settings: RunSettings, data: Data) -> Before:
    """Score held-out examples, the general questions and the probe with the model as it is now."""

    model = environment.place(loaded.model)
    # Only training needs gradients at the inputs; with them bitsandbytes takes another 4-bit kernel on a CPU than the
    # saved adapter will be run with.
    model.disable_input_require_grads()
    held_out = None
    pad = loaded.tokenizer.pad_token_id
    if data.held_out:
        held_out = score_examples(loaded, settings, data.held_out, data.labels)
    general = probe = few_shot = answers = None
    if loaded.kind != "encoder":
        if asked := answered(settings, data):
            answers = answering.answer(loaded, asked)
        questions = read.read(data_file("evaluation", "general.jsonl")).examples
        encoded = tokenize.encode(questions, loaded.tokenizer, loaded.kind, 4096)
        general = score(model, encoded, loaded.kind, pad, settings.batch)
        if settings.probe:
            suite = Suite(settings.probe, settings.probe_shots, seed=settings.seed)
            probe = ask.ask_loaded(loaded, suite.made())
            few_shot = ask.ask_loaded(loaded, suite.made(), suite.solved()) if settings.probe_shots else None
    return Before(held_out, general, probe, few_shot, answers)


def score_examples(
    loaded: Loaded, settings: RunSettings, examples: Sequence[Example], labels: Sequence[str] = ()
) -> Scores:
    """How well the model does what it is trained for, example by example, as it is now.

    The loss of each answer, or whether the label is right; of pairs, whether the chosen answer has the lower loss a
    token; of each liked answer the share of the disliked ones that have a higher loss a token.
    """
    model, tokenizer, context = environment.place(loaded.model), loaded.tokenizer, settings.context

    def losses(rows: tuple[EncodedRow, ...]) -> tuple[float, ...]:
        cut = tuple(EncodedRow(input_ids=row["input_ids"][:context], labels=row["labels"][:context]) for row in rows)
        return score(model, Encoded(cut, 0, 0, 0, 0), "decoder", tokenizer.pad_token_id, settings.batch).cases

    if settings.objective == "sft":
        encoded = tokenize.encode(examples, tokenizer, loaded.kind, context, labels)
        return score(model, encoded, loaded.kind, tokenizer.pad_token_id, settings.batch)
    if settings.objective == "dpo":
        rows = preferences.encode_pairs(examples, tokenizer, context).rows
        both = zip(*(losses(preferences.as_answers(rows, key)) for key in ("chosen_ids", "rejected_ids")), strict=True)
        return Scores("chosen preferred", tuple(float(chosen < rejected) for chosen, rejected in both))
    rows = preferences.encode_thumbs(examples, tokenizer, context, settings.seed).rows
    measured = losses(preferences.as_answers(rows, "completion_ids"))
    judged: list[Any] = list(rows)
    disliked = [loss for loss, row in zip(measured, judged, strict=True) if not row["label"]]
    liked = [loss for loss, row in zip(measured, judged, strict=True) if row["label"]]
    return Scores("liked preferred", tuple(sum(loss < bad for bad in disliked) / len(disliked) for loss in liked))


def answered(settings: RunSettings, data: Data) -> tuple[Example, ...]:
    """The held-out examples whose questions the model answers."""
    return tuple(example for example in data.held_out if example.liked is not False)[: settings.answers]


def comparisons(before: Before, after: Before, settings: RunSettings, data: Data) -> tuple[ScoreComparison, ...]:
    """Every measurement that was made both times, compared."""
    compared: list[ScoreComparison] = []
    smallest = settings.min_effect
    if before.held_out and after.held_out:
        compared.append(compare("held-out examples", before.held_out, after.held_out, smallest))
    if before.answers and after.answers:
        asked = answered(settings, data)
        compared.extend(answering.compare_answers(asked, before.answers, after.answers, smallest))
    for name, first, second in (
        ("reasoning probe", before.probe, after.probe),
        ("reasoning probe, few-shot", before.few_shot, after.few_shot),
    ):
        if first and second:
            scores = Scores("accuracy", first.right()), Scores("accuracy", second.right())
            compared.append(compare(name, *scores, smallest))
    if before.general and after.general:
        compared.append(compare("general knowledge", before.general, after.general, smallest))
    return tuple(compared)


def probe_figures(before: Answers | None, after: Answers | None) -> Mapping[str, Mapping[str, object]] | None:
    """The full figures of a probe run both times, for result.json; None where it was not."""
    return {"before": before.as_json(), "after": after.as_json()} if before and after else None


@dataclass(frozen=True, slots=True)
class _AnswersRecord:
    concluded: tuple[bool | None, ...]
    seed_cases: tuple[str, ...]  # the prompts: proof that the cases are the same


@dataclass(frozen=True, slots=True, kw_only=True)
class _BeforeRecord:
    """before.json."""

    schema_version: int = 1
    held_out: Scores | None = None
    general: Scores | None = None
    probe: _AnswersRecord | None = None
    few_shot: _AnswersRecord | None = None
    answers: tuple[str, ...] | None = None


def write_before(path: Path, before: Before) -> None:
    """Keep what the untuned model scored. Raises UsageError when the file cannot be written."""
    record = _BeforeRecord(
        held_out=before.held_out,
        general=before.general,
        probe=_record_of(before.probe),
        few_shot=_record_of(before.few_shot),
        answers=before.answers,
    )
    write_atomically(path, json.dumps(to_json(record)))


def read_before(path: Path, settings: RunSettings) -> Before | None:
    """What the untuned model of this run scored; None where it has to be measured: the file is missing, is not whole,
    or answers other cases than the run's settings make today (an older version made others).
    """
    try:
        record = schema.read(_BeforeRecord, read_json(path, code="bad_before"), str(path), code="bad_before")
    except UsageError:
        return None
    cases = Suite(settings.probe, seed=settings.seed).made() if settings.probe else ()
    prompts = tuple(case.prompt for case in cases)
    if any(answers is not None and answers.seed_cases != prompts for answers in (record.probe, record.few_shot)):
        return None
    return Before(
        record.held_out,
        record.general,
        _answers_to(cases, record.probe),
        _answers_to(cases, record.few_shot),
        record.answers,
    )


def _record_of(answers: Answers | None) -> _AnswersRecord | None:
    if answers is None:
        return None
    return _AnswersRecord(answers.concluded, tuple(case.prompt for case in answers.cases))


def _answers_to(cases: tuple[Case, ...], record: _AnswersRecord | None) -> Answers | None:
    return Answers(cases, record.concluded) if record is not None else None
