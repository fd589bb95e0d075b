"""The constants of serving and training stacks, and the measurements of this user's own servers.

The constants are fitted on published measurements (data/efficiency.json, by benchmarks/speed_accuracy.py). The user's
own measurements are those of `modelpick bench`, in a file that later estimates use and name:
{"schema_version": 1, "measurements": [a Measurement, ...]}. Files are read once a process.
"""

import hashlib
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
from modelpick.speed.roofline import ServingEfficiency
from modelpick.speed.speed import Calibration, LocalCorrection
from modelpick.speed.training import TrainingEfficiency

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
_TODAY = {"vllm": "vllm-0.11", "sglang": "sglang-0.5", "tensorrt-llm": "trtllm-1.0"}
_BEFORE = {"vllm": "vllm", "sglang": "sglang", "tensorrt-llm": "trtllm", "tgi": "tgi"}
# The newest versions that published measurements are of, and from where on an engine is today's. vLLM 0.8 made its
# rewritten core the default (release notes of 0.8.0); the first sweeps of it are of 0.11.
_NEWEST = {"vllm": (0, 19), "sglang": (0, 5), "tensorrt-llm": (1, 3)}
_TODAY_FROM = {"vllm": (0, 8), "sglang": (0, 5), "tensorrt-llm": (1, 0)}
# Formats that are read by the same kernels: what one of them was measured at holds for the others.
_ALIKE = {"gptq": "4-bit", "awq": "4-bit", "int4": "4-bit", "fp16": "bf16", "fp8-block": "fp8"}
_TRAINING = {"torchtune": "opt-train"}
# The loops of the published runs that hf-train is fitted on, and our own, are written for speed: no padding, fused
# kernels, nothing offloaded. 17 runs of an ordinary transformers trainer at 8,192 tokens took 1.75 to 4.3 times as long
# as predicted. Who names a trainer that nobody calibrated gets an interval that such a one lies in.
_CALIBRATED_TRAINERS = ("modelpick", "torchtune")
_STRANGER_SLOWER = 2.6


def serving(stack: str, method: str, version: str | None = None) -> Calibration[ServingEfficiency]:
    """The constants for serving with `method` on `stack` (GGUF files are served by llama.cpp) of a version.

    None: of today. A version newer than any measured gets the newest constants, and says so.
    """
    name, doubts = _serving_class(stack, method, version)
    listed, entry = _listed("serving"), _entry("serving", name, "eager-family")
    constants = ServingEfficiency(**{key: entry[key] for key in ServingEfficiency.__dataclass_fields__})
    kernels = {_ALIKE.get(part, part) for known in entry["methods"] for part in known.split("+")}
    if entry["rows"] and _ALIKE.get(method, method) not in kernels:
        doubts = (*doubts, f"none of its measurements is with {method} weights")
    spreads = _spreads(name, listed["spread"])
    own_servers = corrections(name, method)
    gpus = tuple(entry["gpus"])
    return Calibration(name, constants, entry["rows"], gpus, spreads, doubts=doubts, local=own_servers)


def _spreads(name: str, listed: Mapping[str, Mapping[str, float]]) -> dict[str, Mapping[str, float]]:
    """How far left-out rows were off; of today's engines each by itself, which were measured under load alone."""
    if name not in _TODAY.values():
        return {**listed, "first-token": listed["prefill"]}
    loaded, first = listed[f"loaded {name}"], listed[f"first-token {name}"]
    return {"batch1": loaded, "loaded": loaded, "first-token": first, "prefill": first}


def _serving_class(stack: str, method: str, version: str | None) -> tuple[str, tuple[str, ...]]:
    """The class of the fit, and what about the version was never measured."""
    if method == "gguf":
        return "llamacpp", ()
    if stack not in _TODAY:
        return _BEFORE.get(stack) or _EAGER.get(method, "eager"), ()
    if version is None:
        return _TODAY[stack], ()
    parts = tuple(int(part) for part in version.split("."))[:2]
    newest = ".".join(str(part) for part in _NEWEST[stack])
    if parts > _NEWEST[stack]:
        return _TODAY[stack], (f"{stack} {version} is newer than any that was measured: {newest} stands in for it",)
    if parts >= _TODAY_FROM[stack]:
        return _TODAY[stack], ()
    return _BEFORE[stack], ()


def training(stack: str, method: str) -> Calibration[TrainingEfficiency]:
    """The constants for fine-tuning on `stack`; no run of LoRA over int8 was published with its tokens counted."""
    name = _TRAINING.get(stack, "hf-train")
    listed, entry = _listed("training"), _entry("training", name, "hf-train-family")
    constants = TrainingEfficiency(**{key: entry[key] for key in TrainingEfficiency.__dataclass_fields__})
    rows = 0 if method == "lora-int8" else entry["rows"]
    doubts: tuple[str, ...] = ()
    if rows and method not in {_ALIKE.get(known, known) for known in entry["methods"]}:
        doubts = (f"none of its measurements is of {method}",)
    slower = 1.0
    if stack not in _CALIBRATED_TRAINERS:
        doubts += (f"nobody calibrated {stack}: ordinary trainers took up to 4.3 times as long as these loops",)
        slower = _STRANGER_SLOWER
    own = corrections(name, method)
    return Calibration(name, constants, rows, tuple(entry["gpus"]), listed["spread"], doubts, slower, own)


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
    rows, sha256 = _read(file)
    for row in rows:
        measured, predicted = row.measured_tokens_per_s, row.predicted_tokens_per_s
        if row.stack == stack and row.method == method and believable(measured, predicted):
            ratios.setdefault(row.gpu, []).append((measured / predicted, row.at))
    return {
        gpu: LocalCorrection(
            factor=statistics.median(ratio for ratio, _ in measurements),
            rows=len(measurements),
            as_of=max(at for _, at in measurements),
            file=str(file),
            sha256=sha256,
        )
        for gpu, measurements in ratios.items()
    }


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """The user's measurements by stack, weights and GPU, without anything that names a model or a machine: what may be
    given to others. `sha256` is None where there is no file yet."""

    file: str | None
    sha256: str | None
    groups: tuple["MeasuredGroup", ...]


@dataclass(frozen=True, slots=True)
class MeasuredGroup:
    """Measurements of one stack with one weight format on one GPU: how often, and measured over predicted.

    `unbelievable` ones, too far off to be of the machine estimated for, are counted and not used.
    """

    stack: str
    method: str
    gpu: str
    measurements: int
    unbelievable: int
    low_ratio: float | None
    median_ratio: float | None
    high_ratio: float | None
    latest_at: str


def report() -> CalibrationReport:
    """What the user's file says. Raises UsageError (bad_calibration) for a file that is not one of ours."""
    file = files.user_data("calibration.json", variable="MODELPICK_CALIBRATION")
    if file is None or not file.exists():
        return CalibrationReport(str(file) if file is not None else None, None, ())
    rows, sha256 = _read(file)
    groups: dict[tuple[str, str, str], list[Measurement]] = {}
    for row in rows:
        groups.setdefault((row.stack, row.method, row.gpu), []).append(row)
    return CalibrationReport(str(file), sha256, tuple(_group(*key, groups[key]) for key in sorted(groups)))


def _group(stack: str, method: str, gpu: str, rows: Sequence[Measurement]) -> MeasuredGroup:
    pairs = [(row.measured_tokens_per_s, row.predicted_tokens_per_s) for row in rows]
    ratios = [measured / predicted for measured, predicted in pairs if believable(measured, predicted)]
    return MeasuredGroup(
        stack=stack,
        method=method,
        gpu=gpu,
        measurements=len(rows),
        unbelievable=len(rows) - len(ratios),
        low_ratio=min(ratios, default=None),
        median_ratio=statistics.median(ratios) if ratios else None,
        high_ratio=max(ratios, default=None),
        latest_at=max(row.at for row in rows),
    )


def save(rows: Sequence[Measurement]) -> Path | None:
    """Adds measurements to the user's file. Returns its path, or None where the user has no home folder.

    Raises UsageError if the file is not one of ours, or cannot be written: the old one then stays.
    """
    file = files.user_data("calibration.json", variable="MODELPICK_CALIBRATION")
    if file is None:
        return None
    known = _read(file)[0] if file.exists() else ()
    kept = [to_json(row) for row in (*known, *rows)[-_MOST_MEASUREMENTS:]]
    content = {"schema_version": SCHEMA_VERSION, "measurements": kept}
    files.make_folder(file.parent)
    files.write_atomically(file, json.dumps(content, indent=1) + "\n")
    _read.cache_clear()
    return file


@cache
def _read(file: Path) -> tuple[tuple[Measurement, ...], str]:
    """The measurements, and the content's hash."""
    fix = "delete it: modelpick bench writes a new one"
    content = files.read_json(file, code=_BAD, fix=fix)
    rows = content.get("measurements") if isinstance(content, dict) else None
    if not isinstance(rows, list) or content.get("schema_version") != SCHEMA_VERSION:
        raise UsageError(f"{file} is not a calibration file of this version", fix=fix, code=_BAD)
    found = tuple(read(Measurement, row, str(file), _BAD, ignore_unknown=True) for row in rows)
    return found, hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
