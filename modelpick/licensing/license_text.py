"""What a file of terms is: a whole license, a piece of one, one with words added, a link, terms for code only. Pure.

Nothing here is generous: a permissive license counts only when no words are left over that could change it, and a text
that is nobody's is said to be unknown.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from modelpick.licensing.fingerprint import WHOLE, Fingerprints, Match, Words, words_of
from modelpick.licensing.license import License, LicenseBook

Kind = Literal["whole", "piece", "title", "modified", "named", "link", "code_only", "unknown", "empty"]

LONGEST = 400_000  # characters looked at; the longest license (a GPL page with its frame) is some 100,000
_LONGEST_ORDINARY = 64_000  # characters; of the licenses SPDX lists the longest are half as long
_SAME = 0.02  # two licenses this close in coverage are not told apart
_PIECE = 0.85  # of a text's runs: a text that is nothing but a part of the license
_LEAST = 25  # runs; fewer say nothing about which license they are from
_FEW = 60  # words: a text this short with an address in it is a link
_URL = re.compile(r"https?://[^\s<>\"')\]]+")
_CODE_NAME = re.compile(r"licen[cs]e[-_. ]?code|code[-_. ]licen[cs]e", re.I)
_CODE_TEXT = re.compile(
    r"(appl(y|ies)|covers?)( \w+){0,6} (source )?code only|only (appl(y|ies)|covers?)( \w+){0,8} code\b"
    r"|does not (apply to|cover)( \w+){0,6} (weights|models?|checkpoints?)\b",
    re.I,
)
# Words that may stand beside a license without changing it: holders, years, headings.
_HARMLESS = re.compile(
    r"\d[\d.]*|copyright|c|all|rights|reserved|the|and|by|of|inc|llc|ltd|corp|co|team|authors?|contributors?|license"
    r"|version|v|january|appendix|text|file|md|txt|www|http|https|org|com|spdx|identifier|full|legal|code"
)
_CHANGES = re.compile(
    r"non|(non)?commercial|research|academic|only|not?|must|shall|except|unless|prohibit(s|ed)|forbidden|permission"
    r"|restrict(ed|ions)|provided|however|addition(al)?|modifi(cation|ed)|revenue|users|display|prominently|credit"
    r"|attribution|evaluation|internal|personal|military"
)
# A page around a text has menus; of their words only these speak of what is permitted.
_LIMITS = re.compile(r"(non)?commercial|research|academic|evaluation|revenue|prohibited|restricted")
_MOST_LEFT = 40  # words beside a permissive license: a holder's name and address, a heading


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text was recognised as. `licenses`: the license, or those that cannot be told apart. `note`: in words."""

    kind: Kind
    licenses: tuple[License, ...] = ()
    note: str = ""


def read_text(text: str, prints: Fingerprints, book: LicenseBook, name: str = "") -> Reading:
    """Recognise a file of terms; `name` is its file name (LICENSE-CODE speaks for itself)."""
    words = words_of(text[:LONGEST])
    if not words.words:
        return Reading("unknown" if text.strip() else "empty", (), "the file holds no words")
    found = _recognised(text[:LONGEST], words, prints, book)
    if _CODE_NAME.search(name) or (found.kind != "whole" and _CODE_TEXT.search(" ".join(words.words))):
        # Some publishers put the weights' terms into LICENSE-CODE; a license made for models is believed there too.
        if found.licenses and all(one.permits.commercial_use != "yes" for one in found.licenses):
            return found
        return Reading("code_only", found.licenses, f"{name or 'the text'} covers the code, not the weights")
    return found


def linked(text: str, book: LicenseBook) -> tuple[License, ...]:
    """The licenses that addresses in a text lead to."""
    found = (book.by_link(unquote(match.group().rstrip(".,;"))) for match in _URL.finditer(text))
    return tuple(dict.fromkeys(one for one in found if one is not None))


def _recognised(text: str, words: Words, prints: Fingerprints, book: LicenseBook) -> Reading:
    matches = prints.matches(words)
    best = matches[0] if matches else None
    page = " in a web page" if words.is_html else ""
    if best is not None and best.coverage >= WHOLE:
        return _whole(words, matches, prints, book, page)
    if len(words.words) <= _FEW and _URL.search(text):
        return Reading("link", linked(text, book), "the file is only a link")
    titled = tuple(_titled(words, book))
    if best is not None and best.explained >= _PIECE and len(words.hashes) >= _LEAST:
        near = [one.license for one in matches if one.explained >= best.explained - _SAME]
        return Reading("piece", titled or _licenses(near, book), f"a part ({best.coverage:.0%}) of the text{page}")
    if titled and (best is None or not any(prints.has(one.id) for one in titled) or len(words.words) < 200):
        return Reading("title", titled, f"it calls itself {titled[0].title}; the text is not known word by word")
    if len(words.words) <= _FEW and (named := book.mentioned(text)):
        if any(map(_LIMITS.fullmatch, words.words)):
            return Reading("modified", named, f"it names {named[0].title} and limits it")
        return Reading("named", named, f"the file only names {named[0].title}")
    ordinary = _ordinary(text, words, book)
    if ordinary is not None:
        return ordinary
    if best is not None and best.coverage >= 0.5:
        near = [one.license for one in matches if one.coverage >= best.coverage - _SAME]
        return Reading("modified", _licenses(near, book), f"like {near[0]} ({best.coverage:.0%}), but changed")
    return Reading("unknown", (), "a text that is not known here")


def _whole(words: Words, matches: list[Match], prints: Fingerprints, book: LicenseBook, page: str) -> Reading:
    best = matches[0]
    held = [one for one in matches if one.coverage >= max(best.coverage - _SAME, WHOLE)]
    # Of a license and the same with a clause more (MIT, modified MIT) it is the one that leaves less unexplained.
    most = max(one.explained for one in held)
    near = [one.license for one in held if one.explained >= most - _SAME]
    licenses = _licenses(near, book)
    left = min((prints.left_over(words, one) for one in near), key=len)
    free = any(one.permits.commercial_use == "yes" for one in licenses)
    if free and (any(map(_LIMITS.fullmatch, left)) if words.is_html else _changed(left)):
        said = " ".join(left[:12])
        return Reading("modified", licenses, f"{near[0]} with other words beside it: {said} ...")
    return Reading("whole", licenses, f"the text of {' or '.join(near)}{page}")


def _changed(left: tuple[str, ...]) -> bool:
    """Whether words beside a permissive license might change what it permits."""
    if any(map(_CHANGES.fullmatch, left)):
        return True
    return sum(1 for word in left if not _HARMLESS.fullmatch(word)) > _MOST_LEFT


def _titled(words: Words, book: LicenseBook) -> Iterator[License]:
    """Licenses made for models whose own name stands at the head of the text; the longest name is the one meant."""
    head = f" {' '.join(words.words[:80])} "
    found = [
        (len(title), one)
        for one in book.licenses
        if one.permits.commercial_use != "yes"
        for title in one.headings
        if f" {title} " in head
    ]
    longest = max((length for length, _ in found), default=0)
    yield from (one for length, one in found if length == longest)


def _ordinary(text: str, words: Words, book: LicenseBook) -> Reading | None:
    """What the licenseclassifier package recognises among the licenses SPDX lists."""
    from licenseclassifier import identify_license  # loads its patterns: some 100 ms, once

    text = text[:_LONGEST_ORDINARY]
    regions = identify_license(text)
    known = [book.by_key(region.id) for region in regions]
    found = tuple(dict.fromkeys(one for one in known if one is not None))
    if not regions or not found or None in known:
        return None
    outside = "".join(text[a:b] for a, b in _gaps(regions, len(text)))
    if any(one.permits.commercial_use == "yes" for one in found) and _changed(words_of(outside).words):
        return Reading("modified", found, f"{found[0].title} with other words beside it")
    return Reading("whole", found, f"the text of {', '.join(one.id for one in found)} (licenseclassifier)")


def _gaps(regions: Iterable[object], end: int) -> Iterator[tuple[int, int]]:
    last = 0
    for region in regions:
        yield last, region.start  # type: ignore[attr-defined]
        last = max(last, region.end)  # type: ignore[attr-defined]
    yield last, end


def _licenses(ids: Iterable[str], book: LicenseBook) -> tuple[License, ...]:
    return tuple(book.by_id[one] for one in dict.fromkeys(ids))
