"""The constants of serving and training stacks, corrected by what this user's own machines were measured to do.

The constants are fitted on published measurements (data/efficiency.json, by benchmarks/speed_accuracy.py); the user's
own measurements are in a file (calibration_file.py). Files are read once a process.
"""

import json
import statistics
from collections.abc import Mapping
from functools import cache
from typing import Any

from modelpick import files
from modelpick.speed.calibration_file import believable, content
from modelpick.speed.roofline import ServingEfficiency
from modelpick.speed.speed import Calibration, LocalCorrection
from modelpick.speed.training import TrainingEfficiency

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
_TRAINING = {"torchtune": "opt-train", "modelpick": "own-train"}
# The loops of the published runs that hf-train is fitted on are written for speed: no padding, fused
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
    """The constants for fine-tuning on `stack`; LoRA over int8 was measured with our own loop alone."""
    name = _TRAINING.get(stack, "hf-train")
    listed, entry = _listed("training"), _entry("training", name, "hf-train-family")
    constants = TrainingEfficiency(**{key: entry[key] for key in TrainingEfficiency.__dataclass_fields__})
    rows = 0 if method == "lora-int8" and method not in entry["methods"] else entry["rows"]
    doubts: tuple[str, ...] = ()
    if rows and method not in {_ALIKE.get(known, known) for known in entry["methods"]}:
        doubts = (f"none of its measurements is of {method}",)
    slower = 1.0
    if stack not in _CALIBRATED_TRAINERS:
        doubts += (f"nobody calibrated {stack}: ordinary trainers took up to 4.3 times as long as these loops",)
        slower = _STRANGER_SLOWER
    own = corrections(name, method)
    spreads = {"training": listed["spread"].get(f"training {name}") or listed["spread"]["training"]}
    return Calibration(name, constants, rows, tuple(entry["gpus"]), spreads, doubts, slower, own)


def _entry(kind: str, name: str, otherwise: str) -> dict[str, Any]:
    classes = _listed(kind)["classes"]
    entry: dict[str, Any] = classes.get(name) or classes[otherwise]
    return entry


@cache
def _listed(kind: str) -> dict[str, Any]:
    content = json.loads(files.data_file("speed", "efficiency.json").read_text(encoding="utf-8"))
    return {"classes": content[kind], "spread": content["spread"]}


def corrections(stack: str, method: str) -> Mapping[str, LocalCorrection]:
    """By GPU name: how much faster or slower than predicted this user's servers were.

    Raises UsageError (bad_calibration) for a file that is not one of ours.
    """
    found = content()
    if found is None:
        return {}
    file, kept = found
    ratios: dict[str, list[tuple[float, str]]] = {}
    for row in kept.measurements:
        measured, predicted = row.measured_tokens_per_s, row.predicted_tokens_per_s
        if row.stack == stack and row.method == method and believable(measured, predicted):
            ratios.setdefault(row.gpu, []).append((measured / predicted, row.at))
    return {
        gpu: LocalCorrection(
            factor=statistics.median(ratio for ratio, _ in measurements),
            rows=len(measurements),
            as_of=max(at for _, at in measurements),
            file=str(file),
            sha256=kept.sha256,
        )
        for gpu, measurements in ratios.items()
    }
