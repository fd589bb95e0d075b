"""Intervals for shares and differences, so that "better" is said only when it is. Pure."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

_Z95 = 1.959963984540054  # the 97.5 % point of the standard normal distribution
_FEWEST = 6  # five cases that all change one way are nothing unusual at 5 %: 2 / 2**5 = 0.0625
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

    Resampling is overconfident where little changed. So the interval reaches zero when an exact sign test (McNemar's,
    Psychometrika 12, 1947) puts the changed marks of right and wrong down to chance, and fewer than six cases get the
    range of their differences, zero included. Raises ValueError when the two are not the same cases, or none.
    """
    if len(before) != len(after):
        raise ValueError("before and after are not the same cases")
    differences = [b - a for a, b in zip(before, after, strict=True)]
    count = len(differences)
    if not count:
        raise ValueError("there are no cases")
    if count < _FEWEST:
        return Interval(sum(differences) / count, min(0.0, *differences), max(0.0, *differences))
    draw = random.Random(seed)
    means = sorted(sum(draw.choices(differences, k=count)) / count for _ in range(_RESAMPLES))
    low, high = means[round(0.025 * _RESAMPLES)], means[round(0.975 * _RESAMPLES) - 1]
    if set(differences) <= {-1.0, 0.0, 1.0} and sign_test(differences.count(1.0), differences.count(-1.0)) >= 0.05:
        low, high = min(low, 0.0), max(high, 0.0)
    return Interval(sum(differences) / count, low, high)


def sign_test(up: int, down: int) -> float:
    """How likely so lopsided a split, or a more lopsided one, is by chance: exact and two-sided.

    >>> sign_test(5, 0), sign_test(6, 0)
    (0.0625, 0.03125)
    """
    changed = up + down
    tail = sum(math.comb(changed, fewer) for fewer in range(min(up, down) + 1))
    return float(min(1.0, 2 * tail / 2**changed))
