"""Every license fact means something, and each row of the table is needed: a case a row, and a mutant a row."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_args, get_type_hints

import pytest

from modelpick.errors import UsageError
from modelpick.licensing import conditions, load
from modelpick.licensing.conditions import ROWS, Assessment, FactRow, Modality, assess_license
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.license import Bound, License, LicenseSource, Limits, Owes, Permits
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.policy import Company, Policy, PolicyRules
from modelpick.licensing.quotes import Quote
from modelpick.licensing.verdict import judge
from modelpick.schema import IsoDate
from tests.licensing.conftest import TODAY, model


@dataclass(frozen=True)
class Expected:
    """License facts (`commercial_use` is "yes" unless given), a company that differs from the commercial policy's, and
    the answer: verdict, reason codes, and obligation codes with a word of their text."""

    facts: dict[str, Any]
    verdict: str
    reasons: set[str]
    obligations: dict[str, str] = field(default_factory=dict)
    company: dict[str, Any] = field(default_factory=dict)
    modality: Modality = "text"


EU = {"territory_excluded": ("EU",)}
MULTIMODAL = {**EU, "territory_scope": "multimodal"}
TERRITORY = {"territory": "EU"}
MILLION_USERS, TEN_MILLION = Bound(at_most=10**6), Bound(less_than=10**7)
CASES = (
    Expected({}, "allow", {"permissive"}),
    Expected({"commercial_use": "no"}, "deny", {"non_commercial"}),
    Expected({"commercial_use": "unknown"}, "review", {"unknown_license"}),
    Expected({"commercial_use": "conditional"}, "conditions", {"conditional_license"}),
    Expected({"family": True}, "review", {"family_id"}),
    Expected({"confidence": "low"}, "review", {"unread_license"}),
    Expected({"confidence": "medium"}, "review", {"unread_license"}),
    Expected({"confidence": "medium", "commercial_use": "no"}, "deny", {"non_commercial"}),
    Expected({"quotes": {}}, "allow", {"permissive", "no_clause_kept"}),
    # A license that cannot be relied on is not looked at for limits; what it asks for is still said.
    Expected({"commercial_use": "no", "application": True, "notice": True}, "deny", {"non_commercial"}),
    Expected({"monthly_active_users": Bound(at_most=10)}, "deny", {"over_user_limit"}),
    Expected({"monthly_active_users": MILLION_USERS}, "conditions", {"within_user_limit"}, {"user_limit": "1,000,000"}),
    Expected({"monthly_active_users": MILLION_USERS}, "review", {"user_limit_unknown"}, {"user_limit": "1,000,000"},
             {"monthly_active_users": None}),
    Expected({"annual_revenue_usd": Bound(less_than=10)}, "deny", {"over_revenue_limit"}),
    Expected({"annual_revenue_usd": TEN_MILLION}, "conditions", {"within_revenue_limit"},
             {"revenue_limit": "10,000,000"}),
    Expected(EU, "deny", {"excluded_customers"}, {}, {"customers": ("US", "FR")}),
    Expected(EU, "allow", {"permissive"}, TERRITORY, {"customers": ("US", "CH")}),
    Expected(EU, "deny", {"excluded_customers"}, {}, {"customers": ("somewhere",)}),
    Expected({**EU, "territory_spares_end_users": True}, "allow", {"permissive", "end_users_spared"}, TERRITORY,
             {"customers": ("FR",)}),
    Expected(MULTIMODAL, "review", {"territory_unknown"}, TERRITORY, {"customers": ("FR",)}, "unknown"),
    Expected(EU, "review", {"domicile_unknown"}, TERRITORY, {"domicile": "Germany"}),
    Expected({"annual_revenue_usd": TEN_MILLION}, "review", {"revenue_limit_unknown"}, {"revenue_limit": "10,000,000"},
             {"annual_revenue_usd": None}),
    # At the figure itself: "at most" reaches it, "less than" does not.
    Expected({"monthly_active_users": Bound(at_most=9)}, "conditions", {"within_user_limit"}, {"user_limit": "above 9"},
             {"monthly_active_users": 9}),
    Expected({"monthly_active_users": Bound(less_than=9)}, "deny", {"over_user_limit"}, {},
             {"monthly_active_users": 9}),
    Expected({"annual_revenue_usd": Bound(less_than=9)}, "conditions", {"within_revenue_limit"},
             {"revenue_limit": "at or above 9"}, {"annual_revenue_usd": 8}),
    # A limit that is met says more than "on conditions".
    Expected({"commercial_use": "conditional", "annual_revenue_usd": TEN_MILLION}, "conditions",
             {"within_revenue_limit"}, {"revenue_limit": "10,000,000"}),
    Expected({"hosting": "no"}, "allow", {"permissive"}, {"no_hosting": "service"}),
    Expected({"hosting": "no"}, "deny", {"hosting_not_allowed"}, {}, {"deployment": "api"}),
    Expected({"hosting": "no"}, "review", {"deployment_unknown"}, {"no_hosting": "service"}, {"deployment": None}),
    Expected({"hosting": "conditional"}, "review", {"hosting_conditional"}, {"hosting_conditions": "read Test license"},
             {"deployment": "api"}),
    Expected({"train_other_models": "no"}, "allow", {"permissive"}, {"outputs": "do not use its outputs"}),
    Expected({"train_other_models": "no"}, "deny", {"outputs_restricted"}, {}, {"trains_other_models": True}),
    Expected({"train_other_models": "no"}, "review", {"outputs_unknown"}, {"outputs": "do not use its outputs"},
             {"trains_other_models": None}),
    Expected({"train_other_models": "if-named"}, "allow", {"permissive"}, {"outputs": "name prefix and"}),
    Expected({"train_other_models": "if-attributed"}, "allow", {"permissive"}, {"outputs": "the attribution, if"}),
    Expected({"train_other_models": "as-derivative"}, "allow", {"permissive"}, {"outputs": "derivative"}),
    Expected(EU, "allow", {"permissive"}, TERRITORY),
    Expected(EU, "deny", {"excluded_territory"}, {}, {"domicile": "DE"}),
    Expected(EU, "review", {"domicile_unknown"}, TERRITORY, {"domicile": None}),
    Expected(EU, "deny", {"excluded_region"}, {}, {"regions": ("eu-west-1", "us-east-1")}),
    Expected(EU, "review", {"region_unknown"}, TERRITORY, {"regions": ("mars-north-1",)}),
    Expected(MULTIMODAL, "allow", {"permissive"}, TERRITORY, {"domicile": "DE"}),
    Expected(MULTIMODAL, "deny", {"excluded_territory"}, {}, {"domicile": "DE"}, "multimodal"),
    Expected(MULTIMODAL, "review", {"territory_unknown"}, TERRITORY, {"domicile": "DE"}, "unknown"),
    Expected({"application": True}, "review", {"application_required"}),
    Expected({"royalties": True}, "review", {"application_required"}),
    Expected({"derivatives": "not-shared"}, "conditions", {"no_derivatives"}, {"do_not_share_changes": "share"}),
    Expected({"derivatives": "same-license"}, "allow", {"permissive"}, {"same_license": "stay under"}),
    Expected({"derivatives": "same-restrictions"}, "allow", {"permissive"}, {"same_restrictions": "restrictions"}),
    Expected({"patents": False}, "allow", {"permissive", "no_patent_grant"}),
    Expected({"ends_on_litigation": True}, "allow", {"permissive"}, {"patent_litigation": "sue"}),
    Expected({"revocable": True}, "conditions", {"revocable"}, {"revocable": "Acme may restrict or end your use"}),
    Expected({"made_for": "data"}, "allow", {"permissive", "not_made_for_models"}),
    Expected({"notice": True}, "allow", {"permissive"}, {"keep_notices": "notices"}),
    Expected({"notice_file": "Notice"}, "allow", {"permissive"}, {"notice_file": "a Notice text file that names Test"}),
    Expected({"notice_file": "Notice", "notice_text": "By Acme"}, "allow", {"permissive"},
             {"notice_file": 'a Notice text file that says "By Acme"'}),
    Expected({"copy_of_license": True}, "allow", {"permissive"}, {"copy_of_license": "copy"}),
    Expected({"mark_changes": True}, "allow", {"permissive"}, {"mark_changes": "changed"}),
    Expected({"attribution": "Acme"}, "conditions", {"attribution"}, {"attribution": 'show "Acme"'}),
    Expected({"attribution": "Acme", "display_above_monthly_users": 5}, "conditions", {"attribution"},
             {"attribution": 'show "Acme" above 5 monthly active users'}),
    Expected({"attribution": "Acme", "display_above_monthly_revenue_usd": 7}, "conditions", {"attribution"},
             {"attribution": 'show "Acme" above 7 US dollars'}),
    Expected({"attribution": "Acme", "attribution_on": "derived"}, "conditions", {"attribution"},
             {"attribution_of_derivatives": 'show "Acme" with a model that you make'}),
    Expected({"credit": True}, "conditions", {"attribution"}, {"attribution": "credit the authors, name Test license"}),
    Expected({"venue": "the courts of Acme"}, "allow", {"permissive"}, {"venue": "go to the courts of Acme"}),
    Expected({"name_prefix": "Acme"}, "conditions", {"name_prefix"}, {"name_prefix": '"Acme"'}),
    Expected({"use_policy": "acme.org/use"}, "conditions", {"use_policy"}, {"use_policy": "acme.org/use"}),
    Expected({"use_restrictions": True}, "conditions", {"use_restrictions"}, {"use_restrictions": "restrictions"}),
    Expected({"pass_on": True}, "allow", {"permissive"}, {"pass_on_restrictions": "terms you give"}),
    Expected({"share_alike": "file"}, "conditions", {"share_alike"}, {"share_alike": "changed files"}),
    Expected({"network_source": True}, "conditions", {"network_source"}, {"network_source": "source"}),
    Expected({"registration": True}, "conditions", {"registration"}, {"registration": "notify Acme"}),
    Expected({"keep_guardrails": True}, "allow", {"permissive"}, {"keep_guardrails": "guardrails"}),
    Expected({"latest_version": True}, "allow", {"permissive"}, {"latest_version": "latest"}),
    Expected({"rename_changed": True}, "allow", {"permissive"}, {"rename_changed": "another name"}),
    Expected({"forbidden": ("weapons", "spam")}, "allow", {"permissive"}, {"forbidden_uses": "weapons; spam"}),
)  # fmt: skip


def license_of(facts: dict[str, Any]) -> License:
    """A license of Acme with these facts, each put where the dataclasses have it."""
    facts = {"commercial_use": "yes", "confidence": "high", **facts}

    def part(kind: Any) -> Any:
        names = {item.name for item in fields(kind)}
        return kind(**{name: value for name, value in facts.items() if name in names})

    return License(
        id="test", title="Test license", category="unknown", confidence=facts["confidence"], steward="Acme",
        source=LicenseSource(("a test",), IsoDate("2026-11-23")), family=facts.get("family", False),
        quotes=facts.get("quotes", {"commercial_use": Quote("1", "You may.")}),
        permits=part(Permits), limits=part(Limits), owes=part(Owes),
    )  # fmt: skip


def assessed(case: Expected, policy: Policy, facts: LicenseFacts, rows: Sequence[FactRow] = ROWS) -> Assessment:
    company = replace(policy.company, **case.company)
    told = license_of(case.facts)
    return assess_license(
        told, "card", "said", replace(policy, company=company), facts.territories, case.modality, rows
    )


def as_expected(case: Expected, answer: Assessment) -> bool:
    texts: dict[str, list[str]] = {}
    for obligation in answer.obligations:
        texts.setdefault(obligation.code, []).append(obligation.text)
    return (
        answer.verdict == case.verdict
        and {reason.code for reason in answer.reasons} == case.reasons
        and set(texts) == set(case.obligations)
        and all(any(word in text for text in texts[code]) for code, word in case.obligations.items())
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.facts}{case.company or ''}{case.modality}")
def test_a_fact_comes_to_its_answer(case: Expected, commercial: Policy, facts: LicenseFacts) -> None:
    answer = assessed(case, commercial, facts)
    assert as_expected(case, answer), answer


@pytest.mark.parametrize("position", range(len(ROWS)))
def test_without_any_one_row_an_answer_is_wrong(position: int, commercial: Policy, facts: LicenseFacts) -> None:
    """The planted mutants: the table with one row taken out fails at least one of the cases above."""
    mutant = [*ROWS[:position], *ROWS[position + 1 :]]
    assert not all(as_expected(case, assessed(case, commercial, facts, mutant)) for case in CASES), ROWS[position]


def test_every_fact_has_a_row_and_every_row_a_fact() -> None:
    sections = {"permits": Permits, "limits": Limits, "owes": Owes}
    facts = {f"{section}.{item.name}" for section, kind in sections.items() for item in fields(kind)}
    assert {row.field for row in ROWS} == facts
    assert conditions.fields_without_a_row() == ()


def test_a_fact_without_a_row_is_refused_when_licenses_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for fact in ("permits.revocable", "limits.royalties", "owes.notice"):
        left = tuple(row for row in ROWS if row.field != fact)
        assert conditions.fields_without_a_row(left) == (fact,)
        monkeypatch.setattr(load, "fields_without_a_row", lambda left=left: conditions.fields_without_a_row(left))
        with pytest.raises(UsageError, match=fact):
            load.load_licenses()


def test_no_value_of_a_fact_is_silent_but_those_that_ask_for_nothing(commercial: Policy, facts: LicenseFacts) -> None:
    """A new value of a Literal fact (a fifth kind of derivatives) that no row reads would be a silent permission."""
    silent = set()
    nothing_known = Company()
    for kind in (Permits, Limits, Owes):
        for name, hint in get_type_hints(kind).items():
            for value in [choice for part in (hint, *get_args(hint)) for choice in get_args(part)]:
                if not isinstance(value, str):
                    continue
                texts = EU if name == "territory_scope" else {"attribution": "Acme"} if name == "attribution_on" else {}
                answers = [
                    assess_license(license_of(told), "card", "said", policy, facts.territories, "unknown")
                    for told in ({**texts, "commercial_use": "yes"}, {**texts, name: value})
                    for policy in (commercial, replace(commercial, company=nothing_known))
                ]
                if answers[:2] == answers[2:] or _codes(answers[:2]) == _codes(answers[2:]):
                    silent.add((name, value))
    assert silent == {
        ("commercial_use", "yes"), ("derivatives", "own-license"), ("hosting", "yes"), ("train_other_models", "yes"),
        ("made_for", "models"), ("territory_scope", "all"), ("attribution_on", "use"),
    }  # fmt: skip


def _codes(answers: Sequence[Assessment]) -> list[tuple[set[str], set[str]]]:
    return [({one.code for one in answer.reasons}, {one.code for one in answer.obligations}) for answer in answers]


def test_every_rule_that_a_row_names_is_a_rule_of_the_policy() -> None:
    rules = {item.name for item in fields(PolicyRules)}
    assert {row.rule for row in ROWS if row.rule} <= rules
    elsewhere = {"no_license", "contradiction", "unknown_ancestor", "training_data"}  # evidence, not license facts
    assert rules - {row.rule for row in ROWS} == elsewhere


def test_a_revocable_license_without_patents_is_no_silent_allow(commercial: Policy, facts: LicenseFacts) -> None:
    told = license_of({"commercial_use": "yes", "revocable": True, "patents": False})
    answer = assess_license(told, "card", "said", commercial, facts.territories, "text")
    assert answer.verdict is Verdict.CONDITIONS
    assert {reason.code for reason in answer.reasons} == {"revocable", "no_patent_grant"}
    strict = replace(commercial, rules=replace(commercial.rules, no_patent_grant=Verdict.DENY))
    assert assess_license(told, "card", "said", strict, facts.territories, "text").verdict is Verdict.DENY


def test_gemma_says_that_google_may_end_the_use(commercial: Policy, facts: LicenseFacts) -> None:
    answer = judge(model("google/gemma-3-4b-it", "gemma"), commercial, facts, lambda _: None, TODAY)
    assert any("Google" in reason.text and "end your use" in reason.text for reason in answer.reasons)
    assert any("Google may restrict or end your use" in obligation.text for obligation in answer.obligations)


def test_sentences_are_sentences(commercial: Policy, facts: LicenseFacts) -> None:
    """Nothing of the table's own form reaches a reader: no placeholder, no empty text, the title first."""
    for case in CASES:
        answer = assessed(case, commercial, facts)
        for text in [reason.text for reason in answer.reasons]:
            assert text.startswith("Test license "), text
        for text in [*(reason.text for reason in answer.reasons), *(owed.text for owed in answer.obligations)]:
            assert not {"{", "}"} & set(text), text
            assert "None" not in text, text
