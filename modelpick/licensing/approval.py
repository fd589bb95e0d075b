"""A human's decision on a `review`: it holds for one commit, one policy, one set of questions, until a day. Pure."""

from dataclasses import replace
from typing import TYPE_CHECKING

from modelpick.licensing.facts import Facts
from modelpick.licensing.outcome import Obligation, Reason, Verdict
from modelpick.licensing.policy import Policy

if TYPE_CHECKING:
    from modelpick.licensing.verdict import Judgement


def approved(answer: "Judgement", policy: Policy, facts: Facts, today: str) -> "Judgement":
    """The answer with an approval applied, or with the reason why one that exists no longer holds.

    An approved model is `conditions`, never `allow`: somebody vouches for it until a day. What was overridden stays in
    the reasons. A deny never comes here.
    """
    mine = [one for one in facts.approvals if one.model.lower() == answer.model.lower()]
    lapsed = []
    for one in mine:
        why_not = _lapsed(one.revision, one.policy, one.until, one.overrides, answer, policy, today)
        if why_not is None:
            text = f"approved by {one.by} on {one.on} until {one.until}: {one.because}"
            reason = Reason("by_approval", text, f"approvals.toml: {one.model}@{one.revision}", Verdict.CONDITIONS)
            owed = Obligation("approval", f"renew the approval before {one.until}")
            return replace(
                answer,
                verdict=Verdict.CONDITIONS,
                reasons=(reason, *answer.reasons),
                obligations=(*answer.obligations, owed),
            )
        text = f"the approval by {one.by} does not hold: {why_not}"
        lapsed.append(Reason("approval_lapsed", text, f"approvals.toml: {one.model}@{one.revision}", Verdict.REVIEW))
    return replace(answer, reasons=(*answer.reasons, *lapsed)) if lapsed else answer


def _lapsed(
    revision: str, policy_name: str, until: str, overrides: tuple[str, ...],
    answer: "Judgement", policy: Policy, today: str,
) -> str | None:  # fmt: skip
    if today > until:
        return f"it expired on {until}"
    if answer.revision != revision:
        return f"it is for commit {revision[:12]}, this is {(answer.revision or 'an unknown commit')[:12]}"
    if policy_name != policy.name:
        return f"it was given under the policy {policy_name!r}, this is {policy.name!r}"
    new = sorted({one.code for one in answer.reasons if one.verdict is Verdict.REVIEW} - set(overrides))
    if new:
        return f"questions have come up since: {', '.join(new)}"
    return None
