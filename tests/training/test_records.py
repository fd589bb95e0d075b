"""run.json, result.json and before.json are read back as they were written, and so are older ones."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelpick.errors import UsageError
from modelpick.evaluation import before_after
from modelpick.evaluation.probe.run import Suite
from modelpick.evaluation.probe.suite import Answers
from modelpick.planning.recipe import BatchHalving
from modelpick.training import records

OLDER = Path(__file__).parent / "data"


def older(name: str) -> Any:
    return json.loads((OLDER / name).read_text(encoding="utf-8"))


def test_a_run_file_of_schema_version_1_is_read_and_written_as_version_2(tmp_path: Path) -> None:
    table = older("run-1.json") | {"halvings": [{"after_step": 1, "batch": 2}]}
    file = tmp_path / "run.json"
    file.write_text(json.dumps(table))
    record = records.read_run(file)
    old = table["settings"]
    now = record.settings
    assert (now.gradient_accumulation, now.scheduler, now.warmup_share) == (
        old["accumulation"], old["schedule"], old["warmup"],
    )  # fmt: skip
    assert record.batch_halvings == (BatchHalving(1, 2),)
    assert record.license is not None
    assert record.license.verdict == table["license"]["verdict"]
    assert (record.data.sha256, record.base_sha256) == (table["data"]["sha256"], table["base_sha256"])
    records.write_run(file, record)
    written = json.loads(file.read_text())
    assert next(iter(written)) == "schema_version"
    assert written["schema_version"] == 2
    assert not {"halvings", "accumulation", "schedule", "warmup"} & {*written, *written["settings"]}
    assert records.read_run(file) == record


def test_halvings_are_added_and_nothing_else_changes(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text((OLDER / "run-1.json").read_text())
    before = records.read_run(file)
    records.record_halvings(file, (BatchHalving(3, 1),))
    assert records.read_run(file) == replace(before, batch_halvings=(BatchHalving(3, 1),))


def test_an_older_result_is_read_and_no_field_of_it_is_lost() -> None:
    table = older("result-1.json")
    result = records.finished(OLDER / "result-1.json")
    assert result is not None
    assert result.gradient_accumulation == table["accumulation"]
    written = result.as_json()
    assert _holds(written, table)


def _holds(new: Any, old: Any) -> bool:
    """Whether a newer record says all that an older one says; it may say more."""
    if isinstance(old, dict):
        return all(name in new and _holds(new[name], value) for name, value in old.items())
    if isinstance(old, list):
        return len(new) == len(old) and all(map(_holds, new, old))
    return bool(new == old)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"status": "interrupted"}', '{"status": "done"}'])
def test_what_is_not_the_result_of_a_finished_run_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(text)
    assert records.finished(tmp_path / "result.json") is None
    assert records.finished(tmp_path / "absent.json") is None


def test_what_a_run_scored_before_is_read_and_other_cases_or_damage_mean_measuring_again(tmp_path: Path) -> None:
    settings = records.read_run(OLDER / "run-1.json").settings
    # That version asked other cases in the probe: its answers would be compared with answers to ours.
    assert before_after.read_before(OLDER / "before-1.json", settings) is None
    unprobed = before_after.read_before(_without_probe(tmp_path), settings)
    assert unprobed is not None
    assert unprobed.held_out is not None
    cases = Suite(settings.probe, seed=settings.seed).made()
    before = replace(unprobed, probe=Answers(cases, (True,) * len(cases)))
    file = tmp_path / "before.json"
    before_after.write_before(file, before)
    assert before_after.read_before(file, settings) == before
    assert before_after.read_before(file, replace(settings, seed=7)) is None
    file.write_text(file.read_text()[:-5])
    assert before_after.read_before(file, settings) is None


def _without_probe(folder: Path) -> Path:
    file = folder / "unprobed.json"
    file.write_text(json.dumps(older("before-1.json") | {"probe": None}))
    return file


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"schema_version": 3}, "unknown_schema"),
        ({"schema_version": None}, "unknown_schema"),
        ({"settings": None}, "bad_run_file"),
        ({"versions": {"torch": 2}}, "bad_run_file"),
        ({"halvings": [{"after_step": "one", "batch": 2}]}, "bad_run_file"),
    ],
)
def test_a_run_file_that_is_not_one_is_refused(change: dict[str, Any], code: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(older("run-1.json") | change))
    with pytest.raises(UsageError) as caught:
        records.read_run(tmp_path / "run.json")
    assert caught.value.code == code
