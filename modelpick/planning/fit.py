"""Does it fit one GPU of an instance, and how far could it go there? Pure."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from modelpick.catalog.architecture import Architecture
from modelpick.memory.estimate import GIB, MemoryEstimate, estimate
from modelpick.offers.instance import InstanceType
from modelpick.workload import Workload


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a workload fits one GPU (or one shard), what stays free there at the upper bound, and why not."""

    fits: bool
    free_gib: float
    reason: str

    def __bool__(self) -> bool:
        return self.fits


def on_device(architecture: Architecture, workload: Workload, parameters: int | None = None) -> MemoryEstimate:
    """The estimate at device level, which is what a card must hold."""
    return estimate(architecture, replace(workload, measure="device"), parameters)


def fits(device: MemoryEstimate, instance: InstanceType) -> Fit:
    """Compares the device-level upper bound with the usable memory of one GPU; never adds memories up.

    `device` must be an estimate under `measure: device` (see `on_device`). False where the GPU lacks the dtype.
    """
    workload = device.workload
    room = instance.usable_memory_gib
    if workload.stack == "vllm":
        room *= vllm_share(room, room, workload.gpu_memory_utilization)
    free = room - device.high / GIB
    if workload.gpus > instance.gpu_count:
        return Fit(False, free, f"{instance.name} has {instance.gpu_count} GPU, {workload.gpus} are asked for")
    lacking = _lacking(workload, instance)
    if lacking:
        return Fit(False, free, f"{instance.gpu.name} lacks {lacking}")
    if free < 0:
        return Fit(False, free, f"needs up to {device.high / GIB:.1f} GiB, {instance.gpu.name} has {room:.1f} usable")
    return Fit(True, free, "")


# What is left beside vLLM's share at the least: its profiling refuses a share above what is free.
_VLLM_SPARE_GIB = 0.5


def vllm_share(free_gib: float, total_gib: float, most: float) -> float:
    """The part of a GPU that vLLM takes (--gpu-memory-utilization): `most`, or what is free less half a GiB."""
    return min(most, math.floor((free_gib - _VLLM_SPARE_GIB) / total_gib * 100) / 100)


def _lacking(workload: Workload, instance: InstanceType) -> str:
    """The number format that the workload computes in and the GPU does not, or an empty string."""
    needs: list[str] = [workload.dtype]
    if workload.method == "fp8" or workload.kv_cache_dtype == "fp8":
        needs.append("fp8")
    return next((dtype for dtype in needs if not instance.gpu.supports(dtype)), "")


def longest_context(
    architecture: Architecture, workload: Workload, instance: InstanceType, parameters: int | None = None
) -> int | None:
    """The longest context that fits, at most the model's own; None when not even one token does."""
    limit = min(architecture.longest or _FAR, _FAR)
    return _largest(lambda n: replace(workload, context=n), architecture, instance, parameters, limit)


def largest_batch(
    architecture: Architecture, workload: Workload, instance: InstanceType, parameters: int | None = None
) -> int | None:
    """The largest batch that fits; None when not even one sequence does."""
    return _largest(lambda n: replace(workload, batch=n), architecture, instance, parameters, 1_000_000)


def largest_rank(
    architecture: Architecture, workload: Workload, instance: InstanceType, parameters: int | None = None
) -> int | None:
    """The largest LoRA rank that fits; None when rank 1 does not."""
    return _largest(lambda n: replace(workload, lora_rank=n), architecture, instance, parameters, 65_536)


_FAR = 100_000_000  # tokens: the largest context a workload may name


def _largest(
    vary: Callable[[int], Workload], architecture: Architecture, instance: InstanceType, parameters: int | None,
    limit: int,
) -> int | None:  # fmt: skip
    """The largest n up to `limit` whose workload fits: memory grows with n, so by halving."""

    def fit(n: int) -> bool:
        return fits(on_device(architecture, vary(n), parameters), instance).fits

    if not fit(1):
        return None
    low, high = 1, 2
    while high < limit and fit(high):
        low, high = high, high * 2
    high = min(high, limit)
    if high == limit and fit(limit):
        return limit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fit(middle) else (low, middle)
    return low
