"""How far the memory estimate is from published measurements, and how far other tools are.

    python benchmarks/memory_accuracy.py [--rows] [--peers DIR]

runs every case of benchmarks/data/memory_cases*.jsonl that a workload can describe and prints, per kind, the median and
the 90th percentile of the absolute error, how many measurements lie inside the 90 % interval, calibrated on all
sources (inside) and on all but the row's own (left out), and the interval's width, the median of high over low: wide
intervals hold everything. A kind of fewer than 20 rows is printed without its target, since nothing is claimed for it.
Rows of LLM.int8 with random weights are held against an estimate with the outlier columns that such weights make
(random_outliers.py), which trained ones hardly have.
Then the weights that servers log and files hold (benchmarks/data/server_weights.jsonl), which the formulas were not
fitted on. What is not compared is counted, with the reason.
--peers DIR: also the tools installed in DIR/NAME, each a virtual environment of its own (see memory_peers.py).
"""

import argparse
import json
import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import random_outliers

from modelpick.catalog import index
from modelpick.catalog.architecture import Checkpoint
from modelpick.errors import ModelpickError
from modelpick.memory.estimate import GIB, MemoryEstimate, architecture_of, estimate
from modelpick.memory.overhead import kind, stratum
from modelpick.offers import embedded
from modelpick.workload import workload_from

DATA = sorted((Path(__file__).resolve().parent / "data").glob("memory_cases*.jsonl"))
# issue targets: median and 90th percentile of the absolute error
TARGETS = {
    "inference": (0.01, 0.08),
    "lora": (0.03, 0.10),
    "qlora": (0.05, 0.12),
    "lora-int8": (0.05, 0.12),
    "full": (0.06, 0.15),
    "sharded": (0.04, 0.12),  # fine-tuning over several GPUs
}
FEW = 20  # rows: of a kind with fewer, nothing is claimed
# No interval is narrower than this on either side (see calibrate_memory.py): the 90th percentile that is asked, and
# more where fewer than 20 rows were measured.
FLOORS = {"lora": 0.10, "qlora": 0.12, "lora-int8": 0.15, "full": 0.20, "finetune-sharded": 0.12}
SERVERS = DATA[0].parent / "server_weights.jsonl"


@dataclass(frozen=True, slots=True)
class Compared:
    """One measurement beside its estimate."""

    case: dict[str, Any]
    found: MemoryEstimate
    expected_gib: float
    device_high_gib: float  # what `fits` compares with a GPU

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
    if found.workload.method == "lora-int8" and "random weights" in case["notes"]:
        expected += random_outliers.kept_bytes(shape, found.workload)
    device = estimate(shape, workload_from(told | {"measure": "device"}), model.parameters)
    return Compared(case, found, expected / GIB, device.high / GIB)


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
        "| kind | rows | sources | median error | 90th percentile | target | inside 90 % | left out | high/low |",
        "|---|---:|---:|---:|---:|---|---:|---:|---:|",
    ]
    by_category: dict[str, list[Compared]] = defaultdict(list)
    for row in rows:
        by_category[row.category].append(row)
    for category, (median, ninetieth) in TARGETS.items():
        members = by_category.get(category, [])
        target = f"{median:.0%} / {ninetieth:.0%}"
        if 0 < len(members) < FEW:
            target = f"too few to claim {target}"
        if not members:
            lines.append(f"| {category} | 0 | 0 | | | {target} | | | |")
            continue
        errors = [abs(row.error) for row in members]
        inside = sum(row.inside for row in members) / len(members)
        lines.append(
            f"| {category} | {len(members)} | {len({row.source for row in members})} "
            f"| {statistics.median(errors):.1%} | {percentile(errors, 0.9):.1%} | {target} "
            f"| {inside:.0%} | {_left_out(rows, category):.0%} "
            f"| {statistics.median(row.found.high / row.found.low for row in members):.2f} |"
        )
    return lines


def _left_out(rows: list[Compared], category: str) -> float:
    members = [row for row in rows if row.category == category]
    return covered_when_left_out(members, rows)


@cache
def cards(dtype: str) -> list[float]:
    """The usable GiB of every GPU that is offered and computes in `dtype`."""
    instances = (offer.instance for offer in embedded.offers())
    return sorted({instance.usable_memory_gib for instance in instances if instance.gpu.supports(dtype)})


def false_fits(rows: Iterable[Compared]) -> list[tuple[Compared, float]]:
    """Rows that the upper bound puts on a GPU whose memory the measurement exceeds, each with that GPU's GiB."""
    return [
        (row, size)
        for row in rows
        if row.case["summed_over"] == 1
        for size in cards(row.found.workload.dtype)
        if row.device_high_gib <= size < row.measured
    ]


def refused(rows: Iterable[Compared]) -> list[Compared]:
    """Rows measured on a GPU that the upper bound does not put them on, though they ran there."""
    found = []
    for row in rows:
        if row.case["summed_over"] == 1 and (gib := re.search(r"(\d+)\s*GB", str(row.case["gpu"]))):
            usable = [size for size in cards(row.found.workload.dtype) if 0.9 < size / float(gib[1]) < 1.01]
            if usable and row.device_high_gib > max(usable) >= row.measured:
                found.append(row)
    return found


def server_weights() -> list[tuple[dict[str, Any], float]]:
    """Each row of server_weights.jsonl with the GiB of weights on one GPU that the estimate says."""
    catalog = index.load()
    found = []
    for row in map(json.loads, SERVERS.read_text(encoding="utf-8").splitlines()):
        model = catalog.models[row["model"]]
        made = estimate(architecture_of(model), workload_from(row["workload"]), model.parameters)
        found.append((row, made.parts.weights / GIB))
    return found


def servers_line() -> str:
    """How far the weights are from what servers log."""
    found = server_weights()
    errors = [abs(said / row["measured_gib"] - 1) for row, said in found]
    few = "" if len(errors) >= FEW else f", fewer than {FEW}: no claim"
    return (
        f"weights as servers log them and files hold them: {len(errors)} rows{few}; median error "
        f"{statistics.median(errors):.1%}, 90th percentile {percentile(errors, 0.9):.1%}, largest {max(errors):.1%}"
    )


def main() -> None:
    """Prints the table, what was left out, and (with --rows) every row."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", action="store_true", help="print every row")
    arguments.add_argument("--peers", type=Path, metavar="DIR", help="virtual environments of other tools")
    asked = arguments.parse_args()
    rows, left_out = load()
    print("\n".join(table(rows)))
    print("\n" + servers_line())
    print(f"\nfalse fits at the upper bound, on any GPU that is offered: {len(false_fits(rows))}")
    for row, size in false_fits(rows):
        print(f"  {row.case['id']} {row.stratum} {row.case['model']}: {row.measured:.2f} on {size:g} GiB")
    print(f"ran, and refused on the GPU where they ran: {len(refused(rows))}")
    for row in refused(rows):
        print(f"  {row.case['id']} {row.stratum} {row.case['model']} on {row.case['gpu']}: {row.measured:.2f} GiB")
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
