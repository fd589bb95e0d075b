"""The constants that ship and the measurements they rest on belong together, and explain each other."""

import csv
import json
import math
import sys
from pathlib import Path
from statistics import median
from types import ModuleType

import pytest

from modelpick.memory import weights
from modelpick.speed import calibration
from modelpick.speed.shape import WEIGHT_BYTES


@pytest.fixture
def accuracy(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    for name in ("speed_fit", "speed_accuracy"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import speed_accuracy

    return speed_accuracy


def test_shipped_constants_explain_what_they_were_fitted_on(accuracy: ModuleType) -> None:
    rows = accuracy.speed_fit.load()
    scored = accuracy.predict_with_shipped(rows)
    assert len(rows) > 1000
    for stratum, bound in (
        ("batch1", 0.15), ("loaded", 0.20), ("loaded vllm-0.11", 0.15), ("first-token vllm-0.11", 0.30),
        ("loaded sglang-0.5", 0.20), ("loaded trtllm-1.0", 0.30), ("training", 0.15),
    ):  # fmt: skip
        errors = [math.expm1(abs(one.error)) for one in scored if one.row.stratum == stratum]
        assert median(errors) < bound, stratum
    spreads = accuracy.shipped_spreads()
    for stratum in ("batch1", "loaded", "loaded vllm-0.11", "first-token vllm-0.11", "training"):
        chosen = [one for one in scored if one.row.stratum == stratum]
        inside = sum(abs(one.error) <= math.log(spreads[stratum]["known"]) for one in chosen)
        assert inside / len(chosen) > 0.8, stratum


def test_shipped_constants_name_the_rows_there_are(accuracy: ModuleType, repository: Path) -> None:
    shipped = json.loads((repository / "modelpick/speed/data/efficiency.json").read_text())
    rows = accuracy.speed_fit.load()
    for kind, training in (("serving", False), ("training", True)):
        counts: dict[str, int] = {}
        for row in rows:
            if row.training == training:
                counts[row.stack] = counts.get(row.stack, 0) + 1
        assert counts == {name: entry["rows"] for name, entry in shipped[kind].items() if entry["rows"]}


def test_impossible_measurements_are_left_out_and_few(accuracy: ModuleType, repository: Path) -> None:
    listed = [json.loads(line) for line in (repository / "benchmarks/data/speeds.jsonl").read_text().splitlines()]
    kept = {row.id for row in accuracy.speed_fit.load(queued=True)}
    assert len(listed) - len(kept) < 0.05 * len(listed)
    assert "s0039" not in kept  # 3,369 tokens/s where reading the weights and the cache allows 856
    assert len({row["id"] for row in listed}) == len(listed)
    assert all(row["tokens_per_s"] > 0 and row["source"] for row in listed)


def test_shares_are_shares_and_times_are_times() -> None:
    for method in ("bf16", "int8", "nf4", "gptq", "awq", "fp8", "gguf"):
        for stack in ("vllm", "transformers"):
            by = calibration.serving(stack, method).constants
            for share in (by.bandwidth, by.cache_bandwidth, by.decode_compute, by.prefill_compute):
                assert 0 < share <= 1
            assert 10 < by.layer_us < 10_000
    for stack in ("transformers", "trl", "llama-factory", "litgpt", "torchtune"):
        by_training = calibration.training(stack, "lora").constants
        assert 0 < by_training.compute <= 1
        assert 0 < by_training.attention_compute <= 1


def test_intervals_are_wider_for_what_was_not_measured() -> None:
    spreads = calibration.serving("vllm", "bf16").spreads
    for stratum in spreads:
        assert 1 < spreads[stratum]["known"] <= spreads[stratum]["unknown"] < 4
    assert set(WEIGHT_BYTES) >= {"bf16", "int8", "nf4", "gptq", "awq", "fp8", "mxfp4", "gguf"}


def test_speed_and_memory_take_the_same_bytes_for_a_weight() -> None:
    """One home for a constant: what memory says a weight takes is what speed says is read."""
    for name, scheme in weights.SCHEMES.items():
        assert WEIGHT_BYTES[name] == scheme.bytes_per_weight, name
    for dtype, size in weights.ELEMENT_BYTES.items():
        assert WEIGHT_BYTES[dtype] == size, dtype


def test_a_run_with_a_doubt_is_not_scored(accuracy: ModuleType, repository: Path) -> None:
    listed = _runs(repository)
    scored = {row.id for row in accuracy.speed_fit.load()}
    doubted = {f"aic:{row['id']}" for row in listed if row["doubt"]}
    waits = {f"aic:{row['id']}" for row in listed if row["wait_doubt"] and not row["doubt"]}
    assert doubted
    assert waits
    assert not (doubted | {f"{name}:first" for name in doubted | waits}) & scored
    assert len(waits & scored) > 0.9 * len(waits)  # their tokens a second are
    assert len(accuracy.not_scored()) == len({line.partition(" ")[2] for line in accuracy.not_scored()}) > 3


def test_no_wait_that_is_scored_contradicts_that_of_a_heavier_run(repository: Path) -> None:
    runs = [row for row in _runs(repository) if not row["doubt"] and not row["wait_doubt"]]
    groups: dict[tuple[str, ...], list[dict[str, float]]] = {}
    for row in runs:
        load = {name: float(row[name]) for name in ("concurrency", "in_len", "out_len", "first_token_ms")}
        groups.setdefault(tuple(row[name] for name in ("stack", "model", "method", "gpu", "gpus")), []).append(load)
    for loads in groups.values():
        for light in loads:
            for heavy in loads:
                heavier = heavy["concurrency"] >= light["concurrency"] and heavy["in_len"] >= light["in_len"]
                held = [one["concurrency"] * (one["in_len"] + one["out_len"]) for one in (heavy, light)]
                if heavier and heavy["out_len"] <= light["out_len"] and held[0] >= held[1]:
                    assert light["first_token_ms"] <= 2.2 * heavy["first_token_ms"], (light, heavy)


def _runs(repository: Path) -> list[dict[str, str]]:
    with (repository / "facts" / "measured_speed_2026.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
