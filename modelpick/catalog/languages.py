"""Languages by their ISO 639 codes: cards name German `de`, boards `deu`, people "German".

data/languages.csv: the code of two letters (of three where there is no other), the codes of three letters, the English
name. From pycountry 26.2.16 (iso639-3.json), read 2026-11-30: the languages with a code of two letters, and those
without one that the catalog names.
"""

import csv
from collections.abc import Iterable, Mapping
from functools import cache

from modelpick.errors import UsageError, nearest
from modelpick.files import data_file, read_text


@cache
def _table() -> tuple[Mapping[str, str], Mapping[str, str]]:
    """What is written, in lower case -> code; and code -> name."""
    codes: dict[str, str] = {}
    names: dict[str, str] = {}
    for row in csv.DictReader(
        read_text(data_file("catalog", "languages.csv"), code="broken_installation").splitlines()
    ):
        code = row["code"]
        names[code] = row["name"]
        codes |= dict.fromkeys((code, *filter(None, row["also"].split("; ")), row["name"].lower()), code)
    return codes, names


def code_of(written: str) -> str | None:
    """The code of what a card or a board writes: `de`, `deu`, `de-AT`, `German`. None for other words."""
    codes, word = _table()[0], written.strip().lower()
    return codes.get(word) or codes.get(word.replace("_", "-").partition("-")[0])


def codes_of(written: Iterable[str]) -> frozenset[str]:
    """The codes of a list; other words ("multilingual", "python") are left out."""
    return frozenset(code for one in written if (code := code_of(one)) is not None)


def name_of(code: str) -> str:
    """The English name of a code."""
    return _table()[1][code]


def asked(text: str) -> tuple[str, ...]:
    """The codes of comma-joined languages that a user typed. Raises UsageError for any other word."""
    found: list[str] = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        code = code_of(word)
        if code is None:
            fix = nearest(word.lower(), _table()[0]) or "give ISO 639 codes such as en, de or fra, or English names"
            raise UsageError(f"unknown language {word!r}", fix=fix, code="unknown_language")
        found.append(code)
    if not found:
        raise UsageError(
            "--languages is empty", fix="give codes joined by commas, such as en,de", code="unknown_language"
        )
    return tuple(dict.fromkeys(found))
