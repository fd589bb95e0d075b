"""The catalog's file after an update: rows with what the Hub says, renames, repositories that are gone. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from modelpick.catalog.model import HUB_ON
from modelpick.hub.overlay import HubReading, Row, line_of, updated

CATALOG, REPOSITORIES = "catalog/models.jsonl", "hub/repositories.json"


@dataclass(frozen=True, slots=True)
class Repositories:
    """What a snapshot knows of the Hub besides the catalog's rows.

    `commits`: id -> the commit whose config the row has. `gone`: id -> the row of a repository that the Hub no longer
    has; it is asked for again at each update.
    """

    commits: Mapping[str, str]
    gone: Mapping[str, Row]

    @staticmethod
    def of(texts: Mapping[str, str]) -> "Repositories":
        """Those of a snapshot's files; the embedded facts have none."""
        content = json.loads(texts[REPOSITORIES]) if REPOSITORIES in texts else {}
        return Repositories(content.get("commits", {}), content.get("gone", {}))

    def text(self) -> str:
        """The file."""
        content = {"schema_version": 1, "commits": self.commits, "gone": self.gone}
        return json.dumps(content, ensure_ascii=False, indent=0, sort_keys=True) + "\n"


def ids_of(texts: Mapping[str, str]) -> list[str]:
    """Every id to ask for: the catalog's, then those that were gone."""
    return list(dict.fromkeys((*(row["id"] for row in _rows(texts)), *Repositories.of(texts).gone)))


def with_models(texts: Mapping[str, str], readings: Mapping[str, HubReading], day: str) -> dict[str, str]:
    """The data files with what the Hub says of each model on `day`."""
    before, rows = Repositories.of(texts), _rows(texts)
    header = json.loads(texts[CATALOG].partition("\n")[0])
    keys = {key for row in rows for key, value in (row.get("config") or {}).items() if isinstance(value, dict | list)}
    commits: dict[str, str] = dict(before.commits)
    gone: dict[str, Row] = {}
    after: dict[str, Row] = {}
    for row in (*rows, *before.gone.values()):
        reading = readings.get(row["id"])
        if reading is None:
            after.setdefault(row["id"].lower(), row)
            continue
        if reading.record is None:
            gone[row["id"]] = row
            continue
        fresh = updated(row, reading, day, keys)
        if fresh["id"].lower() != row["id"].lower():
            header["renames"][row["id"]] = fresh["id"]
            commits.pop(row["id"], None)
        kept = after.setdefault(fresh["id"].lower(), fresh)
        if kept is not fresh:  # renamed to what is there: the first of the two stays, with what is known of the other
            others = [one for one in fresh.get("conflicts", ()) if one not in kept.get("conflicts", ())]
            after[fresh["id"].lower()] = kept | {"conflicts": [*kept.get("conflicts", ()), *others]}
        if reading.sha is not None:
            commits[fresh["id"]] = reading.sha
    known = Repositories({id: sha for id, sha in commits.items() if id.lower() in after}, gone)
    catalog = _file(header, list(after.values()), day)
    return {**texts, CATALOG: catalog, REPOSITORIES: known.text()}


def _file(header: dict[str, Any], rows: list[Row], day: str) -> str:
    named = {source for row in rows for source in row.get("sources", {}).values() if str(source).startswith(HUB_ON)}
    about = {key: source for key, source in header["sources"].items() if not key.startswith(HUB_ON)} | {
        source: {"title": "the Hub's API, and config.json at the commit that it named", "as_of": read, "read_on": read}
        for source in sorted(named)
        if (read := source.removeprefix(HUB_ON))
    }
    header |= {"as_of": day, "downloads_as_of": day, "models": len(rows), "sources": about}
    return _lines((header, *rows))


def _lines(objects: Iterable[Mapping[str, Any]]) -> str:
    header, *rows = objects
    head = json.dumps(header, ensure_ascii=False, separators=(",", ":"))
    return "".join(f"{line}\n" for line in (head, *map(line_of, rows)))


def _rows(texts: Mapping[str, str]) -> list[Row]:
    return [json.loads(line) for line in texts[CATALOG].splitlines()[1:]]
