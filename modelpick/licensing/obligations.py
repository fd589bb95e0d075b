"""What a license asks of whoever uses the model, in words. Pure."""

from modelpick.licensing.license import License
from modelpick.licensing.outcome import Obligation

_SHARED = {"work": "the changed model", "module": "changed modules", "file": "changed files", "library": "the library"}
_TRAINING = {
    "no": "do not use its outputs to train or improve other models",
    "if-named": "a distributed model trained on its outputs carries the name prefix and the attribution",
    "if-attributed": "a distributed model trained on its outputs carries the attribution",
    "as-derivative": "a model trained on its outputs counts as a derivative and inherits these terms",
}


def obligations(one: License) -> tuple[Obligation, ...]:
    """The obligations of one license; a threshold above which one is owed is said in its text."""
    owes, permits, excluded = one.owes, one.permits, one.limits.territory_excluded
    users, revenue = one.limits.monthly_active_users or 0, one.limits.annual_revenue_usd or 0
    told: list[tuple[bool, str, str]] = [
        (owes.notice, "keep_notices", f"keep the copyright and license notices of {one.title}"),
        (owes.copy_of_license, "copy_of_license", f"pass on a copy of {one.title} with the model"),
        (owes.notice_file, "notice_file", owes.notice_text or f"keep a NOTICE file that names {one.title}"),
        (owes.mark_changes, "mark_changes", "say in changed files that you changed them"),
        (owes.attribution is not None, "attribution", f'show: "{owes.attribution}"{_threshold(one)}'),
        (owes.name_prefix is not None, "name_prefix", f'names of derived models begin with "{owes.name_prefix}"'),
        (owes.use_policy, "use_policy", f"keep to the acceptable-use policy of {one.title}"),
        (owes.use_restrictions, "use_restrictions", f"keep to the use restrictions of {one.title}"),
        (bool(owes.forbidden), "forbidden_uses", f"not for: {'; '.join(owes.forbidden)}"),
        (owes.pass_on, "pass_on_restrictions", "put the use restrictions into the terms you give others"),
        (owes.share_alike is not None, "share_alike", f"share {_shared(one)} only under {one.title}"),
        (owes.network_source, "network_source", "offer the source to users of a network service built on it"),
        (owes.registration, "registration", f"tell {one.steward or 'the licensor'} before using it commercially"),
        (owes.keep_guardrails, "keep_guardrails", "do not bypass its safety guardrails without a substitute"),
        (owes.latest_version, "latest_version", "make reasonable efforts to use the latest version"),
        (owes.rename_changed, "rename_changed", "give changed versions another name"),
        (permits.derivatives == "not-shared", "do_not_share_changes", "do not share changed versions"),
        (permits.derivatives == "same-license", "same_license", f"changed versions stay under {one.title}"),
        (permits.hosting == "no", "no_hosting", "do not offer it to others as a service"),
        (permits.train_other_models in _TRAINING, "outputs", _TRAINING.get(permits.train_other_models or "", "")),
        (users > 0, "user_limit", f"ask for another license above {users:,} monthly active users"),
        (revenue > 0, "revenue_limit", f"ask for another license above {revenue:,} US dollars of yearly revenue"),
        (bool(excluded), "territory", f"not for use in: {', '.join(excluded)}"),
    ]  # fmt: skip
    return tuple(Obligation(code, text) for applies, code, text in told if applies)


def _shared(one: License) -> str:
    return _SHARED.get(one.owes.share_alike or "work", "the changed model")


def _threshold(one: License) -> str:
    users, revenue = one.limits.display_above_monthly_users, one.limits.display_above_monthly_revenue_usd
    if users is None and revenue is None:
        return ""
    parts = [f"{users:,} monthly active users"] if users is not None else []
    parts += [f"{revenue:,} US dollars of monthly revenue"] if revenue is not None else []
    return f" (owed above {' or '.join(parts)})"
