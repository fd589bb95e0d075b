"""What installing costs: `python benchmarks/install_size.py` in a checkout.

Makes an empty environment, installs the base package into it from the checkout, and prints the seconds and the MB that
it added. Claim held here: at most 120 MB and, with a warm cache, 40 s.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as name:
        environment = Path(name) / "venv"
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        before = _megabytes(environment)
        pip = [str(environment / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", str(_ROOT)]
        seconds = []
        for _ in range(2):  # the first warms pip's cache
            start = time.perf_counter()
            subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - start)
            added = _megabytes(environment) - before
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
    print(f"base install: {added:.0f} MB beyond an empty environment (at most 120)")
    print(f"              {seconds[-1]:.0f} s with a warm cache (at most 40)")


if __name__ == "__main__":
    main()
