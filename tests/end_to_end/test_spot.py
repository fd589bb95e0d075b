"""A spot machine is taken away in the middle of a real fine-tuning, and the next one finishes it to the same bits."""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra train is absent")
from modelpick.training.finetune import Request, finetune
from tests.aws.test_guest import Quick
from tests.training.conftest import base, data  # noqa: F401

pytestmark = pytest.mark.whole_way
SETTINGS: dict[str, Any] = {
    "max_steps": 300, "batch": 4, "gradient_accumulation": 1, "save_steps": 100, "log_steps": 5, "learning_rate": 1e-3,
    "lora_rank": 4, "lora_dropout": 0.1, "held_out": 0.0, "epochs": 100.0, "method": "lora",
}  # fmt: skip


def machine(root: Path, job: dict[str, Any]) -> Quick:
    made = Quick(root, f"exec {sys.executable} -m modelpick finetune --job data/job.json")
    (root / "s3" / "data" / "job.json").write_text(json.dumps(job))
    return made


def progress(one: Quick) -> dict[str, Any]:
    file = one.machine.root / "opt/modelpick/results/run/progress.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def test_a_notice_saves_the_run_and_the_next_machine_finishes_it(base: Path, data: Path, tmp_path: Path) -> None:  # noqa: F811
    settings = {**SETTINGS, "model": str(base), "data": str(data)}
    whole = tmp_path / "whole" / "run"
    finetune(Request({**settings, "output": str(whole)}, offline=True), lambda event: None)
    job = {"schema_version": 1, "kind": "finetune", "settings": {**settings, "output": "results/run"}, "offline": True}
    first, second = machine(tmp_path / "first", job), machine(tmp_path / "second", job)
    try:
        assert first.machine.boot().returncode == 0
        deadline = time.monotonic() + 900
        while progress(first).get("step", 0) < 5:
            assert time.monotonic() < deadline, first.machine.logs()
            time.sleep(0.05)
        first.machine.metadata.notice = True
        first.machine.wait_for_end()
        assert first.stage()["detail"] == "spot interruption; exit code 130"
        told = progress(first)
        assert told["state"] == "interrupted"
        assert told["checkpoint_step"] < SETTINGS["max_steps"]

        shutil.copytree(tmp_path / "first/s3/results", tmp_path / "second/s3/results")
        assert second.machine.boot().returncode == 0
        second.machine.wait_for_end()
        assert second.stage()["detail"] == "the job is over; exit code 0"
        weights = "run/adapter_model.safetensors"
        home = tmp_path / "second/s3/results/run"
        assert json.loads((home / "result.json").read_text())["status"] == "done"
        assert (home / weights).read_bytes() == (whole / weights).read_bytes()
    finally:
        first.machine.off()
        second.machine.off()
