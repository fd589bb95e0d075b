"""A string that may be a model id, and its position. Pure."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Place = Literal["argument", "named", "url", "anywhere", "data"]
"""What vouches for a string: it is an argument that can only be a model; something named like a model holds it; it is
an address on the Hub; nothing but its own looks (then the catalog, or what names of models have in common, says that it
is one). `data`: what loads or names a data set holds it."""


@dataclass(frozen=True, slots=True)
class AuditHit:
    """`text` as written at `line` and `column` (both from 1, columns in characters).

    `how` names the place for people (`from_pretrained`, `model_id`), `revision` is the commit, branch or tag next to
    it. `bare`: an id without organisation counts here; `organisation`: where such an id lives.
    """

    text: str
    line: int
    column: int
    place: Place
    how: str
    revision: str | None = None
    bare: bool = False
    organisation: str | None = None
    cell: int | None = None  # notebooks: the cell, from 1


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A model chosen at run time: the expression that would have to be followed."""

    text: str
    line: int
    column: int
    how: str


Hits = Iterator[AuditHit | Unresolved]


class Lines:
    """Offsets of a text as lines and columns from 1."""

    __slots__ = ("_starts",)

    def __init__(self, text: str) -> None:
        self._starts = [0]
        at = text.find("\n")
        while at >= 0:
            self._starts.append(at + 1)
            at = text.find("\n", at + 1)

    def at(self, offset: int) -> tuple[int, int]:
        """Line and column of a character."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1
