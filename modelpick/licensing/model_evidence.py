"""Assesses one model of a chain by itself: what it claims, and what contradicts the claim. Pure.

`assess_model` asks each source of evidence in turn, one function a source: the card, the files, a link, places that
differ, curated facts, ancestors that a name or a config pattern implies, the derived model's name, disputes, training
data, the gate. Each gives assessments of its own, and the strictest counts.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from modelpick.catalog.model import Model
from modelpick.catalog.parents import data_in_files
from modelpick.licensing.assessed_model import AssessedModel, assess_known, modality_of, organisation_of
from modelpick.licensing.conditions import Assessment, combine
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.file_evidence import (
    assess_conflicts,
    assess_files,
    assess_link,
    named_none_before,
    read_files,
    settled,
)
from modelpick.licensing.identify import Claim, Known, identify, licenses_in, names_a_license, unknown
from modelpick.licensing.implied import (
    demand_of_family,
    families_of,
    is_published_by,
    settled_by_family,
    undeclared,
    unnamed_parent,
)
from modelpick.licensing.license import License
from modelpick.licensing.license_text import linked
from modelpick.licensing.lineage import Ancestor, Find, repository_of
from modelpick.licensing.outcome import EvidenceSource, LineageStep, Obligation, Reason, Verdict
from modelpick.licensing.overrides import Curation, InferredAncestor
from modelpick.licensing.policy import Policy
from modelpick.licensing.stated_fields import assess_fields, says_something
from modelpick.licensing.training_data import assess_training_data
from modelpick.licensing.unread import assess_unread, unread_link

_GATE = Obligation("gate", "accept its terms on the Hub with your own account, and record who accepted them and when")


@dataclass(frozen=True, slots=True)
class ModelAssessment:
    """`claimed`: what the card alone comes to. `total`: with everything that contradicts it.

    `implied`: undeclared ancestors that a name or a config pattern implies.
    """

    claimed: Assessment
    total: Assessment
    implied: tuple[LineageStep, ...] = ()


def assess_model(
    model: Model,
    ancestors: Sequence[Ancestor],
    policy: Policy,
    facts: LicenseFacts,
    find: Find,
    *,
    ancestor: bool = False,
) -> ModelAssessment:
    """One model: its claim, what is known of it, what its name and config imply, what it was trained on.

    `ancestors` is the chain above it. `ancestor`: whether it stands in another model's chain (then its findings come
    "from lineage"). `find` looks the cards of its data sets up.
    """
    id = repository_of(model)
    curations = facts.curations.about(id, model.revision)
    subject = AssessedModel(model, id, ancestors, curations, modality_of(model), policy, facts)
    source: EvidenceSource = "lineage" if ancestor else "catalog" if model.origin == "catalog" else "card"
    families = families_of(subject)
    card = settled_by_family(_card_claim(subject), subject, families)
    claimed = subject.assess(card, source)
    implied = families
    if claimed.findings:
        implied = tuple(ancestor for ancestor in implied if not is_published_by(organisation_of(id), ancestor.family))
    unnamed = unnamed_parent(subject, families)
    if not (ancestors or curations or families or unnamed or _has_other_evidence(model)):
        return _assess_card_alone(subject, card, source)
    parts = _stated(subject, card, source, implied)
    parts += _curated_before(subject, card, families)
    parts += unnamed
    found, steps = undeclared(subject, parts, implied)
    parts += found
    parts += _misnamed(subject, parts)
    parts += _disputes(curations, policy)
    parts += assess_training_data(model, curations, policy, facts, find)
    if model.gated:
        parts.append(Assessment(Verdict.ALLOW, (), (_GATE,)))
    return ModelAssessment(claimed, combine(parts), tuple(steps))


def _card_claim(subject: AssessedModel) -> Claim:
    """What the card's `license` and `license_name` claim, remembered where they are text."""
    model, facts, organisations = subject.model, subject.facts, subject.organisations
    if not isinstance(model.license, str | None) or not isinstance(model.license_name, str | None):
        return identify(model.license, model.license_name, organisations, facts.licenses)
    key = ("identify", model.license, model.license_name, organisations)
    remembered = facts.memo.get(key)
    if remembered is None:
        remembered = facts.memo[key] = identify(model.license, model.license_name, organisations, facts.licenses)
    claim: Claim = remembered
    return claim


def _has_other_evidence(model: Model) -> bool:
    """Whether anything but the card's own fields says something about the license."""
    if says_something(model) or model.datasets or data_in_files(model):
        return True
    return bool(model.texts or model.gguf or model.gate_text or model.license_link or model.conflicts or model.unread)


def _assess_card_alone(subject: AssessedModel, card: Claim, source: EvidenceSource) -> ModelAssessment:
    """A model that only its card describes, remembered: a thousand models share some seventy claims.

    The key is all that such an assessment depends on. The model's id is not part of it: nothing that compares ids
    (curations, another publisher's family, ancestors) has anything to say about this model.
    """
    model, memo = subject.model, subject.facts.memo
    key = ("card", id(subject.policy), card, source, subject.modality, bool(model.gated))
    remembered = memo.get(key)
    if remembered is None:
        claimed = subject.assess(card, source)
        parts = [claimed]
        if model.gated:
            parts.append(Assessment(Verdict.ALLOW, (), (_GATE,)))
        remembered = memo[key] = (subject.policy, ModelAssessment(claimed, combine(parts)))
    assessment: ModelAssessment = remembered[1]
    return assessment


def assess_missing(id: str, policy: Policy, facts: LicenseFacts, source: str = "base_model") -> ModelAssessment:
    """An ancestor that cannot be found: what curations and its name tell of it, else a question."""
    curations = facts.curations.about(id)
    implied = facts.families.of(id, None)
    claim = _curated_license(id, curations, implied, facts)
    if claim is not None:
        total = assess_known(claim, "known_models", policy, facts, "unknown")
        return ModelAssessment(total, combine([total, *_disputes(curations, policy)]))
    demanded = Verdict(policy.rules.unknown_ancestor)
    reason = Reason("missing_ancestor", f"the base model {id} cannot be found", f"{source}: {id}", demanded)
    missing = Assessment(demanded, (reason,))
    demands = (
        demand_of_family(ancestor, organisation="", found=set(), facts=facts, policy=policy) for ancestor in implied
    )
    return ModelAssessment(missing, combine([missing, *(part for part in demands if part is not None)]))


def _stated(
    subject: AssessedModel, card: Claim, source: EvidenceSource, implied: Sequence[InferredAncestor]
) -> list[Assessment]:
    """What the card, the files and the links state, and curated facts about this repository."""
    model, policy, facts, modality = subject.model, subject.policy, subject.facts, subject.modality
    claim, files = card, read_files(model, facts) if model.texts else ()
    if files or model.license_link:
        claim, elsewhere = settled(card, files, model, facts)
        source = elsewhere or source
    parts = [subject.assess(claim, source)]
    if says_something(model):
        demanded = Verdict(policy.rules.contradiction)
        parts += assess_fields(model, card, subject.organisations, facts, subject.assess, demanded)
    if model.texts or model.gguf or model.gate_text:
        parts += assess_files(card, files, model, policy, facts, modality)
    parts += _links(subject, licenses_in(claim))
    if model.unread or model.texts:
        parts.append(assess_unread(model, subject.id, licenses_in(claim), policy, facts))
    if model.conflicts:
        parts += assess_conflicts(model, licenses_in(card), policy, facts, modality)
    # A name that the card states is a license of its own: the family's does not stand in for it.
    by_family = () if names_a_license(model.license, model.license_name) else implied
    curated = _curated_license(subject.id, subject.curations, by_family, facts) if unknown(claim) else None
    if curated is not None:
        parts[0] = subject.assess(curated, "known_models")
        return parts
    licenses = [_license_of(entry, facts) for entry in subject.curations if entry.license]
    parts += [subject.assess(license, "known_models") for license in licenses]
    return parts


def _curated_before(subject: AssessedModel, claim: Claim, families: Sequence[InferredAncestor]) -> list[Assessment]:
    """What curated facts say of a repository whose card named no license until lately, or names a milder one now.

    Both are judged until a person edits the curated fact: a new tag alone opens nothing.
    """
    stated = {license.id for license in licenses_in(claim)}
    if not stated:
        return []
    lately = named_none_before(subject.model)
    curated = _curated_license(subject.id, subject.curations, families, subject.facts)
    if isinstance(curated, Known) and not stated & {license.id for license in curated.candidates}:
        was = subject.assess(curated, "known_models")
        if lately or was.verdict is Verdict.DENY:
            demanded = Verdict(subject.policy.rules.contradiction)
            titles = " or ".join(license.title for license in curated.candidates)
            text = f"the card names another license than {titles}, under which {subject.id} is known: both apply"
            return [Assessment(demanded, (Reason("contradiction", text, curated.evidence, demanded),)), was]
    if not lately:
        return []
    demands = (
        demand_of_family(one, organisation="", found=stated, facts=subject.facts, policy=subject.policy)
        for one in families
        if one.family.license is None
    )
    return [demand for demand in demands if demand is not None]


def _curated_license(
    id: str, curations: Iterable[Curation], implied: Iterable[InferredAncestor], facts: LicenseFacts
) -> Claim | None:
    """The license of a repository whose card does not tell it: from curations, or a family's own publisher."""
    for entry in curations:
        if entry.license:
            return _license_of(entry, facts)
    owner = organisation_of(id)
    for ancestor in implied:
        family = ancestor.family
        if family.license and is_published_by(owner, family):
            evidence = f"{id} is {family.name}: {family.because} ({family.source})"
            return Known((facts.licenses.by_id[family.license],), evidence)
    return None


def _license_of(entry: Curation, facts: LicenseFacts) -> Claim:
    evidence = f"known_models: {entry.because} ({entry.source}, {entry.date})"
    return Known((facts.licenses.by_id[str(entry.license)],), evidence)


def _links(subject: AssessedModel, stated: tuple[License, ...]) -> list[Assessment]:
    """What `license_link` adds: a license that is known by it, or a question about a target that was not read."""
    model, policy, facts = subject.model, subject.policy, subject.facts
    if not model.license_link:
        return []
    found = _link_elsewhere(subject.id, model.license_link, facts)
    if found is None and (licenses := linked(model.license_link, facts.licenses)):
        found = Known(licenses, f"license_link: {model.license_link}")
    if found is not None:
        return assess_link(found, stated, policy, facts, subject.modality)
    if model.origin == "catalog":
        return []  # nothing of the repository was read, and its basis says so
    ancestors = [ancestor.id for ancestor in subject.ancestors]
    asked = unread_link(model, subject.id, stated, ancestors, policy, facts)
    return [] if asked is None else [asked]


_REPOSITORY = re.compile(r"(?:^|://)[^/\s]*/(?P<id>[\w.-]+/[\w.-]+)(?=/|$)", re.ASCII)


def _link_elsewhere(id: str, link: str, facts: LicenseFacts) -> Known | None:
    """The license of the repository that `license_link` leads to, where it is another publisher's and is known."""
    match = _REPOSITORY.search(link)
    if match is None or organisation_of(match["id"]) == organisation_of(id):
        return None
    other = match["id"]
    claim = _curated_license(other, facts.curations.about(other), facts.families.of(other, None), facts)
    return replace(claim, evidence=f"license_link: {link} ({claim.evidence})") if isinstance(claim, Known) else None


def _misnamed(subject: AssessedModel, parts: Sequence[Assessment]) -> list[Assessment]:
    """A derived model whose name lacks the prefix its license requires: its publisher breaks the license."""
    if not subject.ancestors:
        return []
    name, licenses = subject.model.id.rsplit("/", 1)[-1].lower(), subject.facts.licenses.by_id
    ids = dict.fromkeys(finding.id for part in parts for finding in part.findings)
    prefixes = {licenses[id].owes.name_prefix for id in ids if id in licenses}
    missing = sorted(prefix for prefix in prefixes if prefix and not has_prefix(name, prefix))
    if not missing:
        return []
    demanded = subject.policy.rules.conditional
    text = (
        f'the license requires the names of derived models to begin with "{missing[0]}", and this one does not: '
        "its publisher breaks the license"
    )
    return [Assessment(demanded, (Reason("name_prefix_missing", text, subject.model.id, demanded),))]


def has_prefix(name: str, prefix: str) -> bool:
    """Whether a model's name (in lower case, without its owner) begins with the prefix that a license asks for."""
    plain = name.removeprefix("meta-").replace("-", "").replace("_", "")
    return plain.startswith(prefix.lower().replace(" ", ""))


def _disputes(curations: Iterable[Curation], policy: Policy) -> Iterator[Assessment]:
    """What a person has to review, whatever the tag says."""
    demanded = Verdict(policy.rules.contradiction)
    for entry in curations:
        if entry.disputed:
            evidence = f"known_models: {entry.source}, {entry.date}"
            yield Assessment(demanded, (Reason("disputed", entry.because, evidence, demanded),))
