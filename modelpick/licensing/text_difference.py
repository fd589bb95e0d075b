"""How one text differs from another, word by word: what was added, what is lacking, and where. Pure.

Both texts are split at runs of words that the known one has once, in the same order in both (patience diff, B. Cohen;
https://bramcohen.livejournal.com/73318.html), so the work grows with the length of the texts and not with its square;
between two such places difflib compares what is left, unless that is long: then it is one difference.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

RUN = 5  # words that make a place unmistakable
_MOST_COMPARED = 250_000  # pairs of words of a gap that difflib compares


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two texts differ: words `lacks_from` to `lacks_to` of the known text, and what stands there."""

    lacks_from: int
    lacks_to: int
    adds_from: int
    adds_to: int


def differences(known: Sequence[object], found: Sequence[object]) -> list[Difference]:
    """Every difference of `found` from `known`, in order. Words are compared, or whatever else is equal or not."""
    made: list[Difference] = []
    at_known = at_found = 0
    for known_from, found_from, length in [*_same(known, found), (len(known), len(found), 0)]:
        if known_from > at_known or found_from > at_found:
            made.append(Difference(at_known, known_from, at_found, found_from))
        at_known, at_found = known_from + length, found_from + length
    return made


def run_differences(known: Sequence[int], found: Sequence[int]) -> list[Difference]:
    """Every difference in words of two texts, of which the hashes of their runs are given.

    Runs that both texts have in one place mean that all their words are the same. So a gap between such runs begins
    after the last word of the run before it, and ends with the first word of the run behind it. Where these two overlap
    (words that were there once stand there twice) the words behind the overlap are the difference.
    """
    return [_in_words(gap, len(known), len(found)) for gap in differences(known, found)]


def _in_words(gap: Difference, known: int, found: int) -> Difference:
    before = RUN - 1 if gap.lacks_from or gap.adds_from else 0
    after = RUN - 1 if gap.lacks_to == known and gap.adds_to == found else 0
    lacks_from, lacks_to = gap.lacks_from + before, gap.lacks_to + after
    adds_from, adds_to = gap.adds_from + before, gap.adds_to + after
    overlap = max(0, lacks_from - lacks_to, adds_from - adds_to)
    return Difference(lacks_from, lacks_to + overlap, adds_from, adds_to + overlap)


def _same(known: Sequence[object], found: Sequence[object]) -> Iterator[tuple[int, int, int]]:
    """Blocks of words that both have: where in each, and how long. In order, and without overlap."""
    at_known = at_found = 0
    for anchor_known, anchor_found in _anchors(known, found):
        if anchor_known < at_known or anchor_found < at_found:
            continue  # within the block before
        while anchor_known > at_known and anchor_found > at_found:
            if known[anchor_known - 1] != found[anchor_found - 1]:
                break
            anchor_known, anchor_found = anchor_known - 1, anchor_found - 1
        yield from _between(known, found, at_known, anchor_known, at_found, anchor_found)
        length = 0
        for one, other in zip(known[anchor_known:], found[anchor_found:], strict=False):
            if one != other:
                break
            length += 1
        yield anchor_known, anchor_found, length
        at_known, at_found = anchor_known + length, anchor_found + length
    yield from _between(known, found, at_known, len(known), at_found, len(found))


def _between(
    known: Sequence[object], found: Sequence[object], known_from: int, known_to: int, found_from: int, found_to: int
) -> Iterator[tuple[int, int, int]]:
    """The same blocks in a gap between two places."""
    size = (known_to - known_from) * (found_to - found_from)
    if not 0 < size <= _MOST_COMPARED:
        return
    matcher = SequenceMatcher(None, known[known_from:known_to], found[found_from:found_to], autojunk=False)
    for block in matcher.get_matching_blocks():
        if block.size:
            yield known_from + block.a, found_from + block.b, block.size


def _anchors(known: Sequence[object], found: Sequence[object]) -> list[tuple[int, int]]:
    """Places of runs that the known text has exactly once, the longest sequence that is in order in both.

    Of a text that holds the known one several times the first is meant.
    """
    first: dict[tuple[object, ...], int] = {}
    for at in range(len(found) - RUN + 1):
        first.setdefault(tuple(found[at : at + RUN]), at)
    runs = [tuple(known[at : at + RUN]) for at in range(len(known) - RUN + 1)]
    times = Counter(runs)
    return _rising([(at, first[run]) for at, run in enumerate(runs) if times[run] == 1 and run in first])


def _rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest subsequence whose second numbers rise (Schensted 1961)."""
    ends: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for index, (_, value) in enumerate(pairs):
        place = bisect_left(ends, value)
        before.append(last[place - 1] if place else -1)
        if place == len(ends):
            ends.append(value)
            last.append(index)
        else:
            ends[place], last[place] = value, index
    chain = []
    at = last[-1] if last else -1
    while at >= 0:
        chain.append(pairs[at])
        at = before[at]
    return chain[::-1]
