"""License facts x policy -> verdict, reasons, obligations. Pure, and nothing here knows a particular license."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from modelpick.licensing.identify import AnyOf, Claim, Known, Unknown
from modelpick.licensing.license import License
from modelpick.licensing.obligations import obligations
from modelpick.licensing.outcome import Finding, From, Obligation, Reason, Verdict, join
from modelpick.licensing.policy import Company, Policy
from modelpick.licensing.territory import Territories

Modality = Literal["text", "multimodal", "unknown"]


@dataclass(frozen=True, slots=True)
class Assessment:
    """What one claim (or several, joined) comes to."""

    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    findings: tuple[Finding, ...] = ()


def assess_claim(
    claim: Claim, origin: From, policy: Policy, territories: Territories, modality: Modality
) -> Assessment:
    """The verdict of a claim: of an any-of the best branch, of an all-of and of undecided candidates the strictest."""
    if isinstance(claim, Unknown):
        rules = policy.rules
        demanded = Verdict(rules.no_license if claim.code == "no_license" else rules.unknown_license)
        reason = Reason(claim.code, claim.text, claim.said, demanded)
        return Assessment(demanded, (reason,), (), ())
    if isinstance(claim, Known):
        parts = [assess_license(one, origin, claim.said, policy, territories, modality) for one in claim.candidates]
        if not claim.certain:
            owners = sorted({owner for one in claim.candidates if one.named for owner in one.named.by})
            text = f"{claim.said} is no identifier, and names alone do not tell the text"
            if owners:
                text = f"the name belongs to {', '.join(owners)}; used by somebody else it does not tell the text"
            parts.append(_single("name_without_owner", text, claim.said, Verdict(policy.rules.unknown_license)))
        return combine(parts)
    parts = [assess_claim(part, origin, policy, territories, modality) for part in claim.parts]
    if isinstance(claim, AnyOf):
        return min(parts, key=lambda part: part.verdict.strictness)
    return combine(parts)


def combine(parts: list[Assessment] | tuple[Assessment, ...]) -> Assessment:
    """All parts bind: the strictest verdict, everything that was found and is owed, each once."""
    if len(parts) == 1:
        return parts[0]
    return Assessment(
        join(part.verdict for part in parts),
        tuple(dict.fromkeys(reason for part in parts for reason in part.reasons)),
        tuple(dict.fromkeys(owed for part in parts for owed in part.obligations)),
        tuple(dict.fromkeys(finding for part in parts for finding in part.findings)),
    )


def assess_license(
    one: License, origin: From, said: str, policy: Policy, territories: Territories, modality: Modality
) -> Assessment:
    """What one license, as facts, comes to for the policy's company."""
    reasons = _permission(one, said, policy) or _limits(one, said, policy, territories, modality)
    reasons += _duties(one, said, policy)
    if not reasons:
        text = f"{one.title}: commercial use is free of conditions beyond keeping notices"
        reasons = [Reason("permissive", text, said, policy.rules.permissive)]
    verdict = join(reason.verdict for reason in reasons)
    owed = obligations(one) if verdict is not Verdict.DENY else ()
    return Assessment(verdict, tuple(reasons), owed, (Finding(one.id, one.spdx, origin, said),))


def _permission(one: License, said: str, policy: Policy) -> list[Reason]:
    """The reasons why the license cannot be relied on at all; empty when its permission may be looked at closer."""
    rules, use = policy.rules, one.permits.commercial_use
    if use == "no":
        return [Reason("non_commercial", f"{one.title} forbids commercial use", said, rules.non_commercial)]
    if one.family:
        text = f"{one.title} is a family of licenses with different terms; which one it is was not said"
        return [Reason("family_id", text, said, Verdict(rules.unknown_license))]
    if use == "unknown":
        text = f"what {one.title} permits is not known here"
        return [Reason("unknown_license", text, said, Verdict(rules.unknown_license))]
    if one.confidence == "low":
        text = f"of {one.title} only the name is known; its text was not read"
        return [Reason("unread_license", text, said, Verdict(rules.unread_license))]
    return []


def _limits(one: License, said: str, policy: Policy, territories: Territories, modality: Modality) -> list[Reason]:
    """Where the permission stops: each limit is met, exceeded, or cannot be told from the company's profile."""
    rules, limits = policy.rules, one.limits
    verdicts = {"beyond": rules.over_limit, "unknown": Verdict(rules.unknown_license), "within": rules.conditional}
    verdicts |= {"application": rules.application, "no_derivatives": rules.no_derivatives}
    told = [*_size(one, policy.company), *_outputs(one, policy.company)]
    if not (limits.territory_scope == "multimodal" and modality == "text"):
        told += _territory(one, policy.company, territories, modality)
    if limits.application or limits.royalties:
        told.append(("application", "application_required", "commercial use must be applied for"))
    if one.permits.derivatives == "not-shared":
        told.append(("no_derivatives", "no_derivatives", "changed versions (fine-tunes too) may not be shared"))
    if one.permits.commercial_use == "conditional" and not told:
        told.append(("within", "conditional_license", "commercial use is allowed on conditions"))
    return [Reason(code, f"{one.title}: {text}", said, verdicts[kind]) for kind, code, text in told]


_Told = tuple[str, str, str]  # what it comes to (a key of `verdicts` above), the reason's code, its text


def _size(one: License, company: Company) -> Iterator[_Told]:
    for code, key, have, limit, unit in (
        ("user_limit", "monthly_active_users", company.monthly_active_users, one.limits.monthly_active_users,
         "monthly active users"),
        ("revenue_limit", "annual_revenue_usd", company.annual_revenue_usd, one.limits.annual_revenue_usd,
         "US dollars of yearly revenue"),
    ):  # fmt: skip
        if limit is None:
            continue
        text = f"free up to {limit:,} {unit}"
        if have is None:
            yield "unknown", f"{code}_unknown", f"{text}; the policy does not give company.{key}"
        elif have > limit:
            yield "beyond", f"over_{code}", f"{text}; the company has {have:,.0f}"
        else:
            yield "within", f"within_{code}", f"{text}; the company has {have:,.0f}"


def _outputs(one: License, company: Company) -> Iterator[_Told]:
    hosting, others = one.permits.hosting, company.trains_other_models
    if hosting in ("no", "conditional") and company.deployment is None:
        yield "unknown", "deployment_unknown", "offering it as a service is limited; company.deployment is not given"
    elif hosting == "no" and company.deployment == "api":
        yield "beyond", "hosting_not_allowed", "it may not be offered to others as a service"
    elif hosting == "conditional" and company.deployment == "api":
        yield "unknown", "hosting_conditional", "offering it to others as a service has conditions that must be read"
    if one.permits.train_other_models == "no" and others is None:
        yield "unknown", "outputs_unknown", "its outputs may not train others; company.trains_other_models is not given"
    elif one.permits.train_other_models == "no" and others:
        yield "beyond", "outputs_restricted", "its outputs may not be used to train other models"


def _territory(one: License, company: Company, territories: Territories, modality: Modality) -> Iterator[_Told]:
    excluded, home = one.limits.territory_excluded, company.domicile
    where = ", ".join(excluded)
    if not excluded:
        return
    inside = home is not None and territories.within(home, excluded)
    if one.limits.territory_scope == "multimodal" and modality == "unknown" and (inside or home is None):
        yield "unknown", "territory_unknown", f"multimodal models are not licensed in {where}; is this one?"
        return
    if home is None:
        yield "unknown", "domicile_unknown", f"not licensed in {where}; the policy does not give company.domicile"
    elif inside:
        yield "beyond", "excluded_territory", f"not licensed to a company domiciled in {home} (excluded: {where})"
    for region in company.regions:
        country = territories.of_region(region)
        if country is None:
            yield "unknown", "region_unknown", f"not licensed in {where}; where the region {region} lies is not known"
        elif territories.within(country, excluded):
            yield "beyond", "excluded_region", f"may not run in {region} ({country}; excluded: {where})"


def _duties(one: License, said: str, policy: Policy) -> list[Reason]:
    rules, owes = policy.rules, one.owes
    duties: tuple[tuple[bool, str, str, Verdict], ...] = (
        (owes.attribution is not None, "attribution", "asks for attribution", rules.attribution),
        (owes.name_prefix is not None, "name_prefix", "rules the names of derived models", rules.conditional),
        (owes.share_alike is not None, "share_alike", "asks that changed versions stay under it", rules.share_alike),
        (owes.network_source, "network_source", "counts a network service as sharing", rules.share_alike),
        (owes.use_restrictions, "use_restrictions", "forbids certain uses", rules.use_restrictions),
        (owes.use_policy, "use_policy", "comes with an acceptable-use policy", rules.use_restrictions),
        (owes.registration, "registration", "asks to tell the licensor before commercial use", rules.registration),
    )
    return [Reason(code, f"{one.title} {text}", said, demanded) for applies, code, text, demanded in duties if applies]


def _single(code: str, text: str, evidence: str, verdict: Verdict) -> Assessment:
    return Assessment(verdict, (Reason(code, text, evidence, verdict),))
