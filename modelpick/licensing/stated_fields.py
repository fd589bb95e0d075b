"""Weighs the fields of a card against each other: whatever it states counts, and what cannot be read is a question.

The first is `license` (identify.py). The others are here: a `license_name` or a tag of another license, a field whose
shape says nothing (not a `license_link`: unread.py, file_evidence.py). Two stated things that disagree both
apply, and the disagreement is a question that names both. Pure.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator

from modelpick.catalog.card import RELATION
from modelpick.catalog.model import Model
from modelpick.catalog.spdx_document import circle_in, is_spdx, licenses_in
from modelpick.licensing.conditions import Assessment
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.identify import PLACEHOLDERS, Claim, Known, Unknown, identify
from modelpick.licensing.identify import licenses_in as licenses_in_claim
from modelpick.licensing.license import License
from modelpick.licensing.outcome import EvidenceSource, Reason, Verdict

Assess = Callable[[Claim, EvidenceSource], Assessment]
_NO_NAME = frozenset({*PLACEHOLDERS, "none", "n/a", "na", "-", "null", "custom"})
_WORD = re.compile(r"[a-z]+|\d+(?:\.\d+)*")
# Words of a license's name that do not tell one license from another.
_GENERAL = frozenset(
    {"license", "licence", "agreement", "terms", "term", "of", "use", "the", "a", "an", "model", "models", "community",
     "open", "source", "public", "general", "software", "version", "v", "and", "under", "conditions", "for", "or",
     "later", "only"}
)  # fmt: skip


def assess_fields(
    model: Model, card: Claim, organisations: Collection[str], facts: LicenseFacts, assess: Assess, demanded: Verdict
) -> list[Assessment]:
    """What the fields next to `license` add to the card's claim, or say against it.

    `organisations`: whose license names count here, in lower case. `demanded`: what a question comes to.
    """
    parts = [
        _unreadable(each.field, each.value, each.source, demanded)
        for each in model.unreadable
        if each.field != RELATION
    ]
    stated = licenses_in_claim(card)
    names = [("license_name", model.license_name)]
    for conflict in model.conflicts:
        names += [(f"license_name ({conflict.other_source})", conflict.other)] * (conflict.field == "license_name")
    if not stated:
        was = [conflict for conflict in model.conflicts if conflict.field == "license_name" and conflict.other]
        for conflict in was:
            claim, short = identify(None, conflict.other, organisations, facts.licenses), _short(str(conflict.other))
            what = f"{conflict.other_source} names {short}"
            parts += _second(what, f"{conflict.other_source}: license_name: {short}", claim, stated, assess, demanded)
    else:
        for field, name in names:
            if isinstance(name, str) and not _agrees(name, card, organisations, facts):
                claim = identify(None, name, organisations, facts.licenses)
                parts += _second(
                    f"{field} is {_short(name)}", f"{field}: {_short(name)}", claim, stated, assess, demanded
                )
    parts += _spdx(model, organisations, stated, facts, assess, demanded)
    for tag, claim in _tagged(model, organisations, facts):
        if not _ids(licenses_in_claim(claim)) & _ids(stated) or isinstance(claim, Unknown):
            parts += _second(f"a tag is {tag}", f"tags: {tag}", claim, stated, assess, demanded)
    return parts


def says_something(model: Model) -> bool:
    """Whether a model has fields next to `license` that `assess_fields` looks at."""
    named = bool(model.license_name) and model.license is not None
    spdx = any(map(is_spdx, model.texts))
    return bool(model.unreadable or model.conflicts or named or spdx or any(map(_license_tag, model.tags)))


def _spdx(
    model: Model,
    organisations: Collection[str],
    stated: tuple[License, ...],
    facts: LicenseFacts,
    assess: Assess,
    demanded: Verdict,
) -> Iterator[Assessment]:
    """What SPDX documents state that is stricter than the card, and those whose relationships lead in a circle.

    A document lists the tokenizer and the code as well, so a permissive license in it says nothing of the weights.
    """
    for name, text in model.texts.items():
        if not is_spdx(name):
            continue
        for value in licenses_in(text):
            claim = identify(value, None, organisations, facts.licenses)
            found = licenses_in_claim(claim)
            free = bool(found) and all(license.permits.commercial_use == "yes" for license in found)
            if isinstance(claim, Unknown) or not (free or (found and _ids(found) <= _ids(stated))):
                what = f"{name} says {_short(value)}"
                yield from _second(what, f"{name}: {_short(value)}", claim, stated, assess, demanded)
        if (circle := circle_in(text)) is not None:
            yield _unreadable("relationships", f"a circle ({circle[:160]})", name, demanded)


def _unreadable(field: str, value: str, source: str, demanded: Verdict) -> Assessment:
    text = f"{field} is {value}, which cannot be read: what it says is not known"
    return Assessment(demanded, (Reason("unreadable_field", text, f"{source}: {field}: {value}", demanded),))


def _second(
    what: str, evidence: str, claim: Claim, stated: Iterable[License], assess: Assess, demanded: Verdict
) -> list[Assessment]:
    """A second claim next to the first: both apply, and the difference is a question."""
    titles = " or ".join(license.title for license in stated) or "no license"
    named = " or ".join(license.title for license in licenses_in_claim(claim))
    other = f" ({named})" if named else ", which modelpick does not know"
    text = f"the card's license is {titles}, and {what}{other}: both apply"
    question = Assessment(demanded, (Reason("contradiction", text, evidence, demanded),))
    return [question] if isinstance(claim, Unknown) else [question, assess(claim, "card")]


def _agrees(name: str, card: Claim, organisations: Collection[str], facts: LicenseFacts) -> bool:
    """Whether a name is one of a license that the card states, or a description of it in its own words."""
    if name.strip().lower() in _NO_NAME or (isinstance(card, Known) and f"license_name: {name}"[:60] in card.evidence):
        return True
    stated = licenses_in_claim(card)
    claim = identify(None, name, organisations, facts.licenses)
    if isinstance(claim, Known) and claim.certain:
        return bool(_ids(claim.candidates) & _ids(stated))
    words = set(_WORD.findall(name.lower())) - _GENERAL
    return any(words <= _words_of(license) for license in stated) and bool(words)


def _words_of(license: License) -> set[str]:
    named = license.named.names if license.named else ()
    names = (license.id, license.title, license.spdx or "", license.steward or "", *license.hub_ids, *named)
    return set(_WORD.findall(" ".join((*names, *license.source.titles, *license.source.spoken)).lower()))


def _tagged(model: Model, organisations: Collection[str], facts: LicenseFacts) -> Iterator[tuple[str, Claim]]:
    """The licenses that tags name, where `license` is stated in another way."""
    if model.sources.get("license") == "Hub tags":
        return
    for tag in model.tags:
        if _license_tag(tag):
            value = tag.partition(":")[2].strip()
            if value.lower() != str(model.license).strip().lower() and not _is_one_of(value, model.license):
                yield tag[:120], identify(value, None, organisations, facts.licenses)


def _license_tag(tag: str) -> bool:
    return re.match(r"licen[cs]e(_name)?:", tag, re.IGNORECASE) is not None


def _is_one_of(value: str, license: object) -> bool:
    return isinstance(license, list | tuple) and value.lower() in {str(each).strip().lower() for each in license}


def _ids(licenses: Iterable[License]) -> set[str]:
    return {license.id for license in licenses}


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."
