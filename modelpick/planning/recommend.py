"""Which models: filter, place, rank, and what the answer says. The models left out are kept, with a reason each. Pure.

A model passes the gates in one fixed order (asked for, kind, license, base model, place); the first gate that stops it
names the reason. Whatever a gate cannot know stops the model: nothing is guessed upward.
"""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from modelpick.catalog.model import Model
from modelpick.errors import CannotTellError
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement
from modelpick.offers.price import Market, Offer
from modelpick.planning.cost import MonthCost
from modelpick.planning.filters import (
    FINDERS,
    GPU_COUNTS,
    Filters,
    LeftOut,
    Relaxation,
    SortKey,
    base_model,
    languages_named,
    not_asked_for,
    not_licensed,
    of_another_kind,
)
from modelpick.planning.job import JobCost, JobTime
from modelpick.planning.placement import Placement, Placements, preference
from modelpick.planning.rejection import Cause, Rejection
from modelpick.planning.request import Caps, PlanRequest
from modelpick.planning.workloads import as_far_as_the_model_takes
from modelpick.workload import Sharding, Workload

# Rated by current independent boards; then vendors' own figures; then the archived board; then nothing at all.
# The groups are never mixed: a score of one is not a score of the other (quality notes in docs/data.md).
_STATUS_ORDER = {"rated": 0, "vendor-only": 1, "legacy": 2}


@dataclass(frozen=True, slots=True)
class ExampleJob:
    """What a fine-tuning on `examples` good examples takes: the job that everybody plans first."""

    examples: int
    tokens_per_example: int
    epochs: int
    time: JobTime | None
    usd: JobCost | None

    def as_json(self) -> dict[str, object]:
        """The job in the names of the JSON contract."""
        return {
            "examples": self.examples,
            "tokens_per_example": self.tokens_per_example,
            "epochs": self.epochs,
            "time": self.time.as_json() if self.time is not None else None,
            "usd": self.usd.as_json() if self.usd is not None else None,
        }


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One model that passed every gate: where it is served, and where it is fine-tuned.

    `finetune` is None where it has no place (`finetune_why` then says why). The costs are filled in for the rows that
    are shown.
    """

    model: Model
    judgement: Judgement
    placement: Placement
    month: MonthCost | None = None
    finetune: Placement | None = None
    finetune_job: ExampleJob | None = None
    finetune_why: str | None = None


@dataclass(frozen=True, slots=True)
class Recommendations:
    """All that passed, best first, and all that did not."""

    passed: tuple[Recommendation, ...]
    rejected: tuple[LeftOut, ...]

    def counts(self) -> list[tuple[str, int]]:
        """How many were left out for each reason, the largest first."""
        return Counter(rejection.code for rejection in self.rejected).most_common()


Judge = Callable[[Model], Judgement]
Place = Callable[[PlanRequest, Sequence[Offer], Caps], Placements | Rejection]


def recommend(
    models: Iterable[Model],
    workload: Workload,
    filters: Filters,
    offers: Sequence[Offer],
    *,
    judge: Judge,
    place: Place,
    unset: frozenset[str] = frozenset(),
    copies_of: Callable[[Model], Sequence[Model]] = lambda model: (),
    caps: Caps | None = None,
) -> Recommendations:
    """Every model with its place or its reason, ranked by `filters.sort`.

    `offers` are those of one region and market. `place` is placement.place with the facts at hand, `unset` what is
    chosen of a fine-tuning for each GPU (PlanRequest). `copies_of`: the published copies of a model's weights, each
    judged by itself before it is taken. `caps`: those of `filters` where none are given.
    """
    without_cuda = filters.own is not None and not filters.own.instance.gpu.cuda
    if without_cuda and workload.method == "auto" and filters.use_case not in FINDERS:
        workload = replace(workload, method="gguf", stack="llama.cpp")
    any_gpus = filters.any_gpus or filters.own is not None
    works = [_sharded(workload, gpus) for gpus in GPU_COUNTS] if any_gpus else [workload]
    tried = [(work, filters.offered(offers, work.gpus)) for work in works]
    caps = caps or Caps(max_usd_per_hour=filters.max_usd_per_hour)
    passed: list[Recommendation] = []
    rejected: list[LeftOut] = []
    for model in models:
        left_out = not_asked_for(model, filters) or of_another_kind(model, workload, filters.use_case)
        if left_out is None:
            judgement = judge(model)
            left_out = not_licensed(judgement, filters) or base_model(model, workload, filters.use_case)
        if left_out is None:
            requests = [(_request(model, work, unset, filters), some) for work, some in tried]
            if workload.task == "serve" and filters.use_case not in FINDERS and (copies := tuple(copies_of(model))):
                may_use = _may_use(judge, filters)
                requests = [(replace(one, copies=copies, may_use=may_use), some) for one, some in requests]
            placement = min((placement_of(one, some, caps, place) for one, some in requests), key=_cheaper)
            if isinstance(placement, Placement):
                of = placement.setup.model
                passed.append(Recommendation(model, judgement if of is model else judge(of), placement))
                continue
            left_out = placement
        rejected.append(left_out)
    return Recommendations(ranked(passed, filters.sort), tuple(rejected))


def _may_use(judge: Judge, filters: Filters) -> Callable[[Model], bool]:
    return lambda copy: not_licensed(judge(copy), filters) is None


def _sharded(workload: Workload, gpus: int) -> Workload:
    sharding: Sharding = "none" if gpus == 1 else "tensor-parallel" if workload.task == "serve" else "zero3"
    return replace(workload, gpus=gpus, sharding=sharding)


def _cheaper(outcome: Placement | LeftOut) -> tuple[Any, ...]:
    """A place before none, the cheapest first; of several numbers of GPUs that all fail, the last tells why."""
    return (1,) if isinstance(outcome, LeftOut) else (0, *preference(outcome))


def _request(model: Model, workload: Workload, unset: frozenset[str], filters: Filters) -> PlanRequest:
    if workload.task == "finetune":
        return PlanRequest(model, finetune=workload, unset=unset)
    if filters.use_case in FINDERS:
        texts = replace(workload, generate=0)
        if "context" in unset:
            texts = as_far_as_the_model_takes(model, texts, {})
        return PlanRequest(model, serve=texts, encodes=True)
    if "generate" in unset and "context" not in unset:  # after a prompt that is named: what the model's limit leaves
        workload = as_far_as_the_model_takes(model, workload, {"context": workload.context})
    limits = filters.limits if filters.limits.asked else None
    return PlanRequest(model, serve=workload, limits=limits, one_server=limits is not None, converted=True)


def placement_of(request: PlanRequest, offers: Sequence[Offer], caps: Caps, place: Place) -> Placement | LeftOut:
    """The cheapest placement of what is requested, or why there is none.

    Where none has a price: the smallest that fits, at an unknown price. No cap can be promised of it: then the reason.
    """
    model = request.model
    try:
        found = place(request, offers, caps)
    except CannotTellError as error:
        return LeftOut(model.id, error.code, error.message)
    if isinstance(found, Placements) and (found.rows or (found.unpriced and caps.max_usd_per_hour is None)):
        return (*found.rows, *found.unpriced)[0]
    rejection = found if isinstance(found, Rejection) else found.refusal()
    assert rejection is not None
    return LeftOut(model.id, _CODES.get(rejection.cause, rejection.code), rejection.reason, rejection.cause)


# The reason codes of `recommend --json` by the cause; of the others the rejection's own.
_CODES: Mapping[Cause, str] = {
    "engine": "cannot_run", "dtype": "cannot_run", "gpus": "does_not_fit", "memory": "does_not_fit",
    "price_unknown": "price_unknown",
}  # fmt: skip


def ranked(rows: Iterable[Recommendation], sort: SortKey) -> tuple[Recommendation, ...]:
    """`rows`, best first, by one criterion; ties by price (an unknown one last), then license, then name."""
    rows = list(rows)
    if sort == "quality":
        groups: dict[int, list[Recommendation]] = {}
        for row in rows:
            groups.setdefault(status_order(row.model), []).append(row)
        return tuple(row for status in sorted(groups) for row in _by_quality(groups[status]))
    keys: dict[str, Callable[[Recommendation], Any]] = {
        "cost": lambda row: preference(row.placement),
        "memory": lambda row: row.placement.memory.total,
        "downloads": lambda row: -(row.model.downloads or 0),
    }
    return tuple(sorted(rows, key=lambda row: (keys[sort](row), *_tie_break(row))))


def status_order(model: Model) -> int:
    """0 rated, 1 vendor-only, 2 legacy, 3 unrated."""
    return _STATUS_ORDER.get(model.quality.status, 3) if model.quality else 3


def _tie_break(row: Recommendation) -> tuple[Any, ...]:
    score = row.model.quality.score if row.model.quality else 0.0
    usd = row.placement.offer.usd_per_hour
    return (math.inf if usd is None else usd, row.judgement.verdict.strictness, -score, row.model.id)


def _by_quality(rows: list[Recommendation]) -> list[Recommendation]:
    """Order by score intervals: nobody stands above a model that is clearly better; among ties the cheaper is first.

    A model is clearly better when its interval lies wholly above the other's. Overlap is not equivalence (a ~ b and
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


FINETUNE_WORKLOAD = Workload(task="finetune", method="lora-int8", context=1024)
"""What every recommendation also says: LoRA over 8-bit weights, the usual set-up."""

ASSUMPTIONS = (
    "fit: the upper end of the 90 % interval against the usable memory of one GPU",
    "cost: on-demand for all hours of a month, with disk and address, without traffic; unknown prices last",
    "quality: one factor over public boards, 80 % interval; overlapping intervals are ties, and the cheaper wins",
    "fine-tuning cost: 1,000 examples of 750 tokens, 3 epochs; boot, download, evaluation and disk included",
    "quality scores predate quantization and say little about fine-tuning",
)


GGUF_MADE = "GGUF: a Q4_K_M file, published or made of the repository's weights by llama.cpp's converter"


NO_SERVER = (
    "embedding and reranking: memory as transformers takes it in 16 bits; `serve` starts a server for .gguf files alone"
)


class CatalogFacts(Protocol):
    """What the answer tells of the catalog it ranked (catalog.index.Catalog)."""

    @property
    def as_of(self) -> str:
        """ISO date of its facts."""

    @property
    def facts(self) -> str:
        """Where its facts are: embedded, snapshot or package."""

    @property
    def models(self) -> Mapping[str, Model]:
        """Every model by id."""

    def find(self, name: str) -> Model | None:
        """The model of that id or former id."""

    def nearest(self, name: str) -> str | None:
        """A sentence naming the nearest id."""


@dataclass(frozen=True, slots=True)
class RecommendAnswer:
    """What `recommend` found, and everything it rests on."""

    recommendations: Recommendations
    policy: Policy
    workload: Workload
    filters: Filters
    region: str
    market: Market
    catalog: CatalogFacts
    emptied_by: tuple[Relaxation, ...] = ()  # where no model passes: the filters that do it, each by itself

    def as_json(self, limit: int | None = 20) -> dict[str, object]:
        """The contract's object (without the schema version): the first `limit` rows and all the rejected."""
        rows = self.recommendations.passed[:limit]
        return {
            "catalog": {
                "source": self.catalog.facts,
                "as_of": self.catalog.as_of,
                "models": len(self.catalog.models),
            },
            "policy": {"name": self.policy.name, "sha256": self.policy.sha256},
            "workload": self.workload.as_json(),
            "region": None if self.filters.own else self.region,
            "sort": self.filters.sort,
            "passed": len(self.recommendations.passed),
            "recommendations": [
                {**row_as_json(row, rank), "languages": dict(self.languages_of(row))}
                for rank, row in enumerate(rows, 1)
            ],
            "rejected": [
                {"model": left.model, "reason_code": left.code, "reason": left.reason, "cause": left.cause}
                for left in self.recommendations.rejected
            ],
            "emptied_by": [one.as_json() for one in self.emptied_by],
            "assumptions": [*self.taken_for_granted, *ASSUMPTIONS],
            "sources": sorted(
                {row.placement.offer.source for row in rows if row.placement.offer.source}
                | {board for row in rows if row.model.quality for board in row.model.quality.sources}
            ),
        }

    def languages_of(self, row: Recommendation) -> Mapping[str, str]:
        """Of each language asked for, who names it for the row's model: `card`, or `others`."""
        return languages_named(row.model, self.filters.languages)

    @property
    def taken_for_granted(self) -> tuple[str, ...]:
        """What this answer alone rests on, in sentences: one's own card, and files that may have to be made."""
        own = self.filters.own.assumed if self.filters.own else ()
        shown = self.recommendations.passed
        if self.filters.use_case in FINDERS:
            return (*own, NO_SERVER)
        return (*own, GGUF_MADE) if any(row.placement.memory.workload.method == "gguf" for row in shown) else own

    def why_not(self, name: str) -> LeftOut | int | None:
        """Why a model is absent, its rank when it is not, or None when the catalog has no such model."""
        model = self.catalog.find(name)
        if model is None:
            return None
        for rank, row in enumerate(self.recommendations.passed, 1):
            if row.model.id == model.id:
                return rank
        return next((left for left in self.recommendations.rejected if left.model == model.id), None)


def row_as_json(row: Recommendation, rank: int) -> dict[str, Any]:
    """One recommendation in the names of the contract."""
    quality = row.model.quality
    judgement = row.judgement.as_json()
    return {
        "rank": rank,
        "model": row.model.id,
        "parameters": row.model.parameters,
        "license": {
            "verdict": row.judgement.verdict.value,
            "basis": row.judgement.basis,
            "ids": [finding.id for finding in row.judgement.licenses],
            "obligations": judgement["obligations"],
        },
        **_placement_as_json(row.placement, row.month),
        "quality": {
            "score": quality.score if quality else None,
            "low": quality.low if quality else None,
            "high": quality.high if quality else None,
            "status": quality.status if quality else "unrated",
            "sources": list(quality.sources) if quality else [],
            "as_of": quality.as_of if quality else None,
        },
        "finetune": {
            "method": FINETUNE_WORKLOAD.method,
            **(
                _placement_as_json(row.finetune, row.finetune_job)
                if row.finetune
                else {"memory": None, "offer": None, "cost": None}
            ),
            "reason": row.finetune_why,
        },
    }


def _placement_as_json(placement: Placement, cost: MonthCost | ExampleJob | None) -> dict[str, object]:
    memory = placement.memory.as_json()
    return {
        "memory": {key: memory[key] for key in ("total_gib", "low_gib", "high_gib", "parts_gib")},
        "offer": placement.offer.as_json(),
        "cost": cost.as_json() if cost is not None else {},
        "setup": placement.setup_as_json(),
    }
