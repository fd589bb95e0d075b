"""Secrets and personal data in training text, by the embedded patterns; what is found is never repeated in full."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache

from modelpick.resources import data_file


@dataclass(frozen=True, slots=True)
class Sensitive:
    """One find: what it looks like, its kind (secret or personal), and its first characters."""

    name: str
    kind: str
    hint: str


def find(text: str) -> tuple[Sensitive, ...]:
    """The first find of each pattern in a text."""
    found = []
    for name, kind, regex, check in _patterns():
        for match in regex.finditer(text):
            if check is None or _CHECKS[check](match.group()):
                found.append(Sensitive(name, kind, f"{match.group()[:4]}..."))
                break
    return tuple(found)


@cache
def _patterns() -> tuple[tuple[str, str, re.Pattern[str], str | None], ...]:
    with data_file("tuning", "sensitive.toml").open("rb") as file:
        entries = tomllib.load(file)["pattern"]
    return tuple((one["name"], one["kind"], re.compile(one["regex"]), one.get("check")) for one in entries)


def _luhn(text: str) -> bool:
    """The check digit of ISO/IEC 7812-1, annex B."""
    digits = [int(letter) for letter in text if letter.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return len(digits) >= 13 and sum(doubled) % 10 == 0


def _iban(text: str) -> bool:
    """The check digits of ISO 13616-1: the rearranged number is 1 modulo 97."""
    bare = text.replace(" ", "")
    return int("".join(str(int(letter, 36)) for letter in bare[4:] + bare[:4])) % 97 == 1


_CHECKS = {"luhn": _luhn, "iban": _iban}
