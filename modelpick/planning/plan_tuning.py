"""How a fine-tuning would run on one kind of GPU: with the micro-batch that `finetune` takes, by its own rule. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelpick.catalog.architecture import Architecture
from modelpick.memory.estimate import MemoryEstimate
from modelpick.offers.instance import InstanceType
from modelpick.planning import choose
from modelpick.planning.fit import fits, on_device
from modelpick.planning.recipe import SHARED, RunSettings
from modelpick.workload import ONLY_LORA, Workload

# What a plan chooses for each GPU where the user left it open.
CHOSEN = ("batch", "gradient_accumulation", "gradient_checkpointing")
_MANY = 1_000_000  # examples, where no data file tells: the effective batch is not cut


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hyper-parameters as the run will have them; their sources: tuning.run.RunSettings."""

    learning_rate: float
    epochs: float
    effective_batch: int
    gradient_accumulation: int
    lora_alpha: int | None
    scheduler: str
    warmup_share: float

    def as_json(self) -> dict[str, Any]:
        """The names of the plan file."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Tuning:
    """One way to run a fine-tuning: the workload with nothing left open, its memory at device level, its recipe."""

    workload: Workload
    memory: MemoryEstimate
    recipe: Recipe

    def as_json(self) -> dict[str, Any]:
        """What was chosen, by the names of a workload."""
        return {name: getattr(self.workload, name) for name in CHOSEN}


def chosen(workload: Workload, left_open: Collection[str]) -> frozenset[str]:
    """Which of the names left open are chosen: over several GPUs gradient accumulation alone, since the rule is for
    one GPU."""
    return frozenset(left_open) & ({"gradient_accumulation"} if workload.gpus > 1 else set(CHOSEN))


def ways(
    architecture: Architecture,
    workload: Workload,
    parameters: int | None,
    *,
    left_open: Collection[str],
    rows: int | None,
    epochs: float | None,
) -> tuple[Tuning, ...]:
    """Every way that what is said permits, in the order in which `finetune` takes the first that fits.

    `left_open` are the names of CHOSEN that nobody said. Raises UsageError for what a run cannot have.
    """
    left_open = chosen(workload, left_open)
    fixed = {"model": architecture.model_type, "data": "train", "output": "run", "epochs": epochs}
    named = (name for name in SHARED if name not in left_open and (workload.is_lora or name not in ONLY_LORA))
    fixed |= {name: getattr(workload, name) for name in named}
    examples = _MANY if rows is None else max(rows, 1)
    return tuple(
        _tuning(architecture, workload, parameters, choose.with_rates(settings, fixed, parameters, examples))
        for settings in choose.ways(fixed, examples)
    )


def on(listed: Sequence[Tuning], instance: InstanceType) -> Tuning:
    """The first that fits one GPU of `instance`; where none does, the one that needs least."""
    fitting = (one for one in listed if fits(one.memory, instance))
    return next(fitting, None) or min(listed, key=lambda one: one.memory.high)


def _tuning(architecture: Architecture, workload: Workload, parameters: int | None, settings: RunSettings) -> Tuning:
    whole = replace(workload, **{name: getattr(settings, name) for name in CHOSEN})
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
