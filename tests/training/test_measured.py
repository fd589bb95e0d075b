"""What a run took of its GPU goes into the calibration file, and what of a CPU does not."""

from dataclasses import replace
from pathlib import Path

import pytest

from modelpick.catalog import index, lookup
from modelpick.catalog.model import Model
from modelpick.loading.tokenize import Encoded
from modelpick.offers import embedded
from modelpick.planning.recipe import as_trained, settings_from
from modelpick.speed import calibration, calibration_file
from modelpick.training import measured
from modelpick.training.measured import Meter, Took

VERSIONS = {"modelpick": "0.1", "torch": "2.11.0", "transformers": "5.23", "trl": "1.16"}
TOOK = Took(3 * 2**30, 4 * 2**30, 12.0, 900_000.0, 64.0, filled=True)
DEVICE = "NVIDIA H200"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELPICK_CALIBRATION", str(tmp_path / "calibration.json"))
    calibration_file._read.cache_clear()
    return tmp_path / "calibration.json"


def keep(base: Path, took: Took = TOOK, device: str = DEVICE) -> str:
    settings = settings_from({"model": str(base), "data": "-", "output": "-", "method": "lora", "context": 64})
    return measured.keep(took, settings, "decoder", base, device, VERSIONS)


def test_peaks_pace_and_load_time_are_kept_by_gpu_engine_and_version(base: Path, file: Path) -> None:
    """And later estimates of time go by the pace: less than three of them correct, but make no GPU a measured one."""
    said = keep(base, replace(TOOK, tokens_per_s=None))
    assert "3.0 GiB allocated, 4.0 reserved, loaded in 12 s" in said
    assert calibration.training("modelpick", "lora").local == {}
    found = calibration_file.content()
    assert found is not None
    (run,) = found[1].runs
    assert (run.engine, run.gpu, run.method, run.filled) == ("modelpick", "H200", "lora", True)
    assert run.version == "0.1, torch 2.11.0, transformers 5.23"
    assert (run.allocated_gib, run.reserved_gib, run.slack_gib, run.load_s) == (3.0, 4.0, 1.0, 12.0)
    assert run.peak_gib is not None
    assert 4.0 < run.peak_gib < 6.0  # with the context
    assert str(base) not in file.read_text()


def test_the_pace_corrects_later_estimates_and_is_named(base: Path, file: Path) -> None:
    by = calibration.training("modelpick", "lora")
    settings = settings_from({"model": str(base), "data": "-", "output": "-", "method": "lora", "context": 64})
    model = lookup.look_up([str(base)], catalog=index.load(), offline=True).results[0]
    assert isinstance(model, Model)
    work = as_trained(settings.workload(), "decoder", gpu=True)
    raw = measured.predicted(TOOK.mean_length, settings, work, model, embedded.gpus()["H200"])
    keep(base, replace(TOOK, tokens_per_s=raw / 2))
    after = calibration.training("modelpick", "lora")
    assert by.local_factor("H200") == 1.0
    assert after.local_factor("H200") == pytest.approx(0.5)
    assert str(file) in after.standing("H200")
    assert "of another GPU and changes nothing" in after.standing("L4")
    keep(base, replace(TOOK, tokens_per_s=raw / 2))  # what is predicted stays uncorrected: the factor does not run away
    assert calibration.training("modelpick", "lora").local_factor("H200") == pytest.approx(0.5)
    keep(base, replace(TOOK, tokens_per_s=raw * 6))  # not believable: another machine
    assert calibration.training("modelpick", "lora").local["H200"].rows == 2


@pytest.mark.parametrize(
    ("took", "device", "why"),
    [
        (Took(None, None, 3.0, 100.0, 64.0), "CPU (2 cores)", "a CPU teaches nothing about a GPU"),
        (TOOK, "NVIDIA GeForce RTX 9090", "not among the GPUs"),
    ],
)
def test_what_teaches_nothing_is_not_kept_and_says_so(
    base: Path, file: Path, took: Took, device: str, why: str
) -> None:
    assert why in keep(base, took, device)
    assert not file.exists()


def test_a_broken_file_costs_no_run_its_result(base: Path, file: Path) -> None:
    file.write_text("{}")
    assert "not a calibration file" in keep(base)
    assert file.read_text() == "{}"


def test_a_pace_needs_steps_and_a_peak_needs_full_batches() -> None:
    settings = settings_from({"model": "-", "data": "-", "output": "-", "batch": 2, "context": 64})
    rows = tuple({"input_ids": [1] * 64, "labels": [1] * 64} for _ in range(8))
    meter = Meter()
    assert meter.took(settings) == Took()
    meter.loaded(Encoded(rows, 0, 0, 64, 8 * 64))
    for _ in range(4):
        meter.step_ended()
    took = meter.took(settings)
    assert (took.tokens_per_s, took.mean_length) == (None, 64.0)
    assert took.filled is (4 * settings.effective_batch >= 8)
    for _ in range(8):
        meter.step_ended()
    after = meter.took(settings)
    assert after.tokens_per_s is not None
    assert after.filled
    assert not meter.took(replace(settings, context=65)).filled  # nothing was as long as the context
    assert not meter.took(replace(settings, batch=9)).filled
