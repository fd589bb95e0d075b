"""A measure before and after fine-tuning, on one line."""

from collections.abc import Mapping
from typing import Any


def compared(row: Mapping[str, Any]) -> str:
    """One of `comparisons` of result.json for a person: the verdict first, then what it rests on."""
    gap = row["difference"]
    return (
        f"{row['name']}: {row['verdict']} ({row['measure']} {row['before']:.3f} -> {row['after']:.3f}, "
        f"difference {gap['value']:+.3f}, 95 % {gap['low']:+.3f} to {gap['high']:+.3f}, {row['cases']} cases)"
    )
