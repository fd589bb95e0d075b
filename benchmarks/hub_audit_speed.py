"""How long an audit of the whole Hub takes, from the dump and from its index, with the memory, against the targets.

    python benchmarks/hub_audit_speed.py [ROWS] [--keep FOLDER]

It makes a file of ROWS (default: 2,500,000) and one of a tenth of that, with `benchmarks/hub_file.py`, audits each
twice in a process of its own and prints wall time, CPU time (user and system, helpers included) and the largest
resident set. CPU time is what compares on a machine that does other work; on two idle cores wall time lies between the
CPU time and half of it.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hub_file import ROWS

FIRST, LATER = (15.0, 1.5 * 2**30), (1.5, 400 * 2**20)  # seconds, bytes
MOST_TIMES = 12.0  # for ten times the rows
_CHILD = """
import resource, subprocess, sys
import time
from modelpick.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
own, helpers = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = own.ru_utime + own.ru_stime + helpers.ru_utime + helpers.ru_stime
print(cpu, 1024 * max(own.ru_maxrss, helpers.ru_maxrss), file=sys.stderr)
"""


@dataclass(frozen=True)
class Run:
    """One audit: wall and CPU seconds, and the largest resident set in bytes."""

    wall: float
    cpu: float
    memory: float

    def line(self, target: tuple[float, float]) -> str:
        seconds, room = target
        met = "met" if self.wall <= seconds and self.memory <= room else "NOT met"
        return (
            f"{self.wall:7.2f} s wall {self.cpu:7.2f} s CPU {self.memory / 2**20:7.0f} MiB   "
            f"target {seconds:g} s, {room / 2**20:.0f} MiB: {met}"
        )


def audited(dump: Path, index: Path) -> Run:
    """`catalog audit` of the dump in a process of its own."""
    words = [
        sys.executable,
        "-c",
        _CHILD,
        "catalog",
        "audit",
        str(dump),
        "--commercial",
        "--index",
        str(index),
        "--json",
    ]
    began = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    wall = time.perf_counter() - began
    cpu, memory = map(float, done.stderr.split()[-2:])
    return Run(wall, cpu, memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="?", default=ROWS)
    parser.add_argument("--keep", type=Path, help="where the files are made, and found the next time")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        folder = given.keep or Path(own)
        folder.mkdir(parents=True, exist_ok=True)
        first: dict[int, Run] = {}
        for rows in (given.rows // 10, given.rows):
            dump = folder / f"hub-{rows}.parquet"
            if not dump.is_file():
                # In a process of its own: the audits' peaks would begin at what this one ever held.
                words = [str(Path(__file__).with_name("hub_file.py")), str(dump), str(rows)]
                subprocess.run([sys.executable, *words, "--cycle", str(min(10_000, rows // 100))], check=True)
            index = Path(own) / f"index-{rows}"
            first[rows] = audited(dump, index)
            print(f"{rows:>9,} rows, first {first[rows].line(FIRST)}")
            print(f"{rows:>9,} rows, later {audited(dump, index).line(LATER)}", flush=True)
        few, many = (first[rows] for rows in (given.rows // 10, given.rows))
        times = many.cpu / few.cpu
        met = "met" if times <= MOST_TIMES else "NOT met"
        print(f"ten times the rows: {times:.1f} times the CPU; target {MOST_TIMES:g}: {met}")


if __name__ == "__main__":
    main()
