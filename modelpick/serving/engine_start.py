"""What a server's start showed of memory and time, kept for later estimates. I/O."""

import datetime
import importlib.metadata
import time
from collections.abc import Callable
from pathlib import Path

from modelpick import files
from modelpick.errors import UsageError
from modelpick.memory.estimate import GIB, MemoryEstimate
from modelpick.memory.measured import MeasuredRun, set_up_of, taught
from modelpick.offers import embedded
from modelpick.serving import machine
from modelpick.serving.machine import LocalGpu
from modelpick.serving.sizing import Sizing
from modelpick.serving.start_log import StartLog, read_start
from modelpick.speed import calibration_file

_LONGEST_LOG = 16 * 2**20  # bytes: a start with every worker's progress bars has some hundred KiB


def taught_on(gpu: LocalGpu | None) -> Callable[[MemoryEstimate], MemoryEstimate]:
    """What this user's runs on a GPU make of an estimate. Raises UsageError (bad_calibration) when it is called."""

    def by_measurement(estimate: MemoryEstimate) -> MemoryEstimate:
        known = embedded.gpu_called(gpu.name) if gpu is not None else None
        return taught(estimate, known.name, calibration_file.measured_runs()) if known is not None else estimate

    return by_measurement


def measuring(
    when_ready: Callable[[], None], sizing: Sizing, gpu: LocalGpu | None, log: Path, tell: Callable[[str], None]
) -> Callable[[], None]:
    """`when_ready`, and then `keep` with the seconds from now on and the GPU as it is then."""
    began = time.monotonic()

    def ready() -> None:
        seconds = time.monotonic() - began
        when_ready()
        if gpu is not None:
            keep(sizing, log, gpu, machine.look().gpu, seconds, tell)

    return ready


def keep(
    sizing: Sizing, log: Path, gpu: LocalGpu, gpu_now: LocalGpu | None, load_s: float,
    tell: Callable[[str], None],
) -> MeasuredRun | None:  # fmt: skip
    """Adds what the start took to the user's calibration file, and tells so; `gpu_now` is the GPU with the server on.

    Nothing is kept of a GPU that modelpick does not know, nor of a model whose memory could not be estimated. A
    failure does not stop a running server: `tell` gets its sentence.
    """
    if sizing.estimate is None:
        return None
    kind = embedded.gpu_called(gpu.name)
    if kind is None:
        tell(f"{gpu.name} is not among the GPUs of modelpick offers: what the start took is not kept")
        return None
    try:
        start = read_start(files.read_text(log, code="no_log", largest=_LONGEST_LOG).splitlines())
        run = measured_run(sizing, sizing.estimate, start, kind.name, gpu, gpu_now, load_s)
        file = calibration_file.save(runs=[run])
    except UsageError as error:
        tell(f"what the start took is not kept: {error.message}; {error.fix}")
        return None
    if file is not None:
        peak = f"{run.peak_gib:.1f} GiB (said {run.estimated_gib:.1f}), " if run.peak_gib and run.estimated_gib else ""
        tell(f"measured: {peak}loaded in {load_s:.0f} s; kept in {file} for later estimates")
    return run


def measured_run(
    sizing: Sizing, estimate: MemoryEstimate, start: StartLog, gpu: str, before: LocalGpu, now: LocalGpu | None,
    load_s: float,
) -> MeasuredRun:  # fmt: skip
    """The start as the calibration file has it. Pure.

    vLLM says what it takes besides its cache, to which the estimate's own cache is added. Other engines take what the
    GPU has less of now: llama.cpp all it will ever take, transformers less than with full prompts.
    """
    work = estimate.workload
    taken, slack, filled = None, 0.0, True
    if work.stack == "vllm":
        share = start.share_gib or (sizing.utilization or 0.0) * before.total_gib
        if share and start.cache_gib is not None:
            taken = share - start.cache_gib + (start.graphs_gib or 0.0) + estimate.parts.kv_cache / GIB
            slack = start.graphs_gib or 0.0  # from 0.19 on vLLM may have counted its graphs already
    elif now is not None:
        taken, filled = before.free_gib - now.free_gib, work.stack == "llama.cpp"
    copies = (sizing.copies - 1) * (estimate.parts.weights + estimate.parts.kv_cache)
    return MeasuredRun(
        task="serve",
        engine=work.stack,
        version=start.version or _version(work.stack),
        method=work.method,
        gpu=gpu,
        gpus=work.gpus,
        set_up=set_up_of(estimate),
        at=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        filled=filled,
        peak_gib=max(taken, 0.0) if taken is not None else None,
        estimated_gib=(estimate.total + copies) / GIB,
        slack_gib=slack,
        weights_gib=start.weights_gib,
        cache_gib=start.cache_gib,
        cache_tokens=start.cache_tokens,
        graphs_gib=start.graphs_gib,
        load_s=load_s if start.load_s is None else start.load_s,
    )


def _version(stack: str) -> str:
    """Of an engine that shares this environment; "unknown" where its log does not say it."""
    try:
        return importlib.metadata.version(stack) if stack == "transformers" else "unknown"
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
