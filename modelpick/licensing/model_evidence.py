"""Assesses one model of a chain by itself: what it claims, and what contradicts the claim. Pure.

`assess_model` asks each source of evidence in turn, one function a source: the card, the files, a link, places that
differ, curated facts, ancestors that a name or a config pattern implies, the derived model's name, disputes, training
data, the gate. Each gives assessments of its own, and the strictest counts.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from modelpick.catalog.model import Model
from modelpick.licensing.conditions import Assessment, Modality, assess_claim, combine
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.file_evidence import assess_conflicts, assess_files, assess_link, read_files, settled
from modelpick.licensing.identify import Claim, Known, identify, licenses_in, unknown
from modelpick.licensing.license import License
from modelpick.licensing.license_text import linked
from modelpick.licensing.lineage import Ancestor
from modelpick.licensing.outcome import EvidenceSource, LineageStep, Obligation, Reason, Verdict, join
from modelpick.licensing.overrides import Curation, InferredAncestor, WeightFamily
from modelpick.licensing.policy import Policy
from modelpick.licensing.unread import assess_unread, unread_link

_TEXT_PIPELINES = frozenset(
    {"text-generation", "text2text-generation", "fill-mask", "text-classification", "feature-extraction",
     "sentence-similarity", "token-classification", "translation", "summarization", "question-answering"}
)  # fmt: skip
_GATE = Obligation("gate", "accept its terms on the Hub with your own account, and record who accepted them and when")


@dataclass(frozen=True, slots=True)
class ModelAssessment:
    """`claimed`: what the card alone comes to. `total`: with everything that contradicts it.

    `implied`: undeclared ancestors that a name or a config pattern implies.
    """

    claimed: Assessment
    total: Assessment
    implied: tuple[LineageStep, ...] = ()


@dataclass(frozen=True, slots=True)
class _Subject:
    """One model under assessment, with what every source of evidence needs."""

    model: Model
    id: str  # the repository's id, see `repository_of`
    ancestors: Sequence[Ancestor]
    curations: tuple[Curation, ...]
    modality: Modality
    policy: Policy
    facts: LicenseFacts

    def assess(self, claim: Claim, source: EvidenceSource) -> Assessment:
        return assess_known(claim, source, self.policy, self.facts, self.modality)


def assess_model(
    model: Model, ancestors: Sequence[Ancestor], policy: Policy, facts: LicenseFacts, *, ancestor: bool = False
) -> ModelAssessment:
    """One model: its claim, what is known of it, what its name and config imply, what it was trained on.

    `ancestors` is the chain above it. `ancestor`: whether it stands in another model's chain (then its findings come
    "from lineage").
    """
    id = repository_of(model)
    curations = facts.curations.about(id, model.revision)
    subject = _Subject(model, id, ancestors, curations, modality_of(model), policy, facts)
    source: EvidenceSource = "lineage" if ancestor else "catalog" if model.origin == "catalog" else "card"
    card = _card_claim(subject)
    claimed = subject.assess(card, source)
    implied = () if any(entry.independent for entry in curations) else facts.families.of(id, model.config)
    if claimed.findings:
        implied = tuple(ancestor for ancestor in implied if not _is_published_by(_organisation(id), ancestor.family))
    if not (ancestors or curations or implied or _has_other_evidence(model)):
        return _assess_card_alone(subject, card, source)
    parts = _stated(subject, card, source, implied)
    found, steps = _inferred(subject, parts, implied)
    parts += found
    parts += _misnamed(subject, parts)
    parts += _disputes(curations, policy)
    parts += _training_data(subject)
    if model.gated:
        parts.append(Assessment(Verdict.ALLOW, (), (_GATE,)))
    return ModelAssessment(claimed, combine(parts), tuple(steps))


def _card_claim(subject: _Subject) -> Claim:
    """What the card's `license` and `license_name` claim, remembered where they are text."""
    model, facts = subject.model, subject.facts
    organisations = frozenset(_organisation(name) for name in (subject.id, *(other.id for other in subject.ancestors)))
    if not isinstance(model.license, str | None) or not isinstance(model.license_name, str | None):
        return identify(model.license, model.license_name, organisations, facts.licenses)
    key = ("identify", model.license, model.license_name, organisations)
    remembered = facts.memo.get(key)
    if remembered is None:
        remembered = facts.memo[key] = identify(model.license, model.license_name, organisations, facts.licenses)
    claim: Claim = remembered
    return claim


def _is_published_by(organisation: str, family: WeightFamily) -> bool:
    """Whether a family is the organisation's own: its word on the license is then believed."""
    return organisation in {name.lower() for name in family.owners}


def _has_other_evidence(model: Model) -> bool:
    """Whether anything but the card's own fields says something about the license."""
    return bool(model.texts or model.gguf or model.gate_text or model.license_link or model.conflicts or model.unread)


def _assess_card_alone(subject: _Subject, card: Claim, source: EvidenceSource) -> ModelAssessment:
    """A model that only its card describes, remembered: a thousand models share some seventy claims.

    The key is all that such an assessment depends on. The model's id is not part of it: nothing that compares ids
    (curations, another publisher's family, ancestors) has anything to say about this model.
    """
    model, memo = subject.model, subject.facts.memo
    key = ("card", id(subject.policy), card, source, subject.modality, bool(model.gated), model.datasets)
    remembered = memo.get(key)
    if remembered is None:
        claimed = subject.assess(card, source)
        parts = [claimed, *_training_data(subject)]
        if model.gated:
            parts.append(Assessment(Verdict.ALLOW, (), (_GATE,)))
        remembered = memo[key] = (subject.policy, ModelAssessment(claimed, combine(parts)))
    assessment: ModelAssessment = remembered[1]
    return assessment


def assess_missing(id: str, policy: Policy, facts: LicenseFacts) -> ModelAssessment:
    """An ancestor that cannot be found: what curations and its name tell of it, else a question."""
    curations = facts.curations.about(id)
    implied = facts.families.of(id, None)
    claim = _curated_license(id, curations, implied, facts)
    if claim is not None:
        total = assess_known(claim, "known_models", policy, facts, "unknown")
        return ModelAssessment(total, combine([total, *_disputes(curations, policy)]))
    demanded = Verdict(policy.rules.unknown_ancestor)
    reason = Reason("missing_ancestor", f"the base model {id} cannot be found", f"base_model: {id}", demanded)
    missing = Assessment(demanded, (reason,))
    demands = (
        _demand_of_family(ancestor, organisation="", found=set(), facts=facts, policy=policy) for ancestor in implied
    )
    return ModelAssessment(missing, combine([missing, *(part for part in demands if part is not None)]))


def modality_of(model: Model) -> Modality:
    """Whether a model takes more than text, as far as its facts tell."""
    config = model.config or {}
    if "vision_config" in config or "audio_config" in config:
        return "multimodal"
    if "vision" in model.id.lower():
        return "multimodal"
    if model.pipeline_tag is None:
        return "text" if config.get("num_hidden_layers") else "unknown"
    return "text" if model.pipeline_tag in _TEXT_PIPELINES else "multimodal"


def assess_known(
    claim: Claim, source: EvidenceSource, policy: Policy, facts: LicenseFacts, modality: Modality
) -> Assessment:
    """`assess_claim`, remembered: a thousand models share some seventy claims.

    The key is all that the answer depends on. A policy is compared by identity, and kept so that its id stays its own;
    territories belong to the same `facts` as the memory.
    """
    key = ("claim", id(policy), claim, source, modality)
    remembered = facts.memo.get(key)
    if remembered is None:
        remembered = facts.memo[key] = (policy, assess_claim(claim, source, policy, facts.territories, modality))
    assessment: Assessment = remembered[1]
    return assessment


def _stated(
    subject: _Subject, card: Claim, source: EvidenceSource, implied: Sequence[InferredAncestor]
) -> list[Assessment]:
    """What the card, the files and the links state, and curated facts about this repository."""
    model, policy, facts, modality = subject.model, subject.policy, subject.facts, subject.modality
    claim, files = card, read_files(model, facts) if model.texts else ()
    if files or model.license_link:
        claim, elsewhere = settled(card, files, model, facts)
        source = elsewhere or source
    parts = [subject.assess(claim, source)]
    if model.texts or model.gguf or model.gate_text:
        parts += assess_files(card, files, model, policy, facts, modality)
    parts += _links(subject, licenses_in(claim))
    if model.unread or model.texts:
        parts.append(assess_unread(model, subject.id, licenses_in(claim), policy, facts))
    if model.conflicts:
        parts += assess_conflicts(model, licenses_in(card), policy, facts, modality)
    curated = _curated_license(subject.id, subject.curations, implied, facts) if unknown(claim) else None
    if curated is not None:
        parts[0] = subject.assess(curated, "known_models")
        return parts
    licenses = [_license_of(entry, facts) for entry in subject.curations if entry.license]
    return [*parts, *(subject.assess(license, "known_models") for license in licenses)]


def _curated_license(
    id: str, curations: Iterable[Curation], implied: Iterable[InferredAncestor], facts: LicenseFacts
) -> Claim | None:
    """The license of a repository whose card does not tell it: from curations, or a family's own publisher."""
    for entry in curations:
        if entry.license:
            return _license_of(entry, facts)
    owner = _organisation(id)
    for ancestor in implied:
        family = ancestor.family
        if family.license and _is_published_by(owner, family):
            evidence = f"{id} is {family.name}: {family.because} ({family.source})"
            return Known((facts.licenses.by_id[family.license],), evidence)
    return None


def _license_of(entry: Curation, facts: LicenseFacts) -> Claim:
    evidence = f"known_models: {entry.because} ({entry.source}, {entry.date})"
    return Known((facts.licenses.by_id[str(entry.license)],), evidence)


def _links(subject: _Subject, stated: tuple[License, ...]) -> list[Assessment]:
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
    if match is None or _organisation(match["id"]) == _organisation(id):
        return None
    other = match["id"]
    claim = _curated_license(other, facts.curations.about(other), facts.families.of(other, None), facts)
    return replace(claim, evidence=f"license_link: {link} ({claim.evidence})") if isinstance(claim, Known) else None


def _inferred(
    subject: _Subject, parts: Sequence[Assessment], implied: Sequence[InferredAncestor]
) -> tuple[list[Assessment], list[LineageStep]]:
    """What ancestors that nobody declared demand, each with its step in the lineage."""
    demands: list[Assessment] = []
    steps: list[LineageStep] = []
    for ancestor in implied:
        family = ancestor.family
        if any(_shows(declared, family, subject.facts) for declared in subject.ancestors):
            continue
        demand = _demand_of_family(
            ancestor,
            organisation=_organisation(subject.id),
            found={finding.id for part in (*parts, *demands) for finding in part.findings},
            has_ancestor=any(declared.model is not None for declared in subject.ancestors),
            facts=subject.facts,
            policy=subject.policy,
            modality=subject.modality,
        )
        if demand is not None:
            demands.append(demand)
            steps.append(LineageStep(family.name, "unknown", family.license, demand.verdict, subject.model.id))
    return demands, steps


def _demand_of_family(
    ancestor: InferredAncestor,
    *,
    organisation: str,
    found: set[str],
    facts: LicenseFacts,
    policy: Policy,
    has_ancestor: bool = False,
    modality: Modality = "unknown",
) -> Assessment | None:
    """Verdict required by an undeclared base model; None if its publisher owns the family or the licenses `found` cover
    it.

    `organisation`: the model's, whose own word counts if the family is its own.
    """
    family = ancestor.family
    if found and _is_published_by(organisation, family):
        return None
    if family.license is not None:
        if family.license in found:
            return None
        claim = Known((facts.licenses.by_id[family.license],), f"{ancestor.inferred_from}: {family.because}")
        part = assess_known(claim, "lineage", policy, facts, modality)
        text = f"{ancestor.inferred_from} implies {family.name}, which the card does not declare"
        return replace(part, reasons=(Reason("undeclared_ancestor", text, family.source, part.verdict), *part.reasons))
    if found & set(family.licenses) or has_ancestor:
        return None
    demanded = Verdict(policy.rules.unknown_ancestor)
    text = f"{ancestor.inferred_from} implies {family.name}; which license applies is not known: {family.because}"
    return Assessment(demanded, (Reason("undeclared_ancestor", text, family.source, demanded),))


def _shows(ancestor: Ancestor, family: WeightFamily, facts: LicenseFacts) -> bool:
    """Whether an ancestor in the chain is of this family or a sibling: it is then assessed there, nothing is hidden."""
    if ancestor.problem not in (None, "missing_ancestor"):
        return False
    config = ancestor.model.config if ancestor.model else None
    implied = facts.families.of(ancestor.id, config)
    return any(other.family.root == family.root and other.family.license is not None for other in implied)


def _misnamed(subject: _Subject, parts: Sequence[Assessment]) -> list[Assessment]:
    """A derived model whose name lacks the prefix its license requires: its publisher breaks the license."""
    if not subject.ancestors:
        return []
    name, licenses = subject.model.id.rsplit("/", 1)[-1].lower(), subject.facts.licenses.by_id
    ids = dict.fromkeys(finding.id for part in parts for finding in part.findings)
    prefixes = {licenses[id].owes.name_prefix for id in ids if id in licenses}
    missing = sorted(prefix for prefix in prefixes if prefix and not _begins(name, prefix))
    if not missing:
        return []
    demanded = subject.policy.rules.conditional
    text = (
        f'the license requires the names of derived models to begin with "{missing[0]}", and this one does not: '
        "its publisher breaks the license"
    )
    return [Assessment(demanded, (Reason("name_prefix_missing", text, subject.model.id, demanded),))]


def _begins(name: str, prefix: str) -> bool:
    plain = name.removeprefix("meta-").replace("-", "").replace("_", "")
    return plain.startswith(prefix.lower().replace(" ", ""))


def _disputes(curations: Iterable[Curation], policy: Policy) -> Iterator[Assessment]:
    """What a person has to review, whatever the tag says."""
    demanded = Verdict(policy.rules.contradiction)
    for entry in curations:
        if entry.disputed:
            evidence = f"known_models: {entry.source}, {entry.date}"
            yield Assessment(demanded, (Reason("disputed", entry.because, evidence, demanded),))


def _training_data(subject: _Subject) -> Iterator[Assessment]:
    """The data sets that the card declares, and those that curations add."""
    names = (*subject.model.datasets, *(name for entry in subject.curations for name in entry.datasets))
    if names and (reasons := restricted_data_reasons(names, subject.policy, subject.facts)):
        yield Assessment(join(reason.verdict for reason in reasons), reasons)


def restricted_data_reasons(names: Iterable[str], policy: Policy, facts: LicenseFacts) -> tuple[Reason, ...]:
    """One reason for each restriction of each data set known to have one; the policy says what it demands.

    `names` are Hub ids, or links to them, as a card or a fine-tuning file's declared sources give them. A data set that
    is not listed raises no question: absence from the list is not a statement about its license.
    """
    reasons = []
    for name in dict.fromkeys(_data_set_id(name) for name in names):
        entry = next((entry for entry in facts.datasets if entry.matches(name)), None)
        for kind in entry.restrictions if entry else ():
            text = f"trained on {name}: {entry.terms}" if entry else ""
            demanded = getattr(policy.rules.training_data, kind)
            reasons.append(Reason(f"training_data_{kind}", text, entry.source if entry else "", demanded))
    return tuple(reasons)


def _data_set_id(name: str) -> str:
    return name.strip().partition("/datasets/")[2] or name.strip()


_CACHED = re.compile(r"models--([\w.-]+?)--([\w.-]+)")


def repository_of(model: Model) -> str:
    """The model's id; of a folder what its path tells: the Hub's cache keeps the id, any other path only a name.

    A folder called meta-llama/x does not prove that Meta published it, so its organisation is empty.
    """
    if model.origin != "folder":
        return model.id
    path = model.id.replace("\\", "/").rstrip("/")
    cached = _CACHED.search(path)
    return f"{cached[1]}/{cached[2]}" if cached else "/" + path.rpartition("/")[2]


def _organisation(id: str) -> str:
    return id.partition("/")[0].lower() if "/" in id else ""
