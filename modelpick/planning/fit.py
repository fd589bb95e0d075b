"""How much of one GPU a workload takes, and how far it could go there. Pure.

Whether a workload may be put on an offer at all is decided by placement.place(): the compatibility table comes first,
and this module does not use it.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from modelpick.catalog.architecture import Architecture
from modelpick.memory.estimate import GIB, MemoryEstimate, estimate
from modelpick.memory.overhead import SLACK
from modelpick.offers.instance import InstanceType
from modelpick.workload import LORA_METHODS, Method, Workload


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a workload fits one GPU (or one shard), what stays free there at the upper bound, and why not."""

    fits: bool
    free_gib: float
    reason: str

    def __bool__(self) -> bool:
        return self.fits


def on_device(architecture: Architecture, workload: Workload, parameters: int | None = None) -> MemoryEstimate:
    """The estimate at device level, which a GPU must fit."""
    if workload.measure != "device":
        workload = replace(workload, measure="device")
    return estimate(architecture, workload, parameters)


def fits(device: MemoryEstimate, instance: InstanceType) -> Fit:
    """Compares the device-level upper bound with the usable memory of one GPU; never adds memories up.

    `device` must be an estimate under `measure: device` (see `on_device`). Only memory and the number of GPUs are
    looked at: what the hardware can compute is asked before (placement.py).
    """
    workload = device.workload
    room = _room_gib(workload, instance)
    free = room - device.high / GIB
    if workload.gpus > instance.gpu_count:
        return Fit(False, free, f"{instance.name} has {instance.gpu_count} GPU, {workload.gpus} are requested")
    if free < 0:
        gpu = instance.gpu.name
        where = gpu if gpu == instance.name else f"{gpu} ({instance.name})"  # a card of one's own has one name
        reason = (
            f"{workload.method} needs up to {device.high / GIB:.1f} GiB on one GPU, and {where} has {room:.1f} usable"
        )
        return Fit(False, free, reason)
    offloaded = workload.gpus * device.offloaded / GIB
    if offloaded > _HOST_SHARE * instance.ram_gib:
        reason = f"{offloaded:.0f} GiB are offloaded to the CPU, and {instance.name} has {instance.ram_gib:g} GiB"
        return Fit(False, free, reason)
    return Fit(True, free, "")


def too_large(device: MemoryEstimate, instance: InstanceType) -> bool:
    """Whether the upper bound is above the usable memory of one GPU: then `fits` says no, and why."""
    return device.high / GIB > _room_gib(device.workload, instance)


def _room_gib(workload: Workload, instance: InstanceType) -> float:
    room = instance.usable_memory_gib
    if workload.stack == "vllm":
        room *= vllm_share(room, room, workload.gpu_memory_utilization)
    return room


# Of the CPU's memory, for what is offloaded: the rest is the system's, the process's and its page-locked buffers'. A
# guess: no published run says what it had left.
_HOST_SHARE = 0.8

# Memory left outside vLLM's share at the least: its profiling refuses a share above what is free.
_VLLM_SPARE_GIB = 0.5


def vllm_share(free_gib: float, total_gib: float, most: float) -> float:
    """The part of a GPU that vLLM takes (--gpu-memory-utilization): `most`, or what is free less half a GiB."""
    return min(most, math.floor((free_gib - _VLLM_SPARE_GIB) / total_gib * 100) / 100)


def lacking_dtype(workload: Workload, instance: InstanceType) -> str | None:
    """The number format that the workload computes in and the GPU does not, or None."""
    needs: list[str] = [] if workload.method == "gguf" else [workload.dtype]  # llama.cpp takes what the GPU has
    if workload.method == "fp8" or workload.kv_cache_dtype == "fp8":
        needs.append("fp8")
    return next((dtype for dtype in needs if not instance.gpu.supports(dtype)), None)


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


@dataclass(frozen=True, slots=True)
class KvCacheCapacity:
    """What `gpu_memory_utilization` leaves on one GPU: GiB of cache, the tokens in it, whole sequences of a context."""

    gib: float
    tokens: int | None  # None: the model keeps no growing cache
    sequences: int

    def as_json(self) -> dict[str, object]:
        """The capacity in the names of `estimate --json`."""
        return {"kv_room_gib": self.gib, "kv_room_tokens": self.tokens, "concurrent_sequences": self.sequences}


def kv_cache_capacity(
    architecture: Architecture, workload: Workload, instance: InstanceType, parameters: int | None = None
) -> KvCacheCapacity:
    """The cache that a server has after weights and its own working memory, at the upper bound.

    vLLM takes gpu_memory_utilization of the card, subtracts weights and the peak of a profiling run, which samples for
    as many sequences as it may ever run, and gives the rest to pages of keys and values (vllm/v1/worker/gpu_worker.py,
    determine_available_memory; gpu_model_runner.py, _dummy_sampler_run). The tokens are those of whole and partial
    sequences of this workload's length, as vLLM logs them for windows and states ("Maximum concurrency").
    """
    usable = instance.usable_memory_gib
    share = vllm_share(usable, usable, workload.gpu_memory_utilization) if workload.stack == "vllm" else 1.0
    profiled = on_device(architecture, replace(workload, batch=max(workload.batch, _profiled(usable))), parameters)
    one = on_device(architecture, replace(workload, batch=1), parameters)
    other = (
        (profiled.total - profiled.parts.kv_cache - SLACK * profiled.parts.kv_cache) * profiled.high / profiled.total
    )
    headroom = max(usable * share * GIB - other, 0.0)
    if not one.parts.kv_cache:
        return KvCacheCapacity(headroom / GIB, None, largest_batch(architecture, workload, instance, parameters) or 0)
    sequences = headroom / one.parts.kv_cache
    if not one.kv_bytes_per_token:
        return KvCacheCapacity(headroom / GIB, None, int(sequences))
    length = workload.context + workload.generate
    return KvCacheCapacity(headroom / GIB, int(sequences * length), int(sequences))


def _profiled(usable_gib: float) -> int:
    """Sequences that vLLM's profiling run samples for: max_num_seqs by default (vllm/engine/arg_utils.py)."""
    return 1024 if usable_gib >= _LARGE_GPU_GIB else 256


_LARGE_GPU_GIB = 70.0


def smallest_change(
    workload: Workload, holds: Callable[[Workload], bool], longest: Callable[[Workload], int | None]
) -> dict[str, Any] | None:
    """The settings of a fine-tuning to change so that it can run, with their new values.

    {} where it can as it is, None where nothing helps. `holds` tells whether a changed workload can be placed,
    `longest` the longest context that a workload has room for.

    In the order of what a change costs: the same result more slowly (activations recomputed, then one sequence at a
    time with as many accumulated), then coarser weights (LoRA over 8 bits, over 4), at last shorter sequences. Full
    fine-tuning becomes LoRA first.
    """
    for changed in _changed_recipes(workload):
        if holds(changed):
            return _changes(workload, changed)
    context = longest(changed)
    if context is None or not holds(replace(changed, context=context)):
        return None
    return _changes(workload, replace(changed, context=context))


def _changed_recipes(workload: Workload) -> Iterator[Workload]:
    methods: tuple[Method, ...] = ("lora", "lora-int8", "qlora")
    first = methods.index(workload.method) if workload.method in LORA_METHODS else -1
    for method in (workload.method, *methods[first + 1 :]):
        same = replace(workload, method=method)
        yield same
        yield replace(same, gradient_checkpointing=True)
        single = replace(same, batch=1, gradient_accumulation=workload.gradient_accumulation * workload.batch)
        yield single
        yield replace(single, gradient_checkpointing=True)


def _changes(before: Workload, after: Workload) -> dict[str, Any]:
    new = after.as_json()
    return {name: new[name] for name, old in before.as_json().items() if new[name] != old}
