"""Evaluation while a run trains: the best checkpoint is kept and taken, the run ends in time, and resumes the same."""

import json
import random
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra train is absent")
from modelpick.errors import UsageError
from modelpick.training import checkpoints, progress
from modelpick.training.finetune import Request, finetune

# So high a rate that the loss on other examples soon rises again.
SETTINGS: dict[str, Any] = {
    "epochs": 12.0, "scheduler": "constant",
    "batch": 4, "gradient_accumulation": 1, "save_steps": 5, "learning_rate": 5e-2, "lora_rank": 4,
    "held_out": 0.2, "eval_steps": 3, "patience": 2, "mix": "general", "mix_share": 0.2, "answers": 4, "seed": 1,
}  # fmt: skip


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Questions whose answers cannot be known from others: learned by heart, they make the loss on others rise."""
    draw = random.Random(0)
    words = ["blue", "red", "green", "one", "two", "three", "four", "five"]
    lines = [{"instruction": f"What is {a} {n}?", "output": draw.choice(words)} for a in words for n in range(5)]
    file = tmp_path / "noise.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    return file


def run(
    base: Path, data: Path, output: Path, *, stop_at: int | None = None, resume: bool = False, **changes: Any
) -> Any:
    stop = threading.Event()

    def screen(event: object) -> None:
        if isinstance(event, progress.StepLogged) and event.step == stop_at:
            stop.set()

    given = {"model": str(base), "data": str(data), **SETTINGS, **changes}
    given = {"output": str(output)} if resume else {**given, "output": str(output)}
    return finetune(Request(given, offline=True, resume=resume), screen, stop)


def test_the_best_checkpoint_is_the_result_and_an_interrupted_run_finds_the_same(
    base: Path, noise: Path, tmp_path: Path
) -> None:
    whole, kept = tmp_path / "whole" / "out", tmp_path / "kept"
    result = run(base, noise, whole)
    records = progress.read_metrics(whole / "metrics.jsonl")
    evaluated = dict(progress.losses(records, "eval_loss"))
    assert list(evaluated)[:2] == [3, 6]
    assert result.best_step == min(evaluated, key=lambda step: evaluated[step])
    assert result.best_step + 2 * 3 == result.step  # two evaluations that were no better ended it
    weights = "adapter_model.safetensors"
    best = checkpoints.of_step(whole / "checkpoints", result.best_step)
    assert (whole / "out" / weights).read_bytes() == (best / weights).read_bytes()
    assert "rings" in (whole / "loss.svg").read_text()

    recorded = json.loads((whole / "run.json").read_text())["data"]
    assert (recorded["held_out"], recorded["validation"], recorded["replayed"]) == (8, 6, 6)
    assert recorded["examples"] == 40 - 8 - 6 + 6
    answers = [json.loads(line) for line in (whole / "answers.jsonl").read_text().splitlines()]
    assert [set(row) for row in answers] == [{"line", "question", "expected", "before", "after"}] * 4
    measures = {row.measure for row in result.comparisons if row.name == "held-out answers"}
    assert measures == {"exact match"}

    cut = tmp_path / "cut" / "out"
    run(base, noise, cut, stop_at=result.best_step + 1, checkpoint_to=str(kept))
    for path in sorted((cut / "checkpoints").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    again = run(base, noise, cut, resume=True)
    assert (again.best_step, again.step) == (result.best_step, result.step)
    assert (cut / "out" / weights).read_bytes() == (whole / "out" / weights).read_bytes()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"eval_steps": None, "mix": None, "mix_share": None}, "contradiction"),  # patience for nothing
        ({"held_out": 0.0}, "nothing_to_evaluate"),
        ({"mix": None, "mix_share": 0.3}, "contradiction"),
        ({"mix": "absent.jsonl"}, "no_data_file"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    changes: dict[str, Any], code: str, base: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        run(base, data, tmp_path / "out", **changes)
    assert caught.value.code == code
    assert not (tmp_path / "out").exists()
