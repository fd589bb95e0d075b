"""The license facts equal the texts that they were read from: each is quoted, and each quote stands in its text."""

import csv
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path

import pytest

from modelpick.errors import UsageError
from modelpick.licensing import load
from modelpick.licensing.conditions import assess_license
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.fingerprints import words_of
from modelpick.licensing.license import Bound, License
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.policy import Policy
from modelpick.licensing.quotes import packed, plain, stands_in, unpacked

# Read at their publishers, who let nobody fetch them any more: the facts stand, without quotes, and answers say so.
READ_AND_NOT_KEPT = {"glm-4", "grok2-community", "minimax-community", "minimax-h3-community", "tii-falcon-1.0"}


@pytest.fixture(scope="module")
def store() -> Path:
    return Path(__file__).parents[2] / "facts" / "license_texts"


@pytest.fixture(scope="module")
def index(store: Path) -> Mapping[str, Mapping[str, str]]:
    rows = csv.DictReader((store / "index.csv").read_text(encoding="utf-8").splitlines())
    return {row["file"]: row for row in rows}


def test_each_text_is_the_one_that_the_index_names(store: Path, index: Mapping[str, Mapping[str, str]]) -> None:
    names = [path.name for path in store.iterdir() if path.suffix in (".txt", ".runs")]
    assert list(index) == sorted(names)
    for name, row in index.items():
        assert hashlib.sha256((store / name).read_bytes()).hexdigest() == row["sha256"], name
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", row["read_on"]), name
        assert row["source"].strip(), name


def test_each_text_belongs_to_a_license_that_names_its_source(
    index: Mapping[str, Mapping[str, str]], facts: LicenseFacts
) -> None:
    for name, row in index.items():
        stem = name.rpartition(".")[0]
        source = facts.licenses.by_id[stem.removesuffix(".use_policy")].source
        assert row["source"] == (source.policy if stem.endswith(".use_policy") else source.texts[0]), name
        assert row["read_on"] <= source.read_on, name


def said(license: License) -> Iterator[tuple[str, object]]:
    """The facts of a license that say something: name and value."""
    for part in (license.permits, license.limits, license.owes):
        for item in fields(part):
            value = getattr(part, item.name)
            if value != item.default and (item.name, value) != ("commercial_use", "unknown"):
                yield item.name, value


def test_every_fact_of_a_text_that_is_kept_is_quoted_with_its_place(
    index: Mapping[str, Mapping[str, str]], facts: LicenseFacts
) -> None:
    kept = {name.rpartition(".")[0] for name in index} | {one.id for one in facts.licenses.licenses if one.quotes}
    for one in facts.licenses.licenses:
        if one.id not in kept:
            continue
        expected = {name for name, _ in said(one)}
        assert set(one.quotes) == expected, one.id
        assert all(quote.section.strip() for quote in one.quotes.values()), one.id


def test_every_quote_stands_in_its_text(store: Path, facts: LicenseFacts) -> None:
    texts: dict[str, str] = {}
    runs: dict[str, tuple[int, ...]] = {}
    for one in facts.licenses.licenses:
        for fact, quote in one.quotes.items():
            name = quote.text or one.id
            if (store / f"{name}.txt").exists():
                text = texts.get(name) or plain((store / f"{name}.txt").read_text(encoding="utf-8"))
                texts[name] = text
                assert plain(quote.words) in text, (one.id, fact)
            else:
                if name not in runs:
                    runs[name] = unpacked((store / f"{name}.runs").read_text(encoding="utf-8"))
                assert stands_in(quote.words, runs[name]), (one.id, fact)
    assert len(texts) + len(runs) > 90


def test_what_is_written_or_shown_for_a_company_is_the_words_of_the_license(facts: LicenseFacts) -> None:
    for one in facts.licenses.licenses:
        if not one.quotes:
            continue
        for fact in ("notice_file", "notice_text", "attribution", "name_prefix", "use_policy"):
            value = getattr(one.owes, fact)
            if value is not None:
                assert value in one.quotes[fact].words or fact == "use_policy", (one.id, fact, value)
        assert bool(one.owes.notice_text) <= bool(one.owes.notice_file), one.id


def test_a_license_whose_text_nobody_read_comes_to_review_or_worse(commercial: Policy, facts: LicenseFacts) -> None:
    """Not even for a company that every limit lets pass."""
    small = replace(commercial.company, monthly_active_users=1, annual_revenue_usd=1, trains_other_models=False)
    for one in facts.licenses.licenses:
        if one.quotes or one.id in READ_AND_NOT_KEPT:
            continue
        answer = assess_license(one, "card", "said", replace(commercial, company=small), facts.territories, "text")
        assert answer.verdict >= Verdict.REVIEW, one.id


def test_the_texts_that_were_not_kept_are_these(commercial: Policy, facts: LicenseFacts) -> None:
    unquoted = {
        one.id for one in facts.licenses.licenses
        if one.confidence == "high" and not one.quotes and one.permits.commercial_use in ("yes", "conditional")
    }  # fmt: skip
    assert unquoted == READ_AND_NOT_KEPT
    for id in unquoted:
        answer = assess_license(facts.licenses.by_id[id], "card", "said", commercial, facts.territories, "text")
        assert answer.verdict is not Verdict.ALLOW
        assert "no_clause_kept" in {reason.code for reason in answer.reasons}, id


def test_a_reason_and_an_obligation_carry_their_clause(commercial: Policy, facts: LicenseFacts) -> None:
    answer = assess_license(facts.licenses.by_id["gemma"], "card", "said", commercial, facts.territories, "text")
    clauses = {owed.code: owed.clause for owed in answer.obligations}
    notice = clauses["notice_file"]
    assert notice is not None
    assert (notice.section, notice.read_on) == ("3.1", "2026-11-29")
    assert "gemma-tou-2025-03-24" in notice.source
    assert all(clauses.values()), clauses
    assert all(reason.clause for reason in answer.reasons)
    shown = answer.reasons[0].as_json()["clause"]
    assert isinstance(shown, dict)
    assert set(shown) == {"license", "section", "words", "source", "read_on", "link"}
    assert shown["link"] == "https://ai.google.dev/gemma/terms"


BOUNDED = ("monthly_active_users", "annual_revenue_usd")


def bounds_of(facts: LicenseFacts) -> Iterator[tuple[License, str, Bound]]:
    for one in facts.licenses.licenses:
        for name in BOUNDED:
            bound = getattr(one.limits, name)
            if bound is not None:
                yield one, name, bound


def test_every_limit_is_obeyed_at_its_very_figure(commercial: Policy, facts: LicenseFacts) -> None:
    small = replace(commercial.company, monthly_active_users=1, annual_revenue_usd=1, trains_other_models=False)
    seen = 0
    for one, name, bound in bounds_of(facts):
        figure = bound.at_most if bound.at_most is not None else bound.less_than
        assert figure is not None
        for company, within in ((figure - 1, True), (figure, bound.less_than is None), (figure + 1, False)):
            policy = replace(commercial, company=replace(small, **{name: company}))
            told = replace(one, permits=replace(one.permits, commercial_use="conditional"), confidence="high")
            answer = assess_license(told, "card", "said", policy, facts.territories, "text")
            assert (answer.verdict is not Verdict.DENY) == within, (one.id, company, answer.reasons)
            seen += 1
    assert seen >= 30


def test_a_limit_says_less_than_where_its_text_does(facts: LicenseFacts) -> None:
    for one, name, bound in bounds_of(facts):
        assert (bound.at_most is None) != (bound.less_than is None), one.id
        quote = one.quotes.get(name)
        if quote is not None:
            exclusive = re.search(r"\b(less than|at least|or more)\b", quote.words)
            assert bool(exclusive) == (bound.less_than is not None), (one.id, quote.words)


@pytest.mark.parametrize("table", ["{}", "{ at_most = 1, less_than = 1 }", "5"])
def test_a_limit_with_no_figure_or_two_is_refused(tmp_path: Path, table: str) -> None:
    (tmp_path / "x.toml").write_text(
        'title = "x"\ncategory = "community"\nconfidence = "high"\n[source]\ntexts = ["x"]\nread_on = 2026-11-29\n'
        f'[permits]\ncommercial_use = "conditional"\n[limits]\nannual_revenue_usd = {table}\n'
    )
    with pytest.raises(UsageError, match="annual_revenue_usd"):
        load.load_licenses(tmp_path)


def test_a_quote_of_words_that_the_text_lacks_is_found() -> None:
    text = words_of("You may use the model for any purpose. You may not sell it to anybody else at all.").hashes
    assert unpacked(packed(text)) == text
    assert stands_in("you may not sell it to anybody", text)
    assert not stands_in("you may sell it to anybody", text)
    assert not stands_in("for any purpose You may sell", text)
    assert not stands_in("not sell it", text)  # four words or fewer prove nothing


def test_each_text_that_files_are_compared_with_is_the_one_that_its_index_names(
    store: Path, facts: LicenseFacts
) -> None:
    folder = store / "compared"
    rows = {row["file"]: row for row in csv.DictReader((folder / "index.csv").read_text(encoding="utf-8").splitlines())}
    assert list(rows) == sorted(path.name for path in folder.iterdir() if path.suffix in (".txt", ".runs"))
    for name, row in rows.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == row["sha256"], name
        assert row["source"].strip(), name
        assert load.license_of_text(name) in facts.licenses.by_id, name
        assert not (store / name).exists(), name
