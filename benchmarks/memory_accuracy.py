"""How far the memory estimate is from published measurements, and how far other tools are.

    python benchmarks/memory_accuracy.py [--rows] [--peers DIR]

runs every case of benchmarks/data/memory_cases*.jsonl that a workload can describe and prints, per kind, the median and
the 90th percentile of the absolute error, and how many measurements lie inside the 90 % interval, calibrated on all
sources (inside) and on all but the row's own (left out). What is not compared is counted, with the reason.
--peers DIR: also the tools installed in DIR/NAME, each a virtual environment of its own (see memory_peers.py).
"""

import argparse
import json
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelpick.catalog import index
from modelpick.catalog.architecture import Checkpoint
from modelpick.errors import ModelpickError
from modelpick.memory.estimate import GIB, MemoryEstimate, architecture_of, estimate
from modelpick.memory.overhead import kind, stratum
from modelpick.workload import workload_from

DATA = sorted((Path(__file__).resolve().parent / "data").glob("memory_cases*.jsonl"))
# issue targets: median and 90th percentile of the absolute error
TARGETS = {
    "inference": (0.01, 0.08),
    "lora": (0.03, 0.10),
    "qlora": (0.06, 0.15),
    "lora-int8": (0.06, 0.15),
    "full": (0.07, 0.20),
    "sharded": (0.0, 0.0),  # fine-tuning over several GPUs: no target
}
# No interval is narrower than this on either side (see calibrate_memory.py).
FLOORS = {"lora": 0.10, "qlora": 0.15, "lora-int8": 0.15, "full": 0.20, "finetune-sharded": 0.20}
CARD_GIB = 22.35  # an A10G as the EC2 API reports it


@dataclass(frozen=True, slots=True)
class Compared:
    """One measurement beside its estimate."""

    case: dict[str, Any]
    found: MemoryEstimate
    expected_gib: float

    @property
    def measured(self) -> float:
        """GiB per GPU."""
        return float(self.case["measured_gib"])

    @property
    def error(self) -> float:
        """Estimate over measurement, minus one."""
        return self.expected_gib / self.measured - 1

    @property
    def residual(self) -> float:
        """Measurement over estimate, minus one: what the interval must cover."""
        return self.measured / self.expected_gib - 1

    @property
    def inside(self) -> bool:
        """Whether the measurement lies in the 90 % interval."""
        scale = self.expected_gib / self.found.total
        return self.found.low * scale <= self.measured <= self.found.high * scale

    @property
    def category(self) -> str:
        """The kind of the targets."""
        workload = self.found.workload
        if workload.task == "serve":
            return "inference"
        return "sharded" if workload.gpus > 1 else str(workload.method)

    @property
    def source(self) -> str:
        """The publication, without the revision."""
        return str(self.case["source"]).split("@")[0].split(":")[0]

    @property
    def stratum(self) -> str:
        """The kind of case whose interval applies."""
        return stratum(self.found.workload)


def why_not(case: dict[str, Any]) -> str | None:
    """Why a row is not compared: what was measured there is something no workload describes."""
    notes, metric = case["notes"], case["metric"]
    if "SUSPECT" in notes:
        return "the table's own note doubts the row (optimizer states absent)"
    if case["workload"].get("sharding") == "fsdp" and case["workload"]["method"] == "full" and notes.endswith(" no"):
        return "full fine-tuning under FSDP without mixed precision, which no workload describes"
    if case["grade"] == "C":
        return "grade C: configuration incomplete"
    if "unstated" in metric and case["workload"]["task"] == "serve":
        return "the source does not state what was measured"
    return None


def compare(case: dict[str, Any], catalog: index.Catalog) -> Compared | str:
    """The estimate beside the measurement, or the reason why there is none."""
    if reason := why_not(case):
        return reason
    model = catalog.find(case["model"])
    if model is None:
        return f"not in the catalog: {case['model']}"
    try:
        shape = architecture_of(model)
    except ModelpickError as error:
        return error.message
    if bits := {"gptq-int4": 4, "gptq-int8": 8}.get(case["quantization"]):
        shape = replace(shape, checkpoint=Checkpoint("gptq", bits, 128))
    told = dict(case["workload"])
    if case["stack_versions"] == "peft 0.2":  # of the time of torch 1.13, whose AdamW steps one parameter at a time
        told["optimizer"] = "adamw-fused"  # ... and so needs no list of temporaries either
    found = estimate(shape, workload_from(told), model.parameters)
    expected = found.total
    if "after generation" in case["metric"]:  # no prefill in it: what stays is weights and cache
        expected = found.parts.weights + found.parts.kv_cache
    expected += (case["summed_over"] - 1) * found.parts.activations  # a pipeline: each card has its own transients
    return Compared(case, found, expected / GIB)


def load() -> tuple[list[Compared], Counter[str]]:
    """All rows that can be compared, and how many could not, by reason."""
    catalog = index.load()
    compared: list[Compared] = []
    left_out: Counter[str] = Counter()
    for line in (line for table in DATA for line in table.read_text(encoding="utf-8").splitlines()):
        row = compare(json.loads(line), catalog)
        if isinstance(row, str):
            left_out[row] += 1
        else:
            compared.append(row)
    return compared, left_out


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def floor(name: str) -> float:
    """The least half-width of a kind's interval."""
    return FLOORS.get(name, 0.02)


def half_widths(residuals: Sequence[float]) -> tuple[float, float]:
    """The narrowest interval around the estimate with 90 % of the residuals, as (below, above) of the estimate.

    One rank more than 90 % of a small sample is asked for, as split-conformal prediction does (arXiv 1604.04173).
    """
    ordered = sorted(residuals)
    need = min(math.ceil(0.9 * (len(ordered) + 1)), len(ordered))
    windows = [
        (max(-ordered[start], 0.0), max(ordered[start + need - 1], 0.0)) for start in range(len(ordered) - need + 1)
    ]
    return min(windows, key=sum, default=(0.0, 0.0))


def covered_when_left_out(rows: Iterable[Compared], everything: Sequence[Compared]) -> float:
    """The share of rows inside an interval that was calibrated without their own source."""
    listed = list(rows)
    inside = 0
    for row in listed:
        others = [o for o in listed if o.source != row.source]
        same = [o.residual for o in others if o.stratum == row.stratum]
        if len(same) < 8:
            same = [o.residual for o in others if kind(o.found.workload) == kind(row.found.workload)]
        if len(same) < 8:
            same = [o.residual for o in others if o.category == row.category] or [r.residual for r in everything]
        below, above = half_widths(same)
        narrowest = floor(kind(row.found.workload))
        inside += -max(below, narrowest) <= row.residual <= max(above, narrowest)
    return inside / len(listed)


def table(rows: list[Compared]) -> list[str]:
    """The table that the README quotes."""
    lines = [
        "| kind | rows | sources | median error | 90th percentile | target | inside 90 % | left out |",
        "|---|---:|---:|---:|---:|---|---:|---:|",
    ]
    by_category: dict[str, list[Compared]] = defaultdict(list)
    for row in rows:
        by_category[row.category].append(row)
    for category, (median, ninetieth) in TARGETS.items():
        members = by_category.get(category, [])
        target = f"{median:.0%} / {ninetieth:.0%}" if median else ""
        if not members:
            lines.append(f"| {category} | 0 | 0 | | | {target} | | |")
            continue
        errors = [abs(row.error) for row in members]
        inside = sum(row.inside for row in members) / len(members)
        lines.append(
            f"| {category} | {len(members)} | {len({row.source for row in members})} "
            f"| {statistics.median(errors):.1%} | {percentile(errors, 0.9):.1%} | {target} "
            f"| {inside:.0%} | {_left_out(rows, category):.0%} |"
        )
    return lines


def _left_out(rows: list[Compared], category: str) -> float:
    members = [row for row in rows if row.category == category]
    return covered_when_left_out(members, rows)


def false_fits(rows: Iterable[Compared]) -> list[Compared]:
    """Rows that the upper bound puts on a 24 GB card and whose measurement does not fit it."""
    return [row for row in rows if row.expected_gib * row.found.high / row.found.total <= CARD_GIB < row.measured]


def main() -> None:
    """Prints the table, what was left out, and (with --rows) every row."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", action="store_true", help="print every row")
    arguments.add_argument("--peers", type=Path, metavar="DIR", help="virtual environments of other tools")
    asked = arguments.parse_args()
    rows, left_out = load()
    print("\n".join(table(rows)))
    print(f"\nfalse fits on a 24 GB card at the upper bound: {len(false_fits(rows))}")
    print("\nnot compared:")
    for reason, count in left_out.most_common():
        print(f"  {count:4} {reason}")
    if asked.rows:
        for row in sorted(rows, key=lambda r: (r.category, r.stratum, r.case["id"])):
            print(
                f"{row.case['id']} {row.stratum:16} {row.case['model']:44} {row.measured:8.2f} "
                f"{row.expected_gib:8.2f} {row.error:+.1%}"
            )
    if asked.peers:
        from memory_peers import compare_peers

        print("\n".join(compare_peers(asked.peers, rows)))


if __name__ == "__main__":
    main()
