"""Where a model can run: the one search behind recommend, estimate, cost, plan and `up`. Pure.

`place` checks, in this order and nowhere else: the model's context limit, the compatibility table (engine,
host, GPU), the number format, memory, the policy on a copy, the limits under load, whether AWS rents the type there,
the price, the cap. What is left is a list of placements, the cheapest first, each of the least quantized weights that
do on its offer; each rejected offer has its cause. A model may fit an instance whose price is unknown: the result
contains both facts.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from modelpick.errors import EXIT_CANNOT_TELL
from modelpick.memory.estimate import MemoryEstimate
from modelpick.memory.measured import MeasuredRuns, taught
from modelpick.offers.compatibility import speaks_on
from modelpick.offers.instance import Families, InstanceType
from modelpick.offers.price import Offer
from modelpick.planning.choose import Tuning
from modelpick.planning.engines import EngineName, speed_as_served
from modelpick.planning.fit import Fit, fits, lacking_dtype, too_large
from modelpick.planning.job import JobCost, JobTime, job_cost, job_time
from modelpick.planning.rejection import Cause, Rejection
from modelpick.planning.request import Caps, PlanRequest, SearchFacts
from modelpick.planning.setups import Setup, WeightsChoice, choices_for, setups_for
from modelpick.speed.speed import ServingSpeed, Speed, training_speed
from modelpick.workload import Sharding

# How far an offer came before it was rejected: the one that came furthest gives the reason.
_PROGRESS: tuple[Cause, ...] = (
    "checkpoint", "engine", "gpus", "dtype", "memory", "limits", "not_offered", "price_unknown", "too_expensive", "cap"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Placement:
    """A set-up on an offer that fits it: engine, weights, GPUs and sharding by `workloads`, memory, speed and cost.

    `headroom_gib` is of the task that needs most, at the upper end of its interval. Time and cost are a fine-tuning's.
    """

    offer: Offer
    setup: Setup
    tuning: Tuning | None
    serving: MemoryEstimate | None
    headroom_gib: float
    training: Speed | None = None
    time: JobTime | None = None
    job: JobCost | None = None

    @property
    def engine(self) -> EngineName | None:
        """The server that is started; None where none is."""
        return self.setup.engine

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

    def setup_as_json(self) -> dict[str, object]:
        """The `setup` object of `recommend --json`: `repository` is the one whose weights are loaded."""
        workload = self.memory.workload
        return {
            "engine": self.engine or workload.stack,
            "method": workload.method,
            "dtype": workload.dtype,
            "repository": self.setup.model.id,
            "gpus": workload.gpus,
            "sharding": workload.sharding,
        }


@dataclass(frozen=True, slots=True)
class Placements:
    """Where a model has room: `rows`, the cheapest first; `unpriced`, the smallest first, whose price is unknown.

    `setup` is that of the first of them; where there is none, the one that was tried first.
    """

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
            rejected.append(price_unknown(self.unpriced[0]))
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

    A Rejection is about the model itself (its context, no engine that serves it) whatever the offer. On each offer the
    weights are the least quantized that do (weights.loadable). An engine that answers one request after another is
    taken where none that answers several has a place, and for several requests only where that would not be a matter
    of price. `cheapest_only`: stop at the first offer that a server fits, for the search over a whole catalog.
    `hypothetical`: say what more tokens than the model takes would need, and a checkpoint that its repository does not
    hold. The caps on a whole job are asked by caps.within_caps.

    Raises CannotTellError for an architecture that is not understood, UsageError for settings a run cannot have.
    """
    listed = sorted(offers, key=_price)
    without_bf16 = any(not offer.instance.gpu.bf16 for offer in listed)
    owned = any(offer.market == "own" for offer in listed)
    choices = choices_for(request, facts, hypothetical, without_bf16=without_bf16, owned=owned)
    first = _first(choices, request)
    if isinstance(first, Rejection):
        return first
    several = request.serve is not None and request.serve.batch > 1
    results = []
    for one_at_a_time in (False, True):
        search = _Search(request, choices, one_at_a_time, caps, facts)
        found = search.over(listed, first, cheapest_only)
        if found is None:
            continue
        if found.rows or found.unpriced:
            return found
        results.append(found)
        if several and any(rejection.cause == "too_expensive" for rejection in found.rejected):
            break
    return results[0]


def _first(choices: Sequence[WeightsChoice], request: PlanRequest) -> Setup | Rejection:
    """The set-up to name where none has a place, or why there is none whatever the offer: by the model's own weights,
    the reason of its context before others."""
    refusals = []
    for choice in choices:
        setups = choice.setups
        if not isinstance(setups, Rejection):
            return setups[0]
        if setups.cause == "context" and not choice.copied:
            return setups
        refusals.append(setups)
    if refusals:
        return refusals[0]
    return Rejection(
        "checkpoint", "no_such_weights", f"it has no weights of {request.bits} bits, and none can be made of it",
        "name no number of bits",
    )  # fmt: skip


def settle(request: PlanRequest, offers: Iterable[Offer], facts: SearchFacts) -> Setup | Rejection:
    """The set-up that `place` would take over `offers`, without pricing anything: what an estimate is made for.

    Whatever the tokens asked for; raises as `place` does.
    """
    setups = setups_for(request, facts, hypothetical=True)
    if isinstance(setups, Rejection) or len(setups) == 1:
        return setups if isinstance(setups, Rejection) else setups[0]
    largest_first = sorted(offers, key=lambda offer: -offer.instance.usable_memory_gib)
    measured = facts.measured()
    for setup in setups:
        if any(not isinstance(_judge(setup, offer, measured), Rejection) for offer in largest_first):
            return setup
    return setups[0]


def offers_for(offers: Iterable[Offer], families: Families, instance: str | None, gpus: int) -> list[Offer]:
    """The offers that the filters leave: one type, or those of the families with exactly the GPUs asked for."""
    if instance is not None:
        return [offer for offer in offers if offer.instance.name == instance]
    return [
        offer for offer in offers if families.admit(offer.instance) and offer.instance.gpu_count == gpus
    ]  # fmt: skip


@dataclass(frozen=True)
class _Search:
    """The choices of one request, of engines that answer several requests at once or of the others, over offers."""

    request: PlanRequest
    choices: Sequence[WeightsChoice]
    one_at_a_time: bool
    caps: Caps
    facts: SearchFacts

    def over(self, offers: Sequence[Offer], first: Setup, cheapest_only: bool) -> Placements | None:
        """Every offer with what can be put there, or for `cheapest_only` the first; None where there is nothing to try.

        Instances with the same GPU and host are judged once.
        """
        if cheapest_only and self.request.finetune is None:
            found = self._over(offers, first, cheapest_only=True, reasons=False)
            if found is None or found.rows or found.unpriced:
                return found
        return self._over(offers, first, cheapest_only=cheapest_only, reasons=True)

    def _over(self, offers: Sequence[Offer], first: Setup, *, cheapest_only: bool, reasons: bool) -> Placements | None:
        measured = self.facts.measured()
        judged: dict[tuple[object, ...], Rejection | Placement | None] = {}
        rows: list[Placement] = []
        unpriced: list[Placement] = []
        rejected: list[Rejection] = []
        for offer in offers:
            kind = offer.instance
            key = (kind.gpu.name, kind.usable_memory_gib, kind.gpu_count, kind.cpu)
            seen = key in judged
            if not seen:
                judged[key] = self._on(offer, measured, reasons=reasons)
            outcome = judged[key]
            if outcome is None:
                return None
            if isinstance(outcome, Rejection):
                if reasons and (not seen or not cheapest_only):
                    rejected.append(replace(outcome, offer=offer))
                continue
            rejection = self._priced(replace(outcome, offer=offer), rows, unpriced)
            if rejection is not None:
                rejected.append(rejection)
            settled = rejection is None or offer.usd_per_hour is not None  # what follows costs more, or nobody knows
            if cheapest_only and self.request.finetune is None and settled:
                break
        rows.sort(key=preference)
        taken = next(iter((*rows, *unpriced)), None)
        return Placements(taken.setup if taken else first, tuple(rows), tuple(unpriced), tuple(rejected))

    def _priced(self, row: Placement, rows: list[Placement], unpriced: list[Placement]) -> Rejection | None:
        """Puts what fits among the rows, or says why it cannot be rented there."""
        price, most = row.offer.usd_per_hour, self.caps.max_usd_per_hour
        if price is None and row.offer.availability == "not_offered":
            return _not_offered(row)
        if price is not None and most is not None and price > most:
            return _too_expensive(row, most)
        (unpriced if price is None else rows).append(_with_job(row, row.setup, self.request, self.facts))
        return None

    def _on(self, offer: Offer, measured: MeasuredRuns, *, reasons: bool) -> Rejection | Placement | None:
        """The first choice that can be put on `offer`, or why the one that came nearest cannot.

        Without `reasons` what is surely too large is not worked out: which reason it is does not matter then.
        """
        nearest: Rejection | None = None
        room = math.inf if reasons else offer.instance.usable_memory_gib
        for setup, choice in self._setups(offer, room):
            if not reasons and _surely_not(setup, offer.instance, measured):
                continue
            outcome = _judge(setup, offer, measured)
            if not isinstance(outcome, Rejection):
                if choice.copied and not self.request.may_use(setup.model):
                    continue
                slow = self._too_slow(outcome)
                if slow is None:
                    return outcome
                outcome = slow
            if nearest is None or _nearness(outcome) > _nearness(nearest):
                nearest = outcome
        return nearest if reasons else nearest or _TOO_LARGE

    def _setups(self, offer: Offer, room: float) -> Iterator[tuple[Setup, WeightsChoice]]:
        for choice in self.choices:
            if choice.lacking is not None and offer.instance.gpu.supports(choice.lacking):
                continue
            if choice.least_gib > room:
                continue
            setups = choice.setups
            if not isinstance(setups, Rejection):
                yield from ((setup, choice) for setup in setups if setup.one_at_a_time == self.one_at_a_time)

    def _too_slow(self, row: Placement) -> Rejection | None:
        """Why one server there does not carry the load within the limits, where any were asked for."""
        limits, memory = self.request.limits, row.serving
        if limits is None or memory is None or not (limits.asked and self.request.one_server):
            return None
        speed = served_speed(row, self.facts)
        if limits.met_by(speed) and limits.arriving_within(speed, memory.workload):
            return None
        kind, first = row.offer.instance, speed.seconds_to_first_token
        wait = "requests queue" if first is None else f"the first token after {first:.1f} s"
        each = f"each request gets {speed.per_request.likely:.0f} tokens/s"
        return Rejection(
            "limits", "too_slow", f"it fits {kind.name} ({kind.gpu.name}), where {each}, {wait}",
            "ask for less, or for fewer requests at once (--concurrency)", row.offer, row.headroom_gib,
        )  # fmt: skip


_TOO_LARGE = Rejection("memory", "does_not_fit", "its weights alone are larger than the GPU", "")
"""Of offers that are passed over on the way to one that will do; never said."""


def served_speed(row: Placement, facts: SearchFacts) -> ServingSpeed:
    """The speed of the server of a placement that has one, under its load."""
    assert row.serving is not None
    workload = row.serving.workload
    efficiency = facts.serving(workload.stack, workload.method, workload.stack_version)
    return speed_as_served(row.setup.shape, row.offer.instance, efficiency, workload)


def preference(row: Placement) -> tuple[float, float, str]:
    """The one order of placements: the cheapest job first; for serving, which has no end, the cheapest hour.

    An unknown price is the last, whatever is asked for.
    """
    if row.offer.usd_per_hour is None:
        return (math.inf, math.inf, row.offer.instance.name)
    return (row.job.total.likely if row.job is not None else 0.0, row.offer.usd_per_hour, row.offer.instance.name)


def _judge(setup: Setup, offer: Offer, measured: MeasuredRuns) -> Rejection | Placement:
    """What runs where the offer's host and GPU can run and fit it, by what was measured there, or the cause."""
    kind = offer.instance
    for rule in setup.hardware_rules:
        if speaks_on(rule, kind):
            cause: Cause = "dtype" if rule.gpu_lacks is not None else "engine"
            return Rejection(cause, rule.code, rule.why, rule.way_out, offer)
    gpu = kind.gpu.name
    recipes = [replace(recipe, memory=taught(recipe.memory, gpu, measured)) for recipe in setup.recipes]
    tuning = _recipe_on(recipes, kind) if recipes else None
    serving = taught(setup.serving, gpu, measured) if setup.serving is not None else None
    memories = [memory for memory in (tuning.memory if tuning else None, serving) if memory is not None]
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
    return Placement(offer, setup, tuning, serving, free_gib)


def _surely_not(setup: Setup, kind: InstanceType, measured: MeasuredRuns) -> bool:
    """Whether `_judge` rejects a server there, where that is known at once; which reason it is nobody asks."""
    if setup.served is None or setup.recipes:
        return False
    if lacking_dtype(setup.served, kind) is not None or any(speaks_on(rule, kind) for rule in setup.hardware_rules):
        return True
    return not measured.runs and setup.serving is not None and too_large(setup.serving, kind)


def _recipe_on(recipes: Sequence[Tuning], instance: InstanceType) -> Tuning:
    """The first recipe that fits one GPU of `instance`; where none does, the one that needs least."""
    fitting = (recipe for recipe in recipes if fits(recipe.memory, instance))
    return next(fitting, None) or min(recipes, key=lambda recipe: recipe.memory.high)


def _with_job(placement: Placement, setup: Setup, request: PlanRequest, facts: SearchFacts) -> Placement:
    """The placement with speed, time and cost of the fine-tuning, where there is one: by the loop that will run it."""
    tuning, offer = placement.tuning, placement.offer
    if tuning is None:
        return placement
    workload = tuning.workload
    efficiency = facts.training(workload.stack, workload.method)
    length = None if workload.packing else request.data.mean_length
    speed = training_speed(
        setup.shape, offer.instance, efficiency, workload,
        gradient_accumulation=tuning.recipe.gradient_accumulation, length=length,
    )  # fmt: skip
    time, cost = job_on(offer, setup, tuning, speed, request, facts)
    return replace(placement, training=speed, time=time, job=cost)


def job_on(
    offer: Offer, setup: Setup, tuning: Tuning, speed: Speed, request: PlanRequest, facts: SearchFacts
) -> tuple[JobTime, JobCost | None]:
    """The time and the cost of a fine-tuning on an offer, every pass over the data included."""
    tokens, spot = request.one_pass.times(tuning.recipe.epochs), offer.market == "spot"
    sizes = {"weights_gb": setup.weights_gb, "result_gb": setup.result_gb}
    time = job_time(offer.instance, speed, tokens, spot=spot, **sizes)
    return time, job_cost(offer, time, facts.rates, **sizes)


def _price(offer: Offer) -> tuple[float, bool, float, int, str]:
    """The cheapest first, as in `preference`; then what has no price by its size; what is not rented here last."""
    kind = offer.instance
    if offer.usd_per_hour is not None:
        return (offer.usd_per_hour, False, 0, 0, kind.name)
    absent = offer.availability == "not_offered"
    return (math.inf, absent, kind.gpu_count * kind.usable_memory_gib, kind.vcpus, kind.name)


def price_unknown(row: Placement) -> Rejection:
    """What is said of a placement without a price: that it fits, that no price is known, and who knows it."""
    kind, region = row.offer.instance, row.offer.region
    rented = row.offer.availability == "offered"
    missing = f"its price in {region}" if rented else f"whether AWS rents it in {region}, and at what price,"
    return Rejection(
        "price_unknown",
        "no_price",
        f"it fits {kind.name} ({kind.gpu.name}), but {missing} is not known",
        f"ask AWS with `modelpick offers --live --region {region} --instance {kind.name}`, or choose another region",
        row.offer,
        row.headroom_gib,
        EXIT_CANNOT_TELL,
    )


def _not_offered(row: Placement) -> Rejection:
    kind, region = row.offer.instance, row.offer.region
    return Rejection(
        "not_offered",
        "not_offered_here",
        f"it fits {kind.name} ({kind.gpu.name}), which AWS did not rent in {region} on {row.offer.as_of}",
        f"`modelpick offers --instance {kind.name} --all-regions` lists where it is rented",
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
    """How near an offer came: by the gate it failed at, then by memory, or by the price where only that is too high.

    Of the types that are not rented here the smallest that would do.
    """
    if rejection.cause == "too_expensive" and rejection.offer is not None:
        return (_PROGRESS.index(rejection.cause), -(rejection.offer.usd_per_hour or 0.0))
    if rejection.cause == "not_offered":
        return (_PROGRESS.index(rejection.cause), -(rejection.free_gib or 0.0))
    return (_PROGRESS.index(rejection.cause), rejection.free_gib or 0.0)
