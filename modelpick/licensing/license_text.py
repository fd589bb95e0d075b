"""What a file of terms is: a whole license, a piece of one, one with words added, a link, terms for code only. Pure.

A license text is recognised by its fingerprint: the hashes of its runs of five words (Broder, "On the resemblance and
containment of documents", 1997), which name the text without holding it. Long texts keep every fourth hash (by value,
so that the same runs are kept on both sides). `coverage` is Broder's containment: the share of a license's runs that a
file contains.

Nothing is assumed in the user's favor: a permissive license counts only when no words are left over that could change
it, and a text that matches no license is reported as unknown.
"""

import html
import re
import unicodedata
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal
from urllib.parse import unquote

from modelpick.licensing.license import License, LicenseIndex

TextKind = Literal["whole", "piece", "title", "modified", "named", "link", "code_only", "unknown", "empty"]

LONGEST = 400_000  # characters looked at; the longest license (a GPL page with its frame) is some 100,000
_LONGEST_ORDINARY = 64_000  # characters; of the licenses SPDX lists the longest are half as long
_SAME = 0.02  # two licenses this close in coverage are not distinguished
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
# Words that may be added to a license text without changing it: holders, years, headings.
_HARMLESS = re.compile(
    r"\d[\d.]*|copyright|c|all|rights|reserved|the|and|by|of|inc|llc|ltd|corp|co|team|authors?|contributors?|license"
    r"|version|v|january|appendix|text|file|md|txt|www|http|https|org|com|spdx|identifier|full|legal|code"
)
_CHANGES = re.compile(
    r"non|(non)?commercial|research|academic|only|not?|must|shall|except|unless|prohibit(s|ed)|forbidden|permission"
    r"|restrict(ed|ions)|provided|however|addition(al)?|modifi(cation|ed)|revenue|users|display|prominently|credit"
    r"|attribution|evaluation|internal|personal|military"
)
# A page around a text has menus; of their words only these are about permissions.
_LIMITS = re.compile(r"(non)?commercial|research|academic|evaluation|revenue|prohibited|restricted")
_MOST_LEFT = 40  # extra words in a permissive license: a holder's name and address, a heading

RUN = 5  # words
WHOLE = 0.9  # of a license's runs: with names, dates and a damaged line it is still that text (measured in the tests)
_LONG = 600  # words; shorter texts keep every hash, longer ones every fourth
_WORD = re.compile(r"[^\W_]+(?:\.\d+)*")
_TAG = re.compile(r"<[a-zA-Z/!][^<>]{0,2000}>")
_BLOCKS = (("<script", "</script"), ("<style", "</style"), ("<!--", "-->"))  # what stands between is not text
_HTML = re.compile(r"<(!doctype html|html|body|div|p|h\d|pre|table|br)\b", re.I)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """One version of one license's text: `license` its id, `source` where the text was read."""

    license: str
    source: str
    stride: int
    hashes: frozenset[int]


@dataclass(frozen=True, slots=True)
class TextMatch:
    """How far a text and a fingerprint agree: the license's share found in the text, and the text's in the license."""

    license: str
    coverage: float
    explained: float


@dataclass(frozen=True, slots=True)
class Words:
    """A text as words, and the hashes of its runs (`hashes[i]` is that of the run beginning at word i)."""

    words: tuple[str, ...]
    hashes: tuple[int, ...]
    is_html: bool


def words_of(text: str) -> Words:
    """The words of a text, lower case, without markup; version numbers ("3.1") stay one word."""
    is_html = bool(_HTML.search(text))
    if is_html:
        text = html.unescape(_TAG.sub(" ", _without_blocks(text)))
    words = tuple(_WORD.findall(unicodedata.normalize("NFKC", text).lower()))
    runs = (" ".join(words[i : i + RUN]) for i in range(len(words) - RUN + 1))
    return Words(words, tuple(zlib.crc32(run.encode()) for run in runs), is_html)


def _without_blocks(text: str) -> str:
    """A page without its scripts, styles and comments; one that is never closed reaches to the end."""
    for start, end in _BLOCKS:
        outside, at, lowered = [], 0, text.lower()
        while (begin := lowered.find(start, at)) >= 0:
            outside.append(text[at:begin])
            close = lowered.find(end, begin)
            at = close + len(end) if close >= 0 else len(text)
        text = " ".join([*outside, text[at:]])
    return text


def fingerprint(license: str, source: str, text: str) -> Fingerprint:
    """The fingerprint of a text."""
    words = words_of(text)
    stride = 4 if len(words.words) > _LONG else 1
    return Fingerprint(license, source, stride, frozenset(run for run in words.hashes if run % stride == 0))


def pack(fingerprint: Fingerprint) -> bytes:
    """The hashes as sorted little-endian 32-bit numbers."""
    values = array("I", sorted(fingerprint.hashes))
    return values.tobytes()


def unpack(data: bytes) -> frozenset[int]:
    """The reverse of `pack`."""
    values = array("I")
    values.frombytes(data)
    return frozenset(values)


class Fingerprints:
    """All fingerprints, loaded when a text is first looked at."""

    def __init__(self, load: Callable[[], Iterable[Fingerprint]]) -> None:
        self._load = load

    @cached_property
    def all(self) -> tuple[Fingerprint, ...]:
        """Every fingerprint."""
        return tuple(self._load())

    def has(self, license: str) -> bool:
        """Whether there is a fingerprint of this license."""
        return any(known.license == license for known in self.all)

    def matches(self, text: Words) -> list[TextMatch]:
        """Every license of which some of the text is found, best first; of several versions the best one."""
        sampled = {stride: {run for run in text.hashes if run % stride == 0} for stride in (1, 4)}
        best: dict[str, TextMatch] = {}
        for known in self.all:
            runs = sampled[known.stride]
            common = len(known.hashes & runs)
            if not common:
                continue
            match = TextMatch(known.license, common / len(known.hashes), common / max(len(runs), 1))
            if known.license not in best or match.coverage > best[known.license].coverage:
                best[known.license] = match
        return sorted(best.values(), key=lambda match: (-match.coverage, -match.explained))

    def left_over(self, text: Words, license: str) -> tuple[str, ...]:
        """The words of a text that no run of the license covers (meaningful for fingerprints of stride 1)."""
        known = frozenset().union(*(version.hashes for version in self.all if version.license == license))
        covered = bytearray(len(text.words))
        for start, run in enumerate(text.hashes):
            if run in known:
                covered[start : start + RUN] = b"\x01" * RUN
        return tuple(word for word, seen in zip(text.words, covered, strict=True) if not seen)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text was recognised as. `licenses`: the license, or several indistinguishable ones. `note`: in words."""

    kind: TextKind
    licenses: tuple[License, ...] = ()
    note: str = ""


def read_text(text: str, fingerprints: Fingerprints, license_index: LicenseIndex, name: str = "") -> Reading:
    """Recognise a file of terms; `name` is its file name (LICENSE-CODE speaks for itself)."""
    words = words_of(text[:LONGEST])
    if not words.words:
        return Reading("unknown" if text.strip() else "empty", (), "the file contains no words")
    reading = _recognised(text[:LONGEST], words, fingerprints, license_index)
    if _CODE_NAME.search(name) or (reading.kind != "whole" and _CODE_TEXT.search(" ".join(words.words))):
        # Some publishers put the weights' terms into LICENSE-CODE; a license made for models is believed there too.
        if reading.licenses and all(license.permits.commercial_use != "yes" for license in reading.licenses):
            return reading
        return Reading("code_only", reading.licenses, f"{name or 'the text'} covers the code, not the weights")
    return reading


def linked(text: str, license_index: LicenseIndex) -> tuple[License, ...]:
    """The licenses that addresses in a text lead to."""
    licenses = (license_index.by_link(unquote(match.group().rstrip(".,;"))) for match in _URL.finditer(text))
    return tuple(dict.fromkeys(license for license in licenses if license is not None))


def _recognised(text: str, words: Words, fingerprints: Fingerprints, license_index: LicenseIndex) -> Reading:
    matches = fingerprints.matches(words)
    best = matches[0] if matches else None
    page = " in a web page" if words.is_html else ""
    if best is not None and best.coverage >= WHOLE:
        return _whole(words, matches, fingerprints, license_index, page)
    if len(words.words) <= _FEW and _URL.search(text):
        return Reading("link", linked(text, license_index), "the file is only a link")
    titled = tuple(_titled(words, license_index))
    if best is not None and best.explained >= _PIECE and len(words.hashes) >= _LEAST:
        near = [match.license for match in matches if match.explained >= best.explained - _SAME]
        return Reading(
            "piece", titled or _licenses(near, license_index), f"a part ({best.coverage:.0%}) of the text{page}"
        )
    if titled and (
        best is None or not any(fingerprints.has(license.id) for license in titled) or len(words.words) < 200
    ):
        return Reading("title", titled, f"it calls itself {titled[0].title}; the text is not known word by word")
    if len(words.words) <= _FEW and (named := license_index.mentioned(text)):
        if any(map(_LIMITS.fullmatch, words.words)):
            return Reading("modified", named, f"it names {named[0].title} and limits it")
        return Reading("named", named, f"the file only names {named[0].title}")
    ordinary = _ordinary(text, words, license_index)
    if ordinary is not None:
        return ordinary
    if best is not None and best.coverage >= 0.5:
        near = [match.license for match in matches if match.coverage >= best.coverage - _SAME]
        return Reading("modified", _licenses(near, license_index), f"like {near[0]} ({best.coverage:.0%}), but changed")
    return Reading("unknown", (), "a text that modelpick does not know")


def _whole(
    words: Words, matches: list[TextMatch], fingerprints: Fingerprints, license_index: LicenseIndex, page: str
) -> Reading:
    best = matches[0]
    complete = [match for match in matches if match.coverage >= max(best.coverage - _SAME, WHOLE)]
    # Of a license and the same with a clause more (MIT, modified MIT) it is the one that leaves less unexplained.
    most = max(match.explained for match in complete)
    near = [match.license for match in complete if match.explained >= most - _SAME]
    licenses = _licenses(near, license_index)
    left = min((fingerprints.left_over(words, id) for id in near), key=len)
    free = any(license.permits.commercial_use == "yes" for license in licenses)
    if free and (any(map(_LIMITS.fullmatch, left)) if words.is_html else _changed(left)):
        return Reading("modified", licenses, f"{near[0]} with additional text: {' '.join(left[:12])} ...")
    return Reading("whole", licenses, f"the text of {' or '.join(near)}{page}")


def _changed(left: tuple[str, ...]) -> bool:
    """Whether extra words in a permissive license might change what it permits."""
    if any(map(_CHANGES.fullmatch, left)):
        return True
    return sum(1 for word in left if not _HARMLESS.fullmatch(word)) > _MOST_LEFT


def _titled(words: Words, license_index: LicenseIndex) -> Iterator[License]:
    """Licenses made for models whose own name stands at the head of the text; the longest name is the one meant."""
    head = f" {' '.join(words.words[:80])} "
    headed = [
        (len(title), license)
        for license in license_index.licenses
        if license.permits.commercial_use != "yes"
        for title in license.headings
        if f" {title} " in head
    ]
    longest = max((length for length, _ in headed), default=0)
    yield from (license for length, license in headed if length == longest)


def _ordinary(text: str, words: Words, license_index: LicenseIndex) -> Reading | None:
    """What the licenseclassifier package recognises among the licenses SPDX lists."""
    from licenseclassifier import identify_license  # loads its patterns: some 100 ms, once

    text = text[:_LONGEST_ORDINARY]
    regions = identify_license(text)
    known = [license_index.by_key(region.id) for region in regions]
    licenses = tuple(dict.fromkeys(license for license in known if license is not None))
    if not regions or not licenses or None in known:
        return None
    outside = "".join(text[a:b] for a, b in _gaps(regions, len(text)))
    if any(license.permits.commercial_use == "yes" for license in licenses) and _changed(words_of(outside).words):
        return Reading("modified", licenses, f"{licenses[0].title} with additional text")
    ids = ", ".join(license.id for license in licenses)
    return Reading("whole", licenses, f"the text of {ids} (licenseclassifier)")


def _gaps(regions: Iterable[object], end: int) -> Iterator[tuple[int, int]]:
    last = 0
    for region in regions:
        yield last, region.start  # type: ignore[attr-defined]
        last = max(last, region.end)  # type: ignore[attr-defined]
    yield last, end


def _licenses(ids: Iterable[str], license_index: LicenseIndex) -> tuple[License, ...]:
    return tuple(license_index.by_id[id] for id in dict.fromkeys(ids))
