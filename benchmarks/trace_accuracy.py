"""`estimate --exact` against published peaks: python benchmarks/trace_accuracy.py [--rows N] [--id ID ...]

Takes the rows of benchmarks/data/memory_cases.jsonl whose configuration is complete (grade A), that ran
transformers 4.45 or newer (older ones allocate otherwise), and that say what torch allocated or reserved on one GPU;
one row of each distinct case. Prints each, then median and worst error.
"""

import argparse
import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

from modelpick.catalog import index
from modelpick.errors import ModelpickError
from modelpick.memory.trace import trace
from modelpick.workload import workload_from

CASES = Path(__file__).parent / "data" / "memory_cases.jsonl"


def main() -> None:
    """Trace and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=18, help="how many distinct cases, spread over all of them")
    parser.add_argument("--id", nargs="*", help="these rows only")
    options = parser.parse_args()
    catalog = index.load()
    errors = []
    for row in _chosen(options.rows, options.id):
        model = catalog.find(row["model"])
        if model is None or model.config is None:
            continue
        try:
            traced = trace(model.config, workload_from(row["workload"]))
        except ModelpickError as refused:
            print(f"{row['id']} {row['model']}: {refused.message}", flush=True)
            continue
        reserved = row["workload"].get("measure") == "reserved"
        predicted = (traced.reserved if reserved else traced.allocated) / 2**30
        error = predicted / row["measured_gib"] - 1
        errors.append(error)
        work = row["workload"]
        shown = f"{work['method']} {work['context']} x {work.get('batch', 1)}"
        print(
            f"{row['id']} {row['model']:34} {shown:20} measured {row['measured_gib']:7.2f}  traced {predicted:7.2f}"
            f"  {error:+.1%}  {traced.seconds:.0f} s",
            flush=True,
        )
    if not errors:
        sys.exit("no row can be traced")
    sizes = sorted(map(abs, errors))
    print(f"{len(sizes)} rows: median {statistics.median(sizes):.1%}, worst {sizes[-1]:.1%}")


def _chosen(count: int, ids: list[str] | None) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
    if ids:
        return [row for row in rows if row["id"] in ids]
    distinct: dict[str, dict[str, Any]] = {}
    for row in rows:
        work = row["workload"]
        traceable = work["method"] in ("bf16", "nf4", "int8", "full", "lora", "qlora", "lora-int8")
        counted = row["metric"].startswith("torch max_memory") and work.get("measure") in ("allocated", "reserved")
        if row["grade"] == "A" and traceable and counted and work.get("gpus", 1) == 1 and _is_recent(row):
            distinct.setdefault(json.dumps([row["model"], work], sort_keys=True), row)
    found = list(distinct.values())
    return found[:: max(1, len(found) // count)][:count]


def _is_recent(row: dict[str, Any]) -> bool:
    found = re.match(r"transformers (\d+)\.(\d+)", row["stack_versions"])
    return found is not None and (int(found[1]), int(found[2])) >= (4, 45)


if __name__ == "__main__":
    main()
