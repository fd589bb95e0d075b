"""Looking a model up: letter case, former names, near misses, damaged files."""

import json
from pathlib import Path

import pytest

from modelpick.catalog import index
from modelpick.errors import UsageError


@pytest.mark.parametrize(
    ("asked", "canonical"),
    [
        ("google/flan-t5-base", "google/flan-t5-base"),
        ("GOOGLE/Flan-T5-Base", "google/flan-t5-base"),
        (" google/flan-t5-base ", "google/flan-t5-base"),
        ("gpt2", "openai-community/gpt2"),
        ("xlm-roberta-large", "FacebookAI/xlm-roberta-large"),
        ("CohereForAI/c4ai-command-r-v01", "CohereLabs/c4ai-command-r-v01"),
        ("THUDM/glm-4-9b", "zai-org/glm-4-9b"),
        ("THUDM/glm-4-9b-chat", "THUDM/glm-4-9b-chat"),
        ("nobody/nothing", None),
        ("", None),
        ("/", None),
    ],
)
def test_an_id_is_found_in_any_case_and_under_its_former_name(asked: str, canonical: str | None) -> None:
    catalog = index.load()
    found = catalog.find(asked)
    assert (found and found.id) == canonical
    assert catalog.canonical(asked) == canonical


@pytest.mark.parametrize(
    ("asked", "suggested"),
    [
        ("llama-7b", "huggyllama/llama-7b"),
        ("meta/Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("google/flan-t5-bas", "google/flan-t5-base"),
        ("flan-t5-lrge", "google/flan-t5-large"),
    ],
)
def test_a_mistyped_id_gets_the_nearest_ones(asked: str, suggested: str) -> None:
    assert suggested in index.load().nearest(asked)


def test_nothing_near_suggests_nothing() -> None:
    assert index.load().nearest("qqqqqqqq/zzzzzzzzzzzz") == ""


def _catalog(path: Path, header: dict[str, object], *rows: dict[str, object]) -> Path:
    lines = [json.dumps(row, separators=(",", ":")) for row in (header, *rows)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


_HEADER: dict[str, object] = {
    "schema_version": 1, "as_of": "2026-11-22", "downloads_as_of": "2026-10", "models": 1,
    "sources": {"citation": {"title": "t", "as_of": None, "read_on": "2026-11-22"}}, "boards": {}, "renames": {},
}  # fmt: skip


def test_a_row_without_facts_is_a_model_of_nulls(tmp_path: Path) -> None:
    model = index.load(_catalog(tmp_path / "c.jsonl", _HEADER, {"id": "a/b"})).models["a/b"]
    assert (model.license, model.parameters, model.config, model.quality, dict(model.sources)) == (None,) * 4 + ({},)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"schema_version":1', '"schema_version":99'),
        lambda text: text.replace('"models":1', '"models":2'),
        lambda text: text[:40],
        lambda text: "",
        lambda text: text.replace('"sources"', '"sauces"'),
    ],
)
def test_a_damaged_file_is_refused_and_says_how_to_mend_it(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    path = _catalog(tmp_path / "c.jsonl", _HEADER, {"id": "a/b"})
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    with pytest.raises(UsageError) as caught:
        index.load(path)
    assert caught.value.code == "bad_catalog"
    assert caught.value.fix


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="damaged"):
        index.load(tmp_path / "absent.jsonl")
