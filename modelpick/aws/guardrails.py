"""Permission boundaries: what a company's outer policy leaves of the roles that `up` makes, as IAM simulates it.

A role does only what its policy and its boundary both allow (IAM user guide, "Permissions boundaries"). A boundary that
keeps the forced delete's role from deleting the group would disable that kill switch.
"""

import json
from collections.abc import Mapping
from typing import Any

from modelpick.aws import templates
from modelpick.aws.account import Account
from modelpick.aws.errors import AwsRefused
from modelpick.aws.names import ResourceNames
from modelpick.errors import RemoteError


def denied(account: Account, document: Mapping[str, Any], boundary_arn: str) -> list[str]:
    """The actions of a role's policy that its boundary takes away. Raises AwsRefused without permission to ask IAM."""
    boundary = _document(account, boundary_arn)
    lost = []
    for statement in document["Statement"]:
        answer = account.call(
            "iam",
            "simulate_custom_policy",
            PolicyInputList=[templates.canonical(document)],
            PermissionsBoundaryPolicyInputList=[boundary],
            ActionNames=list(statement["Action"]),
            ResourceArns=list(statement["Resource"]),
            ContextEntries=_context(account.region, statement),
        )
        lost += [row["EvalActionName"] for row in answer["EvaluationResults"] if row["EvalDecision"] != "allowed"]
    return sorted(set(lost))


def check_boundary(account: Account, names: ResourceNames, boundary_arn: str, kms_key: str | None) -> None:
    """Whether machine and forced delete can work under a boundary. Raises RemoteError naming what they cannot."""
    policies = (templates.switch_policy(names), templates.guest_policy(names, kms_key))
    lost = sorted({action for policy in policies for action in denied(account, policy, boundary_arn)})
    if lost:
        raise RemoteError(
            f"the permission boundary {boundary_arn} denies the roles of {names.deployment}: {', '.join(lost)}",
            fix=f"add {' '.join(lost)} to that boundary, or name another with --permission-boundary",
            code="boundary_denies",
        )


def problems(account: Account, document: Mapping[str, Any], role: Mapping[str, Any]) -> list[str]:
    """What a role's boundary, if it has one, keeps it from doing. An unknown answer is a problem too."""
    arn = (role.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
    if arn is None:
        return []
    try:
        lost = denied(account, document, arn)
    except AwsRefused as refused:
        if refused.code != "access_denied":
            raise
        return [f"whether the boundary {arn} allows the forced delete is not known ({refused.operation} is denied)"]
    return [f"the boundary {arn} denies the forced delete {', '.join(lost)}"] if lost else []


def _document(account: Account, arn: str) -> str:
    absent = RemoteError(
        f"there is no policy {arn} to use as permission boundary",
        fix="aws iam list-policies --scope Local lists them",
        code="unknown_boundary",
    )
    version = account.must_find(absent, "iam", "get_policy", PolicyArn=arn)["Policy"]["DefaultVersionId"]
    held = account.call("iam", "get_policy_version", PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    return held if isinstance(held, str) else templates.canonical(held)


def _context(region: str, statement: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Boundaries often ask for the region; without the key a `StringNotEquals` denies everything."""
    keys = {"aws:RequestedRegion": region}
    for held in statement.get("Condition", {}).values():
        keys |= held
    return [
        {
            "ContextKeyName": key,
            "ContextKeyValues": [value],
            "ContextKeyType": "numeric" if value.isdigit() else "string",
        }
        for key, value in keys.items()
    ]


_LINKED = "aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
_OPERATIONS = (
    "Encrypt Decrypt ReEncryptFrom ReEncryptTo GenerateDataKey GenerateDataKeyWithoutPlaintext DescribeKey CreateGrant"
)


def check_key(account: Account, key: str) -> str:
    """The key in a few words. Raises RemoteError where a machine could not be encrypted with it."""
    found = account.find("kms", "describe_key", KeyId=key)
    if found is None:
        raise RemoteError(
            f"there is no KMS key {key} in {account.region}",
            fix=f"aws kms list-aliases --region {account.region} lists them",
            code="unknown_key",
        )
    metadata = found["KeyMetadata"]
    if metadata["KeyState"] != "Enabled":
        how = "cancel-key-deletion" if metadata["KeyState"] == "PendingDeletion" else "enable-key"
        raise RemoteError(
            f"the KMS key {key} is {metadata['KeyState']}",
            fix=f"aws kms {how} --key-id {metadata['KeyId']} --region {account.region}",
            code="key_disabled",
        )
    usage, spec = metadata.get("KeyUsage"), metadata.get("KeySpec", "SYMMETRIC_DEFAULT")
    if (usage, spec) != ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"):
        raise RemoteError(
            f"the KMS key {key} is for {usage} ({spec}), not for encrypting disks",
            fix="name a symmetric encryption key with --kms-key",
            code="wrong_key",
        )
    if metadata.get("KeyManager") == "AWS":
        return f"{metadata['KeyId']}, enabled, managed by AWS"
    lent = _is_granted(account, metadata["KeyId"])
    if lent is False:
        role = f"arn:{metadata['Arn'].split(':')[1]}:iam::{metadata['Arn'].split(':')[4]}:role/{_LINKED}"
        raise RemoteError(
            f"the KMS key {key} has no grant for Auto Scaling's role: no machine could start",
            fix=f"aws kms create-grant --region {account.region} --key-id {metadata['Arn']} --grantee-principal {role} "
            f"--operations {_OPERATIONS}",
            code="key_not_lent",
        )
    return f"{metadata['KeyId']}, enabled, {'granted to Auto Scaling' if lent else 'its policy cannot be read'}"


def _is_granted(account: Account, key: str) -> bool | None:
    """Whether policy or grants name Auto Scaling's role, or everybody under conditions; None: no permission to ask."""
    try:
        policy = json.loads(account.call("kms", "get_key_policy", KeyId=key, PolicyName="default")["Policy"])
        allowed = [json.dumps(one.get("Principal")) for one in policy["Statement"] if one["Effect"] == "Allow"]
        if any(_LINKED in principal or '"*"' in principal for principal in allowed):
            return True
        grants = account.pages("kms", "list_grants", "Grants", KeyId=key)
        return any(_LINKED in grant["GranteePrincipal"] for grant in grants)
    except AwsRefused as refused:
        if refused.code != "access_denied":
            raise
        return None
