"""`up`: everything free first, then both switches, then the one call that costs money, then the wait. And `extend`.

Repeating the command continues where it stopped; every step finds what it made before by its name. Whatever fails:
no machine runs that the two switches will not stop.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from modelpick.aws import inventory, kill_switches, license_gate, preflight, record, resources, templates
from modelpick.aws.account import Account
from modelpick.aws.errors import AwsRefused
from modelpick.aws.kill_switches import GroupMember
from modelpick.aws.location import LaunchLocation
from modelpick.aws.names import TAG_EXPIRES, ResourceNames
from modelpick.aws.record import instance_history
from modelpick.aws.resources import DeploymentContext, Payload
from modelpick.aws.spec import Spec
from modelpick.errors import MayBeBillingError, ModelpickError, RemoteError, UsageError
from modelpick.planning import plan_actions

Report = Callable[[str], None]
_POLL, _SLOW_POLL = 15.0, 60.0  # seconds between looks at the group: at first, and once it is a wait for capacity
_QUICK = timedelta(minutes=3)  # a successful launch takes less
_MOVE_EVERY = timedelta(minutes=10)  # while there is no machine, the limit moves with the wait
_NO_CAPACITY = re.compile(
    r"(?i)capacity|no spot|SpotMaxPriceTooLow|Unfulfillable|not supported in your requested Avail"
)
_NO_QUOTA = re.compile(r"(?i)vcpu (capacity|limit)|VcpuLimitExceeded|MaxSpotInstanceCount|spot instance count")
_HOPELESS_AFTER = 3  # failures that are neither capacity nor quota: AWS's words are shown instead of trying for hours


@dataclass(frozen=True, slots=True)
class RunningMachine:
    """The machine that runs, and what stops it."""

    deployment: str
    region: str
    instance_id: str
    instance_type: str
    zone: str
    stop_at: datetime
    delete_at: datetime
    usd_per_hour: float
    most_usd: float

    def as_json(self) -> dict[str, object]:
        """The machine in the names of `up --json`."""
        return {
            "deployment": self.deployment,
            "region": self.region,
            "instance_id": self.instance_id,
            "instance_type": self.instance_type,
            "zone": self.zone,
            "stop_at": f"{self.stop_at:%Y-%m-%dT%H:%M:%SZ}",
            "delete_at": f"{self.delete_at:%Y-%m-%dT%H:%M:%SZ}",
            "usd_per_hour": round(self.usd_per_hour, 4),
            "max_usd": round(self.most_usd, 2),
        }


def up(
    account: Account,
    spec: Spec,
    payload: Payload,
    *,
    expected_account: str | None = None,
    wait: timedelta = timedelta(minutes=15),
    report: Report = lambda _: None,
    place: LaunchLocation | None = None,
) -> RunningMachine:
    """The machine of `spec`, made or found. Raises typed errors; MayBeBillingError once one may run.

    The license is judged again before anything is made: raises as `license_gate.require`. `place` is what
    `preflight.ready` found; without it that is asked here.
    """
    place = place or preflight.ready(account, spec, expected_account=expected_account)
    names = ResourceNames(spec.deployment, place.account, spec.region)
    running = kill_switches.wants_machine(kill_switches.find_group(account, names))
    if not running:
        license_gate.require(spec)
    begun = record.begin(
        account, names, spec, record.new(spec, owner=place.owner, image=place.image, now=account.now())
    )
    context = DeploymentContext(account, names, spec, place, begun, payload)
    if not running:
        _refuse_if_over(account, names, begun)
        for title, step in resources.STEPS:
            report(title)
            step(context)
    return start(context, wait, report)


def start(context: DeploymentContext, wait: timedelta, report: Report) -> RunningMachine:
    """Arm, pay, wait: what follows when the free resources exist."""
    account, names = context.account, context.names
    report(plan_actions.title("arm_stop"))
    running = kill_switches.wants_machine(kill_switches.find_group(account, names))
    if running and not kill_switches.read(account, names).armed:
        _rearm_or_stop(context)
    elif not running:
        held = kill_switches.arm(account, names, account.now() + timedelta(hours=context.record.hours))
        tell_limit(account, names, held)
        report(plan_actions.title("start"))
        _pay(context)
    try:
        return _wait_for_machine(context, account.now() + wait, report)
    except AwsRefused as refused:
        raise may_be_billing(refused, names, switches_known(account, names)) from None


def _pay(context: DeploymentContext) -> None:
    """The one call that costs money, right after a last check of the switches."""
    account, names = context.account, context.names
    noted = record.read(account, names)
    if noted is None or noted.going_down:
        raise _going_down(names)
    held = kill_switches.read(account, names)
    if not held.armed or held.stop_at is None or held.stop_at - account.now() < kill_switches.NEAREST:
        raise RemoteError(
            f"not started: {'; '.join(held.problems) or 'the stop is too soon'}",
            fix="re-run the command",
            code="switches_not_armed",
        )
    try:
        account.call(
            "autoscaling", "update_auto_scaling_group", AutoScalingGroupName=names.group, **templates.GROUP_AT_ONE
        )
    except AwsRefused as refused:
        # Any error may hide a lost answer: AWS is asked what was done.
        if _surely_at_zero(account, names):
            raise
        raise may_be_billing(refused, names, held) from None


def _surely_at_zero(account: Account, names: ResourceNames) -> bool:
    try:
        return not kill_switches.wants_machine(kill_switches.find_group(account, names))
    except RemoteError:
        return False


def _rearm_or_stop(context: DeploymentContext) -> None:
    """A machine runs and a switch was removed: arm it again for the rest of its time, or stop the machine."""
    account, names = context.account, context.names
    try:
        past = instance_history(account, names, context.record.created_at)
        began = past[0].started_at if past else account.now()
        limit = began + timedelta(hours=context.record.hours)
        if limit - account.now() < kill_switches.NEAREST:
            raise RemoteError("its time is up", fix=f"modelpick down {names.deployment}", code="deployment_ended")
        kill_switches.arm(account, names, limit)
    except RemoteError as error:
        raise _stopped(account, names, f"its kill switches could not be set: {error.message}", error.fix) from None


def _stopped(account: Account, names: ResourceNames, why: str, fix: str) -> ModelpickError:
    """Set the group to zero, since nothing else would stop its machine; the error says whether it worked."""
    to_zero(account, names)
    held = kill_switches.read(account, names)
    if held.out_of_reach:
        error = RemoteError(f"{why}; {'; '.join(held.out_of_reach)}", fix=fix, code="switches_not_armed")
        return may_be_billing(error, names, held)
    return RemoteError(f"the machine was stopped: {why}", fix=fix, code="switches_not_armed")


def _wait_for_machine(context: DeploymentContext, until: datetime, report: Report) -> RunningMachine:
    account, names = context.account, context.names
    began = moved_at = started_at = account.now()
    on_demand = context.spec.market != "spot-then-on-demand"
    while True:
        group = kill_switches.find_group(account, names)
        if group is None or not kill_switches.wants_machine(group):
            raise RemoteError(
                f"the group of {names.deployment} was set to zero meanwhile (its limit, its own end, or a `down`)",
                fix=f"modelpick status {names.deployment}",
                code="stopped_meanwhile",
            )
        member = next((member for member in group.members if member.lifecycle == "InService"), None)
        if member is not None:
            return _settle(context, member, report)
        failures = _failures(account, names, started_at)
        if on_demand:
            _give_up_if_hopeless(context, failures)
        if failures:
            report(f"waiting for capacity: {failures[-1]}")
        if failures and not on_demand:
            report("no spot machine is available: continuing with on-demand")
            policy = templates.mixed_instances(names, types=context.location.types, on_demand=True)
            account.call(
                "autoscaling",
                "update_auto_scaling_group",
                AutoScalingGroupName=names.group,
                MixedInstancesPolicy=policy,
            )
            on_demand, started_at = True, account.now()
        if account.now() >= until:
            _give_up(
                context,
                "no_capacity",
                f"no capacity for {', '.join(context.location.types)} in {names.region}",
                failures,
            )
        if not group.members and account.now() - moved_at >= _MOVE_EVERY:
            moved_at = account.now()
            _move_limit(context, moved_at)
        account.sleep(_POLL if account.now() - began < _QUICK else _SLOW_POLL)


def _move_limit(context: DeploymentContext, now: datetime) -> None:
    """No machine yet: the limit moves, so that a late machine has its full time."""
    try:
        held = kill_switches.arm(context.account, context.names, now + timedelta(hours=context.record.hours))
        tell_limit(context.account, context.names, held)
        _tell_expiry(context.account, context.names, held)
    except RemoteError:
        # The earlier limit still applies unless a switch is gone; then nothing may start.
        if not kill_switches.read(context.account, context.names).armed:
            to_zero(context.account, context.names)
            raise


def _settle(context: DeploymentContext, member: GroupMember, report: Report) -> RunningMachine:
    """In service: nothing may replace a machine that ends itself; and a last look at the switches."""
    account, names = context.account, context.names
    if not _runs(account, member.instance_id):
        raise _over(names)
    report(plan_actions.title("hold_size"))
    account.call(
        "autoscaling",
        "suspend_processes",
        AutoScalingGroupName=names.group,
        ScalingProcesses=list(templates.REPLACING_PROCESSES),
    )
    held = kill_switches.read(account, names)
    if not held.armed or held.stop_at is None or held.delete_at is None:
        fix = f"modelpick down {names.deployment}, then re-run the command"
        raise _stopped(account, names, "; ".join(held.problems), fix)
    hourly = context.record.usd_per_hour.get(member.instance_type, context.spec.hourly_usd)
    hourly += context.record.around_usd_per_hour
    return RunningMachine(
        deployment=names.deployment,
        region=names.region,
        instance_id=member.instance_id,
        instance_type=member.instance_type,
        zone=member.zone,
        stop_at=held.stop_at,
        delete_at=held.delete_at,
        usd_per_hour=hourly,
        most_usd=context.record.most_usd,
    )


def to_zero(account: Account, names: ResourceNames, *, unprotected: bool = False) -> None:
    """Set the group, if there is one, to zero; `unprotected`: also remove deletion protection."""
    wanted: dict[str, Any] = {**templates.GROUP_AT_ZERO}
    if unprotected:
        wanted["DeletionProtection"] = "none"
    account.find("autoscaling", "update_auto_scaling_group", AutoScalingGroupName=names.group, **wanted)


def switches_known(account: Account, names: ResourceNames) -> kill_switches.KillSwitches | None:
    """The switches, or None when they cannot be read."""
    try:
        return kill_switches.read(account, names)
    except RemoteError:
        return None


def may_be_billing(
    error: RemoteError, names: ResourceNames, held: kill_switches.KillSwitches | None
) -> MayBeBillingError:
    """`error` once a machine may run: what is known of its end, and the command that ends it."""
    end = "its kill switches were checked before it was paid for"
    if held is not None and held.stop_at is not None and held.armed:
        end = f"it stops by itself at {held.stop_at:%Y-%m-%d %H:%M} UTC"
    return MayBeBillingError(
        f"{error.message}. A machine of {names.deployment} may be running; {end}",
        fix=f"re-run the command, or: modelpick down {names.deployment}",
        code=error.code,
    )


def extend(
    account: Account, deployment: str, hours: float, *, max_usd: float | None = None
) -> kill_switches.KillSwitches:
    """Let a running machine run `hours` longer. At every moment at least one switch is armed, and the second is behind
    the first.

    Raises UsageError when nothing runs or the new total exceeds the cap and no new cap is given.
    """
    names = ResourceNames(deployment, account.identity()["Account"], account.region)
    noted, held = record.read(account, names), kill_switches.read(account, names)
    if (
        noted is None
        or held.stop_at is None
        or not kill_switches.wants_machine(kill_switches.find_group(account, names))
    ):
        raise UsageError(f"{deployment} has no machine to extend", fix="modelpick status", code="not_running")
    longer = replace(noted, hours=noted.hours + hours, max_usd=max(max_usd or 0.0, noted.max_usd))
    cap = max_usd or noted.max_usd
    if longer.most_usd > cap + 0.005:
        raise UsageError(
            f"{longer.hours:.2f} hours can cost ${longer.most_usd:.2f}, above the cap of ${cap:.2f}",
            fix=f"add --max-usd {longer.most_usd + 0.01:.2f}",
            code="cap_too_small",
        )
    moved = kill_switches.arm(account, names, held.stop_at + timedelta(hours=hours))
    tell_limit(account, names, moved)
    _tell_expiry(account, names, moved)
    still = record.read(account, names)
    if still is None or still.going_down:  # a `down` came in between: its mark must not be overwritten
        raise _going_down(names)
    record.store(account, names, longer)
    return moved


def tell_limit(account: Account, names: ResourceNames, held: kill_switches.KillSwitches) -> None:
    """Write the end time for the machine: it saves its results before it, and powers off after it."""
    body = templates.canonical({"schema_version": 1, "stop_at": f"{held.stop_at:%Y-%m-%dT%H:%M:%SZ}"})
    account.call("s3", "put_object", Bucket=names.bucket, Key="bundle/limit.json", Body=body.encode())


def _tell_expiry(account: Account, names: ResourceNames, held: kill_switches.KillSwitches) -> None:
    """Move the expiry tag of everything paid: a company's own clean-up must come neither too early nor never."""
    if held.delete_at is None:
        return
    tag = {"Key": TAG_EXPIRES, "Value": f"{held.delete_at:%Y-%m-%dT%H:%M:%SZ}"}
    group = {"ResourceId": names.group, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": True}
    account.call("autoscaling", "create_or_update_tags", Tags=[{**group, **tag}])
    paid = [machine.id for machine in inventory.machines(account, names.deployment) if machine.runs]
    paid += [disk.id for disk in inventory.disks(account, names.deployment)]
    if paid:
        account.call("ec2", "create_tags", Resources=paid, Tags=[tag])


def _going_down(names: ResourceNames) -> RemoteError:
    return RemoteError(
        f"{names.deployment} is being taken down",
        fix=f"modelpick down {names.deployment}, then re-run the command",
        code="going_down",
    )


def _refuse_if_over(account: Account, names: ResourceNames, held: record.Record) -> None:
    """A deployment whose machine has run and gone is over: running it again would spend its cap twice."""
    if instance_history(account, names, held.created_at):
        raise _over(names)


def _over(names: ResourceNames) -> ModelpickError:
    return ModelpickError(
        f"{names.deployment} has run and ended",
        fix=f"modelpick down {names.deployment} (results are kept), then re-run the command",
        code="deployment_ended",
    )


def _runs(account: Account, instance_id: str) -> bool:
    """Whether EC2 still has the machine: a group that may not replace keeps listing one that powered itself off."""
    found = account.find("ec2", "describe_instances", InstanceIds=[instance_id])
    listed = [item for held in (found or {}).get("Reservations", ()) for item in held["Instances"]]
    return any(item["State"]["Name"] in ("pending", "running") for item in listed)


def _failures(account: Account, names: ResourceNames, since: datetime) -> list[str]:
    answer = account.call("autoscaling", "describe_scaling_activities", AutoScalingGroupName=names.group, MaxRecords=20)
    failed = [item for item in answer["Activities"] if item["StatusCode"] == "Failed" and item["StartTime"] >= since]
    return [item.get("StatusMessage", "no reason given") for item in reversed(failed)]


def _give_up_if_hopeless(context: DeploymentContext, failures: list[str]) -> None:
    if failures and _NO_QUOTA.search(failures[-1]):
        _give_up(context, "quota", "the vCPU quota is used up", failures)
    other = [text for text in failures if not _NO_CAPACITY.search(text)]
    if len(other) >= _HOPELESS_AFTER:
        _give_up(context, "launch_failed", "AWS cannot launch the machine", other)


def _give_up(context: DeploymentContext, code: str, message: str, failures: list[str]) -> None:
    """Set the group to zero and verify it. Raises RemoteError, or MayBeBillingError if that fails."""
    to_zero(context.account, context.names)
    fixes = {
        "no_capacity": "re-run the command with --wait 6h (or another --region, --market or --instance, and --name)",
        "quota": f"modelpick doctor --aws --region {context.names.region} shows how to request more",
        "launch_failed": "modelpick doctor --aws, then re-run the command",
    }
    aws_says = f"; AWS says: {failures[-1]}" if failures else ""
    raise RemoteError(f"{message}{aws_says}. Nothing runs: the group is at zero", fix=fixes[code], code=code)
