"""The documents that AWS receives: policies, launch template, group, switches. Pure, and shared with the exports.

Services and fields: the API references of IAM, EC2 Auto Scaling, EventBridge Scheduler and S3.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from modelpick.aws.names import TAG_DEPLOYMENT, TAG_EXPIRES, TAG_OWNER, TAG_PLAN, ResourceNames, tag_list
from modelpick.aws.spec import Spec

# What stops a machine must never be suspended, what would replace a stopped one always.
STOPPING_PROCESSES = ("ScheduledActions", "Terminate")
REPLACING_PROCESSES = ("Launch", "ReplaceUnhealthy", "AZRebalance")
GROUP_AT_ZERO = {"MinSize": 0, "MaxSize": 0, "DesiredCapacity": 0}
GROUP_AT_ONE = {"MinSize": 0, "MaxSize": 1, "DesiredCapacity": 1}
LOG_RETENTION_DAYS = 14
BLOCKED_TO_PUBLIC = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
METRICS_NAMESPACE = "modelpick"


def canonical(document: Any) -> str:
    """JSON with one spelling, so that what is read back can be compared."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def trust(service: str, names: ResourceNames) -> dict[str, Any]:
    """Who may use a role: one AWS service, for this account's own things only (the confused-deputy condition)."""
    statement: dict[str, Any] = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    if service != "ec2.amazonaws.com":
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": names.account}}
    return {"Version": "2012-10-17", "Statement": [statement]}


def guest_policy(names: ResourceNames, kms_key: str | None) -> dict[str, Any]:
    """What the machine may do: its own bucket, its own token and logs, and setting its own group to zero."""
    bucket = f"arn:{names.partition}:s3:::{names.bucket}"
    group = names.arn("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{names.group}")
    statements = [
        _allow(["s3:GetObject"], [f"{bucket}/{prefix}/*" for prefix in ("bundle", "data", "results", "progress")]),
        _allow(["s3:PutObject"], [f"{bucket}/results/*", f"{bucket}/progress/*"]),
        _allow(["s3:DeleteObject"], [f"{bucket}/data/*"]),
        _allow(["s3:ListBucket"], [bucket]),
        _allow(["ssm:GetParameter"], [names.arn("ssm", f"parameter{one}") for one in (names.hub_token, names.api_key)]),
        _allow(["autoscaling:SuspendProcesses"], [group]),
        # To zero and nowhere else: a request that names no maximum, or another, is refused.
        {
            **_allow(["autoscaling:UpdateAutoScalingGroup"], [group]),
            "Condition": {"NumericEquals": {"autoscaling:MaxSize": "0"}},
        },
        _allow(
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            [names.arn("logs", f"log-group:{names.log_group}:*")],
        ),
        {
            **_allow(["cloudwatch:PutMetricData"], ["*"]),
            "Condition": {"StringEquals": {"cloudwatch:namespace": METRICS_NAMESPACE}},
        },
        # Session Manager (the statements of AmazonSSMManagedInstanceCore that port forwarding needs).
        _allow(
            [
                "ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
            ],
            ["*"],
        ),
    ]  # fmt: skip
    if kms_key:
        statements.append(_allow(["kms:Decrypt", "kms:GenerateDataKey"], [kms_key]))
    return {"Version": "2012-10-17", "Statement": statements}


def switch_policy(names: ResourceNames) -> dict[str, Any]:
    """What the forced delete may do: delete this one group."""
    group = names.arn("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{names.group}")
    return {"Version": "2012-10-17", "Statement": [_allow(["autoscaling:DeleteAutoScalingGroup"], [group])]}


def _allow(actions: Sequence[str], resources: Sequence[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}


def launch_template(
    spec: Spec,
    names: ResourceNames,
    *,
    image: str,
    security_group: str,
    user_data: str,
    public: bool,
    tags: Mapping[str, str],
) -> dict[str, Any]:
    """IMDSv2 only, an encrypted disk that goes with the machine, a shut-down that terminates, tags on everything."""
    disk: dict[str, Any] = {
        "VolumeType": "gp3",
        "VolumeSize": spec.disk_gib,
        "Encrypted": True,
        "DeleteOnTermination": True,
    }
    if spec.kms_key:
        disk["KmsKeyId"] = spec.kms_key
    return {
        "ImageId": image,
        "IamInstanceProfile": {"Name": names.guest_role},
        "UserData": user_data,
        "InstanceInitiatedShutdownBehavior": "terminate",
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": disk}],
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled", "HttpPutResponseHopLimit": 1},
        "NetworkInterfaces": [
            {
                "DeviceIndex": 0,
                "AssociatePublicIpAddress": public,
                "DeleteOnTermination": True,
                "Groups": [security_group],
            }
        ],
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": tag_list(tags)} for kind in ("instance", "volume", "network-interface")
        ],
    }


def mixed_instances(names: ResourceNames, *, types: Sequence[str], on_demand: bool) -> dict[str, Any]:
    """Every listed type in order of preference over all zones; the group tries them in turn by itself."""
    return {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {"LaunchTemplateName": names.group, "Version": "$Latest"},
            "Overrides": [{"InstanceType": name} for name in types],
        },
        "InstancesDistribution": {
            "OnDemandAllocationStrategy": "prioritized",
            "OnDemandBaseCapacity": 1 if on_demand else 0,
            "OnDemandPercentageAboveBaseCapacity": 100 if on_demand else 0,
            "SpotAllocationStrategy": "price-capacity-optimized",
        },
    }


def scheduled_stop(names: ResourceNames, at: datetime) -> dict[str, Any]:
    """The first switch: Auto Scaling sets the group to zero at `at`."""
    return {
        "AutoScalingGroupName": names.group,
        "ScheduledActionName": names.scheduled_stop,
        "StartTime": at,
        **GROUP_AT_ZERO,
    }


def forced_delete(names: ResourceNames, at: datetime) -> dict[str, Any]:
    """The second switch: EventBridge Scheduler deletes the group and all that is in it at `at`, retrying for a day."""
    return {
        "Name": names.group,
        "ScheduleExpression": f"at({at.astimezone(UTC):%Y-%m-%dT%H:%M:%S})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "State": "ENABLED",
        "Target": {
            "Arn": f"arn:{names.partition}:scheduler:::aws-sdk:autoscaling:deleteAutoScalingGroup",
            "RoleArn": names.iam_arn("role", names.switch_role),
            "Input": canonical({"AutoScalingGroupName": names.group, "ForceDelete": True}),
            "RetryPolicy": {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185},
        },
    }


def lifecycle(spec_days: int, passing_days: int) -> dict[str, Any]:
    """What expires in the bucket: results after `spec_days`, everything on the way after `passing_days`."""
    passing = [
        {"ID": prefix, "Filter": {"Prefix": f"{prefix}/"}, "Status": "Enabled", "Expiration": {"Days": passing_days}}
        for prefix in ("bundle", "data")
    ]
    kept = [
        {
            "ID": prefix,
            "Filter": {"Prefix": f"{prefix}/"},
            "Status": "Enabled",
            "Expiration": {"Days": spec_days},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }
        for prefix in ("results", "progress")
    ]
    return {"Rules": passing + kept}


def tags(spec: Spec, *, owner: str, expires: datetime | None = None) -> dict[str, str]:
    """The tags of every resource of a deployment."""
    carried = {
        **spec.tags, TAG_DEPLOYMENT: spec.deployment, TAG_PLAN: spec.sha256[:16], TAG_OWNER: owner,
        "Name": f"modelpick {spec.deployment}",
    }  # fmt: skip
    if expires is not None:
        carried[TAG_EXPIRES] = f"{expires.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return carried
