"""Filter, fit, price, rank: the rules of the ranking, on small made-up models and offers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.catalog.model import Model, Quality
from modelpick.errors import CannotTellError
from modelpick.licensing.outcome import Reason, Verdict
from modelpick.licensing.verdict import Judgement
from modelpick.offers import embedded
from modelpick.offers.instance import Families
from modelpick.offers.price import Offer
from modelpick.planning.context_limit import context_problem
from modelpick.planning.filters import SORT_KEYS, Filters
from modelpick.planning.placement import Placement, Placements
from modelpick.planning.recommend import Ranking, Recommendations
from modelpick.planning.rejection import Rejection
from modelpick.planning.request import Caps, PlanRequest
from modelpick.workload import Workload
from tests.planning.test_other_kinds import ENCODER, HEARING

GIB = 2.0**30


@dataclass(frozen=True)
class FakeMemory:
    """Only what ranking reads of an estimate."""

    total: float
    high: float


def quality(score: float, spread: float = 5.0, status: Any = "rated") -> Quality:
    return Quality(score, score - spread, score + spread, status, ("board",), "2026-08-22")


def model(id: str, score: float | None = None, gib: float = 10.0, **facts: Any) -> Model:
    spread = facts.pop("spread", 5.0)
    status = facts.pop("status", "rated")
    rated = None if score is None else quality(score, spread, status)
    return Model(id=id, origin="catalog", quality=rated, parameters=int(gib * GIB), **{"context": 32768, **facts})


def judgement(subject: Model, verdict: Verdict) -> Judgement:
    reason = Reason("because", f"it is {verdict.value}", "a card", verdict)
    return Judgement(subject.id, None, verdict, (), (reason,), ())


def allowed(subject: Model) -> Judgement:
    return judgement(subject, Verdict.ALLOW)


def place(request: PlanRequest, offers: Sequence[Offer], caps: Caps) -> Placements | Rejection:
    """A search over made-up models: as many bytes as parameters, at most a tenth more."""
    subject, workload = request.model, request.serve or request.finetune
    setup: Any = SimpleNamespace(model=subject, engine="vllm")
    if subject.parameters is None:
        raise CannotTellError("shape unknown", fix="none", code="unknown_architecture")
    assert workload is not None
    problem = context_problem(subject.context, workload.context, workload.generate)
    if problem is not None:
        return Rejection("context", problem.code, problem.message, problem.fix)
    memory: Any = FakeMemory(float(subject.parameters), subject.parameters * 1.1)
    rows, unpriced, rejected = [], [], []
    for offer in sorted(offers, key=lambda offer: offer.usd_per_hour or 1e9):
        free = offer.instance.usable_memory_gib - memory.high / GIB
        placement = Placement(offer, setup, None, memory, free)
        if free < 0:
            rejected.append(Rejection("memory", "does_not_fit", "too large", "", offer, free))
        elif offer.usd_per_hour is None:
            unpriced.append(placement)
        elif caps.max_usd_per_hour is not None and offer.usd_per_hour > caps.max_usd_per_hour:
            rejected.append(Rejection("too_expensive", "too_expensive", "above", "", offer, free))
        else:
            rows.append(placement)
    return Placements(setup, tuple(rows), tuple(unpriced), tuple(rejected))


def recommend(
    models: Iterable[Model], filters: Filters, offers: Sequence[Offer], *, judge: Any = allowed, place: Any = place
) -> Recommendations:
    cap = filters.most_per_hour(embedded.billing_rates())
    return Ranking(Workload(), filters, offers, judge, place, Caps(max_usd_per_hour=cap)).of(models)


def run(*models: Model, verdicts: dict[str, Verdict] | None = None, **wanted: Any) -> Recommendations:
    return recommend(
        models, Filters(**{"families": Families(gpu_class="G"), **wanted}), embedded.offers("us-east-1"),
        judge=lambda subject: judgement(subject, (verdicts or {}).get(subject.id, Verdict.ALLOW)),
    )  # fmt: skip


def names(found: Recommendations) -> list[str]:
    return [row.model.id for row in found.passed]


def test_the_cheapest_single_gpu_that_fits_is_taken() -> None:
    row = run(model("a/a", 60, gib=18)).passed[0]
    prices = {
        offer.instance.name: offer.usd_per_hour
        for offer in embedded.offers("us-east-1")
        if offer.instance.gpu_class == "G"
        and offer.instance.gpu_count == 1
        and offer.instance.usable_memory_gib >= 18 * 1.1
        and offer.usd_per_hour is not None
    }
    assert row.placement.offer.usd_per_hour == min(prices.values())


def test_memories_of_several_gpus_are_never_added_up() -> None:
    left = run(model("a/big", 60, gib=200)).rejected[0]
    assert left.code == "does_not_fit"
    single = run(model("a/big", 60, gib=40), instances=("g5.48xlarge",)).rejected[0]
    assert single.code == "does_not_fit"


@pytest.mark.parametrize(
    ("verdict", "strict", "code"),
    [
        (Verdict.DENY, False, "license_deny"),
        (Verdict.REVIEW, False, "license_review"),
        (Verdict.CONDITIONS, True, "license_conditions"),
        (Verdict.CONDITIONS, False, None),
        (Verdict.ALLOW, True, None),
    ],
)
def test_only_what_may_be_used_is_recommended(verdict: Verdict, strict: bool, code: str | None) -> None:
    found = run(model("a/a", 60), verdicts={"a/a": verdict}, strict=strict)
    assert [left.code for left in found.rejected] == ([] if code is None else [code])


def test_a_fact_that_is_missing_stops_a_recommendation() -> None:
    shapeless = replace(model("a/a", 90), parameters=None)
    assert run(shapeless).rejected[0].code == "unknown_architecture"
    assert run(shapeless, min_parameters=1).rejected[0].code == "parameters_unknown"
    assert run(model("a/a", 90), languages=("de",)).rejected[0].code == "languages_unknown"


@pytest.mark.parametrize(
    ("facts", "wanted", "code"),
    [
        ({"languages": ("en",)}, {"languages": ("de",)}, "language"),
        ({}, {"min_parameters": 10**15}, "too_small"),
        ({}, {"max_parameters": 5}, "too_large"),
        ({"context": 2048}, {}, "context_too_long"),
        ({"context": None}, {}, "context_unknown"),
        ({"pipeline_tag": "fill-mask"}, {}, "not_generative"),
        ({"capabilities": ("embedding",)}, {}, "not_generative"),
        ({"config": ENCODER}, {}, "not_generative"),
        ({"config": HEARING}, {}, "not_generative"),
        ({"capabilities": ("rerank",)}, {}, "not_generative"),
        ({"quantization": "awq-4bit"}, {}, "quantized_copy"),
        ({}, {"max_usd_per_hour": 0.01}, "too_expensive"),
        ({}, {"families": Families(names=("p9",))}, "no_offer"),
    ],
)
def test_every_gate_names_its_reason(facts: dict[str, Any], wanted: dict[str, Any], code: str) -> None:
    left = run(model("a/a", 60, **facts), **wanted).rejected[0]
    assert left.code == code
    assert left.reason


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "its card names no languages"),
        ({"card_read": False}, "its card was not read, so its languages are not known"),
        ({"card_read": False, "languages_elsewhere": ("en",)}, "others name en"),
    ],
)
def test_a_card_that_was_not_read_is_not_said_to_name_no_languages(facts: dict[str, Any], words: str) -> None:
    (left,) = run(model("a/a", 60, **facts), languages=("de",)).rejected
    assert left.code == "languages_unknown"
    assert words in left.reason


def test_a_price_that_is_not_known_is_never_taken_for_cheap() -> None:
    unpriced = tuple(replace(offer, usd_per_hour=None) for offer in embedded.offers("us-east-1"))
    capped = Filters(max_usd_per_hour=100.0)
    (left,) = recommend([model("a/a", 60)], capped, unpriced).rejected
    assert (left.code, left.cause) == ("price_unknown", "price_unknown")
    assert "fits" in left.reason
    for sort in SORT_KEYS:
        some = tuple(
            replace(offer, usd_per_hour=9.0) if offer.instance.name == "g6e.xlarge" else offer for offer in unpriced
        )
        both = [model("a/small", 60, gib=10), model("a/large", 60, gib=40)]
        filters = Filters(sort=sort)
        rows = recommend(both, filters, unpriced).passed
        assert {row.placement.offer.usd_per_hour for row in rows} == {None}
        assert all(row.month is None for row in rows)
        known = recommend(both, filters, some).passed
        assert {row.placement.offer.usd_per_hour for row in known} == {9.0}, "a known price is taken before an unknown"


def test_at_one_score_and_by_cost_an_unknown_price_comes_last() -> None:
    offers = tuple(
        replace(offer, usd_per_hour=None) if offer.instance.gpu.name != "L40S" else offer
        for offer in embedded.offers("us-east-1")
    )
    only_small = tuple(offer for offer in offers if offer.instance.gpu.name in ("L40S", "T4"))
    rows = [model("a/large", 60, gib=40), model("a/unknown", 60, gib=10)]

    def placed(request: Any, listed: Any, caps: Any) -> Any:
        keep = "L40S" if request.model.id == "a/large" else "T4"
        return place(request, [offer for offer in listed if offer.instance.gpu.name == keep], caps)

    for sort in ("quality", "cost"):
        found = recommend(rows, Filters(sort=sort), only_small, place=placed)
        assert [row.model.id for row in found.passed] == ["a/large", "a/unknown"], sort


def test_what_a_model_is_nearly_sure_to_reach_decides_and_equal_as_printed_the_price() -> None:
    found = run(model("a/wide", 75, gib=10, spread=12), model("a/narrow", 70, gib=60, spread=2))
    assert names(found) == ["a/narrow", "a/wide"]
    found = run(model("a/dear", 70.4, gib=60), model("a/cheap", 70.1, gib=10))
    assert names(found) == ["a/cheap", "a/dear"]


def test_what_nothing_cheaper_beats_is_marked() -> None:
    found = run(model("a/cheap", 50, gib=10), model("a/dear", 80, gib=60), model("a/worse", 60, gib=80), model("a/no"))
    assert {row.model.id: row.unbeaten for row in found.passed} == {
        "a/dear": True, "a/worse": False, "a/cheap": True, "a/no": False,
    }  # fmt: skip


def test_a_score_for_the_use_comes_before_the_general_one() -> None:
    coder = model("a/coder", 50, capabilities=("code",), quality_by_use={"code": quality(90)})
    both = [coder, model("a/other", 70, capabilities=("code",))]
    found = run(*both, use_case="code")
    assert [(row.model.id, row.quality_use) for row in found.passed] == [("a/coder", "code"), ("a/other", None)]
    assert names(run(*both)) == ["a/other", "a/coder"]


def test_scores_of_different_standing_are_never_mixed() -> None:
    found = run(
        model("a/unrated"),
        model("a/legacy", 95, status="legacy"),
        model("a/vendor", 90, status="vendor-only"),
        model("a/rated", 20),
    )
    assert names(found) == ["a/rated", "a/vendor", "a/legacy", "a/unrated"]


def test_other_orders() -> None:
    models = [model("a/a", 90, gib=60, downloads=1), model("a/b", 40, gib=5, downloads=9), model("a/c", 60, gib=15)]
    assert names(run(*models, sort="cost"))[0] in ("a/b", "a/c")
    assert names(run(*models, sort="memory")) == ["a/b", "a/c", "a/a"]
    assert names(run(*models, sort="downloads")) == ["a/b", "a/a", "a/c"]


_MODELS = st.lists(
    st.tuples(st.floats(10, 90), st.floats(0.5, 15), st.sampled_from([5.0, 18.0, 40.0, 80.0])), min_size=1, max_size=25
)


@given(_MODELS, st.randoms())
def test_the_order_is_that_of_the_lower_end_and_the_marks_are_its_prices(
    drawn: list[tuple[float, float, float]], random: Any
) -> None:
    models = [model(f"a/{index}", score, gib, spread=spread) for index, (score, spread, gib) in enumerate(drawn)]
    rows = run(*models).passed
    seen = [(-round(row.model.quality.low), row.placement.offer.usd_per_hour) for row in rows if row.model.quality]
    assert seen == sorted(seen)
    for row in rows:
        beaten = any(
            other.model.quality.low >= row.model.quality.low + 1
            and other.placement.offer.usd_per_hour <= row.placement.offer.usd_per_hour
            for other in rows
        )
        assert not (beaten and row.unbeaten)
    assert any(row.unbeaten for row in rows) == bool(rows)
    shuffled = list(models)
    random.shuffle(shuffled)
    assert names(run(*shuffled)) == [row.model.id for row in rows]


@given(_MODELS)
def test_every_model_is_either_recommended_or_rejected_with_a_reason(drawn: list[tuple[float, float, float]]) -> None:
    models = [model(f"a/{index}", score, gib * 2) for index, (score, _, gib) in enumerate(drawn)]
    found = run(*models)
    assert sorted(names(found) + [left.model for left in found.rejected]) == sorted(entry.id for entry in models)
    assert sum(count for _, count in found.counts()) == len(found.rejected)
