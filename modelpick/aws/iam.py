"""What the caller may do, asked of IAM itself before anything is done: policies, boundary, the organization's rules.

Each action of the policy that suffices is simulated on a name such as `up` would use, with the tags it would set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelpick.aws.account import Account
from modelpick.aws.errors import Refused
from modelpick.aws.names import TAG_DEPLOYMENT
from modelpick.aws.operator_policy import operator_policy

_FOR_MANY = "aws:TagKeys"
_OF_EC2 = ("Make", "Tagged")
_EC2_KINDS = ("instance", "launch-template", "security-group", "volume")


@dataclass(frozen=True, slots=True)
class Answer:
    """What IAM says of a caller. `denied`: who denies -> actions; `unsure`: condition keys it would have to know."""

    principal: str
    asked: int
    denied: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unsure: Sequence[str] = ()

    def text(self) -> str:
        """The denials in one line."""
        return "; ".join(f"{who} denies {', '.join(actions)}" for who, actions in self.denied.items())


def ask(
    account: Account,
    caller: Mapping[str, Any],
    *,
    partition: str,
    deployment: str = "check",
    tags: Mapping[str, str] | None = None,
    kms_key: str | None = None,
) -> Answer:
    """Simulate everything for the caller. Raises Refused (`access_denied`) where IAM may not be asked."""
    principal = principal_of(account, str(caller["Arn"]))
    document = operator_policy(str(caller["Account"]), partition, kms_key)
    carried = {TAG_DEPLOYMENT: deployment, **(tags or {})}
    rows: dict[str, list[dict[str, Any]]] = {}
    for statement in document["Statement"]:
        actions, resources = _listed(statement["Action"]), _listed(statement["Resource"])
        if any("${" in resource for resource in resources):
            continue  # a name with the caller's own id in it: not to be simulated by another's hand
        if statement["Sid"] in _OF_EC2:  # allowed on everything by us; a company's own policy may name kinds of things
            own = f"arn:{partition}:ec2:{account.region}:{caller['Account']}"
            resources = [f"{own}:{kind}/{deployment}" for kind in _EC2_KINDS]
        named = [_example(arn, account.region, deployment) for arn in resources if arn != "*"]
        where = {"ResourceArns": named} if named else {}
        answer = account.call(
            "iam",
            "simulate_principal_policy",
            PolicySourceArn=principal,
            ActionNames=actions,
            ContextEntries=_context(account.region, carried, statement.get("Condition", {})),
            **where,
        )
        for row in answer["EvaluationResults"]:
            rows.setdefault(row["EvalActionName"], []).append(row)
    return _answer(principal, rows)


def _answer(principal: str, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> Answer:
    """An action is denied where it is on none of its resources allowed, and no unknown condition could change that."""
    denied: dict[str, list[str]] = {}
    unsure: set[str] = set()
    for action, found in sorted(rows.items()):
        if any(row["EvalDecision"] == "allowed" for row in found):
            continue
        missing = {key for row in found for key in row.get("MissingContextValues", ())}
        if missing:
            unsure |= missing
        else:
            denied.setdefault(_who(found[0]), []).append(action)
    return Answer(principal, len(rows), denied, sorted(unsure))


def _who(row: Mapping[str, Any]) -> str:
    if not row.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations", True):
        return "the organization's service control policy"
    if not row.get("PermissionsBoundaryDecisionDetail", {}).get("AllowedByPermissionsBoundary", True):
        return "the caller's permission boundary"
    return "an explicit deny" if row["EvalDecision"] == "explicitDeny" else "no policy allows it: IAM"


def principal_of(account: Account, arn: str) -> str:
    """The user or role behind a caller's ARN: an assumed role's session is not what policies hang on."""
    if ":assumed-role/" not in arn:
        return arn
    role = arn.split(":assumed-role/")[1].partition("/")[0]
    try:
        found = account.find("iam", "get_role", RoleName=role)
    except Refused as refused:
        if refused.code != "access_denied":
            raise
        found = None
    partition, account_id = arn.split(":")[1], arn.split(":")[4]
    return str(found["Role"]["Arn"]) if found else f"arn:{partition}:iam::{account_id}:role/{role}"


def _example(arn: str, region: str, deployment: str) -> str:
    """One name that a pattern of ours allows: its region is the one asked about, its first * the deployment."""
    parts = arn.split(":", 5)
    parts[3] = region if parts[3] == "*" else parts[3]
    return ":".join(parts).replace("modelpick-*", f"modelpick-{deployment}").replace("*", deployment)


def _context(region: str, tags: Mapping[str, str], condition: Mapping[str, Any]) -> list[dict[str, Any]]:
    values: dict[str, list[str]] = {"aws:RequestedRegion": [region], _FOR_MANY: list(tags)}
    values |= {f"aws:RequestTag/{key}": [value] for key, value in tags.items()}
    values |= {f"aws:ResourceTag/{key}": [value] for key, value in tags.items()}
    for keys in condition.values():
        for key, value in keys.items():
            values.setdefault(key, _listed(value)[:1])
    return [
        {
            "ContextKeyName": key,
            "ContextKeyValues": listed,
            "ContextKeyType": "stringList" if key == _FOR_MANY else "string",
        }
        for key, listed in values.items()
    ]


def _listed(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
