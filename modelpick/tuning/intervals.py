"""Intervals for shares and differences, so that "better" is said only when it is. Pure."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

_Z95 = 1.959963984540054  # the 97.5 % point of the standard normal distribution
_RESAMPLES = (
    2000  # Efron & Tibshirani, An Introduction to the Bootstrap (1993), section 12.4: 1000 or more for intervals
)


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def direction(self) -> int:
        """1 when the whole interval lies above zero, -1 when below, 0 when zero lies in it."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0

    def as_json(self, digits: int = 4) -> dict[str, float]:
        """For result files."""
        return {"value": round(self.value, digits), "low": round(self.low, digits), "high": round(self.high, digits)}


def share(successes: int, trials: int) -> Interval:
    """The share of successes with Wilson's score interval (E. B. Wilson, JASA 22, 1927)."""
    if trials <= 0:
        return Interval(math.nan, 0.0, 1.0)
    p, z2 = successes / trials, _Z95**2
    middle = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z95 / (1 + z2 / trials) * math.sqrt(p * (1 - p) / trials + z2 / (4 * trials**2))
    return Interval(p, max(0.0, middle - half), min(1.0, middle + half))


def paired_difference(before: Sequence[float], after: Sequence[float], seed: int = 0) -> Interval:
    """The mean of after - before over the same cases, with a percentile bootstrap interval over cases.

    Raises ValueError when the two are not the same cases. Fewer than two cases give an interval without bounds.
    """
    if len(before) != len(after):
        raise ValueError("before and after are not the same cases")
    differences = [b - a for a, b in zip(before, after, strict=True)]
    count = len(differences)
    if count < 2:
        return Interval(differences[0] if differences else math.nan, -math.inf, math.inf)
    draw = random.Random(seed)
    means = sorted(sum(draw.choices(differences, k=count)) / count for _ in range(_RESAMPLES))
    return Interval(sum(differences) / count, means[round(0.025 * _RESAMPLES)], means[round(0.975 * _RESAMPLES) - 1])
