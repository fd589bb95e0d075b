"""`estimate --exact` against published peaks, and what a 7B step costs: python benchmarks/trace_accuracy.py
[--rows N] [--id ID ...] [--steps]

Takes the rows of benchmarks/data/memory_cases*.jsonl whose configuration is complete (grade A), that ran
transformers 4.45 or newer (older ones allocate otherwise) with kernels that are traced, and that say what torch
allocated or reserved on one GPU; one row of each distinct case. The installed versions are traced, whatever the row's
were. Each trace has a process of its own, so that its time and its peak of memory are its own. Prints each, then median
and worst, over all and for 4-bit weights apart. No row of transformers with 8-bit weights is published.

--steps: a LoRA step of a 7B model, end to end as a user types it, with wall time and memory of the whole process.
"""

import argparse
import json
import multiprocessing
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from modelpick.catalog import index
from modelpick.errors import ModelpickError
from modelpick.tracing.trace import trace
from modelpick.workload import workload_from

TABLES = sorted((Path(__file__).parent / "data").glob("memory_cases*.jsonl"))
STEPS = (
    ("huggyllama/llama-7b", "lora"), ("huggyllama/llama-7b", "lora-int8"), ("tiiuae/falcon-7b", "lora"),
    ("tiiuae/falcon-7b", "lora-int8"), ("mosaicml/mpt-7b", "lora"), ("mosaicml/mpt-7b", "lora-int8"),
    ("google/flan-t5-xxl", "lora"), ("google/flan-t5-xxl", "lora-int8"),
)  # fmt: skip
LIMIT_SECONDS, LIMIT_GB = 30, 1.0


def main() -> None:
    """Trace and compare, or take the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=40, help="how many distinct cases at most, spread over all")
    parser.add_argument("--id", nargs="*", help="these rows only")
    parser.add_argument("--steps", action="store_true", help="7B LoRA steps, end to end")
    options = parser.parse_args()
    if options.steps:
        _steps()
        return
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
        errors["all"].append(abs(error))
        if row["workload"]["method"] in ("nf4", "qlora"):
            errors["4-bit weights"].append(abs(error))
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
    for name, sizes in errors.items():
        print(f"{name}: {len(sizes)} rows, median {statistics.median(sizes):.1%}, worst {max(sizes):.1%}")
    print(f"slowest {max(seconds):.0f} s, most memory {max(memory):.2f} GiB with Python, torch and transformers")
    others = sum(row["workload"].get("stack") == "litgpt" and row["grade"] == "A" for row in _rows())
    print(f"not traced: {others} rows of litgpt, which has its own models; benchmarks/memory_accuracy.py has them")


def _steps() -> None:
    """Each command in a process of its own; its memory is what the system accounts to it."""
    slowest = largest = 0.0
    for model, method in STEPS:
        stack = [] if "t5" in model else ["--stack", "trl", "--stack-version", "1.16"]
        words = ["estimate", model, "--method", method, "--autocast", "--batch", "1", *stack, "--offline", "--json"]
        formula = json.loads(subprocess.run([_program(), *words], capture_output=True, check=True).stdout)
        with tempfile.TemporaryFile() as answer:
            started = time.monotonic()
            child = subprocess.Popen([_program(), *words, "--exact"], stdout=answer, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(child.pid, 0)
            wall = time.monotonic() - started
            answer.seek(0)
            traced = json.load(answer)
        if status:
            sys.exit(f"{model} {method}: {traced}")
        gb = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
        slowest, largest = max(slowest, wall), max(largest, gb)
        print(
            f"{model:22} {method:9} 1024 x 1: traced {traced['total_gib']:6.2f} GiB, formulas"
            f" {formula['total_gib'] / traced['total_gib'] - 1:+.1%}  {wall:4.1f} s  {gb:.2f} GB",
            flush=True,
        )
    print(f"slowest {slowest:.0f} s (limit {LIMIT_SECONDS}), most memory {largest:.2f} GB (limit {LIMIT_GB:g})")


def _program() -> str:
    return str(Path(sys.executable).with_name("modelpick"))


def _traced(row: dict[str, Any]) -> str | tuple[float, float, float]:
    """GiB as the row counts them, seconds, and this process's peak in GiB; or why there is no trace."""
    model = index.load().find(row["model"])
    if model is None or model.config is None:
        return "not in the catalog"
    names = {name: value for name, value in row["workload"].items() if name != "stack_version"}
    try:
        traced = trace(model.config, workload_from(names))
    except ModelpickError as refused:
        return refused.message
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    reserved = row["workload"].get("measure") == "reserved"
    return (traced.reserved if reserved else traced.allocated) / 2**30, traced.seconds, peak


def _chosen(count: int, ids: list[str] | None) -> list[dict[str, Any]]:
    rows = _rows()
    if ids:
        return [row for row in rows if row["id"] in ids]
    distinct: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["grade"] == "A" and _is_traceable(row):
            distinct.setdefault(json.dumps([row["model"], row["workload"]], sort_keys=True), row)
    return _spread(list(distinct.values()), count)


def _rows() -> list[dict[str, Any]]:
    return [json.loads(line) for table in TABLES for line in table.read_text(encoding="utf-8").splitlines()]


def _is_traceable(row: dict[str, Any]) -> bool:
    work = row["workload"]
    plain = row["quantization"] in ("none", "bnb.nf4") and not work.get("loss_chunking")
    asked = "baseline-peft-bnb" not in row["notes"]  # prepare_model_for_kbit_training, which no workload describes
    counted = row["metric"].startswith("torch max_memory") and work.get("measure") in ("allocated", "reserved")
    one = work.get("gpus", 1) == 1 and row["summed_over"] == 1
    return plain and asked and counted and one and _is_recent(row)


def _spread(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Some of the rows, evenly."""
    return rows[:: max(1, -(-len(rows) // count))]


def _is_recent(row: dict[str, Any]) -> bool:
    found = re.match(r"transformers (\d+)\.(\d+)", row["stack_versions"])
    return found is not None and (int(found[1]), int(found[2])) >= (4, 45)


if __name__ == "__main__":
    main()
