"""The actions of a plan in their order, and the switches that stop it. Pure.

The order is the point: everything free first, then the two switches that AWS itself holds, read back, and only then
the one call that costs money.
"""

from collections.abc import Mapping
from typing import Any

PREFIX = "modelpick"  # of every name in the account (modelpick.aws.names, held to this by a test)
DELETE_AFTER_MINUTES = 20  # the second switch fires after the first: a group that will not shrink is deleted

_Step = tuple[str, str | None, str]  # action, what it creates, a note


def actions(name: str, plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each action with what it creates and its dollars; only one of them is paid. `plan` is a plan's body."""
    cost = {key: plan["cost"][key] for key in ("low_usd", "likely_usd", "high_usd", "usd_per_hour")}
    paid = {
        "action": "start",
        "creates": "one instance",
        "usd": cost["likely_usd"],
        "note": "desired capacity 1",
        **cost,
    }
    listed = [*map(_free, _before(name, plan)), paid, *map(_free, _after(name, plan))]
    return [{"step": step, **action} for step, action in enumerate(listed, 1)]


def stop_switches(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What ends it, from the first to the last resort; the first two are held by AWS, whatever happens here."""
    limit = float(plan["max_hours"])
    later = float(f"{limit + DELETE_AFTER_MINUTES / 60:.6g}")
    return [
        {"switch": "scheduled action: the group goes to 0", "held_by": "AWS", "after_hours": limit},
        {"switch": "schedule: the group is deleted", "held_by": "AWS", "after_hours": later},
        {"switch": "the machine, when done or idle", "held_by": "the instance", "after_hours": None},
        {"switch": "modelpick down", "held_by": "you", "after_hours": None},
    ]


def _before(name: str, plan: Mapping[str, Any]) -> list[_Step]:
    """What is free, and comes before anything is paid."""
    short = name.removeprefix(f"{PREFIX}-")
    steps: list[_Step] = [
        ("check_account", None, "identity, quota, zones, image, live price: read only"),
        ("create_bucket", f"{name}-*", "private, encrypted, forgets by itself; the account and region end its name"),
        ("create_log_group", f"/{PREFIX}/{short}", "forgets by itself"),
        (
            "create_role",
            f"{name}-{plan['region']}-guest",
            "role and instance profile, for this deployment's names only",
        ),
        (
            "create_role",
            f"{name}-{plan['region']}-switch",
            "what the second switch acts by: deletes this group, no more",
        ),
        ("create_security_group", name, "no inbound rule: access through Session Manager"),
    ]
    if plan["model"]["gated"]:
        steps.append(
            ("store_hub_token", f"/{PREFIX}/{short}/hub-token", "SecureString, read by the instance's role alone")
        )
    if "serve" in plan["tasks"]:
        note = "SecureString, made at the start; read by the instance's role and by `connect`"
        steps.append(("store_api_key", f"/{PREFIX}/{short}/api-key", note))
    volume = f"{plan['disk_gb']} GB gp3, deleted with the instance"
    several = len(plan["candidates"]) > 1
    more = " (the next ones only without capacity, within the same limit)" if several else ""
    return [
        *steps,
        ("create_launch_template", name, f"IMDSv2 required; {volume}; id in every name and tag"),
        (
            "create_group",
            name,
            "desired capacity 0; the first candidate, over all zones that offer it" + more,
        ),
        ("arm_stop", f"{name}-stop", f"the group goes to 0 after {plan['max_hours']:g} h"),
        ("arm_delete", name, f"the group is deleted {DELETE_AFTER_MINUTES} min later"),
        ("read_back_switches", None, "both are there with the right times, or nothing is started"),
    ]


def _after(name: str, plan: Mapping[str, Any]) -> list[_Step]:
    """What happens once the instance runs; its cost is in the start's."""
    steps: list[_Step] = [("hold_size", None, "replacing is suspended, so that a shut-down lasts")]
    if "finetune" in plan["tasks"]:
        steps.append(("finetune", f"{name}/result", "checkpoints and the result go to S3"))
    if "serve" in plan["tasks"]:
        steps.append(("serve", None, "on loopback, reached by port forwarding"))
    return [
        *steps,
        ("stop", None, "the machine sets its own group to 0 when done or idle"),
        ("down", None, "paid things first; ends with a receipt of what is left: nothing"),
    ]


def _free(step: _Step) -> dict[str, Any]:
    action, creates, note = step
    return {"action": action, "creates": creates, "usd": 0.0, "note": note}
