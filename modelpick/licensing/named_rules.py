"""A company's own rules that name licenses, publishers, models, gates, patents or revocability. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from modelpick.licensing.conditions import Assessment
from modelpick.licensing.license import License, LicenseIndex
from modelpick.licensing.outcome import Reason, Verdict, join
from modelpick.licensing.policy import NamedRule

_PATENTS = {True: "granted", False: "refused", None: "unmentioned"}


@dataclass(frozen=True, slots=True)
class Member:
    """The model, or one of its ancestors, as rules look at it. `gated` is None where it is not known."""

    id: str
    gated: bool | None
    licenses: tuple[License, ...]


def member(id: str, gated: object, license_ids: Iterable[str], license_index: LicenseIndex) -> Member:
    """A member of a chain, by the ids of the licenses that were found for it."""
    known = tuple(license_index.by_id[one] for one in dict.fromkeys(license_ids) if one in license_index.by_id)
    return Member(id, None if gated is None else bool(gated), known)


def assess_rules(chain: Sequence[Member], rules: Iterable[NamedRule]) -> list[Assessment]:
    """What the rules demand of a model and its ancestors: a rule binds where one member matches all of its keys."""
    parts = []
    for rule in rules:
        reasons = tuple(
            Reason(
                "policy_rule",
                f"a rule of the policy names {matched}: {rule.because}",
                f"named_rules: {rule.because}; {one.id}",
                Verdict(rule.verdict),
            )
            for one in chain
            if (matched := _matched(one, rule)) is not None
        )
        if reasons:
            parts.append(Assessment(join(reason.verdict for reason in reasons), reasons))
    return parts


def _matched(one: Member, rule: NamedRule) -> str | None:
    """What of a member the rule names, in words; None where a key does not match."""
    publisher = one.id.partition("/")[0]
    if rule.publishers and not _is_named(publisher, rule.publishers):
        return None
    if rule.models and not _is_named(one.id, rule.models):
        return None
    if rule.gated is not None and one.gated is not rule.gated:
        return None
    words = [one.id]
    if rule.licenses or rule.patents is not None or rule.revocable is not None:
        bound = [license for license in one.licenses if _fits(license, rule)]
        if not bound:
            return None
        words.append(f"under {' and '.join(license.title for license in bound)}")
    return " ".join(words)


def _fits(license: License, rule: NamedRule) -> bool:
    permits = license.permits
    if rule.licenses and not _is_named(license.id, rule.licenses) and not _is_named(license.spdx or "", rule.licenses):
        return False
    if rule.patents is not None and rule.patents != _PATENTS[permits.patents]:
        return False
    return rule.revocable is None or rule.revocable is permits.revocable


def _is_named(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)
