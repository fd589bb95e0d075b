"""Which instances can do what a plan asks, how long it takes there, and what it costs. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from modelpick.catalog.architecture import Architecture
from modelpick.catalog.model import Model
from modelpick.errors import EXIT_NO, ModelpickError, UsageError
from modelpick.licensing.verdict import Judgement
from modelpick.memory.estimate import MemoryEstimate, architecture_of
from modelpick.offers.compatibility import Finding, Rule, Subject, findings
from modelpick.offers.instance import InstanceType
from modelpick.offers.price import BillingRates, Offer
from modelpick.planning import job, plan_tuning
from modelpick.planning.cost import HOURS_PER_MONTH, disk_gb
from modelpick.planning.data_tokens import Tokens
from modelpick.planning.fit import fits, on_device
from modelpick.planning.plan_tuning import Tuning
from modelpick.ranges import Range, exactly
from modelpick.speed.roofline import ServingEfficiency, SpeedShape, TrainingEfficiency, shape_of
from modelpick.speed.speed import Calibration, ServingSpeed, Speed, serving_speed, training_speed
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
class Inputs:
    """Everything a plan is made from. `finetune`, `serve`: what is to be done (one of them at least).

    `offers` are those of one region and market that the user's filters leave; `serving` and `training` give the
    calibrated constants of a stack and a method. `left_open` are the names of a fine-tuning's workload that nobody
    said: they are chosen for each GPU (plan_tuning.CHOSEN). `on_demand`: dollars an hour by type; a spot price may
    rise to them, so they are what a cap is reckoned with.
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
    left_open: frozenset[str] = frozenset()
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
class Setup:
    """What is asked, as it would be on one kind of GPU."""

    tuning: Tuning | None
    serving: MemoryEstimate | None

    @property
    def memory(self) -> dict[str, MemoryEstimate]:
        """The estimate of each task, in order."""
        both = (("finetune", self.tuning.memory if self.tuning else None), ("serve", self.serving))
        return {name: one for name, one in both if one is not None}


@dataclass(frozen=True, slots=True)
class Ask:
    """The inputs, and what follows from the model alone."""

    inputs: Inputs
    architecture: Architecture
    shape: SpeedShape
    tunings: tuple[Tuning, ...]  # the ways to fine-tune, in the order they are tried; none where nothing is tuned
    serving: MemoryEstimate | None
    weights_gb: float

    def on(self, instance: InstanceType) -> Setup:
        """Everything as it would be on `instance`."""
        return Setup(plan_tuning.on(self.tunings, instance) if self.tunings else None, self.serving)

    @property
    def least(self) -> MemoryEstimate:
        """What the first task needs at the least."""
        every = [one.memory for one in self.tunings] or [one for one in (self.serving,) if one is not None]
        return min(every, key=lambda one: one.high)

    @property
    def result_gb(self) -> float:
        """What fine-tuning leaves: adapters as PEFT saves them (4 bytes a parameter), a full model in 16 bits."""
        if not self.tunings:
            return 0.0
        memory = self.tunings[0].memory
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
    count = inputs.model.parameters
    tunings: tuple[Tuning, ...] = ()
    if inputs.finetune is not None:
        rows = inputs.tokens.rows if inputs.tokens else None
        tunings = plan_tuning.ways(
            architecture, inputs.finetune, count, left_open=inputs.left_open, rows=rows, epochs=inputs.epochs
        )
    serving = on_device(architecture, inputs.serve, count) if inputs.serve is not None else None
    return Ask(inputs, architecture, shape, tunings, serving, download_gb(inputs.model, shape.parameters))


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instance that holds everything asked of it, with its speed, time and cost."""

    offer: Offer
    setup: Setup
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
        setup = asked.on(offer.instance)
        held = [fits(one, offer.instance) for one in setup.memory.values()]
        if stop is not None:
            blocked = blocked or stop
        elif not all(held):
            reasons += [(one.free_gib, one.reason) for one in held if not one]
        else:
            able.append(_candidate(asked, offer, setup, min(one.free_gib for one in held)))
    if not able:
        raise _nothing_fits(asked.inputs, reasons, blocked)
    able.sort(key=_preference)
    within = [one for one in able if one.hours.likely <= one.limit_hours * (1 + 1e-9)]
    if not within:
        raise _cap_too_small(asked.inputs.caps, able[0])
    # The next ones are for want of capacity, within the same limit: a slower one would be stopped before it is done.
    limit = within[0].limit_hours
    return [one for one in within if one.time is None or one.time.total.likely <= limit][:CANDIDATES]


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


def _candidate(asked: Ask, offer: Offer, setup: Setup, headroom_gib: float) -> Candidate:
    inputs, kind = asked.inputs, offer.instance
    training, time, cost = _job(asked, offer, setup.tuning)
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
            hours = Range(limit_hours, limit_hours, max(needed.high, limit_hours))
    usd = cost.total if cost is not None and inputs.serve is None else hours.times(per_hour) + once
    return Candidate(
        offer, setup, headroom_gib, training, serving, time, cost, hours, per_hour, usd, limit_hours, limit_usd
    )  # fmt: skip


def _job(
    asked: Ask, offer: Offer, tuning: Tuning | None
) -> tuple[Speed | None, job.JobTime | None, job.JobCost | None]:
    """Speed, time and cost of the fine-tuning, where there is one."""
    inputs = asked.inputs
    if tuning is None:
        return None, None, None
    workload, recipe = tuning.workload, tuning.recipe
    by = inputs.training(workload.stack, workload.method)
    length = inputs.tokens.mean_length if inputs.tokens and not workload.packing else None
    speed = training_speed(
        asked.shape, offer.instance, by, workload, gradient_accumulation=recipe.gradient_accumulation, length=length
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
