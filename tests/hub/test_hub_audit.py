"""An audit of the whole Hub says of every model what `license` says of it on the same facts."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.hub_file import make
from modelpick.errors import UsageError
from modelpick.hub import hub_table
from modelpick.hub import verdicts as verdicts_of
from modelpick.hub.audit import audit_hub
from modelpick.hub.claims import Contexts
from modelpick.licensing import load
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.policy import Company, NamedRule, Policy, Product, Purchase
from modelpick.report.hub_audit import page
from modelpick.schema import IsoDate
from tests.hub.dump import ByLicense, differences, row, verdicts, write

LINK = "https://huggingface.co/Qwen/Qwen2.5-72B-Instruct/blob/main/LICENSE"
CHAIN = [row(f"deep/link-{n}", "mit", *([f"deep/link-{n + 1}"] if n < 40 else [])) for n in range(41)]
CIRCLE = [row(f"round/member-{n}", "mit", f"round/member-{(n + 1) % 40}") for n in range(40)]
# Every way that a row can mean something, next to the mix of a made file.
# Forms of a card's `base_model` that no tag repeats.
PARENTS_OF_CARDS = (
    "someone/Tuned", "https://huggingface.co/someone/tuned", ["x/gone", "someone/tuned"], "a/b, someone/tuned",
    [["someone/tuned"]], [{"id": "someone/tuned"}], "./models/x", "none", False, None,
)  # fmt: skip
LLAMA = "meta-llama/Llama-3.1-8B"
# What cards state outside the usual fields, or in another form.
RARE_CARDS: tuple[dict[str, Any], ...] = (
    {"extra_gated_prompt": "non-commercial only"},
    {"extra_gated_prompt": "For non-commercial research use only.", "base_model": LLAMA},
    {"extra_gated_heading": "You may not use this model for commercial purposes"},
    {"extra_gated_fields": {"I agree to use this model for non-commercial use ONLY": "checkbox", "Name": None}},
    {"extra_gated_description": "Licensed under CC BY-NC 4.0.", "license": "other"},
    {"extra_gated_prompt": "Tell us who you are.", "extra_gated_fields": {"Name": "text"}},
    {"extra_gated_prompt": "The Llama 3.1 weights are for research only", "base_model": LLAMA},
    {"base_models": LLAMA}, {"Base-Model": [LLAMA, "x/gone"]}, {"parent_model": {"model": 3}},
    {"base_models": {"a": 1}},
    {"finetuned_from": "https://huggingface.co/someone/tuned"}, {"base_models": None},
    {"licence": "cc-by-nc-4.0"}, {"License": "apache-2.0"}, {"licenses": ["cc-by-nc-4.0"], "license": "mit"},
    {"license_url": "https://example.org/terms"}, {"license_name": ["a", "b"]}, {"license_link": {"a": 1}},
    {"license": ["apache-2.0", "cc-by-nc-4.0"]}, {"license": {"name": "cc-by-nc-4.0"}}, {"license": ""},
    {"datasets": ["tatsu-lab/alpaca"]}, {"dataset": "tatsu-lab/alpaca"}, {"datasets": [{"name": "tatsu-lab/alpaca"}]},
    {"datasets": {"a": 1}}, {"training_data": [3]}, {"datasets": "a/b"}, {"datasets": [f"a/b{n}" for n in range(250)]},
    {"library_name": "peft"}, {"pipeline_tag": "image-text-to-text", "license": "llama3.2"}, {"tags": ["license:x"]},
    {"base_model_relation": "adapter"},
)  # fmt: skip
BY_HAND = [
    *(row(f"rare/card-{n}", None, card={"license": "apache-2.0", **card}) for n, card in enumerate(RARE_CARDS)),
    *(row(f"rare/below-{number}", "mit", f"RARE/card-{number}") for number in range(len(RARE_CARDS))),
    *(
        row(f"cards/only-{number}", "mit", card={"license": "mit", "base_model": parent})
        for number, parent in enumerate(PARENTS_OF_CARDS)
    ),
    row("meta-llama/Llama-3.1-8B", "llama3.1", gated="manual", pipeline_tag="text-generation"),
    row("meta-llama/Llama-3.2-11B-Vision", "llama3.2", pipeline_tag="image-text-to-text"),
    row("someone/eyes", "llama3.2", "meta-llama/Llama-3.2-11B-Vision", pipeline_tag="image-text-to-text"),
    row("someone/reader", "llama3.2", "meta-llama/Llama-3.2-11B-Vision", pipeline_tag="text-generation"),
    row("someone/tuned", "mit", "meta-llama/Llama-3.1-8B"),
    row("someone/TUNED-more", "apache-2.0", "SOMEONE/Tuned"),
    row("someone/Llama-2-7b-of-mine", "mit"),
    row("Qwen/Qwen2.5-72B-Instruct", "other", card={"license": "other", "license_name": "qwen", "license_link": LINK}),
    row("someone/q", "other", "Qwen/Qwen2.5-72B-Instruct", card={"license": "other", "license_name": "qwen"}),
    row("someone/q2", "other", card={"license": "other", "license_name": "qwen", "license_link": LINK}),
    row("someone/q3", "other", card={"license": "other", "license_name": "qwen"}),
    row("someone/q4", "other", card={"license": "other", "license_link": "LICENSE"}),
    row("someone/list", None, card={"license": ["mit", "cc-by-nc-4.0"]}, tags=["license:mit", "license:cc-by-nc-4.0"]),
    row("someone/error", None, card={"license": False}),
    row("someone/two", "mit", card={"license": "apache-2.0"}),
    row("someone/spelled", None, tags=["Licence:cc-by-nc-4.0"]),
    row("someone/data", "mit", tags=["dataset:tatsu-lab/alpaca", "dataset:a/b"]),
    row("someone/data2", "mit", tags=["dataset:a/c"]),
    row("someone/self", "mit", "someone/self"),
    row("someone/path", "mit", "/home/me/model"),
    row("someone/link", "mit", "https://huggingface.co/meta-llama/Llama-3.1-8B/tree/main"),
    row("someone/none", "mit", "none"),
    row("someone/gone", "mit", "gone/away"),
    row("someone/gone-llama", "mit", "gone/Llama-2-13b"),
    row("someone/plain", "mit"),
    row("someone/plain-GGUF", "mit"),
    row("someone/other-GGUF", "mit"),
    row("someone/some-merge", "mit", tags=["merge"]),
    row("someone/adapted", "mit", library_name="peft"),
    row("someone/a", "mit", "someone/b", "someone/c"),
    row("someone/b", "mit", "someone/c", "meta-llama/Llama-3.1-8B"),
    row("someone/c", "mit", "someone/b"),
    row("someone/below-a", "mit", "someone/a"),
    row("mosaicml/mpt-7b-chat", "cc-by-nc-sa-4.0"),
    row("teknium/OpenHermes-2.5-Mistral-7B", "apache-2.0"),
    row("microsoft/Orca-2-7b", "other", card={"license": "other", "license_name": "microsoft-research-license"}),
    *CHAIN, *CIRCLE,
]  # fmt: skip
SOME = [one for one in BY_HAND if str(one["id"]).startswith(("someone/", "meta-llama/", "Qwen/"))]
RULED = Policy(name="ruled", title="with everything that names models", company=Company(
    domicile="DE", monthly_active_users=1e9,
    products={"chat": Product(monthly_active_users=5e8), "api": Product(deployment="api")},
    purchased=(Purchase("Meta", "no. 7", IsoDate("2999-01-01"), ("someone/tuned", "meta-llama/Llama-3.1-8B")),),
), named_rules=(
    NamedRule("deny", "no Qwen", publishers=("Qwen",)), NamedRule("review", "gates are asked about", gated=True),
    NamedRule("review", "share-alike", licenses=("cc-by-sa*",)), NamedRule("deny", "gone", models=("gone/away",)),
))  # fmt: skip


@pytest.fixture(scope="module")
def facts() -> LicenseFacts:
    return load.load_facts()


@pytest.fixture(scope="module")
def commercial() -> Policy:
    return load.load_policy("commercial")


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows by hand and, of 1,200 of the mix that the benchmark makes, two of each kind with all of their ancestors."""
    import duckdb

    folder = tmp_path_factory.mktemp("dump")
    make(folder / "made.parquet", 1200, cycle=20)
    hand = write(folder / "hand.parquet", BY_HAND)
    names = ", ".join(f'"{name}"' for name in BY_HAND[0])
    whole = folder / "models.parquet"
    made = ByLicense(folder / "made.parquet")
    kept = with_ancestors(made, [id for found in of_kinds(made, load.load_facts()) for id in found[:2]])
    union = f"SELECT {names} FROM '{hand}' UNION ALL SELECT {names} FROM '{folder}/made.parquet' WHERE lower(id) IN $1"
    duckdb.sql(f"COPY ({union}) TO '{whole}' (FORMAT parquet)", params=[sorted(kept)])
    return whole


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("index")


def with_ancestors(by_license: ByLicense, ids: Iterable[str]) -> set[str]:
    """These ids in lower case, and those of all that they were made from."""
    kept, left = set[str](), list(ids)
    while left:
        model = by_license.find(left.pop())
        if model is not None and model.id.lower() not in kept:
            kept.add(model.id.lower())
            left += [base.id for base in model.base_models]
    return kept


def of_kinds(by_license: ByLicense, facts: LicenseFacts) -> list[list[str]]:
    """The ids of each kind of claim and ancestry."""
    strata = defaultdict(list)
    for id in by_license.ids:
        model = by_license.find(id)
        assert model is not None
        above = [by_license.find(base.id) for base in model.base_models]
        kind: Any = (
            str(model.license), bool(model.license_name), any("dataset" in tag for tag in model.tags), len(above),
            tuple(sorted(one is None for one in above)),
            any(one is not None and bool(one.base_models) for one in above), bool(facts.families.of(id, None)),
        )  # fmt: skip
        strata[kind].append(id)
    return list(strata.values())


def of_each_kind(dump: Path, facts: LicenseFacts) -> list[str]:
    """An id of each kind of claim and ancestry, and every row by hand."""
    by_hand = [str(one["id"]) for one in BY_HAND if one not in CHAIN[12:] and one not in CIRCLE[2:]]
    return [*by_hand, *(found[0] for found in of_kinds(ByLicense(dump), facts))]


@pytest.mark.parametrize("policy", ["commercial", "research", "ruled"])
def test_it_says_what_license_says(dump: Path, index: Path, tmp_path: Path, facts: LicenseFacts, policy: str) -> None:
    chosen = RULED if policy == "ruled" else load.load_policy(policy)
    out = tmp_path / "verdicts.parquet"
    audit_hub(dump, chosen, out=out, index=index)
    assert differences(dump, out, chosen, facts, lambda _: of_each_kind(dump, facts)) == []


def test_the_comparison_sees_a_bug(
    dump: Path, tmp_path: Path, facts: LicenseFacts, commercial: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Contexts.number
    monkeypatch.setattr(Contexts, "number", lambda self, claim, ancestors: right(self, claim, ()))
    out = tmp_path / "verdicts.parquet"
    audit_hub(dump, commercial, out=out, index=tmp_path)
    assert differences(dump, out, commercial, facts, lambda _: ["someone/tuned", "someone/q"])


@pytest.mark.parametrize("forgotten", ["rare", "datasets", "gates"])
def test_the_comparison_sees_a_field_forgotten(
    dump: Path, tmp_path: Path, facts: LicenseFacts, commercial: Policy, monkeypatch: pytest.MonkeyPatch, forgotten: str
) -> None:
    if forgotten == "gates":
        monkeypatch.setattr(verdicts_of, "states_a_gate", lambda _: False)
    else:
        right, nothing = hub_table._card, "CAST(NULL AS VARCHAR)"
        monkeypatch.setattr(
            hub_table, "_card", lambda field, types: nothing if field == forgotten else right(field, types)
        )
        if forgotten == "rare":
            monkeypatch.setattr(hub_table, "_rare", lambda *_: None)
    hand = write(tmp_path / "hand.parquet", [one for one in BY_HAND if str(one["id"]).startswith("rare/card")])
    audit_hub(hand, commercial, out=tmp_path / "verdicts.parquet", index=tmp_path)
    assert differences(hand, tmp_path / "verdicts.parquet", commercial, facts)


def test_rows_of_one_id_are_judged_by_the_strictest(tmp_path: Path, commercial: Policy) -> None:
    rows = [
        row("a/dup", "apache-2.0"), row("a/dup", "cc-by-nc-4.0"), row("a/child", "mit", "a/dup"),
        row("A/Dup2", "cc-by-nc-4.0"), row("a/dup2", "apache-2.0"), row("a/below", "mit", "a/DUP2"),
        row("a/twice", "mit", "a/dup"), row("a/twice", "mit"), row("a/last", "mit", "a/twice"), row("a/free", "mit"),
    ]  # fmt: skip
    for order in (rows, rows[::-1]):
        dump = write(tmp_path / "models.parquet", order)
        answer = audit_hub(dump, commercial, out=tmp_path / "verdicts.parquet", index=tmp_path / "index")
        assert {tuple(one) for one in strictnesses(tmp_path / "verdicts.parquet")} == {
            ("a/free", "allow"), *((str(one["id"]), "deny") for one in rows[:-1])
        }  # fmt: skip
        assert answer.repeated == 6
        named = replace(commercial, named_rules=(NamedRule("review", "ours", models=("a/child", "a/dup")),))
        audit_hub(dump, named, out=tmp_path / "verdicts.parquet", index=tmp_path / "index")
        assert verdicts(tmp_path / "verdicts.parquet")["a/child"][0] == "deny"


def strictnesses(path: Path) -> list[tuple[str, str]]:
    import duckdb

    with duckdb.connect() as connection:
        return connection.execute(f"SELECT DISTINCT id, verdict FROM '{path}'").fetchall()


def test_a_card_as_a_struct_is_read_as_one_in_json(tmp_path: Path, commercial: Policy) -> None:
    kind = "STRUCT(license VARCHAR, extra_gated_prompt VARCHAR, licence VARCHAR, base_models VARCHAR)"
    cards = [
        {"license": "mit", "extra_gated_prompt": "For non-commercial research use only."},
        {"license": "mit", "licence": "cc-by-nc-4.0"},
        {"license": "mit", "base_models": "a/nc"},
        {"license": "mit"},
    ]
    fields = ("license", "extra_gated_prompt", "licence", "base_models")
    named = [*((f"a/n{n}", one) for n, one in enumerate(cards)), ("a/nc", {"license": "cc-by-nc-4.0"})]
    rows = [row(id, None) | {"cardData": dict.fromkeys(fields) | one} for id, one in named]
    dump = write(tmp_path / "models.parquet", rows, cardData=kind)
    audit_hub(dump, commercial, out=tmp_path / "verdicts.parquet", index=tmp_path)
    found = verdicts(tmp_path / "verdicts.parquet")
    assert [one for n, one in enumerate(cards) if found[f"a/n{n}"][0] == "allow"] == cards[3:]


def test_a_parent_that_the_card_alone_names_counts(tmp_path: Path, commercial: Policy) -> None:
    stated = [*PARENTS_OF_CARDS, {"a": 1}, 3, "q" * 2000]
    cards = [row(f"a/n{n}", "mit", card={"license": "mit", "base_model": one}) for n, one in enumerate(stated)]
    dump = write(tmp_path / "models.parquet", [*cards, row("someone/tuned", "cc-by-nc-4.0")])
    audit_hub(dump, commercial, out=tmp_path / "verdicts.parquet", index=tmp_path)
    found = verdicts(tmp_path / "verdicts.parquet")
    assert [one for n, one in enumerate(stated) if found[f"a/n{n}"][0] == "allow"] == ["none", False, None]


def test_problems_of_an_ancestry_are_reviewed_by_name(
    dump: Path, index: Path, tmp_path: Path, commercial: Policy
) -> None:
    out = tmp_path / "verdicts.parquet"
    audit_hub(dump, commercial, out=out, index=index)
    found = verdicts(out)
    for id, code in {
        "someone/self": "cycle", "someone/a": "cycle", "round/member-3": "too_deep", "deep/link-0": "too_deep",
        "someone/path": "local_path_parent", "someone/gone": "missing_ancestor",
    }.items():  # fmt: skip
        assert found[id][0] == "review", id
        assert code in found[id][1], id
    assert found["deep/link-10"][0] == "allow"  # exactly 30 ancestors
    assert found["someone/TUNED-more"][2] == "meta-llama/Llama-3.1-8B"


def test_an_index_is_used_again_and_refused_for_another_dump(tmp_path: Path, commercial: Policy) -> None:
    dump = write(tmp_path / "models.parquet", SOME)
    first = audit_hub(dump, commercial, index=tmp_path / "index")
    second = audit_hub(dump, commercial, index=tmp_path / "index")
    assert (first.from_index, second.from_index) == (False, True)
    assert replace(second, from_index=False) == first
    write(dump, SOME[:5])
    third = audit_hub(dump, commercial, index=tmp_path / "index")
    assert not third.from_index
    assert third.rows == 5


def test_verdicts_are_found_again_under_the_same_policy_alone(
    tmp_path: Path, commercial: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = write(tmp_path / "models.parquet", SOME)
    ruled, index = RULED, tmp_path / "index"
    answers = {one.name: audit_hub(dump, one, index=index) for one in (commercial, ruled)}
    assert answers["commercial"].tallies != answers["ruled"].tallies

    def never(*_: object) -> None:
        raise AssertionError("judged again")

    monkeypatch.setattr(verdicts_of, "judge_claims", never)
    for one in (commercial, ruled):
        assert audit_hub(dump, one, index=index) == replace(answers[one.name], from_index=True)
    stricter = replace(commercial, rules=replace(commercial.rules, permissive=Verdict.REVIEW))
    with pytest.raises(AssertionError, match="judged again"):
        audit_hub(dump, stricter, index=index)


def test_damaged_verdicts_are_judged_anew(tmp_path: Path, commercial: Policy) -> None:
    dump = write(tmp_path / "models.parquet", BY_HAND[:9])
    first = audit_hub(dump, commercial, index=tmp_path / "index")
    (kept,) = (tmp_path / "index").glob("*/under-*")
    for name, content in (("verdict.parquet", b"PAR1"), ("codes.json", b"{}"), ("own.parquet", b"")):
        (kept / name).write_bytes(content)
        assert replace(audit_hub(dump, commercial, index=tmp_path / "index"), from_index=False) == first, name


def test_a_damaged_index_is_made_anew(tmp_path: Path, commercial: Policy) -> None:
    dump = write(tmp_path / "models.parquet", SOME)
    first = audit_hub(dump, commercial, index=tmp_path / "index")
    (folder,) = (tmp_path / "index").iterdir()
    (folder / "index.json").write_text('{"format": 1')
    assert audit_hub(dump, commercial, index=tmp_path / "index") == first


def test_what_changed_and_what_is_mine(tmp_path: Path, commercial: Policy) -> None:
    before, now = tmp_path / "before.parquet", tmp_path / "now.parquet"
    write(before, [row("a/x", "mit"), row("a/y", "mit"), row("a/z", "mit")])
    write(now, [row("A/x", "mit"), row("a/y", "cc-by-nc-4.0"), row("a/child", "mit", "a/y"), row("a/new", "mit")])
    audit_hub(before, commercial, out=tmp_path / "verdicts.parquet", index=tmp_path / "index")
    ids = tmp_path / "ids.txt"
    ids.write_text("# mine\nA/X\na/child  # in production\na/z@main\n")
    found = audit_hub(now, commercial, since=tmp_path / "verdicts.parquet", mine=ids, index=tmp_path / "index")
    assert found.changes is not None
    changed = {(one.model, one.was, one.now) for one in found.changes.top}
    assert changed == {
        ("a/y", "allow", "deny"),
        ("a/z", "allow", None),
        ("a/child", None, "deny"),
        ("a/new", None, "allow"),
    }
    assert found.mine is not None
    assert [(one.model, one.now, one.ancestor) for one in found.mine] == [
        ("a/child", "deny", "a/y"), ("A/x", "allow", None), ("a/z", None, None),
    ]  # fmt: skip
    assert [(one.model, one.claimed, one.requires, one.ancestor) for one in found.conflicts] == [
        ("a/child", "allow", "deny", "a/y")
    ]
    text = page(found)
    assert "a/child" in text
    assert "http" not in text.replace("http-equiv", "")


def test_the_verdicts_of_an_earlier_audit_json_are_mine(tmp_path: Path, commercial: Policy) -> None:
    dump = write(tmp_path / "now.parquet", [row("a/y", "cc-by-nc-4.0")])
    mine = tmp_path / "audit.json"
    mine.write_text(json.dumps({"results": [{"model": "a/y", "asked": "A/y", "verdict": "allow"}]}))
    found = audit_hub(dump, commercial, mine=mine, index=tmp_path / "index").mine
    assert found is not None
    assert [(one.was, one.now) for one in found] == [("allow", "deny")]


@pytest.mark.parametrize("content", ["", "{}", '{"results": [3, {"model": 4}]}', "[]"])
def test_a_list_that_names_no_model_is_refused(tmp_path: Path, commercial: Policy, content: str) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(content)
    dump = write(tmp_path / "now.parquet", [row("a/y", "mit")])
    with pytest.raises(UsageError, match="names no model"):
        audit_hub(dump, commercial, mine=mine, index=tmp_path / "index")
