"""What the Hub says today, put over a row of the catalog. Pure: rows of the catalog's file in, rows out.

The Hub's word on license, parents, gate and popularity is the row's own from then on, with the source "Hub, DATE". A
license that differs from the one the catalog knew is kept as a conflict, and both are judged: neither a new
tag nor an old fact alone may allow what the other forbids (licensing.file_evidence.assess_conflicts).
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelpick.catalog import architecture
from modelpick.catalog.derived import TELLING_TAGS
from modelpick.catalog.hub_record import merged
from modelpick.catalog.model import HUB_ON, Model
from modelpick.catalog.parts import RepositoryParts
from modelpick.errors import CannotTellError

Row = dict[str, Any]
LONGEST_TEXT = 200  # characters of a text in a config.json that say something of the shape
_LICENSE = ("license", "license_name", "license_link")
_PLAIN = ("gated", "downloads", "likes", "pipeline_tag", "library")


@dataclass(frozen=True, slots=True)
class HubReading:
    """What the Hub answered about one id: its record (None: no such repository), and the config.json if it was read."""

    record: Mapping[str, Any] | None
    config: Mapping[str, Any] | None = None

    @property
    def id(self) -> str | None:
        """The repository's id, which is not the one asked for where it was renamed."""
        return None if self.record is None else str(self.record.get("id") or self.record.get("modelId"))

    @property
    def sha(self) -> str | None:
        """The commit that the record is of."""
        sha = None if self.record is None else self.record.get("sha")
        return sha if isinstance(sha, str) else None


def updated(row: Mapping[str, Any], reading: HubReading, day: str, keys: Collection[str]) -> Row:
    """The row with what the Hub says today. `keys` are those of a config that hold a table or a list and are kept."""
    assert reading.record is not None
    parts = RepositoryParts(str(reading.id), "hub", reading.sha, (), {}, None, None, None, {}, ())
    said, source = merged(parts, reading.record, asked=str(reading.id)), f"{HUB_ON}{day}"
    changes: dict[str, Any] = {field: getattr(said, field) for field in _PLAIN if getattr(said, field) is not None}
    changes |= {"release_date": said.release_date} if "release_date" not in row and said.release_date else {}
    changes |= {"languages": list(said.languages)} if "languages" not in row and said.languages else {}
    changes["base_models"] = _bases(row, said)
    changes["datasets"] = list(dict.fromkeys((*row.get("datasets", ()), *said.datasets)))
    after = _with_terms(_relicensed(_as_curated(row), said, source), said, reading.record, source) | {"id": reading.id}
    fresh = {field: value for field, value in changes.items() if value != [] and after.get(field) != value}
    after = _set(after, fresh, source)
    if reading.config is not None:
        after = _with_config(after, kept_of(reading.config, keys), source)
    return after


def kept_of(config: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """What of a config.json the catalog keeps: every plain value, and the tables and lists whose key it knows."""
    return {
        key: value
        for key, value in config.items()
        if key in keys
        or value is None
        or isinstance(value, bool | int | float)
        or (isinstance(value, str) and len(value) <= LONGEST_TEXT and not key.startswith("_"))
    }


def _as_curated(row: Mapping[str, Any]) -> Row:
    """The row as it was before any update spoke of its license."""
    before, kept = dict(row), []
    for conflict in row.get("conflicts", ()):
        field, _, kept_source, other, other_source = conflict
        if field in _LICENSE and str(kept_source).startswith(HUB_ON):
            before = _set(before, {field: other}, other_source)
        else:
            kept.append(conflict)
    return before | {"conflicts": kept}


def _relicensed(row: Row, said: Model, source: str) -> Row:
    """The license that the Hub states; what was known before becomes a conflict where the two differ.

    That a row named none is a conflict too (its other side is empty, or "other"): what curated facts say of such a
    model is judged with the Hub's word.
    """
    before, now = [row.get(field) for field in _LICENSE], [getattr(said, field) for field in _LICENSE]
    if _same(before[:2], now[:2]):
        now = [*before[:2], now[2] if now[2] is not None else before[2]]
    if _same(before, now):
        return row
    named_none = before[0] in (None, "other") and before[1] is None
    conflicts = list(row.get("conflicts", ()))
    for field, old, new in zip(_LICENSE, before, now, strict=True):
        if field == "license" and named_none:
            if not _same(before[:2], now[:2]):
                conflicts.append([field, new, source, old, _source_of(row, field)])
        elif old is not None and old != new and not (field == "license" and old == "other"):
            conflicts.append([field, new, source, old, _source_of(row, field)])
    return _set(row, dict(zip(_LICENSE, now, strict=True)), source) | {"conflicts": conflicts}


def _with_terms(row: Row, said: Model, record: Mapping[str, Any], source: str) -> Row:
    """The row with what else of a record `license` judges: the gate's text, tags, fields that are unreadable.

    Each replaces what an earlier update said, where the record has the part that it stands in.
    """
    values: dict[str, Any] = {}
    if isinstance(record.get("cardData"), Mapping):
        values["gate_text"] = said.gate_text
        values["unreadable"] = [[one.field, one.value, one.source] for one in said.unreadable]
    if isinstance(record.get("tags"), list):
        known = {f"license:{said.license}".lower(), *(f"dataset:{name}".lower() for name in said.datasets)}
        values["tags"] = [tag for tag in said.tags if _tells(tag) and tag.lower() not in known]
    fresh = {field: value for field, value in values.items() if (row.get(field) or None) != (value or None)}
    return _set(row, fresh, source)


def _tells(tag: str) -> bool:
    """Whether a tag says something of license, data or making; parents are kept as such."""
    return re.match(TELLING_TAGS, tag) is not None and not tag.lower().startswith("base_model:")


def _same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return [str(value or "").strip().lower() for value in one] == [str(value or "").strip().lower() for value in other]


def _bases(row: Mapping[str, Any], said: Model) -> list[list[str]]:
    """Every parent that the catalog or the Hub names; the Hub's relation counts where it states one."""
    found = {id.lower(): [id, relation] for id, relation in row.get("base_models", ())}
    for base in said.base_models:
        if base.id.lower() not in found or base.relation != "unknown":
            found[base.id.lower()] = [base.id, base.relation]
    return list(found.values())


def _with_config(row: Row, config: dict[str, Any], source: str) -> Row:
    """The row with the repository's own config, unless it describes no shape that can be read and the old one does."""
    before = row.get("config")
    if not config or before == config or (_is_shape(before) and not _is_shape(config)):
        return row
    fresh = [key for key, value in config.items() if (before or {}).get(key) != value]
    sources = {key: value for key, value in row.get("sources", {}).items() if not key.startswith("config.")}
    kept = {f"config.{key}": _source_of(row, f"config.{key}") for key in config if key not in fresh}
    return row | {"config": config, "sources": sources | kept | {f"config.{key}": source for key in fresh}}


def _source_of(row: Mapping[str, Any], field: str) -> str:
    return str(row.get("sources", {}).get(field, row.get("source", "citation")))


def _is_shape(config: Mapping[str, Any] | None) -> bool:
    if not config:
        return False
    try:
        architecture.read(config)
    except CannotTellError:
        return False
    return True


def _set(row: Mapping[str, Any], values: Mapping[str, Any], source: str) -> Row:
    """The row with `values` and their source."""
    return {**row, **values, "sources": {**row.get("sources", {}), **dict.fromkeys(values, source)}}


def line_of(row: Mapping[str, Any]) -> str:
    """A row as a line of the catalog's file, its id first."""
    ordered = {
        "id": row["id"],
        **{key: value for key, value in row.items() if key != "id" and value not in (None, [], {})},
    }
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":"))
