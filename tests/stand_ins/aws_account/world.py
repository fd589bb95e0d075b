"""The account's time: a clock that fires scheduled actions and schedules, capacity that comes and goes, a bill.

Works on moto's own objects in the same process. Times are seconds since the epoch.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup, InstanceState
from moto.backends import get_backend

ACCOUNT = "123456789012"
RETRY_SECONDS = 60.0  # how often the stand-in's groups try again; AWS's own rhythm is not documented
_HOUR = 3600.0


@dataclass
class World:
    """One account. `usd_per_hour` prices instance types; the rest are us-east-1's rates."""

    usd_per_hour: dict[str, float] = field(default_factory=dict)
    disk_usd_per_gib_hour: float = 0.08 / 730
    address_usd_per_hour: float = 0.005
    bucket_usd_per_gib_hour: float = 0.023 / 730
    offset: float = 0.0
    blocked: list[dict[str, str | None]] = field(default_factory=list)
    launch_error: str | None = None
    regions: set[str] = field(default_factory=lambda: {"us-east-1"})
    activities: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    bill: dict[str, float] = field(default_factory=dict)
    quotas: dict[str, float] = field(default_factory=lambda: {"L-DB2E81BA": 64.0, "L-3819A6DF": 64.0})
    denied: set[str] = field(default_factory=set)
    denied_by_organization: set[str] = field(default_factory=set)
    needed_context: dict[str, list[str]] = field(default_factory=dict)  # action -> keys that a simulation must be told
    agent_online: bool = True
    policy: dict[str, Any] | None = None  # what the caller may do; None: everything
    used: set[str] = field(default_factory=set)  # "Sid action" of the policy that calls have needed
    made_at: dict[str, float] = field(default_factory=dict)
    iam_settles_in: float = 0.0
    launched_unarmed: list[str] = field(default_factory=list)
    launches: int = 0
    _tried_at: dict[str, float] = field(default_factory=dict)

    def now(self) -> float:
        return time.time() + self.offset

    # -- the clock ---------------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass: everything due on the way happens at its own time, and the bill runs."""
        end = self.now() + seconds
        while True:
            due = [(at, act) for at, act in self._events() if at <= end]
            at, act = min(due, key=lambda item: item[0], default=(end, None))
            step = max(at - self.now(), 0.0)
            self._accrue(step)
            self.offset += step
            if act is None:
                return
            act()

    def _events(self) -> list[tuple[float, Callable[[], None]]]:
        events: list[tuple[float, Callable[[], None]]] = []
        for region in self.regions:
            scaling = self._scaling(region)
            for name, action in list(scaling.scheduled_actions.items()):
                group = scaling.autoscaling_groups.get(action.auto_scaling_group_name)
                suspended = group is None or "ScheduledActions" in group._suspended_processes
                if not suspended:
                    events.append((stamp(action.start_time), lambda s=scaling, n=name: self._fire_action(s, n)))
            schedules = get_backend("scheduler")[ACCOUNT][region].schedule_groups["default"].schedules
            for name, schedule in list(schedules.items()):
                if schedule.state == "ENABLED" and not getattr(schedule, "fired", False):
                    events.append(
                        (
                            at_expression(schedule.schedule_expression),
                            lambda r=region, n=name: self._fire_schedule(r, n),
                        )
                    )
            for group in scaling.autoscaling_groups.values():
                if self._short(group):
                    again = self._tried_at.get(group.name, 0.0) + RETRY_SECONDS
                    events.append((again, lambda g=group: self.settle(g)))
        return events

    def _fire_action(self, scaling: AutoScalingBackend, name: str) -> None:
        action = scaling.scheduled_actions.pop(name)
        group = scaling.autoscaling_groups[action.auto_scaling_group_name]
        group.min_size, group.max_size = action.min_size, action.max_size
        group.desired_capacity = action.desired_capacity
        self.settle(group)

    def _fire_schedule(self, region: str, name: str) -> None:
        schedule = get_backend("scheduler")[ACCOUNT][region].schedule_groups["default"].schedules[name]
        schedule.fired = True
        wanted = json.loads(schedule.target["Input"])
        if self._may(schedule.target["RoleArn"], "autoscaling:DeleteAutoScalingGroup") and schedule.target[
            "Arn"
        ].endswith("autoscaling:deleteAutoScalingGroup"):
            group = self._scaling(region).autoscaling_groups.get(wanted["AutoScalingGroupName"])
            if group is not None and wanted.get("ForceDelete"):
                self.delete_group(group)

    @staticmethod
    def _may(role_arn: str, action: str) -> bool:
        iam = get_backend("iam")[ACCOUNT]["aws"]
        role = next((item for item in iam.roles.values() if item.arn == role_arn), None)
        if role is None or "scheduler.amazonaws.com" not in str(role.assume_role_policy_document):
            return False
        return any(action in str(document) for document in role.policies.values())

    # -- groups ------------------------------------------------------------------------------------------------------

    def settle(self, group: FakeAutoScalingGroup) -> None:
        """Bring a group to its desired capacity, as far as capacity and suspended processes allow."""
        group.instance_states = [
            state for state in group.instance_states if state.instance._state.name in ("pending", "running", "stopped")
        ]
        self._tried_at[group.name] = self.now()
        while len(group.instance_states) > (group.desired_capacity or 0):
            going = [state for state in group.instance_states if not state.protected_from_scale_in]
            if not going or "Terminate" in group._suspended_processes:
                break
            group.instance_states.remove(going[-1])
            self._end(group, going[-1])
        while self._short(group):
            if not self._launch(group):
                return

    def _short(self, group: FakeAutoScalingGroup) -> bool:
        return len(group.instance_states) < (group.desired_capacity or 0) and "Launch" not in group._suspended_processes

    def _launch(self, group: FakeAutoScalingGroup) -> bool:
        policy = group.mixed_instances_policy or {}
        distribution = policy.get("InstancesDistribution", {})
        market = "on-demand" if int(distribution.get("OnDemandBaseCapacity") or 0) else "spot"
        types = [item["InstanceType"] for item in policy["LaunchTemplate"]["Overrides"]]
        subnets = group.ec2_backend.describe_subnets(subnet_ids=group.vpc_zone_identifier.split(","))
        if self.launch_error:
            self._note(group, "Launching a new EC2 instance", "Failed", self.launch_error)
            return False
        for kind in types:
            for subnet in subnets:
                if not self._blocked(kind, subnet.availability_zone, market):
                    self._run(group, kind, subnet, market)
                    return True
        tried = ", ".join(types)
        self._note(
            group,
            "Launching a new EC2 instance",
            "Failed",
            f"Could not launch {market} Instances. InsufficientInstanceCapacity - We currently do not have sufficient "
            f"{tried} capacity in the Availability Zones you requested.",
        )
        return False

    def _run(self, group: FakeAutoScalingGroup, kind: str, subnet: Any, market: str) -> None:
        template = group.ec2_launch_template
        data = template.latest_version().data
        specifications = {
            item["ResourceType"]: {tag["Key"]: tag["Value"] for tag in item["Tags"]}
            for item in data["TagSpecifications"]
        }
        reservation = group.ec2_backend.run_instances(
            data["ImageId"],
            1,
            data.get("UserData"),
            [],
            instance_type=kind,
            tags={
                "instance": {
                    **specifications.get("instance", {}),
                    **group.get_propagated_tags(),
                    "aws:autoscaling:groupName": group.name,
                },
                "volume": specifications.get("volume", {}),
            },
            placement=subnet.availability_zone,
            launch_template={"LaunchTemplateId": template.id},
            is_instance_type_default=False,
            subnet_id=subnet.id,
            security_group_ids=list(data["NetworkInterfaces"][0]["Groups"]),
            region_name=group.region,
            lifecycle="spot" if market == "spot" else None,
        )
        instance = reservation.instances[0]
        attached = {device.volume_id for device in instance.block_device_mapping.values()}
        for volume in list(group.ec2_backend.volumes.values()):  # moto makes a second root volume and forgets it
            if volume.attachment and volume.attachment.instance is instance and volume.id not in attached:
                del group.ec2_backend.volumes[volume.id]
        instance.launch_time = moment(self.now()).replace(tzinfo=None)
        instance.autoscaling_group = group
        group.instance_states.append(InstanceState(instance))
        self.launches += 1
        if problems := self.unarmed(group):
            self.launched_unarmed.append(f"{instance.id}: {', '.join(problems)}")
        self._note(group, f"Launching a new EC2 instance: {instance.id}", "Successful")

    def _end(self, group: FakeAutoScalingGroup, state: InstanceState) -> None:
        group.ec2_backend.terminate_instances([state.instance.id])
        self._note(group, f"Terminating EC2 instance: {state.instance.id}", "Successful")

    def delete_group(self, group: FakeAutoScalingGroup) -> None:
        for state in list(group.instance_states):
            if state.instance._state.name != "terminated":
                self._end(group, state)
        group.instance_states = []
        scaling = group.autoscaling_backend
        scaling.autoscaling_groups.pop(group.name, None)
        for name, action in list(scaling.scheduled_actions.items()):
            if action.auto_scaling_group_name == group.name:
                del scaling.scheduled_actions[name]

    def power_off(self, instance_id: str) -> None:
        """The machine shuts itself down (its launch template says: terminate); the group notices."""
        for region in self.regions:
            for group in self._scaling(region).autoscaling_groups.values():
                for state in group.instance_states:
                    if state.instance.id == instance_id:
                        group.ec2_backend.terminate_instances([instance_id])
                        if "ReplaceUnhealthy" not in group._suspended_processes:
                            self._note(group, f"Terminating EC2 instance: {instance_id}", "Successful")
                            self.settle(group)
                        return
        raise KeyError(instance_id)

    def _blocked(self, kind: str, zone: str, market: str) -> bool:
        return any(
            rule.get("type") in (None, kind)
            and rule.get("zone") in (None, zone)
            and rule.get("market") in (None, market)
            for rule in self.blocked
        )

    def _note(self, group: FakeAutoScalingGroup, text: str, code: str, message: str = "") -> None:
        listed = self.activities.setdefault(group.name, [])
        at = moment(self.now())
        listed.append(
            {"ActivityId": f"a-{len(listed)}", "AutoScalingGroupName": group.name, "Description": text,
             "Cause": "stand-in", "StartTime": at, "EndTime": at, "StatusCode": code,
             "StatusMessage": message, "Progress": 100}
        )  # fmt: skip

    # -- what is true ------------------------------------------------------------------------------------------------

    def unarmed(self, group: FakeAutoScalingGroup) -> list[str]:
        """What is missing for both switches to stop this group's machine, by the account's own facts."""
        missing = []
        actions = [
            action
            for action in group.autoscaling_backend.scheduled_actions.values()
            if action.auto_scaling_group_name == group.name
            and (action.min_size, action.max_size, action.desired_capacity) == (0, 0, 0)
            and stamp(action.start_time) > self.now()
        ]
        if not actions or "ScheduledActions" in group._suspended_processes or "Terminate" in group._suspended_processes:
            missing.append("no scheduled action")
        elif any(state.protected_from_scale_in for state in group.instance_states):
            missing.append("protected from the scheduled action")
        schedules = get_backend("scheduler")[ACCOUNT][group.region].schedule_groups["default"].schedules.values()
        deletes = [
            schedule
            for schedule in schedules
            if not getattr(schedule, "fired", False)
            and schedule.state == "ENABLED"
            and json.loads(schedule.target["Input"]) == {"AutoScalingGroupName": group.name, "ForceDelete": True}
            and schedule.target["Arn"].endswith(":aws-sdk:autoscaling:deleteAutoScalingGroup")
            and at_expression(schedule.schedule_expression) > self.now()
            and self._may(schedule.target["RoleArn"], "autoscaling:DeleteAutoScalingGroup")
        ]
        if not deletes:
            missing.append("no backstop")
        return missing

    def machines(self) -> list[Any]:
        return [
            instance
            for region in self.regions
            for instance in get_backend("ec2")[ACCOUNT][region].all_instances()
            if instance._state.name in ("pending", "running")
        ]

    def _accrue(self, seconds: float) -> None:
        def add(item: str, usd_per_hour: float) -> None:
            self.bill[item] = self.bill.get(item, 0.0) + usd_per_hour * seconds / _HOUR

        for instance in self.machines():
            add("machine", self.usd_per_hour.get(instance.instance_type, 1.0))
            add("address", self.address_usd_per_hour)
        for region in self.regions:
            for volume in get_backend("ec2")[ACCOUNT][region].volumes.values():
                add("disk", float(volume.size) * self.disk_usd_per_gib_hour)
        for bucket in get_backend("s3")[ACCOUNT]["aws"].buckets.values():
            size = sum(key.size for key in bucket.keys.values())
            add("bucket", size / 2**30 * self.bucket_usd_per_gib_hour)

    def _scaling(self, region: str) -> AutoScalingBackend:
        return get_backend("autoscaling")[ACCOUNT][region]


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def stamp(text: Any) -> float:
    """Seconds of a scheduled action's start time, as moto keeps it."""
    if isinstance(text, datetime):
        return (text if text.tzinfo else text.replace(tzinfo=UTC)).timestamp()
    return datetime.fromisoformat(str(text).replace("Z", "+00:00")).replace(tzinfo=UTC).timestamp()


def at_expression(text: str) -> float:
    """Seconds of a one-time schedule: at(yyyy-mm-ddThh:mm:ss), UTC."""
    return datetime.strptime(text, "at(%Y-%m-%dT%H:%M:%S)").replace(tzinfo=UTC).timestamp()


def install(world: World) -> None:
    """Make moto's groups behave as AWS's do, in this process."""

    def set_desired_capacity(group: FakeAutoScalingGroup, capacity: int | None) -> None:
        if capacity is not None or not hasattr(group, "desired_capacity"):
            group.desired_capacity = group.min_size if capacity is None else capacity
        if group.name in group.autoscaling_backend.autoscaling_groups:
            world.settle(group)

    kept = FakeAutoScalingGroup.update

    def update(group: FakeAutoScalingGroup, *arguments: Any, **named: Any) -> None:
        # AWS keeps the policy that an update does not mention; moto forgets it.
        before, wanted = group.mixed_instances_policy, named.pop("desired_capacity", None)
        kept(group, *arguments, **named, desired_capacity=None)
        group.mixed_instances_policy = group.mixed_instances_policy or before
        group.desired_capacity = group.desired_capacity if wanted is None else wanted
        group.desired_capacity = min(max(group.desired_capacity or 0, group.min_size), group.max_size)
        world.settle(group)

    def delete(scaling: AutoScalingBackend, group_name: str) -> None:
        world.delete_group(scaling.autoscaling_groups[group_name])

    created = AutoScalingBackend.create_auto_scaling_group

    def create(scaling: AutoScalingBackend, *arguments: Any, **named: Any) -> FakeAutoScalingGroup:
        group = created(scaling, *arguments, **named)
        world.settle(group)
        return group

    AutoScalingBackend.create_auto_scaling_group = create
    FakeAutoScalingGroup.set_desired_capacity = set_desired_capacity
    FakeAutoScalingGroup.update = update
    FakeAutoScalingGroup.replace_autoscaling_group_instances = lambda *_: None
    AutoScalingBackend.delete_auto_scaling_group = delete
    AutoScalingBackend.notify_terminate_instances = lambda *_: None
