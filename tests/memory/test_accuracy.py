"""The claims about accuracy, on the published measurements in benchmarks/data."""

import statistics
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from modelpick.memory.overhead import KINDS, interval
from modelpick.workload import workload_from


@pytest.fixture(scope="module")
def accuracy() -> Iterator[ModuleType]:
    folder = str(Path(__file__).resolve().parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    yield import_module("memory_accuracy")
    sys.path.remove(folder)


def test_estimates_stay_as_near_to_the_measurements_as_the_readme_says(accuracy: ModuleType) -> None:
    rows, _ = accuracy.load()
    for category, median, ninetieth in (
        ("inference", 0.01, 0.08),
        ("lora", 0.03, 0.10),
        ("qlora", 0.05, 0.12),
        ("full", 0.06, 0.15),
        ("sharded", 0.04, 0.12),
    ):
        errors = [abs(row.error) for row in rows if row.category == category]
        assert statistics.median(errors) <= median, category
        assert accuracy.percentile(errors, 0.9) <= ninetieth, category


def test_weights_are_what_servers_log(accuracy: ModuleType) -> None:
    """Within 3 %, but for a family that is read as a standard decoder, which must come out larger, not smaller."""
    for row, said in accuracy.server_weights():
        logged = row["measured_gib"]
        guessed = row["model"] == "deepseek-ai/DeepSeek-V4-Pro"
        assert said >= logged * 0.985, row
        assert said <= logged * (1.25 if guessed else 1.03), row


def test_nine_measurements_of_ten_lie_inside_the_interval(accuracy: ModuleType) -> None:
    rows, _ = accuracy.load()
    assert sum(row.inside for row in rows) / len(rows) >= 0.88


def test_no_measurement_is_wrongly_said_to_fit_a_gpu_that_is_offered(accuracy: ModuleType) -> None:
    rows, _ = accuracy.load()
    assert accuracy.false_fits(rows) == []


def test_every_row_is_compared_or_left_out_for_a_reason(accuracy: ModuleType) -> None:
    rows, left_out = accuracy.load()
    assert len(rows) + sum(left_out.values()) == sum(
        len(table.read_text("utf-8").splitlines()) for table in accuracy.DATA
    )


def test_every_kind_and_measure_has_an_interval() -> None:
    assert len(KINDS) == len(set(KINDS))
    for method in ("bf16", "int8", "nf4", "gguf", "full", "lora", "lora-int8", "qlora"):
        for measure in ("allocated", "reserved", "device"):
            for gpus in (1, 2):
                below, above = interval(workload_from({"method": method, "measure": measure, "gpus": gpus}))
                assert 0 < below < 1
                assert 0 < above < 1
