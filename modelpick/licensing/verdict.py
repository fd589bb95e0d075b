"""May we use it? Joins what a model, its ancestors and what is known of them say, into one verdict with evidence. Pure.

Every model in the chain is weighed by itself (`weigh`), each piece of evidence demands a verdict, and the strictest
counts. Nothing a card says can make the answer weaker than what its ancestors demand.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from modelpick.catalog.model import Model
from modelpick.licensing.approval import approved
from modelpick.licensing.conditions import Assessment, combine
from modelpick.licensing.facts import Facts
from modelpick.licensing.file_evidence import weigh_body
from modelpick.licensing.lineage import Ancestor, Find, ancestry
from modelpick.licensing.model_evidence import Weighed, modality_of, repository_of, weigh, weigh_missing
from modelpick.licensing.outcome import Finding, LineageStep, Obligation, Reason, Verdict, join
from modelpick.licensing.policy import Policy

__all__ = ["Facts", "Judgement", "LineageStep", "Verdict", "join", "judge"]

_TROUBLE = {
    "cycle": "its chain of base models leads back to itself",
    "too_deep": "its chain of base models is longer than can be followed",
    "local_path_parent": "its base model is not a repository but a path on somebody's machine",
}


class Day(Protocol):
    """A calendar day; datetime.date is one."""

    def isoformat(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer for one model at one revision (None: the embedded catalog knows no commit)."""

    model: str
    revision: str | None
    verdict: Verdict
    licenses: tuple[Finding, ...]
    reasons: tuple[Reason, ...]
    obligations: tuple[Obligation, ...]
    lineage: tuple[LineageStep, ...] = field(default=())
    notes: tuple[str, ...] = ()  # what a reader must know of the facts themselves, e.g. that the Hub did not answer

    @property
    def license_ids(self) -> tuple[str, ...]:
        """The ids of all licenses found, each once."""
        return tuple(dict.fromkeys(finding.id for finding in self.licenses))

    def as_json(self) -> dict[str, Any]:
        """One element of `results` of `license --json`."""
        return {
            "model": self.model,
            "revision": self.revision,
            "verdict": self.verdict.value,
            "licenses": [finding.as_json() for finding in self.licenses],
            "reasons": [reason.as_json() for reason in self.reasons],
            "obligations": [owed.as_json() for owed in self.obligations],
            "lineage": [step.as_json() for step in self.lineage],
            "notes": list(self.notes),
        }


def judge(model: Model, policy: Policy, facts: Facts, find: Find, today: Day) -> Judgement:
    """The verdict on a model for the policy's company.

    `find` looks an ancestor up by id (None: not found), `today` decides whether an approval still holds.
    """
    ancestors = ancestry(model, find, facts.known)
    own = weigh(model, ancestors, policy, facts)
    weighed = [(ancestor, _weigh_ancestor(ancestor, ancestors, policy, facts)) for ancestor in ancestors]
    if not ancestors and model.origin != "catalog":
        weighed = _namesake(model, policy, facts, find)
    parts = [own.total, *(one.total for _, one in weighed)]
    parts += _body(model, parts, own, policy, facts)
    weaker = _weaker_than_ancestors(model, own, weighed)
    if weaker:
        parts.append(Assessment(own.total.verdict, weaker))
    joined = combine(parts)
    verdict = max(joined.verdict, join(reason.verdict for reason in weaker)) if weaker else joined.verdict
    lineage = tuple(_step(ancestor, one) for ancestor, one in weighed) + own.implied
    reasons = tuple(sorted(joined.reasons, key=lambda reason: -reason.verdict.strictness))
    answer = Judgement(
        model.id, model.revision, verdict, joined.findings, reasons,
        joined.obligations if verdict is not Verdict.DENY else (), lineage, model.notes,
    )  # fmt: skip
    return approved(answer, policy, facts, today.isoformat()) if verdict is Verdict.REVIEW else answer


def _namesake(model: Model, policy: Policy, facts: Facts, find: Find) -> list[tuple[Ancestor, Weighed]]:
    """The known model of another publisher that this one is named after, where its license demands something."""
    here = repository_of(model)
    id = facts.namesakes.of(here)
    known = find(id) if id is not None else None
    if known is None or known.id.partition("/")[0].lower() == here.partition("/")[0].lower():
        return []
    ancestor = Ancestor(known.id, model.id, "unknown", known, None, declared=False)
    weighed = weigh(known, (), policy, facts, ancestor=True)
    if not weighed.total.findings or weighed.total.verdict not in (Verdict.CONDITIONS, Verdict.DENY):
        return []
    text = f"the name {model.id} is that of {known.id}, which it does not declare"
    reason = Reason("undeclared_ancestor", text, f"name: {known.id}", weighed.total.verdict)
    total = replace(weighed.total, reasons=(reason, *weighed.total.reasons))
    return [(ancestor, replace(weighed, total=total))]


def _body(model: Model, parts: list[Assessment], own: Weighed, policy: Policy, facts: Facts) -> list[Assessment]:
    """The card's prose, held against everything else that was found."""
    if not model.texts and not model.gate_text:
        return []
    explained = {finding.id for part in parts for finding in part.findings}
    return weigh_body(model, explained, bool(own.claimed.findings), policy, facts, modality_of(model))


def _weigh_ancestor(ancestor: Ancestor, all: tuple[Ancestor, ...], policy: Policy, facts: Facts) -> Weighed:
    if ancestor.model is not None:
        above = tuple(other for other in all if other.child.lower() == ancestor.id.lower())
        return weigh(ancestor.model, above, policy, facts, ancestor=True)
    if ancestor.trouble in (None, "missing_ancestor"):
        return weigh_missing(ancestor.id, policy, facts)
    text = f"{ancestor.child}: {_TROUBLE[str(ancestor.trouble)]} ({ancestor.id})"
    demanded = Verdict(policy.rules.unknown_ancestor)
    reason = Reason(str(ancestor.trouble), text, f"base_model: {ancestor.id}", demanded)
    return Weighed(Assessment(demanded, (reason,)), Assessment(demanded, (reason,)))


def _step(ancestor: Ancestor, weighed: Weighed) -> LineageStep:
    ids = dict.fromkeys(finding.id for finding in weighed.total.findings)
    return LineageStep(ancestor.id, ancestor.relation, " AND ".join(ids) or None, weighed.total.verdict, ancestor.child)


def _weaker_than_ancestors(
    model: Model, own: Weighed, ancestors: Iterable[tuple[Ancestor, Weighed]]
) -> tuple[Reason, ...]:
    """A tag that claims more freedom than an ancestor gives is named as such: that is how licenses get laundered."""
    stricter = [(ancestor.id, one.total) for ancestor, one in ancestors if one.total.verdict > own.claimed.verdict]
    stricter += [(step.model, own.total) for step in own.implied if step.verdict > own.claimed.verdict]
    said = ", ".join(finding.evidence for finding in own.claimed.findings) or "no license"
    return tuple(
        Reason(
            "weaker_than_ancestor",
            f"{model.id} claims {own.claimed.verdict.value}, its ancestor {id} demands {total.verdict.value}",
            f"{said}; lineage: {id}",
            total.verdict,
        )
        for id, total in stricter
        if own.claimed.findings
    )
