"""What the machine judges licenses by: the very policy, company facts and approvals that allowed the plan. I/O.

The machine reads them as any folder's own: modelpick.toml, the policy it names, approvals.toml.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modelpick import settings
from modelpick.errors import UsageError
from modelpick.licensing import load
from modelpick.licensing.judge_models import APPROVALS, policy_in_force
from modelpick.licensing.policy import Policy

_POLICY, _SETTINGS, _APPROVALS = "policy.toml", "modelpick.toml", "approvals.toml"


def of_plan(plan: Mapping[str, Any], policy: str | None) -> dict[str, str]:
    """Names and texts of the files to lay beside the job. `policy` is the user's --policy.

    Raises UsageError when the policy that the plan was made under is not at hand.
    """
    made_under = plan["policy"]
    chosen = policy_in_force(policy)
    if chosen.sha256 != made_under["sha256"] and made_under["name"] in load.policy_names():
        chosen = policy_in_force(made_under["name"])
    if chosen.sha256 != made_under["sha256"]:
        raise UsageError(
            f"the plan was made under the policy {made_under['name']}, and {chosen.path} is another",
            fix="name that policy's file with --policy, or make the plan again",
            code="other_policy",
        )
    told = {_POLICY: Path(chosen.path).read_text(encoding="utf-8"), _SETTINGS: _settings(chosen, str(plan["region"]))}
    if APPROVALS.is_file():
        told[_APPROVALS] = APPROVALS.read_text(encoding="utf-8")
    return told


def _settings(chosen: Policy, region: str) -> str:
    """Settings that name the policy and the company's facts. JSON's texts, numbers and lists are TOML's too."""
    said = settings.load().company
    held = {key: value for key, value in asdict(chosen.company).items() if key in said}
    held["regions"] = list(dict.fromkeys((*chosen.company.regions, region)))
    facts = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in held.items() if value is not None]
    return "\n".join([f'policy = "{_POLICY}"', "", "[company]", *facts, ""])
