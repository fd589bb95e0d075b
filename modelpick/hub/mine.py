"""Which of my own models an audit touches: those of a lock, of an answer of modelpick, of a list of ids. I/O."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelpick.errors import UsageError, printable
from modelpick.files import read_json, read_text
from modelpick.hub.ancestry import numbered
from modelpick.hub.lineage_paths import strictest_above
from modelpick.hub.slim_index import SlimIndex
from modelpick.hub.verdicts import VERDICTS
from modelpick.licensing import lock

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CODE = "bad_list_of_models"
_FIX = "give modelpick.lock.json, what modelpick audit --json printed, or a text file with one id a line"


@dataclass(frozen=True, slots=True)
class MyModel:
    """One of my models: its verdict then (None: not recorded) and now (None: it is not in the dump)."""

    model: str
    was: str | None
    now: str | None
    reasons: tuple[str, ...]
    ancestor: str | None
    downloads: int | None


def asked_in(path: Path) -> dict[str, str | None]:
    """Ids with the verdicts of then. Raises UsageError for a file that names no model."""
    text = read_text(path, code=CODE, fix=_FIX)
    if text.lstrip()[:1] not in ("{", "["):
        lines = (line.partition("#")[0].strip() for line in text.splitlines())
        found: dict[str, str | None] = {line.partition("@")[0]: None for line in lines if line}
    else:
        content = read_json(path, code=CODE, fix=_FIX)
        if isinstance(content, dict) and "policy_sha256" in content:
            found = {one.model: one.verdict.value for one in lock.load(path).models}
        else:
            rows = content.get("results") if isinstance(content, dict) else content
            found = {}
            for row in rows if isinstance(rows, list) else ():
                id = (
                    row
                    if isinstance(row, str)
                    else (row.get("model") or row.get("asked"))
                    if isinstance(row, dict)
                    else None
                )
                if isinstance(id, str) and id:
                    was = row.get("verdict") if isinstance(row, dict) else None
                    found[id.partition("@")[0]] = was if was in VERDICTS else None
    if not found:
        raise UsageError(f"{printable(str(path))} names no model", fix=_FIX, code=CODE)
    return found


def judged(
    connection: "DuckDBPyConnection", index: SlimIndex, asked: dict[str, str | None], codes: list[str]
) -> tuple[MyModel, ...]:
    """Each of them as the audit judges it, the strictest first, those that the dump does not have last."""
    numbered(connection, "my_id", {"key VARCHAR": sorted({id.lower() for id in asked})})
    rows = connection.execute(
        "SELECT key, row, id, strictness, mask, downloads FROM answer JOIN my_id ON lower(id) = key"
    ).fetchall()
    found = {key: values for key, *values in sorted(rows, key=lambda row: row[3])}
    above = strictest_above(connection, index, [values[0] for values in found.values()])
    mine = []
    for id, was in asked.items():
        if id.lower() not in found:
            mine.append(MyModel(id, was, None, (), None, None))
            continue
        row, name, strictness, mask, downloads = found[id.lower()]
        reasons = tuple(code for number, code in enumerate(codes) if mask >> number & 1)
        mine.append(MyModel(name, was, VERDICTS[strictness], reasons, above.get(row), downloads))
    order = {None: 9, "deny": 0, "review": 1, "conditions": 2, "allow": 3}
    return tuple(sorted(mine, key=lambda one: (order[one.now], one.model.lower())))
