"""Ancestors that nobody declared: the families that a name or a shape implies, and parents that have to be there. Pure.

They never make an answer weaker: they only add what the family's license requires, or a question.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from modelpick.catalog.derived import derivation, weight_names
from modelpick.licensing.assessed_model import AssessedModel, assess_known, organisation_of
from modelpick.licensing.conditions import Assessment, Modality
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.identify import Claim, Known
from modelpick.licensing.lineage import Ancestor
from modelpick.licensing.outcome import LineageStep, Reason, Verdict
from modelpick.licensing.overrides import InferredAncestor, WeightFamily
from modelpick.licensing.policy import Policy


def families_of(subject: AssessedModel) -> tuple[InferredAncestor, ...]:
    """The families that the repository's name and config imply, and the names of the converted weights in it.

    A shape alone gives way to a card that says the model was trained from nothing.
    """
    model, facts = subject.model, subject.facts
    if any(entry.independent for entry in subject.curations):
        return ()
    found = {ancestor.family.root: ancestor for ancestor in facts.families.of(subject.id, model.config)}
    for name in weight_names(model):
        for ancestor in (one for one in facts.families.of(name, None) if one.family.license):
            found.setdefault(ancestor.family.root, ancestor)
    if any(ancestor.by_shape for ancestor in found.values()):
        text = next((text for name, text in model.texts.items() if name.lower() == "readme.md"), "")
        if facts.relation_words.is_from_scratch(text):
            return tuple(ancestor for ancestor in found.values() if not ancestor.by_shape)
    return tuple(found.values())


def settled_by_family(claim: Claim, subject: AssessedModel, families: Iterable[InferredAncestor]) -> Claim:
    """A name that several licenses bear ("qwen"), settled by the family of the model or of its ancestors.

    Only a family's own publisher says by the model's name which of them it is.
    """
    if not isinstance(claim, Known) or len(claim.candidates) < 2:
        return claim
    owned = [(subject.id, ancestor.family) for ancestor in families]
    for parent in subject.ancestors:
        config = parent.model.config if parent.model else None
        owned += [(parent.id, ancestor.family) for ancestor in subject.facts.families.of(parent.id, config)]
    licenses = {
        family.license: family
        for id, family in owned
        if family.license and not family.licenses and is_published_by(organisation_of(id), family)
    }
    left = tuple(license for license in claim.candidates if license.id in licenses)
    if not left:
        return claim
    because = "; ".join(f"{licenses[license.id].name}: {licenses[license.id].because}" for license in left)
    return replace(claim, candidates=left, evidence=f"{claim.evidence} ({because})")


def unnamed_parent(subject: AssessedModel, families: Sequence[InferredAncestor]) -> list[Assessment]:
    """A quantization, an adapter or a merge always has a parent: none that anything names is a question."""
    model = subject.model
    made = derivation(model, subject.id)
    if made is None or any(parent.is_parent_of(model.id) for parent in subject.ancestors):
        return []
    if any(entry.independent or entry.license for entry in subject.curations):
        return []
    if made.kind != "merge" and subject.facts.name_matches.of(subject.id) is not None:
        return []  # the name is that of a known model, whose license verdict.py holds against it
    owner = organisation_of(subject.id)
    known = [ancestor.family for ancestor in families]
    if made.kind != "merge" and any(family.license or is_published_by(owner, family) for family in known):
        return []
    demanded = Verdict(subject.policy.rules.unknown_ancestor)
    text = f"{made.because}, so it was made from another model, and nothing names which"
    return [Assessment(demanded, (Reason("unknown_ancestor", text, model.id, demanded),))]


def is_published_by(organisation: str, family: WeightFamily) -> bool:
    """Whether a family is the organisation's own: its word on the license is then believed."""
    return organisation in {name.lower() for name in family.owners}


def undeclared(
    subject: AssessedModel, parts: Sequence[Assessment], implied: Sequence[InferredAncestor]
) -> tuple[list[Assessment], list[LineageStep]]:
    """What ancestors that nobody declared demand, each with its step in the lineage."""
    demands: list[Assessment] = []
    steps: list[LineageStep] = []
    for ancestor in implied:
        family = ancestor.family
        if any(_shows(declared, family, subject.facts) for declared in subject.ancestors):
            continue
        demand = demand_of_family(
            ancestor,
            organisation=organisation_of(subject.id),
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


def demand_of_family(
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
    if found and is_published_by(organisation, family):
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
