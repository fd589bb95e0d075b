"""Laws of a row under what the Hub says, whatever that is."""

import datetime
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.catalog.index import model_from
from modelpick.hub.claims import model_of
from modelpick.hub.overlay import HubReading, kept_of, line_of, updated
from modelpick.licensing import load
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.outcome import Verdict, join
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import judge

ROW: dict[str, Any] = {
    "id": "acme/one", "license": "cc-by-nc-4.0", "config": {"model_type": "llama", "hidden_size": 64},
    "source": "cfg", "sources": {"license": "llmfit"},
}  # fmt: skip
TAGS = st.sampled_from([None, "mit", "apache-2.0", "cc-by-nc-4.0", "other", False, ["mit", "gpl-3.0"]])
NAMES = st.sampled_from([None, "acme-license"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)


@pytest.fixture(scope="module")
def facts() -> LicenseFacts:
    return load.load_facts()


@pytest.fixture(scope="module")
def commercial() -> Policy:
    return load.load_policy("commercial")


def reading(license: Any, name: str | None = None, **record: Any) -> HubReading:
    data = {key: value for key, value in (("license", license), ("license_name", name)) if value is not None}
    return HubReading({"id": "acme/one", "sha": "a" * 40, "cardData": data, **record})


def hub_conflicts(row: dict[str, Any]) -> list[Any]:
    return [conflict for conflict in row.get("conflicts", []) if str(conflict[2]).startswith("Hub, ")]


@given(st.lists(st.tuples(TAGS, NAMES), min_size=1, max_size=4))
def test_the_last_tag_is_the_license_and_the_first_fact_is_never_lost(said: list[tuple[Any, str | None]]) -> None:
    row = dict(ROW)
    for day, (license, name) in enumerate(said, 1):
        row = json.loads(line_of(updated(row, reading(license, name), f"2027-01-{day:02}", ())))
    license, name = said[-1]
    model = model_from(row)
    assert (model.license, model.license_name) == (license, name)
    known = {conflict[3] for conflict in hub_conflicts(row) if conflict[0] == "license"}
    assert known == (
        set() if (license, name) == ("cc-by-nc-4.0", None) else set() if license == "cc-by-nc-4.0" else {"cc-by-nc-4.0"}
    )


NC_LINK = "https://creativecommons.org/licenses/by-nc/4.0/"
TERMS: list[dict[str, Any]] = [
    {"tags": ["license:cc-by-nc-4.0"]}, {"tags": ["merge"]}, {"tags": ["lora"]}, {"library_name": "peft"},
    {"tags": ["dataset:tatsu-lab/alpaca"]}, {"cardData": {"license_link": NC_LINK}},
    {"cardData": {"extra_gated_prompt": "For non-commercial research use only."}, "gated": "manual"},
    {"cardData": {"licence": "cc-by-nc-4.0"}}, {"cardData": {"base_model": "acme/two"}},
    {"cardData": {"base_model": 3}},
]  # fmt: skip


@pytest.mark.parametrize("said", TERMS, ids=str)
@pytest.mark.parametrize("license", ["apache-2.0", "mit"])
def test_after_an_update_no_verdict_is_milder_than_that_on_the_hubs_own_record(
    license: str, said: dict[str, Any], commercial: Policy, facts: LicenseFacts
) -> None:
    data = {"license": "apache-2.0", **said.get("cardData", {})}
    record = {"id": "acme/one", "tags": ["license:apache-2.0"], "gated": False, **said, "cardData": data}
    after = json.loads(line_of(updated(ROW | {"license": license}, HubReading(record), "2027-01-01", ())))
    today = datetime.date(2027, 1, 1)
    by_row = judge(model_from(after), commercial, facts, lambda id: None, today).verdict
    by_record = judge(model_of(record), commercial, facts, lambda id: None, today).verdict
    assert by_record is not Verdict.ALLOW, "the record says something to judge"
    assert join([by_row, by_record]) is by_row


@given(TAGS, NAMES)
def test_the_same_answer_twice_changes_nothing(license: Any, name: str | None) -> None:
    once = updated(ROW, reading(license, name, downloads=5), "2027-01-01", ())
    assert updated(once, reading(license, name, downloads=5), "2027-01-01", ()) == once


@given(
    st.dictionaries(st.sampled_from(["cardData", "tags", "baseModels", "gated", "downloads", "createdAt", "sha"]), JSON)
)
def test_any_record_makes_a_row_that_can_be_read(record: dict[str, Any]) -> None:
    row = updated(ROW, HubReading({"id": "acme/one", **record}), "2027-01-01", ())
    assert model_from(json.loads(line_of(row))).id == "acme/one"


@given(st.dictionaries(st.text(max_size=5), JSON))
def test_any_config_makes_a_row_that_can_be_read(config: dict[str, Any]) -> None:
    row = updated(ROW, HubReading({"id": "acme/one"}, config), "2027-01-01", ())
    assert model_from(json.loads(line_of(row))).config


def test_a_config_keeps_what_says_something_of_the_shape() -> None:
    config = {
        "hidden_size": 64,
        "rope_scaling": {"factor": 2},
        "id2label": {"0": "x"},
        "_name_or_path": "/home/me",
        "x": "y" * 999,
    }
    assert kept_of(config, {"rope_scaling"}) == {"hidden_size": 64, "rope_scaling": {"factor": 2}}
