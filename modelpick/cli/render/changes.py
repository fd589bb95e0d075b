"""The screen of what differs between two sets of facts."""

from collections import Counter
from collections.abc import Sequence

from modelpick.cli.output import Console
from modelpick.hub.diff import KINDS, FactChange


def draw_changes(console: Console, changes: Sequence[FactChange], most: int | None) -> None:
    """A line for each kind with its count, and the first `most` of it (None: all)."""
    counts = Counter(change.kind for change in changes)
    for kind in (kind for kind in KINDS if counts[kind]):
        console.print(f"{kind}: {counts[kind]:,}", markup=False)
        of_kind = [change for change in changes if change.kind == kind]
        for change in of_kind[:most]:
            console.print(f"  {_sentence(change)}", markup=False)
        if most is not None and len(of_kind) > most:
            console.print(f"  and {len(of_kind) - most:,} more: modelpick catalog diff", markup=False)


def _sentence(change: FactChange) -> str:
    if change.kind == "repriced":
        return f"{change.what}: {_usd(change.was)} -> {_usd(change.now)}"
    if change.kind == "renamed":
        return f"{change.was} -> {change.now}"
    if change.kind in ("new", "deleted"):
        return change.what
    return f"{change.what}: {change.was} -> {change.now}"


def _usd(price: str | float | None) -> str:
    return "unknown" if price is None else f"${price:.4f}"
