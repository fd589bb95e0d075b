"""Instances side by side for one model and one workload: speed, time, cost, and what another choice changes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from modelpick.memory.estimate import MemoryEstimate
from modelpick.offers.price import Offer
from modelpick.planning.choose import Tuning
from modelpick.planning.cost import BreakEven, MonthCost, TokenPrices, break_even, serving_month, token_prices
from modelpick.planning.engines import ONE_AFTER_ANOTHER, answered_at_once, speed_as_served
from modelpick.planning.job import JobCost, JobTime
from modelpick.planning.load import CarriedLoad, LoadLimits, carried_load
from modelpick.planning.placement import Placement, Placements, job_on
from modelpick.planning.rejection import Cause, Rejection
from modelpick.planning.request import DEFAULT_DATA_TEXT, PlanRequest, SearchFacts
from modelpick.speed.speed import Calibration, ServingSpeed, Speed
from modelpick.workload import Workload


@dataclass(frozen=True, slots=True)
class CostOptions:
    """How a comparison is computed.

    `spot` holds the spot samples of the same types, by name; `duty_cycle` is the share of the month a server is on,
    `utilisation` the share of its tokens that is used while it is on. `all_sizes`: also larger sizes of a GPU.
    `limits`: how fast each request must be answered, and how many arrive.
    """

    spot: Mapping[str, Offer] = field(default_factory=dict)
    duty_cycle: float = 1.0
    utilisation: float = 1.0
    against_usd_per_mtok: float | None = None
    all_sizes: bool = False
    limits: LoadLimits = field(default_factory=LoadLimits)


@dataclass(frozen=True, slots=True)
class Row:
    """One instance that holds the workload. Costs are None where its price is not known.

    `load`: how many of it the load needs, where limits were asked for.
    """

    offer: Offer
    headroom_gib: float
    memory: MemoryEstimate
    speed: Speed  # generated tokens a second of all sequences, or trained ones
    tuning: Tuning | None = None
    serving: ServingSpeed | None = None
    month: MonthCost | None = None
    prices: TokenPrices | None = None
    break_even: BreakEven | None = None
    time: JobTime | None = None
    job: JobCost | None = None
    spot: Offer | None = None
    spot_time: JobTime | None = None
    spot_job: JobCost | None = None
    load: CarriedLoad | None = None
    setup: Mapping[str, object] = field(default_factory=dict)  # as in `recommend --json`

    @property
    def instances(self) -> int:
        """How many of it are needed."""
        return self.load.servers or 1 if self.load is not None else 1

    @property
    def usd(self) -> float | None:
        """What the row is sorted by: the job's likely dollars, or the month's of all instances that are needed."""
        if self.job is not None:
            return self.job.total.likely
        return None if self.month is None else self.month.total_usd * self.instances

    def as_json(self) -> dict[str, object]:
        """One element of `rows` in `cost --json`."""
        answer: dict[str, Any] = {
            "offer": self.offer.as_json(),
            "headroom_gib": self.headroom_gib,
            "setup": dict(self.setup),
            "finetune": self.tuning.as_json() if self.tuning else None,
            "speed": self.serving.as_json() if self.serving else self.speed.as_json(),
        }
        parts: dict[str, Any] = {"month": self.month, "usd_per_mtok": self.prices, "break_even": self.break_even}
        parts |= {"time": self.time, "job": self.job}
        answer |= {name: part.as_json() if part is not None else None for name, part in parts.items()}
        if self.load is not None:
            answer["load"] = {**self.load.as_json(), "usd_per_month": self.usd}
        answer["spot"] = None
        if self.spot is not None:
            answer["spot"] = {
                "offer": self.spot.as_json(),
                "time": self.spot_time.as_json() if self.spot_time else None,
                "job": self.spot_job.as_json() if self.spot_job else None,
            }
        return answer


@dataclass(frozen=True, slots=True)
class Change:
    """What another row changes against the first: factors of speed and of cost."""

    kind: str  # cheaper, faster
    instance_type: str
    speed_factor: float
    cost_factor: float

    @property
    def text(self) -> str:
        """The sentence for the screen."""
        speed = (
            f"{self.speed_factor:.1f}x the speed" if self.speed_factor >= 1 else f"{self.speed_factor:.2f}x the speed"
        )
        return f"{self.instance_type}: {speed} for {self.cost_factor:.2f}x the cost"

    def as_json(self) -> dict[str, object]:
        """One element of `changes` in `cost --json`."""
        return {
            "kind": self.kind,
            "instance_type": self.instance_type,
            "speed_factor": self.speed_factor,
            "cost_factor": self.cost_factor,
            "text": self.text,
        }


Unit = Literal["a month", "for the job", "per million output tokens"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """Another choice, in the dollars that the first row is compared in. `flags`: what to add to the command."""

    kind: Literal["weights", "gpu", "batch"]
    flags: str
    instance_type: str
    setup: str
    usd: float
    instead_of_usd: float
    unit: Unit
    condition: str = ""

    @property
    def text(self) -> str:
        """The sentence for the screen."""
        figures = f"${_usd(self.usd)} {self.unit} instead of ${_usd(self.instead_of_usd)}"
        return f"{self.setup} on {self.instance_type}: {figures}{self.condition} ({self.flags})"

    def as_json(self) -> dict[str, Any]:
        """One element of `proposals` in `cost --json`."""
        return {
            "kind": self.kind,
            "flags": self.flags,
            "instance_type": self.instance_type,
            "usd": self.usd,
            "instead_of_usd": self.instead_of_usd,
            "unit": self.unit,
            "text": self.text,
        }


def _usd(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.2f}"


@dataclass(frozen=True, slots=True)
class InstanceComparison:
    """The rows, the cheapest first; those without a price last. `left_out`: type -> why it is not there."""

    model: str
    rows: tuple[Row, ...]
    memory: MemoryEstimate
    left_out: dict[str, str]
    assumptions: tuple[str, ...]
    causes: Mapping[str, Cause] = field(default_factory=dict)  # type -> why it is left out
    refusal: Rejection | None = None  # why nothing can be planned from it: no row has a price, or it is hypothetical
    unmeasured: str | None = None  # what the speeds rest on, where that was never measured
    proposals: tuple[Proposal, ...] = ()  # what would be much cheaper
    job: str = ""  # what is priced, in words
    rough: str | None = None  # how far off the figures may be, where they rest on what was never measured: said first

    @property
    def workload(self) -> Workload:
        """What is compared, with the engine that will run it."""
        return self.memory.workload

    def changes(self, chosen: int = 0) -> list[Change]:
        """What the next cheaper and the next faster instance change against the row `chosen`."""
        if not self.rows or self.rows[chosen].usd is None:
            return []
        here = self.rows[chosen]
        priced = [row for row in self.rows if row.usd is not None and row is not here]
        cheaper = [row for row in priced if (row.usd or 0) < (here.usd or 0)]
        faster = [row for row in priced if row.speed.tokens_per_s > here.speed.tokens_per_s * _WORTH_NAMING]
        listed = []
        if cheaper:
            listed.append(_change("cheaper", here, max(cheaper, key=lambda row: row.usd or 0)))
        if faster:
            nearest = min(row.usd or 0 for row in faster)
            best = max((row for row in faster if row.usd == nearest), key=lambda row: row.speed.tokens_per_s)
            listed.append(_change("faster", here, best))
        return listed


_WORTH_NAMING = 1.1  # a tenth: less is lost in the intervals


def _change(kind: str, here: Row, there: Row) -> Change:
    return Change(
        kind,
        there.offer.instance.name,
        there.speed.tokens_per_s / here.speed.tokens_per_s,
        (there.usd or 0) / (here.usd or 1),
    )


def compare(found: Placements, request: PlanRequest, options: CostOptions, facts: SearchFacts) -> InstanceComparison:
    """Every placement with what it takes there, in the search's own order; those without a price last."""
    make = _serving if request.serve is not None else _training
    rows = [make(row, request, options, facts) for row in (*found.rows, *found.unpriced)]
    left_out: dict[str, str] = {}
    causes: dict[str, Cause] = {}
    for rejection in found.rejected:
        assert rejection.offer is not None
        name, table_speaks = rejection.offer.instance.name, rejection.free_gib is None
        left_out[name] = f"{rejection.reason}; {rejection.remedy}" if table_speaks else rejection.reason
        causes[name] = rejection.cause
    if not options.all_sizes:
        rows = _one_size_each(rows, left_out)
    refusal = found.refusal()
    if options.limits.asked and request.serve is not None:
        rows, refusal = _within_limits(rows, left_out, refusal)
    shown = rows[0].memory if rows else found.setup.least
    efficiency = _efficiency(shown.workload, facts)
    gpus = tuple(dict.fromkeys(row.offer.instance.gpu.name for row in rows))
    standing = efficiency.standing(*gpus)
    assumptions = (standing, *_assumptions(shown.workload, request, facts))
    unmeasured = standing if efficiency.rough(*gpus) else None
    return InstanceComparison(
        request.model.id, tuple(rows), shown, left_out, assumptions, causes, refusal, unmeasured,
        job=_job(shown.workload, request, rows), rough=_rough(efficiency, gpus, rows),
    )  # fmt: skip


def _job(workload: Workload, request: PlanRequest, rows: Sequence[Row]) -> str:
    """What is priced: the load of a server, or the data of a fine-tuning."""
    if workload.task == "serve":
        many = "one request" if workload.batch == 1 else f"{workload.batch:,} requests"
        at_once = f"{many} at once"
        if (arriving := next((row.load for row in rows if row.load is not None), None)) is not None:
            at_once = arriving.asked(workload.batch)
        answer = f" and {workload.generate:,} new" if workload.generate else ""
        return f"to serve {at_once}, {workload.context:,} prompt{answer} tokens each"
    passes = next((row.tuning.recipe.epochs for row in rows if row.tuning is not None), None)
    tokens = request.tokens
    data = DEFAULT_DATA_TEXT if tokens is None else f"{tokens.count.likely:,.0f} tokens of {tokens.name}"
    counts = " (--data counts yours)" if tokens is None else ""
    return f"to fine-tune on {data}" + ("" if passes is None else f", {passes:g} epochs") + counts


def _rough(efficiency: Calibration[Any], gpus: Sequence[str], rows: Sequence[Row]) -> str | None:
    """A sentence for who pays: what was never measured, and how far off that may put the first row."""
    if not rows or not efficiency.rough(*gpus):
        return None
    computed = [gpu for gpu in gpus if gpu not in efficiency.gpus]
    why = list(efficiency.doubts)
    if computed:
        why.append(f"how fast this is on {_listed(computed)} is computed, nobody measured it")
    elif not why:
        why.append("how fast this is follows from few measurements")
    factor = rows[0].speed.tokens_per_s / rows[0].speed.low
    return f"rough: {'; '.join(why)}; costs may be up to {factor:.1f} times as high"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _efficiency(workload: Workload, facts: SearchFacts) -> Calibration[Any]:
    if workload.task == "serve":
        return facts.serving(workload.stack, workload.method, workload.stack_version)
    return facts.training(workload.stack, workload.method)


def _within_limits(
    rows: Sequence[Row], left_out: dict[str, str], refusal: Rejection | None
) -> tuple[list[Row], Rejection | None]:
    """The rows that keep the limits, the cheapest for the whole load first; why the others are left out."""
    kept = [row for row in rows if row.load is not None and row.load.servers is not None]
    for row in rows:
        if row not in kept and row.load is not None:
            left_out[row.offer.instance.name] = row.load.text
    kept.sort(key=lambda row: (row.usd is None, row.usd or 0.0))
    if rows and not kept:
        refusal = Rejection(
            "limits", "limits", "no instance type keeps the limits with even one request at a time",
            "allow a longer --max-first-token-s or fewer --min-tokens-per-second",
        )  # fmt: skip
    return kept, refusal


def _one_size_each(rows: Sequence[Row], left_out: dict[str, str]) -> list[Row]:
    """The cheapest size of each GPU: larger ones of the same GPU are not faster at this."""
    seen: dict[tuple[str, float, str], str] = {}
    kept = []
    for row in rows:
        kind = row.offer.instance
        key = (kind.gpu.name, kind.gpu_fraction, row.offer.region)
        if key in seen:
            why = "and its price is not known" if row.offer.usd_per_hour is None else "which costs less"
            left_out[kind.name] = f"the same GPU as {seen[key]}, {why}"
        else:
            seen[key] = kind.name
            kept.append(row)
    return kept


def _serving(placement: Placement, request: PlanRequest, options: CostOptions, facts: SearchFacts) -> Row:
    offer, setup, memory = placement.offer, placement.setup, placement.memory
    workload = memory.workload
    efficiency = _efficiency(workload, facts)
    speed = speed_as_served(setup.shape, offer.instance, efficiency, workload)
    month = serving_month(offer, facts.rates, duty_cycle=options.duty_cycle, weights_gb=setup.weights_gb)
    prices = token_prices(offer, speed, workload, options.utilisation)
    against, even = options.against_usd_per_mtok, None
    if against is not None and month is not None:
        even = break_even(against, month, speed, workload)
    spot = options.spot.get(offer.instance.name)
    spot = spot if spot is not None and spot.usd_per_hour is not None else None
    load = None
    if options.limits.asked:
        load = carried_load(setup.shape, offer.instance, efficiency, workload, options.limits)
    return Row(
        offer, placement.headroom_gib, memory, speed.generated,
        serving=speed, month=month, prices=prices, break_even=even, spot=spot, load=load,
        setup=placement.setup_as_json(),
    )  # fmt: skip


def _training(placement: Placement, request: PlanRequest, options: CostOptions, facts: SearchFacts) -> Row:
    offer, setup, speed, tuning = placement.offer, placement.setup, placement.training, placement.tuning
    assert speed is not None
    assert tuning is not None
    row = Row(
        offer, placement.headroom_gib, tuning.memory, speed, tuning, time=placement.time, job=placement.job,
        setup=placement.setup_as_json(),
    )  # fmt: skip
    spot = options.spot.get(offer.instance.name)
    if spot is None or spot.usd_per_hour is None:
        return row
    time, cost = job_on(spot, setup, tuning, speed, request, facts)
    return replace(row, spot=spot, spot_time=time, spot_job=cost)


def _assumptions(workload: Workload, request: PlanRequest, facts: SearchFacts) -> tuple[str, ...]:
    serves = workload.task == "serve"
    assumptions = [f"disk, address and traffic at {facts.rates.region} prices of {facts.rates.as_of}"]
    if serves:
        if answered_at_once(workload) < workload.batch:
            assumptions.append(ONE_AFTER_ANOTHER)
        assumptions.append("speeds and prices a million tokens: 80 % intervals; spot prices: old samples")
    else:
        assumptions.append(
            "time and cost: 80 % intervals; low and high ends of the parts add up; spot prices: old samples"
        )
        if request.tokens is not None:
            assumptions += request.tokens.assumptions
    return tuple(assumptions)
