"""A company's own KMS key: there, enabled, able to encrypt, and lent to Auto Scaling, which starts the machine.

Auto Scaling acts by its service-linked role, which a customer managed key must name in its policy or in a grant
(Auto Scaling user guide, "Required AWS KMS key policy for use with encrypted volumes"). Without it a launch fails.
"""

import json

from modelpick.aws.account import Account
from modelpick.aws.errors import Refused
from modelpick.errors import RemoteError

_LINKED = "aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
_OPERATIONS = (
    "Encrypt Decrypt ReEncryptFrom ReEncryptTo GenerateDataKey GenerateDataKeyWithoutPlaintext DescribeKey CreateGrant"
)


def check(account: Account, key: str) -> str:
    """What the key is, in a few words. Raises RemoteError where a machine could not be encrypted with it."""
    found = account.find("kms", "describe_key", KeyId=key)
    if found is None:
        raise RemoteError(
            f"there is no KMS key {key} in {account.region}",
            fix=f"aws kms list-aliases --region {account.region} shows those there are",
            code="unknown_key",
        )
    told = found["KeyMetadata"]
    if told["KeyState"] != "Enabled":
        how = "cancel-key-deletion" if told["KeyState"] == "PendingDeletion" else "enable-key"
        raise RemoteError(
            f"the KMS key {key} is {told['KeyState']}",
            fix=f"aws kms {how} --key-id {told['KeyId']} --region {account.region}",
            code="key_disabled",
        )
    if told.get("KeyUsage") != "ENCRYPT_DECRYPT" or told.get("KeySpec", "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT":
        raise RemoteError(
            f"the KMS key {key} is for {told.get('KeyUsage')} ({told.get('KeySpec')}), not for encrypting disks",
            fix="name a symmetric encryption key by --kms-key",
            code="wrong_key",
        )
    if told.get("KeyManager") == "AWS":
        return f"{told['KeyId']}, enabled, managed by AWS"
    lent = _is_lent(account, told["KeyId"])
    if lent is False:
        role = f"arn:{told['Arn'].split(':')[1]}:iam::{told['Arn'].split(':')[4]}:role/{_LINKED}"
        raise RemoteError(
            f"the KMS key {key} is not lent to Auto Scaling's role: no machine could start",
            fix=f"aws kms create-grant --region {account.region} --key-id {told['Arn']} --grantee-principal {role} "
            f"--operations {_OPERATIONS}",
            code="key_not_lent",
        )
    return f"{told['KeyId']}, enabled, {'lent to Auto Scaling' if lent else 'its policy may not be read'}"


def _is_lent(account: Account, key: str) -> bool | None:
    """Whether policy or grants name Auto Scaling's role, or everybody under conditions; None: may not be asked."""
    try:
        policy = json.loads(account.call("kms", "get_key_policy", KeyId=key, PolicyName="default")["Policy"])
        allowed = [json.dumps(one.get("Principal")) for one in policy["Statement"] if one["Effect"] == "Allow"]
        if any(_LINKED in principal or '"*"' in principal for principal in allowed):
            return True
        grants = account.pages("kms", "list_grants", "Grants", KeyId=key)
        return any(_LINKED in grant["GranteePrincipal"] for grant in grants)
    except Refused as refused:
        if refused.code != "access_denied":
            raise
        return None
