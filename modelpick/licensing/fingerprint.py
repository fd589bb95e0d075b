"""Recognises a license text by the five-word runs it is made of. Pure.

A fingerprint is the set of hashes of a text's runs of five words (Broder, "On the resemblance and containment of
documents", 1997): it names the text without holding it. Long texts keep every fourth hash (by value, so that the same
runs are kept on both sides). `coverage` is Broder's containment: the share of a license's runs a file contains.
"""

import html
import re
import unicodedata
import zlib
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

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
class Match:
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
        kept, at, lowered = [], 0, text.lower()
        while (begin := lowered.find(start, at)) >= 0:
            kept.append(text[at:begin])
            close = lowered.find(end, begin)
            at = close + len(end) if close >= 0 else len(text)
        text = " ".join([*kept, text[at:]])
    return text


def fingerprint(license: str, source: str, text: str) -> Fingerprint:
    """The fingerprint of a text."""
    read = words_of(text)
    stride = 4 if len(read.words) > _LONG else 1
    return Fingerprint(license, source, stride, frozenset(one for one in read.hashes if one % stride == 0))


def pack(print: Fingerprint) -> bytes:
    """The hashes as sorted little-endian 32-bit numbers."""
    values = array("I", sorted(print.hashes))
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
        return any(one.license == license for one in self.all)

    def matches(self, text: Words) -> list[Match]:
        """Every license of which some of the text is found, best first; of several versions the best one."""
        sampled = {stride: {one for one in text.hashes if one % stride == 0} for stride in (1, 4)}
        best: dict[str, Match] = {}
        for one in self.all:
            mine = sampled[one.stride]
            common = len(one.hashes & mine)
            if not common:
                continue
            match = Match(one.license, common / len(one.hashes), common / max(len(mine), 1))
            if one.license not in best or match.coverage > best[one.license].coverage:
                best[one.license] = match
        return sorted(best.values(), key=lambda match: (-match.coverage, -match.explained))

    def left_over(self, text: Words, license: str) -> tuple[str, ...]:
        """The words of a text that no run of the license covers (meaningful for fingerprints of stride 1)."""
        known = frozenset().union(*(one.hashes for one in self.all if one.license == license))
        covered = bytearray(len(text.words))
        for start, one in enumerate(text.hashes):
            if one in known:
                covered[start : start + RUN] = b"\x01" * RUN
        return tuple(word for word, seen in zip(text.words, covered, strict=True) if not seen)
