"""What makes verdicts fast changes none of them: remembered assessments, and license files compiled into one."""

import json
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpick.catalog import index
from modelpick.catalog.model import Model
from modelpick.licensing import load
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import judge
from modelpick.schema import to_json
from tests.licensing.conftest import TODAY

CATALOG = index.load()
MODELS = tuple(CATALOG.models.values())


def test_a_remembered_verdict_is_the_fresh_one_for_every_model_of_the_catalog(facts: LicenseFacts) -> None:
    """Under two policies in turn, so that an answer remembered for one would show under the other."""
    policies = [load.load_policy(name) for name in ("commercial", "permissive")]
    shared = replace(facts)
    for model in (*MODELS, *reversed(MODELS)):
        for policy in policies:
            fresh = judge(model, policy, replace(facts), CATALOG.find, TODAY)
            assert judge(model, policy, shared, CATALOG.find, TODAY) == fresh, model.id
    assert len(shared.memo) < len(MODELS), "nothing was shared between models"


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_field_that_counts_is_missing_from_the_key(
    facts: LicenseFacts, commercial: Policy, data: st.DataObject
) -> None:
    """Two catalog models with some fields exchanged: each still gets its own answer from the shared memory."""
    first, second = (data.draw(st.sampled_from(MODELS)) for _ in range(2))
    names = ("id", "license", "license_name", "gated", "pipeline_tag", "datasets", "config", "origin", "license_link")
    exchanged = data.draw(st.sets(st.sampled_from(names)))
    mixed = replace(first, **{name: getattr(second, name) for name in exchanged})
    shared = replace(facts)
    for model in (first, second, mixed):
        fresh = judge(model, commercial, replace(facts), CATALOG.find, TODAY)
        assert judge(model, commercial, shared, CATALOG.find, TODAY) == fresh


def test_models_that_differ_in_one_thing_do_not_share_an_answer(facts: LicenseFacts, commercial: Policy) -> None:
    """Every combination of what a verdict depends on, from one memory, at home and in a territory that is excluded."""
    abroad = replace(commercial, company=replace(commercial.company, domicile="DE"))
    shared = replace(facts)
    for id, license, name, tag, gated, datasets, origin in product(
        ("a/thing", "meta-llama/thing", "a/llama-3.2-1B"),
        ("mit", "llama3.2", "other", None),
        (None, "modified-mit"),
        ("text-generation", "image-text-to-text", None),
        (False, "manual"),
        ((), ("Open-Orca/OpenOrca",)),
        ("catalog", "hub"),
    ):
        model = Model(
            id=id, origin=origin, license=license, license_name=name, pipeline_tag=tag, gated=gated, datasets=datasets
        )  # fmt: skip
        for policy in (commercial, abroad):
            fresh = judge(model, policy, replace(facts), lambda _: None, TODAY)
            assert judge(model, policy, shared, lambda _: None, TODAY) == fresh


def test_a_policy_that_takes_the_place_of_another_in_memory_is_not_taken_for_it(facts: LicenseFacts) -> None:
    shared, model = replace(facts), CATALOG.models["google/gemma-3-4b-it"]
    for name in ("commercial", "permissive") * 20:  # a policy that nobody holds any more would give its id to the next
        policy = load.load_policy(name)
        fresh = judge(model, policy, replace(facts), CATALOG.find, TODAY).verdict
        assert judge(model, policy, shared, CATALOG.find, TODAY).verdict is fresh


def as_tables(folder: Path) -> dict[str, object]:
    return {license.id: to_json(license) for license in load.load_licenses(folder).licenses}


@pytest.fixture
def folder(repository: Path, tmp_path: Path) -> Path:
    """A copy of policies/licenses/ that a test may edit."""
    return Path(shutil.copytree(repository / "policies" / "licenses", tmp_path / "licenses"))


@pytest.fixture
def uncompiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of the compiled file, empty."""
    path = tmp_path / "licenses.json"
    monkeypatch.setattr(load, "compiled_path", lambda: path)
    return path


def test_the_compiled_licenses_are_those_of_policies(repository: Path) -> None:
    """Fails after every change in policies/licenses/ until scripts/build_license_facts.py has run."""
    built = load.compiled_licenses(repository / "policies" / "licenses")
    assert load.compiled_path().read_text(encoding="utf-8") == built


def test_the_compiled_file_changes_no_license(folder: Path, uncompiled: Path) -> None:
    parsed = as_tables(folder)
    uncompiled.write_text(load.compiled_licenses(folder), encoding="utf-8")
    assert as_tables(folder) == parsed


def test_an_edited_added_or_removed_license_counts_at_once(folder: Path) -> None:
    mit = folder / "mit.toml"
    mit.write_text(mit.read_text().replace('commercial_use = "yes"', 'commercial_use = "no"'))
    assert load.load_licenses(folder).by_id["mit"].permits.commercial_use == "no"
    shutil.copy(mit, folder / "another.toml")
    (folder / "zlib.toml").unlink()
    ids = set(load.load_licenses(folder).by_id)
    assert "another" in ids
    assert "zlib" not in ids


@pytest.mark.parametrize("content", ["", "[]", "3", "null", '{"sha256": 3}', '{"sha256": "x", "licenses": []}', "\x00"])
def test_a_compiled_file_of_another_shape_is_passed_over(folder: Path, uncompiled: Path, content: str) -> None:
    parsed = as_tables(folder)
    uncompiled.write_text(content)
    assert as_tables(folder) == parsed
    digest = json.loads(load.compiled_licenses(folder))["sha256"]
    for licenses in ([], 3, None, {"mit": 3, "zlib": []}):
        uncompiled.write_text(json.dumps({"sha256": digest, "licenses": licenses}))
        assert as_tables(folder) == parsed
