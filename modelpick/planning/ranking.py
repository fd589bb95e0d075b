"""In which order recommendations stand, and which of them nothing cheaper beats. Pure.

Groups are never mixed: rated by current independent boards, by their vendors alone, by the archived board, by nobody.
Within a group the order is that of the score's lower end, what a model is nearly sure to reach; equal as printed, the
cheaper first.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from modelpick.catalog.model import Capability, Model, Quality
from modelpick.planning.filters import SortKey
from modelpick.planning.placement import preference
from modelpick.planning.recommendation import Recommendation

_GROUPS = {"rated": 0, "vendor-only": 1, "legacy": 2}
UNRATED = 3


def group_of(quality: Quality | None) -> int:
    """0 rated, 1 vendor-only, 2 legacy, 3 unrated."""
    return _GROUPS[quality.status] if quality is not None else UNRATED


def scored_for(model: Model, use_case: Capability | None) -> tuple[Quality | None, str | None]:
    """The score that a model is ranked by, and its use: of boards of that use where they rate it, else the general one
    (None), which is on the same scale."""
    own = next((quality for use, quality in model.quality_by_use.items() if use == use_case), None)
    return (own, use_case) if own is not None else (model.quality, None)


def ranked(rows: Iterable[Recommendation], sort: SortKey) -> tuple[Recommendation, ...]:
    """`rows`, best first, by one criterion; what is not known comes last, and ties stand as in the order by quality."""
    key = _KEYS[sort]
    return tuple(sorted(rows, key=lambda row: (*key(row), *_by_quality(row))))


def unbeaten(rows: Sequence[Recommendation]) -> frozenset[str]:
    """The ids of the rows that no row of their group beats: none has as good a score, as printed, for less, and none
    a better one for as much. A row without a score or a price beats nobody and is not among them."""
    best: dict[int, float] = {}
    found = []
    priced = [row for row in rows if row.quality is not None and row.placement.offer.usd_per_hour is not None]
    for row in sorted(priced, key=lambda row: (_usd(row), -printed(row.quality))):
        group = group_of(row.quality)
        if printed(row.quality) > best.get(group, -math.inf):
            best[group] = printed(row.quality)
            found.append(row.model.id)
    return frozenset(found)


def printed(quality: Quality | None) -> float:
    """The lower end of a score, as it is printed."""
    return -math.inf if quality is None else round(quality.low)


def _usd(row: Recommendation) -> float:
    usd = row.placement.offer.usd_per_hour
    return math.inf if usd is None else usd


def _by_quality(row: Recommendation) -> tuple[Any, ...]:
    score = row.quality.score if row.quality is not None else 0.0
    return (
        group_of(row.quality), -printed(row.quality), _usd(row), row.judgement.verdict.strictness, -score,
        -(row.model.downloads or 0), row.model.id,
    )  # fmt: skip


def _by_value(row: Recommendation) -> tuple[Any, ...]:
    """Score for the dollar: points of the lower end above USELESS, squared, by the price of a million tokens."""
    if row.prices is None or row.quality is None:
        return (group_of(row.quality), math.inf)
    return (group_of(row.quality), -(max(row.quality.low - USELESS, 0.0) ** 2) / row.prices.blended.likely)


USELESS = 30.0
"""Points below which no price is worth paying: the scale's mean is 50 and its deviation 15, and the lower ends of
models under a billion parameters are here. Chosen."""

_KEYS: Mapping[SortKey, Callable[[Recommendation], tuple[Any, ...]]] = {
    "quality": lambda row: (),
    "cost": lambda row: preference(row.placement),
    "value": _by_value,
    "speed": lambda row: (-row.speed.per_request.likely if row.speed is not None else math.inf,),
    "memory": lambda row: (row.placement.memory.total,),
    "downloads": lambda row: (-(row.model.downloads or 0),),
}
