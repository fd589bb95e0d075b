"""The 90 % interval of a kind of case: half-widths measured by benchmarks/calibrate_memory.py, read once."""

import json
from functools import cache
from importlib.resources import files

from modelpick.catalog.architecture.shape import Architecture
from modelpick.workload import Workload


@cache
def _table() -> dict[str, tuple[float, float]]:
    told = json.loads(files("modelpick.memory").joinpath("data/intervals.json").read_text(encoding="utf-8"))
    return {name: (float(row["below"]), float(row["above"])) for name, row in told["strata"].items()}


def stratum(workload: Workload) -> str:
    """The kind of case that intervals are kept for: what is done, and how it is measured."""
    kind = workload.method if workload.task == "finetune" else "serve"
    return f"{kind}/{workload.measure}"


def interval(workload: Workload, architecture: Architecture) -> tuple[float, float]:
    """How far below and above the estimate the measured peak lies in 90 % of cases, as fractions of the estimate."""
    return _table()[stratum(workload)]
