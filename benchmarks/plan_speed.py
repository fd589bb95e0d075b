"""What a plan costs in time: the whole program, offline, CPU and wall seconds. Target: under 0.5 s.

python benchmarks/plan_speed.py [MODEL] [--runs N]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from statistics import median


def main() -> int:
    """Prints the median CPU and wall time of `modelpick plan`; Linux and macOS."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?", default="Qwen/Qwen3-8B")
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    wall, cpu = [], []
    with tempfile.TemporaryDirectory() as folder:
        words = ["plan", options.model, "--method", "qlora", "--offline", "--output", "plan.json", "-q"]
        for _ in range(options.runs):
            before, start = _children(), time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "modelpick", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL
            )
            wall.append(time.perf_counter() - start)
            cpu.append(_children() - before)
    print(f"modelpick plan {options.model}: CPU {median(cpu):.2f} s, wall {median(wall):.2f} s, {options.runs} runs")
    return 0


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
