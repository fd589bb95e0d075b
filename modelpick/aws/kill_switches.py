"""The two kill switches inside AWS: armed, read back, moved. A machine without both is the one forbidden state.

1. A scheduled action of the group: minimum, maximum and desired capacity become 0 at the limit.
2. An EventBridge Scheduler schedule: the group and all in it is deleted by force 20 minutes later.

Neither needs this program, this computer or the machine itself. What counts is not what was sent but what is read
back: times, targets, the role that the second one uses, and that nothing suspends the first.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from modelpick.aws import guardrails, templates
from modelpick.aws.account import Account
from modelpick.aws.names import ResourceNames
from modelpick.aws.spec import FORCED_DELETE_AFTER
from modelpick.errors import RemoteError

# A one-time scheduled action must lie in the future when it is made; nearer than this it could fire before it counts.
NEAREST = timedelta(minutes=5)
# IAM and the schedulers are eventually consistent: what was just made may not be read back at the first look.
_LOOKS, _BETWEEN_LOOKS = 5, 4.0
_ROLE_NOT_SEEN = r"assume the role|does not exist|cannot be found"


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A machine of a group. `lifecycle` is Auto Scaling's word; `protected`: a scale-in spares it."""

    instance_id: str
    instance_type: str
    zone: str
    lifecycle: str
    protected: bool


@dataclass(frozen=True, slots=True)
class ScalingGroup:
    """An Auto Scaling group: how many machines it wants, those it has, and what may stand in the switches' way."""

    desired: int
    members: tuple[GroupMember, ...]
    created_at: datetime
    suspended: frozenset[str] = frozenset()
    deletion_protection: str = "none"


@dataclass(frozen=True, slots=True)
class KillSwitches:
    """The switches as AWS reports them. `problems` names everything that keeps them from stopping a machine."""

    stop_at: datetime | None
    delete_at: datetime | None
    problems: tuple[str, ...]
    out_of_reach: tuple[str, ...] = ()  # those of the problems that setting the group to zero does not fix

    @property
    def armed(self) -> bool:
        """Whether both are set, in the future, and able to act."""
        return not self.problems


def read(account: Account, names: ResourceNames, *, by_any_name: bool = False) -> KillSwitches:
    """The switches as AWS has them now. Raises AwsRefused when they cannot be read.

    The stop is the action that `arm` sets; `by_any_name`: the earliest one to zero, whoever named it, as CloudFormation
    names its own.
    """
    group = find_group(account, names)
    stop_at, first = None, ["there is no group"]
    if group is not None:
        stop_at, first = _read_scheduled_stop(account, names, group.suspended, by_any_name=by_any_name)
    delete_at, second = _read_forced_delete(account, names)
    protected = _protected(group) if group is not None else []
    problems = [*first, *second, *protected]
    if stop_at and delete_at and delete_at < stop_at:
        problems.append("the forced delete comes before the stop")
    return KillSwitches(stop_at, delete_at, tuple(problems), tuple(protected))


def arm(account: Account, names: ResourceNames, stop_at: datetime) -> KillSwitches:
    """Set both switches for `stop_at` and read them back. Raises RemoteError `switches_not_armed` if they are not in
    place.

    Safe at any instant when switches exist already: a later limit moves the second one first, an earlier one the
    first, so that at every moment both are armed and the second is behind the first. Without a first one, it is set
    first, as the steps of a plan say.
    """
    stop_at = stop_at.astimezone(UTC).replace(microsecond=0)
    before, _ = _read_scheduled_stop(account, names, ())
    later = before is not None and stop_at >= before
    for put in (_put_forced_delete, _put_scheduled_stop) if later else (_put_scheduled_stop, _put_forced_delete):
        put(account, names, stop_at)
    held = read(account, names)
    for _ in range(_LOOKS):
        if held.armed and held.stop_at == stop_at:
            break
        account.sleep(_BETWEEN_LOOKS)
        held = read(account, names)
    if not held.armed or held.stop_at != stop_at:
        reasons = "; ".join(held.problems) or f"the stop is set for {held.stop_at}, not for {stop_at}"
        raise RemoteError(
            f"the kill switches are not in place: {reasons}",
            fix=f"modelpick down {names.deployment}, then re-run the command",
            code="switches_not_armed",
        )
    return held


def find_group(account: Account, names: ResourceNames) -> ScalingGroup | None:
    """The deployment's Auto Scaling group, or None."""
    answer = account.call("autoscaling", "describe_auto_scaling_groups", AutoScalingGroupNames=[names.group])
    return next((_group(item) for item in answer["AutoScalingGroups"]), None)


def _group(item: Mapping[str, Any]) -> ScalingGroup:
    return ScalingGroup(
        desired=item["DesiredCapacity"],
        members=tuple(
            GroupMember(
                member["InstanceId"], member.get("InstanceType", ""), member["AvailabilityZone"],
                member["LifecycleState"], bool(member.get("ProtectedFromScaleIn")),
            )
            for member in item["Instances"]
        ),
        created_at=item["CreatedTime"].astimezone(UTC),
        suspended=frozenset(process["ProcessName"] for process in item.get("SuspendedProcesses", ())),
        deletion_protection=item.get("DeletionProtection", "none"),
    )  # fmt: skip


def wants_machine(group: ScalingGroup | None) -> bool:
    """Whether a group has a machine, or will have one as soon as AWS can."""
    return group is not None and (group.desired > 0 or bool(group.members))


def _put_scheduled_stop(account: Account, names: ResourceNames, stop_at: datetime) -> None:
    account.call("autoscaling", "put_scheduled_update_group_action", **templates.scheduled_stop(names, stop_at))


def _put_forced_delete(account: Account, names: ResourceNames, stop_at: datetime) -> None:
    wanted = templates.forced_delete(names, stop_at + FORCED_DELETE_AFTER)
    exists = account.find("scheduler", "get_schedule", Name=names.group) is not None
    verb = "update_schedule" if exists else "create_schedule"
    # None: another process made it in the meantime.
    if account.once_settled(_ROLE_NOT_SEEN, "scheduler", verb, **wanted) is None:
        account.call("scheduler", "update_schedule", **wanted)


def _read_scheduled_stop(
    account: Account, names: ResourceNames, suspended: Collection[str], *, by_any_name: bool = False
) -> tuple[datetime | None, list[str]]:
    problems = [f"{name} is suspended" for name in templates.STOPPING_PROCESSES if name in suspended]
    wanted = {} if by_any_name else {"ScheduledActionNames": [names.scheduled_stop]}
    held = account.pages(
        "autoscaling",
        "describe_scheduled_actions",
        "ScheduledUpdateGroupActions",
        AutoScalingGroupName=names.group,
        **wanted,
    )
    actions = [
        item
        for item in held
        if item.get("StartTime") and (by_any_name or item["ScheduledActionName"] == names.scheduled_stop)
    ]
    if not actions:
        return None, [*problems, "the stop is not set"]
    times = sorted(item["StartTime"].astimezone(UTC) for item in actions if _to_zero(item))
    if not times:
        return None, [*problems, "the stop does not set the group to zero"]
    ahead = [at for at in times if at > account.now()]
    if not ahead:
        return times[-1], [*problems, "the stop is in the past"]
    return ahead[0], problems


def _to_zero(action: Mapping[str, Any]) -> bool:
    """Whether a scheduled action ends a group, once and for all: one that recurs may be one of a pair."""
    return all(action.get(key) == value for key, value in templates.GROUP_AT_ZERO.items()) and not action.get(
        "Recurrence"
    )


def _read_forced_delete(account: Account, names: ResourceNames) -> tuple[datetime | None, list[str]]:
    held = account.find("scheduler", "get_schedule", Name=names.group)
    if held is None:
        return None, ["the forced delete is not set"]
    try:
        at = datetime.strptime(held["ScheduleExpression"], "at(%Y-%m-%dT%H:%M:%S)").replace(tzinfo=UTC)
    except ValueError:
        return None, ["the forced delete's time cannot be read"]
    wanted = templates.forced_delete(names, at)
    problems = [
        f"the forced delete's {key} is not ours"
        for key in ("State", "ScheduleExpressionTimezone", "FlexibleTimeWindow")
        if held.get(key) != wanted[key]
    ]
    target = held.get("Target", {})
    if any(target.get(key) != wanted["Target"][key] for key in ("Arn", "RoleArn", "Input")):
        problems.append("the forced delete does not delete the group")
    if at <= account.now():
        problems.append("the forced delete is in the past")
    return at, problems + _read_role(account, names)


def _read_role(account: Account, names: ResourceNames) -> list[str]:
    role = account.find("iam", "get_role", RoleName=names.switch_role)
    if role is None:
        return ["the forced delete's role is gone"]
    policy = account.find("iam", "get_role_policy", RoleName=names.switch_role, PolicyName="switch")
    wanted = templates.switch_policy(names)
    if _document(role["Role"]["AssumeRolePolicyDocument"]) != templates.trust("scheduler.amazonaws.com", names):
        return ["the forced delete's role cannot be assumed"]
    if policy is None or _document(policy["PolicyDocument"]) != wanted:
        return ["the forced delete's role may not delete the group"]
    return guardrails.problems(account, wanted, role["Role"])


def _protected(group: ScalingGroup) -> list[str]:
    """Manual settings that let a machine outlive its switches."""
    problems = []
    if group.deletion_protection != "none":
        problems.append("the group is protected from deletion")
    for member in group.members:
        if member.protected:
            problems.append(f"{member.instance_id} is protected from scale-in")
        if member.lifecycle.startswith(("Standby", "EnteringStandby", "Detach", "Retained")):
            problems.append(f"{member.instance_id} is in {member.lifecycle}, out of reach of the kill switches")
    return problems


def _document(value: Any) -> Any:
    # botocore decodes IAM documents; some endpoints answer with the text.
    return json.loads(value) if isinstance(value, str) else value
