"""The 90 % interval of a kind of case: half-widths measured by benchmarks/calibrate_memory.py, read once."""

import json
from functools import cache
from importlib.resources import files

from modelpick.workload import Workload

KINDS = (
    "serve", "serve-quantized", "serve-int8", "serve-sharded",
    "lora", "lora-int8", "qlora", "full", "finetune-sharded",
)  # fmt: skip


@cache
def _table() -> dict[str, tuple[float, float]]:
    told = json.loads(files("modelpick.memory").joinpath("data/intervals.json").read_text(encoding="utf-8"))
    return {name: (float(row["below"]), float(row["above"])) for name, row in told["strata"].items()}


def kind(workload: Workload) -> str:
    """What is done, as far as it changes how well memory can be told."""
    if workload.gpus > 1:
        return f"{workload.task}-sharded"
    if workload.task == "finetune":
        return workload.method
    if workload.method == "bf16":
        return "serve"
    return "serve-int8" if workload.method == "int8" else "serve-quantized"


def stratum(workload: Workload) -> str:
    """The kind of case that intervals are kept for: what is done, and how it is measured."""
    return f"{kind(workload)}/{workload.measure}"


def interval(workload: Workload) -> tuple[float, float]:
    """How far below and above the estimate the measured peak lies in 90 % of cases, as fractions of the estimate."""
    return _table()[stratum(workload)]
