"""Secrets and personal data in training text, by the embedded patterns; what is found is never repeated in full."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from modelpick import files, schema

_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Sensitive:
    """One match: what it looks like, its kind (secret or personal), and its first characters."""

    name: str
    kind: str
    hint: str

    @property
    def article(self) -> str:
        """The English article before the name."""
        return "an" if self.name.startswith(("AWS", "API", "IBAN", "e-mail")) else "a"


@dataclass(frozen=True, slots=True)
class _Pattern:
    name: str
    kind: str
    needs: tuple[str, ...]
    digits: int
    regex: re.Pattern[str]
    check: str | None


def find(text: str) -> tuple[Sensitive, ...]:
    """The first find of each pattern in a text."""
    found = []
    digits = len(_DIGIT.findall(text))
    for pattern in _patterns():
        if digits < pattern.digits:
            continue
        if pattern.needs and not _has_one(text, pattern.needs):
            continue
        for match in pattern.regex.finditer(text):
            if pattern.check is None or _CHECKS[pattern.check](match.group()):
                found.append(Sensitive(pattern.name, pattern.kind, f"{match.group()[:4]}..."))
                break
    return tuple(found)


def _has_one(text: str, needs: tuple[str, ...]) -> bool:
    for needed in needs:  # noqa: SIM110 - a third of the time that any() with a generator takes
        if needed in text:
            return True
    return False


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    kind: Literal["secret", "personal"]
    regex: str
    source: str = ""
    needs: tuple[str, ...] = ()
    digits: int = 0
    check: str | None = None


@dataclass(frozen=True, slots=True)
class _Facts:
    """personal_data.toml."""

    pattern: tuple[_Row, ...]
    iban_lengths: Mapping[str, int]


@cache
def _facts() -> _Facts:
    file = files.data_file("datasets", "personal_data.toml")
    return schema.read(_Facts, files.read_toml(file, code="broken_installation"), str(file))


@cache
def _patterns() -> tuple[_Pattern, ...]:
    rows = _facts().pattern
    return tuple(_Pattern(row.name, row.kind, row.needs, row.digits, re.compile(row.regex), row.check) for row in rows)


def _luhn(text: str) -> bool:
    """The check digit of ISO/IEC 7812-1, annex B."""
    digits = [int(letter) for letter in text if letter.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return len(set(digits)) > 1 and sum(doubled) % 10 == 0


def _iban(text: str) -> bool:
    """The check digits of ISO 13616-1: the rearranged number is 1 modulo 97.

    Words in capitals after the number look like more of it, so it is cut at its country's length.
    """
    bare = text.replace(" ", "")
    bare = bare[: _facts().iban_lengths.get(bare[:2], 0)]
    return len(bare) > 4 and int("".join(str(int(letter, 36)) for letter in bare[4:] + bare[:4])) % 97 == 1


def _phone(text: str) -> bool:
    """E.164 allows at most 15 digits; fewer than 9 with the country code are hardly a subscriber's number."""
    digits = [letter for letter in text if letter.isdigit()]
    return 9 <= len(digits) <= 15 and len(set(digits)) > 2


_CHECKS = {"luhn": _luhn, "iban": _iban, "phone": _phone}
