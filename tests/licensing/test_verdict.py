"""The answers that matter most, and the laws every answer keeps."""

from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpick.licensing import load
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.policy import Policy, PolicyRules
from modelpick.licensing.verdict import Verdict, join, judge
from tests.licensing.conftest import TODAY, Judged, codes, model

verdicts = st.sampled_from(list(Verdict))


@given(st.lists(verdicts), st.lists(verdicts))
def test_joining_is_commutative_associative_and_idempotent(a: list[Verdict], b: list[Verdict]) -> None:
    if a and b:
        assert join(a + b) == join(b + a) == join([join(a), join(b)])
    if a:
        assert join(a + a) == join(a)


def test_nothing_known_is_a_question() -> None:
    assert join([]) is Verdict.REVIEW


def test_verdicts_are_ordered_by_strictness_not_by_spelling() -> None:
    assert sorted(Verdict) == [Verdict.ALLOW, Verdict.CONDITIONS, Verdict.REVIEW, Verdict.DENY]
    assert Verdict.DENY > Verdict.REVIEW >= Verdict.CONDITIONS > Verdict.ALLOW


@pytest.mark.parametrize(
    ("id", "license", "name", "expected"),
    [
        ("huggyllama/llama-7b", "other", None, "deny"),
        ("tiiuae/falcon-7b", "apache-2.0", None, "allow"),
        ("mosaicml/mpt-7b", "apache-2.0", None, "allow"),
        ("mosaicml/mpt-7b-chat", "cc-by-nc-sa-4.0", None, "deny"),
        ("tiiuae/falcon-180B", "unknown", None, "conditions"),
        ("meta-llama/Llama-3.1-8B", "llama3.1", None, "conditions"),
        ("google/flan-t5-base", "apache-2.0", None, "allow"),
        ("FacebookAI/xlm-roberta-large", "mit", None, "allow"),
        ("openlm-research/open_llama_7b", "apache-2.0", None, "allow"),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "apache-2.0", None, "allow"),
        ("google/gemma-4-E4B-it", "apache-2.0", None, "allow"),
        ("google/gemma-3-4b-it", "gemma", None, "conditions"),
        ("someone/something", None, None, "review"),
        ("someone/something", "unknown", None, "review"),
        ("someone/something", "other", "their-own-license", "review"),
    ],
)
def test_well_known_models(judged: Judged, id: str, license: object, name: str | None, expected: str) -> None:
    assert judged(model(id, license, license_name=name)).verdict == expected


def test_llama_comes_with_its_obligations(judged: Judged) -> None:
    answer = judged(model("meta-llama/Llama-3.1-8B", "llama3.1"))
    owed = {one.code: one.text for one in answer.obligations}
    assert '"Built with Llama"' in owed["attribution"]
    assert '"Llama"' in owed["name_prefix"]
    assert {"notice_file", "use_policy", "copy_of_license"} <= set(owed)


def test_falcon_180b_may_not_be_offered_as_a_service(judged: Judged, commercial: Policy) -> None:
    falcon = model("tiiuae/falcon-180B", "unknown")
    assert {"no_hosting", "use_policy"} <= {one.code for one in judged(falcon).obligations}
    as_api = replace(commercial, company=replace(commercial.company, deployment="api"))
    assert judged(falcon, policy=as_api).verdict is Verdict.DENY


def test_an_answer_in_the_words_of_the_contract(judged: Judged) -> None:
    child = model("someone/llama-2-7b-mirror", "apache-2.0", bases=("meta-llama/Llama-2-7b-hf",))
    answer = judged(child, model("meta-llama/Llama-2-7b-hf", "llama2", gated="manual")).as_json()
    assert set(answer) >= {"model", "revision", "verdict", "licenses", "reasons", "obligations", "lineage"}
    assert answer["verdict"] == "conditions"
    (step,) = answer["lineage"]
    wanted = {"model": "meta-llama/Llama-2-7b-hf", "relation": "finetune", "license": "llama2", "verdict": "conditions"}
    assert wanted.items() <= step.items()
    assert {"id", "spdx", "from", "evidence"} == set(answer["licenses"][0])
    assert {"apache-2.0", "llama2"} == {one["id"] for one in answer["licenses"]}
    assert any(one["code"] == "weaker_than_ancestor" for one in answer["reasons"])
    assert any(one["code"] == "gate" for one in answer["obligations"])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_stricter_policy_never_gives_a_weaker_verdict(
    facts: LicenseFacts, commercial: Policy, data: st.DataObject
) -> None:
    rule = data.draw(st.sampled_from([item.name for item in fields(PolicyRules) if item.name != "training_data"]))
    now = Verdict(getattr(commercial.rules, rule))
    stricter = data.draw(st.sampled_from([one for one in Verdict if one >= now]))
    policy = replace(commercial, rules=replace(commercial.rules, **{rule: stricter}))
    ids = sorted(facts.licenses.by_id)
    key = data.draw(st.sampled_from([hub for one in ids for hub in facts.licenses.by_id[one].hub_ids]))
    other = data.draw(st.sampled_from(["mit", "llama3", "cc-by-nc-4.0", "other"]))
    asked = model("a/b", f"{key} OR {other}" if data.draw(st.booleans()) else [key, other])
    before, after = (judge(asked, one, facts, lambda _: None, TODAY).verdict for one in (commercial, policy))
    assert after >= before


def test_the_permissive_policy_is_stricter_than_the_commercial_one(facts: LicenseFacts, commercial: Policy) -> None:
    permissive = load.load_policy("permissive")
    for one in facts.licenses.licenses:
        owner = one.named.by[0] if one.named and one.named.by else "a"
        name = one.named.names[0] if one.named else None
        asked = model(f"{owner}/b", one.hub_ids[0] if one.hub_ids else "other", license_name=name)
        weak, strong = (
            judge(asked, policy, facts, lambda _: None, TODAY).verdict for policy in (commercial, permissive)
        )
        assert strong >= weak, one.id


@settings(max_examples=100, deadline=None)
@given(
    license=st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ),
    name=st.none() | st.text(),
    id=st.text(min_size=1),
    bases=st.lists(st.text(), max_size=3),
)
def test_no_card_however_broken_is_allowed_or_crashes(
    facts: LicenseFacts, commercial: Policy, license: object, name: str | None, id: str, bases: list[str]
) -> None:
    answer = judge(model(id, license, license_name=name, bases=tuple(bases)), commercial, facts, lambda _: None, TODAY)
    assert answer.verdict is Verdict.ALLOW or answer.reasons
    if answer.verdict is Verdict.ALLOW:
        assert answer.licenses
        assert all(facts.licenses.by_id[one].permits.commercial_use == "yes" for one in answer.license_ids)


def test_a_family_name_alone_never_loosens(judged: Judged) -> None:
    assert judged(model("someone/apache-mit-mistral-7b", None)).verdict is Verdict.REVIEW
    assert codes(judged(model("someone/qwen3-8b-copy", None))) == {"no_license"}
