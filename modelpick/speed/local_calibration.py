"""What `modelpick bench` measured on this user's own servers: a file that later estimates use and name. I/O.

{"schema_version": 1, "measurements": [{"stack", "method", "gpu", "model", "concurrency", "prompt_tokens",
"generated_tokens", "measured_tokens_per_s", "predicted_tokens_per_s", "at"}]}: predicted without any local correction.
"""

import json
import os
import statistics
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from modelpick.errors import UsageError
from modelpick.speed.speed import Local

SCHEMA_VERSION = 1
# Beyond this factor it is another machine than the one estimated for, not a correction: the widest published spread of
# a stack on an unseen GPU is within a factor of 3 (benchmarks/speed_accuracy.py).
BELIEVED = 5.0
_KEPT = 500  # measurements; older ones give way
_NAMES = ("stack", "method", "gpu", "measured_tokens_per_s", "predicted_tokens_per_s", "at")


def path() -> Path | None:
    """calibration.json in the user's data folder, or what MODELPICK_CALIBRATION names; None without a home."""
    if told := os.environ.get("MODELPICK_CALIBRATION"):
        return Path(told)
    base = os.environ.get("XDG_DATA_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        return (Path(base) if base else Path.home() / ".local" / "share") / "modelpick" / "calibration.json"
    except RuntimeError:
        return None


def believable(measured: float, predicted: float) -> bool:
    """Whether a measurement can be of the machine that was estimated for."""
    return measured > 0 and predicted > 0 and 1 / BELIEVED <= measured / predicted <= BELIEVED


def corrections(stack: str, method: str) -> Mapping[str, Local]:
    """By GPU name: how much faster or slower than predicted this user's servers were. Raises UsageError."""
    file = path()
    if file is None or not file.is_file():
        return {}
    ratios: dict[str, list[tuple[float, str]]] = {}
    for row in _read(file):
        measured, predicted = float(row["measured_tokens_per_s"]), float(row["predicted_tokens_per_s"])
        if row["stack"] == stack and row["method"] == method and believable(measured, predicted):
            ratios.setdefault(str(row["gpu"]), []).append((measured / predicted, str(row["at"])))
    return {
        gpu: Local(statistics.median(ratio for ratio, _ in found), len(found), max(at for _, at in found), str(file))
        for gpu, found in ratios.items()
    }


def keep(rows: list[dict[str, Any]]) -> Path | None:
    """Add measurements to the file, whole or not at all; where it is, or None where there is no home."""
    file = path()
    if file is None:
        return None
    known = _read(file) if file.is_file() else []
    content = {"schema_version": SCHEMA_VERSION, "measurements": [*known, *rows][-_KEPT:]}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(file)
    _read.cache_clear()
    return file


@cache
def _read(file: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        rows = content["measurements"]
        good = content["schema_version"] == SCHEMA_VERSION and all(
            all(name in row for name in _NAMES)
            and isinstance(row["measured_tokens_per_s"], int | float)
            and isinstance(row["predicted_tokens_per_s"], int | float)
            for row in rows
        )
    except (OSError, ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise UsageError(
            f"{file} cannot be read", fix="remove it: modelpick bench makes it again", code="bad_calibration"
        )
    return list(rows)
