"""What differs between two sets of facts: relicensed, gated, deleted, renamed, new, repriced. Pure but for reading."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from modelpick.catalog.snapshot import Facts
from modelpick.offers.price_file import prices_in

ChangeKind = Literal["relicensed", "gated", "opened", "deleted", "renamed", "new", "repriced"]
KINDS: tuple[ChangeKind, ...] = ("relicensed", "gated", "opened", "deleted", "renamed", "new", "repriced")
OF_MODELS: tuple[ChangeKind, ...] = KINDS[:-1]


@dataclass(frozen=True, slots=True)
class FactChange:
    """One difference: of a model (`what` is its id) or of a price (`what` is type, region, market)."""

    kind: ChangeKind
    what: str
    was: str | float | None
    now: str | float | None

    def as_json(self) -> dict[str, object]:
        """One element of `changes`."""
        return {"kind": self.kind, "what": self.what, "was": self.was, "now": self.now}


def compare(old: Facts, new: Facts) -> tuple[FactChange, ...]:
    """Every difference, by kind and name. Raises UsageError(code="bad_snapshot") for a damaged file."""
    found = [*_models(old, new), *_prices(old, new)]
    return tuple(sorted(found, key=lambda change: (KINDS.index(change.kind), change.what)))


def _models(old: Facts, new: Facts) -> Iterator[FactChange]:
    (_, before), (header, after) = _catalog(old), _catalog(new)
    renames = {name.lower(): now for name, now in header["renames"].items()}
    come_by_name = set()
    for key, row in before.items():
        other = after.get(key)
        if other is None and (now := renames.get(key)) is not None and now.lower() in after:
            other = after[now.lower()]
            come_by_name.add(now.lower())
            yield FactChange("renamed", row["id"], row["id"], other["id"])
        if other is None:
            yield FactChange("deleted", row["id"], row["id"], None)
            continue
        if license_of(row) != license_of(other):
            yield FactChange("relicensed", other["id"], license_of(row), license_of(other))
        gated, gated_now = bool(row.get("gated")), bool(other.get("gated"))
        if gated != gated_now and ("gated" in row or gated_now):
            yield FactChange("gated" if gated_now else "opened", other["id"], _gate(row), _gate(other))
    for key, row in after.items():
        if key not in before and key not in come_by_name:
            yield FactChange("new", row["id"], None, row["id"])


def _prices(old: Facts, new: Facts) -> Iterator[FactChange]:
    before, after = (dict(prices_in(facts.text("offers/prices.jsonl"))) for facts in (old, new))
    for pair in sorted({*before, *after}):
        if before.get(pair) != after.get(pair):
            yield FactChange("repriced", " ".join(pair), before.get(pair), after.get(pair))


def license_of(row: Mapping[str, Any]) -> str:
    """The license of a row of the catalog's file, as one text."""
    license, name = row.get("license"), row.get("license_name")
    shown = "none" if license is None else license if isinstance(license, str) else json.dumps(license)
    return shown if name is None or name == license else f"{shown} ({name})"


def _gate(row: Mapping[str, Any]) -> str:
    gated = row.get("gated")
    return gated if isinstance(gated, str) else "yes" if gated else "no"


def _catalog(facts: Facts) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    header, *lines = facts.text("catalog/models.jsonl").splitlines()
    rows = (json.loads(line) for line in lines)
    return json.loads(header), {row["id"].lower(): row for row in rows}
