"""Which facts are in force, and what a snapshot must be to count."""

import hashlib
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from modelpick import __version__
from modelpick.catalog import ages, index, snapshot
from modelpick.errors import UsageError
from modelpick.offers import embedded

Make = Callable[..., Path]


def _write(folder: Path, *, made_on: str = "2027-01-10", **manifest: Any) -> Path:
    """A snapshot: the embedded files at a later day, with another context of falcon-7b to tell them apart."""
    texts = {file: snapshot.embedded_facts().text(file) for file in snapshot.FILES}
    header, *rows = texts["catalog/models.jsonl"].splitlines()
    changed = json.loads(header) | {"as_of": made_on}
    rows = [json.dumps(json.loads(row) | {"context": 12_345}) if 'tiiuae/falcon-7b"' in row else row for row in rows]
    rows = [row.replace('{"id": "', '{"id":"', 1) for row in rows]
    texts["catalog/models.jsonl"] = "\n".join([json.dumps(changed, separators=(",", ":")), *rows]) + "\n"
    about = json.loads(texts["offers/manifest.json"])
    texts["offers/manifest.json"] = json.dumps(about | {"prices_as_of": made_on})
    hashes = {}
    for file, text in texts.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
        hashes[file] = hashlib.sha256(text.encode()).hexdigest()
    content = {
        "schema_version": 1, "modelpick": __version__, "made_on": made_on, "rows": {"models": len(rows)},
        "as_of": {"models": made_on, "prices": made_on, "scores": "2027-01"}, "files": hashes,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(content | manifest))
    return folder


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a snapshot in this test's own data folder, and the pointer to it."""
    monkeypatch.delenv("MODELPICK_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    root = tmp_path / "modelpick" / "snapshots"
    made: list[str] = []

    def snapshot_of(**manifest: Any) -> Path:
        folder = _write(tmp_path / f"made-{len(made)}", **manifest)
        name = snapshot.manifest_in(folder).name
        root.mkdir(parents=True, exist_ok=True)
        folder.rename(root / name)
        made.append(name)
        _point(root, current=name, order=made)
        snapshot.forget()
        return root / name

    return snapshot_of


def _point(root: Path, **pointer: Any) -> None:
    (root / "pointer.json").write_text(json.dumps(pointer))
    snapshot.forget()


def test_without_a_snapshot_the_embedded_facts_are_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELPICK_DATA")
    facts = snapshot.in_force()
    assert (facts.source, facts.ignored) == ("embedded", None)
    assert facts.as_of == {"models": index.load().as_of, "prices": embedded.as_of(), "scores": "2026-08-22"}
    assert len(facts.hash) == 64


def test_catalog_and_prices_come_from_the_current_snapshot(make: Make) -> None:
    folder = make()
    facts = snapshot.in_force()
    assert (facts.source, facts.name, facts.folder) == ("snapshot", folder.name, folder)
    model = index.load().find("tiiuae/falcon-7b")
    assert model is not None
    assert model.context == 12_345
    assert index.load().as_of == embedded.as_of() == "2027-01-10"
    assert facts.hash != snapshot.embedded_facts().hash
    assert facts.name.endswith(facts.hash[:12])


@pytest.mark.parametrize("how", ["variable", "setting", "held"])
def test_the_embedded_facts_can_be_pinned(make: Make, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    root = make().parent
    if how == "variable":
        monkeypatch.setenv("MODELPICK_DATA", "embedded")
    elif how == "setting":
        Path("modelpick.toml").write_text('[data]\nuse = "embedded"\n')
        snapshot.forget()
    else:
        _point(root, current="embedded", held=True)
    assert snapshot.in_force().source == "embedded"
    model = index.load().find("tiiuae/falcon-7b")
    assert model is not None
    assert model.context != 12_345


def test_an_older_snapshot_can_be_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    older, newer = make(made_on="2027-01-10"), make(made_on="2027-02-20")
    assert snapshot.in_force().name == newer.name
    monkeypatch.setenv("MODELPICK_DATA", "2027-01-10")
    assert snapshot.in_force().name == older.name
    monkeypatch.setenv("MODELPICK_DATA", "2027")
    with pytest.raises(UsageError) as caught:
        snapshot.in_force()
    assert caught.value.code == "unknown_snapshot"
    assert older.name in caught.value.message


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ({"schema_version": 2}, "its form is 2"),
        ({"modelpick": "0.0.9"}, "modelpick 0.0.9 made it"),
        ({"as_of": {"models": "2020-01-01", "prices": "2027-01-01", "scores": "2027-01"}}, "models are of 2020-01-01"),
        ({"as_of": {"models": "2027-01-01", "prices": "2020-01-01", "scores": "2027-01"}}, "prices are of 2020-01-01"),
    ],
)
def test_a_snapshot_of_another_form_version_or_of_older_facts_is_passed_over_aloud(
    make: Make, manifest: dict[str, Any], why: str
) -> None:
    make(**manifest)
    facts = snapshot.in_force()
    assert facts.source == "embedded"
    assert facts.ignored is not None
    assert why in facts.ignored


def test_a_damaged_file_is_no_answer(make: Make) -> None:
    file = make() / "catalog/models.jsonl"
    content = file.read_bytes()
    for damaged in (content[:-400], content.replace(b"apache-2.0", b"mit-license", 1), b""):
        file.write_bytes(damaged)
        snapshot.forget()
        with pytest.raises(UsageError) as caught:
            snapshot.in_force().text("catalog/models.jsonl")
        assert caught.value.code == "bad_snapshot"
        assert "--back" in caught.value.fix


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"schema_version": 1}', '{"schema_version": "1"}', "[" * 100_000],
)
def test_a_damaged_manifest_or_pointer_is_one_sentence(make: Make, content: str) -> None:
    folder = make()
    (folder / "manifest.json").write_text(content)
    snapshot.forget()
    with pytest.raises(UsageError) as caught:
        snapshot.in_force()
    assert caught.value.code == "bad_snapshot"
    (folder.parent / "pointer.json").write_text(content.replace("schema_version", "version") or "x")
    snapshot.forget()
    if content.startswith('{"s'):
        return  # a pointer of another version: what is not known is left alone
    with pytest.raises(UsageError):
        snapshot.in_force()


@pytest.mark.parametrize("name", ["../../etc", "/etc", "2027-01-10", "2027-01-10-ABCDEF012345", ".."])
def test_a_pointer_out_of_the_folder_is_refused(make: Make, name: str) -> None:
    _point(make().parent, current=name)
    with pytest.raises(UsageError, match="names no snapshot"):
        snapshot.in_force()


def test_the_hash_is_of_the_content_not_of_the_order() -> None:
    assert snapshot.hash_of({"a": "1", "b": "2"}) == snapshot.hash_of({"b": "2", "a": "1"})
    assert snapshot.hash_of({"a": "1", "b": "2"}) != snapshot.hash_of({"a": "2", "b": "1"})


def test_ages_are_counted_and_warned_of() -> None:
    as_of = {"models": "2026-11-22", "prices": "2026-11-29", "scores": "2026-08"}
    kinds = ("prices", "models")
    assert ages.ages(as_of, kinds, date(2026, 11, 30)) == "prices 2026-11-29 (1 day), models 2026-11-22 (8 days)"
    assert ages.warning(as_of, kinds, date(2027, 2, 20)) is None  # 90 days
    assert "models of 2026-11-22" in str(ages.warning(as_of, kinds, date(2027, 2, 21)))
    assert "prices" not in str(ages.warning(as_of, kinds, date(2027, 2, 21)))
    assert "scores of 2026-08" in str(ages.warning(as_of, ("scores",), date(2026, 11, 30)))
    assert "clock" in str(ages.warning(as_of, kinds, date(2020, 1, 1)))
    assert "dated after today" in ages.ages(as_of, kinds, date(2020, 1, 1))
