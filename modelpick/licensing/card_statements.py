"""What the prose of a card, of another document or of a gate states, compared with all else that is known. Pure.

Prose is weak evidence: what it forbids raises a question, or is believed where nothing else is stated; what it allows
is never taken for a license. How it is read: `modelpick.licensing.statements`.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from modelpick.catalog.model import Model
from modelpick.catalog.terms import kind_of
from modelpick.licensing.conditions import Assessment, Modality, assess_claim
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.file_evidence import may_state_terms
from modelpick.licensing.identify import Known
from modelpick.licensing.license import License
from modelpick.licensing.outcome import EvidenceSource, LicenseFinding, Reason, Verdict
from modelpick.licensing.policy import Policy
from modelpick.licensing.statements.claims import ClaimKind
from modelpick.licensing.statements.reading import CardStatement, read_statements

_SAYS: dict[ClaimKind, str] = {
    "non_commercial": "forbids commercial use",
    "research_only": "limits it to research, education or personal use",
    "permission": "asks for permission first",
    "fee": "asks to be paid for it",
    "contact": "asks to be contacted for a license",
    "no_derivatives": "forbids derived models",
}
_ABOUT = {"data": "its data", "code": "its code", "demo": "a demo", "paper": "a paper"}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a statement was read."""

    source: EvidenceSource
    name: str

    def evidence(self, statement: CardStatement) -> str:
        under = f", under {statement.heading[:60]!r}" if statement.heading else ""
        return f"{self.name}, line {statement.line}{under}: {statement.quote}"


def assess_body(
    model: Model, explained: Collection[str], stated: bool, policy: Policy, facts: LicenseFacts, modality: Modality
) -> list[Assessment]:
    """What the texts of a repository state of its terms, compared with all that is known.

    `explained`: the license ids found. `stated`: whether the card's metadata names a license. A statement about the
    weights, or about the model they were made from, counts; one about data or code is shown and does not.
    """
    known = tuple(facts.licenses.by_id[id] for id in explained if id in facts.licenses.by_id)
    parts: list[Assessment] = []
    for place, statement in _statements(model, facts):
        if statement.is_of_the_weights:
            if statement.license is not None:
                parts += _named(statement.license, place, statement, known, stated, policy, facts, modality)
            elif statement.says != "named_license" and not _is_explained(statement.says, known):
                parts.append(_claimed(statement.says, place, statement, stated, policy))
        elif statement.says != "named_license" and statement.about in _ABOUT:
            text = f"the text says of {_ABOUT[statement.about]} that it {_SAYS[statement.says]}; not of the weights"
            reason = Reason("stated_of_something_else", text, place.evidence(statement), Verdict.ALLOW)
            parts.append(Assessment(Verdict.ALLOW, (reason,)))
    return parts


def _statements(model: Model, facts: LicenseFacts) -> Iterator[tuple[_Place, CardStatement]]:
    """The statements of the card's body, of other documents, and of what the gate asks to accept.

    Notices and use policies name licenses of others, which do not count.
    """
    names = (model.id, *(base.id for base in model.base_models))
    for name, text in model.texts.items():
        around = kind_of(name) in ("notice", "use_policy")
        if around or may_state_terms(name):
            for statement in read_statements(text, facts.words, facts.licenses, names):
                if not around or statement.says != "named_license":
                    yield _Place("body", name), statement
    for statement in read_statements(model.gate_text or "", facts.words, facts.licenses, names):
        yield _Place("gate", "the gate"), statement


def _is_explained(says: ClaimKind, known: Collection[License]) -> bool:
    """Whether one of the licenses found says as much."""
    if any(license.permits.commercial_use == "no" for license in known):
        return says != "no_derivatives" or any(license.permits.derivatives == "not-shared" for license in known)
    if says == "no_derivatives":
        return any(license.permits.derivatives == "not-shared" for license in known)
    if says in ("permission", "fee", "contact"):
        return any(license.limits.application or license.limits.royalties for license in known) or any(
            license.limits.monthly_active_users or license.limits.annual_revenue_usd for license in known
        )
    return False


def _claimed(says: ClaimKind, place: _Place, statement: CardStatement, stated: bool, policy: Policy) -> Assessment:
    """A claim that no license found explains: a question if a license is stated, else believed."""
    believed = policy.rules.non_commercial if says in ("non_commercial", "research_only") else policy.rules.application
    if says == "no_derivatives":
        believed = policy.rules.no_derivatives
    demanded = Verdict(policy.rules.contradiction) if stated else believed
    whose = " of the model it was made from" if statement.about == "base" else ""
    text = f"the card's text{whose} {_SAYS[says]}" + (", its metadata does not" if stated else "")
    code = "contradiction" if stated else "non_commercial" if believed == policy.rules.non_commercial else says
    evidence = place.evidence(statement)
    findings: tuple[LicenseFinding, ...] = ()
    if says in ("non_commercial", "research_only"):
        findings = (LicenseFinding("non-commercial", None, place.source, evidence),)
    return Assessment(demanded, (Reason(code, text, evidence, demanded),), (), findings)


def _named(
    license: License, place: _Place, statement: CardStatement, known: Collection[License], stated: bool,
    policy: Policy, facts: LicenseFacts, modality: Modality,
) -> list[Assessment]:  # fmt: skip
    """A license that the text names and nothing else does."""
    if license.id in {one.id for one in known}:
        return []
    evidence = place.evidence(statement)
    mentioned = assess_claim(Known((license,), evidence), place.source, policy, facts.territories, modality)
    if mentioned.verdict is Verdict.ALLOW and stated:
        return []
    metadata = f"its metadata says {' or '.join(one.title for one in known) or 'no known license'}"
    text = f"the card's text names {license.title}, {metadata if stated else 'its metadata names no license'}"
    demanded = Verdict(policy.rules.contradiction)
    question = Assessment(demanded, (Reason("contradiction", text, evidence, demanded),))
    return [question, Assessment(mentioned.verdict, mentioned.reasons, (), mentioned.findings)]
