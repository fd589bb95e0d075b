"""A human's decision: recorded, shown, expiring, and never stronger than a deny."""

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpick.catalog.model import BaseModel, Model
from modelpick.errors import UsageError
from modelpick.licensing import approvals, load
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.overrides import Approval
from modelpick.licensing.policy import Policy, Product
from modelpick.licensing.verdict import Judgement, Verdict, judge
from tests.licensing.conftest import TODAY, codes, model

ASKED = model("someone/thing", None, revision="b" * 40)
DAY = TODAY.isoformat()


def answer(asked: object, facts: LicenseFacts, policy: Policy, today: datetime.date = TODAY) -> Judgement:
    return judge(asked, policy, facts, lambda _: None, today)  # type: ignore[arg-type]


@pytest.fixture
def given_approval(facts: LicenseFacts, commercial: Policy) -> Approval:
    review = answer(ASKED, facts, commercial)
    return approvals.approval_of(
        review, commercial, by="Jane Counsel", because="asked the author", until="2027-01-31", today=DAY
    )


def test_an_approved_review_is_conditions_and_shows_what_it_overrode(
    facts: LicenseFacts, commercial: Policy, given_approval: Approval, tmp_path: Path
) -> None:
    path = tmp_path / "approvals.toml"
    path.write_text("# our decisions\n")
    approvals.record(given_approval, path)
    approvals.record(replace(given_approval, model="other/thing"), path)
    assert path.read_text().startswith("# our decisions\n")
    loaded = load.load_approvals(path)
    assert loaded[0] == given_approval
    approved = answer(ASKED, replace(facts, approvals=loaded), commercial)
    assert approved.verdict is Verdict.CONDITIONS
    assert {"by_approval", "no_license"} <= codes(approved)
    assert any("Jane Counsel" in reason.text for reason in approved.reasons)


def test_an_approval_lapses(facts: LicenseFacts, commercial: Policy, given_approval: Approval) -> None:
    held = replace(facts, approvals=(given_approval,))
    late = answer(ASKED, held, commercial, datetime.date(2027, 2, 1))
    moved = answer(replace(ASKED, revision="c" * 40), held, commercial)
    asked_more = answer(replace(ASKED, datasets=("Open-Orca/OpenOrca",)), held, commercial)
    elsewhere = answer(ASKED, held, replace(commercial, name="ours"))
    for lapsed in (late, moved, asked_more, elsewhere):
        assert lapsed.verdict is Verdict.REVIEW
        assert "approval_lapsed" in codes(lapsed)
    assert answer(ASKED, held, commercial, datetime.date(2027, 1, 31)).verdict is Verdict.CONDITIONS


CHILD = model("acme/child", "other", bases=("acme/parent",))
PARENT = model("acme/parent", "apache-2.0", texts={"LICENSE": "Apache License"}, revision="c" * 40)


def chain(facts: LicenseFacts, policy: Policy, child: Model = CHILD, *parents: Model) -> Judgement:
    by_id = {one.id: one for one in parents}
    return judge(child, policy, facts, by_id.get, TODAY)


def approval_for(review: Judgement, policy: Policy, **said: Any) -> Approval:
    words = {"by": "Jane", "because": "asked", "until": "2027-01-31"} | said
    return approvals.approval_of(review, policy, today=DAY, **words)


@pytest.mark.parametrize(
    ("parents", "why"),
    [
        ((replace(PARENT, license="other", texts={}),), "evidence of acme/parent has changed"),
        ((replace(PARENT, license="other", license_name="acme-paid"),), "new questions"),
        ((replace(PARENT, texts={"LICENSE": "Pay us."}),), "new questions"),
        ((replace(PARENT, texts={}),), "evidence of acme/parent has changed"),
        ((replace(PARENT, gate_text="Research only"),), "evidence of acme/parent has changed"),
        ((replace(PARENT, base_models=(BaseModel("acme/grandparent"),)), model("acme/grandparent", "mit")),
         "acme/grandparent was not among its ancestors"),
        ((), "new questions"),
    ],
)  # fmt: skip
def test_an_approval_is_bound_to_the_evidence_it_was_given_on(
    parents: tuple[Model, ...], why: str, facts: LicenseFacts, commercial: Policy
) -> None:
    """The question has one code throughout: what it rests on has changed."""
    approval = approval_for(chain(facts, commercial, CHILD, PARENT), commercial)
    held = replace(facts, approvals=(approval,))
    assert chain(held, commercial, CHILD, PARENT).verdict is Verdict.CONDITIONS
    respelt = replace(PARENT, revision="d" * 40, texts={**PARENT.texts, "README.md": "a correction"})
    assert chain(held, commercial, CHILD, respelt).verdict is Verdict.CONDITIONS
    after = chain(held, commercial, CHILD, *parents)
    assert after.verdict >= Verdict.REVIEW
    assert any(why in reason.text for reason in after.reasons if reason.code == "approval_lapsed")


def test_an_approval_without_evidence_does_not_hold(
    facts: LicenseFacts, commercial: Policy, given_approval: Approval
) -> None:
    """Those of an older modelpick: what they were given on is not known."""
    lapsed = answer(ASKED, replace(facts, approvals=(replace(given_approval, evidence={}),)), commercial)
    assert lapsed.verdict is Verdict.REVIEW
    assert any("modelpick policy approve" in reason.text for reason in lapsed.reasons)


def test_a_lapsed_approval_is_no_question_of_its_own(facts: LicenseFacts, commercial: Policy) -> None:
    old = approval_for(answer(ASKED, facts, commercial), commercial)
    held = replace(facts, approvals=(replace(old, evidence={}),))
    renewed = approval_for(answer(ASKED, held, commercial), commercial)
    assert "approval_lapsed" not in renewed.overrides
    assert answer(ASKED, replace(facts, approvals=(*held.approvals, renewed)), commercial).verdict is Verdict.CONDITIONS


def test_of_two_decisions_that_contradict_the_stricter_counts_and_says_so(
    facts: LicenseFacts, commercial: Policy
) -> None:
    review = answer(ASKED, facts, commercial)
    approved = approval_for(review, commercial, by="Ann")
    rejected = approval_for(review, commercial, by="Bob", reject=True)
    for order in ((approved, rejected), (rejected, approved)):
        both = answer(ASKED, replace(facts, approvals=order), commercial)
        assert both.verdict is Verdict.DENY
        assert any({"Ann", "Bob"} <= set(reason.text.split()) for reason in both.reasons), (
            "it says who contradicts whom"
        )
    earlier = replace(approved, by="Cem", until="2026-12-31")  # type: ignore[arg-type]
    for order in ((approved, earlier), (earlier, approved)):
        both = answer(ASKED, replace(facts, approvals=order), commercial)
        assert both.verdict is Verdict.CONDITIONS
        assert any("the earlier day counts" in reason.text for reason in both.reasons)
        assert "renew the approval before 2026-12-31" in {owed.text for owed in both.obligations}


def test_a_rejection_holds_for_what_the_policy_allows_and_for_every_commit(
    facts: LicenseFacts, commercial: Policy
) -> None:
    free = replace(ASKED, license="mit")
    rejection = approval_for(answer(free, facts, commercial), commercial, reject=True)
    held = replace(facts, approvals=(rejection,))
    assert answer(free, held, commercial).verdict is Verdict.DENY
    assert answer(replace(free, revision="c" * 40), held, commercial).verdict is Verdict.DENY
    assert answer(free, held, commercial, datetime.date(2027, 2, 1)).verdict is Verdict.ALLOW
    with pytest.raises(UsageError) as refused:
        approval_for(answer(free, held, commercial), commercial, reject=True)
    assert refused.value.code == "nothing_to_approve"


def test_an_approval_for_a_product_is_for_that_product(facts: LicenseFacts, commercial: Policy) -> None:
    products = {"chat": Product(), "lab": Product(deployment="internal")}
    policy = replace(commercial, company=replace(commercial.company, products=products))
    lab = policy.for_product("lab")
    held = replace(facts, approvals=(approval_for(answer(ASKED, facts, lab), lab),))
    assert answer(ASKED, held, lab).verdict is Verdict.CONDITIONS
    assert answer(ASKED, held, policy.for_product("chat")).verdict is Verdict.REVIEW
    assert answer(ASKED, held, policy).verdict is Verdict.REVIEW


def test_a_deny_cannot_be_approved(facts: LicenseFacts, commercial: Policy, given_approval: Approval) -> None:
    denied = replace(ASKED, license="cc-by-nc-4.0")
    with pytest.raises(UsageError) as refused:
        approvals.approval_of(answer(denied, facts, commercial), commercial, by="x", because="y", until=DAY, today=DAY)
    assert refused.value.code == "deny_not_approvable"
    forged = replace(given_approval, overrides=("non_commercial", "no_license"))
    assert answer(denied, replace(facts, approvals=(forged,)), commercial).verdict is Verdict.DENY


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"until": "2026-11-22"}, "bad_date"),
        ({"until": "2036-01-01"}, "bad_date"),
        ({"until": "soon"}, "bad_date"),
        ({"until": "2027-13-01"}, "bad_date"),
        ({"by": " "}, "approval_incomplete"),
        ({"because": ""}, "approval_incomplete"),
    ],
)
def test_an_approval_names_who_why_and_until_when(
    facts: LicenseFacts, commercial: Policy, change: dict[str, str], code: str
) -> None:
    said = {"by": "Jane", "because": "asked", "until": "2027-01-31"} | change
    with pytest.raises(UsageError) as refused:
        approvals.approval_of(answer(ASKED, facts, commercial), commercial, today=DAY, **said)
    assert refused.value.code == code


def test_no_approval_without_a_commit_or_a_question(facts: LicenseFacts, commercial: Policy) -> None:
    for asked, code in (
        (replace(ASKED, revision=None), "no_revision"),
        (replace(ASKED, license="mit"), "nothing_to_approve"),
    ):
        with pytest.raises(UsageError) as refused:
            approvals.approval_of(
                answer(asked, facts, commercial), commercial, by="x", because="y", until=DAY, today=DAY
            )
        assert refused.value.code == code


@settings(max_examples=100, deadline=None)
@given(by=st.text(min_size=1).filter(str.strip), because=st.text(min_size=1).filter(str.strip))
def test_whatever_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, by: str, because: str) -> None:
    one = Approval("a/b", "c" * 40, by, because, "2027-01-01", "2026-01-01", "commercial", ("x",), ())  # type: ignore[arg-type]
    path = tmp_path_factory.mktemp("approvals") / "approvals.toml"
    try:
        approvals.record(one, path)
    except UnicodeEncodeError:
        pytest.fail("text that cannot be stored is refused with a sentence")
    assert load.load_approvals(path) == (one,)


def test_a_broken_approvals_file_is_refused_before_it_is_added_to(given_approval: Approval, tmp_path: Path) -> None:
    path = tmp_path / "approvals.toml"
    path.write_text("[[approval]]\nmodle = 'a/b'\n")
    with pytest.raises(UsageError, match="modle"):
        approvals.record(given_approval, path)
    assert path.read_text() == "[[approval]]\nmodle = 'a/b'\n"
