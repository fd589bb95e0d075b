"""What each license fact means: one table, a row per fact, and the verdict that a license comes to. Pure.

`ROWS` is the only place where a field of Permits, Limits or Owes is given a meaning. A field without a row cannot be
loaded (`fields_without_a_row`), so no fact of a license is silent. No particular license is named here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from modelpick.licensing.fact_row import FactRow, LicenseCase, Stage
from modelpick.licensing.fact_row import Modality as Modality
from modelpick.licensing.identify import AnyOf, Claim, Known, Unknown
from modelpick.licensing.license import Bound, License, Limits, Owes, Permits
from modelpick.licensing.outcome import EvidenceSource, LicenseFinding, Obligation, Reason, Verdict, join
from modelpick.licensing.policy import Policy, Territories


def _permits(name: str, value: object) -> Callable[[LicenseCase], bool]:
    return lambda case: getattr(case.license.permits, name) == value


def _owes(name: str) -> Callable[[LicenseCase], bool]:
    return lambda case: bool(getattr(case.license.owes, name))


def _limit(name: str, side: Literal["any", "unknown", "over", "within"]) -> Callable[[LicenseCase], bool]:
    """Whether a numeric limit is set, and on which side of it the company's figure of the same name stands."""

    def applies(case: LicenseCase) -> bool:
        bound: Bound | None = getattr(case.license.limits, name)
        figure: float | None = getattr(case.company, name)
        if bound is None or side == "any":
            return bound is not None
        if figure is None or side == "unknown":
            return side == "unknown" and figure is None
        return bound.allows(figure) == (side == "within")

    return applies


def _free_up_to(name: str, unit: str, *, known: bool = True) -> Callable[[LicenseCase], str]:
    def sentence(case: LicenseCase) -> str:
        bound, figure = getattr(case.license.limits, name), getattr(case.company, name)
        rest = f"the company has {figure:,.0f}" if known else f"the policy does not give company.{name}"
        return f"is free {bound.within} {unit}; {rest}"

    return sentence


def _more_needed(name: str, unit: str) -> Callable[[LicenseCase], str]:
    return lambda case: f"get another license {getattr(case.license.limits, name).beyond} {unit}"


def _shown_above(name: str, unit: str) -> Callable[[LicenseCase], str]:
    return lambda case: f'show "{case.license.owes.attribution}" above {getattr(case.license.limits, name):,} {unit}'


def _has_display_threshold(case: LicenseCase) -> bool:
    limits = case.license.limits
    return limits.display_above_monthly_users is not None or limits.display_above_monthly_revenue_usd is not None


_USERS, _REVENUE = "monthly active users", "US dollars of yearly revenue"
_SHARED = {"work": "the changed model", "module": "changed modules", "file": "changed files", "library": "the library"}

ROWS: tuple[FactRow, ...] = (
    # May it be used commercially at all?
    FactRow("permits.commercial_use", _permits("commercial_use", "no"), "non_commercial", "forbids commercial use",
        "non_commercial", stage="permission"),
    FactRow("permits.commercial_use", lambda case: case.license.family, "family_id",
        "is a family of licenses with different terms; which one applies is not stated",
        "unknown_license", stage="permission"),
    FactRow("permits.commercial_use", _permits("commercial_use", "unknown"), "unknown_license",
        "permits what is not recorded here: a person has to read it", "unknown_license", stage="permission"),
    FactRow("permits.commercial_use", lambda case: case.license.confidence == "low", "unread_license",
        "is known by name only; its text was not read", "unread_license", stage="permission"),
    FactRow("permits.commercial_use", lambda case: case.license.confidence == "medium", "unread_license",
        "is known by what others say of it; its text was not read", "unread_license", stage="permission"),
    FactRow("permits.commercial_use", lambda case: case.license.confidence == "high" and not case.license.quotes
        and case.license.permits.commercial_use in ("yes", "conditional"), "no_clause_kept",
        lambda case: f"was read at {case.license.source.texts[0]}; no copy is kept, so no clause is quoted",
        stage="note"),
    FactRow("permits.commercial_use", _permits("commercial_use", "conditional"), "conditional_license",
        "allows commercial use on conditions", "conditional", stage="no_limit"),
    FactRow("permits.commercial_use", _permits("commercial_use", "yes"), "permissive",
        "allows commercial use with no condition beyond keeping notices", "permissive", stage="no_condition"),

    # Where the permission stops.
    FactRow("limits.monthly_active_users", _limit("monthly_active_users", "unknown"), "user_limit_unknown",
        _free_up_to("monthly_active_users", _USERS, known=False), "unknown_license", stage="limit"),
    FactRow("limits.monthly_active_users", _limit("monthly_active_users", "over"), "over_user_limit",
        _free_up_to("monthly_active_users", _USERS), "over_limit", stage="limit"),
    FactRow("limits.monthly_active_users", _limit("monthly_active_users", "within"), "within_user_limit",
        _free_up_to("monthly_active_users", _USERS), "conditional", stage="limit"),
    FactRow("limits.monthly_active_users", _limit("monthly_active_users", "any"),
        obligation=("user_limit", _more_needed("monthly_active_users", _USERS))),
    FactRow("limits.annual_revenue_usd", _limit("annual_revenue_usd", "unknown"), "revenue_limit_unknown",
        _free_up_to("annual_revenue_usd", _REVENUE, known=False), "unknown_license", stage="limit"),
    FactRow("limits.annual_revenue_usd", _limit("annual_revenue_usd", "over"), "over_revenue_limit",
        _free_up_to("annual_revenue_usd", _REVENUE), "over_limit", stage="limit"),
    FactRow("limits.annual_revenue_usd", _limit("annual_revenue_usd", "within"), "within_revenue_limit",
        _free_up_to("annual_revenue_usd", _REVENUE), "conditional", stage="limit"),
    FactRow("limits.annual_revenue_usd", _limit("annual_revenue_usd", "any"),
        obligation=("revenue_limit", _more_needed("annual_revenue_usd", _REVENUE))),
    FactRow("permits.hosting", lambda case: case.license.permits.hosting in ("no", "conditional")
        and case.company.deployment is None, "deployment_unknown",
        "limits offering it as a service; the policy does not give company.deployment",
        "unknown_license", stage="limit"),
    FactRow("permits.hosting", lambda case: case.license.permits.hosting == "no" and case.company.deployment == "api",
        "hosting_not_allowed", "forbids offering it to others as a service", "over_limit", stage="limit"),
    FactRow("permits.hosting",
        lambda case: case.license.permits.hosting == "conditional" and case.company.deployment == "api",
        "hosting_conditional", "has conditions for offering it to others as a service; they must be read",
        "unknown_license", stage="limit"),
    FactRow("permits.hosting", _permits("hosting", "no"),
        obligation=("no_hosting", "do not offer it to others as a service")),
    FactRow("permits.hosting", _permits("hosting", "conditional"),
        obligation=("hosting_conditions", "read {title} before you offer it to others as a service")),
    FactRow("permits.train_other_models", lambda case: case.license.permits.train_other_models == "no"
        and case.company.trains_other_models is None, "outputs_unknown",
        "forbids training other models on its outputs; the policy does not give company.trains_other_models",
        "unknown_license", stage="limit"),
    FactRow("permits.train_other_models", lambda case: case.license.permits.train_other_models == "no"
        and bool(case.company.trains_other_models), "outputs_restricted",
        "forbids training other models on its outputs", "over_limit", stage="limit"),
    FactRow("permits.train_other_models", _permits("train_other_models", "no"),
        obligation=("outputs", "do not use its outputs to train or improve other models")),
    FactRow("permits.train_other_models", _permits("train_other_models", "if-named"),
        obligation=("outputs", "give a model trained on its outputs the name prefix and the attribution, if you "
                    "distribute it")),
    FactRow("permits.train_other_models", _permits("train_other_models", "if-attributed"),
        obligation=("outputs", "give a model trained on its outputs the attribution, if you distribute it")),
    FactRow("permits.train_other_models", _permits("train_other_models", "as-derivative"),
        obligation=("outputs", "a model trained on its outputs counts as a derivative and inherits these terms")),
    FactRow("limits.territory_scope", lambda case: case.is_excluded_if_multimodal, "territory_unknown",
        lambda case: f"does not cover multimodal models in {', '.join(case.excluded)}; "
        "whether this is one is not known",
        "unknown_license", stage="limit"),
    FactRow("limits.territory_excluded", lambda case: bool(case.excluded) and case.home is None
        and not case.is_excluded_if_multimodal, "domicile_unknown",
        lambda case: f"is not granted in {', '.join(case.excluded)}; the policy does not give company.domicile",
        "unknown_license", stage="limit"),
    FactRow("limits.territory_excluded", lambda case: case.excludes_home and not case.is_excluded_if_multimodal,
        "excluded_territory", lambda case: f"is not granted to a company domiciled in {case.company.domicile} "
        f"(excluded: {', '.join(case.excluded)})", "over_limit", stage="limit"),
    FactRow("limits.territory_excluded", lambda case: bool(case.excluded_customers)
        and not case.is_excluded_if_multimodal, "excluded_customers",
        lambda case: f"is not granted for use by customers in {', '.join(case.excluded_customers)} "
        f"(excluded: {', '.join(case.excluded)})", "over_limit", stage="limit"),
    FactRow("limits.territory_excluded", lambda case: bool(case.regions(known=False)), "region_unknown",
        lambda case: f"is not granted in {', '.join(case.excluded)}; the country of "
        f"{', '.join(case.regions(known=False))} is not known", "unknown_license", stage="limit"),
    FactRow("limits.territory_excluded", lambda case: bool(case.regions(known=True)), "excluded_region",
        lambda case: f"does not allow running it in {', '.join(case.regions(known=True))} "
        f"(excluded: {', '.join(case.excluded)})", "over_limit", stage="limit"),
    FactRow("limits.territory_excluded", lambda case: bool(case.license.limits.territory_excluded),
        obligation=("territory", lambda case: f"not for use in: {', '.join(case.license.limits.territory_excluded)}")),
    FactRow("limits.application", lambda case: case.license.limits.application, "application_required",
        "requires an application for commercial use", "application", stage="limit"),
    FactRow("limits.royalties", lambda case: case.license.limits.royalties, "application_required",
        "requires royalties, to be agreed first", "application", stage="limit"),
    FactRow("permits.derivatives", _permits("derivatives", "not-shared"), "no_derivatives",
        "forbids sharing changed versions, fine-tunes included", "no_derivatives",
        ("do_not_share_changes", "do not share changed versions"), "limit"),

    # What it asks in return.
    FactRow("permits.derivatives", _permits("derivatives", "same-license"),
        obligation=("same_license", "changed versions stay under {title}")),
    FactRow("permits.derivatives", _permits("derivatives", "same-restrictions"),
        obligation=("same_restrictions", "changed versions carry the use restrictions of {title}")),
    FactRow("owes.notice", _owes("notice"),
        obligation=("keep_notices", "keep the copyright and license notices of {title}")),
    FactRow("owes.copy_of_license", _owes("copy_of_license"),
        obligation=("copy_of_license", "pass on a copy of {title} with the model")),
    FactRow("owes.notice_file", lambda case: bool(case.license.owes.notice_file and not case.license.owes.notice_text),
        obligation=("notice_file", "keep a {fact} text file that names {title}")),
    FactRow("owes.notice_text", _owes("notice_text"),
        obligation=("notice_file", lambda case: f"keep a {case.license.owes.notice_file or 'NOTICE'} text file that "
                    f'says "{case.license.owes.notice_text}"')),
    FactRow("owes.mark_changes", _owes("mark_changes"),
        obligation=("mark_changes", "state in changed files that you changed them")),
    FactRow("owes.credit", _owes("credit"), "attribution", "requires attribution", "attribution",
        ("attribution", "credit the authors, name {title} and link to it")),
    FactRow("owes.attribution", _owes("attribution"), "attribution", "requires attribution", "attribution"),
    FactRow("owes.attribution", lambda case: bool(case.license.owes.attribution) and not _has_display_threshold(case)
        and case.license.owes.attribution_on == "use", obligation=("attribution", 'show "{fact}"')),
    FactRow("owes.attribution_on", lambda case: bool(case.license.owes.attribution)
        and case.license.owes.attribution_on == "derived", obligation=("attribution_of_derivatives", lambda case:
        f'show "{case.license.owes.attribution}" with a model that you make with it and distribute')),
    FactRow("limits.display_above_monthly_users",
        lambda case: case.license.limits.display_above_monthly_users is not None,
        obligation=("attribution", _shown_above("display_above_monthly_users", _USERS))),
    FactRow("limits.display_above_monthly_revenue_usd",
        lambda case: case.license.limits.display_above_monthly_revenue_usd is not None,
        obligation=("attribution", _shown_above("display_above_monthly_revenue_usd",
                                                "US dollars of monthly revenue"))),
    FactRow("owes.name_prefix", _owes("name_prefix"), "name_prefix", "restricts names of derived models", "conditional",
        ("name_prefix", 'names of derived models must begin with "{fact}"')),
    FactRow("owes.share_alike", _owes("share_alike"), "share_alike", "requires changed versions to stay under it",
        "share_alike", ("share_alike", lambda case: f"share {_SHARED[case.license.owes.share_alike or 'work']} only "
                        f"under {case.license.title}")),
    FactRow("owes.network_source", _owes("network_source"), "network_source", "counts a network service as sharing",
        "share_alike", ("network_source", "offer the source to users of a network service built on it")),
    FactRow("owes.use_restrictions", _owes("use_restrictions"), "use_restrictions", "forbids certain uses",
        "use_restrictions", ("use_restrictions", "comply with the use restrictions of {title}")),
    FactRow("owes.use_policy", _owes("use_policy"), "use_policy", "has an acceptable-use policy",
        "use_restrictions", ("use_policy", "comply with the acceptable-use policy of {title}: {fact}")),
    FactRow("owes.forbidden", _owes("forbidden"),
        obligation=("forbidden_uses", lambda case: f"not for: {'; '.join(case.license.owes.forbidden)}")),
    FactRow("owes.pass_on", _owes("pass_on"),
        obligation=("pass_on_restrictions", "include the use restrictions in the terms you give others")),
    FactRow("owes.registration", _owes("registration"), "registration", "requires notice before commercial use",
        "registration", ("registration", "notify {licensor} before using it commercially")),
    FactRow("owes.keep_guardrails", _owes("keep_guardrails"),
        obligation=("keep_guardrails", "do not bypass its safety guardrails without a substitute")),
    FactRow("owes.latest_version", _owes("latest_version"),
        obligation=("latest_version", "make reasonable efforts to use the latest version")),
    FactRow("owes.rename_changed", _owes("rename_changed"),
        obligation=("rename_changed", "give changed versions another name")),
    FactRow("permits.revocable", _permits("revocable", True), "revocable", "lets {licensor} restrict or end your use",
        "revocable", ("revocable", "be ready to stop: {licensor} may restrict or end your use")),

    FactRow("owes.venue", _owes("venue"), obligation=("venue", "disputes under {title} go to {fact}")),

    # What a reader must know besides.
    FactRow("permits.patents", _permits("patents", False), "no_patent_grant", "grants no patent rights",
        "no_patent_grant", stage="note"),
    FactRow("permits.ends_on_litigation", _permits("ends_on_litigation", True),
        obligation=("patent_litigation", "you lose rights under {title} if you sue over patents in the model")),
    FactRow("limits.territory_spares_end_users", lambda case: case.license.limits.territory_spares_end_users
        and bool(case.customers_there), "end_users_spared",
        lambda case: f"does not exclude end users, such as customers in {', '.join(case.customers_there)}",
        stage="note"),
    FactRow("permits.made_for", lambda case: case.license.permits.made_for != "models", "not_made_for_models",
        "was written for {fact}, not for models", stage="note"),
)  # fmt: skip


def fields_without_a_row(rows: Iterable[FactRow] = ROWS) -> tuple[str, ...]:
    """The license facts that no row reads. Loading refuses to go on while there is one: a fact must mean something."""
    sections = {"permits": Permits, "limits": Limits, "owes": Owes}
    facts = {f"{section}.{item.name}" for section, kind in sections.items() for item in fields(kind)}
    return tuple(sorted(facts - {row.field for row in rows}))


@dataclass(frozen=True, slots=True)
class Assessment:
    """What one claim (or several, joined) comes to."""

    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    findings: tuple[LicenseFinding, ...] = ()


def assess_license(
    license: License, source: EvidenceSource, evidence: str, policy: Policy, territories: Territories,
    modality: Modality, rows: Sequence[FactRow] = ROWS,
) -> Assessment:  # fmt: skip
    """What one license comes to for the policy's company. `evidence`: the words that led to the license."""
    case = LicenseCase(license, policy.company, territories, modality)
    reasons = tuple(
        Reason(
            row.code,
            f"{license.title} {row.text(row.sentence, case)}",
            evidence,
            _demanded(row, policy),
            license.clause(row.name),
        )
        for row in _reasoned(case, rows)
    )
    verdict = join(reason.verdict for reason in reasons)
    obligations: tuple[Obligation, ...] = ()
    if verdict is not Verdict.DENY:
        obligations = tuple(
            Obligation(row.obligation[0], row.text(row.obligation[1], case), license.clause(row.name))
            for row in rows
            if row.obligation is not None and row.when(case)
        )
    return Assessment(verdict, reasons, obligations, (LicenseFinding(license.id, license.spdx, source, evidence),))


def _demanded(row: FactRow, policy: Policy) -> Verdict:
    return Verdict.ALLOW if row.rule is None else Verdict(getattr(policy.rules, row.rule))


def _reasoned(case: LicenseCase, rows: Sequence[FactRow]) -> Iterator[FactRow]:
    """The rows whose reasons count, by stage (see `FactRow`)."""
    speaking: dict[Stage, list[FactRow]] = {}
    for row in rows:
        if row.code and row.when(case):
            speaking.setdefault(row.stage, []).append(row)
    permission = speaking.get("permission", [])[:1]
    limits = [] if permission else speaking.get("limit", []) or speaking.get("no_limit", [])
    counted = [*permission, *limits, *speaking.get("condition", [])]
    yield from counted or speaking.get("no_condition", [])
    yield from speaking.get("note", [])


def assess_claim(
    claim: Claim, source: EvidenceSource, policy: Policy, territories: Territories, modality: Modality
) -> Assessment:
    """The verdict of a claim: of an any-of the best branch, of an all-of and of undecided candidates the strictest."""
    if isinstance(claim, Unknown):
        rules = policy.rules
        demanded = Verdict(rules.no_license if claim.code == "no_license" else rules.unknown_license)
        return Assessment(demanded, (Reason(claim.code, claim.text, claim.evidence, demanded),))
    if isinstance(claim, Known):
        parts = [
            assess_license(license, source, claim.evidence, policy, territories, modality)
            for license in claim.candidates
        ]
        return combine(parts if claim.certain else [*parts, _name_without_owner(claim, policy)])
    parts = [assess_claim(part, source, policy, territories, modality) for part in claim.parts]
    if isinstance(claim, AnyOf):
        return min(parts, key=lambda part: part.verdict.strictness)
    return combine(parts)


def _name_without_owner(claim: Known, policy: Policy) -> Assessment:
    """The question that a license's name raises when somebody other than its owner uses it."""
    owners = sorted({owner for license in claim.candidates if license.named for owner in license.named.by})
    text = f"{claim.evidence} is not an identifier, and a name alone does not identify the text"
    if owners:
        text = (
            f"{claim.evidence} is a name that {', '.join(owners)} gave; from anyone else it does not identify the text"
        )
    demanded = Verdict(policy.rules.unknown_license)
    return Assessment(demanded, (Reason("name_without_owner", text, claim.evidence, demanded),))


def combine(parts: Sequence[Assessment]) -> Assessment:
    """All parts bind: the strictest verdict, with every reason, obligation and finding once."""
    if len(parts) == 1:
        return parts[0]
    return Assessment(
        join(part.verdict for part in parts),
        tuple(dict.fromkeys(reason for part in parts for reason in part.reasons)),
        tuple(dict.fromkeys(obligation for part in parts for obligation in part.obligations)),
        tuple(dict.fromkeys(finding for part in parts for finding in part.findings)),
    )
