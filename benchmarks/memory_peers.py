"""Other memory estimators on the same measurements, each run as its users run it, from an environment of its own.

    python -m venv PEERS/hf-mem && PEERS/hf-mem/bin/pip install hf-mem      (likewise accelerate)
    python benchmarks/memory_accuracy.py --peers PEERS

A peer answers the rows that its command line can express: hf-mem weights and cache of a repository as it is stored,
accelerate the weights, and four times that for training. Both ask the Hub for every model. A peer whose environment is
absent, or that cannot answer, is named with the reason; so are those whose command line takes no model of the Hub.
"""

import json
import re
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from memory_accuracy import Compared, percentile

GIB = 2**30
PATIENCE = 120  # seconds a peer has for one model


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool: which rows it can express, its command for one, and how its output is read, in GiB."""

    name: str
    answers: Callable[[Compared], bool]
    command: Callable[[Compared], list[str]]
    gib: Callable[[Compared, str], float]


def _stored(row: Compared) -> bool:
    workload = row.found.workload
    return workload.task == "serve" and workload.method == "bf16" and workload.gpus == 1


def _hf_mem(row: Compared) -> list[str]:
    workload = row.found.workload
    tokens = workload.context + workload.generate
    asked = ["--model-id", row.case["model"], "--experimental", "--json-output"]
    return ["hf-mem", *asked, "--max-model-len", str(tokens), "--batch-size", str(workload.batch)]


def _accelerate(row: Compared) -> list[str]:
    return ["accelerate", "estimate-memory", row.case["model"], "--library_name", "transformers", "--dtypes", "float16"]


def _table_gib(row: Compared, output: str) -> float:
    """The total size, or what training with Adam takes, of accelerate's table."""
    sizes = re.findall(r"([\d.]+)\s*(MB|GB)", next(line for line in output.splitlines() if "float16" in line))
    value, unit = sizes[2 if row.category == "full" and len(sizes) > 2 else 1]
    return float(value) / (1024 if unit == "MB" else 1)


PEERS = (
    Peer("hf-mem", _stored, _hf_mem, lambda _, output: float(json.loads(output)["total_memory"]) / GIB),
    Peer("accelerate", lambda row: _stored(row) or row.category == "full", _accelerate, _table_gib),
)
NOT_RUN = ("hf-vram-calc", "modelinfo-cli", "ftuneai")


def compare_peers(folder: Path, rows: list[Compared]) -> list[str]:
    """One line a peer: rows, median and 90th percentile of the absolute error, or why it was skipped."""
    lines = [
        "",
        "| peer | rows | median error | 90th percentile | ours on the same rows |",
        "|---|---:|---:|---:|---:|",
    ]
    for peer in PEERS:
        program = folder / peer.name / "bin" / peer.name
        if not program.exists():
            lines.append(f"| {peer.name} | skipped: not installed in {folder.name}/{peer.name} | | | |")
            continue
        errors, ours, reason = _run(peer, program, rows)
        if not errors:
            lines.append(f"| {peer.name} | skipped: {reason} | | | |")
            continue
        shown = f"{statistics.median(errors):.1%} | {percentile(errors, 0.9):.1%} | {statistics.median(ours):.1%}"
        lines.append(f"| {peer.name} | {len(errors)} | {shown} |")
    lines += [f"| {name} | skipped: no adapter for its command line | | | |" for name in NOT_RUN]
    return lines


def _run(peer: Peer, program: Path, rows: list[Compared]) -> tuple[list[float], list[float], str]:
    errors, ours, reason = [], [], "no row that it can express"
    for row in filter(peer.answers, rows):
        command = [str(program), *peer.command(row)[1:]]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
            errors.append(abs(peer.gib(row, ran.stdout) / row.measured - 1))
            ours.append(abs(row.error))
        except (subprocess.SubprocessError, ValueError, KeyError, StopIteration, IndexError) as failed:
            reason = f"its first answer failed ({type(failed).__name__}); it needs the Hub"
            if not errors:
                return [], [], reason
    return errors, ours, reason
