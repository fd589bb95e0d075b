"""The same deployment as a CloudFormation template, for teams that manage their infrastructure that way. Pure.

DependsOn enforces the order: the group is made at zero, then both switches, and the one thing that costs
money - a scheduled action that sets the group to one - exists only after both switches do. Deleting the stack deletes
the group, and with it the machine. How it is launched and stopped, and what differs from `up`: docs/exports.md.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from modelpick.aws import bundle, templates
from modelpick.aws.location import IMAGE_PARAMETER
from modelpick.aws.names import ResourceNames, tag_list
from modelpick.aws.spec import Spec

_ACCOUNT = "123456789012"  # a placeholder of the documents' ARNs, replaced by AWS::AccountId below
_STOP_AT = "9999-12-31T23:59:59Z"  # a placeholder in user-data, replaced by the parameter


def template(spec: Spec, bundle_sha256: str) -> dict[str, object]:
    """The template as a document. Times and network are its parameters; the machine runs the bundle of that hash."""
    names = ResourceNames(spec.deployment, _ACCOUNT, spec.region)
    tags = tag_list({**templates.tags(spec, owner="cloudformation")})
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"modelpick {spec.deployment}: a GPU machine with two kill switches",
        "Parameters": _parameters(spec),
        "Resources": {
            "Bucket": _bucket(spec, names, tags),
            "LogGroup": _resource(
                "AWS::Logs::LogGroup",
                {"LogGroupName": names.log_group, "RetentionInDays": templates.LOG_RETENTION_DAYS, "Tags": tags},
            ),
            "GuestRole": _role(
                spec, names, "ec2.amazonaws.com", "guest", templates.guest_policy(names, spec.kms_key), tags
            ),
            "GuestProfile": _resource(
                "AWS::IAM::InstanceProfile",
                {"InstanceProfileName": names.guest_role, "Path": "/modelpick/", "Roles": [{"Ref": "GuestRole"}]},
            ),
            "SwitchRole": _role(spec, names, "scheduler.amazonaws.com", "switch", templates.switch_policy(names), tags),
            "SecurityGroup": _resource(
                "AWS::EC2::SecurityGroup",
                {
                    "GroupName": names.group,
                    "GroupDescription": "modelpick: no inbound access",
                    "VpcId": {"Ref": "Vpc"},
                    "Tags": tags,
                },
            ),
            "LaunchTemplate": _launch_template(spec, names, bundle_sha256),
            "Group": _group(spec, names, tags),
            "Stop": _action({"Ref": "StopAt"}, templates.GROUP_AT_ZERO, []),
            "Backstop": _forced_delete(names),
            "Start": _action({"Ref": "StartAt"}, templates.GROUP_AT_ONE, ["Stop", "Backstop"]),
        },
        "Outputs": {
            "Bundle": {"Value": f"s3://{names.bucket}/bundle/{bundle_sha256}.tar.gz", "Description": "Goes there"},
            "Data": {"Value": f"s3://{names.bucket}/data/", "Description": "Training data goes there"},
            "Results": {"Value": f"s3://{names.bucket}/results/", "Description": "Results come there"},
        },
    }


def template_text(spec: Spec, bundle_sha256: str) -> str:
    """The template as JSON text, the account's number left to CloudFormation."""
    return json.dumps(_account_left_open(template(spec, bundle_sha256)), indent=1) + "\n"


def _parameters(spec: Spec) -> dict[str, object]:
    instant = "A time like 2026-11-23T18:00:00Z"
    sizes = {"AllowedPattern": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "Type": "String"}
    return {
        "StartAt": {**sizes, "Description": f"{instant}, some minutes from now: when the machine starts"},
        "StopAt": {
            **sizes,
            "Description": f"{instant}: at most {spec.hours:.2f} hours after StartAt, which cost ${spec.most_usd:.2f}",
        },
        "DeleteAt": {
            "Type": "String",
            "AllowedPattern": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
            "Description": "20 minutes after StopAt, without the Z",
        },
        "Vpc": {"Type": "AWS::EC2::VPC::Id"},
        "Subnets": {"Type": "List<AWS::EC2::Subnet::Id>", "Description": "Subnets with a route to the internet"},
        "Image": {
            "Type": "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>",
            "Default": IMAGE_PARAMETER.format(cpu=spec.candidates[0].cpu),
        },
    }


def _resource(kind: str, properties: Mapping[str, object], **more: Any) -> dict[str, object]:
    return {"Type": kind, **more, "Properties": dict(properties)}


def _bucket(spec: Spec, names: ResourceNames, tags: list[dict[str, str]]) -> dict[str, object]:
    rules = []
    for rule in templates.lifecycle(spec.keep_results_days, int(spec.hours // 24) + 2)["Rules"]:
        own = {"Id": rule["ID"], "Prefix": rule["Filter"]["Prefix"], "Status": rule["Status"]}
        if unfinished := rule.get("AbortIncompleteMultipartUpload"):
            own["AbortIncompleteMultipartUpload"] = unfinished
        rules.append({**own, "ExpirationInDays": rule["Expiration"]["Days"]})
    cipher = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": spec.kms_key} if spec.kms_key else {"SSEAlgorithm": "AES256"}
    return _resource(
        "AWS::S3::Bucket",
        {
            "BucketName": names.bucket,
            "PublicAccessBlockConfiguration": dict.fromkeys(templates.BLOCKED_TO_PUBLIC, True),
            "BucketEncryption": {"ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": cipher}]},
            "LifecycleConfiguration": {"Rules": rules},
            "Tags": tags,
        },
        DeletionPolicy="Retain",  # results outlive the machine; their expiry deletes them
        UpdateReplacePolicy="Retain",
    )


def _role(
    spec: Spec,
    names: ResourceNames,
    service: str,
    policy: str,
    document: Mapping[str, object],
    tags: list[dict[str, str]],
) -> dict[str, object]:
    name = names.guest_role if policy == "guest" else names.switch_role
    boundary = {"PermissionsBoundary": spec.permission_boundary} if spec.permission_boundary else {}
    return _resource(
        "AWS::IAM::Role",
        {
            "RoleName": name,
            "Path": "/modelpick/",
            "AssumeRolePolicyDocument": templates.trust(service, names),
            "Policies": [{"PolicyName": policy, "PolicyDocument": dict(document)}],
            "Tags": tags,
            **boundary,
        },
    )


def _launch_template(spec: Spec, names: ResourceNames, bundle_sha256: str) -> dict[str, object]:
    data = templates.launch_template(
        spec,
        names,
        image="",
        security_group="",
        user_data="",
        public=True,
        tags=templates.tags(spec, owner="cloudformation"),
    )
    data["ImageId"] = {"Ref": "Image"}
    data["UserData"] = {"Fn::Base64": {"Fn::Join": ["", _user_data(spec, names, bundle_sha256)]}}
    data["IamInstanceProfile"] = {"Arn": {"Fn::GetAtt": ["GuestProfile", "Arn"]}}
    data["NetworkInterfaces"][0]["Groups"] = [{"Ref": "SecurityGroup"}]
    return _resource("AWS::EC2::LaunchTemplate", {"LaunchTemplateName": names.group, "LaunchTemplateData": data})


def _user_data(spec: Spec, names: ResourceNames, bundle_sha256: str) -> list[Any]:
    """User-data in pieces, what CloudFormation fills in between them: the shell's own ${...} must stay as they are."""
    open_places = {_ACCOUNT: {"Ref": "AWS::AccountId"}, _STOP_AT: {"Ref": "StopAt"}}
    text = bundle.user_data(spec, names, bundle_sha256, stop_at=_STOP_AT)
    return [open_places.get(piece, piece) for piece in re.split(f"({_ACCOUNT}|{_STOP_AT})", text)]


def _group(spec: Spec, names: ResourceNames, tags: list[dict[str, str]]) -> dict[str, object]:
    types = [candidate.instance_type for candidate in spec.candidates]
    policy = templates.mixed_instances(names, types=types, on_demand=spec.market == "on-demand")
    policy["LaunchTemplate"]["LaunchTemplateSpecification"] = {
        "LaunchTemplateId": {"Ref": "LaunchTemplate"},
        "Version": {"Fn::GetAtt": ["LaunchTemplate", "LatestVersionNumber"]},
    }
    sizes = {key: str(value) for key, value in templates.GROUP_AT_ZERO.items()}
    return _resource(
        "AWS::AutoScaling::AutoScalingGroup",
        {
            "AutoScalingGroupName": names.group,
            **sizes,
            "MixedInstancesPolicy": policy,
            "VPCZoneIdentifier": {"Ref": "Subnets"},
            "HealthCheckType": "EC2",
            "HealthCheckGracePeriod": 300,
            "NewInstancesProtectedFromScaleIn": False,
            "Tags": [{**tag, "PropagateAtLaunch": True} for tag in tags],
        },
    )


def _action(at: Mapping[str, str], sizes: Mapping[str, int], after: list[str]) -> dict[str, object]:
    more = {"DependsOn": after} if after else {}
    return _resource(
        "AWS::AutoScaling::ScheduledAction",
        {"AutoScalingGroupName": {"Ref": "Group"}, "StartTime": dict(at), **sizes},
        **more,
    )


def _forced_delete(names: ResourceNames) -> dict[str, object]:
    return _resource(
        "AWS::Scheduler::Schedule",
        {
            "Name": names.group,
            "ScheduleExpression": {"Fn::Sub": "at(${DeleteAt})"},
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": "ENABLED",
            "Target": {
                "Arn": f"arn:{names.partition}:scheduler:::aws-sdk:autoscaling:deleteAutoScalingGroup",
                "RoleArn": {"Fn::GetAtt": ["SwitchRole", "Arn"]},
                "Input": templates.canonical({"AutoScalingGroupName": names.group, "ForceDelete": True}),
                "RetryPolicy": {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185},
            },
        },
        DependsOn=["Group"],
    )


def _account_left_open(value: Any) -> Any:
    """The placeholder account replaced by the one the stack is made in."""
    if isinstance(value, str):
        return {"Fn::Sub": value.replace(_ACCOUNT, "${AWS::AccountId}")} if _ACCOUNT in value else value
    if isinstance(value, dict):
        return {key: _account_left_open(one) for key, one in value.items()}
    return [_account_left_open(one) for one in value] if isinstance(value, list) else value
