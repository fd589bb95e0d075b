"""What a snapshot must pass before it counts: form, row counts, unknown values, price jumps, dates.

One home of the bounds, the same for what an update made and for a release. A bound is about all of it: single prices
that are far off are held back where they are read (offers.price_sources.checked), and single rows that changed are what
an update is for.
"""

import json
import math
import re
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from modelpick.catalog import index, snapshot
from modelpick.catalog.snapshot import Facts
from modelpick.errors import ModelpickError, RemoteError
from modelpick.offers.price_file import prices_in
from modelpick.offers.price_sources import Pair, far_off

# Shares of the facts in force. They are wide: the catalog has lost 2 % of its repositories in two years, and prices
# have changed together once (-44 % on the P families, 2025-06, facts/price_history.csv).
FEWEST_ROWS, MOST_ROWS = 0.90, 3.0
MOST_GONE = 0.05
MORE_UNKNOWN = 0.05
MOST_FAR_PRICES = 0.02
_WATCHED = ("license", "config", "parameters", "context")


def verify(new: Facts, old: Facts, today: date) -> None:
    """Raises RemoteError(code="bad_facts") with the first thing that is wrong in `new`, seen from `old`.

    Both are read from their files, which are checked against their hashes on the way.
    """
    try:
        rows, before = _rows(new), _rows(old)
        problem = _of_dates(new, old, today) or _of_rows(rows, before) or _of_prices(_prices(new), _prices(old))
    except ModelpickError as error:
        problem = error.message
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = f"it cannot be read ({type(error).__name__}: {error})"
    if problem:
        raise RemoteError(
            f"the new facts are not taken: {problem}",
            fix="the facts in force stay as they are; look at the source, or wait for its next edition",
            code="bad_facts",
        )


def _rows(facts: Facts) -> list[dict[str, Any]]:
    """The rows of the catalog, each of them understood as a model."""
    text = facts.text("catalog/models.jsonl")
    catalog = index.catalog_from(text, (facts.folder or Path()) / "catalog/models.jsonl")
    for model in catalog.models.values():
        if model.parameters is not None and not (isinstance(model.parameters, int) and 0 < model.parameters < 10**15):
            raise ValueError(f"{model.id} has {model.parameters!r} parameters")
        if model.context is not None and not (isinstance(model.context, int) and 0 < model.context < 10**9):
            raise ValueError(f"{model.id} has a context of {model.context!r}")
    return [json.loads(line) for line in text.splitlines()[1:]]


def _of_dates(new: Facts, old: Facts, today: date) -> str | None:
    latest = (today + timedelta(days=1)).isoformat()  # somewhere on Earth it is tomorrow
    for kind in snapshot.KINDS:
        if new.as_of[kind] < old.as_of[kind]:
            return f"its {kind} are of {new.as_of[kind]}, those in force of {old.as_of[kind]}"
        if new.as_of[kind] > latest:
            return f"its {kind} are of {new.as_of[kind]}, and today is {today}"
    stated = snapshot.days_of(new.text)
    if new.manifest is not None and stated != {kind: new.as_of[kind] for kind in snapshot.KINDS}:
        return f"its manifest states other days than its files: {stated}"
    return None


def _of_rows(new: list[dict[str, Any]], old: list[dict[str, Any]]) -> str | None:
    share = len(new) / max(len(old), 1)
    if not FEWEST_ROWS <= share <= MOST_ROWS:
        return f"it has {len(new):,} models where {len(old):,} are known"
    for field in _WATCHED:
        unknown, before = (sum(row.get(field) is None for row in rows) / max(len(rows), 1) for rows in (new, old))
        if unknown > before + MORE_UNKNOWN:
            return f"{unknown:.0%} of its models have no {field}, {before:.0%} of those in force"
    return None


def _prices(facts: Facts) -> Mapping[Pair, float]:
    return dict(prices_in(facts.text("offers/prices.jsonl")))


def _of_prices(new: Mapping[Pair, float], old: Mapping[Pair, float]) -> str | None:
    for (kind, region, market), usd in new.items():
        if not (math.isfinite(usd) and usd > 0):
            return f"{kind} in {region} ({market}) costs {usd!r}"
    both = [pair for pair in new if pair in old]
    if len(both) < FEWEST_ROWS * len(old):
        return f"it prices {len(both):,} of the {len(old):,} pairs of type and region that are known"
    far = [pair for pair in both if far_off(new[pair], old[pair])]
    if len(far) > MOST_FAR_PRICES * len(both):
        kind, region, market = far[0]
        example = f"{kind} in {region} ({market}) ${old[far[0]]:g} -> ${new[far[0]]:g}"
        return f"{len(far):,} of {len(both):,} prices are ten times off or more: {example}"
    return None


def is_day(text: str) -> bool:
    """Whether a text is an ISO day."""
    return re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", text) is not None
