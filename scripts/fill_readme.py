"""Writes the real output of each `$ modelpick ...` block of README.md into it: `python scripts/fill_readme.py`.

tests/test_readme.py compares; this brings the page up to date when a screen or the data changed. A block whose text
holds a line `...` keeps its first and last lines up to there.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
_BLOCK = re.compile(r"(```console\n\$ (modelpick [^\n]*)\n)(.*?)(```)", re.DOTALL)


def _filled(match: re.Match[str]) -> str:
    words = shlex.split(match[2])[1:]
    environment = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(README.parent)}
    with tempfile.TemporaryDirectory() as folder:  # some commands write files
        command = [sys.executable, "-m", "modelpick", *words]
        run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    printed = [line.rstrip() for line in (run.stdout + run.stderr).splitlines()]
    shown = match[3].splitlines()
    if "..." in shown:
        cut = shown.index("...")
        after = len(shown) - cut - 1
        printed = printed[:cut] + ["..."] + (printed[-after:] if after else [])
    return match[1] + "\n".join(printed) + "\n" + match[4]


def main() -> None:
    """Rewrite README.md in place."""
    README.write_text(_BLOCK.sub(_filled, README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
