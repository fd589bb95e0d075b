"""What the caller may do, simulated by IAM before anything is done: policies, boundary, the organization's rules.

Each action of the policy that suffices is simulated on a name such as `up` would use, with the tags it would set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelpick.aws.account import Account
from modelpick.aws.errors import AwsRefused
from modelpick.aws.names import TAG_DEPLOYMENT

_FOR_MANY = "aws:TagKeys"
_OF_EC2 = ("Make", "Tagged")
_EC2_KINDS = ("instance", "launch-template", "security-group", "volume")


@dataclass(frozen=True, slots=True)
class PermissionAnswer:
    """What IAM says about a caller. `denied`: who denies -> actions; `unsure`: condition keys it would have to know."""

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
) -> PermissionAnswer:
    """Simulate everything for the caller. Raises AwsRefused (`access_denied`) without permission to ask IAM."""
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


def _answer(principal: str, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> PermissionAnswer:
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
    return PermissionAnswer(principal, len(rows), denied, sorted(unsure))


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
    except AwsRefused as refused:
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


# Read-only actions without resources (Service Authorization Reference).
LOOK = (
    "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeScalingActivities",
    "autoscaling:DescribeScheduledActions", "ec2:DescribeInstances", "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeLaunchTemplates", "ec2:DescribeRegions", "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets", "ec2:DescribeVolumes", "iam:ListRoles", "iam:SimulateCustomPolicy",
    "logs:DescribeLogGroups", "pricing:GetProducts", "s3:ListAllMyBuckets",
    "scheduler:ListSchedules", "servicequotas:GetServiceQuota", "sts:GetCallerIdentity",
)  # fmt: skip
BY_NAME: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Group": (
        (
            "autoscaling:CreateAutoScalingGroup", "autoscaling:CreateOrUpdateTags",
            "autoscaling:DeleteAutoScalingGroup", "autoscaling:PutScheduledUpdateGroupAction",
            "autoscaling:SuspendProcesses",
            "autoscaling:UpdateAutoScalingGroup",
        ),
        ("arn:{partition}:autoscaling:*:{account}:autoScalingGroup:*:autoScalingGroupName/modelpick-*",),
    ),
    "Switch": (
        ("scheduler:CreateSchedule", "scheduler:DeleteSchedule", "scheduler:GetSchedule", "scheduler:UpdateSchedule"),
        ("arn:{partition}:scheduler:*:{account}:schedule/default/modelpick-*",),
    ),
    "Roles": (
        (
            "iam:AddRoleToInstanceProfile", "iam:CreateInstanceProfile", "iam:CreateRole", "iam:DeleteInstanceProfile",
            "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:GetInstanceProfile", "iam:GetRole", "iam:GetRolePolicy",
            "iam:PutRolePolicy", "iam:RemoveRoleFromInstanceProfile", "iam:TagInstanceProfile", "iam:TagRole",
        ),
        (
            "arn:{partition}:iam::{account}:role/modelpick/*",
            "arn:{partition}:iam::{account}:instance-profile/modelpick/*",
        ),
    ),
    "Bucket": (
        (
            "s3:CreateBucket", "s3:DeleteBucket", "s3:DeleteObject", "s3:GetLifecycleConfiguration",
            "s3:GetObject", "s3:ListBucket", "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging",
            "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration", "s3:PutObject",
        ),
        ("arn:{partition}:s3:::modelpick-*",),
    ),
    "Parameters": (
        (
            "ssm:AddTagsToResource", "ssm:DeleteParameter", "ssm:GetParameter", "ssm:GetParametersByPath",
            "ssm:PutParameter",
        ),
        (
            "arn:{partition}:ssm:*:{account}:parameter/modelpick",
            "arn:{partition}:ssm:*:{account}:parameter/modelpick/*",
            "arn:{partition}:ssm:*::parameter/aws/service/deeplearning/*",
        ),
    ),
    "Logs": (
        (
            "logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:FilterLogEvents", "logs:PutRetentionPolicy",
            "logs:TagResource",
        ),
        ("arn:{partition}:logs:*:{account}:log-group:/modelpick/*",),
    ),
}  # fmt: skip
# Creating: the new thing has no tag to test yet. Deleting and terminating: only what has our tag.
MAKE = ("ec2:CreateLaunchTemplate", "ec2:CreateSecurityGroup", "ec2:CreateTags", "ec2:RunInstances")
TAGGED = (
    "ec2:DeleteLaunchTemplate", "ec2:DeleteSecurityGroup", "ec2:DeleteVolume", "ec2:TerminateInstances",
    "ssm:StartSession",
)  # fmt: skip
PASSED_TO = ("ec2.amazonaws.com", "scheduler.amazonaws.com")
LINKED_ROLES = ("autoscaling.amazonaws.com", "spot.amazonaws.com")


# What encrypting disk, bucket and token with a company's own key requires of the caller.
KEY = (
    "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GetKeyPolicy", "kms:ListGrants",
)  # fmt: skip


def operator_policy(account: str, partition: str = "aws", kms_key: str | None = None) -> dict[str, Any]:
    """The policy document for one account. It fits a managed policy (6,144 characters without white space).

    `kms_key`: the ARN of the company's key, where one is named.
    """
    roles = f"arn:{partition}:iam::{account}:role/"
    statements: list[dict[str, Any]] = [{"Sid": "Look", "Effect": "Allow", "Action": list(LOOK), "Resource": "*"}]
    for sid, (actions, resources) in BY_NAME.items():
        arns = [resource.format(partition=partition, account=account) for resource in resources]
        statements.append({"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": arns})
    statements += [
        {"Sid": "Make", "Effect": "Allow", "Action": list(MAKE), "Resource": "*"},
        {
            "Sid": "Tagged",
            "Effect": "Allow",
            "Action": list(TAGGED),
            "Resource": "*",
            "Condition": {"StringLike": {"aws:ResourceTag/modelpick:deployment": "*"}},
        },
        {
            "Sid": "Sessions",
            "Effect": "Allow",
            "Action": "ssm:StartSession",
            "Resource": f"arn:{partition}:ssm:*::document/AWS-StartPortForwardingSession",
        },
        {  # the plugin's own calls, on the caller's own sessions
            "Sid": "OwnSessions",
            "Effect": "Allow",
            "Action": ["ssm:ResumeSession", "ssm:TerminateSession"],
            "Resource": [f"arn:{partition}:ssm:*:{account}:session/${{aws:{who}}}-*" for who in ("username", "userid")],
        },
        {
            "Sid": "Pass",
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": f"{roles}modelpick/*",
            "Condition": {"StringEquals": {"iam:PassedToService": list(PASSED_TO)}},
        },
        {
            "Sid": "Linked",
            "Effect": "Allow",
            "Action": "iam:CreateServiceLinkedRole",
            "Resource": f"{roles}aws-service-role/*",
            "Condition": {"StringEquals": {"iam:AWSServiceName": list(LINKED_ROLES)}},
        },
        {
            "Sid": "MayI",
            "Effect": "Allow",
            "Action": "iam:SimulatePrincipalPolicy",
            "Resource": [f"arn:{partition}:iam::{account}:user/*", f"{roles}*"],
        },
        {
            "Sid": "Boundary",
            "Effect": "Allow",
            "Action": ["iam:GetPolicy", "iam:GetPolicyVersion"],
            "Resource": f"arn:{partition}:iam::{account}:policy/*",
        },
    ]
    if kms_key:
        statements.append({"Sid": "Key", "Effect": "Allow", "Action": list(KEY), "Resource": kms_key})
    return {"Version": "2012-10-17", "Statement": statements}
