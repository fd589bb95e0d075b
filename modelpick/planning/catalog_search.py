"""The I/O before a recommendation, and the facts that every search judges by: the catalog, the policy, the prices.

Apart from `gather`, since `recommend` must start at once: nothing here imports what only a plan or a comparison needs.
"""

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from modelpick import settings
from modelpick.catalog import index, snapshot
from modelpick.catalog.model import Model
from modelpick.licensing.judge_models import facts_in_force, policy_in_force
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement, judge
from modelpick.offers import embedded
from modelpick.offers.embedded import discounted_offers
from modelpick.offers.instance import Families
from modelpick.offers.price import Market, Offer
from modelpick.planning.cost import serving_month, token_prices
from modelpick.planning.filters import Filters, LeftOut, check_publishers, not_licensed
from modelpick.planning.placement import Placement, Placements, offers_for, place, served_speed
from modelpick.planning.recipe import EPOCHS
from modelpick.planning.recommend import Ranking, RecommendAnswer, placement_of
from modelpick.planning.recommendation import ExampleJob, Recommendation, UsualSetup
from modelpick.planning.rejection import Rejection
from modelpick.planning.relax import relaxations
from modelpick.planning.request import DEFAULT_DATA, Caps, PlanRequest, SearchFacts
from modelpick.planning.workloads import unset
from modelpick.speed import calibration, calibration_file
from modelpick.workload import Workload, workload_from

FINETUNE_WORKLOAD = Workload(task="finetune", method="lora-int8", context=1024)
"""LoRA over 8-bit weights, the usual set-up of a first fine-tuning."""


@snapshot.per_facts
def facts() -> SearchFacts:
    """The embedded facts that every search judges by."""
    return SearchFacts(
        rules=embedded.load_rules(),
        subject_of=embedded.subject_of,
        rates=embedded.billing_rates(),
        serving=calibration.serving,
        training=calibration.training,
        measured=calibration_file.measured_runs,
        chat_parsers=embedded.load_chat_parsers(),
    )


def search(request: PlanRequest, offers: Sequence[Offer], caps: Caps) -> Placements | Rejection:
    """The search with the embedded facts, as far as the cheapest placement."""
    return place(request, offers, caps, facts(), cheapest_only=True)


def _remembering() -> Callable[[PlanRequest, Sequence[Offer], Caps], Placements | Rejection]:
    """The same for a whole catalog: what the user's own machines were measured at is read once."""
    known = facts()
    measured = known.measured()
    told = replace(known, measured=lambda: measured, serving=cache(known.serving), training=cache(known.training))
    return lambda request, offers, caps: place(request, offers, caps, told, cheapest_only=True)


def judge_of(policy: Policy, find: Callable[[str], Model | None]) -> Callable[[Model], Judgement]:
    """The verdict on a model under `policy`, by the license facts in force, today; each model is judged once.

    `find` looks an ancestor up. The facts are read when the first model is judged.
    """
    known = cache(facts_in_force)
    judged: dict[str, Judgement] = {}
    today = datetime.date.today()

    def verdict(model: Model) -> Judgement:
        if model.id not in judged:
            judged[model.id] = judge(model, policy, known(), find, today)
        return judged[model.id]

    return verdict


def with_copies(request: PlanRequest, judged: Callable[[Model], Judgement]) -> PlanRequest:
    """The request with the catalog's published copies of the model, of which those may be used that `judged` lets."""
    copies = index.load().copies_of(request.model.id)
    return replace(request, copies=copies, may_use=lambda copy: not_licensed(judged(copy), Filters()) is None)


def recommend(
    *,
    policy: str | Policy | None = None,
    workload: Workload | Mapping[str, object] | None = None,
    filters: Filters | None = None,
    region: str | None = None,
    market: Market = "on-demand",
    shown: int = 20,
    finetune_rows: int = 20,
) -> RecommendAnswer:
    """Rank the embedded catalog: allowed, fits, affordable. Makes no network call.

    `policy` is a name, a file or a Policy, `workload` a Workload or its names, `filters` what else is asked for; what
    is not given comes from the settings. The first `shown` rows get speed and costs, the first `finetune_rows` of them
    also what 8-bit weights and LoRA over them take. Raises UsageError for what cannot be meant.
    """
    resolved = settings.load({"region": region})
    where = embedded.check_region(resolved.region)
    filters = filters or Filters()
    options = {} if isinstance(workload, Workload) else workload or {}
    work = workload if isinstance(workload, Workload) else workload_from(options)
    catalog = index.load()
    check_publishers(filters.publishers, catalog.models)
    chosen = policy_in_force(policy).in_region(where)
    judged, searched = judge_of(chosen, catalog.find), _remembering()
    priced = (filters.own,) if filters.own else discounted_offers(
        region=where, market=market, discounts=resolved.discounts
    )  # fmt: skip

    def ranking(filters: Filters, work: Workload) -> Ranking:
        return Ranking(
            work,
            filters,
            priced,
            judged,
            searched,
            Caps(max_usd_per_hour=filters.most_per_hour(facts().rates)),
            unset=frozenset() if isinstance(workload, Workload) else unset(options),
            copies_of=lambda model: catalog.copies_of(model.id),
            measured=_measured,
            gpus_open=not isinstance(workload, Workload) and options.get("gpus") is None,
        )

    def passing(filters: Filters, work: Workload) -> list[Recommendation]:
        return [_measured(row) for row in ranking(filters, work).of(catalog.models.values()).passed]

    asked = ranking(filters, work)
    found = asked.of(catalog.models.values())
    emptied_by = () if found.passed else relaxations(filters, work, passing)
    usual = _UsualSetups(asked)
    rows = [_measured(row) for row in found.passed[:shown]]
    rows = [usual.of(row) if number < finetune_rows else row for number, row in enumerate(rows)]
    larger = _measured(found.larger) if found.larger is not None else None
    found = replace(found, passed=(*rows, *found.passed[shown:]), larger=larger)
    return RecommendAnswer(found, chosen, work, filters, where, market, catalog, emptied_by)


def _measured(row: Recommendation) -> Recommendation:
    """The row with its speed, its month and the price of a million tokens, where a server is ranked."""
    placement = row.placement
    if placement.serving is None or row.speed is not None:
        return row
    if placement.engine is None:  # no server of ours: what is rented is known, and no speed
        return replace(row, month=serving_month(placement.offer, facts().rates))
    speed = served_speed(placement, facts())
    month = serving_month(placement.offer, facts().rates, weights_gb=placement.setup.weights_gb)
    prices = token_prices(placement.offer, speed, placement.serving.workload)
    return replace(row, speed=speed, month=month, prices=prices)


@dataclass(frozen=True)
class _UsualSetups:
    """The two set-ups that people plan for, on one GPU of the g5 family and of all families: 8-bit weights
    under its load, and LoRA over them, with the job that everybody plans first (LIMA)."""

    ranking: Ranking

    def of(self, row: Recommendation) -> Recommendation:
        """The row with both."""
        served = self.ranking.workload if self.ranking.workload.task == "serve" else workload_from({"task": "serve"})
        served = replace(served, method="auto", stack="auto", gpus=1, sharding="none")
        eight = PlanRequest(
            row.model, serve=served, bits=8, copies=tuple(self.ranking.copies_of(row.model)),
            may_use=self.ranking.may_use,
        )  # fmt: skip
        tuned = self._placed(PlanRequest(row.model, finetune=FINETUNE_WORKLOAD, epochs=EPOCHS))
        jobs = [_example_job(place) if place is not None else None for place in (tuned.overall, tuned.g5)]
        return replace(
            row, eight_bit=self._placed(eight), finetune=tuned, finetune_job=jobs[0], finetune_g5_job=jobs[1]
        )  # fmt: skip

    def _placed(self, request: PlanRequest) -> UsualSetup:
        filters = self.ranking.filters
        everywhere = offers_for(self.ranking.offers, filters.families, None, 1)
        if filters.own is not None:
            everywhere = filters.offered(self.ranking.offers, 1)
        on_g5 = offers_for(self.ranking.offers, Families(names=("g5",)), None, 1)
        found = [placement_of(request, offers, Caps(), self.ranking.place) for offers in (everywhere, on_g5)]
        (overall, why), (g5, g5_why) = (
            (None, one.reason) if isinstance(one, LeftOut) else (one, None) for one in found
        )
        return UsualSetup("8-bit" if request.serve is not None else FINETUNE_WORKLOAD.method, overall, why, g5, g5_why)


def _example_job(placement: Placement) -> ExampleJob:
    return ExampleJob(
        DEFAULT_DATA.rows or 0, round(DEFAULT_DATA.mean_length or 0), int(EPOCHS), placement.time, placement.job
    )
