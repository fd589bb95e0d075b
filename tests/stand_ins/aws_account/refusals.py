"""What AWS refuses and moto accepts. Each rule gives AWS's code and words, or None to let the call pass."""

import base64
from collections.abc import Callable
from typing import Any

from moto.backends import get_backend

from tests.stand_ins.aws_account.wire import Call
from tests.stand_ins.aws_account.world import ACCOUNT, World, at_expression, stamp

Refusal = tuple[str, str]
USER_DATA_LIMIT = 16_384  # bytes, EC2 user guide


def refuse(call: Call, world: World) -> Refusal | None:
    rule = _RULES.get(call.name)
    return rule(call, world) if rule else None


def _group(call: Call) -> Any:
    groups = get_backend("autoscaling")[ACCOUNT][call.region].autoscaling_groups
    return groups.get(call.form.get("AutoScalingGroupName", ""))


def _create_group(call: Call, world: World) -> Refusal | None:
    if _group(call) is not None:
        return "AlreadyExists", "AutoScalingGroup by this name already exists - A group with this name already exists"
    return _sizes(call, 0, 0)


def _update_group(call: Call, world: World) -> Refusal | None:
    group = _group(call)
    if group is None:
        return "ValidationError", "AutoScalingGroup name not found - null"
    return _sizes(call, group.min_size, group.max_size)


def _sizes(call: Call, smallest: int, largest: int) -> Refusal | None:
    low, high = int(call.form.get("MinSize", smallest)), int(call.form.get("MaxSize", largest))
    wanted = call.form.get("DesiredCapacity")
    if wanted is not None and not low <= int(wanted) <= high:
        return (
            "ValidationError",
            f"Desired capacity:{wanted} must be between the specified min size:{low} and max size:{high}",
        )
    return None


def _delete_group(call: Call, world: World) -> Refusal | None:
    group = _group(call)
    if group is None:
        return "ValidationError", "AutoScalingGroup name not found - AutoScalingGroup not found"
    if group.instance_states and call.form.get("ForceDelete") != "true":
        return "ResourceInUse", "You cannot delete an AutoScalingGroup while there are instances still in the group."
    return None


def _scheduled_action(call: Call, world: World) -> Refusal | None:
    if _group(call) is None:
        return "ValidationError", "AutoScalingGroup name not found - AutoScalingGroup not found"
    if stamp(call.form["StartTime"]) <= world.now():
        return "ValidationError", "Given start time is in the past"
    return None


def _schedule(call: Call, world: World) -> Refusal | None:
    if at_expression(call.document["ScheduleExpression"]) <= world.now():
        return "ValidationException", "Invalid Schedule Expression: the time lies in the past."
    role_arn = call.document["Target"]["RoleArn"]
    roles = get_backend("iam")[ACCOUNT]["aws"].roles.values()
    role = next((item for item in roles if item.arn == role_arn), None)
    young = role is not None and world.now() - world.made_at.get(role.name, 0.0) < world.iam_settles_in
    if role is None or young or "scheduler.amazonaws.com" not in str(role.assume_role_policy_document):
        return (
            "ValidationException",
            "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
        )
    return None


def _launch_template(call: Call, world: World) -> Refusal | None:
    data = call.form.get("LaunchTemplateData.UserData", "")
    if len(base64.b64decode(data)) > USER_DATA_LIMIT:
        return "InvalidParameterValue", f"User data is limited to {USER_DATA_LIMIT} bytes"
    profile = call.form.get("LaunchTemplateData.IamInstanceProfile.Name")
    if profile and profile not in {item.name for item in get_backend("iam")[ACCOUNT]["aws"].instance_profiles.values()}:
        return "InvalidParameterValue", f"Value ({profile}) for parameter iamInstanceProfile.name is invalid."
    return None


def _run_instances(call: Call, world: World) -> Refusal | None:
    if len(base64.b64decode(call.form.get("UserData", ""))) > USER_DATA_LIMIT:
        return "InvalidParameterValue", f"User data is limited to {USER_DATA_LIMIT} bytes"
    return None


def _delete_security_group(call: Call, world: World) -> Refusal | None:
    group_id = call.form.get("GroupId")
    for machine in world.machines():
        if any(group.id == group_id for group in machine.security_groups):
            return "DependencyViolation", f"resource {group_id} has a dependent object"
    return None


def _delete_template(call: Call, world: World) -> Refusal | None:
    name = call.form.get("LaunchTemplateName")
    if name not in {item.name for item in get_backend("ec2")[ACCOUNT][call.region].launch_templates.values()}:
        return (
            "InvalidLaunchTemplateName.NotFoundException",
            f"The specified launch template, with template name {name}, does not exist.",
        )
    return None


_RULES: dict[str, Callable[[Call, World], Refusal | None]] = {
    "autoscaling:CreateAutoScalingGroup": _create_group,
    "autoscaling:UpdateAutoScalingGroup": _update_group,
    "autoscaling:DeleteAutoScalingGroup": _delete_group,
    "autoscaling:PutScheduledUpdateGroupAction": _scheduled_action,
    "scheduler:CreateSchedule": _schedule,
    "scheduler:UpdateSchedule": _schedule,
    "ec2:CreateLaunchTemplate": _launch_template,
    "ec2:DeleteLaunchTemplate": _delete_template,
    "ec2:RunInstances": _run_instances,
    "ec2:DeleteSecurityGroup": _delete_security_group,
}
