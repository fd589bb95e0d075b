"""Kill it at any instant: the same command again finishes the work, to the same bits."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the extra train is absent")
from modelpick.errors import UsageError
from modelpick.planning.recipe import RunSettings, run_from_json, settings_from
from modelpick.training import checkpoints, job_file, progress
from modelpick.training.checkpoints import FolderStore
from modelpick.training.finetune import Request

SETTINGS: dict[str, Any] = {
    "epochs": 40.0, "gradient_accumulation": 1, "batch": 4, "save_steps": 5, "learning_rate": 1e-3, "lora_rank": 4,
    "lora_dropout": 0.1, "held_out": 0.0, "max_steps": 60,
}  # fmt: skip


def write_job(folder: Path, base: Path, data: Path, **changes: Any) -> Path:
    file = folder / "job.json"
    folder.mkdir(parents=True, exist_ok=True)
    values = {"model": str(base), "data": str(data), "output": str(folder / "out"), **SETTINGS, **changes}
    file.write_text(json.dumps({"schema_version": 1, "kind": "finetune", "settings": values, "offline": True}))
    return file


def start(file: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "modelpick", "finetune", "--job", str(file), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for_checkpoint(folder: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 240
    while checkpoints.newest(folder / "out" / "checkpoints") is None:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def state_of(progress: Path) -> str:
    text = progress.read_text()
    told: dict[str, str] = json.loads(text)
    assert "state" in told, text
    return told["state"]


def test_killed_by_force_or_by_notice_a_job_ends_in_the_same_bits(base: Path, data: Path, tmp_path: Path) -> None:
    whole = start(write_job(tmp_path / "whole", base, data))
    cut_file = write_job(tmp_path / "cut", base, data, checkpoint_to=str(tmp_path / "kept"))
    cut = start(cut_file)
    wait_for_checkpoint(tmp_path / "cut", cut)
    cut.kill()
    cut.communicate()
    assert cut.returncode == -signal.SIGKILL
    told, error = whole.communicate()
    assert whole.returncode == 0, error

    heartbeat = tmp_path / "cut" / "out" / "progress.json"
    heartbeat.unlink()  # the killed process's
    noticed = start(cut_file)
    deadline = time.monotonic() + 240
    while not heartbeat.exists() or state_of(heartbeat) != "training":
        assert noticed.poll() is None, noticed.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    noticed.send_signal(signal.SIGTERM)
    told, error = noticed.communicate()
    assert noticed.returncode in (130, 0), error
    if noticed.returncode == 130:
        if told:  # in a step; while the model is loaded there is no result yet
            assert json.loads(told)["status"] == "interrupted"
        assert state_of(heartbeat) == "interrupted"
        # The machine is gone: only the copies are left.
        for path in sorted((tmp_path / "cut" / "out" / "checkpoints").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        last = start(cut_file)
        told, error = last.communicate()
        assert last.returncode == 0, error
    weights = "out/out/adapter_model.safetensors"
    assert (tmp_path / "cut" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    assert not list((tmp_path / "cut" / "out").rglob("*.partial"))


def folder_with(path: Path, step: int, files: dict[str, bytes]) -> Path:
    made = path / f"checkpoint-{step}"
    made.mkdir(parents=True)
    for name, content in files.items():
        (made / name).write_bytes(content)
    return made


def test_a_checkpoint_counts_once_it_is_whole(tmp_path: Path) -> None:
    checkpoints.seal(folder_with(tmp_path, 5, {"a": b"12"}))
    folder_with(tmp_path, 10, {"a": b"12"})
    truncated = folder_with(tmp_path, 15, {"a": b"12", "b": b"3"})
    checkpoints.seal(truncated)
    (truncated / "b").write_bytes(b"")
    newest = checkpoints.newest(tmp_path)
    assert newest is not None
    assert newest.name == "checkpoint-5"
    checkpoints.remove_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 100):
        checkpoints.seal(folder_with(tmp_path, step, {"a": b"1"}))
    checkpoints.keep_newest(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-100"]


class Interrupted(Exception):
    """The process dies here."""


class DyingStore(FolderStore):
    """A store whose n-th copy never happens."""

    left = 0

    def put(self, file: Path, name: str) -> None:
        if DyingStore.left == 0:
            raise Interrupted
        DyingStore.left -= 1
        super().put(file, name)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 4))
def test_an_upload_that_dies_leaves_the_earlier_copy_in_force(
    tmp_path_factory: pytest.TempPathFactory, survives: int
) -> None:
    here, there = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("there")
    files = {"a": b"1", "b": b"22", "c": b"333"}
    first, second = (folder_with(here, step, files) for step in (5, 10))
    checkpoints.seal(first)
    checkpoints.seal(second)
    checkpoints.upload(first, FolderStore(there))
    DyingStore.left = survives
    try:
        checkpoints.upload(second, DyingStore(there))
    except Interrupted:
        assert survives < 4
    fetched = checkpoints.download_newest(tmp_path_factory.mktemp("new"), FolderStore(there))
    assert fetched is not None
    assert fetched.name == ("checkpoint-10" if survives == 4 else "checkpoint-5")
    assert {path.name: path.read_bytes() for path in fetched.iterdir() if path.name in files} == files


def test_checkpoints_travel_through_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("boto3", reason="the extra aws is absent")
    moto = pytest.importorskip("moto", reason="moto is absent")
    import boto3

    from modelpick.aws.checkpoint_store import open_store
    from modelpick.errors import RemoteError

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with moto.mock_aws():
        boto3.client("s3").create_bucket(Bucket="runs")
        store = open_store("s3://runs/mine")
        for step in (5, 10):
            made = folder_with(tmp_path / "here", step, {"a": b"1" * step})
            checkpoints.seal(made)
            checkpoints.upload(made, store)
        assert {name.split("/")[0] for name in store.names()} == {"checkpoint-10"}
        fetched = checkpoints.download_newest(tmp_path / "there", store)
        assert fetched is not None
        assert (fetched / "a").read_bytes() == b"1" * 10
        with pytest.raises(RemoteError):
            open_store("s3://nobody/x").names()


def test_the_metrics_of_a_resumed_step_replace_the_lost_ones(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    for step, loss in ((1, 3.0), (2, 2.0), (2, 2.5), (3, float("nan"))):
        progress.append_metrics(file, {"step": step, "loss": loss})
    file.write_text(file.read_text() + '{"step": 4, "lo')
    assert progress.losses(progress.read_metrics(file)) == [(1.0, 3.0), (2.0, 2.5)]


def test_the_loss_curve_is_a_picture_and_a_line() -> None:
    import xml.etree.ElementTree as xml

    points = [(float(step), 3.0 / step) for step in range(1, 200)]
    drawn = xml.fromstring(progress.loss_svg(points, points[::50], title="a < b & c"))
    assert drawn.find("{http://www.w3.org/2000/svg}polyline") is not None
    assert len(progress.sparkline(points)) < 80
    assert progress.sparkline([]) == ""
    assert "<svg" in progress.loss_svg([])


@given(st.integers(1, 64), st.integers(1, 64))
def test_a_smaller_batch_keeps_the_effective_one(batch: int, gradient_accumulation: int) -> None:
    now = RunSettings("m", "d", "o", batch=batch, gradient_accumulation=gradient_accumulation)
    smaller = now.smaller_batch()
    if batch == 1:
        assert smaller is None
    else:
        assert smaller is not None
        assert smaller.effective_batch == now.effective_batch
        assert smaller.batch <= batch // 2


def test_a_run_file_is_read_back_as_it_was_written() -> None:
    made = RunSettings("m", "d", "o", method="qlora", lora_dropout=0.05, max_steps=7, usd_per_hour=1.006)
    assert run_from_json({"schema_version": 1, "settings": made.as_json()}) == made


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", float("nan")),
        ("batch", 0),
        ("batch", 1.5),
        ("learning_rate", -1.0),
        ("method", "loro"),
        ("seed", True),
        ("merge", "yes"),
    ],
)
def test_a_bad_setting_is_named(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=name):
        settings_from({"model": "m", "data": "d", "output": "o", name: value})


@pytest.mark.parametrize(
    "broken",
    [
        [], {"schema_version": 2}, {"schema_version": 1, "kind": "serve", "settings": {}},
        {"schema_version": 1, "kind": "finetune"},
        {"schema_version": 1, "kind": "finetune", "settings": {"model": "m", "data": "d"}},
        {"schema_version": 1, "knd": 1},
    ],
)  # fmt: skip
def test_a_job_that_is_not_as_the_contract_says_is_refused(broken: Any, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps(broken))
    with pytest.raises(UsageError):
        job_file.request_from_files(Request({}), job_file=str(tmp_path / "job.json"))
