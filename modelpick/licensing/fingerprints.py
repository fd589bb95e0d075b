"""Which known license text a text may be: fingerprints, and the known texts to compare it with. Pure.

A fingerprint is the hashes of a text's runs of five words (Broder, "On the resemblance and containment of documents",
1997). Long texts keep every fourth hash (by value, so that the same runs are kept on both sides). `coverage` is
Broder's containment: the share of a license's runs that a text contains. Fingerprints only find the candidates; whether
a text is the license is decided word by word (`text_match`).
"""

import html
import re
import zlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from modelpick.licensing.plain_text import folded, read_as_a_person
from modelpick.licensing.text_difference import RUN

_LONG = 600  # words; shorter texts keep every hash, longer ones every fourth
_WORD = re.compile(r"[^\W_]+(?:\.\d+)*")
_TAG = re.compile(r"<[a-zA-Z/!][^<>]{0,2000}>")
_BLOCKS = (("<script", "</script"), ("<style", "</style"), ("<!--", "-->"))  # what stands between is not text
_HTML = re.compile(r"<(!doctype html|html|body|div|p|h\d|pre|table|br)\b", re.I)
_SPELLINGS = {"licence": "license", "licences": "licenses", "licenced": "licensed", "https": "http"}


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
    """A text as words, where each stands in `plain` (the text as a person reads it), and the hashes of its runs
    (`hashes[i]` is that of the run beginning at word i).
    """

    plain: str
    words: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    hashes: tuple[int, ...]
    is_html: bool

    @property
    def size(self) -> int:
        """How many words."""
        return len(self.words)

    def quoted(self, start: int, end: int, longest: int = 12) -> str:
        """The words from `start` to `end` as they stand in the text, without line ends; at most `longest` of them."""
        if end <= start:
            return ""
        stop = min(end, start + longest)
        text = " ".join(self.plain[self.places[start][0] : self.places[stop - 1][1]].split())
        return text + (" ..." if stop < end else "")

    def lines(self, start: int, end: int) -> list[str]:
        """The lines that the words from `start` to `end` stand on, whole."""
        first = self.plain.rfind("\n", 0, self.places[start][0]) + 1
        last = self.plain.find("\n", self.places[end - 1][1])
        return [line for line in self.plain[first : last if last >= 0 else None].split("\n") if line.strip()]


@dataclass(frozen=True, slots=True)
class KnownRuns:
    """A known text of which only `Words.hashes` are kept: where another text differs is seen, what was there is not.

    A change within four bytes changes a CRC-32 always, a longer one but once in 2^32.
    """

    hashes: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many words."""
        return len(self.hashes) + RUN - 1


KnownText = Words | KnownRuns


def words_of(text: str) -> Words:
    """The words of a text as a person reads it, lower case, without markup; version numbers ("3.1") stay one word."""
    is_html = bool(_HTML.search(text))
    if is_html:
        text = html.unescape(_TAG.sub(" ", _without_blocks(text)))
    plain = read_as_a_person(text)
    found = [(match.start(), match.end()) for match in _WORD.finditer(plain)]
    words = tuple(_folded(plain[start:end]) for start, end in found)
    runs = (" ".join(words[i : i + RUN]) for i in range(len(words) - RUN + 1))
    return Words(plain, words, tuple(found), tuple(zlib.crc32(run.encode()) for run in runs), is_html)


def _folded(word: str) -> str:
    plain = word.lower() if word.isascii() else folded(word)
    return _SPELLINGS.get(plain, plain)


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


def fingerprint(license: str, source: str, text: KnownText) -> Fingerprint:
    """The fingerprint of a text."""
    stride = 4 if text.size > _LONG else 1
    return Fingerprint(license, source, stride, frozenset(run for run in text.hashes if run % stride == 0))


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
    """All fingerprints, loaded when a text is first looked at, and the known texts, each loaded when it is compared."""

    def __init__(
        self, load: Callable[[], Iterable[Fingerprint]], texts: Callable[[str], Iterable[KnownText]] = lambda _: ()
    ) -> None:
        self._load, self._load_texts = load, texts
        self._texts: dict[str, tuple[KnownText, ...]] = {}

    @cached_property
    def all(self) -> tuple[Fingerprint, ...]:
        """Every fingerprint."""
        return tuple(self._load())

    def has(self, license: str) -> bool:
        """Whether there is a fingerprint of this license."""
        return any(known.license == license for known in self.all)

    def texts(self, license: str) -> tuple[KnownText, ...]:
        """Every known text of a license; () where only a fingerprint is known."""
        if license not in self._texts:
            self._texts[license] = tuple(self._load_texts(license))
        return self._texts[license]

    def matches(self, hashes: Sequence[int]) -> list[TextMatch]:
        """Every license of which some runs are among `hashes`, best first; of several versions the best one."""
        sampled = {stride: {run for run in hashes if run % stride == 0} for stride in (1, 4)}
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
