"""In every region, by every command: offered, not offered, price unknown and does not fit are four answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from modelpick.catalog import index
from modelpick.errors import ModelpickError
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.verdict import Judgement
from modelpick.offers import embedded
from modelpick.offers.instance import Families
from modelpick.offers.price import Offer
from modelpick.planning import catalog_search, compare, gather, plan, report
from modelpick.planning.filters import LeftOut
from modelpick.planning.placement import Placements, offers_for, place
from modelpick.planning.plan_parts import PlannedPolicy
from modelpick.planning.recommend import placement_of
from modelpick.planning.rejection import Cause, Rejection
from modelpick.planning.request import Caps, PlanRequest
from modelpick.workload import workload_from

# One that a quarter of an L4 holds, one that takes a whole one, one that only the largest card of the G class holds,
# and one that no single card holds.
MODELS = ("Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen3-8B", "Qwen/Qwen3-32B", "meta-llama/Llama-3.1-405B-Instruct")
REGIONS = tuple(embedded.regions())


@dataclass(frozen=True)
class Told:
    """What a command says: the instance and its price, or the cause."""

    instance: str | None
    usd: float | None
    cause: Cause | None


def _request(name: str) -> PlanRequest:
    return PlanRequest(index.load().models[name], serve=workload_from({"method": "bf16", "stack": "transformers"}))


def _refused(refusal: Rejection | None) -> Told:
    assert refusal is not None
    return Told(None, None, refusal.cause)


def by_recommend(request: PlanRequest, offers: Sequence[Offer]) -> Told:
    found = placement_of(request, offers, Caps(), catalog_search.search)
    if isinstance(found, LeftOut):
        assert found.code != "no_offer"
        return Told(None, None, found.cause)
    return Told(found.offer.instance.name, found.offer.usd_per_hour, None)


def by_cost(request: PlanRequest, offers: Sequence[Offer]) -> Told:
    found = place(request, offers, Caps(), catalog_search.facts())
    assert isinstance(found, Placements)
    rows = compare.compare(found, request, compare.CostOptions(all_sizes=True), catalog_search.facts())
    if not rows.rows:
        return _refused(rows.refusal)
    return Told(rows.rows[0].offer.instance.name, rows.rows[0].offer.usd_per_hour, None)


def by_estimate(request: PlanRequest, offers: Sequence[Offer]) -> Told:
    workload = request.serve
    assert workload is not None
    made = report.report(request.model, workload, offers, catalog_search.facts())
    home = report.report(request.model, workload, embedded.offers(), catalog_search.facts())
    assert [row.fits for row in made.fits] == [row.fits for row in home.fits], "what fits is the same everywhere"
    for row in made.gpus():
        others = [one.offer for one in made.fits if one.offer.instance.gpu == row.offer.instance.gpu and one.fits]
        same = [one for one in others if one.instance.usable_memory_gib == row.offer.instance.usable_memory_gib]
        assert not row.fits or row.offer.usd_per_hour is not None or all(one.usd_per_hour is None for one in same)
    if made.on is None:
        return _refused(made.refusal)
    return Told(made.on.instance.name, made.on.usd_per_hour, None)


def by_plan(request: PlanRequest, offers: Sequence[Offer]) -> Told:
    try:
        made = plan.make(
            request, offers, Caps(max_usd=1000.0), catalog_search.facts(), policy=PlannedPolicy("none", ""),
            judgement=Judgement(request.model.id, None, Verdict.ALLOW, (), (), ()), region="us-east-1",
        )  # fmt: skip
    except ModelpickError as error:
        codes: dict[str, Cause] = {
            "no_price": "price_unknown", "not_offered_here": "not_offered", "does_not_fit": "memory",
        }  # fmt: skip
        return Told(None, None, codes[error.code])
    (first, *_) = made.candidates
    return Told(made.instance_type, first.offer.usd_per_hour, None)


COMMANDS: dict[str, tuple[Callable[[PlanRequest, Sequence[Offer]], Told], bool]] = {
    "recommend": (by_recommend, True),  # True: a model at an unknown price is a row, not a refusal
    "cost": (by_cost, True),
    "estimate": (by_estimate, False),
    "plan": (by_plan, False),
}


def expected(fitting: set[str], offers: Sequence[Offer], *, as_a_row: bool) -> tuple[bool, Cause | None]:
    """Whether an instance with a price is named, and else the cause; None where a row without a price is the answer."""
    here = [offer for offer in offers if offer.instance.name in fitting]
    rented = [offer for offer in here if offer.availability != "not_offered"]
    if any(offer.usd_per_hour is not None for offer in rented):
        return True, None
    if rented:
        return False, None if as_a_row else "price_unknown"
    return False, "not_offered" if here else "memory"


@pytest.fixture(scope="module")
def fitting() -> dict[str, set[str]]:
    """By model the types that it fits in us-east-1, at whatever price."""
    found = {}
    for name in MODELS:
        placed = place(_request(name), _one_gpu("us-east-1"), Caps(), catalog_search.facts())
        assert isinstance(placed, Placements)
        found[name] = {row.offer.instance.name for row in (*placed.rows, *placed.unpriced)}
    return found


def _one_gpu(region: str) -> list[Offer]:
    return offers_for(embedded.offers(region), Families(gpu_class="G"), None, 1)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_says_that_it_does_not_fit_where_only_the_price_or_the_type_is_missing(
    command: str, fitting: dict[str, set[str]]
) -> None:
    ask, as_a_row = COMMANDS[command]
    kinds = set()
    for region in REGIONS:
        offers = embedded.offers(region) if command == "estimate" else _one_gpu(region)
        for name in MODELS:
            told = ask(_request(name), offers)
            priced, cause = expected(fitting[name], _one_gpu(region), as_a_row=as_a_row)
            assert (told.usd is not None, told.cause) == (priced, cause), (region, name, told)
            if told.instance is not None:
                assert told.instance in fitting[name]
            kinds.add((priced, cause))
    unpriced = None if as_a_row else "price_unknown"
    assert kinds == {(True, None), (False, unpriced), (False, "not_offered"), (False, "memory")}


def test_the_reason_names_the_list_and_its_day_and_the_way_out_is_one_that_works() -> None:
    offers = [offer for offer in _one_gpu("eu-west-1") if offer.instance.family in ("g5", "g6e")]
    found = place(_request("Qwen/Qwen3-14B"), offers, Caps(), catalog_search.facts())
    assert isinstance(found, Placements)
    refusal = found.refusal()
    assert refusal is not None
    assert (refusal.cause, refusal.code) == ("not_offered", "not_offered_here")
    assert refusal.reason == "it fits g6e.xlarge (L40S), which AWS did not rent in eu-west-1 on 2026-01-21"
    assert refusal.remedy == "`modelpick offers --instance g6e.xlarge --all-regions` lists where it is rented"


def test_a_plan_without_a_price_is_refused_with_the_command_that_asks_for_it() -> None:
    with pytest.raises(ModelpickError, match="no plan can promise a limit in dollars") as refused:
        gather.plan("Qwen/Qwen3-8B", serve={}, region="ap-southeast-6", max_usd=5.0)
    assert (refused.value.code, refused.value.exit_code) == ("no_price", 3)
    assert "modelpick offers --live --region ap-southeast-6 --instance g" in refused.value.fix


def test_a_price_that_appears_is_taken_and_one_that_goes_is_not_the_end_of_the_type() -> None:
    """The same region with one price taken away: the type stays, without a price, and behind all others."""
    offers = _one_gpu("eu-central-1")
    request = _request("Qwen/Qwen3-8B")
    first = by_recommend(request, offers).instance
    gone = [replace(one, usd_per_hour=None) if one.instance.name == first else one for one in offers]
    found = place(request, gone, Caps(), catalog_search.facts())
    assert isinstance(found, Placements)
    assert [row.offer.instance.name for row in found.unpriced].count(first or "") == 1
    assert found.rows[0].offer.instance.name != first
