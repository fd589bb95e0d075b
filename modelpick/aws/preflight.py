"""Everything `up` needs, checked before anything is made: for `doctor --aws` as a list, for `up` as a yes or no."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from modelpick.aws import guardrails, iam, kill_switches, location, record
from modelpick.aws.account import Account
from modelpick.aws.errors import AwsRefused
from modelpick.aws.location import LaunchLocation
from modelpick.aws.names import ResourceNames
from modelpick.aws.spec import InstanceCandidate, Spec
from modelpick.errors import ModelpickError, RemoteError

State = Literal["ok", "problem", "unknown"]
_POLICY = "attach the policy of `modelpick doctor --aws --iam-policy`"


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `unknown`: it could not be made, which by itself stops nothing."""

    name: str
    state: State
    detail: str
    fix: str | None = None

    def as_json(self) -> dict[str, object]:
        """The check in the names of `doctor --json`."""
        return {"name": self.name, "state": self.state, "detail": self.detail, "fix": self.fix}


@dataclass(frozen=True, slots=True)
class PreflightRequest:
    """What `doctor --aws` is asked about: in the same way as `up`."""

    candidates: Sequence[InstanceCandidate]
    spot: bool = False
    subnet: str | None = None
    kms_key: str | None = None
    permission_boundary: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def ready(account: Account, spec: Spec, *, expected_account: str | None = None) -> LaunchLocation:
    """Where the machine of `spec` can run. Raises a typed error for the first thing that is missing.

    A deployment whose machine runs is only looked up; a started one keeps the permissions that were checked.
    """
    place = location.discover(account, spec, expected_account=expected_account)
    names = ResourceNames(spec.deployment, place.account, spec.region)
    if kill_switches.wants_machine(kill_switches.find_group(account, names)):
        return place
    place = replace(place, offered=location.check_headroom(account, spec, place.offered))
    if spec.kms_key:
        guardrails.check_key(account, spec.kms_key)
    if spec.permission_boundary:
        guardrails.check_boundary(account, names, spec.permission_boundary, spec.kms_key)
    if record.read(account, names) is None:
        _refuse_if_denied(account, names, spec)
    return place


def _refuse_if_denied(account: Account, names: ResourceNames, spec: Spec) -> None:
    """Everything that would be denied, at once instead of halfway. Without permission to ask, nothing is refused."""
    try:
        found = iam.ask(
            account, account.identity(), partition=names.partition, deployment=names.deployment, tags=spec.tags,
            kms_key=spec.kms_key,
        )  # fmt: skip
    except AwsRefused as refused:
        if refused.code != "access_denied":
            raise
        return
    if found.denied:
        raise RemoteError(f"up would fail halfway: {found.text()}", fix=_POLICY, code="access_denied")


def check(account: Account, wanted: PreflightRequest) -> list[Check]:
    """All checks for one machine of any of the candidates, in the order `up` would meet them. Creates nothing."""
    try:
        caller = account.identity()
        account.check_clock()
    except RemoteError as error:
        return [Check("AWS identity", "problem", error.message, error.fix)]
    names = ResourceNames("check", caller["Account"], account.region)
    candidates = wanted.candidates
    looks: list[tuple[str, Callable[[], str | Check]]] = [
        ("AWS identity", lambda: f"{caller['Arn']} in {account.region}"),
        ("permissions", lambda: _permissions(account, caller, names, wanted)),
        ("network", lambda: _network(account, wanted.subnet)),
        ("zones", lambda: _zones(account, candidates)),
        ("machine image", lambda: location.image(account, candidates[0].cpu)),
        ("quota", lambda: _quota(account, candidates, wanted.spot)),
    ]
    if wanted.kms_key:
        key = wanted.kms_key
        looks.append(("KMS key", lambda: guardrails.check_key(account, key)))
    if wanted.permission_boundary:
        arn = wanted.permission_boundary
        looks.append(("permission boundary", lambda: _boundary(account, names, arn, wanted.kms_key)))
    return [_look(name, look) for name, look in looks]


def _boundary(account: Account, names: ResourceNames, arn: str, kms_key: str | None) -> str:
    guardrails.check_boundary(account, names, arn, kms_key)
    return "machine and forced delete can work under it"


def _look(name: str, look: Callable[[], str | Check]) -> Check:
    try:
        found = look()
    except ModelpickError as error:
        state: State = "unknown" if error.code == "access_denied" else "problem"
        return Check(name, state, error.message, error.fix)
    return found if isinstance(found, Check) else Check(name, "ok", found)


def _permissions(account: Account, caller: Mapping[str, Any], names: ResourceNames, wanted: PreflightRequest) -> Check:
    try:
        found = iam.ask(
            account, caller, partition=names.partition, tags=wanted.tags, kms_key=wanted.kms_key
        )  # fmt: skip
    except AwsRefused as refused:
        if refused.code != "access_denied":
            raise
        return _dry_run(account)
    if found.denied:
        return Check("permissions", "problem", found.text(), _POLICY)
    if found.unsure:
        tags = [key.removeprefix("aws:RequestTag/") for key in found.unsure if key.startswith("aws:RequestTag/")]
        fix = f"add {' '.join(f'--tag {key}=...' for key in tags)}" if tags else None
        return Check("permissions", "unknown", f"depends on {', '.join(found.unsure)}", fix)
    return Check("permissions", "ok", f"all {found.asked} actions allowed for {found.principal}")


def _dry_run(account: Account) -> Check:
    """Without permission to ask IAM: EC2's own dry runs cover its part."""
    try:
        account.call("ec2", "create_security_group", GroupName="modelpick-check", Description="dry run", DryRun=True)
    except RemoteError as error:
        if getattr(error, "aws_code", "") != "DryRunOperation":
            return Check("permissions", "problem", error.message, error.fix)
    return Check(
        "permissions", "unknown", "EC2 allows it (dry run); there is no permission to ask IAM about the rest", None
    )


def _network(account: Account, subnet: str | None) -> str:
    found, public = location.subnets(account, subnet)
    kind = "public" if public else "private, with a NAT"
    return (
        f"{len(found)} subnet{'s' if len(found) > 1 else ''} with a route to the internet ({kind}); no inbound access"
    )


def _zones(account: Account, candidates: Sequence[InstanceCandidate]) -> Check:
    zones = location.offered_zones(account, [candidate.instance_type for candidate in candidates])
    text = "; ".join(f"{kind} in {', '.join(sorted(where)) or 'no zone'}" for kind, where in zones.items())
    if any(zones.values()):
        return Check("zones", "ok", text)
    return Check("zones", "problem", text, "choose another --region or --instance")


def _quota(account: Account, candidates: Sequence[InstanceCandidate], spot: bool) -> Check:
    rows = location.headroom(account, candidates, spot=spot)
    text = "; ".join(f"{row.name}: {row.limit:g} vCPUs, {row.used} in use, {row.needed} needed" for row in rows)
    short = [row for row in rows if not row.enough]
    if not rows:
        return Check("quota", "unknown", "no vCPU quota is known for these types")
    if short:
        return Check("quota", "problem", text, f"{short[0].request} --region {account.region}")
    return Check("quota", "ok", text)
