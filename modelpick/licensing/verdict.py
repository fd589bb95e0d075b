"""May we use it? Joins what a model, its ancestors and curated facts say, into one verdict with evidence. Pure.

Every model in the chain is assessed by itself (`assess_model`), each piece of evidence demands a verdict, and the
strictest counts. Nothing a card says can make the answer weaker than what its ancestors demand. People's decisions
are applied last.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from modelpick.catalog.derived import weight_names
from modelpick.catalog.model import Model, Origin
from modelpick.licensing.assessed_model import modality_of
from modelpick.licensing.card_statements import assess_body
from modelpick.licensing.conditions import Assessment, combine
from modelpick.licensing.evidence import changed, digests_of
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.former_ids import former_ids, under_every_id
from modelpick.licensing.lineage import Ancestor, Find, ancestry, repository_of
from modelpick.licensing.model_evidence import ModelAssessment, assess_missing, assess_model
from modelpick.licensing.named_rules import Member, assess_rules, member
from modelpick.licensing.outcome import BASES, Basis, LicenseFinding, LineageStep, Obligation, Reason, Verdict, join
from modelpick.licensing.overrides import Approval
from modelpick.licensing.policy import Policy, Purchase
from modelpick.licensing.purchases import not_in_force, opened, purchase_of
from modelpick.licensing.unread import basis_of

__all__ = ["Judgement", "LicenseFacts", "LineageStep", "Verdict", "join", "judge"]

_CHAIN_PROBLEMS = {
    "cycle": "its chain of base models leads back to itself",
    "too_deep": "its chain of base models is too long to follow",
    "local_path_parent": "its base model is a local path, not a repository",
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
    licenses: tuple[LicenseFinding, ...]
    reasons: tuple[Reason, ...]
    obligations: tuple[Obligation, ...]
    lineage: tuple[LineageStep, ...] = field(default=())
    notes: tuple[str, ...] = ()  # what a reader must know of the facts themselves, e.g. that the Hub did not answer
    origin: Origin = "hub"  # where the model's facts were read
    products: tuple[tuple[str, Verdict], ...] = ()  # each of the company's products, where all were judged
    own_basis: Basis = "tag"  # what the model itself was judged on
    models: tuple[Model, ...] = field(default=(), compare=False, repr=False)  # what it was made from: it, its ancestors

    @property
    def basis(self) -> Basis:
        """What the verdict stands on: the least that the model or any of its ancestors was judged on."""
        of_all = (self.own_basis, *(step.basis for step in self.lineage if step.basis is not None))
        return min(of_all, key=BASES.index)

    @property
    def license_ids(self) -> tuple[str, ...]:
        """The ids of all licenses found, each once."""
        return tuple(dict.fromkeys(finding.id for finding in self.licenses))

    @property
    def questions(self) -> tuple[Reason, ...]:
        """The reasons that ask for a person's decision, but for the remark that an earlier decision does not hold."""
        asked = (reason for reason in self.reasons if reason.verdict is Verdict.REVIEW)
        return tuple(reason for reason in asked if reason.code != "approval_lapsed")

    def evidence(self) -> dict[str, str]:
        """The hashes of what the answer was made from (evidence.py)."""
        return digests_of(self.models, self.questions)

    def as_json(self) -> dict[str, object]:
        """One element of `results` of `license --json`."""
        return {
            "model": self.model,
            "revision": self.revision,
            "verdict": self.verdict.value,
            "basis": self.basis,
            "licenses": [finding.as_json() for finding in self.licenses],
            "reasons": [reason.as_json() for reason in self.reasons],
            "obligations": [obligation.as_json() for obligation in self.obligations],
            "lineage": [step.as_json() for step in self.lineage],
            "notes": list(self.notes),
            "products": {name: verdict.value for name, verdict in self.products},
        }


def judge(model: Model, policy: Policy, facts: LicenseFacts, find: Find, today: Day) -> Judgement:
    """The verdict on a model for the policy's company: for one of its products, or else the strictest over all.

    `find` looks an ancestor up by id (None: not found), `today` decides whether approvals and contracts still hold.
    """
    profiles = _profiles(policy, facts)
    answers = [_judge(model, profile, facts, find, today) for profile in profiles]
    if policy.product is not None or not policy.company.products:
        return answers[0]
    return _strictest_of(list(zip([str(profile.product) for profile in profiles], answers, strict=True)))


def _profiles(policy: Policy, facts: LicenseFacts) -> tuple[Policy, ...]:
    """The policy's profiles, remembered: other memories know a policy by its identity."""
    key = ("profiles", id(policy))
    if key not in facts.memo:
        facts.memo[key] = (policy, policy.profiles())
    profiles: tuple[Policy, ...] = facts.memo[key][1]
    return profiles


def _strictest_of(answers: list[tuple[str, Judgement]]) -> Judgement:
    """One answer for all products: the strictest, with what every product owes, and how each of them came out."""
    strictest = max((answer for _, answer in answers), key=lambda answer: answer.verdict.strictness)
    obligations = dict.fromkeys(owed for _, answer in answers for owed in answer.obligations)
    counted = "the strictest of all products counts" if len(answers) > 1 else "the company has one product"
    listed = ", ".join(f"{name}: {answer.verdict.value}" for name, answer in answers)
    return replace(
        strictest,
        obligations=tuple(obligations) if strictest.verdict is not Verdict.DENY else (),
        notes=(*strictest.notes, f"{counted} ({listed}); --product NAME judges for one"),
        products=tuple((name, answer.verdict) for name, answer in answers),
    )


def _judge(model: Model, policy: Policy, facts: LicenseFacts, find: Find, today: Day) -> Judgement:
    """The verdict for one profile: the strictest under any id that the model had, then people's decisions."""
    every = under_every_id(model, facts)
    answer = _undecided(next(every), policy, facts, find, today, model)
    for formerly in every:
        answer = _with_former(answer, _undecided(formerly, policy, facts, find, today, model))
    return decided(answer, policy, facts, today.isoformat())


def _with_former(answer: Judgement, former: Judgement) -> Judgement:
    """The answer with what is known of a model under a former id, where that demands more."""
    verdict = join([answer.verdict, former.verdict])
    codes = {reason.code for reason in former.reasons if reason.verdict is not Verdict.ALLOW}
    if verdict is answer.verdict and not codes - {reason.code for reason in answer.reasons}:
        return (
            answer
            if verdict is Verdict.DENY
            else replace(answer, obligations=tuple(dict.fromkeys((*answer.obligations, *former.obligations))))
        )
    return replace(
        answer,
        verdict=verdict,
        licenses=tuple(dict.fromkeys((*answer.licenses, *former.licenses))),
        reasons=_strictest_first(tuple(dict.fromkeys((*answer.reasons, *former.reasons)))),
        obligations=tuple(dict.fromkeys((*answer.obligations, *former.obligations)))
        if verdict is not Verdict.DENY
        else (),
        lineage=tuple(dict.fromkeys((*answer.lineage, *former.lineage))),
        notes=(*answer.notes, f"judged as {former.model} too, which was its name"),
    )


def _undecided(model: Model, policy: Policy, facts: LicenseFacts, find: Find, today: Day, present: Model) -> Judgement:
    """The verdict under one id, before people's decisions. Contracts count for the id of `present`."""
    ancestors = ancestry(model, find, facts)
    day = today.isoformat()
    own = assess_model(model, ancestors, policy, facts, find)
    chain = [(ancestor, _assess_ancestor(ancestor, ancestors, policy, facts, find)) for ancestor in ancestors]
    if not ancestors and model.origin != "catalog":
        chain = _name_match(model, policy, facts, find)
    over: tuple[Purchase, ...] = ()
    if policy.company.purchased:
        own, chain, over = _with_purchases(present, own, chain, policy.company.purchased, day)
    parts = [own.total, *[assessment.total for _, assessment in chain]]
    parts += _body(model, parts, own, policy, facts)
    if policy.named_rules:
        parts += assess_rules(_members(model, own, chain, facts), policy.named_rules)
    weaker = _weaker_than_ancestors(model, own, chain) if chain or own.implied else ()
    if weaker:
        parts.append(Assessment(join(reason.verdict for reason in weaker), weaker))
    joined = combine(parts)
    reasons = (*joined.reasons, *(not_in_force(purchase, day, joined.verdict) for purchase in over))
    return Judgement(
        model=model.id,
        revision=model.revision,
        verdict=joined.verdict,
        licenses=joined.findings,
        reasons=_strictest_first(reasons),
        obligations=joined.obligations if joined.verdict is not Verdict.DENY else (),
        lineage=(*[_step(ancestor, assessment) for ancestor, assessment in chain], *own.implied),
        notes=model.notes,
        origin=model.origin,
        own_basis=basis_of(model),
        models=(model, *(ancestor.model for ancestor, _ in chain if ancestor.model is not None)),
    )


def _with_purchases(
    model: Model,
    own: ModelAssessment,
    chain: list[tuple[Ancestor, ModelAssessment]],
    purchases: tuple[Purchase, ...],
    day: str,
) -> tuple[ModelAssessment, list[tuple[Ancestor, ModelAssessment]], tuple[Purchase, ...]]:
    """Both with the terms replaced that a contract stands above; last: the contracts for the model that do not hold.

    A contract for an ancestor says nothing of what others made of it: it counts only with one for the model itself.
    """
    purchase, over = purchase_of(model.id, model.revision, purchases, day)
    if purchase is None:
        return own, chain, over
    opened_chain = []
    for ancestor, assessment in chain:
        found = ancestor.model
        bought, _ = purchase_of(ancestor.id, found.revision if found else None, purchases, day)
        opened_chain.append((ancestor, opened(assessment, ancestor.id, bought) if bought else assessment))
    return opened(own, model.id, purchase), opened_chain, over


def _members(
    model: Model, own: ModelAssessment, chain: list[tuple[Ancestor, ModelAssessment]], facts: LicenseFacts
) -> list[Member]:
    """The model and its ancestors as the company's own rules look at them, implied ancestors too."""
    members = [member(model.id, model.gated, [finding.id for finding in own.total.findings], facts.licenses)]
    for ancestor, assessment in chain:
        gated = ancestor.model.gated if ancestor.model is not None else None
        ids = [finding.id for finding in assessment.total.findings]
        members.append(member(ancestor.id, gated, ids, facts.licenses))
    implied = {step.model for step in own.implied}
    for family in facts.families if implied else ():
        ids = [family.license] if family.license and family.name in implied else []
        owners = family.owners if family.name in implied else ()
        members += [member(f"{owner}/{family.name}", None, ids, facts.licenses) for owner in owners]
    return members


def _strictest_first(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    if len(reasons) < 2:
        return reasons
    return tuple(sorted(reasons, key=lambda reason: -reason.verdict.strictness))


def _name_match(
    model: Model, policy: Policy, facts: LicenseFacts, find: Find
) -> list[tuple[Ancestor, ModelAssessment]]:
    """The known model of another publisher that this one, or a file in it, is named after, where its license demands
    something."""
    repository = repository_of(model)
    names = (repository, *weight_names(model))
    id = next((match for name in names if (match := facts.name_matches.of(name)) is not None), None)
    known = find(id) if id is not None else None
    if known is None or known.id.partition("/")[0].lower() == repository.partition("/")[0].lower():
        return []
    ancestor = Ancestor(known.id, model.id, "unknown", known, None, declared=False)
    assessment = assess_model(known, (), policy, facts, find, ancestor=True)
    if not assessment.total.findings or assessment.total.verdict not in (Verdict.CONDITIONS, Verdict.DENY):
        return []
    text = f"{model.id} has the name of {known.id} but does not declare it as its base"
    reason = Reason("undeclared_ancestor", text, f"name: {known.id}", assessment.total.verdict)
    total = replace(assessment.total, reasons=(reason, *assessment.total.reasons))
    return [(ancestor, replace(assessment, total=total))]


def _body(
    model: Model, parts: list[Assessment], own: ModelAssessment, policy: Policy, facts: LicenseFacts
) -> list[Assessment]:
    """The statements of the card's text, held against everything else that was found."""
    if not model.texts and not model.gate_text:
        return []
    explained = {finding.id for part in parts for finding in part.findings}
    return assess_body(model, explained, bool(own.claimed.findings), policy, facts, modality_of(model))


def _assess_ancestor(
    ancestor: Ancestor, chain: tuple[Ancestor, ...], policy: Policy, facts: LicenseFacts, find: Find
) -> ModelAssessment:
    if ancestor.model is not None:
        above = tuple(other for other in chain if other.is_parent_of(ancestor.id))
        every = under_every_id(ancestor.model, facts)
        assessed = [assess_model(one, above, policy, facts, find, ancestor=True) for one in every]
        implied = tuple(dict.fromkeys(step for one in assessed for step in one.implied))
        return replace(assessed[0], total=combine([one.total for one in assessed]), implied=implied)
    if ancestor.problem in (None, "missing_ancestor"):
        return assess_missing(ancestor.id, policy, facts, ancestor.source)
    text = f"{ancestor.child}: {_CHAIN_PROBLEMS[str(ancestor.problem)]} ({ancestor.id})"
    demanded = Verdict(policy.rules.unknown_ancestor)
    reason = Reason(str(ancestor.problem), text, f"{ancestor.source}: {ancestor.id}", demanded)
    return ModelAssessment(Assessment(demanded, (reason,)), Assessment(demanded, (reason,)))


def _step(ancestor: Ancestor, assessment: ModelAssessment) -> LineageStep:
    ids = " AND ".join(dict.fromkeys(finding.id for finding in assessment.total.findings))
    basis = basis_of(ancestor.model) if ancestor.model is not None else None
    return LineageStep(ancestor.id, ancestor.relation, ids or None, assessment.total.verdict, ancestor.child, basis)


def _weaker_than_ancestors(
    model: Model, own: ModelAssessment, chain: Iterable[tuple[Ancestor, ModelAssessment]]
) -> tuple[Reason, ...]:
    """A tag that claims more freedom than an ancestor gives is named as such: that is how licenses get laundered."""
    claimed = own.claimed
    if not claimed.findings:
        return ()
    required = [(ancestor.id, assessment.total.verdict) for ancestor, assessment in chain]
    required += [(step.model, own.total.verdict) for step in own.implied if step.verdict > claimed.verdict]
    evidence = ", ".join(finding.evidence for finding in claimed.findings)
    return tuple(
        Reason(
            "weaker_than_ancestor",
            f"{model.id} claims {claimed.verdict.value}, its ancestor {id} requires {verdict.value}",
            f"{evidence}; lineage: {id}",
            verdict,
        )
        for id, verdict in required
        if verdict > claimed.verdict
    )


def decided(answer: Judgement, policy: Policy, facts: LicenseFacts, today: str) -> Judgement:
    """The answer with people's decisions applied, or with the reason why one that exists no longer holds.

    An approval turns a review into `conditions`, never into `allow`; it holds for one commit, one policy, and the
    evidence that it was given on, until a day (`today` as 2026-11-23). What was overridden stays in the reasons. A
    rejection holds for every commit. Where decisions contradict each other the stricter counts. No decision weakens a
    deny.
    """
    formerly = {id.lower() for model in answer.models[:1] for id in former_ids(model, facts)}
    about = [
        decision
        for decision in facts.approvals
        if decision.model.lower() == answer.model.lower()
        or (decision.verdict == "deny" and decision.model.lower() in formerly)
    ]
    if not about or answer.verdict is Verdict.DENY:
        return answer
    lapses = [(decision, _why_lapsed(decision, answer, policy, today)) for decision in about]
    holding = [decision for decision, why in lapses if why is None]
    rejections = [decision for decision in holding if decision.verdict == "deny"]
    approvals = [decision for decision in holding if decision.verdict != "deny"]
    if rejections:
        return _rejected(answer, rejections, approvals)
    if answer.verdict is not Verdict.REVIEW:
        return answer
    if approvals:
        return _approved(answer, approvals)
    lapsed = tuple(
        Reason(
            "approval_lapsed", f"the approval by {decision.by} is not valid: {why}", _where(decision), Verdict.REVIEW
        )
        for decision, why in lapses
    )
    return replace(answer, reasons=(*answer.reasons, *lapsed))


def _approved(answer: Judgement, approvals: Sequence[Approval]) -> Judgement:
    reasons = tuple(
        Reason(
            "by_approval",
            f"approved by {decision.by} on {decision.on} until {decision.until}: {decision.because}",
            _where(decision),
            Verdict.CONDITIONS,
        )
        for decision in approvals
    )
    until = min(decision.until for decision in approvals)
    if len({decision.until for decision in approvals}) > 1:
        days = ", ".join(f"{decision.by} until {decision.until}" for decision in approvals)
        text = f"its approvals differ ({days}): the earlier day counts"
        reasons = (*reasons, Reason("approvals_differ", text, _where(approvals[0]), Verdict.CONDITIONS))
    renewal = Obligation("approval", f"renew the approval before {until}")
    return replace(
        answer,
        verdict=Verdict.CONDITIONS,
        reasons=(*reasons, *answer.reasons),
        obligations=(*answer.obligations, renewal),
    )


def _rejected(answer: Judgement, rejections: Sequence[Approval], approvals: Sequence[Approval]) -> Judgement:
    reasons = tuple(
        Reason(
            "by_rejection",
            f"rejected by {decision.by} on {decision.on} until {decision.until}: {decision.because}",
            _where(decision),
            Verdict.DENY,
        )
        for decision in rejections
    )
    for decision in approvals:
        text = f"{decision.by} approved it and {rejections[0].by} rejected it: the stricter decision counts"
        reasons = (*reasons, Reason("approvals_contradict", text, _where(decision), Verdict.DENY))
    return replace(answer, verdict=Verdict.DENY, reasons=(*reasons, *answer.reasons), obligations=())


def _where(decision: Approval) -> str:
    return f"approvals.toml: {decision.model}@{decision.revision}"


def _why_lapsed(decision: Approval, answer: Judgement, policy: Policy, today: str) -> str | None:
    """Why a decision does not hold today; None where it does. A rejection is not tied to a commit or its evidence."""
    if today > decision.until:
        return f"it expired on {decision.until}"
    if decision.policy != policy.name:
        return f"it was given under the policy {decision.policy!r}, this is {policy.name!r}"
    if decision.product is not None and decision.product != policy.product:
        return f"it was given for the product {decision.product!r}, this is {policy.product or 'another use'!r}"
    if decision.verdict == "deny":
        return None
    if answer.revision != decision.revision:
        return f"it is for commit {decision.revision[:12]}, this is {(answer.revision or 'an unknown commit')[:12]}"
    new = sorted({reason.code for reason in answer.questions} - {*decision.overrides})
    if new:
        return f"there are new questions since then: {', '.join(new)}"
    if not decision.evidence:
        return "it does not record the evidence it was given on; record it again with modelpick policy approve"
    change = changed(decision.evidence, answer.evidence())
    return f"since then {change}" if change else None
