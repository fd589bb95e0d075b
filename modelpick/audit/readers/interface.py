"""What a reader of one kind of file is: a function from text to the places that may name a model. Pure.

A new kind of file is a module here with such a function, a row in `scan._READERS`, and its endings in
data/patterns.toml.
"""

from typing import Protocol

from modelpick.audit.hits import Hits
from modelpick.audit.rules import Rules


class Reader(Protocol):
    """Reads the text of one file."""

    def __call__(self, text: str, rules: Rules, /) -> Hits:
        """Every place that may name a model, in any order, with lines and columns from 1.

        Never raises, whatever the text is: what cannot be parsed is read by its lines (`lines.read`).
        """
        ...
