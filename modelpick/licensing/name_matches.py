"""Finds the known model that a repository is named after. Pure.

A mirror, a quantization or a fine-tune keeps its parent's name (`someone/LFM2-1.2B-GGUF`) far more often than it
declares it. A matching name is a suspicion, never a permission: it counts only where that license demands more.
"""

import re
from collections.abc import Callable, Iterable
from functools import cached_property

_SHORTEST_NAME = 6  # characters; "gpt2" or "opt" are parts of too many names
_SEPARATOR = re.compile(r"[-_.]")


class NameMatches:
    """The names of known models, loaded when a model without parents is first looked at."""

    def __init__(self, load: Callable[[], Iterable[str]]) -> None:
        self._load = load

    @cached_property
    def known(self) -> dict[str, str]:
        """Name (lower case, without its publisher) -> id, of the known models whose names are long enough to tell."""
        names: dict[str, str] = {}
        for id in self._load():
            name = id.rpartition("/")[2].lower()
            if len(name) >= _SHORTEST_NAME and any(letter.isdigit() for letter in name):
                names.setdefault(name, id)
        return names

    @cached_property
    def _first_parts(self) -> frozenset[str]:
        return frozenset(_SEPARATOR.split(name, maxsplit=1)[0] for name in self.known)

    def of(self, id: str) -> str | None:
        """The id of the known model whose whole name begins this repository's name; None for the model itself."""
        name = id.rpartition("/")[2].lower()
        # bartowski/nvidia_Nemotron-Flash-1B-GGUF: the publisher stands before the name.
        for start in (name, name.partition("_")[2]):
            if _SEPARATOR.split(start, maxsplit=1)[0] not in self._first_parts:
                continue  # most names; what follows tries every end
            ends = [len(start), *(cut.start() for cut in reversed(list(_SEPARATOR.finditer(start))))]
            for end in ends:
                match = self.known.get(start[:end])
                if match is not None:
                    return None if match.lower() == id.lower() else match
        return None
