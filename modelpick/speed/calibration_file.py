"""The user's own measurements: one file that `bench`, `finetune` and `serve` add to and later estimates read. I/O.

{"schema_version": 2, "measurements": [a Measurement, ...], "runs": [a MeasuredRun, ...], "sha256": "..."}

`sha256` is of the two lists, so that a file edited by hand is refused; it does not prove who wrote it. Version 1 had
speeds alone and no hash; such a file is read, and written anew as version 2. Several processes may add to the file at
once: each waits for its turn, and readers see the old file or the new one. Files are read once a process.
"""

import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from modelpick import files
from modelpick.errors import UsageError
from modelpick.memory.measured import NO_RUNS, MeasuredRun, MeasuredRuns
from modelpick.schema import read, to_json

SCHEMA_VERSION = 2
# Beyond this factor it is another machine than the one estimated for, not a correction: the widest published spread of
# a stack on an unseen GPU is within a factor of 3 (benchmarks/speed_accuracy.py).
LARGEST_CORRECTION = 5.0
_BAD = "bad_calibration"  # the code of a file that is not one of ours
_FIX = "delete it: modelpick bench, finetune and serve write a new one"
_MOST_ROWS = 500  # of each list; older ones make room for newer ones


@dataclass(frozen=True, slots=True)
class Measurement:
    """A load or a training that ran on a machine of the user's: how fast it was, and what had been predicted.

    `predicted_tokens_per_s` is without any correction by earlier measurements; `at` is UTC, ISO 8601. `version`: the
    engine's, where it is known.
    """

    stack: str
    method: str
    gpu: str
    measured_tokens_per_s: float
    predicted_tokens_per_s: float
    at: str
    model: str | None = None
    concurrency: int | None = None
    prompt_tokens: float | None = None
    generated_tokens: float | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class CalibrationContent:
    """What a calibration file says, and the hash of it all."""

    measurements: tuple[Measurement, ...]
    runs: tuple[MeasuredRun, ...]
    sha256: str


def believable(measured: float, predicted: float) -> bool:
    """Whether a speed can be of the machine that was estimated for: within a factor of LARGEST_CORRECTION."""
    return measured > 0 and predicted > 0 and 1 / LARGEST_CORRECTION <= measured / predicted <= LARGEST_CORRECTION


def path() -> Path | None:
    """Where the file is, or would be; None for a user without a home folder."""
    return files.user_data("calibration.json", variable="MODELPICK_CALIBRATION")


def content() -> tuple[Path, CalibrationContent] | None:
    """The file's path and content; None where there is none.

    Raises UsageError (bad_calibration) for a file that is not one of ours, or was edited by hand.
    """
    file = path()
    return None if file is None or not file.exists() else (file, _read(file))


def measured_runs() -> MeasuredRuns:
    """The runs whose memory was measured, for memory.measured.taught. Raises UsageError (bad_calibration)."""
    found = content()
    return MeasuredRuns(found[1].runs, str(found[0]), found[1].sha256) if found is not None else NO_RUNS


def save(rows: Sequence[Measurement] = (), runs: Sequence[MeasuredRun] = ()) -> Path | None:
    """Adds measurements to the user's file. Returns its path, or None where the user has no home folder.

    Raises UsageError if the file is not one of ours, or cannot be written: the old one then stays.
    """
    file = path()
    if file is None:
        return None
    files.make_folder(file.parent)
    with files.one_at_a_time(file.parent):
        _read.cache_clear()  # another process may have added to it
        known = _read(file) if file.exists() else CalibrationContent((), (), "")
        lists = {
            "measurements": [to_json(row) for row in (*known.measurements, *rows)[-_MOST_ROWS:]],
            "runs": [to_json(run) for run in (*known.runs, *runs)[-_MOST_ROWS:]],
        }
        sealed = {"schema_version": SCHEMA_VERSION, **lists, "sha256": _hash(lists)}
        files.write_atomically(file, json.dumps(sealed, indent=1) + "\n")
    _read.cache_clear()
    return file


@cache
def _read(file: Path) -> CalibrationContent:
    table = files.read_json(file, code=_BAD, fix=_FIX)
    version = table.get("schema_version") if isinstance(table, dict) else None
    if isinstance(version, bool) or version not in (1, SCHEMA_VERSION):
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        fix = "update modelpick, or delete the file" if newer else _FIX
        raise UsageError(f"{file} is not a calibration file of this version", fix=fix, code=_BAD)
    lists = {name: table.get(name, [] if version == 1 else None) for name in ("measurements", "runs")}
    if not all(isinstance(rows, list) for rows in lists.values()):
        raise UsageError(f"{file} is not a calibration file of this version", fix=_FIX, code=_BAD)
    if version == SCHEMA_VERSION and table.get("sha256") != _hash(lists):
        raise UsageError(f"{file} was edited by hand: its content is not what was measured", fix=_FIX, code=_BAD)
    speeds = tuple(read(Measurement, row, str(file), _BAD, ignore_unknown=True) for row in lists["measurements"])
    runs = tuple(read(MeasuredRun, row, str(file), _BAD, ignore_unknown=True) for row in lists["runs"])
    return CalibrationContent(speeds, runs, _hash(lists))


def _hash(lists: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(lists, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class MeasuredGroup:
    """Measurements of one stack with one weight format on one GPU: how often, and measured over predicted.

    `unbelievable` ones, too far off to be of the machine estimated for, are counted and not used.
    """

    stack: str
    method: str
    gpu: str
    measurements: int
    unbelievable: int
    low_ratio: float | None
    median_ratio: float | None
    high_ratio: float | None
    latest_at: str


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """The same of the memory of one engine's version: peaks over estimates; and how long loading took, in seconds."""

    task: str
    engine: str
    version: str
    method: str
    gpu: str
    runs: int
    unbelievable: int
    low_ratio: float | None
    median_ratio: float | None
    high_ratio: float | None
    median_load_s: float | None
    latest_at: str


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """The user's measurements by stack, weights and GPU, without anything that names a model or a machine: what may be
    given to others. `sha256` is None where there is no file yet."""

    file: str | None
    sha256: str | None
    groups: tuple[MeasuredGroup, ...]
    memory: tuple[MemoryGroup, ...] = ()


def report() -> CalibrationReport:
    """What the user's file says. Raises UsageError for a file that is not one of ours."""
    found = content()
    if found is None:
        file = path()
        return CalibrationReport(str(file) if file is not None else None, None, ())
    speeds: dict[tuple[str, str, str], list[Measurement]] = {}
    for row in found[1].measurements:
        speeds.setdefault((row.stack, row.method, row.gpu), []).append(row)
    runs: dict[tuple[str, str, str, str, str], list[MeasuredRun]] = {}
    for run in found[1].runs:
        runs.setdefault((run.task, run.engine, run.version, run.method, run.gpu), []).append(run)
    return CalibrationReport(
        str(found[0]),
        found[1].sha256,
        tuple(_group(*key, speeds[key]) for key in sorted(speeds)),
        tuple(_memory_group(*key, runs[key]) for key in sorted(runs)),
    )


def _group(stack: str, method: str, gpu: str, rows: Sequence[Measurement]) -> MeasuredGroup:
    pairs = [(row.measured_tokens_per_s, row.predicted_tokens_per_s) for row in rows]
    ratios = [measured / predicted for measured, predicted in pairs if believable(measured, predicted)]
    latest = max(row.at for row in rows)
    return MeasuredGroup(stack, method, gpu, len(rows), len(rows) - len(ratios), *_spread(ratios), latest)


def _memory_group(
    task: str, engine: str, version: str, method: str, gpu: str, runs: Sequence[MeasuredRun]
) -> MemoryGroup:
    peaks = [run for run in runs if run.ratio is not None]
    ratios = [run.ratio for run in peaks if run.ratio is not None and run.believable]
    loads = [run.load_s for run in runs if run.load_s is not None]
    load_s = statistics.median(loads) if loads else None
    unbelievable, latest = len(peaks) - len(ratios), max(run.at for run in runs)
    return MemoryGroup(
        task, engine, version, method, gpu, len(runs), unbelievable, *_spread(ratios), load_s, latest
    )  # fmt: skip


def _spread(ratios: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    return (min(ratios), statistics.median(ratios), max(ratios)) if ratios else (None, None, None)
