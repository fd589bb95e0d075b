"""The least a person needs for `up`, `status`, `logs`, `connect`, `extend`, `down` and `sweep`: an IAM policy. Pure.

Tests hold every call of a whole life to it, by action, resource and condition: nothing missing, nothing spare.
"""

from typing import Any

# What can only be looked at as a whole: these actions know no resources (Service Authorization Reference).
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
# Creating: the new thing has no tag to test yet. Deleting and terminating: only what carries our tag.
MAKE = ("ec2:CreateLaunchTemplate", "ec2:CreateSecurityGroup", "ec2:CreateTags", "ec2:RunInstances")
TAGGED = (
    "ec2:DeleteLaunchTemplate", "ec2:DeleteSecurityGroup", "ec2:DeleteVolume", "ec2:TerminateInstances",
    "ssm:StartSession",
)  # fmt: skip
PASSED_TO = ("ec2.amazonaws.com", "scheduler.amazonaws.com")
LINKED_ROLES = ("autoscaling.amazonaws.com", "spot.amazonaws.com")


# What encrypting disk, bucket and token with a company's own key asks of the caller.
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
