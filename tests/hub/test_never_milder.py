"""What changes on the Hub makes no verdict of the catalog milder than what was known before: over every row."""

import copy
import datetime
import itertools
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from modelpick.catalog import snapshot
from modelpick.catalog.index import Catalog, catalog_from
from modelpick.hub import rows
from modelpick.hub.overlay import HubReading
from modelpick.licensing import load
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.outcome import Verdict, join
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement, judge
from tests.hub.conftest import catalog_rows

TODAY = datetime.date(2027, 1, 20)
Row = dict[str, Any]


@pytest.fixture(scope="module")
def facts() -> LicenseFacts:
    return load.load_facts()


@pytest.fixture(scope="module")
def commercial() -> Policy:
    return load.load_policy("commercial")


@cache
def _text() -> str:
    return snapshot.embedded_facts().text(rows.CATALOG)


def record(row: Row, **changes: Any) -> HubReading:
    """What the Hub says of a repository that is as the catalog knows it, but for the changes."""
    data = {key: row[key] for key in ("license", "license_name", "license_link") if row.get(key) is not None}
    bases = [id for id, _ in row.get("base_models", ())]
    data |= {"base_model": bases} if bases else {}
    said: Row = {"id": row["id"], "cardData": data, "gated": row.get("gated") or False}
    return HubReading({**said, **changes})


def updated(readings: Mapping[str, HubReading]) -> Catalog:
    texts = rows.with_models({rows.CATALOG: _text()}, copy.deepcopy(dict(readings)), TODAY.isoformat())
    return catalog_from(texts[rows.CATALOG], Path("models.jsonl"))


def judged(catalog: Catalog, id: str, policy: Policy, facts: LicenseFacts) -> Judgement:
    model = catalog.find(id)
    assert model is not None, id
    return judge(model, policy, facts, catalog.find, TODAY)


@cache
def _before() -> Catalog:
    return catalog_from(_text(), Path("models.jsonl"))


@pytest.fixture(scope="module")
def before(commercial: Policy, facts: LicenseFacts) -> dict[str, Judgement]:
    """Every row's answer before anything changed."""
    return {id: judged(_before(), id, commercial, facts) for id in _before().models}


Rename = Callable[[Row, int], str]
RENAMES: dict[str, Rename] = {
    "another owner": lambda row, number: f"neworg-{number}/{row['id'].rpartition('/')[2]}",
    "a neutral name": lambda row, number: f"neworg/model-{number}",
    "a publisher of free models": lambda row, number: f"ibm-granite/model-{number}",
}


@pytest.mark.parametrize("rename", RENAMES.values(), ids=RENAMES)
def test_a_rename_makes_no_verdict_milder(
    rename: Rename, before: dict[str, Judgement], commercial: Policy, facts: LicenseFacts
) -> None:
    renamed = {row["id"]: rename(row, number) for number, row in enumerate(catalog_rows())}
    after = updated({row["id"]: record(row, id=renamed[row["id"]]) for row in catalog_rows()})
    assert len(after.models) == len(renamed)
    milder = {}
    for old, new in renamed.items():
        was, now = before[old], judged(after, new, commercial, facts)
        if now.verdict < was.verdict:
            milder[old] = (new, was.verdict, now.verdict)
    assert milder == {}


def test_a_second_rename_keeps_what_is_known_of_the_first_id(commercial: Policy, facts: LicenseFacts) -> None:
    row = next(row for row in catalog_rows() if row["id"] == "lmsys/vicuna-13b-v1.5")
    texts = {rows.CATALOG: _text()}
    for id, new in itertools.pairwise((row["id"], "one/vicuna-13b-v1.5", "two/a", "three/b")):
        texts = rows.with_models(texts, {id: record(row, id=new)}, TODAY.isoformat())
    after = catalog_from(texts[rows.CATALOG], Path("models.jsonl"))
    assert {after.canonical(id) for id in (row["id"], "one/vicuna-13b-v1.5", "two/a")} == {"three/b"}
    was = judged(_before(), row["id"], commercial, facts).verdict
    assert judged(after, "three/b", commercial, facts).verdict >= was


@pytest.mark.parametrize("order", [1, -1])
def test_a_rename_to_what_is_there_keeps_what_both_rows_know(
    order: int, commercial: Policy, facts: LicenseFacts
) -> None:
    pair = [{"id": "acme/closed", "license": "cc-by-nc-4.0"}, {"id": "acme/open", "license": "apache-2.0"}][::order]
    header = json.loads(_text().partition("\n")[0]) | {"models": 2}
    texts = {rows.CATALOG: "".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in (header, *pair))}
    opened = record(pair[0], id="acme/open", cardData={"license": "apache-2.0"})
    for day in (TODAY, TODAY + datetime.timedelta(days=1)):
        texts = rows.with_models(texts, dict.fromkeys(("acme/closed", "acme/open"), opened), day.isoformat())
        after = catalog_from(texts[rows.CATALOG], Path("models.jsonl"))
        assert list(after.models) == ["acme/open"]
        assert judged(after, "acme/closed", commercial, facts).verdict is Verdict.DENY


def test_a_license_that_vanishes_makes_no_verdict_milder(
    before: dict[str, Judgement], commercial: Policy, facts: LicenseFacts
) -> None:
    after = updated({row["id"]: record(row, cardData={}) for row in catalog_rows()})
    milder = {}
    for row in catalog_rows():
        was, now = before[row["id"]], judged(after, row["id"], commercial, facts)
        if now.verdict < was.verdict:
            milder[row["id"]] = (was.verdict, now.verdict)
    assert milder == {}


ANSWERED = ("no_license", "name_without_owner", "weaker_than_ancestor")  # questions that a tag of one's own answers


def restricted(answer: Judgement) -> Verdict:
    """What is demanded for another reason than that the card named no license."""
    kept = (one for one in answer.reasons if one.code not in ANSWERED and one.evidence != "license: other")
    return join([Verdict.ALLOW, *(one.verdict for one in kept)])


def test_a_new_tag_opens_nothing_that_was_restricted(
    before: dict[str, Judgement], commercial: Policy, facts: LicenseFacts
) -> None:
    """Also where the row named no license, so that known_models or a family spoke for it."""
    after = updated({row["id"]: record(row, cardData={"license": "apache-2.0"}) for row in catalog_rows()})
    milder, curated = {}, 0
    for row in catalog_rows():
        was, now = before[row["id"]], judged(after, row["id"], commercial, facts)
        demanded = restricted(was)
        curated += row.get("license") in (None, "other") and demanded > "allow"
        if now.verdict < demanded:
            milder[row["id"]] = (row.get("license"), was.verdict, now.verdict)
    assert milder == {}
    assert curated > 100
