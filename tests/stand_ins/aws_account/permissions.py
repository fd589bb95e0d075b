"""IAM as the account's own judge: with a policy set, every call needs what it needs on AWS, on the thing it touches.

Actions, resources and dependent actions as the Service Authorization Reference lists them, for the calls modelpick
makes. Conditions: StringEquals and StringLike over the keys that a call gives.
"""

import fnmatch
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from moto.backends import get_backend

from tests.stand_ins.aws_account.wire import Call
from tests.stand_ins.aws_account.world import ACCOUNT

# S3's operations by the actions that allow them.
_S3 = {
    "PutBucketEncryption": "PutEncryptionConfiguration", "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration", "ListObjectsV2": "ListBucket",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration", "HeadObject": "GetObject",
    "ListBuckets": "ListAllMyBuckets", "DeleteObjects": "DeleteObject",
}  # fmt: skip
_TAG = "aws:ResourceTag/modelpick:deployment"


@dataclass(frozen=True)
class Need:
    """One action on one thing, under the condition keys of the call."""

    action: str
    resource: str = "*"
    context: dict[str, str] = field(default_factory=dict)


def needs(call: Call) -> list[Need]:
    """Everything a call needs. What modelpick has no use for needs itself on everything, and so is denied."""
    action = _S3.get(call.action, call.action) if call.service == "s3" else call.action
    rule = _RULES.get(call.service)
    return list(rule(call, action)) if rule else [Need(f"{call.service}:{action}")]


def missing(call: Call, policy: dict[str, Any], used: set[str]) -> Need | None:
    """The first need that no statement meets; what met the others is added to `used` as `Sid action`."""
    for need in needs(call):
        statement = next((item for item in policy["Statement"] if _meets(item, need)), None)
        if statement is None:
            return need
        used.add(f"{statement['Sid']} {need.action}")
    return None


def _meets(statement: dict[str, Any], need: Need) -> bool:
    actions, resources = _listed(statement["Action"]), _listed(statement["Resource"])
    return (
        need.action in actions
        and any(fnmatch.fnmatchcase(need.resource, pattern) for pattern in resources)
        and all(
            key in need.context and any(fnmatch.fnmatchcase(need.context[key], value) for value in _listed(values))
            for keys in statement.get("Condition", {}).values()
            for key, values in keys.items()
        )
    )


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _autoscaling(call: Call, action: str) -> Iterator[Need]:
    if action.startswith("Describe"):
        yield Need(f"autoscaling:{action}")
        return
    name = call.form.get("AutoScalingGroupName") or call.form.get("Tags.member.1.ResourceId", "")
    arn = f"arn:aws:autoscaling:{call.region}:{ACCOUNT}:autoScalingGroup:uuid:autoScalingGroupName/{name}"
    yield Need(f"autoscaling:{action}", arn)
    if action == "CreateAutoScalingGroup":
        yield Need("autoscaling:CreateOrUpdateTags", arn)
        yield Need("ec2:RunInstances")  # launch templates are checked as if the caller launched
        yield Need("ec2:CreateTags")
        yield Need("iam:PassRole", _role(f"{name}-{call.region}-guest"), {"iam:PassedToService": "ec2.amazonaws.com"})
        for service, linked in (("autoscaling", "AutoScaling"), ("spot", "EC2Spot")):
            arn = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{service}.amazonaws.com/AWSServiceRoleFor{linked}"
            yield Need("iam:CreateServiceLinkedRole", arn, {"iam:AWSServiceName": f"{service}.amazonaws.com"})


def _ec2(call: Call, action: str) -> Iterator[Need]:
    context = {}
    if action in ("DeleteLaunchTemplate", "DeleteSecurityGroup", "DeleteVolume", "TerminateInstances"):
        if not (tag := _deployment_of(call)):
            return  # there is no such thing: EC2 says that before it asks IAM
        context[_TAG] = tag
    yield Need(f"ec2:{action}", context=context)
    if any(key.startswith("TagSpecification") for key in call.form):
        yield Need("ec2:CreateTags")


def _deployment_of(call: Call) -> str | None:
    ec2 = get_backend("ec2")[ACCOUNT][call.region]
    name = next((call.form[key] for key in _NAMED if key in call.form), "")
    ids = {item.name: item.id for item in ec2.launch_templates.values()}
    return ec2.tags.get(ids.get(name, name), {}).get("modelpick:deployment")


_NAMED = ("LaunchTemplateName", "GroupId", "VolumeId", "InstanceId.1")


def _role(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/modelpick/{name}"


def _iam(call: Call, action: str) -> Iterator[Need]:
    if action.startswith("List"):
        yield Need(f"iam:{action}")
    elif action.startswith("Simulate"):
        yield Need(f"iam:{action}", call.form.get("PolicySourceArn", "*"))
    elif "PolicyArn" in call.form:
        yield Need(f"iam:{action}", call.form["PolicyArn"])
    elif profile := call.form.get("InstanceProfileName"):
        arn = f"arn:aws:iam::{ACCOUNT}:instance-profile/modelpick/{profile}"
        yield Need(f"iam:{action}", arn)
        if action == "CreateInstanceProfile":
            yield Need("iam:TagInstanceProfile", arn)
        if action == "AddRoleToInstanceProfile":
            yield Need("iam:PassRole", _role(call.form["RoleName"]), {"iam:PassedToService": "ec2.amazonaws.com"})
    else:
        yield Need(f"iam:{action}", _role(call.form["RoleName"]))
        if action == "CreateRole":
            yield Need("iam:TagRole", _role(call.form["RoleName"]))


def _scheduler(call: Call, action: str) -> Iterator[Need]:
    if action == "ListSchedules":
        yield Need("scheduler:ListSchedules")
        return
    yield Need(f"scheduler:{action}", f"arn:aws:scheduler:{call.region}:{ACCOUNT}:schedule/default/{call.thing}")
    if call.document.get("Target"):
        context = {"iam:PassedToService": "scheduler.amazonaws.com"}
        yield Need("iam:PassRole", call.document["Target"]["RoleArn"], context)


def _s3(call: Call, action: str) -> Iterator[Need]:
    yield Need(f"s3:{action}", f"arn:aws:s3:::{unquote(call.thing)}" if call.thing else "*")
    bucket = get_backend("s3")[ACCOUNT]["aws"].buckets.get(call.thing.partition("/")[0])
    key = re.search(r"arn:aws:kms:[^\s<\"']+", str(bucket.encryption)) if bucket is not None else None
    if key and action in ("PutObject", "GetObject"):
        yield from (Need(f"kms:{verb}", key[0]) for verb in ("GenerateDataKey", "Decrypt"))


def _ssm(call: Call, action: str) -> Iterator[Need]:
    if action == "StartSession":
        yield Need("ssm:StartSession", context={_TAG: "demo"})
        if document := call.document.get("DocumentName"):
            yield Need("ssm:StartSession", f"arn:aws:ssm:{call.region}::document/{document}")
        return
    name = call.document.get("Name") or call.document.get("Path", "")
    account = "" if name.startswith("/aws/") else ACCOUNT
    arn = f"arn:aws:ssm:{call.region}:{account}:parameter{name}"
    yield Need(f"ssm:{action}", arn)
    if call.document.get("Tags"):
        yield Need("ssm:AddTagsToResource", arn)
    if key := call.document.get("KeyId"):
        yield Need("kms:Encrypt", key)


def _logs(call: Call, action: str) -> Iterator[Need]:
    if action == "DescribeLogGroups":
        yield Need("logs:DescribeLogGroups")
        return
    arn = f"arn:aws:logs:{call.region}:{ACCOUNT}:log-group:{call.document['logGroupName']}"
    yield Need(f"logs:{action}", arn)
    if call.document.get("tags"):
        yield Need("logs:TagResource", arn)


def _kms(call: Call, action: str) -> Iterator[Need]:
    key = call.document["KeyId"]
    yield Need(f"kms:{action}", key if key.startswith("arn:") else f"arn:aws:kms:{call.region}:{ACCOUNT}:key/{key}")


_RULES: dict[str, Callable[[Call, str], Iterator[Need]]] = {
    "autoscaling": _autoscaling, "ec2": _ec2, "iam": _iam, "scheduler": _scheduler, "s3": _s3, "ssm": _ssm,
    "logs": _logs, "kms": _kms,
}  # fmt: skip
