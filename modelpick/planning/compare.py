"""Instances side by side for one model and one workload: speed, time, cost, and what another choice changes. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelpick.catalog.model import Model
from modelpick.memory.estimate import MemoryEstimate
from modelpick.offers.compatibility import Rule
from modelpick.offers.price import BillingRates, Offer
from modelpick.planning.cost import MonthCost, serving_month
from modelpick.planning.data_tokens import Tokens
from modelpick.planning.fit import fits
from modelpick.planning.job import JobCost, JobTime, job_cost, job_time
from modelpick.planning.placement import Ask
from modelpick.planning.plan_tuning import Tuning
from modelpick.planning.tokens_price import BreakEven, TokenPrices, break_even, token_prices
from modelpick.ranges import Range, exactly
from modelpick.speed.roofline import ServingEfficiency, TrainingEfficiency
from modelpick.speed.speed import Calibration, ServingSpeed, Speed, serving_speed, training_speed
from modelpick.workload import Workload


@dataclass(frozen=True, slots=True)
class Question:
    """What is compared. `offers` are on-demand ones; `spot` the same types' spot samples, by name.

    `tokens` (of all epochs together) is for fine-tuning; `duty_cycle` the share of the month a server is on,
    `utilisation` the share of its tokens that is used while it is on.
    """

    model: Model
    workload: Workload
    offers: Sequence[Offer]
    rates: BillingRates
    rules: Sequence[Rule]
    serving: Callable[[str, str], Calibration[ServingEfficiency]]
    training: Callable[[str, str], Calibration[TrainingEfficiency]]
    spot: dict[str, Offer] = field(default_factory=dict)
    tokens: Range | None = None
    data: Tokens | None = None
    duty_cycle: float = 1.0
    utilisation: float = 1.0
    against_usd_per_mtok: float | None = None
    all_sizes: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One instance that holds the workload. Costs are None where its price is not known."""

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

    @property
    def usd(self) -> float | None:
        """What the row is sorted by: the job's likely dollars, or the month's."""
        if self.job is not None:
            return self.job.total.likely
        return None if self.month is None else self.month.total_usd

    def as_json(self) -> dict[str, Any]:
        """One element of `rows` in `cost --json`."""
        answer: dict[str, Any] = {
            "offer": self.offer.as_json(),
            "headroom_gib": self.headroom_gib,
            "finetune": self.tuning.as_json() if self.tuning else None,
            "speed": self.serving.as_json() if self.serving else self.speed.as_json(),
        }
        parts: dict[str, Any] = {"month": self.month, "usd_per_mtok": self.prices, "break_even": self.break_even}
        parts |= {"time": self.time, "job": self.job}
        answer |= {name: part.as_json() if part is not None else None for name, part in parts.items()}
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

    def as_json(self) -> dict[str, Any]:
        """One element of `changes` in `cost --json`."""
        return {
            "kind": self.kind,
            "instance_type": self.instance_type,
            "speed_factor": self.speed_factor,
            "cost_factor": self.cost_factor,
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rows, the cheapest first; those without a price last. `left_out`: type -> why it is not there.

    `nearest_miss` is why the instance that came closest does not hold it, where none does.
    """

    model: str
    rows: tuple[Row, ...]
    memory: MemoryEstimate
    left_out: dict[str, str]
    assumptions: tuple[str, ...]
    nearest_miss: str | None = None

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


def compare(question: Question, asked: Ask) -> Comparison:
    """Every offer that holds the workload, with what it takes there. `asked` is what the model alone tells."""
    rows: list[Row] = []
    left_out: dict[str, str] = {}
    missed: list[tuple[float, str]] = []
    for offer in question.offers:
        name = offer.instance.name
        setup = asked.on(offer.instance)
        memory = next(iter(setup.memory.values()))
        stop = next((one for one in asked.findings(offer) if one.level == "cannot"), None)
        held = fits(memory, offer.instance)
        if stop is not None:
            left_out[name] = f"{stop.why}; {stop.way_out}"
        elif not held:
            left_out[name] = held.reason
            missed.append((held.free_gib, held.reason))
        elif setup.tuning is not None:
            rows.append(_training(question, asked, offer, setup.tuning, held.free_gib))
        else:
            rows.append(_serving(question, asked, offer, memory, held.free_gib))
    rows.sort(key=lambda row: (row.usd is None, row.usd or 0.0, row.offer.instance.name))
    if not question.all_sizes:
        rows = _one_size_each(rows, left_out)
    miss = max(missed)[1] if missed else next(iter(left_out.values()), None)
    told = _assumptions(question, rows)
    shown = rows[0].memory if rows else asked.least
    return Comparison(question.model.id, tuple(rows), shown, left_out, told, None if rows else miss)


def _one_size_each(rows: Sequence[Row], left_out: dict[str, str]) -> list[Row]:
    """The cheapest size of each GPU: larger ones of the same GPU are no faster at this."""
    seen: dict[tuple[str, float, str], str] = {}
    kept = []
    for row in rows:
        kind = row.offer.instance
        key = (kind.gpu.name, kind.gpu_fraction, row.offer.region)
        if key in seen:
            left_out[kind.name] = f"the same GPU as {seen[key]}, which costs less"
        else:
            seen[key] = kind.name
            kept.append(row)
    return kept


def _serving(question: Question, asked: Ask, offer: Offer, memory: MemoryEstimate, free_gib: float) -> Row:
    workload = question.workload
    by = question.serving(workload.stack, workload.method)
    speed = serving_speed(asked.shape, offer.instance, by, workload)
    month = serving_month(offer, question.rates, duty_cycle=question.duty_cycle, weights_gb=asked.weights_gb)
    prices = token_prices(offer, speed, workload, question.utilisation)
    against, even = question.against_usd_per_mtok, None
    if against is not None and month is not None:
        even = break_even(against, month, speed, workload)
    spot = question.spot.get(offer.instance.name)
    spot = spot if spot is not None and spot.usd_per_hour is not None else None
    return Row(offer, free_gib, memory, speed.generated, None, speed, month, prices, even, spot=spot)


def _training(question: Question, asked: Ask, offer: Offer, tuning: Tuning, free_gib: float) -> Row:
    workload = tuning.workload
    by = question.training(workload.stack, workload.method)
    length = question.data.mean_length if question.data and not workload.packing else None
    speed = training_speed(
        asked.shape, offer.instance, by, workload,
        gradient_accumulation=tuning.recipe.gradient_accumulation, length=length,
    )  # fmt: skip
    tokens = question.tokens if question.tokens is not None else exactly(1e6)
    weights_gb, result_gb = asked.weights_gb, asked.result_gb
    time = job_time(offer.instance, speed, tokens, weights_gb=weights_gb, result_gb=result_gb)
    cost = job_cost(offer, time, question.rates, weights_gb=weights_gb, result_gb=result_gb)
    spot = question.spot.get(offer.instance.name)
    if spot is None or spot.usd_per_hour is None:
        return Row(offer, free_gib, tuning.memory, speed, tuning, time=time, job=cost)
    longer = job_time(offer.instance, speed, tokens, weights_gb=weights_gb, result_gb=result_gb, spot=True)
    spot_cost = job_cost(spot, longer, question.rates, weights_gb=weights_gb, result_gb=result_gb)
    return Row(
        offer, free_gib, tuning.memory, speed, tuning,
        time=time, job=cost, spot=spot, spot_time=longer, spot_job=spot_cost,
    )  # fmt: skip


def _assumptions(question: Question, rows: Sequence[Row]) -> tuple[str, ...]:
    workload = question.workload
    serves = workload.task == "serve"
    by = (question.serving if serves else question.training)(workload.stack, workload.method)
    told = [by.standing(*dict.fromkeys(row.offer.instance.gpu.name for row in rows))]
    told.append(f"disk, address and traffic at {question.rates.region} prices of {question.rates.as_of}")
    if serves:
        told.append(f"{workload.batch} sequences at a time, {workload.context} prompt tokens each")
        told.append("speeds and prices a million tokens: 80 % intervals; spot prices: old samples")
    else:
        told.append("time and cost: 80 % intervals; low and high ends of the parts add up; spot prices: old samples")
        if question.data is not None:
            told += question.data.assumptions
    return tuple(told)
