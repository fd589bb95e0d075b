"""Reads the fitted constants of serving and training stacks (data/efficiency.json). I/O, cached per process."""

import json
from functools import cache
from typing import Any

from modelpick.files import data_file
from modelpick.speed import local_calibration
from modelpick.speed.roofline import ServingEfficiency, TrainingEfficiency
from modelpick.speed.speed import Calibration

# Stacks of a workload -> classes of the fit. transformers' kernels differ by how weights are held.
_EAGER = {"int8": "eager-int8", "nf4": "eager-bnb", "gptq": "eager-gptq", "awq": "eager-awq"}
_TRAINING = {"torchtune": "opt-train"}


def serving(stack: str, method: str) -> Calibration[ServingEfficiency]:
    """The constants for serving with `method` on `stack` (GGUF files are served by llama.cpp)."""
    name = "llamacpp" if method == "gguf" else "vllm" if stack == "vllm" else _EAGER.get(method, "eager")
    listed, entry = _listed("serving"), _entry("serving", name, "eager-family")
    constants = ServingEfficiency(**{key: entry[key] for key in ServingEfficiency.__dataclass_fields__})
    own = local_calibration.corrections(name, method)
    return Calibration(name, constants, entry["rows"], tuple(entry["gpus"]), listed["spread"], own)


def training(stack: str, method: str) -> Calibration[TrainingEfficiency]:
    """The constants for fine-tuning on `stack`; no run of LoRA over int8 was published with its tokens counted."""
    name = _TRAINING.get(stack, "hf-train")
    listed, entry = _listed("training"), _entry("training", name, "hf-train-family")
    constants = TrainingEfficiency(**{key: entry[key] for key in TrainingEfficiency.__dataclass_fields__})
    rows = 0 if method == "lora-int8" else entry["rows"]
    return Calibration(name, constants, rows, tuple(entry["gpus"]), listed["spread"])


def _entry(kind: str, name: str, otherwise: str) -> dict[str, Any]:
    classes = _listed(kind)["classes"]
    found: dict[str, Any] = classes.get(name) or classes[otherwise]
    return found


@cache
def _listed(kind: str) -> dict[str, Any]:
    content = json.loads(data_file("speed", "efficiency.json").read_text(encoding="utf-8"))
    return {"classes": content[kind], "spread": content["spread"]}
