"""The constants of serving and training stacks, and the measurements of this user's own servers.

The constants are fitted on published measurements (data/efficiency.json, by benchmarks/speed_accuracy.py). The user's
own measurements are those of `modelpick bench`, in a file that later estimates use and name:
{"schema_version": 1, "measurements": [a Measurement, ...]}. Files are read once a process.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from modelpick import files
from modelpick.errors import UsageError
from modelpick.schema import read, to_json
from modelpick.speed.roofline import ServingEfficiency, TrainingEfficiency
from modelpick.speed.speed import Calibration, LocalCorrection

SCHEMA_VERSION = 1
# Beyond this factor it is another machine than the one estimated for, not a correction: the widest published spread of
# a stack on an unseen GPU is within a factor of 3 (benchmarks/speed_accuracy.py).
LARGEST_CORRECTION = 5.0
_BAD = "bad_calibration"  # the code of a file that is not one of ours
_MOST_MEASUREMENTS = 500  # older ones make room for newer ones


@dataclass(frozen=True, slots=True)
class Measurement:
    """A load that `modelpick bench` ran on a server of the user's: how fast it was, and what had been predicted.

    `predicted_tokens_per_s` is without any correction by earlier measurements; `at` is UTC, ISO 8601.
    """

    stack: str
    method: str
    gpu: str
    measured_tokens_per_s: float
    predicted_tokens_per_s: float
    at: str
    model: str | None = None
    concurrency: int | None = None
    prompt_tokens: float | None = None
    generated_tokens: float | None = None


# Stacks of a workload -> classes of the fit. transformers' kernels differ by weight format.
_EAGER = {"int8": "eager-int8", "nf4": "eager-bnb", "gptq": "eager-gptq", "awq": "eager-awq"}
_TRAINING = {"torchtune": "opt-train"}


def serving(stack: str, method: str) -> Calibration[ServingEfficiency]:
    """The constants for serving with `method` on `stack` (GGUF files are served by llama.cpp)."""
    name = "llamacpp" if method == "gguf" else "vllm" if stack == "vllm" else _EAGER.get(method, "eager")
    listed, entry = _listed("serving"), _entry("serving", name, "eager-family")
    constants = ServingEfficiency(**{key: entry[key] for key in ServingEfficiency.__dataclass_fields__})
    own_servers = corrections(name, method)
    return Calibration(name, constants, entry["rows"], tuple(entry["gpus"]), listed["spread"], own_servers)


def training(stack: str, method: str) -> Calibration[TrainingEfficiency]:
    """The constants for fine-tuning on `stack`; no run of LoRA over int8 was published with its tokens counted."""
    name = _TRAINING.get(stack, "hf-train")
    listed, entry = _listed("training"), _entry("training", name, "hf-train-family")
    constants = TrainingEfficiency(**{key: entry[key] for key in TrainingEfficiency.__dataclass_fields__})
    rows = 0 if method == "lora-int8" else entry["rows"]
    return Calibration(name, constants, rows, tuple(entry["gpus"]), listed["spread"])


def _entry(kind: str, name: str, otherwise: str) -> dict[str, Any]:
    classes = _listed(kind)["classes"]
    entry: dict[str, Any] = classes.get(name) or classes[otherwise]
    return entry


@cache
def _listed(kind: str) -> dict[str, Any]:
    content = json.loads(files.data_file("speed", "efficiency.json").read_text(encoding="utf-8"))
    return {"classes": content[kind], "spread": content["spread"]}


def believable(measured: float, predicted: float) -> bool:
    """Whether a measurement can be of the machine that was estimated for: within a factor of LARGEST_CORRECTION."""
    return measured > 0 and predicted > 0 and 1 / LARGEST_CORRECTION <= measured / predicted <= LARGEST_CORRECTION


def corrections(stack: str, method: str) -> Mapping[str, LocalCorrection]:
    """By GPU name: how much faster or slower than predicted this user's servers were.

    Raises UsageError (bad_calibration) for a file that is not one of ours.
    """
    file = files.user_data("calibration.json", variable="MODELPICK_CALIBRATION")
    if file is None or not file.exists():
        return {}
    ratios: dict[str, list[tuple[float, str]]] = {}
    for row in _read(file):
        measured, predicted = row.measured_tokens_per_s, row.predicted_tokens_per_s
        if row.stack == stack and row.method == method and believable(measured, predicted):
            ratios.setdefault(row.gpu, []).append((measured / predicted, row.at))
    return {
        gpu: LocalCorrection(
            factor=statistics.median(ratio for ratio, _ in measurements),
            rows=len(measurements),
            as_of=max(at for _, at in measurements),
            file=str(file),
        )
        for gpu, measurements in ratios.items()
    }


def save(rows: Sequence[Measurement]) -> Path | None:
    """Adds measurements to the user's file. Returns its path, or None where the user has no home folder.

    Raises UsageError if the file is not one of ours, or cannot be written: the old one then stays.
    """
    file = files.user_data("calibration.json", variable="MODELPICK_CALIBRATION")
    if file is None:
        return None
    known = _read(file) if file.exists() else ()
    kept = [to_json(row) for row in (*known, *rows)[-_MOST_MEASUREMENTS:]]
    content = {"schema_version": SCHEMA_VERSION, "measurements": kept}
    files.make_folder(file.parent)
    files.write_atomically(file, json.dumps(content, indent=1) + "\n")
    _read.cache_clear()
    return file


@cache
def _read(file: Path) -> tuple[Measurement, ...]:
    fix = "delete it: modelpick bench writes a new one"
    content = files.read_json(file, code=_BAD, fix=fix)
    rows = content.get("measurements") if isinstance(content, dict) else None
    if not isinstance(rows, list) or content.get("schema_version") != SCHEMA_VERSION:
        raise UsageError(f"{file} is not a calibration file of this version", fix=fix, code=_BAD)
    return tuple(read(Measurement, row, str(file), _BAD, ignore_unknown=True) for row in rows)
