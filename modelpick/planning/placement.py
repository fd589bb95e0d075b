"""Where a model can run: the one search behind recommend, estimate, cost, plan and `up`. Pure.

`place` checks, in this order and nowhere else: the model's context limit, the compatibility table (engine,
host, GPU), the number format, memory, the price, the cap. What is left is a list of placements, the cheapest first;
each rejected offer has its cause. A model may fit an instance whose price is unknown: the result
contains both facts.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Literal

from modelpick.catalog.architecture import Architecture
from modelpick.catalog.model import Model
from modelpick.errors import EXIT_NO, CannotTellError, ModelpickError, UsageError
from modelpick.memory.estimate import MemoryEstimate, architecture_of
from modelpick.offers.compatibility import Finding, Rule, Subject, applicable, finding_of, refusal, speaks_on, spoken
from modelpick.offers.instance import Families, InstanceType
from modelpick.offers.price import BillingRates, Offer
from modelpick.planning.choose import Tuning, candidate_recipes
from modelpick.planning.context_limit import context_problem
from modelpick.planning.data_tokens import Tokens
from modelpick.planning.engines import EngineName, engine_of, engines_for
from modelpick.planning.fit import Fit, fits, lacking_dtype, on_device
from modelpick.planning.job import JobCost, JobTime, job_cost, job_time
from modelpick.planning.recipe import as_trained
from modelpick.ranges import exactly
from modelpick.speed.roofline import ServingEfficiency, SpeedShape, TrainingEfficiency, shape_of
from modelpick.speed.speed import Calibration, Speed, training_speed
from modelpick.workload import CHECKPOINT_METHODS, Sharding, Task, Workload

# What is assumed where no data file is given, so that there is a cost; the plan says so.
ASSUMED_TOKENS = 1_000_000

Cause = Literal[
    "context", "checkpoint", "engine", "gpus", "dtype", "memory", "price_unknown", "too_expensive", "cap", "no_offer",
    "settings",
]  # fmt: skip
# How far an offer came before it was rejected: the one that came furthest gives the reason.
_PROGRESS: tuple[Cause, ...] = ("engine", "gpus", "dtype", "memory", "price_unknown", "too_expensive", "cap")


class NoPlan(ModelpickError):
    """It cannot be planned, and the answer is no: the reason, and a fix."""

    exit_code = EXIT_NO


@dataclass(frozen=True, slots=True)
class Caps:
    """The user's limits. None: not set. Raises UsageError for what is not a number above 0.

    `on_demand`: dollars an hour by instance type. A spot price may rise to them, so caps are computed with them.
    """

    max_usd: float | None = None
    max_hours: float | None = None
    max_usd_per_hour: float | None = None
    on_demand: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("max_usd", "max_hours", "max_usd_per_hour"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} is {value}", fix="give a number above 0", code=f"bad_{name}")


@dataclass(frozen=True, slots=True)
class SearchFacts:
    """What a search judges by: the same for every model.

    `rules` is the compatibility table, and `subject_of` the question to it for a model; `serving` and `training` give
    the calibrated constants of a stack and a method.
    """

    rules: tuple[Rule, ...]
    subject_of: Callable[[Model, Workload], Subject]
    rates: BillingRates
    serving: Callable[[str, str], Calibration[ServingEfficiency]]
    training: Callable[[str, str], Calibration[TrainingEfficiency]]


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """The tasks for one model: fine-tune it, serve it, or both (one of them at least).

    `unset` names the unset settings, which are chosen for each GPU (choose.TUNABLE); `tokens` is the data,
    counted; `epochs` how often it is read. `traced`: a device-level estimate of the one task, in place of the formulas'
    (estimate --exact). `architecture`: the model's, where it was read already.
    """

    model: Model
    finetune: Workload | None = None
    serve: Workload | None = None
    unset: frozenset[str] = frozenset()
    tokens: Tokens | None = None
    epochs: float | None = None
    traced: MemoryEstimate | None = None
    architecture: Architecture | None = None

    @property
    def tasks(self) -> list[tuple[Task, Workload]]:
        """What is to be done, in order."""
        both: tuple[tuple[Task, Workload | None], ...] = (("finetune", self.finetune), ("serve", self.serve))
        return [(name, workload) for name, workload in both if workload is not None]

    @property
    def gpus(self) -> int:
        """The GPUs asked for."""
        return max((workload.gpus for _, workload in self.tasks), default=1)


@dataclass(frozen=True)
class Setup:
    """Engine, weights and sharding for one model, on no offer yet: compared with every offer.

    `recipes` are the ways to fine-tune in the order they are tried; `rules` what the table says of the model and the
    workload, `caveats` what it says whatever the hardware.
    """

    model: Model
    architecture: Architecture
    recipes: tuple[Tuning, ...]
    serving: MemoryEstimate | None
    engine: EngineName | None
    rules: tuple[Rule, ...]
    caveats: tuple[Finding, ...]

    @cached_property
    def shape(self) -> SpeedShape:
        """What its speed follows from."""
        return shape_of(self.architecture)

    @cached_property
    def weights_gb(self) -> float:
        """What comes from the Hub, in 10^9 bytes."""
        return download_gb(self.model, self.shape.parameters)

    @cached_property
    def hardware_rules(self) -> tuple[Rule, ...]:
        """The rules that make some hardware impossible."""
        return tuple(rule for rule in self.rules if rule.level == "cannot" and rule.names_gpu)

    @property
    def least(self) -> MemoryEstimate:
        """What the first task needs at the least."""
        memories = [recipe.memory for recipe in self.recipes]
        if self.serving is not None and not memories:
            memories = [self.serving]
        return min(memories, key=lambda memory: memory.high)

    @property
    def result_gb(self) -> float:
        """What fine-tuning leaves: adapters as PEFT saves them (4 bytes a parameter), a full model in 16 bits."""
        if not self.recipes:
            return 0.0
        memory = self.recipes[0].memory
        return memory.trainable_parameters * (2 if memory.workload.method == "full" else 4) / 1e9


@dataclass(frozen=True, slots=True)
class Placement:
    """A set-up on an offer that fits it: engine, weights, GPUs and sharding by `workloads`, memory, speed and cost.

    `headroom_gib` is of the task that needs most, at the upper end of its interval. Time and cost are a fine-tuning's.
    """

    offer: Offer
    tuning: Tuning | None
    serving: MemoryEstimate | None
    engine: EngineName | None
    headroom_gib: float
    training: Speed | None = None
    time: JobTime | None = None
    job: JobCost | None = None

    @property
    def memories(self) -> dict[str, MemoryEstimate]:
        """The estimate of each task, in order."""
        both = (("finetune", self.tuning.memory if self.tuning else None), ("serve", self.serving))
        return {name: memory for name, memory in both if memory is not None}

    @property
    def memory(self) -> MemoryEstimate:
        """The estimate of the first task."""
        return next(iter(self.memories.values()))

    @property
    def gpus(self) -> int:
        """The GPUs in use."""
        return self.memory.workload.gpus

    @property
    def sharding(self) -> Sharding:
        """How they share the model."""
        return self.memory.workload.sharding


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a model cannot be placed, or not on one offer. `code` and `exit_code` are those of the error that says so."""

    cause: Cause
    code: str
    reason: str
    remedy: str
    offer: Offer | None = None
    free_gib: float | None = None  # at the upper bound, where memory was asked
    exit_code: int = EXIT_NO

    def as_json(self) -> dict[str, str]:
        """`not_placed` in `estimate --json` and `cost --json`."""
        return {"cause": self.cause, "code": self.code, "reason": self.reason, "fix": self.remedy}

    def error(self, subject: str = "") -> ModelpickError:
        """The same as an error for a command."""
        kind = CannotTellError if self.exit_code == CannotTellError.exit_code else NoPlan
        return kind(f"{subject}: {self.reason}" if subject else self.reason, fix=self.remedy, code=self.code)


@dataclass(frozen=True, slots=True)
class Placements:
    """Where one set-up has room: `rows`, the cheapest first; `unpriced`, the smallest first, whose price is unknown."""

    setup: Setup
    rows: tuple[Placement, ...]
    unpriced: tuple[Placement, ...]
    rejected: tuple[Rejection, ...]

    def refusal(self) -> Rejection | None:
        """Why there is no placement with a price, by the offer that came nearest; None where there is one."""
        if self.rows:
            return None
        rejected = list(self.rejected)
        if self.unpriced:
            rejected.append(_price_unknown(self.unpriced[0]))
        if not rejected:
            return Rejection(
                "no_offer",
                "no_offer",
                "no instance type matches the filters",
                "name another --instance, --family or number of --gpus",
            )
        return max(rejected, key=_nearness)


def place(
    request: PlanRequest,
    offers: Iterable[Offer],
    caps: Caps,
    facts: SearchFacts,
    *,
    cheapest_only: bool = False,
    hypothetical: bool = False,
) -> Placements | Rejection:
    """Where `request` can run: on which of `offers`, within the hourly cap, the cheapest for the whole of it first.

    A Rejection is about the model itself (its context, no engine that serves it) whatever the offer. Where the stack is
    `auto`, the engine is the first of engines.engines_for that has a placement. `cheapest_only`: stop at the first
    offer that a server fits, for the search over a whole catalog. `hypothetical`: say what more tokens than the model
    takes would need, and a checkpoint that its repository does not hold. The caps on a whole job are asked by
    caps.within_caps.

    Raises CannotTellError for an architecture that is not understood, UsageError for settings a run cannot have.
    """
    setups = _setups_for(request, facts, hypothetical)
    if isinstance(setups, Rejection):
        return setups
    listed = sorted(offers, key=_price)
    results = []
    for setup in setups:
        result = _search(setup, request, listed, caps, facts, cheapest_only)
        if result.rows or result.unpriced:
            return result
        results.append(result)
    return results[0]


def settle(request: PlanRequest, offers: Iterable[Offer], facts: SearchFacts) -> Setup | Rejection:
    """The set-up that `place` would take over `offers`, without pricing anything: what an estimate is made for.

    Whatever the tokens asked for; raises as `place` does.
    """
    setups = _setups_for(request, facts, hypothetical=True)
    if isinstance(setups, Rejection) or len(setups) == 1:
        return setups if isinstance(setups, Rejection) else setups[0]
    largest_first = sorted(offers, key=lambda offer: -offer.instance.usable_memory_gib)
    for setup in setups:
        if any(not isinstance(_judge(setup, offer), Rejection) for offer in largest_first):
            return setup
    return setups[0]


def offers_for(offers: Iterable[Offer], families: Families, instance: str | None, gpus: int) -> list[Offer]:
    """The offers that the filters leave: one type, or those of the families with exactly the GPUs asked for."""
    if instance is not None:
        return [offer for offer in offers if offer.instance.name == instance]
    return [
        offer for offer in offers if families.admit(offer.instance) and offer.instance.gpu_count == gpus
    ]  # fmt: skip


def _setups_for(request: PlanRequest, facts: SearchFacts, hypothetical: bool) -> tuple[Setup, ...] | Rejection:
    """The set-ups to try in turn, the preferred engine first, or why the model has none whatever the offer."""
    model = request.model
    architecture = request.architecture or architecture_of(model)
    for _, workload in request.tasks:
        problem = context_problem(architecture.longest, workload.context, workload.generate)
        if problem is not None and not hypothetical:
            return _of_error(problem, "context")
    if request.serve is not None and not hypothetical:
        absent = checkpoint_problem(model, architecture, request.serve.method)
        if absent is not None:
            return _of_error(absent, "checkpoint")
    tuned: tuple[Rule, ...] = ()
    recipes: tuple[Tuning, ...] = ()
    if request.finetune is not None:
        workload = trained_workload(request.finetune, architecture)
        tuned = applicable(facts.rules, facts.subject_of(model, workload))
        if (problem := refusal(_whatever_the_hardware(tuned))) is not None:
            return _of_error(problem, "engine")
        recipes = candidate_recipes(
            architecture, workload, model.parameters,
            unset=request.unset, rows=request.tokens.rows if request.tokens else None, epochs=request.epochs,
        )  # fmt: skip
        if request.traced is not None:
            recipes = (replace(recipes[0], memory=request.traced),)
    caveats = _whatever_the_hardware(tuned)
    if request.serve is None:
        return (Setup(model, architecture, recipes, None, None, tuned, caveats),)
    subject = facts.subject_of(model, request.serve)
    if request.finetune is not None and request.finetune.is_lora:
        subject = replace(subject, adapter=True)
    ways = _ways_to_serve(facts.rules, subject)
    if isinstance(ways, ModelpickError):
        return _of_error(ways, "engine")
    setups = []
    for way in ways:
        serving = request.traced or on_device(architecture, way.workload, model.parameters)
        rules = tuple(dict.fromkeys((*tuned, *way.rules)))
        told = tuple(dict.fromkeys((*caveats, *way.caveats)))
        setups.append(Setup(model, architecture, recipes, serving, engine_of(way.workload), rules, told))
    return tuple(setups)


@dataclass(frozen=True, slots=True)
class _WayToServe:
    """A workload on an engine, the rules that concern it, and what they say whatever the hardware."""

    workload: Workload
    rules: tuple[Rule, ...]
    caveats: tuple[Finding, ...]


@lru_cache(maxsize=1024)
def _ways_to_serve(rules: tuple[Rule, ...], subject: Subject) -> tuple[_WayToServe, ...] | ModelpickError:
    """The way of each engine that can serve `subject`, the preferred one first, or why none can.

    Remembered: a thousand models of a catalog are a hundred subjects.
    """
    workload = subject.workload
    if workload.stack != "auto":
        concerned = applicable(rules, subject)
        caveats = _whatever_the_hardware(concerned)
        return refusal(caveats) or (_WayToServe(workload, concerned, caveats),)
    engines = engines_for(rules, subject)
    if isinstance(engines, ModelpickError):
        return engines
    return tuple(_WayToServe(engine.workload, engine.rules, engine.caveats) for engine in engines)


def checkpoint_problem(model: Model, architecture: Architecture, method: str) -> ModelpickError | None:
    """Why weights held as `method` cannot be loaded: only a checkpoint brings them, and this repository does not."""
    brought = architecture.checkpoint.method if architecture.checkpoint is not None else None
    if method not in CHECKPOINT_METHODS or brought == method or (method == "gguf" and model.gguf is not None):
        return None
    return UsageError(
        f"its repository has no {method} weights, and they cannot be made while loading",
        fix=f"name a repository that holds {method} weights, or use --method bf16, int8 or nf4",
        code="no_checkpoint",
    )


def trained_workload(workload: Workload, architecture: Architecture) -> Workload:
    """A fine-tuning as the software that will run it sees it: a stack that was named, else our own loop on one GPU.

    Over several GPUs our loop does not run (aws/from_plan refuses it): it is estimated as transformers would run it.
    """
    if workload.stack != "auto":
        return workload
    if workload.gpus > 1:
        return replace(workload, stack="transformers")
    return as_trained(replace(workload, stack="transformers"), architecture.kind, gpu=True)


def _whatever_the_hardware(rules: Sequence[Rule]) -> tuple[Finding, ...]:
    """What the applicable rules say that does not depend on the instance, the worst first."""
    return spoken(rules, None)


def _search(
    setup: Setup, request: PlanRequest, offers: Sequence[Offer], caps: Caps, facts: SearchFacts, cheapest_only: bool
) -> Placements:
    """One set-up compared with every offer. Instances with the same GPU and host are judged once."""
    judged: dict[tuple[object, ...], Rejection | tuple[Tuning | None, float]] = {}
    rows: list[Placement] = []
    unpriced: list[Placement] = []
    rejected: list[Rejection] = []
    for offer in offers:
        kind = offer.instance
        key = (kind.gpu.name, kind.usable_memory_gib, kind.gpu_count, kind.cpu)
        outcome = judged.get(key)
        if outcome is None:
            outcome = judged[key] = _judge(setup, offer)
            if isinstance(outcome, Rejection):
                rejected.append(outcome)
        elif isinstance(outcome, Rejection) and not cheapest_only:
            rejected.append(replace(outcome, offer=offer))
        if isinstance(outcome, Rejection):
            continue
        tuning, headroom_gib = outcome
        placement = Placement(offer, tuning, setup.serving, setup.engine, headroom_gib)
        price = offer.usd_per_hour
        if price is None:
            unpriced.append(_with_job(placement, setup, request, facts))
        elif caps.max_usd_per_hour is not None and price > caps.max_usd_per_hour:
            rejected.append(_too_expensive(placement, caps.max_usd_per_hour))
            if cheapest_only and request.finetune is None:
                break
        else:
            rows.append(_with_job(placement, setup, request, facts))
            if cheapest_only and request.finetune is None:
                break
    rows.sort(key=preference)
    return Placements(setup, tuple(rows), tuple(unpriced), tuple(rejected))


def preference(row: Placement) -> tuple[float, float, str]:
    """The one order of placements: the cheapest job first; for serving, which has no end, the cheapest hour."""
    hourly = math.inf if row.offer.usd_per_hour is None else row.offer.usd_per_hour
    return (row.job.total.likely if row.job is not None else 0.0, hourly, row.offer.instance.name)


def _judge(setup: Setup, offer: Offer) -> Rejection | tuple[Tuning | None, float]:
    """The recipe taken and the headroom in GiB where the offer's host and GPU can run and fit it, or the cause."""
    kind = offer.instance
    for rule in setup.hardware_rules:
        if speaks_on(rule, kind):
            cause: Cause = "dtype" if rule.gpu_lacks is not None else "engine"
            return Rejection(cause, rule.code, rule.why, rule.way_out, offer)
    tuning = _recipe_on(setup.recipes, kind) if setup.recipes else None
    memories = [memory for memory in (tuning.memory if tuning else None, setup.serving) if memory is not None]
    free_gib = math.inf
    for memory in memories:
        workload = memory.workload
        if (lacking := lacking_dtype(workload, kind)) is not None:
            reason = f"{kind.gpu.name} lacks {lacking}"
            return Rejection("dtype", f"{lacking}_not_native", reason, "use --dtype fp16", offer)
        fit: Fit = fits(memory, kind)
        if not fit:
            cause = "gpus" if workload.gpus > kind.gpu_count else "memory"
            remedy = "use a smaller method (qlora, nf4), less context or batch, or --family any"
            return Rejection(cause, "does_not_fit", fit.reason, remedy, offer, fit.free_gib)
        free_gib = min(free_gib, fit.free_gib)
    return tuning, free_gib


def _recipe_on(recipes: Sequence[Tuning], instance: InstanceType) -> Tuning:
    """The first recipe that fits one GPU of `instance`; where none does, the one that needs least."""
    fitting = (recipe for recipe in recipes if fits(recipe.memory, instance))
    return next(fitting, None) or min(recipes, key=lambda recipe: recipe.memory.high)


def _with_job(placement: Placement, setup: Setup, request: PlanRequest, facts: SearchFacts) -> Placement:
    """The placement with speed, time and cost of the fine-tuning, where there is one."""
    tuning, offer = placement.tuning, placement.offer
    if tuning is None:
        return placement
    workload = tuning.workload
    efficiency = facts.training(workload.stack, workload.method)
    length = request.tokens.mean_length if request.tokens and not workload.packing else None
    speed = training_speed(
        setup.shape, offer.instance, efficiency, workload,
        gradient_accumulation=tuning.recipe.gradient_accumulation, length=length,
    )  # fmt: skip
    tokens = request.tokens.count if request.tokens else exactly(float(ASSUMED_TOKENS))
    sizes = {"weights_gb": setup.weights_gb, "result_gb": setup.result_gb}
    spot = offer.market == "spot"
    time = job_time(offer.instance, speed, tokens.times(tuning.recipe.epochs), spot=spot, **sizes)
    return replace(placement, training=speed, time=time, job=job_cost(offer, time, facts.rates, **sizes))


def _price(offer: Offer) -> tuple[float, float, int, str]:
    """The cheapest first, as in `preference`; what has no price comes last, by its size."""
    kind = offer.instance
    if offer.usd_per_hour is not None:
        return (offer.usd_per_hour, 0, 0, kind.name)
    return (math.inf, kind.gpu_count * kind.usable_memory_gib, kind.vcpus, kind.name)


def _price_unknown(row: Placement) -> Rejection:
    kind, region = row.offer.instance, row.offer.region
    return Rejection(
        "price_unknown",
        "no_price",
        f"it fits {kind.name} ({kind.gpu.name}), but its price in {region} is not known",
        "ask AWS with `modelpick offers --live`, or choose another region",
        row.offer,
        row.headroom_gib,
    )


def _too_expensive(row: Placement, cap: float) -> Rejection:
    name, price = row.offer.instance.name, row.offer.usd_per_hour or 0.0
    return Rejection(
        "too_expensive",
        "too_expensive",
        f"the cheapest instance that fits is {name} at ${price:.3f}/h, above ${cap:g}",
        "raise --max-usd-per-hour",
        row.offer,
        row.headroom_gib,
    )


def _nearness(rejection: Rejection) -> tuple[int, float]:
    """How near an offer came: by the gate it failed at, then by memory, or by the price where only that is too high."""
    if rejection.cause == "too_expensive" and rejection.offer is not None:
        return (_PROGRESS.index(rejection.cause), -(rejection.offer.usd_per_hour or 0.0))
    return (_PROGRESS.index(rejection.cause), rejection.free_gib or 0.0)


def _of_error(error: ModelpickError, cause: Cause) -> Rejection:
    exit_code = EXIT_NO if isinstance(error, UsageError) else error.exit_code
    return Rejection(cause, error.code, error.message, error.fix, exit_code=exit_code)


def findings_on(setup: Setup, instance: InstanceType) -> tuple[Finding, ...]:
    """Everything the compatibility table says about a set-up there: a plan's `care`."""
    hardware = (finding_of(rule) for rule in setup.rules if rule.names_gpu and speaks_on(rule, instance))
    return tuple(dict.fromkeys((*setup.caveats, *hardware)))


_STORED_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "BF16": 2, "F16": 2, "I16": 2, "U16": 2}


def download_gb(model: Model, parameters: int) -> float:
    """What comes from the Hub: the headers' count by dtype where known, else two bytes a parameter."""
    if model.parameters_by_dtype:
        stored = sum(count * _STORED_BYTES.get(dtype, 1) for dtype, count in model.parameters_by_dtype.items())
        return stored / 1e9
    return 2 * (model.parameters or parameters) / 1e9
