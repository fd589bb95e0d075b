"""The file of the user's own measurements: what is read, what is refused, what a full list gives way to."""

import json
import os
from pathlib import Path

import pytest

from modelpick.errors import UsageError
from modelpick.speed import calibration
from modelpick.speed.calibration import Measurement

ROW = {"stack": "vllm", "method": "bf16", "gpu": "L4", "measured_tokens_per_s": 50, "predicted_tokens_per_s": 100.0,
       "at": "2026-11-29T10:00:00Z"}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "deep" / "calibration.json"
    monkeypatch.setenv("MODELPICK_CALIBRATION", str(path))
    calibration._read.cache_clear()
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
    assert calibration.save([row] * 499) == file
    calibration.save([Measurement("vllm", "bf16", "A10G", 90.0, 100.0, "2026-11-29T11:00:00Z")] * 3)
    found = calibration.corrections("vllm", "bf16")
    assert {gpu: correction.rows for gpu, correction in found.items()} == {"L4": 497, "A10G": 3}


@pytest.mark.parametrize(
    "row", [{}, [], {**ROW, "measured_tokens_per_s": "fast"}, {**ROW, "gpu": 4}, {**ROW, "measured_tokens_per_s": -1}]
)
def test_a_row_that_is_no_measurement_is_refused_and_kept(file: Path, row: object) -> None:
    write(file, ROW, row)
    before = file.read_bytes()
    for ask in (lambda: calibration.corrections("vllm", "bf16"), lambda: calibration.save([])):
        with pytest.raises(UsageError) as refused:
            ask()
        assert refused.value.code == "bad_calibration"
    assert file.read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_without_waiting(file: Path) -> None:
    file.parent.mkdir()
    os.mkfifo(file)
    with pytest.raises(UsageError) as refused:
        calibration.corrections("vllm", "bf16")
    assert refused.value.code == "bad_calibration"
