"""What a run really took of its device, and what of it is kept for later estimates. I/O; torch is imported late."""

import datetime
import gc
import itertools
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from modelpick.catalog import index, lookup
from modelpick.catalog.architecture.shape import Kind
from modelpick.catalog.model import Model
from modelpick.errors import ModelpickError
from modelpick.loading.tokenize import Encoded
from modelpick.memory.estimate import GIB, architecture_of, estimate_model
from modelpick.memory.measured import MeasuredRun, set_up_of
from modelpick.offers import embedded
from modelpick.offers.instance import Gpu
from modelpick.planning.recipe import RunSettings, as_trained
from modelpick.speed import calibration, calibration_file
from modelpick.speed.calibration_file import Measurement
from modelpick.speed.shape import shape_of
from modelpick.speed.speed import training_speed
from modelpick.workload import Workload

# Steps before the pace is taken (allocation, autotuning, the first kernels), and the fewest with it: a median of fewer
# is one step's accident.
_WARM_UP, _FEWEST_STEPS = 2, 5


@dataclass(frozen=True, slots=True)
class Took:
    """Bytes at torch's two peaks (None without a GPU), seconds to load, tokens a second over the middle step (None:
    too few steps), the tokens of a mean example, and whether a whole micro-batch as long as the context was run."""

    allocated: int | None = None
    reserved: int | None = None
    load_s: float = 0.0
    tokens_per_s: float | None = None
    mean_length: float = 0.0
    filled: bool = False


@dataclass(slots=True)
class Meter:
    """Measures one attempt at a run, from before its model is loaded."""

    _began: float = field(default_factory=time.perf_counter)
    _load_s: float = 0.0
    _encoded: Encoded | None = None
    _ends: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        import torch

        if torch.cuda.is_available():
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def loaded(self, encoded: Encoded) -> None:
        """The model is loaded and the examples are encoded."""
        self._load_s = time.perf_counter() - self._began
        self._encoded = encoded

    def step_ended(self) -> None:
        """A step of the optimizer is over."""
        self._ends.append(time.perf_counter())

    def took(self, settings: RunSettings) -> Took:
        """What was measured until now."""
        import torch

        rows = len(self._encoded.rows) if self._encoded is not None else 0
        if self._encoded is None or not rows:
            return Took()
        mean_length = self._encoded.tokens / rows
        gaps = [after - before for before, after in itertools.pairwise(self._ends[_WARM_UP - 1 :])]
        pace = None
        if len(gaps) >= _FEWEST_STEPS:
            pace = settings.effective_batch * mean_length / statistics.median(gaps)
        seen = len(self._ends) * settings.effective_batch
        gpu = torch.cuda.is_available()
        return Took(
            torch.cuda.max_memory_allocated() if gpu else None,
            torch.cuda.max_memory_reserved() if gpu else None,
            self._load_s,
            pace,
            mean_length,
            # The longest example comes once in an epoch, and its batch is padded to it.
            filled=self._encoded.longest >= settings.context and seen >= rows >= settings.batch,
        )


_NOT_KEPT = "nothing is kept of what this run took"


def keep(took: Took, settings: RunSettings, kind: Kind, folder: Path, device: str, versions: Mapping[str, str]) -> str:
    """Adds what a run took to the user's calibration file. Returns the sentence that says so, or why not.

    A run on a CPU is not kept: it teaches nothing about a GPU, and no estimate is about a CPU. `device` is the GPU's
    name as its driver has it, `folder` that of the base model. Never raises for what is known to fail: the run is over
    and its result is good.
    """
    if took.allocated is None or took.reserved is None:
        return f"{_NOT_KEPT}: a CPU teaches nothing about a GPU"
    gpu = embedded.gpu_called(device)
    if gpu is None:
        return f"{_NOT_KEPT}: {device} is not among the GPUs of modelpick offers"
    workload = as_trained(settings.workload(), kind, gpu=True)
    named = ", ".join((versions["modelpick"], *(f"{name} {versions[name]}" for name in ("torch", "transformers"))))
    try:
        model = lookup.look_up([str(folder)], catalog=index.load(), offline=True).results[0]
        if isinstance(model, ModelpickError):
            raise model
        run = measured_run(took, workload, model, gpu.name, named)
        speed = measured_speed(took, settings, workload, model, gpu, named)
        file = calibration_file.save([speed] if speed is not None else [], [run])
    except ModelpickError as error:
        return f"{_NOT_KEPT}: {error.message}" + (f"; {error.fix}" if error.fix else "")
    if file is None:
        return f"{_NOT_KEPT}: there is no home folder"
    pace = f"{took.tokens_per_s:,.0f} tokens/s, " if took.tokens_per_s is not None else ""
    return (
        f"measured: {took.allocated / GIB:.1f} GiB allocated, {took.reserved / GIB:.1f} reserved, {pace}loaded in "
        f"{took.load_s:.0f} s; kept in {file} for later estimates"
    )


def measured_run(took: Took, workload: Workload, model: Model, gpu: str, versions: str) -> MeasuredRun:
    """The run's memory as the calibration file has it: torch's peak, and the context as the estimate counts it.

    Raises UsageError and CannotTellError as the estimate does.
    """
    device = estimate_model(model, replace(workload, measure="device"))
    held = estimate_model(model, replace(workload, measure="reserved"))
    allocated, reserved = took.allocated or 0, took.reserved or 0
    return MeasuredRun(
        task="finetune",
        engine=workload.stack,
        version=versions,
        method=workload.method,
        gpu=gpu,
        gpus=workload.gpus,
        set_up=set_up_of(device),
        at=_now(),
        filled=took.filled,
        peak_gib=(reserved + device.total - held.total) / GIB,
        estimated_gib=device.total / GIB,
        slack_gib=max(reserved - allocated, 0) / GIB,
        allocated_gib=allocated / GIB,
        reserved_gib=reserved / GIB,
        load_s=took.load_s,
    )


def measured_speed(
    took: Took, settings: RunSettings, workload: Workload, model: Model, gpu: Gpu, versions: str
) -> Measurement | None:
    """The pace and the predicted one; None where it was not measured or is not believable."""
    if took.tokens_per_s is None:
        return None
    by = calibration.training(workload.stack, workload.method)
    said = predicted(took.mean_length, settings, workload, model, gpu)
    if not calibration_file.believable(took.tokens_per_s, said):
        return None
    return Measurement(by.stack, workload.method, gpu.name, took.tokens_per_s, said, _now(), version=versions)


def predicted(mean_length: float, settings: RunSettings, workload: Workload, model: Model, gpu: Gpu) -> float:
    """Tokens a second as estimated without what was measured before, so that corrections do not add up."""
    kind = min(
        (kind for kind in embedded.instances().values() if kind.gpu == gpu and kind.gpu_fraction == 1),
        key=lambda kind: (kind.gpu_count, kind.vcpus),
    )
    by = replace(calibration.training(workload.stack, workload.method), local={})
    return training_speed(
        shape_of(architecture_of(model)), kind, by, workload,
        gradient_accumulation=settings.gradient_accumulation, length=mean_length,
    ).tokens_per_s  # fmt: skip


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
