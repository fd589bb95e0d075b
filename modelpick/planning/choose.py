"""Fills in unset options of a fine-tuning: method, micro-batch, checkpointing, rates. Pure.

One order of recipes for both sides: `choose` takes the first that fits the device at hand, `candidate_recipes` lists
them for the search over offers (placement.py), so that a plan prices what the machine will run.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelpick.catalog.architecture import Architecture
from modelpick.errors import ModelpickError
from modelpick.memory.estimate import MemoryEstimate
from modelpick.planning.context_limit import context_problem
from modelpick.planning.fit import on_device
from modelpick.planning.recipe import SHARED, RunSettings, settings_from
from modelpick.workload import ONLY_LORA, VIRTUAL_TOKENS, Workload

# From least to most compressed: quantization costs accuracy (QLoRA, arXiv 2305.14314, table 4) and speed, so it is
# taken only when memory asks for it.
_METHODS = ("lora", "lora-int8", "qlora")
# The size above which QLoRA's recipe halves the learning rate (arXiv 2305.14314, table 9).
_LARGE = 13_500_000_000
_EFFECTIVE_BATCH = 16  # QLoRA's recipe
_CONTEXT_STEP = 64  # contexts are rounded up to a multiple of this: kernels are laid out in tiles of 64
_FULL_RATE = 0.1  # "LoRA Without Regret": full fine-tuning wants about a tenth of LoRA's rate
_PREFERENCE_RATE = 0.05  # TRL 1.16: the defaults of DPOConfig and KTOConfig are 1e-6, that of SFTConfig is 2e-5
_PROMPT_RATE = 3e-2  # Databricks' course llm102, as huggingface.co/alikehuggie/llm_finetune records its recipe
_TAKEN = 0.07  # of a GPU's memory, for its driver and this process: an estimate; GPU sizes differ by more
_SAVES = 20  # checkpoints in a run: at most a twentieth of the work is ever lost

HighBytes = Callable[[Workload], float]


@dataclass(frozen=True, slots=True)
class Device:
    """Where the run will be: its kind, a name, what it can hold, and the dtype it computes fastest in."""

    kind: str  # cuda or cpu
    name: str
    usable_bytes: float
    dtype: str


@dataclass(frozen=True, slots=True)
class TuningChoice:
    """Settings with every value decided, the upper end of their memory estimate, and the reasons."""

    settings: RunSettings
    high_bytes: float
    reasons: tuple[str, ...]


class DoesNotFitError(ModelpickError):
    """No permitted combination fits the device."""


def choose(
    given: Mapping[str, Any],
    device: Device,
    high: HighBytes,
    *,
    longest: int,
    examples: int,
    parameters: int | None,
    limit: int | None,
    planned: Sequence[Mapping[str, Any]] = (),
) -> TuningChoice:
    """Choose what `given` leaves open.

    `high` is the upper end of the estimate in bytes; `longest` the longest example in tokens; `limit` the longest
    context the model knows. The first of method x checkpointing x micro-batch, from the least costly, that fits is
    taken; or what a plan settled for such a GPU: `planned` holds settings by name, each with the `usable_gib` of the
    GPU it was computed for. Raises DoesNotFitError naming the smallest need, UsageError for a context that the model
    does not know.
    """
    fixed = {name: value for name, value in given.items() if value is not None}
    reasons = [f"device {device.name}, {device.usable_bytes / 2**30:.1f} GiB usable"]
    context = fixed.get("context") or _context(longest, limit)
    if limit is not None and (problem := context_problem(limit, context)):
        raise problem
    fixed["context"] = context
    fixed.setdefault("dtype", device.dtype)
    settled = _planned_for(device, planned)
    if planned and settled is None:
        reasons.append("the plan was not made for this GPU: settings chosen anew")
    if settled is not None:
        settings = with_rates(settings_from({**settled, **fixed}), given, parameters, examples)
        reasons.append(f"{settings.method}, micro-batch {settings.batch}: as planned for such a GPU")
        return TuningChoice(settings, high(settings.workload()), tuple(reasons))
    smallest = float("inf")
    for settings in settings_to_try(fixed, examples):
        need = high(settings.workload())
        smallest = min(smallest, need)
        if need <= device.usable_bytes:
            settings = with_rates(settings, given, parameters, examples)
            by_estimate = f"at most {need / 2**30:.1f} GiB by the estimate"
            known = by_estimate if need else "as requested; memory cannot be estimated"
            reasons.append(f"{settings.method}, micro-batch {settings.batch}: {known}")
            if settings.gradient_checkpointing and "gradient_checkpointing" not in fixed:
                reasons.append("gradient checkpointing, because nothing fits without it")
            return TuningChoice(settings, need, tuple(reasons))
    needs = f"fine-tuning at {context} tokens needs up to {smallest / 2**30:.1f} GiB at the least"
    raise DoesNotFitError(
        f"{needs}, and {device.name} has {device.usable_bytes / 2**30:.1f}",
        fix="lower --context, allow --method qlora, or use a larger GPU: modelpick plan MODEL",
        code="does_not_fit",
    )


def _planned_for(device: Device, planned: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What a plan chose for a GPU of this size: the driver and our process take a few percent of the nominal memory."""
    if device.kind != "cuda":
        return None
    near = [one for one in planned if 1 - _TAKEN <= device.usable_bytes / 2**30 / one["usable_gib"] <= 1.02]
    if not near:
        return None
    closest = min(near, key=lambda one: abs(one["usable_gib"] - device.usable_bytes / 2**30))
    return {name: value for name, value in closest.items() if name != "usable_gib"}


def settings_to_try(fixed: Mapping[str, Any], examples: int) -> list[RunSettings]:
    """Every way to run that what is `fixed` permits, from the least costly: in the order of trial."""
    effective = (
        int(fixed.get("batch") or 1) * int(fixed["gradient_accumulation"])
        if "gradient_accumulation" in fixed
        else _EFFECTIVE_BATCH
    )
    smallest = 2 if fixed.get("objective") == "kto" else 1  # RunSettings.smallest_batch
    effective = max(smallest, min(effective, examples))
    methods = (fixed["method"],) if "method" in fixed else _METHODS
    found = []
    for method in methods:
        for checkpointing in (fixed["gradient_checkpointing"],) if "gradient_checkpointing" in fixed else (False, True):
            for batch in (fixed["batch"],) if "batch" in fixed else _divisors(effective, smallest):
                gradient_accumulation = fixed.get("gradient_accumulation") or max(1, effective // batch)
                chosen = {
                    "method": method,
                    "gradient_checkpointing": checkpointing,
                    "batch": batch,
                    "gradient_accumulation": gradient_accumulation,
                }
                found.append(settings_from({**fixed, **chosen}))
    return found


def _divisors(number: int, smallest: int) -> list[int]:
    """Micro-batches that divide the effective batch, largest first, at most 8: beyond that GPUs gain little."""
    return [size for size in range(min(8, number), smallest - 1, -1) if number % size == 0] or [smallest]


def _context(longest: int, limit: int | None) -> int:
    rounded = -(-max(longest, 1) // _CONTEXT_STEP) * _CONTEXT_STEP
    return min(rounded, limit) if limit else rounded


def with_rates(settings: RunSettings, given: Mapping[str, Any], parameters: int | None, examples: int) -> RunSettings:
    """The settings with what follows from them, where `given` does not say it: rates, and when to save and to log."""
    changes: dict[str, Any] = {}
    if given.get("learning_rate") is None:
        rate = 1e-4 if parameters and parameters > _LARGE else 2e-4
        rate *= 1.0 if settings.is_lora else _FULL_RATE
        rate *= 1.0 if settings.objective == "sft" else _PREFERENCE_RATE
        changes["learning_rate"] = _PROMPT_RATE if settings.method == "prompt-tuning" else rate
    if settings.method == "prompt-tuning" and settings.virtual_tokens is None:
        changes["virtual_tokens"] = VIRTUAL_TOKENS
    if given.get("lora_alpha") is None:
        changes["lora_alpha"] = 2 * settings.lora_rank
    steps = settings.max_steps or max(1, round(settings.epochs * -(-examples // settings.effective_batch)))
    if given.get("save_steps") is None:
        changes["save_steps"] = max(1, steps // _SAVES)
    if given.get("log_steps") is None:
        changes["log_steps"] = max(1, min(10, steps // _SAVES))
    return replace(settings, **changes)


# What a plan chooses for each GPU where nobody set it.
TUNABLE = ("batch", "gradient_accumulation", "gradient_checkpointing")
_MANY = 1_000_000  # examples, where no data file tells: the effective batch is not cut


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hyper-parameters as the run will have them; their sources: recipe.RunSettings."""

    learning_rate: float
    epochs: float
    effective_batch: int
    gradient_accumulation: int
    lora_alpha: int | None
    scheduler: str
    warmup_share: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """One way to run a fine-tuning: the workload with nothing unset, its memory at device level, its recipe."""

    workload: Workload
    memory: MemoryEstimate
    recipe: Recipe

    def as_json(self) -> dict[str, object]:
        """What was chosen, by the names of a workload."""
        return {name: getattr(self.workload, name) for name in TUNABLE}


def tuned_names(workload: Workload, unset: Collection[str]) -> frozenset[str]:
    """The unset names that are chosen: over several GPUs the accumulation alone, since the rule is for one GPU."""
    return frozenset(unset) & ({"gradient_accumulation"} if workload.gpus > 1 else set(TUNABLE))


def candidate_recipes(
    architecture: Architecture,
    workload: Workload,
    parameters: int | None,
    *,
    unset: Collection[str],
    rows: int | None,
    epochs: float | None,
) -> tuple[Tuning, ...]:
    """Every recipe that the given settings permit, in the order in which `finetune` takes the first that fits.

    `unset` are the names of TUNABLE that nobody set. Raises UsageError for what a run cannot have.
    """
    unset = tuned_names(workload, unset)
    fixed = {"model": architecture.model_type, "data": "train", "output": "run", "epochs": epochs}
    named = (name for name in SHARED if name not in unset and (workload.is_lora or name not in ONLY_LORA))
    fixed |= {name: getattr(workload, name) for name in named}
    examples = _MANY if rows is None else max(rows, 1)
    return tuple(
        _tuning(architecture, workload, parameters, with_rates(settings, fixed, parameters, examples))
        for settings in settings_to_try(fixed, examples)
    )


def _tuning(architecture: Architecture, workload: Workload, parameters: int | None, settings: RunSettings) -> Tuning:
    whole = replace(workload, **{name: getattr(settings, name) for name in TUNABLE})
    recipe = Recipe(
        learning_rate=settings.learning_rate,
        epochs=settings.epochs,
        effective_batch=settings.effective_batch,
        gradient_accumulation=settings.gradient_accumulation,
        lora_alpha=settings.lora_alpha if settings.is_lora else None,
        scheduler=settings.scheduler,
        warmup_share=settings.warmup_share,
    )
    return Tuning(whole, on_device(architecture, whole, parameters), recipe)
