"""Exact and near duplicates, found without comparing all pairs. Pure, and needs no extra.

Two texts are near duplicates when their sets of word triples have a Jaccard similarity of at least NEAR, and at least
DISTINCT over the triples outside templates: a triple in more than TEMPLATE texts is part of the instruction that a
thousand examples begin with, and would make them all alike. Such pairs are found by prefix filtering (Bayardo, Ma,
Srikant: Scaling Up All Pairs Similarity Search, WWW 2007; Xiao et al.: PPJoin, WWW 2008): two such sets share one of
their rarest elements. Unlike MinHash it misses none.
"""

import itertools
import math
import re
import unicodedata
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import rshift

# Scripts that put no space between words (Thai to Tibetan, Burmese, Khmer, kana, Han): there each letter is a word.
_UNSPACED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
# Signs that change little of what is said. A minus, times or greater between numbers or spaces does, as other signs do.
_QUIET = re.escape("'\"“”‘’«».,;:!?¿¡…–—()[]{}-_*#`>|\\\ufe0f")
_WORDS = re.compile(rf"[^\W_{_UNSPACED}]+|[{_UNSPACED}]|[^\w\s{_QUIET}]|(?<=[\d\s])[-*>](?=[\d\s])")
SHINGLE = 3
# How far a long piece of work is: what is done, how much of it, of how much (None: unknown).
OnProgress = Callable[[str, int, int | None], None]


def words(text: str) -> list[str]:
    """The words of a text in lower case, with the signs that matter."""
    return _WORDS.findall((text if text.isascii() else unicodedata.normalize("NFKC", text)).lower())


def normalized(text: str) -> str:
    """Lower case, words only: equal here means an exact duplicate."""
    return " ".join(words(text))


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """The set of word triples; a shorter text is one shingle."""
    found = words(text)
    return frozenset(tuple(found[i : i + SHINGLE]) for i in range(max(1, len(found) - SHINGLE + 1)))


# Broder (1997) calls documents "roughly the same" by the resemblance of their shingles; 0.8 is the threshold that
# web-scale corpora use (e.g. FineWeb 0.75, RefinedWeb 0.8).
NEAR = 0.8
DISTINCT = 0.5
TEMPLATE = 100
# The upper bits of a triple's hash, a signed number, are its bucket; a negative one counts from the end.
_TO_BUCKET = 39  # 2^25 buckets of a byte: two triples in one are at most thought less rare than they are


def first_of_each(texts: Sequence[str], on_progress: OnProgress | None = None) -> list[int]:
    """For each text the number of the earlier one that it repeats, or its own.

    A text that is repeated does not itself repeat another: texts with their own number are all different.
    """
    index = _Index(texts, on_progress)
    found = []
    for number in range(len(texts)):
        if on_progress and number % 1000 == 0:
            on_progress("comparing", number, len(texts))
        rarest = index.rarest(number)
        like = index.like(number, rarest)
        if like is None:
            index.add(number, rarest)
        found.append(number if like is None else like)
    return found


def first_matches(
    texts: Sequence[str], known: Sequence[str], on_progress: OnProgress | None = None
) -> list[int | None]:
    """For each text the number of its first duplicate in `known`, or None. Texts without words have none."""
    if not known:
        return [None] * len(texts)
    index = _Index([*known, *texts], on_progress)
    for number in range(len(known)):
        index.add(number, index.rarest(number))
    places = range(len(known), len(known) + len(texts))
    return [index.like(number, index.rarest(number)) for number in places]


class _Index:
    """An index of some of `texts` by their rare triples."""

    def __init__(self, texts: Sequence[str], on_progress: OnProgress | None) -> None:
        ids: defaultdict[str, int] = defaultdict(itertools.count(1).__next__)
        self._triples: list[array[int]] = []
        for number, text in enumerate(texts):
            if on_progress and number % 1000 == 0:
                on_progress("reading words", number, len(texts))
            self._triples.append(_triples(list(map(ids.__getitem__, words(text)))))
        self._counts = counts = bytearray(1 << 64 - _TO_BUCKET)  # of texts that have a triple, at most TEMPLATE + 1
        for one in {triples.tobytes(): triples for triples in self._triples}.values():  # a copy makes no template
            for bucket in _buckets(one):
                if counts[bucket] <= TEMPLATE:
                    counts[bucket] += 1
        self._by_whole: dict[bytes, int] = {}
        self._by_triple: dict[int, list[int]] = {}

    def add(self, number: int, rarest: Sequence[int]) -> None:
        """Let a text be found."""
        if self._triples[number]:
            self._by_whole.setdefault(self._triples[number].tobytes(), number)
        for triple in rarest:
            self._by_triple.setdefault(triple, []).append(number)

    def like(self, number: int, rarest: Sequence[int]) -> int | None:
        """The first text added that this one repeats."""
        mine = self._triples[number]
        candidates = {other for triple in rarest for other in self._by_triple.get(triple, ())}
        same = self._by_whole.get(mine.tobytes())
        near = (other for other in sorted(candidates) if self._is_near(mine, self._triples[other]))
        return min((one for one in (same, next(near, None)) if one is not None), default=None)

    def rarest(self, number: int) -> list[int]:
        """The triples of which similar texts share at least one, less those that no other text has."""
        triples, counts = self._triples[number], self._counts
        known = bytes(map(counts.__getitem__, _buckets(triples)))
        telling = len(known) - known.count(TEMPLATE + 1)
        wanted = telling - math.ceil(DISTINCT * telling) + 1 - known.count(1)
        if not telling or wanted <= 0:
            return []
        shared = sorted((count, triple) for count, triple in zip(known, triples, strict=True) if 1 < count <= TEMPLATE)
        return [triple for _, triple in shared[:wanted]]

    def _is_near(self, mine: Sequence[int], other: Sequence[int]) -> bool:
        small, large = sorted((len(mine), len(other)))
        if small < NEAR * large:
            return False
        shared = set(mine).intersection(other)
        if len(shared) < NEAR * (small + large - len(shared)):
            return False
        telling = self._telling(shared)
        return telling >= DISTINCT * (self._telling(mine) + self._telling(other) - telling)

    def _telling(self, triples: Iterable[int]) -> int:
        return sum(self._counts[bucket] <= TEMPLATE for bucket in _buckets(triples))


def _triples(numbers: list[int]) -> "array[int]":
    """The set of triples of a text's words, each as the 64 bits of its hash, in order; a shorter text is one.

    Among ten million different triples two have the same hash with a chance of 3 in a million (birthday bound), and
    would be taken for one: hash() of a tuple of numbers is xxHash, and the same in every process.
    """
    if numbers:
        numbers = [0] * (SHINGLE - len(numbers)) + numbers
    return array("q", sorted(set(map(hash, zip(numbers, numbers[1:], numbers[2:], strict=False)))))


def _buckets(triples: Iterable[int]) -> Iterator[int]:
    return map(rshift, triples, itertools.repeat(_TO_BUCKET))
