"""A license that the company bought or negotiated: what it opens, and what it does not. Pure.

It opens the terms that the publisher of one named model sets for that model. What the publisher cannot sell stays:
ancestors that are not named themselves, training data, disputes, and what the company's own policy forbids.
"""

from collections.abc import Iterable
from dataclasses import replace

from modelpick.licensing.conditions import ROWS, Assessment
from modelpick.licensing.model_evidence import ModelAssessment
from modelpick.licensing.outcome import Obligation, Reason, Verdict, join
from modelpick.licensing.policy import Purchase

# The publisher's own terms, and doubts about them: a contract with the publisher stands in their place. Any other
# reason, and any that is added later, stays.
_OPENED = frozenset(row.code for row in ROWS if row.code) | {
    "no_license", "unknown_license", "unknown_license_text", "name_without_owner", "license_file_only_names_it",
    "license_file_is_link", "license_file_cut_short",
}  # fmt: skip


def purchase_of(
    model: str, revision: str | None, purchases: Iterable[Purchase], day: str
) -> tuple[Purchase | None, tuple[Purchase, ...]]:
    """The contract that opens a model on a day, and those that name it and are not in force then."""
    named = [purchase for purchase in purchases if purchase.covers(model, revision)]
    valid = [purchase for purchase in named if purchase.is_in_force(day)]
    over = tuple(purchase for purchase in named if not purchase.is_in_force(day))
    return max(valid, key=lambda purchase: purchase.until, default=None), over


def opened(assessment: ModelAssessment, model: str, purchase: Purchase) -> ModelAssessment:
    """A model's assessment with the terms of its publisher replaced by the contract: `conditions` at best."""
    by = f"contract {purchase.contract} with {purchase.licensor}"
    bought = Reason(
        "purchased_license", f"{model} is licensed by {by} until {purchase.until}", _where(purchase), Verdict.CONDITIONS
    )
    return replace(
        assessment,
        claimed=_opened(assessment.claimed, by, bought, purchase),
        total=_opened(assessment.total, by, bought, purchase),
    )


def _opened(assessment: Assessment, by: str, bought: Reason, purchase: Purchase) -> Assessment:
    reasons = [_replaced(reason, by) if reason.code in _OPENED else reason for reason in assessment.reasons]
    owed = Obligation("purchased_license", f"comply with {by}, and renew it before {purchase.until}")
    return replace(
        assessment,
        verdict=join(reason.verdict for reason in (bought, *reasons)),
        reasons=(bought, *reasons),
        obligations=(owed, *assessment.obligations),
    )


def _replaced(reason: Reason, by: str) -> Reason:
    """A reason that the contract stands above: still shown, and no stricter than conditions."""
    if reason.verdict <= Verdict.CONDITIONS:
        return reason
    return replace(reason, text=f"{reason.text} ({by} stands above this)", verdict=Verdict.CONDITIONS)


def not_in_force(purchase: Purchase, day: str, verdict: Verdict) -> Reason:
    """Why a contract that names the model does not count on a day."""
    begins = f"begins on {purchase.since}" if purchase.since is not None and day < purchase.since else None
    when = begins or f"ended on {purchase.until}"
    text = f"contract {purchase.contract} with {purchase.licensor} {when} and opens nothing"
    return Reason("purchase_not_in_force", text, _where(purchase), verdict)


def _where(purchase: Purchase) -> str:
    return f"company.purchased: contract {purchase.contract}, {purchase.licensor}, until {purchase.until}"
