"""`doctor --aws`: everything `up` needs, looked at before anything is made, each with what mends it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from modelpick.aws import operator_policy, site
from modelpick.aws.account import Account
from modelpick.aws.names import Names
from modelpick.aws.spec import Candidate
from modelpick.errors import ModelpickError, RemoteError

State = Literal["ok", "problem", "unknown"]
_AT_ONCE = 50  # actions in one simulation: the API takes up to 100 names, answers grow with them


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `unknown`: it could not be looked at, which stops nothing by itself."""

    name: str
    state: State
    detail: str
    fix: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The check in the names of `doctor --json`."""
        return {"name": self.name, "state": self.state, "detail": self.detail, "fix": self.fix}


def check(
    account: Account, candidates: Sequence[Candidate], *, spot: bool = False, subnet: str | None = None
) -> list[Check]:
    """All checks for one machine of any of `candidates`, in the order `up` would meet them. Creates nothing."""
    try:
        caller = account.identity()
    except RemoteError as error:
        return [Check("AWS identity", "problem", error.message, error.fix)]
    names = Names("check", caller["Account"], account.region)
    looks: list[tuple[str, Callable[[], str | Check]]] = [
        ("AWS identity", lambda: f"{caller['Arn']} in {account.region}"),
        ("permissions", lambda: _permissions(account, caller["Arn"], names)),
        ("network", lambda: _network(account, subnet)),
        ("zones", lambda: _zones(account, candidates)),
        ("machine image", lambda: site.image(account, candidates[0].cpu)),
        ("quota", lambda: _quota(account, candidates, spot)),
    ]
    return [_look(name, look) for name, look in looks]


def _look(name: str, look: Callable[[], str | Check]) -> Check:
    try:
        found = look()
    except ModelpickError as error:
        state: State = "unknown" if error.code == "access_denied" else "problem"
        return Check(name, state, error.message, error.fix)
    return found if isinstance(found, Check) else Check(name, "ok", found)


def _permissions(account: Account, arn: str, names: Names) -> Check:
    """Ask IAM itself, boundaries included, without doing anything."""
    principal = _principal(account, arn)
    wanted = operator_policy.actions()
    denied = []
    try:
        for start in range(0, len(wanted), _AT_ONCE):
            answer = account.call(
                "iam",
                "simulate_principal_policy",
                PolicySourceArn=principal,
                ActionNames=list(wanted[start : start + _AT_ONCE]),
                ContextEntries=[
                    {
                        "ContextKeyName": "aws:ResourceTag/modelpick:deployment",
                        "ContextKeyValues": [names.deployment],
                        "ContextKeyType": "string",
                    }
                ],
            )
            denied += [row["EvalActionName"] for row in answer["EvaluationResults"] if row["EvalDecision"] != "allowed"]
    except RemoteError as error:
        if error.code != "access_denied":
            raise
        return _dry_run(account)
    if denied:
        return Check(
            "permissions",
            "problem",
            f"denied, as far as IAM can simulate: {', '.join(sorted(denied))}",
            "have the policy of `modelpick doctor --aws --iam-policy` attached, on names modelpick-*",
        )
    return Check("permissions", "ok", f"all {len(wanted)} actions allowed for {principal}")


def _dry_run(account: Account) -> Check:
    """IAM may not be asked: EC2's own dry runs tell about its part."""
    try:
        account.call("ec2", "create_security_group", GroupName="modelpick-check", Description="dry run", DryRun=True)
    except RemoteError as error:
        if getattr(error, "aws_code", "") != "DryRunOperation":
            return Check("permissions", "problem", error.message, error.fix)
    return Check("permissions", "unknown", "EC2 allows it (dry run); IAM may not be asked about the rest", None)


def _principal(account: Account, arn: str) -> str:
    """The user or role behind a caller's ARN: an assumed role's session is not what policies hang on."""
    if ":assumed-role/" not in arn:
        return arn
    role = arn.split(":assumed-role/")[1].partition("/")[0]
    try:
        found = account.find("iam", "get_role", RoleName=role)
    except RemoteError:
        found = None
    partition, account_id = arn.split(":")[1], arn.split(":")[4]
    return str(found["Role"]["Arn"]) if found else f"arn:{partition}:iam::{account_id}:role/{role}"


def _network(account: Account, subnet: str | None) -> str:
    found, public = site.subnets(account, subnet)
    kind = "public" if public else "private, with a NAT"
    return f"{len(found)} subnet{'s' if len(found) > 1 else ''} with a way out ({kind}); nothing comes in"


def _zones(account: Account, candidates: Sequence[Candidate]) -> Check:
    zones = site.offered_zones(account, [candidate.instance_type for candidate in candidates])
    text = "; ".join(f"{kind} in {', '.join(sorted(where)) or 'no zone'}" for kind, where in zones.items())
    if any(zones.values()):
        return Check("zones", "ok", text)
    return Check("zones", "problem", text, "choose another --region or --instance")


def _quota(account: Account, candidates: Sequence[Candidate], spot: bool) -> Check:
    rows = site.headroom(account, candidates, spot=spot)
    text = "; ".join(f"{row.name}: {row.limit:g} vCPUs, {row.used} in use, {row.needed} needed" for row in rows)
    short = [row for row in rows if not row.enough]
    if not rows:
        return Check("quota", "unknown", "no vCPU quota is known for these types")
    if short:
        return Check("quota", "problem", text, f"{short[0].request} --region {account.region}")
    return Check("quota", "ok", text)
