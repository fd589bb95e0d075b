"""Finds what the sentences of a card or a gate say about its terms. The patterns: policies/prose.toml. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from modelpick.schema import IsoDate

LONGEST_BODY = 200_000  # characters of a card that are read
LONGEST_SENTENCE = 2_000  # characters
_FRONT_MATTER = re.compile(r"\A\s*---\s*\n.*?\n---\s*?(\n|\Z)", re.S)
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s*")


@dataclass(frozen=True, slots=True)
class CardStatements:
    """Regular expressions, each searched in one sentence, ignoring case. `forbids` is by language.

    `check` is to be called before they are searched.
    """

    source: str = ""
    date: IsoDate | None = None
    speaks: tuple[str, ...] = ()
    permits: tuple[str, ...] = ()
    about_else: tuple[str, ...] = ()
    about_weights: tuple[str, ...] = ()
    forbids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def patterns(self) -> Iterator[str]:
        """Every pattern."""
        yield from (*self.speaks, *self.permits, *self.about_else, *self.about_weights, *self._forbidding())

    def check(self) -> None:
        """Raises re.error for the first pattern that is not a regular expression by itself."""
        for pattern in self.patterns():
            re.compile(pattern, re.I)

    def forbids_commerce(self, sentence: str) -> bool:
        """Whether the sentence forbids commercial use, in any of the languages."""
        return _found(self._forbidding(), _one(self.permits).sub("", sentence) if self.permits else sentence)

    def is_statement(self, sentence: str) -> bool:
        """Whether the sentence is about terms at all."""
        return _found(self.speaks, sentence) or _found(self._forbidding(), sentence)

    def is_about_something_else(self, sentence: str) -> bool:
        """Whether it is about data, code or another model, and not about these weights."""
        return _found(self.about_else, sentence) and not _found(self.about_weights, sentence)

    def statements(self, text: str) -> Iterator[str]:
        """The sentences of a card's body (or a gate's text) that are about terms, each once.

        What stands first under a heading "License" is such a statement whatever its words.
        """
        body = _FRONT_MATTER.sub("", text[:LONGEST_BODY].replace("\r\n", "\n"))
        found: dict[str, None] = {}
        heading = ""
        for line in body.split("\n"):
            if not line.strip():
                continue
            if heading or self.is_statement(line):
                parts = _SENTENCE_END.split(f"{heading}: {line}" if heading else line)
                found |= dict.fromkeys(part.strip()[:LONGEST_SENTENCE] for part in parts if self.is_statement(part))
            heading = line[:LONGEST_SENTENCE] if line.startswith("#") and self.is_statement(line) else ""
        yield from found

    def _forbidding(self) -> tuple[str, ...]:
        return tuple(pattern for patterns in self.forbids.values() for pattern in patterns)


def _found(patterns: tuple[str, ...], text: str) -> bool:
    return bool(patterns) and _one(patterns).search(text) is not None


@lru_cache(maxsize=16)
def _one(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.I)
