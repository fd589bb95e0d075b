"""A data release: built as the make target builds it, installed, used; and what hostile archives do: nothing."""

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelpick import __version__
from modelpick.catalog import index, snapshot
from modelpick.errors import ModelpickError, RemoteError
from modelpick.hub import release, store
from modelpick.settings import DataSettings
from tests.hub.conftest import FALCON
from tests.hub.test_store import content
from tests.hub.test_update import TODAY, changes, run

Entries = dict[str, bytes]


def entries(day: str = "2027-01-10", **manifest: Any) -> Entries:
    """The files of a good release."""
    made = content(day)
    about = made.manifest()
    said = {
        "schema_version": about.schema_version, "modelpick": about.modelpick, "made_on": about.made_on,
        "as_of": dict(about.as_of), "rows": dict(about.rows), "files": dict(about.files),
    }  # fmt: skip
    files = {f"modelpick_data/{file}": text.encode() for file, text in made.texts.items()}
    return {
        **files,
        "modelpick_data/manifest.json": json.dumps(said | manifest).encode(),
        "modelpick_data/__init__.py": b"",
        "modelpick_data-2027.1.10.dist-info/METADATA": b"Name: modelpick-data",
    }


def packed(files: Entries) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return body.getvalue()


def published(folder: Path, body: bytes) -> DataSettings:
    """The settings of whoever takes the release at a file, with its hash in a file of its own."""
    file = folder / "release.whl"
    file.write_bytes(body)
    Path(f"{file}.sha256").write_text(f"{hashlib.sha256(body).hexdigest()}  release.whl\n")
    return DataSettings(release=str(file))


def test_a_release_becomes_the_snapshot_and_is_read_once(folder: Path, tmp_path: Path) -> None:
    sources = published(tmp_path, packed(entries()))
    done = run(sources=sources)
    assert done.facts.source == "snapshot"
    assert index.load().as_of == "2027-01-10"
    Path(str(sources.release)).unlink()  # the same hash: the release itself is not asked for again
    assert not run(sources=sources).changed


def test_a_release_at_an_address(folder: Path, tmp_path: Path, serve_folder: Callable[[Path], str]) -> None:
    published(tmp_path, packed(entries()))
    address = f"{serve_folder(tmp_path)}/release.whl"
    assert run(sources=DataSettings(release=address)).changed
    with pytest.raises(ModelpickError) as caught:
        run(sources=DataSettings(release="http://example.com/release.whl"))
    assert caught.value.code == "bad_release"


def _edit(change: Callable[[Entries], None]) -> bytes:
    files = entries()
    change(files)
    return packed(files)


def _entry(name: str, data: bytes = b"x", mode: int = 0) -> bytes:
    body = io.BytesIO(packed(entries()))
    with zipfile.ZipFile(body, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, data)
    return body.getvalue()


def _bomb() -> bytes:
    body = io.BytesIO()
    with (
        zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("modelpick_data/manifest.json", "w") as member,
    ):
        for _ in range(300):
            member.write(bytes(1 << 20))
    return body.getvalue()


def _lying() -> bytes:
    """A manifest of two megabytes that states fewer bytes in the archive's own table."""
    body = bytearray(packed({"modelpick_data/manifest.json": b" " * (2 << 20)}))
    size = (2 << 20).to_bytes(4, "little")
    return bytes(body.replace(size, (10).to_bytes(4, "little")))


def _changed(file: str, old: bytes, new: bytes) -> Callable[[Entries], None]:
    def change(files: Entries) -> None:
        assert old in files[file]
        files[file] = files[file].replace(old, new, 1)

    return change


MODELS, MANIFEST = "modelpick_data/catalog/models.jsonl", "modelpick_data/manifest.json"
HOSTILE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "not a zip": lambda: b"<html>Sign in to the hotel network</html>",
    "truncated": lambda: packed(entries())[:-5000],
    "its start is missing": lambda: packed(entries())[5000:],
    "a path upwards": lambda: _entry("modelpick_data/../../evil.py"),
    "a path upwards at once": lambda: _entry("../evil.py"),
    "an absolute path": lambda: _entry("/etc/cron.d/evil"),
    "a Windows path": lambda: _entry("modelpick_data\\..\\evil.py"),
    "a drive": lambda: _entry("C:/evil.py"),
    "another package": lambda: _entry("modelpick/errors.py"),
    "a file that runs at start": lambda: _entry("evil.pth"),
    "a link": lambda: _entry("modelpick_data/offers/link.json", b"/etc/passwd", 0o120777),
    "a device": lambda: _entry("modelpick_data/offers/device", b"", 0o020666),
    "the same name twice": lambda: _entry(MODELS, b"{}"),
    "the same name in capitals": lambda: _entry("modelpick_data/catalog/MODELS.jsonl", b"{}"),
    "too many files": lambda: _edit(lambda files: files.update({f"modelpick_data/x/{n}": b"" for n in range(200)})),
    "a bomb": _bomb,
    "a lie about its size": _lying,
    "no manifest": lambda: _edit(lambda files: files.pop(MANIFEST)),
    "a manifest that is a list": lambda: _edit(lambda files: files.update({MANIFEST: b"[]"})),
    "a manifest nested deeply": lambda: _edit(lambda files: files.update({MANIFEST: b"[" * 200_000})),
    "another form": lambda: packed(entries(schema_version=2)),
    "an older modelpick": lambda: packed(entries(modelpick="0.0.1")),
    "a file is missing": lambda: _edit(lambda files: files.pop(MODELS)),
    "a file is changed": lambda: _edit(_changed(MODELS, b"apache-2.0", b"mit-licens")),
    "a file nobody knows": lambda: packed(entries(files={**content("2027-01-10").manifest().files, "x/y": "0" * 64})),
    "a file outside": lambda: packed(entries(files={**content("2027-01-10").manifest().files, "../../y": "0" * 64})),
    "days that its files do not state": lambda: packed(
        entries(as_of={"models": "2027-01-15", "prices": "2027-01-15", "scores": "2027-01"})
    ),
    "older facts": lambda: packed(entries("2020-01-01")),
    "facts of tomorrow": lambda: packed(entries("2029-01-01")),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_release_is_refused_in_one_sentence(folder: Path, tmp_path: Path, kind: str) -> None:
    before = sorted(path for path in tmp_path.rglob("*"))
    sources = published(tmp_path, HOSTILE[kind]())
    with pytest.raises(RemoteError) as caught:
        run(sources=sources)
    assert caught.value.code in ("bad_release", "bad_facts")
    assert snapshot.in_force().source == "embedded"
    new = {path.name for path in tmp_path.rglob("*")} - {path.name for path in before}
    assert new <= {"release.whl", "release.whl.sha256", "modelpick", "snapshots"}, "nothing was unpacked"


def test_a_good_release_is_not_refused_by_the_same_rules() -> None:
    texts, _ = release.read(packed(entries()))
    assert set(texts) == set(snapshot.FILES)


@pytest.mark.parametrize("said", ["0" * 64, "", "not a hash", None])
def test_a_release_of_another_hash_is_refused(folder: Path, tmp_path: Path, said: str | None) -> None:
    sources = published(tmp_path, packed(entries()))
    file = Path(f"{sources.release}.sha256")
    if said is None:
        file.unlink()
    else:
        file.write_text(said)
    with pytest.raises(ModelpickError) as caught:
        run(sources=sources)
    assert caught.value.code == "bad_release"
    pinned = hashlib.sha256(Path(str(sources.release)).read_bytes()).hexdigest()
    assert run(sources=DataSettings(release=sources.release, release_sha256=pinned)).changed


def _facts(change: Callable[[dict[str, str]], None]) -> bytes:
    """A release that is whole, and whose facts are not to be believed."""
    made = content("2027-01-10")
    texts = dict(made.texts)
    change(texts)
    about = store.Content(texts, "2027-01-10", {}).manifest()
    said = {
        "schema_version": 1, "modelpick": __version__, "made_on": "2027-01-10", "as_of": dict(about.as_of),
        "rows": {}, "files": dict(about.files),
    }  # fmt: skip
    files = {f"modelpick_data/{file}": text.encode() for file, text in texts.items()}
    return packed({**files, MANIFEST: json.dumps(said).encode()})


def _rows(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Callable[[dict[str, str]], None]:
    def edit(texts: dict[str, str]) -> None:
        header, *lines = texts["catalog/models.jsonl"].splitlines()
        rows = change([json.loads(line) for line in lines])
        head = json.dumps(json.loads(header) | {"models": len(rows)}, separators=(",", ":"))
        texts["catalog/models.jsonl"] = (
            "\n".join([head, *(json.dumps(row, separators=(",", ":")) for row in rows)]) + "\n"
        )

    return edit


def _priced(factor: float) -> Callable[[dict[str, str]], None]:
    def edit(texts: dict[str, str]) -> None:
        lines = [json.loads(line) for line in texts["offers/prices.jsonl"].splitlines()]
        for line in lines:
            for known in line["types"].values():
                for market in ("on-demand", "spot"):
                    if market in known:
                        known[market]["usd_per_hour"] *= factor
        texts["offers/prices.jsonl"] = "".join(json.dumps(line) + "\n" for line in lines)

    return edit


UNBELIEVABLE: dict[str, Callable[[dict[str, str]], None]] = {
    "prices a hundred times off": _priced(100),
    "prices a hundredth": _priced(0.01),
    "prices below zero": _priced(-1),
    "prices that are no number": _priced(float("nan")),
    "half of the models": _rows(lambda rows: rows[::2]),
    "ten times the models": _rows(lambda rows: [{**row, "id": f"{row['id']}-{n}"} for row in rows for n in range(10)]),
    "no licenses": _rows(lambda rows: [{key: row[key] for key in row if key != "license"} for row in rows]),
    "no configs": _rows(lambda rows: [{key: row[key] for key in row if key != "config"} for row in rows]),
    "renamed columns": _rows(lambda rows: [{"name": row["id"], **row} for row in rows]),
    "parameters in words": _rows(lambda rows: [{**row, "parameters": "7B"} for row in rows]),
    "a context below zero": _rows(lambda rows: [{**row, "context": -1} for row in rows]),
    "an id that stands twice": _rows(lambda rows: [*rows, rows[0]]),
    "prices in another form": lambda texts: texts.update({"offers/prices.jsonl": '{"a": 1}\n'}),
    "no prices": lambda texts: texts.update({"offers/prices.jsonl": ""}),
}


@pytest.mark.parametrize("kind", UNBELIEVABLE)
def test_facts_that_are_not_believed_do_not_count(folder: Path, tmp_path: Path, kind: str) -> None:
    sources = published(tmp_path, _facts(UNBELIEVABLE[kind]))
    with pytest.raises(RemoteError) as caught:
        run(sources=sources)
    assert caught.value.code == "bad_facts"
    assert "stay as they are" in caught.value.fix
    assert snapshot.in_force().source == "embedded"
    assert snapshot.folders() == []


def test_facts_within_the_bounds_do(folder: Path, tmp_path: Path) -> None:
    """A real change of price, some models gone, one relicensed: that is what a release is for."""

    def change(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row | ({"license": "mit"} if row["id"] == FALCON else {}) for row in rows[20:]]

    def edit(texts: dict[str, str]) -> None:
        _rows(change)(texts)
        _priced(0.56)(texts)

    done = run(sources=published(tmp_path, _facts(edit)))
    assert changes(done, "relicensed") == {FALCON: ("apache-2.0", "mit")}
    assert len(changes(done, "deleted")) == 20
    assert len(changes(done, "repriced")) > 500


def test_the_wheel_is_built_installed_and_used(
    updated_folder: Path, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `make data-wheel` does; then pip, offline, into a folder; then modelpick finds it, and prefers its own."""
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    import data_release

    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    data_release.main(["check"])
    data_release.main(["wheel", str(tmp_path / "dist")])
    (wheel,) = (tmp_path / "dist" / "wheel").glob("*.whl")
    assert wheel.name == "modelpick_data-2027.1.10-py3-none-any.whl"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target"]
    subprocess.run([*install, str(tmp_path / "site"), str(wheel)], check=True)
    own = snapshot.in_force()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    snapshot.forget()
    assert snapshot.in_force().source == "snapshot", "on one day, the user's own"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "empty"))
    installed = snapshot.in_force()
    assert (installed.source, installed.hash) == ("package", own.hash)
    assert index.load().as_of == "2027-01-10"
    file = tmp_path / "site" / "modelpick_data" / "catalog" / "models.jsonl"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelpickError) as caught:
        installed.text("catalog/models.jsonl")
    assert caught.value.code == "bad_snapshot"

    # The damaged package is in the way of nothing: an update starts from the embedded facts.
    latest = tmp_path / "dist" / "latest" / "modelpick_data.whl"
    done = run(TODAY, sources=DataSettings(release=str(latest)))
    assert done.facts.hash == own.hash, "the published file is the same release"
