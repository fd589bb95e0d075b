"""What a repository's files say beside its card: license files, use policies, gate, GGUF header, the body of the card.

A file can settle what the card left open, and it can add what the card kept silent about. Where card and files disagree
both are shown, and both bind. Pure.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from modelpick.catalog.model import Model
from modelpick.licensing.card_prose import Prose
from modelpick.licensing.conditions import Assessment, Modality, assess_claim
from modelpick.licensing.facts import Facts
from modelpick.licensing.identify import PLACEHOLDERS, AllOf, Claim, Known, Unknown, identify, licenses_in, unknown
from modelpick.licensing.license import License
from modelpick.licensing.license_text import Reading, linked, read_text
from modelpick.licensing.outcome import Finding, From, Obligation, Reason, Verdict, join
from modelpick.licensing.policy import Policy

_LICENSE_FILE = re.compile(r"(.*[ _-])?(licen[cs]e|copying|eula|terms([ _-]of[ _-]use)?)([ ._-].*)?", re.I)
_USE_POLICY = re.compile(r"(.*[ _-])?((acceptable[ _-]?)?us(e|age)[ _-]?policy|prohibited[ _-]?uses?)(.*)", re.I)
_THIRD_PARTY = re.compile(r"third[ _-]?party|notice", re.I)
_CERTAIN = ("whole", "title", "piece")


@dataclass(frozen=True, slots=True)
class FileReading:
    """One file of terms and what it was recognised as."""

    name: str
    reading: Reading

    @property
    def binds(self) -> bool:
        """Whether its licenses count by themselves: a whole text, or what is left of one that is not permissive."""
        if not self.reading.licenses or self.reading.kind == "code_only":
            return False
        restrictive = all(one.permits.commercial_use != "yes" for one in self.reading.licenses)
        return self.reading.kind == "whole" or (
            self.reading.kind in (*_CERTAIN, "link", "named", "modified") and restrictive
        )

    def claim(self) -> Known:
        """The claim the file makes."""
        return Known(self.reading.licenses, f"{self.name}: {self.reading.note}")


def is_terms(name: str) -> bool:
    """Whether a file of this name states terms: a license file or a use policy, not a notice."""
    return bool(_USE_POLICY.fullmatch(name) or (_LICENSE_FILE.fullmatch(name) and not _THIRD_PARTY.search(name)))


def read_files(model: Model, facts: Facts) -> tuple[FileReading, ...]:
    """The model's license files, each recognised. Notices and third-party lists are not the model's terms."""
    return tuple(
        FileReading(name, _read(text, name, facts))
        for name, text in model.texts.items()
        if is_terms(name) and not _USE_POLICY.fullmatch(name)
    )


def _read(text: str, name: str, facts: Facts) -> Reading:
    """`read_text`, remembered: most license files are word for word the same few."""
    key = ("text", name, hash(text), len(text))
    held = facts.memo.get(key)
    if held is None or held[0] != text:
        held = facts.memo[key] = (text, read_text(text, facts.prints, facts.licenses, name))
    reading: Reading = held[1]
    return reading


def settled(claim: Claim, files: Iterable[FileReading], model: Model, facts: Facts) -> tuple[Claim, From | None]:
    """The card's claim, settled by the files where it was open: no license, several candidates, a stranger's name.

    Second: where the settled claim comes from, None when it is still the card's own.
    """
    binding = [one for one in files if one.binds]
    if unknown(claim):
        if binding:
            parts = tuple(one.claim() for one in binding)
            return (parts[0] if len(parts) == 1 else AllOf(parts)), "license_file"
        links = linked(model.license_link or "", facts.licenses)
        if links and model.license is not None and all(one.permits.commercial_use != "yes" for one in links):
            return Known(links, f"license_link: {model.license_link}"), None
        return claim, None
    if isinstance(claim, Known) and (len(claim.candidates) > 1 or not claim.certain):
        told = {license.id for one in binding for license in one.reading.licenses}
        kept = tuple(one for one in claim.candidates if one.id in told)
        if kept:
            return Known(kept, claim.said), None
    return claim, None


def weigh_files(
    card: Claim, files: tuple[FileReading, ...], model: Model, policy: Policy, facts: Facts, modality: Modality
) -> list[Assessment]:
    """What the files add to (or hold against) the card's claim, each piece with its demand."""

    def assessed(claim: Claim, origin: From) -> Assessment:
        return assess_claim(claim, origin, policy, facts.territories, modality)

    parts: list[Assessment] = []
    stated = licenses_in(card)
    for one in files:
        if one.binds:
            mine = assessed(one.claim(), "license_file")
            parts.append(mine)
            if stated and not {found.id for found in stated} & {found.id for found in one.reading.licenses}:
                parts.append(_contradiction(stated, one, join([mine.verdict, assessed(card, "card").verdict])))
        elif (doubt := _doubt(one, files, stated, policy, facts)) is not None:
            parts.append(doubt)
    parts += _use_policies(model, stated, files, policy)
    if model.gate_text:
        gate = FileReading("gate", read_text(model.gate_text, facts.prints, facts.licenses))
        if gate.reading.licenses and gate.reading.kind in _CERTAIN and gate.binds:
            parts.append(assessed(gate.claim(), "gate"))
    if model.gguf:
        parts += _header(model, stated, policy, facts, modality)
    return parts


def _doubt(
    one: FileReading, files: tuple[FileReading, ...], stated: tuple[License, ...], policy: Policy, facts: Facts
) -> Assessment | None:
    """A license file that does not bind: the question it raises, if any."""
    kind, licenses = one.reading.kind, one.reading.licenses
    ids, said = {found.id for found in stated}, f"{one.name}: {one.reading.note}"
    if kind == "empty" or (kind in ("piece", "link", "named") and ids and ids <= {found.id for found in licenses}):
        return None
    if kind == "code_only":
        if any(other.binds for other in files) or not stated:
            return None
        return _question("code_license_only", f"{said}; the weights have no license file", one.name, policy)
    # Without a fingerprint of the stated license an unrecognised text cannot be held against it.
    uncheckable = bool(stated) and not any(facts.prints.has(id) for id in ids)
    if kind == "unknown" and uncheckable and all(found.permits.commercial_use != "yes" for found in stated):
        return None
    codes = {
        "modified": "modified_license_text",
        "link": "license_file_is_link",
        "named": "license_file_only_names_it",
        "piece": "license_file_cut_short",
    }
    return _question(codes.get(kind, "unknown_license_text"), said, one.name, policy)


def _question(code: str, text: str, evidence: str, policy: Policy) -> Assessment:
    demanded = Verdict(policy.rules.contradiction)
    return Assessment(demanded, (Reason(code, text, evidence, demanded),))


def _contradiction(stated: tuple[License, ...], one: FileReading, demanded: Verdict) -> Assessment:
    card, file = (" or ".join(license.title for license in side) for side in (stated, one.reading.licenses))
    reason = Reason("contradiction", f"the card says {card}, {one.name} is {file}: both bind", one.name, demanded)
    return Assessment(demanded, (reason,))


def _use_policies(
    model: Model, stated: tuple[License, ...], files: tuple[FileReading, ...], policy: Policy
) -> list[Assessment]:
    names = [name for name in model.texts if _USE_POLICY.fullmatch(name)]
    known = (*stated, *(license for one in files if one.binds for license in one.reading.licenses))
    if not names or any(one.owes.use_policy or one.owes.use_restrictions for one in known):
        return []
    demanded = policy.rules.use_restrictions
    text = f"{names[0]} restricts what the model may be used for, which the stated license does not"
    owed = Obligation("use_policy", f"keep to {names[0]} in the repository")
    finding = Finding("use-policy", None, "use_policy", names[0])
    return [Assessment(demanded, (Reason("use_policy_file", text, names[0], demanded),), (owed,), (finding,))]


def _header(
    model: Model, stated: tuple[License, ...], policy: Policy, facts: Facts, modality: Modality
) -> list[Assessment]:
    header = model.gguf or {}
    value, name = header.get("general.license"), header.get("general.license.name")
    if value is None or (isinstance(value, str) and value.strip().lower() in (*PLACEHOLDERS, "") and not name):
        return []
    by = {model.id.partition("/")[0].lower(), *(base.id.partition("/")[0].lower() for base in model.base_models)}
    claim = identify(value, name, by, facts.licenses)
    found = {one.id for one in licenses_in(claim)}
    if found == {one.id for one in stated}:
        return []
    said = f"GGUF header general.license: {value}"
    reason = _question("contradiction", f"the card and the file's own header differ ({said})", said, policy)
    return (
        [reason]
        if isinstance(claim, Unknown)
        else [reason, assess_claim(claim, "gguf", policy, facts.territories, modality)]
    )


def weigh_link(
    led: Known, stated: tuple[License, ...], policy: Policy, facts: Facts, modality: Modality
) -> list[Assessment]:
    """What a link to another publisher's license adds: both bind, and a difference is a question."""
    if {found.id for found in stated} & {found.id for found in led.candidates}:
        return []
    question = _question("contradiction", "the card's license and the one it links to differ", led.said, policy)
    return [question, assess_claim(led, "card", policy, facts.territories, modality)]


def weigh_conflicts(
    model: Model, stated: tuple[License, ...], policy: Policy, facts: Facts, modality: Modality
) -> list[Assessment]:
    """Places that disagree on the license or the parents, side by side.

    Two places that speak of one commit both bind. The embedded catalog, and the lists it was made from, speak of an
    earlier day: licenses do change, so they are told and do not count. Parents that differ are all followed, which is
    what counts for them.
    """
    parts = []
    one_commit = model.origin != "catalog"
    for one in model.conflicts:
        if one.field not in ("license", "base_models"):
            continue
        said = f"{one.kept_source}: {one.kept}; {one.other_source}: {one.other}"
        mine = Assessment(Verdict.ALLOW)
        if one.field == "license" and one_commit and not one.other_source.startswith("catalog"):
            claim = identify(one.other, None, {model.id.partition("/")[0].lower()}, facts.licenses)
            if {found.id for found in licenses_in(claim)} == {found.id for found in stated}:
                continue
            mine = assess_claim(claim, "card", policy, facts.territories, modality)
            parts.append(mine)
        text = f"two places differ on {'its license' if one.field == 'license' else 'its base models'}"
        parts.append(Assessment(mine.verdict, (Reason("contradiction", text, said, mine.verdict),)))
    return parts


def _statements(model: Model, prose: Prose) -> Iterator[tuple[From, str]]:
    """The statements of the card's body, and of what its gate asks to accept."""
    card = next((text for name, text in model.texts.items() if name.lower() == "readme.md"), "")
    for sentence in prose.statements(card):
        yield "body", sentence
    for sentence in prose.statements(model.gate_text or ""):
        yield "gate", sentence


def weigh_body(
    model: Model, explained: Collection[str], stated: bool, policy: Policy, facts: Facts, modality: Modality
) -> list[Assessment]:
    """What the card's prose says of its license, held against all that is known: `explained` are the license ids found.

    `stated`: whether the card's metadata names a license. Prose is weak evidence: where it contradicts, it is a
    question; where nothing else is stated, what it forbids is believed and what it allows is not.
    """
    parts: list[Assessment] = []
    known = [facts.licenses.by_id[id] for id in explained if id in facts.licenses.by_id]
    for origin, sentence in _statements(model, facts.prose):
        if facts.prose.is_about_something_else(sentence):
            continue
        said = f"{'README.md' if origin == 'body' else 'the gate'}: {sentence[:120]}"
        if facts.prose.forbids_commerce(sentence) and not any(one.permits.commercial_use == "no" for one in known):
            demanded = Verdict(policy.rules.contradiction) if stated else policy.rules.non_commercial
            code = "contradiction" if stated else "non_commercial"
            finding = Finding("non-commercial", None, origin, said)
            text = "the card's text forbids commercial use" + (", its metadata does not" if stated else "")
            parts.append(Assessment(demanded, (Reason(code, text, said, demanded),), (), (finding,)))
        for one in facts.licenses.mentioned(sentence):
            if one.id in explained:
                continue
            mine = assess_claim(Known((one,), said), origin, policy, facts.territories, modality)
            if mine.verdict > Verdict.ALLOW or not stated:
                other = "its metadata of another" if stated else "nothing else does"
                doubt = f"the card's text speaks of {one.title}, {other}"
                parts += [
                    _question("contradiction", doubt, said, policy),
                    Assessment(mine.verdict, mine.reasons, (), mine.findings),
                ]
    return parts
