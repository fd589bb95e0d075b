"""Better, or not: the same measurements before and after, on what was to be learned and on what should not be lost."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelpick.datasets import read
from modelpick.datasets.split import Data
from modelpick.evaluation.probe import ask
from modelpick.evaluation.probe.run import Suite
from modelpick.evaluation.probe.suite import Answers, Case
from modelpick.evaluation.score import Comparison, Interval, Scores, compare, score
from modelpick.files import data_file, write_atomically
from modelpick.loading import environment, tokenize
from modelpick.loading.load import Loaded
from modelpick.planning.recipe import RunSettings


@dataclass(frozen=True, slots=True)
class Before:
    """What the untuned model scored, kept on disk so that a resumed run compares with the same figures."""

    held_out: Scores | None
    general: Scores | None
    probe: Answers | None
    few_shot: Answers | None = None  # the same cases, after solved ones


def measure(loaded: Loaded, settings: RunSettings, data: Data) -> Before:
    """Score held-out examples, the general questions and the probe with the model as it is now."""

    model = environment.place(loaded.model)
    # Only training needs gradients at the inputs; with them bitsandbytes takes another 4-bit kernel on a CPU than the
    # saved adapter will be run with.
    model.disable_input_require_grads()
    held_out = None
    pad = loaded.tokenizer.pad_token_id
    if data.held_out:
        encoded = tokenize.encode(data.held_out, loaded.tokenizer, loaded.kind, settings.context, data.labels)
        held_out = score(model, encoded, loaded.kind, pad, settings.batch)
    general = probe = few_shot = None
    if loaded.kind != "encoder":
        questions = read.read(data_file("evaluation", "general.jsonl")).examples
        encoded = tokenize.encode(questions, loaded.tokenizer, loaded.kind, 4096)
        general = score(model, encoded, loaded.kind, pad, settings.batch)
        if settings.probe:
            asked = Suite(settings.probe, settings.probe_shots, seed=settings.seed)
            probe = ask.ask_loaded(loaded, asked.made())
            few_shot = ask.ask_loaded(loaded, asked.made(), asked.solved()) if settings.probe_shots else None
    return Before(held_out, general, probe, few_shot)


def comparisons(before: Before, after: Before) -> tuple[tuple[Comparison, ...], dict[str, Any]]:
    """Every measurement made both times, compared; and the probe's figures in full for result.json."""
    made: list[Comparison] = []
    shown: dict[str, Any] = {}
    if before.held_out and after.held_out:
        made.append(compare("held-out examples", before.held_out, after.held_out))
    for key, name in (("probe", "reasoning probe"), ("few_shot", "reasoning probe, few-shot")):
        answered = [getattr(one, key) for one in (before, after)]
        if all(answered):
            made.append(compare(name, *(Scores("accuracy", answers.right()) for answers in answered)))
            shown["probe" if key == "probe" else "probe_few_shot"] = {
                when: answers.as_json() for when, answers in zip(("before", "after"), answered, strict=True)
            }
    if before.general and after.general:
        made.append(compare("general knowledge", before.general, after.general))
    return tuple(made), shown


def write_before(path: Path, before: Before) -> None:
    """Keep what the untuned model scored."""
    scores = {name: _scores_json(getattr(before, name)) for name in ("held_out", "general")}
    answers = {name: _answers_json(getattr(before, name)) for name in ("probe", "few_shot")}
    write_atomically(path, json.dumps({"schema_version": 1, **scores, **answers}))


def read_before(path: Path) -> Before:
    """Read it back; the probe's cases are made again, and must be the same ones."""
    record = json.loads(path.read_text(encoding="utf-8"))
    held_out, general = (_scores_from(record[name]) for name in ("held_out", "general"))
    settings = json.loads((path.parent / "run.json").read_text(encoding="utf-8"))["settings"]
    made = Suite(settings["probe"], seed=settings["seed"]).made()
    probe, few_shot = (_answers_from(record.get(name), made) for name in ("probe", "few_shot"))
    return Before(held_out, general, probe, few_shot)


def _answers_json(answers: Answers | None) -> dict[str, Any] | None:
    if answers is None:
        return None
    return {"concluded": list(answers.concluded), "seed_cases": [case.prompt for case in answers.cases]}


def _answers_from(record: dict[str, Any] | None, made: tuple[Case, ...]) -> Answers | None:
    if record is None or [case.prompt for case in made] != record["seed_cases"]:
        return None
    return Answers(made, tuple(record["concluded"]))


def _scores_json(scores: Scores | None) -> dict[str, Any] | None:
    return None if scores is None else {"measure": scores.measure, "cases": list(scores.cases)}


def _scores_from(record: dict[str, Any] | None) -> Scores | None:
    return None if record is None else Scores(record["measure"], tuple(record["cases"]))


def summary(comparison: Comparison) -> str:
    """One sentence for people."""
    gap: Interval = comparison.difference
    return (
        f"{comparison.name}: {comparison.verdict} ({comparison.before.measure} {comparison.before.mean:.3f} -> "
        f"{comparison.after.mean:.3f}, difference {gap.value:+.3f}, 95 % {gap.low:+.3f} to {gap.high:+.3f}, "
        f"{len(comparison.after.cases)} cases)"
    )
