"""What a file of terms is: whole licenses, one with words changed, a piece, a link, terms for code only. Pure.

Nothing is assumed in the user's favor: a license counts as itself only when nothing in the file is left unexplained
(`text_match`), and a text that matches no license is reported as unknown.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import unquote

from modelpick.licensing.fingerprints import Fingerprints, Words, words_of
from modelpick.licensing.license import License, LicenseIndex
from modelpick.licensing.text_match import Region, matched

TextKind = Literal["whole", "piece", "title", "modified", "named", "link", "code_only", "unknown", "empty"]

LONGEST = 400_000  # characters looked at; the longest license (a GPL page with its frame) is some 100,000
_LONGEST_ORDINARY = 64_000  # characters; of the licenses SPDX lists the longest are half as long
_PIECE = 0.85  # of a text's runs: a text that is nothing but a part of the license
_SAME = 0.02  # two licenses this close are not distinguished
_LEAST = 25  # runs; fewer say nothing about which license they are from
FEW = 60  # words: a text this short with an address in it is a link, and one with a title no more than that
_MOST_QUOTED = 3  # changes that a note quotes
_URL = re.compile(r"https?://[^\s<>\"')\]]+")
_CODE_NAME = re.compile(r"licen[cs]e[-_. ]?code|code[-_. ]licen[cs]e", re.I)
_CODE_TEXT = re.compile(
    r"(appl(y|ies)|covers?)( \w+){0,6} (source )?code only|only (appl(y|ies)|covers?)( \w+){0,8} code\b"
    r"|does not (apply to|cover)( \w+){0,6} (weights|models?|checkpoints?)\b",
    re.I,
)
# Words about permissions in a text that only names a license.
_LIMITS = re.compile(r"(non)?commercial|research|academic|evaluation|revenue|prohibited|restricted")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text, or a part of it, was recognised as. `licenses`: the license, or several indistinguishable ones.

    `note`: in words. `around`: the lines around a license that were explained (holders, years, titles).
    """

    kind: TextKind
    licenses: tuple[License, ...] = ()
    note: str = ""
    around: str = ""


def read_text(
    text: str, fingerprints: Fingerprints, license_index: LicenseIndex, name: str = "", *, whole_file: bool = True
) -> tuple[Reading, ...]:
    """Recognise a file of terms, a reading for each license in it; `name` is its name (LICENSE-CODE speaks for itself).

    `whole_file` is False for a document that only quotes licenses: what else it says is its own business.
    """
    words = words_of(text[:LONGEST])
    if not words.words:
        return (Reading("unknown" if text.strip() else "empty", (), "the file contains no words"),)
    readings = _licenses_in(words, fingerprints, license_index, whole_file)
    if not readings:
        readings = (_recognised(words, fingerprints, license_index),)
    return tuple(_of_code(reading, words, name) for reading in readings)


def linked(text: str, license_index: LicenseIndex) -> tuple[License, ...]:
    """The licenses that addresses in a text lead to."""
    licenses = (license_index.by_link(unquote(match.group().rstrip(".,;"))) for match in _URL.finditer(text))
    return tuple(dict.fromkeys(license for license in licenses if license is not None))


def _of_code(reading: Reading, words: Words, name: str) -> Reading:
    """The reading, or that the text covers the code and not the weights."""
    by_text = reading.kind != "whole" and _CODE_TEXT.search(" ".join(words.words))
    if not (_CODE_NAME.search(name) or by_text):
        return reading
    # Some publishers put the weights' terms into LICENSE-CODE; a license made for models is believed there too.
    if reading.licenses and all(license.permits.commercial_use != "yes" for license in reading.licenses):
        return reading
    return Reading("code_only", reading.licenses, f"{name or 'the text'} covers the code, not the weights")


def _licenses_in(
    words: Words, fingerprints: Fingerprints, license_index: LicenseIndex, whole_file: bool
) -> tuple[Reading, ...]:
    """A reading for each license whose text stands in the file."""
    found = matched(words, fingerprints, license_index)
    around = tuple(f'the file also says "{text}"' for text in found.around) if whole_file else ()
    page = " in a web page" if words.is_html else ""
    readings = []
    for number, region in enumerate(found.regions):
        reading = _of_region(region, page)
        if number == 0 and around:
            told = "; ".join((*region.changes, *around)[:_MOST_QUOTED])
            reading = Reading("modified", (region.license,), f"the text of {region.license.id}, but {told}{page}")
        readings.append(replace(reading, around=found.explained if number == 0 else ""))
    return tuple(readings)


def _of_region(region: Region, page: str) -> Reading:
    id = region.license.id
    if not region.changes:
        return Reading("whole", (region.license,), f"the text of {id}{page}")
    told = "; ".join(region.changes[:_MOST_QUOTED])
    more = len(region.changes) - _MOST_QUOTED
    told += f"; and {more} more" if more > 0 else ""
    return Reading("piece" if region.cut else "modified", (region.license,), f"the text of {id}, but {told}{page}")


def _recognised(words: Words, fingerprints: Fingerprints, license_index: LicenseIndex) -> Reading:
    """A text without any license whose text is known."""
    text = words.plain
    matches = fingerprints.matches(words.hashes)
    best = matches[0] if matches else None
    page = " in a web page" if words.is_html else ""
    if len(words.words) <= FEW and _URL.search(text):
        return Reading("link", linked(text, license_index), "the file is only a link")
    titled = tuple(_titled(words, license_index))
    if best is not None and best.explained >= _PIECE and len(words.hashes) >= _LEAST:
        near = [match.license for match in matches if match.explained >= best.explained - _SAME]
        return Reading(
            "piece", titled or _licenses(near, license_index), f"a part ({best.coverage:.0%}) of the text{page}"
        )
    if titled:
        known = any(fingerprints.has(license.id) for license in titled)
        differs = "its text is another" if known else "its text is not known word by word"
        return Reading("title", titled, f"it calls itself {titled[0].title}; {differs}")
    if len(words.words) <= FEW and (named := license_index.mentioned(text)):
        if any(map(_LIMITS.fullmatch, words.words)):
            return Reading("modified", named, f"it names {named[0].title} and limits it")
        return Reading("named", named, f"the file only names {named[0].title}")
    ordinary = _ordinary(text, license_index)
    return ordinary or Reading("unknown", (), "a text that modelpick does not know")


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


def _ordinary(text: str, license_index: LicenseIndex) -> Reading | None:
    """What the licenseclassifier package recognises among the licenses SPDX lists: a text that is not known here word
    by word, so it is never taken for the whole license.
    """
    from licenseclassifier import identify_license  # loads its patterns: some 100 ms, once

    found = [license_index.by_key(region.id) for region in identify_license(text[:_LONGEST_ORDINARY])]
    licenses = tuple(dict.fromkeys(license for license in found if license is not None))
    if not licenses or None in found:
        return None
    ids = ", ".join(license.id for license in licenses)
    return Reading("modified", licenses, f"like {ids} (licenseclassifier), but not known word by word")


def _licenses(ids: Iterable[str], license_index: LicenseIndex) -> tuple[License, ...]:
    return tuple(license_index.by_id[id] for id in dict.fromkeys(ids))
