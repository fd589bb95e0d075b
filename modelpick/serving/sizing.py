"""From the memory estimate to the server's settings: context, sequences, share of the GPU. Pure."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelpick.catalog.architecture import Architecture
from modelpick.errors import ModelpickError, UsageError
from modelpick.memory.estimate import GIB, MemoryEstimate, estimate
from modelpick.planning.context_limit import within_limit
from modelpick.planning.fit import vllm_share
from modelpick.serving.engines import Engine
from modelpick.serving.machine import Holder, LocalMachine
from modelpick.workload import Workload

# What is left to vLLM's own processes and its profiling on a CPU, outside its share: assumed, not measured.
_CPU_SPARE_GIB = 2.5
# What stands before a server, in the RAM that it shares on a CPU: the gateway has 119 MiB with a tokenizer (SmolLM2's,
# transformers 5.23), 27 without, and Caddy 2.11 some 50. Rounded up.
_BEFORE_GIB = 0.25
_DEFAULT_UTILIZATION = Workload().gpu_memory_utilization  # vLLM's own --gpu-memory-utilization

ASKED = ("context", "generate", "batch")
"""What of a server's load its user may name."""


class NoRoomError(ModelpickError):
    """The server would not fit the memory that is free."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """The source of the flags. `tokens` is prompt and answer together; `copies` how often the weights are in memory.

    `estimate` is of the server alone, before its share of the GPU was settled.
    """

    workload: Workload
    tokens: int
    concurrency: int
    utilization: float | None  # vLLM only
    needed_gib: float
    free_gib: float | None
    copies: int
    notes: tuple[str, ...]
    estimate: MemoryEstimate | None = None  # None: the model's shape is not known


def size(
    architecture: Architecture,
    workload: Workload,
    engine: Engine,
    machine: LocalMachine,
    *,
    parameters: int | None = None,
    asked: Collection[str] = ASKED,
    copies: int = 1,
    by_measurement: Callable[[MemoryEstimate], MemoryEstimate] = lambda estimate: estimate,
) -> Sizing:
    """The settings under which `workload` fits the machine as it is now.

    `workload.batch` is the concurrency. `asked`: which of context, generate and batch the user named; the others may be
    lowered, the tokens to what the model takes, the requests at once to what fits. `by_measurement`: what runs of this
    user's make of an estimate. Raises UsageError(code="context_too_long") beyond the model's context and
    NoRoomError(code="no_gpu_memory" or "no_memory") naming the processes that use the GPU.
    """
    options: dict[str, Any] = {
        "parameters": parameters,
        "asked": asked,
        "copies": copies,
        "by_measurement": by_measurement,
    }
    try:
        return _size(architecture, workload, engine, machine, **options)
    except NoRoomError:
        if "batch" in asked or workload.batch == 1 or not engine.several_at_once:
            raise
        fewer = size(architecture, replace(workload, batch=workload.batch // 2), engine, machine, **options)
        note = f"{fewer.concurrency} at once: there is no room for {workload.batch} of {fewer.tokens:,} tokens"
        return replace(fewer, notes=(*(old for old in fewer.notes if " at once: " not in old), note))


def _size(
    architecture: Architecture,
    workload: Workload,
    engine: Engine,
    machine: LocalMachine,
    *,
    parameters: int | None,
    asked: Collection[str],
    copies: int,
    by_measurement: Callable[[MemoryEstimate], MemoryEstimate],
) -> Sizing:
    """The settings for just so many requests at once."""
    notes: list[str] = []
    if workload.gpus > 1 and engine.name != "vllm":
        raise UsageError(
            f"{engine.name} runs on one GPU only",
            fix="use --engine vllm, or leave out --gpus",
            code="engine_cannot",
        )
    workload = replace(workload, stack=engine.stack, measure="device" if machine.gpu else "allocated")
    workload = _within_limit(architecture, workload, asked, notes)
    concurrency = workload.batch
    if not engine.several_at_once:
        if workload.batch > 1:
            notes.append(f"{engine.name} answers one request at a time for each model; the others wait in line")
        workload = replace(workload, batch=1)
    if copies > 1:
        notes.append(f"{engine.name} loads base and adapter as {copies} models: the weights count {copies} times")
    made = estimate(architecture, workload, parameters)
    known = by_measurement(made)
    notes += known.assumptions[: len(known.assumptions) - len(made.assumptions)]
    needed = (known.high + (copies - 1) * (made.parts.weights + made.parts.kv_cache)) / GIB
    if machine.gpu is None:
        free = machine.ram_gib
        needed += _BEFORE_GIB
        if free is not None and needed > free:
            raise NoRoomError(
                f"serving needs up to {needed:.1f} GiB of RAM, and {free:.1f} are free",
                fix="stop other programs, or lower --context",
                code="no_memory",
            )
        notes.append("no NVIDIA GPU here: the CPU serves, which is slow")
        share = _share_of_ram(needed, machine) if engine.name == "vllm" else None
        return Sizing(workload, _tokens(workload), concurrency, share, needed, free, copies, tuple(notes), made)
    utilization = None
    room = machine.gpu.free_gib
    if engine.name == "vllm":
        utilization = vllm_share(machine.gpu.free_gib, machine.gpu.total_gib, workload.gpu_memory_utilization)
        room = utilization * machine.gpu.total_gib
        workload = replace(workload, gpu_memory_utilization=max(utilization, 0.01))
    if needed > room:
        raise _no_room(needed, room, machine, made)
    return Sizing(workload, _tokens(workload), concurrency, utilization, needed, room, copies, tuple(notes), made)


def _share_of_ram(needed: float, machine: LocalMachine) -> float | None:
    """vLLM's share where the CPU serves: it means the machine's RAM, of which vLLM would take nine tenths."""
    if machine.ram_total_gib is None:
        return None
    return min(math.ceil((needed + _CPU_SPARE_GIB) / machine.ram_total_gib * 100) / 100, _DEFAULT_UTILIZATION)


def _within_limit(architecture: Architecture, workload: Workload, asked: Collection[str], notes: list[str]) -> Workload:
    """The workload within the model's longest context. Unknown: the engine decides, since the files are at hand."""
    limit = architecture.longest
    if limit is None:
        notes.append("the model's longest context is not known: the engine checks it")
        return workload
    within = within_limit(limit, workload, asked)
    if within.context == workload.context and within.generate < workload.generate:
        notes.append(f"the model takes {limit} tokens: {within.generate} are left for the answer")
    elif within != workload:
        notes.append(f"the context is the model's own {limit} tokens, less {within.generate} for the answer")
    return within


def _tokens(workload: Workload) -> int:
    return workload.context + workload.generate


def _no_room(needed: float, room: float, machine: LocalMachine, made: MemoryEstimate) -> NoRoomError:
    held = holders_text(machine.holders)
    assert machine.gpu is not None
    alone = needed <= machine.gpu.total_gib * made.workload.gpu_memory_utilization
    if held and alone:
        fix = f"stop {held}, or lower --context or --concurrency"
    else:
        fix = "lower --context or --concurrency, use --method int8 or nf4, or take a larger GPU: modelpick estimate"
    return NoRoomError(
        f"serving needs up to {needed:.1f} GiB (weights {made.parts.weights / GIB:.1f}), and {max(room, 0):.1f} of the "
        f"{machine.gpu.total_gib:.1f} on {machine.gpu.name} are available" + (f"; used by {held}" if held else ""),
        fix=fix,
        code="no_gpu_memory",
    )


def holders_text(holders: Sequence[Holder]) -> str:
    """`python (pid 4711, 12.3 GiB) and ...`, the largest first."""
    largest = sorted(holders, key=lambda holder: -holder.gib)[:3]
    return " and ".join(f"{holder.name} (pid {holder.pid}, {holder.gib:.1f} GiB)" for holder in largest)
