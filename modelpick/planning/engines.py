"""Which engine serves a model: the one rule behind plan, cost, estimate, recommend, `up` and `serve`. Pure.

On a GPU vLLM serves what the compatibility table permits it to; transformers serves the rest, and everything on a CPU;
llama.cpp serves GGUF files. A stack that the user names is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

from modelpick.errors import ModelpickError, UsageError
from modelpick.offers.compatibility import Finding, Rule, Subject, applicable, findings, refusal, spoken
from modelpick.offers.instance import InstanceType
from modelpick.speed.roofline import ServingEfficiency
from modelpick.speed.shape import SpeedShape
from modelpick.speed.speed import Calibration, ServingSpeed, serving_speed
from modelpick.workload import CHECKPOINT_METHODS, Stack, Workload

EngineName = Literal["vllm", "transformers", "llama.cpp"]
ENGINE_NAMES: tuple[EngineName, ...] = get_args(EngineName)

STACKS: Mapping[EngineName, Stack] = {"vllm": "vllm", "transformers": "transformers", "llama.cpp": "llama.cpp"}
"""The engine's name in a workload."""

# The weights that `modelpick serve` can ask an engine for (serving/command.py). vLLM also has experts_int8, which
# leaves everything but the experts in 16 bits: no flag of ours asks for it.
_LOADS: Mapping[EngineName, tuple[str, ...]] = {
    "vllm": ("bf16", "nf4", *(method for method in CHECKPOINT_METHODS if method != "gguf")),
    "transformers": ("bf16", "int8", "nf4", *CHECKPOINT_METHODS),
    "llama.cpp": ("gguf",),
}
ONE_AT_A_TIME: tuple[EngineName, ...] = ("transformers",)
"""Engines that answer one request after another. transformers 5.23, cli/serving/utils.py, InferenceThread: one
generation at a time for each model. Its continuous batching gives every request the sampling settings of the first one
(CBGenerateManager.init_cb), so `serve` does not use it."""

# Ranks vLLM takes for --max-lora-rank: vllm/config/lora.py, MaxLoRARanks.
VLLM_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True, slots=True)
class EngineFit:
    """An engine that can serve a subject.

    `merged`: a LoRA adapter is merged into the weights first. `caveats`: conditions that the user has to meet.
    """

    engine: EngineName
    workload: Workload  # on the engine's stack
    merged: bool
    caveats: tuple[Finding, ...]
    rules: tuple[Rule, ...]  # that concern it, those about hardware included


@lru_cache(maxsize=256)
def _on_stack(workload: Workload, stack: Stack) -> Workload:
    """The same for every model of a catalog, so made once."""
    return replace(workload, stack=stack)


def engine_order(method: str, *, gpu: bool = True) -> tuple[EngineName, ...]:
    """The engines to try for weights held as `method`, the preferred one first."""
    if method == "gguf":
        return ("llama.cpp",)
    return ("vllm", "transformers") if gpu else ("transformers",)


def engine_of(workload: Workload) -> EngineName | None:
    """The engine that a workload's stack and method name; None where `serve` starts none of that stack."""
    if workload.method == "gguf":
        return "llama.cpp"
    return next((name for name in ENGINE_NAMES if STACKS[name] == workload.stack), None)


ONE_AFTER_ANOTHER = "transformers answers one request after another: the speed is that of one request at a time"


def answered_at_once(workload: Workload) -> int:
    """How many of a workload's concurrent requests its engine answers in one batch; the others wait."""
    return 1 if engine_of(workload) in ONE_AT_A_TIME else workload.batch


def speed_as_served(
    shape: SpeedShape, instance: InstanceType, efficiency: Calibration[ServingEfficiency], workload: Workload
) -> ServingSpeed:
    """The speed of all concurrent requests together, as the engine that serves them answers them.

    Where they are answered one after another, the others wait: there is no time to the first token under the load.
    """
    at_once = answered_at_once(workload)
    speed = serving_speed(shape, instance, efficiency, replace(workload, batch=at_once))
    return speed if at_once == workload.batch else replace(speed, first_token=None)


def engine_fit(
    rules: Sequence[Rule], subject: Subject, engine: EngineName, *, rank: int | None = None
) -> EngineFit | ModelpickError:
    """Whether `engine` serves `subject`, or the error that says why not (exit 3 where the table does not know).

    An adapter is served with the base model where the engine supports it, else merged into it. `rank` is the adapter's.
    """
    workload = _on_stack(subject.workload, STACKS[engine])
    if workload.method not in _LOADS[engine]:
        refused = refusal(findings(rules, replace(subject, workload=workload)))
        return refused or UsageError(
            f"{engine} is not used with {workload.method} weights",
            fix="leave out --engine, or choose another --method",
            code="engine_cannot",
        )
    if workload.gpus > 1 and engine != "vllm":
        return UsageError(
            f"{engine} runs on one GPU only", fix="use --engine vllm, or leave out --gpus", code="engine_cannot"
        )
    subject, merged = replace(subject, workload=workload), False
    concerned = applicable(rules, subject)
    caveats = spoken(concerned, subject.instance)
    if subject.adapter and refusal(caveats) is not None:
        concerned, merged = applicable(rules, replace(subject, adapter=False)), True
        caveats = spoken(concerned, subject.instance)
    if (error := refusal(caveats)) is not None:
        return error
    if subject.adapter and not merged and engine == "vllm" and rank is not None and rank > VLLM_LORA_RANKS[-1]:
        return UsageError(
            f"the adapter's rank {rank} is above the {VLLM_LORA_RANKS[-1]} that vLLM supports",
            fix="merge it first (modelpick merge) and serve the merged folder, or use --engine transformers",
            code="lora_rank",
        )
    return EngineFit(engine, workload, merged, caveats, concerned)


def engines_for(
    rules: Sequence[Rule], subject: Subject, *, gpu: bool = True, rank: int | None = None
) -> tuple[EngineFit, ...] | ModelpickError:
    """The engines that can serve `subject`, the one that `serve` starts first; the last one's refusal if none can."""
    able: list[EngineFit] = []
    refused: ModelpickError | None = None
    order = engine_order(subject.workload.method, gpu=gpu)
    loads = [name for name in order if subject.workload.method in _LOADS[name]]
    for name in loads or order:
        outcome = engine_fit(rules, subject, name, rank=rank)
        if isinstance(outcome, ModelpickError):
            refused = outcome
        else:
            able.append(outcome)
    if able:
        return tuple(able)
    assert refused is not None  # engine_order names at least one
    return refused
