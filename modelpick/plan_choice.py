"""Which instances can do what a plan asks, how long it takes there, and what it costs. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from modelpick.catalog.architecture import Architecture
from modelpick.catalog.model import Model
from modelpick.errors import EXIT_NO, ModelpickError, UsageError
from modelpick.licensing.verdict import Judgement
from modelpick.memory.estimate import MemoryEstimate, architecture_of, estimate
from modelpick.memory.fit import fits
from modelpick.offers import job
from modelpick.offers.compatibility import Finding, Rule, Subject, findings
from modelpick.offers.cost import HOURS_PER_MONTH, BillingRates, disk_gb
from modelpick.offers.price import Offer
from modelpick.offers.ranges import Range, exactly
from modelpick.offers.throughput import ServingEfficiency, Shape, TrainingEfficiency, shape_of
from modelpick.offers.timing import Calibration, ServingSpeed, Speed, serving_speed, training_speed
from modelpick.tokens import Tokens
from modelpick.workload import Workload

CANDIDATES = 5
DEFAULT_SERVING_HOURS = 8.0  # a working day, where no cap is given: serving has no end of its own
# What is assumed where no data file is given, so that a cost can be told at all; said in the plan.
ASSUMED_TOKENS = 1_000_000


class Refused(ModelpickError):
    """The plan cannot be made, and the answer is no: what stands against it, and the way out."""

    exit_code = EXIT_NO


@dataclass(frozen=True, slots=True)
class Caps:
    """What the user allows at most. None: not said. Raises UsageError for what is not a number above 0."""

    max_usd: float | None = None
    max_hours: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("max_usd", self.max_usd), ("max_hours", self.max_hours)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} is {value}", fix="give a number above 0", code=f"bad_{name}")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hyper-parameters. Sources: docs/data.md, "LoRA: published evidence" (defaults of LLaMA-Factory, torchtune, QLoRA,
    Unsloth; LoRA Without Regret: all linear layers, a learning rate ten times that of full fine-tuning)."""

    learning_rate: float
    epochs: float
    effective_batch: int
    accumulation: int
    lora_alpha: int | None
    scheduler: str = "cosine"
    warmup_share: float = 0.05

    def as_json(self) -> dict[str, Any]:
        """The names of the plan file."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def recipe_for(workload: Workload, parameters: int, epochs: float | None = None) -> Recipe:
    """Alpha twice the rank, 2e-4 (1e-4 above 13 B parameters; a tenth for full), effective batch 16, 2 epochs.

    Raises UsageError for epochs that are not a number above 0.
    """
    if epochs is not None and not (math.isfinite(epochs) and epochs > 0):
        raise UsageError(f"epochs is {epochs}", fix="give a number above 0", code="bad_epochs")
    rate = 2e-4 if parameters <= 13e9 else 1e-4
    accumulation = max(1, math.ceil(16 / workload.batch))
    return Recipe(
        learning_rate=rate if workload.is_lora else rate / 10,
        epochs=2.0 if epochs is None else float(epochs),
        effective_batch=accumulation * workload.batch,
        accumulation=accumulation,
        lora_alpha=2 * workload.lora_rank if workload.is_lora else None,
    )


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything a plan is made from. `finetune`, `serve`: what is to be done (one of them at least).

    `offers` are those of one region and market that the user's filters leave; `serving` and `training` give the
    calibrated constants of a stack and a method. `on_demand`: dollars an hour by type; a spot price may rise to them,
    so they are what a cap is reckoned with.
    """

    model: Model
    judgement: Judgement
    policy: Mapping[str, str]  # name, sha256
    region: str
    offers: Sequence[Offer]
    rates: BillingRates
    rules: Sequence[Rule]
    serving: Callable[[str, str], Calibration[ServingEfficiency]]
    training: Callable[[str, str], Calibration[TrainingEfficiency]]
    finetune: Workload | None = None
    serve: Workload | None = None
    tokens: Tokens | None = None
    epochs: float | None = None
    caps: Caps = field(default_factory=Caps)
    on_demand: Mapping[str, float] = field(default_factory=dict)

    @property
    def tasks(self) -> list[tuple[str, Workload]]:
        """What is to be done, in order."""
        both = (("finetune", self.finetune), ("serve", self.serve))
        return [(name, workload) for name, workload in both if workload is not None]


@dataclass(frozen=True, slots=True)
class Ask:
    """The inputs, and what follows from the model alone."""

    inputs: Inputs
    architecture: Architecture
    shape: Shape
    recipe: Recipe | None
    memory: Mapping[str, MemoryEstimate]
    weights_gb: float

    @property
    def result_gb(self) -> float:
        """What fine-tuning leaves: adapters as PEFT saves them (4 bytes a parameter), a full model in 16 bits."""
        memory = self.memory.get("finetune")
        if memory is None:
            return 0.0
        return memory.trainable_parameters * (2 if memory.workload.method == "full" else 4) / 1e9

    def findings(self, offer: Offer | None = None) -> list[Finding]:
        """What the table of what cannot work says on every task, on an instance or on any."""
        finetune = self.inputs.finetune
        experts = any(run.experts is not None for run in self.architecture.layers)
        told: list[Finding] = []
        for name, workload in self.inputs.tasks:
            adapter = name == "serve" and finetune is not None and finetune.is_lora
            kind, instance = self.architecture.kind, offer.instance if offer else None
            subject = Subject(self.architecture.model_type, workload, kind, experts, adapter, instance)
            told += findings(self.inputs.rules, subject)
        return list(dict.fromkeys(told))


def ask(inputs: Inputs) -> Ask:
    """Reads the model. Raises CannotTellError for an architecture that is not understood."""
    architecture = architecture_of(inputs.model)
    shape = shape_of(architecture)
    recipe = recipe_for(inputs.finetune, shape.parameters, inputs.epochs) if inputs.finetune else None
    memory = {
        name: estimate(architecture, replace(workload, measure="device"), inputs.model.parameters)
        for name, workload in inputs.tasks
    }
    return Ask(inputs, architecture, shape, recipe, memory, download_gb(inputs.model, shape.parameters))


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instance that holds everything asked of it, with its speed, time and cost."""

    offer: Offer
    headroom_gib: float  # of the task that needs most, at the upper end of its interval
    training: Speed | None
    serving: ServingSpeed | None
    time: job.JobTime | None
    job: job.JobCost | None
    hours: Range  # until everything asked is done; serving lasts until the limit
    usd_per_hour: float  # with disk and address
    usd: Range
    limit_hours: float
    limit_usd: float


def candidates(asked: Ask) -> list[Candidate]:
    """The instances that can do it within the caps, the cheapest for the whole of it first. Raises Refused."""
    able: list[Candidate] = []
    blocked: Finding | None = None
    reasons: list[tuple[float, str]] = []
    for offer in asked.inputs.offers:
        if offer.usd_per_hour is None:
            continue
        stop = next((one for one in asked.findings(offer) if one.level == "cannot"), None)
        held = [fits(one, offer.instance) for one in asked.memory.values()]
        if stop is not None:
            blocked = blocked or stop
        elif not all(held):
            reasons += [(one.free_gib, one.reason) for one in held if not one]
        else:
            able.append(_candidate(asked, offer, min(one.free_gib for one in held)))
    if not able:
        raise _nothing_fits(asked.inputs, reasons, blocked)
    able.sort(key=_preference)
    within = [one for one in able if one.hours.likely <= one.limit_hours * (1 + 1e-9)]
    if not within:
        raise _cap_too_small(asked.inputs.caps, able[0])
    return within[:CANDIDATES]


def _preference(one: Candidate) -> tuple[float, float, str]:
    """The cheapest job first; for serving, which fills any cap, the cheapest hour."""
    return (one.job.total.likely if one.job is not None else 0.0, one.usd_per_hour, one.offer.instance.name)


def _nothing_fits(inputs: Inputs, reasons: Sequence[tuple[float, str]], blocked: Finding | None) -> Refused:
    if reasons:
        return Refused(
            f"{inputs.model.id} fits no instance asked for: {max(reasons)[1]}",
            fix="use a smaller method (qlora, nf4), less context or batch, or --family any",
            code="does_not_fit",
        )
    if blocked is not None:
        return Refused(f"{inputs.model.id}: {blocked.why}", fix=blocked.way_out, code=blocked.code)
    return Refused(
        f"no price is known for the instances asked for in {inputs.region}",
        fix="ask AWS with `modelpick offers --live`, or choose another region",
        code="no_price",
    )


def _cap_too_small(caps: Caps, cheapest: Candidate) -> Refused:
    hours, usd = _up(cheapest.hours.high), _up(cheapest.usd.high)
    options = []
    if caps.max_hours is not None:
        options.append(f"--max-hours {hours:g}")
    if caps.max_usd is not None:
        options.append(f"--max-usd {usd:g}")
    return Refused(
        f"the caps stop it after {max(0.0, cheapest.limit_hours):.2f} h on {cheapest.offer.instance.name}, where it "
        f"likely takes {cheapest.hours.likely:.2f} h and ${cheapest.usd.likely:.2f}",
        fix=f"{' '.join(options)} covers it, what is uncertain included",
        code="cap_too_small",
    )


def _candidate(asked: Ask, offer: Offer, headroom_gib: float) -> Candidate:
    inputs, kind = asked.inputs, offer.instance
    training, time, cost = _job(asked, offer)
    starting = job.BOOT_MINUTES.times(1 / 60) + job.INSTALL_MINUTES.times(1 / 60)
    needed = time.total if time is not None else starting + job.transfer_hours(kind, asked.weights_gb)
    per_hour = hourly_usd(offer, inputs.rates, asked.weights_gb)
    once = cost.storage + cost.transfer if cost is not None else exactly(0.0)
    highest = max(offer.usd_per_hour or 0.0, inputs.on_demand.get(kind.name, 0.0))
    limit_hours, limit_usd = _limits(
        inputs, needed, hourly_usd(replace(offer, usd_per_hour=highest), inputs.rates, asked.weights_gb), once
    )
    serving, hours = None, needed
    if inputs.serve is not None:
        serving = serving_speed(
            asked.shape, kind, inputs.serving(inputs.serve.stack, inputs.serve.method), inputs.serve
        )
        if limit_hours > needed.likely:
            hours = Range(min(needed.low, limit_hours), limit_hours, max(needed.high, limit_hours))
            hours = exactly(limit_hours) if time is None else hours
    usd = cost.total if cost is not None and inputs.serve is None else hours.times(per_hour) + once
    return Candidate(
        offer, headroom_gib, training, serving, time, cost, hours, per_hour, usd, limit_hours, limit_usd
    )  # fmt: skip


def _job(asked: Ask, offer: Offer) -> tuple[Speed | None, job.JobTime | None, job.JobCost | None]:
    """Speed, time and cost of the fine-tuning, where there is one."""
    inputs, recipe, workload = asked.inputs, asked.recipe, asked.inputs.finetune
    if workload is None or recipe is None:
        return None, None, None
    by = inputs.training(workload.stack, workload.method)
    length = inputs.tokens.mean_length if inputs.tokens and not workload.packing else None
    speed = training_speed(
        asked.shape, offer.instance, by, workload, accumulation=recipe.accumulation, length=length
    )  # fmt: skip
    counted = inputs.tokens.count if inputs.tokens else exactly(float(ASSUMED_TOKENS))
    sizes = {"weights_gb": asked.weights_gb, "result_gb": asked.result_gb}
    spot = offer.market == "spot"
    time = job.job_time(offer.instance, speed, counted.times(recipe.epochs), spot=spot, **sizes)
    return speed, time, job.job_cost(offer, time, inputs.rates, **sizes)


def _limits(inputs: Inputs, needed: Range, per_hour: float, once: Range) -> tuple[float, float]:
    """Hours and dollars after which it is stopped: the money cap is the time limit, whichever comes first."""
    caps = inputs.caps
    if caps.max_hours is None and caps.max_usd is None:
        job_hours = float(math.ceil(needed.high)) if inputs.finetune is not None else 0.0
        hours = job_hours + (DEFAULT_SERVING_HOURS if inputs.serve is not None else 0.0)
    else:
        by_money = math.inf if caps.max_usd is None else (caps.max_usd - once.high) / per_hour
        hours = min(math.inf if caps.max_hours is None else caps.max_hours, by_money)
    return hours, caps.max_usd if caps.max_usd is not None else _up(hours * per_hour + once.high)


def hourly_usd(offer: Offer, rates: BillingRates, weights_gb: float) -> float:
    """Dollars an hour with the disk and the public address."""
    volume = disk_gb(weights_gb) * rates.gp3_usd_per_gb_month / HOURS_PER_MONTH
    return (offer.usd_per_hour or 0.0) + volume + rates.public_ipv4_usd_per_hour


_STORED_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "BF16": 2, "F16": 2, "I16": 2, "U16": 2}


def download_gb(model: Model, parameters: int) -> float:
    """What comes from the Hub: the headers' count by dtype where known, else two bytes a parameter."""
    if model.parameters_by_dtype:
        stored = sum(count * _STORED_BYTES.get(dtype, 1) for dtype, count in model.parameters_by_dtype.items())
        return stored / 1e9
    return 2 * (model.parameters or parameters) / 1e9


def _up(value: float) -> float:
    """Rounded up to two digits after the point."""
    return math.ceil(value * 100) / 100
