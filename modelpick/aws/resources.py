"""Everything free that a machine needs: made in order, each by its name, safe to repeat."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from modelpick.aws import templates
from modelpick.aws.account import Account
from modelpick.aws.location import LaunchLocation
from modelpick.aws.names import PREFIX, ResourceNames, tag_list
from modelpick.aws.record import Record
from modelpick.aws.spec import Spec
from modelpick.planning import plan_actions

_PROFILE_NOT_SEEN = r"(?i)iaminstanceprofile|instance profile"


@dataclass(frozen=True, slots=True)
class Payload:
    """The machine's input: the small user-data, the bundle it fetches, data files (key below data/ -> file)."""

    user_data: str
    bundle: bytes
    bundle_sha256: str
    data: Mapping[str, Path] = field(default_factory=dict)
    hub_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class DeploymentContext:
    """The input of every step."""

    account: Account
    names: ResourceNames
    spec: Spec
    location: LaunchLocation
    record: Record
    payload: Payload

    @property
    def tags(self) -> list[dict[str, str]]:
        """The tags of every resource."""
        return self.tags_until(self.record.expires)

    def tags_until(self, expires: datetime) -> list[dict[str, str]]:
        """The same with another expiry."""
        return tag_list(templates.tags(self.spec, owner=self.record.owner, expires=expires))


def bucket(context: DeploymentContext) -> None:
    """The deployment's bucket: private, encrypted, with an expiry set before anything is put into it."""
    account, names, spec = context.account, context.names, context.spec
    where = {} if names.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": names.region}}
    account.make("s3", "create_bucket", Bucket=names.bucket, **where)
    account.call(
        "s3",
        "put_public_access_block",
        Bucket=names.bucket,
        PublicAccessBlockConfiguration=dict.fromkeys(templates.BLOCKED_TO_PUBLIC, True),
    )
    cipher = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": spec.kms_key} if spec.kms_key else {"SSEAlgorithm": "AES256"}
    account.call(
        "s3",
        "put_bucket_encryption",
        Bucket=names.bucket,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": cipher}]},
    )
    passing = int(context.record.hours // 24) + 2
    account.call(
        "s3",
        "put_bucket_lifecycle_configuration",
        Bucket=names.bucket,
        LifecycleConfiguration=templates.lifecycle(spec.keep_results_days, passing),
    )
    results_go = context.record.expires + timedelta(days=spec.keep_results_days)
    account.call("s3", "put_bucket_tagging", Bucket=names.bucket, Tagging={"TagSet": context.tags_until(results_go)})


def logs(context: DeploymentContext) -> None:
    """The log group, whose entries expire."""
    account, names = context.account, context.names
    flat = {tag["Key"]: tag["Value"] for tag in context.tags}
    account.make("logs", "create_log_group", logGroupName=names.log_group, tags=flat)
    account.call(
        "logs", "put_retention_policy", logGroupName=names.log_group, retentionInDays=templates.LOG_RETENTION_DAYS
    )


def guest_role(context: DeploymentContext) -> None:
    """The machine's role and instance profile."""
    account, names = context.account, context.names
    policy = templates.guest_policy(names, context.spec.kms_key)
    _role(context, names.guest_role, "ec2.amazonaws.com", "guest", policy)
    account.make(
        "iam", "create_instance_profile", InstanceProfileName=names.guest_role, Path=f"/{PREFIX}/", Tags=context.tags
    )
    held = account.call("iam", "get_instance_profile", InstanceProfileName=names.guest_role)["InstanceProfile"]
    if not held["Roles"]:
        account.call(
            "iam", "add_role_to_instance_profile", InstanceProfileName=names.guest_role, RoleName=names.guest_role
        )


def switch_role(context: DeploymentContext) -> None:
    """The role that the forced delete uses."""
    names = context.names
    _role(context, names.switch_role, "scheduler.amazonaws.com", "switch", templates.switch_policy(names))


def security_group(context: DeploymentContext) -> None:
    """A security group without inbound rules."""
    context.account.make(
        "ec2",
        "create_security_group",
        GroupName=context.names.group,
        Description="modelpick: no inbound access",
        VpcId=context.location.vpc,
        TagSpecifications=[{"ResourceType": "security-group", "Tags": context.tags}],
    )


def hub_token(context: DeploymentContext) -> None:
    """The Hub token, as a SecureString and nowhere else."""
    if context.payload.hub_token is not None:
        value = _secret(context, context.names.hub_token, context.payload.hub_token)
        if context.account.make("ssm", "put_parameter", **value, Tags=context.tags) is None:
            context.account.call("ssm", "put_parameter", **value, Overwrite=True)


def api_key(context: DeploymentContext) -> None:
    """The key of what will be served, as a SecureString and nowhere else; a second `up` keeps the first one's."""
    from modelpick.serving.machine import new_key

    if context.spec.serves:
        value = _secret(context, context.names.api_key, new_key())
        context.account.make("ssm", "put_parameter", **value, Tags=context.tags)


def upload(context: DeploymentContext) -> None:
    """The bundle and the data, into the bucket, where they expire."""
    account, names, payload = context.account, context.names, context.payload
    key = f"bundle/{payload.bundle_sha256}.tar.gz"
    if account.find("s3", "head_object", Bucket=names.bucket, Key=key) is None:
        account.call("s3", "put_object", Bucket=names.bucket, Key=key, Body=payload.bundle)
    for name, path in sorted(payload.data.items()):
        account.upload(path, names.bucket, f"data/{name}")


def template(context: DeploymentContext) -> None:
    """The launch template."""
    account, names = context.account, context.names
    data = templates.launch_template(
        context.spec,
        names,
        image=context.record.image,
        security_group=find_security_group(account, names) or "",
        user_data=base64.b64encode(context.payload.user_data.encode()).decode(),
        public=context.location.public,
        tags={tag["Key"]: tag["Value"] for tag in context.tags},
    )
    account.once_settled(
        _PROFILE_NOT_SEEN,
        "ec2",
        "create_launch_template",
        LaunchTemplateName=names.group,
        LaunchTemplateData=data,
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": context.tags}],
    )


def group(context: DeploymentContext) -> None:
    """The group of one, at zero: it cannot grow before the one paid call."""
    spec, names = context.spec, context.names
    context.account.once_settled(
        _PROFILE_NOT_SEEN,
        "autoscaling",
        "create_auto_scaling_group",
        AutoScalingGroupName=names.group,
        **templates.GROUP_AT_ZERO,
        MixedInstancesPolicy=templates.mixed_instances(
            names, types=context.location.types, on_demand=spec.market == "on-demand"
        ),
        VPCZoneIdentifier=",".join(context.location.subnets),
        HealthCheckType="EC2",
        HealthCheckGracePeriod=300,
        NewInstancesProtectedFromScaleIn=False,
        Tags=[{**tag, "PropagateAtLaunch": True} for tag in context.tags],
    )


_MAKERS: Mapping[str, Callable[[DeploymentContext], None]] = {
    "bucket": bucket,
    "logs": logs,
    "guest_role": guest_role,
    "switch_role": switch_role,
    "security_group": security_group,
    "hub_token": hub_token,
    "api_key": api_key,
    "bundle": upload,
    "template": template,
    "group": group,
}
# The free steps of the list that a plan shows, each with what carries it out.
STEPS: tuple[tuple[str, Callable[[DeploymentContext], None]], ...] = tuple(
    (step.title, _MAKERS[step.key]) for step in plan_actions.STEPS if step.phase == "free"
)


def find_security_group(account: Account, names: ResourceNames) -> str | None:
    """The id of the deployment's security group, or None."""
    found = account.call("ec2", "describe_security_groups", Filters=[{"Name": "group-name", "Values": [names.group]}])
    groups = found["SecurityGroups"]
    return str(groups[0]["GroupId"]) if groups else None


def _secret(context: DeploymentContext, name: str, value: str) -> dict[str, str]:
    """A SecureString, encrypted with the company's key where one was named."""
    key = {"KeyId": context.spec.kms_key} if context.spec.kms_key else {}
    return {"Name": name, "Type": "SecureString", "Value": value, **key}


def _role(context: DeploymentContext, name: str, service: str, policy_name: str, policy: dict[str, Any]) -> None:
    boundary = {"PermissionsBoundary": context.spec.permission_boundary} if context.spec.permission_boundary else {}
    context.account.make(
        "iam",
        "create_role",
        RoleName=name,
        Path=f"/{PREFIX}/",
        AssumeRolePolicyDocument=templates.canonical(templates.trust(service, context.names)),
        Description=f"modelpick {context.names.deployment}",
        Tags=context.tags,
        **boundary,
    )
    context.account.call(
        "iam", "put_role_policy", RoleName=name, PolicyName=policy_name, PolicyDocument=templates.canonical(policy)
    )
