"""The license, judged again where money is spent: under the very policy that the plan was made under."""

from modelpick.errors import UsageError
from modelpick.licensing.judge_models import policy_in_force
from modelpick.licensing.load import policy_names
from modelpick.licensing.policy import Policy


def policy_of(name: str, sha256: str, wanted: str | None) -> Policy:
    """The policy that a plan was made under: `wanted` (the user's --policy), the settings' choice, or ours of its name.

    Raises UsageError (`other_policy`) where none of them has the plan's hash.
    """
    policy = policy_in_force(wanted)
    if policy.sha256 != sha256 and name in policy_names():
        policy = policy_in_force(name)
    if policy.sha256 != sha256:
        raise UsageError(
            f"the plan was made under the policy {name}, and {policy.path} has another content",
            fix="name that policy's file with --policy, or make the plan again",
            code="other_policy",
        )
    return policy
