"""`estimate --exact` against published peaks: python benchmarks/trace_accuracy.py [--rows N] [--id ID ...]

Takes the rows of benchmarks/data/memory_cases.jsonl whose configuration is complete (grade A), that ran
transformers 4.45 or newer (older ones allocate otherwise), and that say what torch allocated or reserved on one GPU;
one row of each distinct case. litgpt's rows of 8-bit and 4-bit weights, the only published ones, are another
implementation of the same models over the same bitsandbytes: they are compared too, and summed up apart. Each trace has
a process of its own, so that its time and its peak of memory are its own. Prints each, then median and worst.
"""

import argparse
import json
import multiprocessing
import re
import resource
import statistics
import sys
from collections import defaultdict
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
    parser.add_argument("--rows", type=int, default=18, help="how many distinct cases of each stack, spread over all")
    parser.add_argument("--id", nargs="*", help="these rows only")
    options = parser.parse_args()
    errors: dict[str, list[float]] = defaultdict(list)
    seconds, memory = [0.0], [0.0]
    fresh = multiprocessing.get_context("spawn")
    for row in _chosen(options.rows, options.id):
        with fresh.Pool(1) as pool:
            found = pool.apply(_traced, (row,))
        if isinstance(found, str):
            print(f"{row['id']} {row['model']}: {found}", flush=True)
            continue
        predicted, spent, peak = found
        error = predicted / row["measured_gib"] - 1
        errors[_stack(row)].append(abs(error))
        seconds.append(spent)
        memory.append(peak)
        work = row["workload"]
        shown = f"{work['method']} {work['context']} x {work.get('batch', 1)}"
        print(
            f"{row['id']} {row['model']:34} {shown:18} measured {row['measured_gib']:6.2f}  traced {predicted:6.2f}"
            f"  {error:+.1%}  {spent:.0f} s  {peak:.2f} GiB",
            flush=True,
        )
    if not errors:
        sys.exit("no row can be traced")
    for stack, sizes in sorted(errors.items(), reverse=True):
        print(f"{stack}: {len(sizes)} rows, median {statistics.median(sizes):.1%}, worst {max(sizes):.1%}")
    print(f"slowest {max(seconds):.0f} s, most memory {max(memory):.2f} GiB with Python, torch and transformers")


def _traced(row: dict[str, Any]) -> str | tuple[float, float, float]:
    """GiB as the row counts them, seconds, and this process's peak in GiB; or why there is no trace."""
    model = index.load().find(row["model"])
    if model is None or model.config is None:
        return "not in the catalog"
    try:
        traced = trace(model.config, workload_from(row["workload"]))
    except ModelpickError as refused:
        return refused.message
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    reserved = row["workload"].get("measure") == "reserved"
    return (traced.reserved if reserved else traced.allocated) / 2**30, traced.seconds, peak


def _chosen(count: int, ids: list[str] | None) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
    if ids:
        return [row for row in rows if row["id"] in ids]
    distinct: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        work = row["workload"]
        traceable = work["method"] in ("bf16", "nf4", "int8", "full", "lora", "qlora", "lora-int8")
        counted = row["metric"].startswith("torch max_memory") and work.get("measure") in ("allocated", "reserved")
        alone = work.get("gpus", 1) == 1
        comparable = work["method"] in ("int8", "nf4") if _stack(row) == "litgpt" else _is_recent(row)
        if row["grade"] == "A" and traceable and counted and alone and comparable:
            key = json.dumps([row["model"], work], sort_keys=True)
            distinct[_stack(row)].setdefault(key, row)
    chosen = [list(rows.values()) for rows in distinct.values()]
    return [row for rows in chosen for row in _spread(list(rows), count if _stack(rows[0]) != "litgpt" else count // 3)]


def _spread(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Some of the rows, evenly; every row of a method that has only one."""
    methods = [row["workload"]["method"] for row in rows]
    rare = [row for row in rows if methods.count(row["workload"]["method"]) == 1]
    picked = rows[:: max(1, len(rows) // count)][:count]
    return picked + [row for row in rare if row not in picked]


def _stack(row: dict[str, Any]) -> str:
    return "litgpt" if row["workload"].get("stack") == "litgpt" else "transformers"


def _is_recent(row: dict[str, Any]) -> bool:
    found = re.match(r"transformers (\d+)\.(\d+)", row["stack_versions"])
    return found is not None and (int(found[1]), int(found[2])) >= (4, 45)


if __name__ == "__main__":
    main()
