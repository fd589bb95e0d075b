"""What later audits of the same dump start from: a folder of parquet files and one of JSON. I/O.

Verdicts are not in it, so it serves every policy. It is refused, and made anew, where the dump, the license facts or
modelpick are not those it was made from.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpick import __version__
from modelpick.catalog import hub_cache, snapshot
from modelpick.errors import UsageError
from modelpick.files import read_bytes, read_end, read_json, write_atomically
from modelpick.hub.build import Built, Show, build
from modelpick.hub.claims import HubClaim
from modelpick.hub.hub_table import CODE, checked_path, hub_table, quoted
from modelpick.licensing import load
from modelpick.licensing.facts import LicenseFacts

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FORMAT = 5
"""Raised with every change of what the files hold."""
_TAIL = 65_536  # bytes at a parquet file's end: its footer, which holds the statistics of every column
_KEPT = 4  # indexes of the newest dumps; one of 2.5 million rows took 115 MB
_TABLES = {
    "audited": "SELECT * FROM audited ORDER BY downloads DESC, row",
    "ids": "FROM ids",
    "pair": "FROM pair",
    "owners": "FROM owners ORDER BY owner",
    "edge": "FROM edge ORDER BY child",
    "missing": "FROM missing",
    "as_ancestor": "FROM as_ancestor",
}
_ROWS_AT_ONCE = 8192  # what has to be unpacked for one row: many ids are kept, few are read


@dataclass(frozen=True, slots=True)
class SlimIndex:
    """An index that matches its dump. `folder` holds the tables of `Built`; `was_there`: it was made earlier."""

    folder: Path
    dump: Path
    source: str  # SHA-256 that stands for the dump
    rows: int
    skipped: int
    not_judged: tuple[str, ...]
    claims: tuple[HubClaim, ...]
    judged: tuple[tuple[int, tuple[int, ...]], ...]
    sets: tuple[tuple[int, ...], ...]
    twins: tuple[tuple[int, ...], ...]
    was_there: bool

    def table(self, name: str) -> str:
        """SQL that reads one of its tables."""
        return f"read_parquet({quoted(str(self.folder / f'{name}.parquet'))})"


def indexed(
    connection: "DuckDBPyConnection", dump: Path, facts: LicenseFacts, show: Show, folder: Path | None = None
) -> SlimIndex:
    """The index of a dump: the one in `folder` (default: the user's cache) where it matches, else a new one.

    Raises UsageError as `hub_table` does, and where the folder cannot be written.
    """
    checked_path(dump)
    key = _key(dump)
    home = folder or _default_folder()
    place = home / key["source"][:24]
    found = _opened(place, dump, key)
    if found is not None:
        return found
    table = hub_table(connection, dump)
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=home) as new:
            built = build(connection, table, facts, show)
            show("writing the index", 0, None)
            content = {**key, "rows": table.rows, "not_judged": list(table.not_judged), **_plain(built)}
            _write(connection, Path(new), content)
            shutil.rmtree(place, ignore_errors=True)
            Path(new).rename(place)
            Path(new).mkdir()  # what the context manager removes
        _trim(home, place)
    except OSError as error:
        raise UsageError(
            f"the index cannot be written to {home}: {error.strerror or error}",
            fix="name a folder with --index, or set XDG_CACHE_HOME", code="cannot_write",
        ) from None  # fmt: skip
    made = _opened(place, dump, key)
    if made is None:
        raise UsageError(f"the index in {place} cannot be read back", fix="name another folder with --index", code=CODE)
    return SlimIndex(**{**{name: getattr(made, name) for name in made.__slots__}, "was_there": False})


def _key(dump: Path) -> dict[str, Any]:
    """What an index must have been made from: the dump (size, time, footer), the license facts, this modelpick."""
    stat = dump.stat()
    digest = hashlib.sha256(f"{stat.st_size} {stat.st_mtime_ns} ".encode())
    digest.update(read_end(dump, _TAIL, code=CODE))
    return {"format": FORMAT, "modelpick": __version__, "facts": _facts_digest(), "source": digest.hexdigest()}


def _facts_digest() -> str:
    """SHA-256 of the files that say what is one claim: license facts, families, known models, data sets."""
    digest = hashlib.sha256()
    folder = load.policies_directory()
    for path in (*sorted(folder.glob("*.toml")), load.compiled_path()):
        content = read_bytes(path, code="broken_installation")
        digest.update(f"{path.name} {len(content)} ".encode() + content)
    digest.update(snapshot.in_force().hash.encode())  # names are compared with those of the catalog
    return digest.hexdigest()


def _default_folder() -> Path:
    cache = hub_cache.default_folder()
    if cache is None:
        raise UsageError("there is no cache folder for the index", fix="name one with --index", code="cannot_write")
    return cache.parent / "hub-audits"


def _plain(built: Built) -> dict[str, Any]:
    claims = [list(asdict(claim).values()) for claim in built.claims]
    return {"skipped": built.skipped, "claims": claims, "judged": built.judged, "sets": built.sets,
            "twins": built.twins}  # fmt: skip


def _write(connection: "DuckDBPyConnection", folder: Path, content: dict[str, Any]) -> None:
    for leftover in folder.iterdir():
        leftover.unlink()
    for name, query in _TABLES.items():
        target = quoted(str(folder / f"{name}.parquet"))
        groups = f", ROW_GROUP_SIZE {_ROWS_AT_ONCE}" if name == "ids" else ""
        connection.execute(f"COPY ({query}) TO {target} (FORMAT parquet, COMPRESSION zstd{groups})")
    for name in ("audited", "hub", "edge", "missing", "as_ancestor"):
        connection.execute(f"DROP TABLE {name} CASCADE")
    write_atomically(folder / "index.json", json.dumps(content, separators=(",", ":")))


def _opened(folder: Path, dump: Path, key: dict[str, Any]) -> SlimIndex | None:
    """The index of a folder, or None where there is none that matches."""
    if not all((folder / f"{name}.parquet").is_file() for name in _TABLES):
        return None
    try:
        content = read_json(folder / "index.json", code="bad_index", largest=2**30)
        if any(content.get(name) != value for name, value in key.items()):
            return None
        return SlimIndex(
            folder, dump, content["source"], content["rows"], content["skipped"], tuple(content["not_judged"]),
            tuple(HubClaim(id, tuple(tags), *rest) for id, tags, *rest in content["claims"]),
            tuple((claim, tuple(context)) for claim, context in content["judged"]),
            _tuples(content["sets"]), _tuples(content["twins"]), True,
        )  # fmt: skip
    except (UsageError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _tuples(lists: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(map(tuple, lists))


def _trim(home: Path, newest: Path) -> None:
    """Removes all but the newest indexes."""
    found = [path for path in home.iterdir() if path.is_dir() and (path / "index.json").is_file() and path != newest]
    found.sort(key=lambda path: os.stat(path).st_mtime, reverse=True)
    for path in found[_KEPT - 1 :]:
        shutil.rmtree(path, ignore_errors=True)
