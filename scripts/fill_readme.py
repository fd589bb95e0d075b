"""Writes the real output of each `$ modelpick ...` block into README.md and the tour: `python scripts/fill_readme.py`.

tests/test_readme.py compares; this brings the pages up to date when a screen or the data changed. A block whose text
holds a line `...` keeps its first and last lines up to there. What needs an account is left as it is: the tour's other
blocks are written by `python benchmarks/whole_way.py --write docs/tour.md`.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TODAY = "1796040000"  # 2026-11-30: the ages on the pages are those of that day, in tests/conftest.py too
OFFLINE = ("recommend", "license", "estimate", "offers", "cost", "probe", "plan")
_BLOCK = re.compile(r"(```console\n\$ (modelpick [^\n]*)\n)(.*?)(```)", re.DOTALL)

_PLAN = re.compile(r"modelpick[-/][0-9a-f]{10}")


def _filled(folder: str, match: re.Match[str]) -> str:
    words = shlex.split(match[2])[1:]
    if words[0] not in OFFLINE:
        return match[0]
    environment = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    environment |= {"MODELPICK_DATA": "embedded", "SOURCE_DATE_EPOCH": TODAY}
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
    """Rewrite both pages in place; the commands of a page run in one folder, since some use what others wrote."""
    for page in (ROOT / "README.md", ROOT / "docs" / "tour.md"):
        with tempfile.TemporaryDirectory() as folder:
            before = page.read_text(encoding="utf-8")
            text = _BLOCK.sub(partial(_filled, folder), before)
        for old, new in zip(_PLAN.findall(before), _PLAN.findall(text), strict=False):
            text = text.replace(old, new)  # in the blocks that need an account, too
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
