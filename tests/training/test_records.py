"""run.json, result.json and before.json are read back as they were written, and so are older ones."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelpick.errors import UsageError
from modelpick.evaluation import before_after
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


def test_what_an_older_run_scored_before_is_read_and_damage_means_measuring_again(tmp_path: Path) -> None:
    settings = records.read_run(OLDER / "run-1.json").settings
    before = before_after.read_before(OLDER / "before-1.json", settings)
    assert before is not None
    assert before.probe is not None
    assert len(before.probe.cases) == settings.probe
    file = tmp_path / "before.json"
    before_after.write_before(file, before)
    assert before_after.read_before(file, settings) == before
    assert before_after.read_before(file, replace(settings, seed=7)) == replace(before, probe=None)
    file.write_text(file.read_text()[:-5])
    assert before_after.read_before(file, settings) is None


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
