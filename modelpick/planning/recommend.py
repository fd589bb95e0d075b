"""Which models: filter, place, rank, and what the answer says. The models left out are kept, with a reason each. Pure.

A model passes the gates in one fixed order (asked for, kind, license, base model, place); the first gate that stops it
names the reason. Whatever a gate cannot know stops the model: nothing is guessed upward.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from modelpick.catalog.model import Model
from modelpick.errors import CannotTellError
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement
from modelpick.offers.instance import Families
from modelpick.offers.price import Market, Offer
from modelpick.planning.filters import (
    FINDERS,
    GPU_COUNTS,
    Filters,
    LeftOut,
    Relaxation,
    base_model,
    languages_named,
    not_asked_for,
    not_licensed,
    of_another_kind,
)
from modelpick.planning.placement import Placement, Placements, preference
from modelpick.planning.ranking import group_of, printed, ranked, scored_for, unbeaten
from modelpick.planning.recommendation import Recommendation
from modelpick.planning.rejection import Cause, Rejection
from modelpick.planning.request import Caps, PlanRequest
from modelpick.planning.workloads import as_far_as_the_model_takes
from modelpick.workload import Sharding, Workload


@dataclass(frozen=True, slots=True)
class Recommendations:
    """All that passed, best first, and all that did not.

    `larger`: the best that needs more GPUs than were asked for and stands above all that passed, where nothing was said
    of GPUs or money.
    """

    passed: tuple[Recommendation, ...]
    rejected: tuple[LeftOut, ...]
    larger: Recommendation | None = None

    def counts(self) -> list[tuple[str, int]]:
        """How many were left out for each reason, the largest first."""
        return Counter(rejection.code for rejection in self.rejected).most_common()


Judge = Callable[[Model], Judgement]
Place = Callable[[PlanRequest, Sequence[Offer], Caps], Placements | Rejection]


@dataclass(frozen=True)
class Ranking:
    """How a catalog is ranked: what is asked, over which offers, and by whose judgement.

    `offers` are those of one region and market. `place` is placement.place with the facts at hand, `unset` what is
    chosen of a fine-tuning for each GPU (PlanRequest). `copies_of`: the published copies of a model's weights, each
    judged by itself before it is taken. `measured`: a row with its speed and prices, asked of every row where the order
    needs them. `gpus_open`: nobody said how many GPUs; then a budget decides, and without one it is the workload's.
    """

    workload: Workload
    filters: Filters
    offers: Sequence[Offer]
    judge: Judge
    place: Place
    caps: Caps
    unset: frozenset[str] = frozenset()
    copies_of: Callable[[Model], Sequence[Model]] = lambda model: ()
    measured: Callable[[Recommendation], Recommendation] = lambda row: row
    gpus_open: bool = False

    def of(self, models: Iterable[Model]) -> Recommendations:
        """Every model with its place or its reason, ranked by `filters.sort`."""
        filters = self.filters
        any_number = filters.any_gpus or filters.own is not None
        any_number = any_number or (self.gpus_open and self.caps.max_usd_per_hour is not None)
        if any_number and filters.families == Families(gpu_class="G"):
            filters = replace(filters, families=Families())  # the default is for one GPU, of which any quota has some
        tried = [self._tried(gpus, filters) for gpus in (GPU_COUNTS if any_number else (self.workload.gpus,))]
        passed: list[Recommendation] = []
        rejected: list[LeftOut] = []
        too_large: list[Model] = []
        for model in models:
            outcome = self._gates(model) or self._placed(model, tried)
            if isinstance(outcome, LeftOut):
                rejected.append(outcome)
                if outcome.cause in ("memory", "gpus"):
                    too_large.append(model)
            else:
                passed.append(outcome)
        if self.filters.sort in ("value", "speed"):
            passed = [self.measured(row) for row in passed]
        best = unbeaten(passed)
        rows = ranked((replace(row, unbeaten=row.model.id in best) for row in passed), self.filters.sort)
        return Recommendations(rows, tuple(rejected), self._larger(too_large, rows))

    def _gates(self, model: Model) -> LeftOut | None:
        filters, workload = self.filters, self.workload
        left_out = not_asked_for(model, filters) or of_another_kind(model, workload, filters.use_case)
        if left_out is None:
            left_out = not_licensed(self.judge(model), filters) or base_model(model, workload, filters.use_case)
        return left_out

    def _tried(self, gpus: int, filters: Filters) -> tuple[Workload, list[Offer]]:
        """The workload on so many GPUs of one machine, and the offers with exactly as many."""
        sharding: Sharding = "tensor-parallel" if self.workload.task == "serve" else "zero3"
        work = self.workload
        without_cuda = filters.own is not None and not filters.own.instance.gpu.cuda
        if without_cuda and work.method == "auto" and filters.use_case not in FINDERS:
            work = replace(work, method="gguf", stack="llama.cpp")
        if work.gpus != gpus:
            work = replace(work, gpus=gpus, sharding="none" if gpus == 1 else sharding)
        return work, filters.offered(self.offers, gpus)

    def _placed(self, model: Model, tried: Sequence[tuple[Workload, Sequence[Offer]]]) -> Recommendation | LeftOut:
        """The cheapest placement over all numbers of GPUs; where none has one, why the last number has none."""
        outcomes = [placement_of(self._request(model, work), offers, self.caps, self.place) for work, offers in tried]
        placements = [outcome for outcome in outcomes if isinstance(outcome, Placement)]
        if not placements:
            return next(outcome for outcome in reversed(outcomes) if isinstance(outcome, LeftOut))
        placement = min(placements, key=preference)
        quality, use = scored_for(model, self.filters.use_case)
        return Recommendation(model, self.judge(placement.setup.model), placement, quality, use)

    def _request(self, model: Model, workload: Workload) -> PlanRequest:
        if workload.task == "finetune":
            return PlanRequest(model, finetune=workload, unset=self.unset)
        if self.filters.use_case in FINDERS:
            texts = replace(workload, generate=0)
            if "context" in self.unset:
                texts = as_far_as_the_model_takes(model, texts, {})
            return PlanRequest(model, serve=texts, encodes=True)
        if "generate" in self.unset and "context" not in self.unset:  # after a prompt that is named: what is left
            workload = as_far_as_the_model_takes(model, workload, {"context": workload.context})
        limits = self.filters.limits
        return PlanRequest(
            model, serve=workload, limits=limits if limits.asked else None, one_server=limits.asked, converted=True,
            copies=tuple(self.copies_of(model)), may_use=self.may_use,
        )  # fmt: skip

    def may_use(self, copy: Model) -> bool:
        """Whether the policy lets a published copy be used."""
        return not_licensed(self.judge(copy), self.filters) is None

    def _larger(self, too_large: Iterable[Model], rows: Sequence[Recommendation]) -> Recommendation | None:
        """The best of the models that need several GPUs of a machine, of any family, if it stands above all rows."""
        filters = self.filters
        if not self.gpus_open or filters.any_gpus or filters.sort != "quality" or filters.instances or filters.own:
            return None
        if self.caps.max_usd_per_hour is not None or self.workload.task != "serve":
            return None
        above = (group_of(rows[0].quality), -printed(rows[0].quality)) if rows else (9, 0.0)
        scored = [(scored_for(model, filters.use_case)[0], model) for model in too_large]
        candidates = [
            (group_of(quality), -printed(quality), model.id, model)
            for quality, model in scored
            if (group_of(quality), -printed(quality)) < above
        ]
        any_family = replace(filters, families=Families())
        tried = [self._tried(gpus, any_family) for gpus in GPU_COUNTS if gpus > 1]
        for *_, model in sorted(candidates):
            row = self._placed(model, tried)
            if isinstance(row, Recommendation):
                return row
        return None


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


GGUF_MADE = "GGUF: a Q4_K_M file, published or made of the repository's weights by llama.cpp's converter"

NO_SERVER = (
    "embedding and reranking: memory as transformers takes it in 16 bits; `serve` starts a server for .gguf files alone"
)

ASSUMPTIONS = (
    "fit: the upper end of the 90 % interval against the usable memory of one GPU",
    "cost: on-demand for all hours of a month, with disk and address, without traffic; unknown prices last",
    "quality: one factor over public boards, 80 % interval; ranked by its lower end, equal ones by price",
    "fine-tuning cost: 1,000 examples of 750 tokens, 3 epochs; boot, download, evaluation and disk included",
    "quality scores are of unquantized weights, and say little about fine-tuning",
    "weights: the least quantized that the cheapest instance has room for; published copies judged by themselves",
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
                {**row.as_json(rank), "languages": dict(self.languages_of(row))} for rank, row in enumerate(rows, 1)
            ],
            "larger": larger.as_json(1) if (larger := self.recommendations.larger) is not None else None,
            "rejected": [
                {"model": left.model, "reason_code": left.code, "reason": left.reason, "cause": left.cause}
                for left in self.recommendations.rejected
            ],
            "emptied_by": [one.as_json() for one in self.emptied_by],
            "assumptions": [*self.taken_for_granted, *ASSUMPTIONS],
            "sources": sorted(
                {row.placement.offer.source for row in rows if row.placement.offer.source}
                | {board for row in rows if row.quality for board in row.quality.sources}
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
