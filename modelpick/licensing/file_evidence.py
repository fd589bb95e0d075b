"""What a repository's files say in addition to its card: license files, use policies, gate, GGUF header.

A file can settle what the card left open, and it can add what the card does not mention. Where card and files disagree
both are shown, and both apply. Pure.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from modelpick.catalog.model import HUB_ON, Conflict, Model
from modelpick.catalog.terms import is_document, kind_of
from modelpick.licensing.conditions import Assessment, Modality, assess_claim
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.fingerprints import words_of
from modelpick.licensing.identify import PLACEHOLDERS, AllOf, Claim, Known, Unknown, identify, licenses_in, unknown
from modelpick.licensing.license import License
from modelpick.licensing.license_text import FEW, Reading, linked, read_text
from modelpick.licensing.outcome import EvidenceSource, LicenseFinding, Obligation, Reason, Verdict, join
from modelpick.licensing.ownership import is_the_publishers_own
from modelpick.licensing.policy import Policy
from modelpick.licensing.statements.reading import read_statements

_CERTAIN = ("whole", "title", "piece")
_CERTAIN_OF_DOCUMENTS = ("whole", "modified", "code_only")
# Words that contracts have and descriptions of models do not.
_CONTRACT = re.compile(
    r"\b(hereby|hereunder|herein|thereof|licensees?|licensors?|sublicens\w+|royalt\w+|warrant(?:y|ies)|indemnif\w+"
    r"|governing law|jurisdiction|you agree|you may not|you shall|terminat(?:e|es|ion)|prohibited|permitted|liable"
    r"|liability)\b",
    re.IGNORECASE,
)
_SEVERAL = 4


@dataclass(frozen=True, slots=True)
class FileReading:
    """One file of terms and what it was recognised as."""

    name: str
    reading: Reading

    @property
    def ids(self) -> set[str]:
        """The ids of its licenses."""
        return _ids(self.reading.licenses)

    @property
    def binds(self) -> bool:
        """Whether its licenses count by themselves: a whole text, or what is left of one that is not permissive."""
        if not self.reading.licenses or self.reading.kind == "code_only":
            return False
        restrictive = all(license.permits.commercial_use != "yes" for license in self.reading.licenses)
        return self.reading.kind == "whole" or (
            self.reading.kind in (*_CERTAIN, "link", "named", "modified") and restrictive
        )

    def claim(self) -> Known:
        """The claim the file makes."""
        return Known(self.reading.licenses, f"{self.name}: {self.reading.note}")


def read_files(model: Model, facts: LicenseFacts) -> tuple[FileReading, ...]:
    """The model's license files, each recognised. Notices and third-party lists are not the model's terms.

    A document of another name counts as one where its text is a license, or reads like terms.
    """
    found = []
    for name, text in model.texts.items():
        if kind_of(name) == "license" or (is_document(name) and not name.lower().startswith("readme")):
            found += [
                FileReading(name, reading)
                for reading in _read(text, name, facts)
                if kind_of(name) or reading.kind in _CERTAIN_OF_DOCUMENTS or _reads_like_terms(text)
            ]
    return tuple(found)


def may_state_terms(name: str) -> bool:
    """Whether the prose of a file is read: that of the card, and of documents that may hold terms."""
    return name.lower() == "readme.md" or is_document(name)


def _reads_like_terms(text: str) -> bool:
    """Whether a document speaks as contracts do: several of their words in it, whatever its name."""
    return len({found.lower() for found in _CONTRACT.findall(text)}) >= _SEVERAL


def _read(text: str, name: str, facts: LicenseFacts) -> tuple[Reading, ...]:
    """`read_text`, remembered: most license files are word for word the same few."""
    key = ("text", name, hash(text), len(text))
    remembered = facts.memo.get(key)
    if remembered is None or remembered[0] != text:
        readings = read_text(text, facts.fingerprints, facts.licenses, name, whole_file=kind_of(name) is not None)
        remembered = facts.memo[key] = (text, readings)
    found: tuple[Reading, ...] = remembered[1]
    return found


def settled(
    claim: Claim, files: Iterable[FileReading], model: Model, facts: LicenseFacts
) -> tuple[Claim, EvidenceSource | None]:
    """The card's claim, settled by the files where it was open: no license, several candidates, a stranger's name.

    Second: where the settled claim comes from, None when it is still the card's own.
    """
    binding = [file for file in files if file.binds]
    if unknown(claim):
        if binding:
            parts = tuple(file.claim() for file in binding)
            return (parts[0] if len(parts) == 1 else AllOf(parts)), "license_file"
        links = linked(model.license_link or "", facts.licenses)
        if links and model.license is not None and all(license.permits.commercial_use != "yes" for license in links):
            return Known(links, f"license_link: {model.license_link}"), None
        return claim, None
    if isinstance(claim, Known) and (len(claim.candidates) > 1 or not claim.certain):
        in_files = {license.id for file in binding for license in file.reading.licenses}
        left = tuple(license for license in claim.candidates if license.id in in_files)
        if left:
            return Known(left, claim.evidence), None
    return claim, None


def assess_files(
    card: Claim, files: tuple[FileReading, ...], model: Model, policy: Policy, facts: LicenseFacts, modality: Modality
) -> list[Assessment]:
    """What the files add to the card's claim or say against it, each with the verdict it requires."""

    def assessed(claim: Claim, source: EvidenceSource) -> Assessment:
        return assess_claim(claim, source, policy, facts.territories, modality)

    parts: list[Assessment] = []
    stated = licenses_in(card)
    of_file = {file.name: {id for other in files if other.name == file.name for id in other.ids} for file in files}
    for file in files:
        if file.binds:
            assessment = assessed(file.claim(), "license_file")
            parts.append(assessment)
            if stated and not _ids(stated) & of_file[file.name]:
                demanded = join([assessment.verdict, assessed(card, "card").verdict])
                text = f"the card says {_titles(stated)}, {file.name} is {_titles(file.reading.licenses)}: both apply"
                parts.append(Assessment(demanded, (Reason("contradiction", text, file.name, demanded),)))
        if (doubt := _doubt(file, files, stated, model, policy, facts)) is not None:
            parts.append(doubt)
        parts += _around(file, policy, facts)
    parts += _use_policies(model, stated, files, policy)
    if model.gate_text:
        for reading in read_text(model.gate_text, facts.fingerprints, facts.licenses, whole_file=False):
            gate = FileReading("gate", reading)
            if reading.licenses and reading.kind in (*_CERTAIN, "modified") and gate.binds:
                parts.append(assessed(gate.claim(), "gate"))
                if reading.kind == "modified" and not is_the_publishers_own(reading.licenses, model.id, facts):
                    parts.append(_question("modified_license_text", f"the gate: {reading.note}", "the gate", policy))
    if model.gguf:
        parts += _header(model, stated, policy, facts, modality)
    return parts


_DOUBTS = {
    "modified": "modified_license_text",
    "piece": "license_file_cut_short",
    "link": "unread_terms",
    "named": "license_file_only_names_it",
}


def _doubt(
    file: FileReading,
    files: tuple[FileReading, ...],
    stated: tuple[License, ...],
    model: Model,
    policy: Policy,
    facts: LicenseFacts,
) -> Assessment | None:
    """The question that a license file raises, if any: only a whole text, or the plain name of what is stated, has
    none.
    """
    kind, agrees = file.reading.kind, bool(stated) and _ids(stated) <= file.ids
    text = f"{file.name}: {file.reading.note}"
    if kind in ("whole", "empty") or (kind in ("link", "named") and (file.binds or agrees)):
        return None  # an empty file is asked about as unread
    if kind == "code_only":
        if any(other.binds for other in files) or not stated:
            return None
        return _question("code_license_only", f"{text}; the weights have no license file", file.name, policy)
    if kind == "title" and len(words_of(model.texts.get(file.name, "")).words) <= FEW:
        return None
    # A text that cannot be compared word by word is believed of the publisher whose own license it is.
    uncompared = kind == "title" or (kind == "unknown" and not any(facts.fingerprints.has(id) for id in _ids(stated)))
    if uncompared and is_the_publishers_own(file.reading.licenses or stated, model.id, facts):
        return None
    return _question(_DOUBTS.get(kind, "unknown_license_text"), text, file.name, policy)


def _around(file: FileReading, policy: Policy, facts: LicenseFacts) -> list[Assessment]:
    """A question where the lines of holders and titles around a license text forbid commercial use after all."""
    statements = read_statements(file.reading.around, facts.words, facts.licenses)
    forbidding = [one.quote for one in statements if one.is_of_the_weights and one.says != "named_license"]
    if not forbidding:
        return []
    text = f'{file.name}: next to the license it says "{forbidding[0]}"'
    return [_question("modified_license_text", text, file.name, policy)]


def _question(code: str, text: str, evidence: str, policy: Policy) -> Assessment:
    demanded = Verdict(policy.rules.contradiction)
    return Assessment(demanded, (Reason(code, text, evidence, demanded),))


def _ids(licenses: Iterable[License]) -> set[str]:
    return {license.id for license in licenses}


def _titles(licenses: Iterable[License]) -> str:
    return " or ".join(license.title for license in licenses) or "no known license"


def _use_policies(
    model: Model, stated: tuple[License, ...], files: tuple[FileReading, ...], policy: Policy
) -> list[Assessment]:
    names = [name for name in model.texts if kind_of(name) == "use_policy"]
    known = (*stated, *(license for file in files if file.binds for license in file.reading.licenses))
    if not names or any(license.owes.use_policy or license.owes.use_restrictions for license in known):
        return []
    demanded = policy.rules.use_restrictions
    text = f"{names[0]} restricts what the model may be used for, which the stated license does not"
    owed = Obligation("use_policy", f"comply with {names[0]} in the repository")
    finding = LicenseFinding("use-policy", None, "use_policy", names[0])
    return [Assessment(demanded, (Reason("use_policy_file", text, names[0], demanded),), (owed,), (finding,))]


def _header(
    model: Model, stated: tuple[License, ...], policy: Policy, facts: LicenseFacts, modality: Modality
) -> list[Assessment]:
    header = model.gguf or {}
    value, name = header.get("general.license"), header.get("general.license.name")
    if value is None or (isinstance(value, str) and value.strip().lower() in (*PLACEHOLDERS, "") and not name):
        return []
    by = {model.id.partition("/")[0].lower(), *(base.id.partition("/")[0].lower() for base in model.base_models)}
    claim = identify(value, name, by, facts.licenses)
    if _ids(licenses_in(claim)) == _ids(stated):
        return []
    text = f"the card says {_titles(stated)}, the GGUF header says {value}: both apply"
    question = _question("contradiction", text, f"GGUF header general.license: {value}", policy)
    if isinstance(claim, Unknown):
        return [question]
    return [question, assess_claim(claim, "gguf", policy, facts.territories, modality)]


def assess_link(
    linked: Known, stated: tuple[License, ...], policy: Policy, facts: LicenseFacts, modality: Modality
) -> list[Assessment]:
    """What a link to another publisher's license adds: both apply, and a difference is a question."""
    if _ids(stated) & _ids(linked.candidates):
        return []
    text = f"the card says {_titles(stated)}, its license_link leads to {_titles(linked.candidates)}: both apply"
    question = _question("contradiction", text, linked.evidence, policy)
    return [question, assess_claim(linked, "card", policy, facts.territories, modality)]


def assess_conflicts(
    model: Model, stated: tuple[License, ...], policy: Policy, facts: LicenseFacts, modality: Modality
) -> list[Assessment]:
    """Two places that disagree on the license or the parents: the sentence names both and what each says.

    Two places that describe one commit both apply. The catalog, and the lists it was made from, describe an earlier
    day: licenses do change, so what they say is shown and does not count; that a card became milder is said by name. An
    update has read a tag and no terms, so its word and the catalog's both apply. Parents that differ are all followed:
    that counts for them.
    """
    parts = []
    for conflict in model.conflicts:
        if conflict.field == "license_link":
            was = linked(str(conflict.other or ""), facts.licenses)
            if was and not _ids(was) & _ids(stated):
                evidence = f"{conflict.other_source}: license_link: {conflict.other}"
                parts += assess_link(Known(was, evidence), stated, policy, facts, modality)
        if _names_none(conflict) and stated:
            parts.append(_named_lately(model, conflict, policy))
        if conflict.field not in ("license", "base_models") or _names_none(conflict):
            continue
        assessment = Assessment(Verdict.ALLOW)
        one_commit = model.origin != "catalog" or conflict.kept_source.startswith(HUB_ON)
        if conflict.field == "license" and one_commit and not conflict.other_source.startswith("catalog"):
            claim = identify(conflict.other, None, {model.id.partition("/")[0].lower()}, facts.licenses)
            if _ids(licenses_in(claim)) == _ids(stated):
                continue
            assessment = assess_claim(claim, "card", policy, facts.territories, modality)
            parts.append(assessment)
        elif conflict.field == "license" and conflict.other_source.startswith("catalog") and stated:
            relicensed = _relicensed(model, conflict, stated, policy, facts, modality)
            if relicensed:
                parts += relicensed
                continue
        evidence = f"{conflict.kept_source}: {conflict.kept}; {conflict.other_source}: {conflict.other}"
        reason = Reason("contradiction", _differing(conflict), evidence, assessment.verdict)
        parts.append(Assessment(assessment.verdict, (reason,)))
    return parts


def _relicensed(
    model: Model, conflict: Conflict, stated: tuple[License, ...], policy: Policy, facts: LicenseFacts,
    modality: Modality,
) -> list[Assessment]:  # fmt: skip
    """That a live card is milder than the license that the catalog knows; nothing where it is not. The files of the
    repository are judged by themselves."""
    if str(conflict.other or "").strip().lower() in PLACEHOLDERS:
        return []
    claim = identify(conflict.other, None, {model.id.partition("/")[0].lower()}, facts.licenses)
    was = assess_claim(claim, "card", policy, facts.territories, modality)
    now = assess_claim(Known(stated, "card"), "card", policy, facts.territories, modality)
    if was.verdict <= now.verdict:
        return []
    day = conflict.other_source.removeprefix("catalog").strip()
    text = f"relicensed since {day}: its license is {conflict.kept} now, and was {conflict.other}"
    evidence = f"{conflict.kept_source}: {conflict.kept}; {conflict.other_source}: {conflict.other}"
    return [_milder(model, text, evidence, policy)]


def _named_lately(model: Model, conflict: Conflict, policy: Policy) -> Assessment:
    """That an update found a license where none was known. It counts, as the publisher's word does for a new model."""
    day = conflict.kept_source.removeprefix(HUB_ON)
    text = f"relicensed since {day}: it names {conflict.kept}, where {conflict.other_source} knew no license"
    return _milder(model, text, f"{conflict.kept_source}: {conflict.kept}", policy)


def _milder(model: Model, text: str, evidence: str, policy: Policy) -> Assessment:
    """A license that became milder is said, and is a question while a gate stands before the weights: open terms need
    none, so the two contradict each other."""
    demanded = Verdict(policy.rules.contradiction) if model.gated else Verdict.ALLOW
    text = f"{text}; it still is behind a gate" if model.gated else text
    return Assessment(demanded, (Reason("relicensed", text, evidence, demanded),))


def _names_none(conflict: Conflict) -> bool:
    """Whether an update found a license where none was named before (hub.overlay): curated facts are then judged."""
    silent = conflict.other is None or str(conflict.other).strip().lower() in PLACEHOLDERS
    return conflict.field == "license" and conflict.kept_source.startswith(HUB_ON) and silent


def named_none_before(model: Model) -> bool:
    """Whether the catalog's row named no license before an update read one on the Hub."""
    return any(_names_none(conflict) for conflict in model.conflicts)


def _differing(conflict: Conflict) -> str:
    subject = "its license is" if conflict.field == "license" else "its base model is"
    kept, other = (
        ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "not given")
        for value in (conflict.kept, conflict.other)
    )
    return f"{subject} {kept} according to {conflict.kept_source}, and {other} according to {conflict.other_source}"
