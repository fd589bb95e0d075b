"""The options that say by which policy, and for which product of the company, a command judges."""

from typing import Annotated

from modelpick.cli.options import option, policy_asked
from modelpick.licensing.judge_models import policy_in_force
from modelpick.licensing.policy import Policy
from modelpick.settings import SettingsFile

ProductName = Annotated[str | None, option(SettingsFile, "product")]


def policy_for(policy: str | None, product: str | None, *, commercial: bool = False) -> Policy:
    """The policy that --policy, --commercial and --product ask for. Raises UsageError for what there is none of."""
    return policy_in_force(policy_asked(commercial, policy), product=product)


def judged_for(policy: str | None, product: str | None) -> str | Policy | None:
    """As `policy_for` where a product is named, else `policy` as it was typed, to be read later."""
    return policy_for(policy, product) if product is not None else policy
