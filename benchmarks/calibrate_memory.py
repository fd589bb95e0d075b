"""Writes the intervals of modelpick/memory/data/intervals.json from the residuals of memory_accuracy.py.

    python benchmarks/calibrate_memory.py

A stratum is what is done (serve, lora, ...) and how it is measured. Its half-widths are those of the narrowest interval
that holds 90 % of measured over estimated; a stratum of fewer than twenty takes those of all rows of its kind, a
kind without rows those of the kind nearest to it, widened. No half-width is below a floor. Serving: 2 %, by which
versions and drivers differ. Training: the 90th percentile that is asked of the kind, because its rows come from two or
three publications and the next one has a recipe of its own (dropout, accumulation, lengths, buffers).
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from memory_accuracy import Compared, floor, half_widths, load

from modelpick.memory.overhead import KINDS, kind
from modelpick.schema import settings_of
from modelpick.workload import Workload

OUT = Path(__file__).resolve().parent.parent / "modelpick" / "memory" / "data" / "intervals.json"
FEW = 20
_MEASURES = next(setting.choices for setting in settings_of(Workload) if setting.name == "measure")
# A kind that was hardly measured borrows from the one whose formulas it shares, widened by a quarter.
BORROWS = {
    "lora-int8": ("lora", "qlora"), "full": ("lora",), "prompt-tuning": ("lora",), "serve-int8": ("serve-quantized",),
    "serve-sharded": ("serve", "serve-quantized"), "finetune-sharded": ("lora", "qlora"),
}  # fmt: skip
WIDER = 1.25
# What a measure adds where it was hardly measured: the allocator's reserve (1-8 %) and the process's context.
UNMEASURED = {"allocated": 0.0, "reserved": 0.03, "device": 0.04}


def calibrate(rows: list[Compared]) -> dict[str, dict[str, Any]]:
    """Half-widths of every stratum, with what they rest on."""
    by_stratum: dict[str, list[float]] = defaultdict(list)
    by_kind: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        by_stratum[row.stratum].append(row.residual)
        by_kind[kind(row.found.workload)].append(row.residual)
    strata: dict[str, dict[str, Any]] = {}
    for name in KINDS:
        for measure in _MEASURES:
            own = by_stratum.get(f"{name}/{measure}", [])
            if len(own) >= FEW:
                strata[f"{name}/{measure}"] = _row(name, own, "measured", 1.0, 0.0)
                continue
            lenders = (name,) if len(by_kind.get(name, [])) >= FEW else BORROWS.get(name, (name,))
            residuals = [residual for lender in lenders for residual in by_kind.get(lender, [])]
            factor = 1.0 if lenders == (name,) else WIDER
            basis = f"all measures of {' and '.join(lenders)}"
            made = _row(name, residuals, basis, factor, UNMEASURED[measure])
            if lenders != (name,):  # which way a kind errs is not known where it was hardly measured
                made["below"] = made["above"] = max(made["below"], made["above"])
            strata[f"{name}/{measure}"] = made
    return strata


def _row(name: str, residuals: list[float], basis: str, factor: float, extra: float) -> dict[str, Any]:
    below, above = half_widths(residuals)
    return {
        "below": round(max(below * factor + extra, floor(name)), 4),
        "above": round(max(above * factor + extra, floor(name)), 4),
        "rows": len(residuals),
        "basis": basis,
    }


def build() -> str:
    """The text of intervals.json."""
    rows, _ = load()
    source = "benchmarks/calibrate_memory.py on benchmarks/data/memory_cases*.jsonl"
    return json.dumps({"source": source, "rows": len(rows), "strata": calibrate(rows)}, indent=1) + "\n"


def main() -> None:
    """Writes the table and prints it."""
    text = build()
    OUT.write_text(text, encoding="utf-8", newline="\n")
    for name, row in json.loads(text)["strata"].items():
        print(f"{name:26} -{row['below']:.1%} +{row['above']:.1%}  {row['rows']} rows, {row['basis']}")


if __name__ == "__main__":
    main()
