"""Which models: filter, fit, price, rank. The rejected are kept, with a reason each. Pure.

A model passes the gates in one fixed order (asked for, license, facts, context, memory, price); the first gate that
stops it names the reason. Whatever a gate cannot know stops the model: nothing is guessed upward.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from modelpick.catalog.model import Model
from modelpick.errors import CannotTellError
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.verdict import Judgement
from modelpick.memory.estimate import MemoryEstimate
from modelpick.offers.instance import Families
from modelpick.offers.price import Offer
from modelpick.planning.fit import Fit
from modelpick.workload import CHECKPOINT_METHODS, Workload

SortKey = Literal["quality", "cost", "memory", "downloads"]
SORT_KEYS: tuple[SortKey, ...] = ("quality", "cost", "memory", "downloads")

# Rated by current independent boards; then vendors' own figures; then the archived board; then nothing at all.
# The groups are never mixed: a score of one is not a score of the other (quality notes in docs/data.md).
_STATUS_ORDER = {"rated": 0, "vendor-only": 1, "legacy": 2}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asked for besides the workload. Parameters are counts, prices USD per hour."""

    strict: bool = False  # only `allow`, not `conditions`
    languages: tuple[str, ...] = ()
    min_parameters: int | None = None
    max_parameters: int | None = None
    families: Families = field(default_factory=lambda: Families(gpu_class="G"))
    instance: str | None = None
    max_usd_per_hour: float | None = None
    sort: SortKey = "quality"


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a workload of a model runs: its memory, the cheapest offer it fits, and what that costs."""

    memory: MemoryEstimate
    offer: Offer
    cost: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One model that passed every gate. `finetune` is None where no offer fits (`finetune_why` then says why)."""

    model: Model
    judgement: Judgement
    seat: Seat
    finetune: Seat | None = None
    finetune_why: str | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """A model left out: a stable code and one sentence."""

    model: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Recommendations:
    """All that passed, best first, and all that did not."""

    passed: tuple[Recommendation, ...]
    rejected: tuple[Rejection, ...]

    def counts(self) -> list[tuple[str, int]]:
        """How many were left out for each reason, the largest first."""
        return Counter(rejection.code for rejection in self.rejected).most_common()


@dataclass(frozen=True, slots=True)
class Tools:
    """The judgements recommend joins together: each a pure function of the sibling packages."""

    judge: Callable[[Model], Judgement]
    estimate: Callable[[Model, Workload], MemoryEstimate]
    fits: Callable[[MemoryEstimate, Any], Fit]
    cannot_run: Callable[[Model, Workload, Any], str | None] = lambda model, workload, instance: None
    checkpoint: Callable[[Model], str | None] = lambda model: None  # how the repository's own weights are quantized


def recommend(
    models: Iterable[Model], workload: Workload, wanted: Wanted, offers: Sequence[Offer], tools: Tools
) -> Recommendations:
    """Every model with its place or its reason, ranked by `wanted.sort`.

    `offers` are those of one region and market; the cheapest one that fits is taken. Fit is per GPU: memories are
    never added up (a `workload` over several GPUs names its sharding).
    """
    seats = eligible_offers(offers, workload, wanted)
    passed: list[Recommendation] = []
    rejected: list[Rejection] = []
    for model in models:
        outcome = _consider(model, workload, wanted, seats, tools)
        if isinstance(outcome, Recommendation):
            passed.append(outcome)
        else:
            rejected.append(outcome)
    return Recommendations(ranked(passed, wanted.sort), tuple(rejected))


def eligible_offers(offers: Sequence[Offer], workload: Workload, wanted: Wanted) -> list[Offer]:
    """The offers worth trying, cheapest first: of the same card in the same kind of machine only the cheapest.

    Unknown prices are left out, for they can be neither ranked nor capped.
    """
    cheapest: dict[tuple[object, ...], Offer] = {}
    for offer in sorted(offers, key=_price):
        instance = offer.instance
        if wanted.instance is not None:
            if instance.name != wanted.instance or instance.gpu_count < workload.gpus:
                continue
        elif not wanted.families.admit(instance) or instance.gpu_count != workload.gpus:
            continue
        if offer.usd_per_hour is not None:
            card = (instance.gpu.name, instance.usable_memory_gib, instance.gpu_count, instance.cpu)
            cheapest.setdefault(card, offer)
    return list(cheapest.values())


def _price(offer: Offer) -> tuple[float, str]:
    return (float("inf") if offer.usd_per_hour is None else offer.usd_per_hour, offer.instance.name)


def seat(
    model: Model, workload: Workload, offers: Sequence[Offer], tools: Tools, cap: float | None = None
) -> Seat | Rejection:
    """The cheapest of `offers` (sorted by price) that holds the workload, or why there is none."""
    try:
        memory = tools.estimate(model, workload)
    except CannotTellError as error:
        return Rejection(model.id, error.code, error.message)
    blocked: str | None = None
    for offer in offers:
        if not tools.fits(memory, offer.instance).fits:
            continue
        why = tools.cannot_run(model, workload, offer.instance)
        if why is not None:
            blocked = why
            continue
        price = offer.usd_per_hour
        if cap is not None and price is not None and price > cap:
            reason = f"cheapest instance that fits is {offer.instance.name} at ${price:.3f}/h, above ${cap:g}"
            return Rejection(model.id, "too_expensive", reason)
        return Seat(memory, offer)
    if blocked is not None:
        return Rejection(model.id, "cannot_run", blocked)
    if not offers:
        return Rejection(model.id, "no_offer", "no instance with a known price matches the filters in this region")
    best = max(offers, key=lambda offer: offer.instance.usable_memory_gib)
    reason = (
        f"{workload.method} needs up to {memory.high / 2**30:.1f} GiB on a GPU; the largest tried, "
        f"{best.instance.name} ({best.instance.gpu.name}), has {best.instance.usable_memory_gib:.1f} GiB"
    )
    return Rejection(model.id, "does_not_fit", reason)


def _consider(
    model: Model, workload: Workload, wanted: Wanted, offers: Sequence[Offer], tools: Tools
) -> Recommendation | Rejection:
    unasked = _not_asked_for(model, wanted)
    if unasked is not None:
        return unasked
    judgement = tools.judge(model)
    if judgement.verdict is Verdict.DENY or judgement.verdict is Verdict.REVIEW:
        return Rejection(model.id, f"license_{judgement.verdict.value}", _because(judgement))
    if judgement.verdict is Verdict.CONDITIONS and wanted.strict:
        return Rejection(model.id, "license_conditions", _because(judgement))
    short = _context_gate(model, workload)
    if short is not None:
        return short
    if workload.method in CHECKPOINT_METHODS and tools.checkpoint(model) != workload.method:
        reason = f"its repository holds no {workload.method} weights, and nothing makes them when a model is loaded"
        return Rejection(model.id, "no_checkpoint", reason)
    found = seat(model, workload, offers, tools, wanted.max_usd_per_hour)
    return found if isinstance(found, Rejection) else Recommendation(model, judgement, found)


def _because(judgement: Judgement) -> str:
    decisive = [reason.text for reason in judgement.reasons]
    return decisive[0] if decisive else f"license verdict: {judgement.verdict.value}"


def _not_asked_for(model: Model, wanted: Wanted) -> Rejection | None:
    if wanted.languages:
        if not model.languages:
            return Rejection(model.id, "languages_unknown", "its card names no languages")
        missing = [language for language in wanted.languages if language not in model.languages]
        if missing:
            return Rejection(model.id, "language", f"its card does not name {', '.join(missing)}")
    low, high = wanted.min_parameters, wanted.max_parameters
    if low is None and high is None:
        return None
    if model.parameters is None:
        return Rejection(model.id, "parameters_unknown", "its number of parameters is unknown")
    billions = f"{model.parameters / 1e9:.2f} B parameters"
    if low is not None and model.parameters < low:
        return Rejection(model.id, "too_small", billions)
    if high is not None and model.parameters > high:
        return Rejection(model.id, "too_large", billions)
    return None


def _context_gate(model: Model, workload: Workload) -> Rejection | None:
    """A context beyond what the model's makers state is refused; a model that generates nothing cannot serve text."""
    if workload.task == "serve" and model.pipeline_tag == "fill-mask":
        return Rejection(model.id, "not_generative", "it fills masks and classifies; it does not generate text")
    asked = workload.context + workload.generate
    if model.context is None:
        reason = f"{asked} tokens are asked, and the longest context it supports is not known"
        return Rejection(model.id, "context_unknown", reason)
    if model.context < asked:
        return Rejection(model.id, "context_too_long", f"{asked} tokens asked, {model.context} supported")
    return None


def ranked(rows: Iterable[Recommendation], sort: SortKey) -> tuple[Recommendation, ...]:
    """`rows`, best first, by one criterion; ties by price, then license, then name."""
    rows = list(rows)
    if sort == "quality":
        groups: dict[int, list[Recommendation]] = {}
        for row in rows:
            groups.setdefault(status_order(row.model), []).append(row)
        return tuple(row for status in sorted(groups) for row in _by_quality(groups[status]))
    keys: dict[str, Callable[[Recommendation], Any]] = {
        "cost": lambda row: row.seat.offer.usd_per_hour,
        "memory": lambda row: row.seat.memory.total,
        "downloads": lambda row: -(row.model.downloads or 0),
    }
    return tuple(sorted(rows, key=lambda row: (keys[sort](row), *_tie_break(row))))


def status_order(model: Model) -> int:
    """0 rated, 1 vendor-only, 2 legacy, 3 unrated."""
    return _STATUS_ORDER.get(model.quality.status, 3) if model.quality else 3


def _tie_break(row: Recommendation) -> tuple[Any, ...]:
    score = row.model.quality.score if row.model.quality else 0.0
    return (row.seat.offer.usd_per_hour, row.judgement.verdict.strictness, -score, row.model.id)


def _by_quality(rows: list[Recommendation]) -> list[Recommendation]:
    """Order by score intervals: nobody stands above a model that is clearly better; among ties the cheaper is first.

    A model is clearly better when its interval lies wholly above the other's. Overlap is no equivalence (a ~ b and
    b ~ c do not make a ~ c), so the next row is drawn, again and again, from all rows that no remaining row clearly
    beats. O(n log n).
    """
    if not rows or rows[0].model.quality is None:
        return sorted(rows, key=_tie_break)
    by_low = sorted(rows, key=lambda row: -_interval(row)[0])
    waiting = sorted(rows, key=lambda row: -_interval(row)[1])
    open_rows: list[tuple[tuple[Any, ...], int]] = []
    placed: list[Recommendation] = []
    taken: set[str] = set()
    entered = 0
    first_left = 0
    while len(placed) < len(rows):
        while by_low[first_left].model.id in taken:
            first_left += 1
        bar = _interval(by_low[first_left])[0]
        while entered < len(waiting) and _interval(waiting[entered])[1] >= bar:
            heapq.heappush(open_rows, (_tie_break(waiting[entered]), entered))
            entered += 1
        _, index = heapq.heappop(open_rows)
        placed.append(waiting[index])
        taken.add(waiting[index].model.id)
    return placed


def _interval(row: Recommendation) -> tuple[float, float]:
    quality = row.model.quality
    assert quality is not None
    return quality.low, quality.high
