"""The file of the user's own measurements: what is read, what is refused, what a full list gives way to."""

import json
import os
from pathlib import Path

import pytest

from modelpick.errors import UsageError
from modelpick.speed import calibration, calibration_file
from modelpick.speed.calibration_file import Measurement

ROW = {"stack": "vllm", "method": "bf16", "gpu": "L4", "measured_tokens_per_s": 50, "predicted_tokens_per_s": 100.0,
       "at": "2026-11-29T10:00:00Z"}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "deep" / "calibration.json"
    monkeypatch.setenv("MODELPICK_CALIBRATION", str(path))
    calibration_file._read.cache_clear()
    return path


def write(file: Path, *rows: object, version: int = 1) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"schema_version": version, "measurements": rows}), "utf-8")


def test_a_row_of_an_older_or_newer_version_is_read(file: Path) -> None:
    write(file, ROW, {**ROW, "measured_tokens_per_s": 60.0, "a field of a later version": 1})
    correction = calibration.corrections("vllm", "bf16")["L4"]
    assert (correction.factor, correction.rows, correction.file) == (pytest.approx(0.55), 2, str(file))
    assert calibration.corrections("vllm", "int8") == {}


def test_what_is_saved_is_read_back_and_the_oldest_give_way(file: Path) -> None:
    row = Measurement("vllm", "bf16", "L4", 50.0, 100.0, "2026-11-29T10:00:00Z", concurrency=4)
    assert calibration_file.save([row] * 499) == file
    calibration_file.save([Measurement("vllm", "bf16", "A10G", 90.0, 100.0, "2026-11-29T11:00:00Z")] * 3)
    found = calibration.corrections("vllm", "bf16")
    assert {gpu: correction.rows for gpu, correction in found.items()} == {"L4": 497, "A10G": 3}


@pytest.mark.parametrize(
    "row", [{}, [], {**ROW, "measured_tokens_per_s": "fast"}, {**ROW, "gpu": 4}, {**ROW, "measured_tokens_per_s": -1}]
)
def test_a_row_that_is_no_measurement_is_refused_and_kept(file: Path, row: object) -> None:
    write(file, ROW, row)
    before = file.read_bytes()
    for ask in (lambda: calibration.corrections("vllm", "bf16"), lambda: calibration_file.save([])):
        with pytest.raises(UsageError) as refused:
            ask()
        assert refused.value.code == "bad_calibration"
    assert file.read_bytes() == before


def test_a_file_of_another_gpu_or_written_by_hand_changes_nothing_here(file: Path) -> None:
    """What is of another GPU is not applied to this one; what is too far off is counted and not used."""
    before = calibration.serving("vllm", "bf16").spread("loaded", "L4")
    today = {**ROW, "stack": calibration.serving("vllm", "bf16").stack}
    write(
        file, {**today, "gpu": "A10G"}, {**today, "measured_tokens_per_s": 100_000.0}, {**today, "gpu": "no such GPU"}
    )
    calibration_file._read.cache_clear()
    found = calibration.serving("vllm", "bf16")
    assert found.local_factor("L4") == 1.0
    assert found.spread("loaded", "L4") == before
    assert found.local_factor("A10G") == pytest.approx(0.5)


def test_three_of_your_own_make_a_gpu_a_measured_one(file: Path) -> None:
    today = {**ROW, "stack": calibration.serving("vllm", "bf16").stack}
    unknown = calibration.serving("vllm", "bf16").spread("loaded", "L4")
    write(file, *[today] * 3)
    calibration_file._read.cache_clear()
    found = calibration.serving("vllm", "bf16")
    assert found.spread("loaded", "L4") < unknown
    assert "from 3 measurements of your own" in found.standing("L4")


def test_the_report_names_neither_models_nor_machines(file: Path) -> None:
    write(
        file,
        {**ROW, "model": "acme/secret"},
        {**ROW, "measured_tokens_per_s": 80},
        {**ROW, "measured_tokens_per_s": 1e6},
    )
    calibration_file._read.cache_clear()
    found = calibration_file.report()
    (group,) = found.groups
    assert (group.stack, group.method, group.gpu) == ("vllm", "bf16", "L4")
    assert (group.measurements, group.unbelievable) == (3, 1)
    assert (group.low_ratio, group.median_ratio, group.high_ratio) == (0.5, pytest.approx(0.65), 0.8)
    assert "secret" not in repr(found.groups)
    assert calibration.corrections("vllm", "bf16")["L4"].sha256 == found.sha256


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_without_waiting(file: Path) -> None:
    file.parent.mkdir()
    os.mkfifo(file)
    with pytest.raises(UsageError) as refused:
        calibration.corrections("vllm", "bf16")
    assert refused.value.code == "bad_calibration"
