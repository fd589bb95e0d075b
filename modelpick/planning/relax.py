"""Which filter empties a recommendation, and the nearest that would pass. Pure.

Each filter is left out by itself, and the search runs again: how many models pass then, and how far the best of them is
from what was asked.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from modelpick.catalog.size import said_parameters
from modelpick.planning.filters import Filters, Relaxation
from modelpick.planning.load import LoadLimits
from modelpick.planning.recommendation import Recommendation
from modelpick.workload import Workload

Search = Callable[[Filters, Workload], Sequence[Recommendation]]
_Nearest = Callable[[Sequence[Recommendation]], str | None]


def relaxations(filters: Filters, workload: Workload, search: Search) -> tuple[Relaxation, ...]:
    """The filters that empty the answer by themselves, the one that leaves most models without it first.

    `search` gives what passes other filters. Empty where no filter does it alone.
    """
    found = []
    for typed, changed, work, nearest in _without_one(filters, workload):
        rows = search(changed, work)
        if rows:
            found.append(Relaxation(typed, len(rows), nearest(rows)))
    return tuple(sorted(found, key=lambda one: -one.passes))


def _without_one(filters: Filters, workload: Workload) -> Iterator[tuple[str, Filters, Workload, _Nearest]]:
    """Each filter that was asked for, as typed; the filters and the workload without it; what says how near it came."""
    for name, flag, nearest in _FILTERS:
        asked = getattr(filters, name)
        if asked not in (None, (), False):
            yield f"{flag}{_typed(asked)}", replace(filters, **{name: _DEFAULTS[name]}), workload, nearest
    for name, flag in _LIMITS:
        asked = getattr(filters.limits, name)
        if asked is not None:
            limits = replace(filters.limits, **{name: None})
            yield f"{flag}{_typed(asked)}", replace(filters, limits=limits), workload, _nothing
    if filters.families != _DEFAULTS["families"]:
        text = "any" if filters.families.names is None else ",".join(filters.families.names)
        yield f"--family {text}", replace(filters, families=_DEFAULTS["families"]), workload, _nothing
    for name, flag in _WORK:
        asked, default = getattr(workload, name), _default(workload, name)
        if asked != default and (name != "context" or asked > default):
            yield f"{flag} {asked}", filters, replace(workload, **{name: default}), _nothing


def _default(workload: Workload, name: str) -> Any:
    return 1024 if name == "context" and workload.task == "finetune" else Workload.__dataclass_fields__[name].default


def _typed(asked: object) -> str:
    if asked is True:
        return ""
    if isinstance(asked, tuple):
        return f" {','.join(map(str, asked))}"
    return f" {asked:g}" if isinstance(asked, float) else f" {asked}"


def _nothing(rows: Sequence[Recommendation]) -> str | None:
    return None


def _cheapest_hour(rows: Sequence[Recommendation]) -> str | None:
    usd = min((row.placement.offer.usd_per_hour for row in rows if row.placement.offer.usd_per_hour), default=None)
    if usd is None:
        return None
    return f"the cheapest is ${usd:.3f}/h: raise --max-usd-per-hour to {math.ceil(usd * 100 - 1e-9) / 100:.2f}"


def _cheapest_month(rows: Sequence[Recommendation]) -> str | None:
    usd = min((row.month.total_usd for row in rows if row.month is not None), default=None)
    if usd is None:
        return None
    return f"the cheapest is ${usd:,.2f} a month: raise --max-usd-per-month to {math.ceil(usd)}"


def _best_score(rows: Sequence[Recommendation]) -> str | None:
    score = max((row.model.quality.score for row in rows if row.model.quality is not None), default=None)
    return None if score is None else f"the best has {score:.1f}: lower --min-score to {math.floor(score)}"


def _smallest(rows: Sequence[Recommendation]) -> str | None:
    return _sized(rows, min, "smallest", "raise --max-params")


def _largest(rows: Sequence[Recommendation]) -> str | None:
    return _sized(rows, max, "largest", "lower --min-params")


def _sized(rows: Sequence[Recommendation], end: Callable[..., Any], what: str, do: str) -> str | None:
    sizes = [size for row in rows if (size := said_parameters(row.model)) is not None]
    if not sizes:
        return None
    size = end(sizes)
    text = f"{size / 1e9:g}B" if size >= 1e9 else f"{size / 1e6:g}M"
    return f"the {what} has {text}: {do} to {text}"


_DEFAULTS: dict[str, Any] = {field: getattr(Filters(), field) for field in Filters.__dataclass_fields__}
_FILTERS: tuple[tuple[str, str, _Nearest], ...] = (
    ("use_case", "--for", _nothing),
    ("strict", "--strict", _nothing),
    ("languages", "--languages", _nothing),
    ("publishers", "--publisher", _nothing),
    ("min_parameters", "--min-params", _largest),
    ("max_parameters", "--max-params", _smallest),
    ("min_score", "--min-score", _best_score),
    ("instances", "--instance", _nothing),
    ("max_usd_per_hour", "--max-usd-per-hour", _cheapest_hour),
    ("max_usd_per_month", "--max-usd-per-month", _cheapest_month),
)
_LIMITS: tuple[tuple[str, str], ...] = tuple(
    (name, flag)
    for name, flag in (
        ("max_first_token_s", "--max-first-token-s"),
        ("min_tokens_per_s", "--min-tokens-per-second"),
        ("requests_per_s", "--requests-per-second"),
    )
    if name in LoadLimits.__dataclass_fields__
)
_WORK = (("method", "--method"), ("stack", "--engine"), ("gpus", "--gpus"), ("context", "--context"))
