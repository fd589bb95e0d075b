"""The picture of a ranking: quality over price, with intervals, and the best there is at each price. Pure."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 760, 340
LEFT, RIGHT, TOP, BOTTOM = 46, 16, 16, 40
_SPREAD = 7.0  # between the columns that models of one price are spread over, so that no mark hides another
_COLUMNS = 5
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)  # dollars an hour


@dataclass(frozen=True, slots=True)
class Point:
    """One model: its price (dollars an hour), its score with the 80 % interval, and what the mark says of it."""

    name: str
    usd: float
    score: float
    low: float
    high: float
    conditions: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A point in the picture's own coordinates. `best`: no cheaper (or equally cheap) model scores higher."""

    point: Point
    x: float
    y: float
    top: float
    bottom: float
    best: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the grid: where, and what it says."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything a template needs to draw it."""

    marks: tuple[Mark, ...]
    prices: tuple[Tick, ...]
    scores: tuple[Tick, ...]
    frontier: str  # an SVG path


def chart(points: Sequence[Point]) -> Chart | None:
    """The picture of `points`; None where there is nothing to draw. The price axis is logarithmic."""
    usable = [point for point in points if point.usd > 0 and math.isfinite(point.score)]
    if not usable:
        return None
    low, high = math.log10(min(p.usd for p in usable)) - 0.08, math.log10(max(p.usd for p in usable)) + 0.08
    bottom = 10 * math.floor(min(p.low for p in usable) / 10)
    top = max(10 * math.ceil(max(p.high for p in usable) / 10), bottom + 10)

    def x(usd: float) -> float:
        return LEFT + (math.log10(usd) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(score: float) -> float:
        return HEIGHT - BOTTOM - (score - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)

    best = _frontier(usable)
    seen: Counter[float] = Counter()
    marks = []
    for p in sorted(usable, key=lambda one: -one.score):  # the best of a price stands in the middle
        number = seen[p.usd] % _COLUMNS
        seen[p.usd] += 1
        offset = _SPREAD * (-1) ** number * ((number + 1) // 2)
        at = round(x(p.usd) + offset, 1)
        marks.append(Mark(p, at, round(y(p.score), 1), round(y(p.high), 1), round(y(p.low), 1), p in best))
    steps = [f"{'L' if n else 'M'}{x(p.usd):.1f},{y(p.score):.1f}" for n, p in enumerate(best)]
    prices = tuple(Tick(round(x(usd), 1), f"${usd:g}") for usd in _TICKS if low <= math.log10(usd) <= high)
    scores = tuple(Tick(round(y(score), 1), str(score)) for score in range(bottom, top + 1, 10))
    return Chart(tuple(marks), prices, scores, " ".join(steps))


def _frontier(points: Sequence[Point]) -> list[Point]:
    """From the cheapest on, each point that scores higher than everything before it."""
    best: list[Point] = []
    for point in sorted(points, key=lambda one: (one.usd, -one.score)):
        if not best or point.score > best[-1].score:
            best.append(point)
    return best
