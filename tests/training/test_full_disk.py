"""A full disk never costs an old file, leaves no half-written one, and is one sentence.

A file-size limit of the operating system stands for a disk without room: it makes the same write fail.
"""

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run


@contextmanager
def no_room(largest: int = 100) -> Iterator[None]:
    """No file grows beyond `largest` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["cases.jsonl", "cases.yaml"])
def test_probe_write_leaves_nothing(name: str, modelpick: Run, tmp_path: Path) -> None:
    with no_room():
        answer = modelpick("probe", "-", "--cases", "40", "--write", str(tmp_path / name), "--json")
    assert (answer.code, answer.error["code"]) == (2, "cannot_write")
    assert "disk is full" in answer.error["message"]
    assert left_in(tmp_path) == []


def test_data_curate_leaves_nothing(modelpick: Run, data: Path, tmp_path: Path) -> None:
    words = ["data", "curate", str(data), "--budget", "12", "--output", str(tmp_path / "few.jsonl"), "--json"]
    with no_room():
        answer = modelpick(*words)
    assert (answer.code, answer.error["code"]) == (2, "cannot_write")
    assert left_in(tmp_path) == ["data.jsonl"]
    assert modelpick(*words).code == 0


def test_data_next_leaves_nothing(modelpick: Run, base: Path, tmp_path: Path) -> None:
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"instruction": f"What is {n} times {n}?"}) + "\n" for n in range(15)))
    before = left_in(tmp_path)
    words = ["data", "next", str(pool), "--model", str(base), "--count", "9", "--output", str(tmp_path / "next.jsonl")]
    with no_room():
        answer = modelpick(*words, "--json")
    assert (answer.code, answer.error["code"]) == (2, "cannot_write")
    assert left_in(tmp_path) == before


@pytest.mark.parametrize("state", ["preparing", "before", "training", "after", "saving"])
def test_finetune_keeps_what_it_has_and_goes_on(state: str, base: Path, data: Path, tmp_path: Path) -> None:
    """Room runs out as the run enters each of its states; with room again the same run ends as it would have."""
    from modelpick.training.checkpoints import TrainingStoppedError
    from modelpick.training.finetune import Request, finetune
    from modelpick.training.progress import Event, StateChanged

    output = tmp_path / "out"
    settings: dict[str, Any] = {
        "model": str(base), "data": str(data), "output": str(output), "batch": 4, "gradient_accumulation": 1,
        "max_steps": 2, "save_steps": 1, "merge": True,
    }  # fmt: skip
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(event: Event) -> None:
        if event == StateChanged(state):  # type: ignore[arg-type]
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))

    try:
        with pytest.raises(TrainingStoppedError) as caught:
            finetune(Request(settings, offline=True), fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.code == "disk_full"
    whole = [path for path in output.rglob("*.json") if "partial" not in str(path)]
    for file in whole:
        if "checkpoints" not in file.parts:
            json.loads(file.read_text())
    started = (output / "run.json").exists()
    assert started is (state in ("training", "after", "saving"))
    again = {"output": str(output)} if started else settings
    result = finetune(Request(again, offline=True, resume=started), lambda event: None)
    assert result.status == "done"
    assert not [path for path in output.rglob("*") if "partial" in path.name]
    assert (output / "out" / "merged" / "model.safetensors").stat().st_size > 300
    assert os.listdir(output / "out" / "merged")
