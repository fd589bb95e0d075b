"""A figure with its interval, and the arithmetic that keeps the interval. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Range:
    """Low, likely and high of one figure: 80 % of cases lie between low and high. Never out of order."""

    low: float
    likely: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.likely <= self.high:
            raise ValueError(f"{self.low}, {self.likely}, {self.high} are out of order")

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def times(self, factor: float) -> "Range":
        """Every end multiplied by a factor that is exactly known."""
        return Range(self.low * factor, self.likely * factor, self.high * factor)

    def spread(self, other: "Range") -> "Range":
        """The product with another, independent figure: relative widths add in quadrature, on both sides."""
        likely = self.likely * other.likely
        down = math.hypot(_log(self.likely, self.low), _log(other.likely, other.low))
        up = math.hypot(_log(self.high, self.likely), _log(other.high, other.likely))
        return Range(likely * math.exp(-down), likely, likely * math.exp(up))

    def as_json(self, unit: str) -> dict[str, float]:
        """`{"low_usd", "likely_usd", "high_usd"}` for the unit usd."""
        return {f"low_{unit}": self.low, f"likely_{unit}": self.likely, f"high_{unit}": self.high}


def exactly(value: float) -> Range:
    """A figure without uncertainty."""
    return Range(value, value, value)


def total(ranges: Iterable[Range]) -> Range:
    """The sum. Ends add up, not in quadrature: parts may be off in the same direction."""
    sum_so_far = exactly(0.0)
    for item in ranges:
        sum_so_far += item
    return sum_so_far


def _log(larger: float, smaller: float) -> float:
    return math.log(larger / smaller) if larger > 0 and smaller > 0 else 0.0
