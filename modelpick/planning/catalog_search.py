"""The I/O before a recommendation, and the facts that every search judges by: the catalog, the policy, the prices.

Apart from `gather`, since `recommend` must start at once: nothing here imports what only a plan or a comparison needs.
"""

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from modelpick import settings
from modelpick.catalog import index, snapshot
from modelpick.catalog.model import Model
from modelpick.licensing.judge_models import facts_in_force, policy_in_force
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement, judge
from modelpick.offers import embedded
from modelpick.offers.embedded import discounted_offers
from modelpick.offers.price import Market, Offer
from modelpick.planning import recommend as ranking
from modelpick.planning.cost import serving_month
from modelpick.planning.filters import Filters, LeftOut, check_publishers, not_licensed
from modelpick.planning.placement import Placement, Placements, place
from modelpick.planning.recipe import EPOCHS
from modelpick.planning.recommend import (
    FINETUNE_WORKLOAD,
    ExampleJob,
    RecommendAnswer,
    Recommendation,
    Recommendations,
)
from modelpick.planning.rejection import Rejection
from modelpick.planning.relax import relaxations
from modelpick.planning.request import DEFAULT_DATA, Caps, PlanRequest, SearchFacts
from modelpick.planning.workloads import unset
from modelpick.speed import calibration, calibration_file
from modelpick.workload import Workload, workload_from


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
    finetune_rows: int = 20,
) -> RecommendAnswer:
    """Rank the embedded catalog: allowed, fits, affordable. Makes no network call.

    `policy` is a name, a file or a Policy, `workload` a Workload or its names, `filters` what else is asked for; what
    is not given comes from the settings. The first `finetune_rows` rows also get what LoRA over int8 takes. Raises
    UsageError for what cannot be meant.
    """
    resolved = settings.load({"region": region})
    where = embedded.check_region(resolved.region)
    filters = filters or Filters()
    work = workload if isinstance(workload, Workload) else workload_from(workload or {})
    catalog = index.load()
    check_publishers(filters.publishers, catalog.models)
    chosen = policy_in_force(policy).in_region(where)
    judged = judge_of(chosen, catalog.find)
    priced = (filters.own,) if filters.own else discounted_offers(
        region=where, market=market, discounts=resolved.discounts
    )  # fmt: skip
    left_open = frozenset() if isinstance(workload, Workload) else unset(workload or {})

    def ranked(filters: Filters, work: Workload) -> Recommendations:
        return ranking.recommend(
            catalog.models.values(),
            work,
            filters,
            priced,
            judge=judged,
            place=search,
            copies_of=lambda model: catalog.copies_of(model.id),
            unset=left_open,
            caps=Caps(max_usd_per_hour=filters.most_per_hour(facts().rates)),
        )

    def passing(filters: Filters, work: Workload) -> list[Recommendation]:
        rows = ranked(filters, work).passed
        return [replace(row, month=serving_month(row.placement.offer, facts().rates)) for row in rows]

    found = ranked(filters, work)
    emptied_by = () if found.passed else relaxations(filters, work, passing)
    head = [_completed(row, filters, priced) for row in found.passed[:finetune_rows]]
    found = replace(found, passed=(*head, *found.passed[finetune_rows:]))
    return RecommendAnswer(found, chosen, work, filters, where, market, catalog, emptied_by)


def _completed(row: Recommendation, filters: Filters, priced: Sequence[Offer]) -> Recommendation:
    """The row with its monthly cost and with what fine-tuning takes: the default job of every command."""
    month = serving_month(row.placement.offer, facts().rates)
    row = replace(row, month=month)
    offers = filters.offered(priced, FINETUNE_WORKLOAD.gpus)
    request = PlanRequest(row.model, finetune=FINETUNE_WORKLOAD, epochs=EPOCHS)
    tuned = ranking.placement_of(request, offers, Caps(), search)
    if isinstance(tuned, LeftOut):
        return replace(row, finetune_why=tuned.reason)
    return replace(row, finetune=tuned, finetune_job=_example_job(tuned))


def _example_job(placement: Placement) -> ExampleJob:
    return ExampleJob(
        DEFAULT_DATA.rows or 0, round(DEFAULT_DATA.mean_length or 0), int(EPOCHS), placement.time, placement.job
    )
