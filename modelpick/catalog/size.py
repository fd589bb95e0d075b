"""The size that people call a model by: what its name says, else its parameters, rounded as names round. Pure.

LLaMA-7B has 6.74 billion parameters, Gemma-7b 8.54: both are "a 7B".
"""

import re
from math import floor, log10

from modelpick.catalog.model import Model

_SCALES = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
# A number with its unit, as a word of the name: not 8x7B (a part of the whole), A3B (active) or E4B (effective).
_SIZE = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([bmt])(?![a-z0-9])", re.IGNORECASE)
# How far a size in the name may be from the count: Gemma-2-2b has 2.61 billion. A word beyond that says something else:
# the active parameters (Llama-4-Scout-17B-16E has 109 billion) or the tokens of a pretraining.
_BELIEVED = 1.5


def said_parameters(model: Model) -> float | None:
    """Parameters as its name says them, else the rounded count; None where neither is known."""
    named = named_parameters(model)
    if named is not None or model.parameters is None:
        return named
    return rounded(model.parameters)


def named_parameters(model: Model) -> float | None:
    """Parameters by the name, the one nearest to the count where there are several; None where the name says none."""
    sizes = [float(number) * _SCALES[unit.lower()] for number, unit in _SIZE.findall(model.id.rpartition("/")[2])]
    if model.parameters is None:
        return sizes[0] if len(sizes) == 1 else None
    count = float(model.parameters)
    near = [size for size in sizes if 1 / _BELIEVED <= size / count <= _BELIEVED]
    return min(near, key=lambda size: abs(size - count), default=None)


def rounded(count: int) -> float:
    """As names round: whole billions from 3 to 100 (6.74 is 7), else two digits (1.42 is 1.4, 671 is 670)."""
    if 3e9 <= count < 100e9:
        return float(round(count / 1e9)) * 1e9
    return round(count, 1 - floor(log10(count))) if count > 0 else 0.0
