"""What a group has done: its machines' lives by Auto Scaling's own activities, which outlive group and machine."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelpick.aws.account import Account
from modelpick.aws.names import Names

_LAUNCHED = re.compile(r"(?i)^launching a new (?:ec2|spot|on-demand)? ?instance: (i-[0-9a-f]+)")
_ENDED = re.compile(r"(?i)^terminating ec2 instance: (i-[0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class Life:
    """One machine from launch to end (None: not ended, as far as Auto Scaling tells)."""

    instance_id: str
    started_at: datetime
    ended_at: datetime | None

    def hours(self, now: datetime) -> float:
        """How long it ran, or has run until now; 60 seconds at least (EC2 bills by the second from a minute on)."""
        return max(((self.ended_at or now) - self.started_at).total_seconds(), 60.0) / 3600


def lives(account: Account, names: Names, since: datetime) -> list[Life]:
    """The machines launched since `since`, the oldest first. Deleted groups are remembered for six weeks."""
    started: dict[str, datetime] = {}
    ended: dict[str, datetime] = {}
    for item in _activities(account, names):
        if item["StatusCode"] in ("Failed", "Cancelled") or item["StartTime"] < since:
            continue
        if found := _LAUNCHED.match(item["Description"]):
            started[found[1]] = item["StartTime"].astimezone(UTC)
        elif found := _ENDED.match(item["Description"]):
            ended[found[1]] = (item.get("EndTime") or item["StartTime"]).astimezone(UTC)
    return sorted((Life(name, at, ended.get(name)) for name, at in started.items()), key=lambda life: life.started_at)


def _activities(account: Account, names: Names) -> list[dict[str, Any]]:
    return list(
        account.pages(
            "autoscaling",
            "describe_scaling_activities",
            "Activities",
            AutoScalingGroupName=names.group,
            IncludeDeletedGroups=True,
        )
    )
