"""Is a text a known license, word for word? Each difference is explained, or quoted. Pure.

A text may hold several licenses: the best match is cut out, and what is left before and after it is looked at in the
same way. Explained is what changes no permission: who holds the copyright and since when, the license's own title,
numbers of paragraphs, words joined or parted at line ends, what stands after the terms ("how to apply"), and in a
license of SPDX's list what its matching guidelines (https://spdx.github.io/spdx-spec/v3.0.1/annexes/license-matching-
guidelines-and-templates/) allow to leave out. Everything else is a difference, and the license is not itself. What a
text lacks of one whose hashes alone are kept is not known, so there only added words are ever explained.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from modelpick.licensing.fingerprints import Fingerprints, KnownRuns, KnownText, Words
from modelpick.licensing.license import License, LicenseIndex
from modelpick.licensing.text_difference import RUN, Difference, differences, run_differences

_HALF = 0.5  # of a license's runs: with less of it a text is another text that quotes it
_NEAR = 0.25  # of coverage: candidates this close to the best are compared word by word
_MOST_CANDIDATES = 6
_MOST_REGIONS = 12  # licenses in one file
_SHORTEST = 20  # words: less is no license text
_LONGEST_LINE = 25  # words of a line about the copyright, or that fill a placeholder
_LONGEST_ORDINARY = 64_000  # characters; of the licenses SPDX lists the longest are half as long

# Words that may stand around a license text without changing it: headings, years.
_HARMLESS = re.compile(
    r"\d[\d.]*|copyright|c|all|rights|reserved|the|a|an|and|by|of|for|to|see|inc|llc|ltd|corp|co|authors?|contributors?"
    r"|licensed?|version|v|january|appendix|terms|text|file|md|txt|www|http|org|com|spdx|identifier|full|legal|code"
    r"|is|under|this|model|models|software|project|released|begin|end|start"
)
_CHANGES = re.compile(
    r"non\w*|noncommercial|commercial\w*|academic|only|not?|nor|without|never|must|shall|except|unless|if|prohibit\w*"
    r"|forbid\w*|permission|permit\w*|restrict\w*|provided|however|addition(al)?|modif\w+|revenue|users?|display"
    r"|prominently|attribution|evaluation|internal|personal|military|purposes?|uses?|used|may|require\w*|fees?|pay\w*"
    r"|royalt\w+|agree\w*|subject|condition\w*|limit\w*|exclu\w+|terminat\w+|revok\w+|writ\w+|consent|private"
    r"|kommerz\w*|nichtkommerz\w*|comercial\w*|kommersi\w*|forschung\w*|nur|solo|seulement|uniquement|investigacion"
    r"|.*[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0400-\u04ff\u0590-\u06ff\u0900-\u0dff\u0e00-\u0eff].*"
)
# A page around a text has menus; of their words only these are about permissions.
_LIMITS = re.compile(r"(non)?commercial|research|academic|evaluation|revenue|prohibited|restricted")
_COPYRIGHT = re.compile(
    r"^\W*(portions?\s+)?(copyright\W+((\(c\)|©|by\b).*|.*\d{4}|\W*\byear\b|\W*\byyyy\b)|(\(c\)|©)\s*(copyright\b|\d{4})"
    r"|all rights reserved\b|spdx-)",
    re.IGNORECASE,
)
_ENUMERATOR = re.compile(r"\d{1,2}(\.\d+)*|[a-z]|[ivx]{1,5}")
_PLACEHOLDERS = frozenset(
    {
        "yyyy", "year", "years", "name", "names", "of", "the", "by", "and", "c", "20xx", "insert", "copyright",
        "copyrights", "owner", "owners", "holder", "holders", "author", "authors", "organization", "organisation",
        "organizations", "contributor", "contributors", "company", "project", "regents", "university", "program",
    }
)  # fmt: skip
_END = (("end", "of", "terms", "and", "conditions"), ("how", "to", "apply"), ("exhibit", "a"))


@dataclass(frozen=True, slots=True)
class Region:
    """A license in a text: which one, the words from `start` to `end` that it covers, and what is not explained.

    `cut`: nothing but a beginning or an end of the license is missing.
    """

    license: License
    start: int
    end: int
    changes: tuple[str, ...] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Matched:
    """All licenses found in a text, in its order, what stands around them unexplained, and the explained rest of it."""

    regions: tuple[Region, ...]
    around: tuple[str, ...] = ()
    explained: str = field(default="", compare=False)


def matched(text: Words, fingerprints: Fingerprints, licenses: LicenseIndex) -> Matched:
    """The licenses of which a text holds at least half."""
    spans, left = [(0, len(text.words))], []
    regions: list[Region] = []
    while spans:
        start, end = spans.pop()
        found = None
        if end - start >= _SHORTEST and len(regions) < _MOST_REGIONS:
            found = _best(text, start, end, fingerprints, licenses)
        if found is None:
            left.append((start, end))
        else:
            regions.append(found)
            spans += [(start, found.start), (found.end, end)]
    regions.sort(key=lambda region: region.start)
    around: list[str] = []
    explained: list[str] = []
    for start, end in sorted(left):
        if start == end or not regions:
            continue
        is_fine = _is_explained_around(text, start, end, [region.license for region in regions])
        (explained if is_fine else around).append(text.quoted(start, end, end if is_fine else 12))
    return Matched(tuple(regions), tuple(around), "\n".join(explained))


def _best(text: Words, start: int, end: int, fingerprints: Fingerprints, licenses: LicenseIndex) -> Region | None:
    """The license that leaves the fewest words of this part of the text unexplained."""
    matches = [match for match in fingerprints.matches(text.hashes[start : end - RUN + 1]) if match.coverage >= _HALF]
    near = [match.license for match in matches if match.coverage >= matches[0].coverage - _NEAR]
    best: tuple[tuple[int, int], Region] | None = None
    for id in near[:_MOST_CANDIDATES]:
        for known in fingerprints.texts(id) if id in licenses.by_id else ():
            compared = _compared(text, start, end, known, licenses.by_id[id])
            if compared is not None and (best is None or compared[0] < best[0]):
                best = compared
        if best is not None and best[0] == (0, 0):
            break
    return None if best is None else best[1]


def _compared(
    text: Words, start: int, end: int, known: KnownText, license: License
) -> tuple[tuple[int, int], Region] | None:
    """The region that a known text covers, and how badly: words unexplained, and words of the text left around it.

    None where the two share no place.
    """
    size = end - start
    if isinstance(known, Words):
        found = differences(known.words, text.words[start:end])
    else:
        found = run_differences(known.hashes, text.hashes[start : end - RUN + 1])
    first = found[0].adds_to if found and found[0].adds_from == 0 else 0
    last = max(found[-1].adds_from, first) if found and found[-1].adds_to == size else size
    if first >= last:
        return None
    inside = [_within(difference, first, last) for difference in found]
    open_ = [one for one in inside if not _is_explained(one, text, start, known, license)]
    # SPDX's guidelines say what of a license on its list may be left out or filled in; never what may be added.
    if open_ and license.spdx and isinstance(known, Words) and not any(_changes(text, start, one) for one in open_):
        open_ = [] if _is_confirmed(text, start + first, start + last, license) else open_
    cost = sum(one.lacks_to - one.lacks_from + one.adds_to - one.adds_from for one in open_)
    cut = bool(open_) and all(
        one.adds_from == one.adds_to and (one.lacks_from == 0 or one.lacks_to == known.size) for one in open_
    )
    changes = tuple(_told(one, text, start, known) for one in open_)
    region = Region(license, start + first, start + last, changes, cut)
    return (cost, size - (last - first)), region


def _within(difference: Difference, first: int, last: int) -> Difference:
    """The difference without words of the text that stand before or after the whole license."""
    adds_from, adds_to = max(difference.adds_from, first), min(difference.adds_to, last)
    return Difference(difference.lacks_from, difference.lacks_to, min(adds_from, adds_to), adds_to)


def _told(one: Difference, text: Words, start: int, known: KnownText) -> str:
    at = start + one.adds_from
    adds, count = text.quoted(at, start + one.adds_to), one.lacks_to - one.lacks_from
    if adds and not count:
        return f'it adds "{adds}"'
    if isinstance(known, Words):
        lacks = f'"{known.quoted(one.lacks_from, one.lacks_to)}"'
    else:
        lacks = "a word" if count == 1 else f"some {count} words"
    if adds:
        return f'"{adds}" in place of {lacks}'
    if isinstance(known, KnownRuns):
        lacks += f' after "{text.quoted(max(start, at - RUN), at)}"' if one.lacks_from else " at the beginning"
    return f"it lacks {lacks}"


def _is_explained(one: Difference, text: Words, start: int, known: KnownText, license: License) -> bool:
    """Whether a difference changes nothing that the license says."""
    adds = text.words[start + one.adds_from : start + one.adds_to]
    if one.lacks_from == one.lacks_to:
        place = (start + one.adds_from, start + one.adds_to)
        return not adds or _are_copyright_lines(text, *place) or _is_numbering(text, *place)
    if isinstance(known, KnownRuns):
        return False  # what the lacking words said is not known
    lacks = known.words[one.lacks_from : one.lacks_to]
    if "".join(lacks) == "".join(adds):
        return True  # parted or joined at a line's end
    if adds and _are_copyright_lines(text, start + one.adds_from, start + one.adds_to):
        return _are_copyright_lines(known, one.lacks_from, one.lacks_to)
    if not adds:
        return (
            _is_after_the_terms(one.lacks_from, known, license)
            or (one.lacks_from == 0 and _is_title(lacks, license))
            or _are_copyright_lines(known, one.lacks_from, one.lacks_to)
            or _is_numbering(known, one.lacks_from, one.lacks_to)
        )
    if _is_numbering(text, start + one.adds_from, start + one.adds_to) and _is_numbering(
        known, one.lacks_from, one.lacks_to
    ):
        return True
    fills = len(adds) <= _LONGEST_LINE and not any(map(_CHANGES.fullmatch, adds))
    filled = _PLACEHOLDERS.issuperset(lacks) or _is_after_the_terms(one.lacks_from, known, license)
    return bool(license.spdx) and fills and filled


def _is_explained_around(text: Words, start: int, end: int, licenses: Sequence[License]) -> bool:
    """Whether words before, between or after licenses say nothing about them."""
    words = text.words[start:end]
    if text.is_html:
        return not any(map(_LIMITS.fullmatch, words))
    titles = _title_words(licenses)
    between = text.plain[text.places[start][0] : text.places[end - 1][1]]
    lines = re.split(r"\n|(?=\bcopyright \(c\))", between, flags=re.IGNORECASE)
    return all(
        _is_harmless(line, titles) or _is_link(line) or _says_who_holds(lines[: number + 1])
        for number, line in enumerate(lines)
    )


def _is_harmless(line: str, titles: frozenset[str]) -> bool:
    words = _plain_words(line)
    return all(word in titles or _HARMLESS.fullmatch(word) for word in words)


def _is_link(line: str) -> bool:
    return re.fullmatch(r"\W*https?://\S+\W*", line.strip()) is not None


def _are_copyright_lines(text: Words, start: int, end: int) -> bool:
    lines = text.lines(start, end)
    return all(_says_who_holds(lines[: number + 1]) for number in range(len(lines)))


def _says_who_holds(lines: Sequence[str]) -> bool:
    """Whether the last of these lines says who holds the copyright and since when, and nothing else: by itself, or as
    the second line of such a statement.
    """
    words = _plain_words(lines[-1])
    if not words:
        return True
    if len(words) > _LONGEST_LINE or any(map(_CHANGES.fullmatch, words)):
        return False
    return any(_COPYRIGHT.match(line) is not None for line in lines[-2:])


def _is_title(words: Iterable[str], license: License) -> bool:
    titles = _title_words([license])
    return all(word in titles or _HARMLESS.fullmatch(word) for word in words)


def _title_words(licenses: Iterable[License]) -> frozenset[str]:
    """The words of the names that licenses have."""
    names = (
        name
        for license in licenses
        for name in (license.id, license.title, license.spdx or "", *license.hub_ids, *license.source.titles)
    )
    return frozenset(word for name in names for word in _plain_words(name) if not _CHANGES.fullmatch(word))


def _plain_words(line: str) -> list[str]:
    return re.findall(r"[^\W_]+", line.lower())


def _is_numbering(text: Words, start: int, end: int) -> bool:
    """Whether words are the number of a paragraph: at the start of a line, with a dot or a bracket after it."""
    for at in range(start, end):
        word, (begin, stop) = text.words[at], text.places[at]
        line = text.plain.rfind("\n", 0, begin) + 1
        before, after = text.plain[line:begin], text.plain[stop : stop + 1]
        if not (_ENUMERATOR.fullmatch(word) and re.fullmatch(r"[\W\d]*", before) and after in (".", ")", ":", "\t")):
            return False
    return True


def _is_after_the_terms(at: int, known: Words, license: License) -> bool:
    """Whether a place in a known text lies behind its terms: what follows says how to apply them.

    Only in a license on SPDX's list: others add the uses that they forbid as an attachment.
    """
    if not license.spdx or license.owes.use_restrictions:
        return False
    for marker in _END:
        size = len(marker)
        for end in range(at - size, len(known.words) // 2, -1):
            if known.words[end : end + size] == marker:
                return True
        if known.words[at : at + size] == marker and at > len(known.words) // 2:
            return True
    return False


def _changes(text: Words, start: int, one: Difference) -> bool:
    """Whether added words might change a permission."""
    adds = text.words[start + one.adds_from : start + one.adds_to]
    return len(adds) > _LONGEST_LINE or any(_CHANGES.fullmatch(word) or word[0].isdigit() for word in adds)


def _is_confirmed(text: Words, start: int, end: int, license: License) -> bool:
    """Whether the licenseclassifier package, which knows what SPDX allows to leave out, sees the license there too."""
    from licenseclassifier import identify_license  # loads its patterns: some 100 ms, once

    part = text.plain[text.places[start][0] : text.places[end - 1][1]]
    if not part or len(part) > _LONGEST_ORDINARY:
        return False
    keys = {str(license.spdx).lower().removesuffix("-only").removesuffix("-or-later")}
    found = identify_license(part, 90.0)
    return bool(found) and all(
        region.id.lower().removesuffix("-only").removesuffix("-or-later") in keys for region in found
    )
