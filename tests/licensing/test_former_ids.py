"""A renamed repository: what restricts is of every id it had, what opens is of the id that it names."""

from dataclasses import replace

import pytest

from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.overrides import Approval, Curation, Curations
from modelpick.licensing.policy import NamedRule, Policy, Purchase
from modelpick.schema import IsoDate
from tests.licensing.conftest import Judged, codes, model

NEW, OLD = "neworg/model-1", "lmsys/vicuna-13b-v1.5"
DAY = IsoDate("2026-11-01")


def test_a_family_that_the_former_name_implies_counts(judged: Judged) -> None:
    assert judged(model(NEW, "apache-2.0")).verdict is Verdict.ALLOW
    now = judged(model(NEW, "apache-2.0", former_ids=(OLD,)))
    assert now.verdict is judged(model(OLD, "apache-2.0")).verdict
    assert now.verdict is not Verdict.ALLOW
    assert now.model == NEW


def test_an_ancestor_is_known_under_its_former_name_too(judged: Judged) -> None:
    parent = model("acme/parent", "apache-2.0", former_ids=(OLD,))
    child = model("acme/child", "apache-2.0", bases=("acme/parent",))
    assert judged(child, parent).verdict > judged(child, replace(parent, former_ids=())).verdict


@pytest.mark.parametrize("fact", [{"license": "cc-by-nc-4.0"}, {"disputed": True}])
def test_known_models_of_a_former_id_count(fact: dict[str, object], judged: Judged, facts: LicenseFacts) -> None:
    entry = Curation("old/one", "it is so", "a page", DAY, **fact)  # type: ignore[arg-type]
    renamed = Curation("mid/one", "renamed", "a page", DAY, renamed_to=NEW)
    known = replace(facts, curations=Curations([entry, replace(renamed, id="old/one"), renamed]))
    assert judged(model(NEW, "mit"), facts=known).verdict > Verdict.CONDITIONS
    assert judged(model("other/one", "mit", former_ids=("Old/One",)), facts=known).verdict > Verdict.CONDITIONS


def test_a_named_rule_holds_for_a_former_id(judged: Judged, commercial: Policy) -> None:
    rule = NamedRule(because="not this one", verdict="deny", models=("old/*",))
    policy = replace(commercial, named_rules=(rule,)).sealed()
    assert judged(model(NEW, "mit"), policy=policy).verdict is Verdict.ALLOW
    assert judged(model(NEW, "mit", former_ids=("old/one",)), policy=policy).verdict is Verdict.DENY


@pytest.mark.parametrize("decision", ["deny", "conditions"])
def test_a_rejection_follows_a_rename_and_an_approval_does_not(
    decision: str, judged: Judged, facts: LicenseFacts
) -> None:
    asked = model("old/one", None)
    answer = judged(asked)
    given = Approval(
        "old/one", "a" * 40, "Ann", "read it", IsoDate("2027-06-01"), DAY, "commercial",
        overrides=tuple({one.code for one in answer.questions}), evidence=answer.evidence(),
        verdict=decision,  # type: ignore[arg-type]
    )  # fmt: skip
    known = replace(facts, approvals=(given,))
    assert judged(asked, facts=known).verdict == decision
    renamed = judged(replace(asked, id=NEW, former_ids=("old/one",)), facts=known)
    assert renamed.verdict is (Verdict.DENY if decision == "deny" else Verdict.REVIEW)


def test_a_contract_counts_for_the_id_it_names(judged: Judged, commercial: Policy) -> None:
    def bought(id: str) -> Policy:
        purchase = Purchase("Acme", "1", IsoDate("2027-06-01"), (id,))
        return replace(commercial, company=replace(commercial.company, purchased=(purchase,))).sealed()

    renamed = model(NEW, "cc-by-nc-4.0", former_ids=("old/one",))
    assert judged(renamed, policy=bought("old/one")).verdict is Verdict.DENY
    opened = judged(renamed, policy=bought(NEW))
    assert opened.verdict is Verdict.CONDITIONS
    assert "purchased_license" in codes(opened)
