"""What runs of the user's own really took, and what that changes in an estimate. Pure.

A run of the very same set-up on the same GPU takes the estimate's place: its interval is what was measured, give or
take what its allocator held in reserve. Of other runs of the same engine and method there only counts that they took
more than was said: the whole interval moves up. They never move it down, so that a measurement of one set-up cannot
make another one fit.
"""

import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from modelpick.memory.estimate import GIB, MemoryEstimate
from modelpick.memory.parts import PARTS, MemoryParts
from modelpick.schema import Bounds
from modelpick.workload import Task, Workload

# Further off than this it is not the run that was estimated for: of the 587 measured peaks that estimates are held
# against (benchmarks/memory_accuracy.py) the furthest is off by a factor of 1.26.
LARGEST_FACTOR = 2.0
_Gib = Annotated[float, Bounds(0, 100_000)]


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """What one run took of a GPU (of the fullest one), in GiB and seconds; None: not measured.

    `peak_gib` is all that the process took, as `estimated_gib` says it; `slack_gib` how much of that the allocator
    held in reserve, or what is as uncertain. `filled`: as many and as long sequences were run as the set-up has room
    for, else the peak is a lower bound. `set_up` is the hash of `set_up_of`. No model is named.
    """

    task: Task
    engine: str
    version: str
    method: str
    gpu: str
    gpus: Annotated[int, Bounds(1, 4096)]
    set_up: str
    at: str  # UTC, ISO 8601
    filled: bool = True
    peak_gib: _Gib | None = None
    estimated_gib: _Gib | None = None
    slack_gib: _Gib = 0.0
    allocated_gib: _Gib | None = None
    reserved_gib: _Gib | None = None
    weights_gib: _Gib | None = None
    cache_gib: _Gib | None = None
    cache_tokens: Annotated[int, Bounds(0)] | None = None
    graphs_gib: _Gib | None = None
    load_s: Annotated[float, Bounds(0, 10**6)] | None = None

    @property
    def ratio(self) -> float | None:
        """Measured over estimated; None where either is not known."""
        if self.peak_gib is None or not self.estimated_gib:
            return None
        return self.peak_gib / self.estimated_gib

    @property
    def believable(self) -> bool:
        """Whether it can be of the run that was estimated for: within a factor of LARGEST_FACTOR."""
        return self.ratio is not None and 1 / LARGEST_FACTOR <= self.ratio <= LARGEST_FACTOR


@dataclass(frozen=True, slots=True)
class MeasuredRuns:
    """The runs that a calibration file holds, with its path and the hash of its content."""

    runs: tuple[MeasuredRun, ...] = ()
    file: str = ""
    sha256: str = ""


NO_RUNS = MeasuredRuns()


def set_up_of(estimate: MemoryEstimate) -> str:
    """A hash of all that decides what a run takes: the workload and the counts that its formulas take from the model.

    How memory is measured and vLLM's share of the GPU are left out: the same run is seen through either.
    """
    workload = replace(
        estimate.workload, measure="device", gpu_memory_utilization=Workload().gpu_memory_utilization
    ).as_json()  # fmt: skip
    counts = (estimate.parameters, estimate.trainable_parameters, estimate.kv_bytes_per_token)
    return hashlib.sha256(json.dumps([workload, counts], sort_keys=True).encode()).hexdigest()[:32]


def taught(estimate: MemoryEstimate, gpu: str, known: MeasuredRuns) -> MemoryEstimate:
    """The device-level `estimate` on this GPU by what was measured there; the same where nothing was."""
    workload = estimate.workload
    here = [run for run in known.runs if run.gpu == gpu and run.believable and _like(run, workload)]
    if not here or workload.measure != "device":
        return estimate
    key = set_up_of(estimate)
    same = [run for run in here if run.filled and run.set_up == key]
    if same:
        return _measured(estimate, same, known)
    ratios = [run.ratio or 1.0 for run in here]
    # What did not fill its set-up is a lower bound: below the estimate it says nothing.
    telling = [ratio for ratio, run in zip(ratios, here, strict=True) if run.filled or ratio > 1]
    factor = statistics.median(telling) if telling else 1.0
    if factor <= 1.0:
        return estimate
    sentence = (
        f"memory: raised by {factor - 1:.0%}, since {_runs(len(telling))} of yours with {workload.stack} and"
        f" {workload.method} on {gpu} took more than was said ({_source(known)})"
    )
    scaled = _scaled(estimate.parts, factor)
    low, high = estimate.low * factor, estimate.high * factor
    return replace(estimate, parts=scaled, low=low, high=high, assumptions=(sentence, *estimate.assumptions))


def _like(run: MeasuredRun, workload: Workload) -> bool:
    version = workload.stack_version
    asked = version is None or run.version == version or run.version.startswith(f"{version}.")
    same = (run.task, run.engine, run.method) == (workload.task, workload.stack, workload.method)
    return same and run.gpus == workload.gpus and asked


def _measured(estimate: MemoryEstimate, runs: Sequence[MeasuredRun], known: MeasuredRuns) -> MemoryEstimate:
    """The estimate with the peak that was measured, its parts in proportion."""
    peaks = [(run.peak_gib or 0.0) * GIB for run in runs]
    slacks = [run.slack_gib * GIB for run in runs]
    likely = statistics.median(peaks)
    low = min(peak - slack for peak, slack in zip(peaks, slacks, strict=True))
    high = max(peak + slack for peak, slack in zip(peaks, slacks, strict=True))
    latest = max(runs, key=lambda run: run.at)
    sentence = (
        f"memory: measured on your {latest.gpu}, {_runs(len(runs))} of this very set-up with {latest.engine}"
        f" {latest.version} until {latest.at} ({_source(known)}); the formulas said {estimate.total / GIB:.1f} GiB"
    )
    return replace(
        estimate,
        parts=_scaled(estimate.parts, likely / estimate.total),
        low=max(low, 0.0),
        high=high,
        assumptions=(sentence, *estimate.assumptions),
    )


def _scaled(parts: MemoryParts, factor: float) -> MemoryParts:
    return MemoryParts(**{name: getattr(parts, name) * factor for name in PARTS})


def _runs(count: int) -> str:
    return "one run" if count == 1 else f"{count} runs"


def _source(known: MeasuredRuns) -> str:
    return f"{known.file}, sha256 {known.sha256[:12]}"
