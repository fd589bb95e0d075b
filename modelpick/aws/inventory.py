"""Everything in a region that has a deployment's name or tag, whoever made it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelpick.aws.account import Account
from modelpick.aws.names import PREFIX, TAG_DEPLOYMENT, ResourceNames, owner_of_bucket


@dataclass(frozen=True, slots=True)
class Ec2Machine:
    """A machine as EC2 lists it. `state` is EC2's: pending, running, shutting-down, terminated, stopping, stopped."""

    id: str
    instance_type: str
    state: str
    tags: Mapping[str, str]

    @property
    def deployment(self) -> str:
        """The deployment that it belongs to, or an empty text."""
        return self.tags.get(TAG_DEPLOYMENT, "")

    @property
    def runs(self) -> bool:
        """Whether it runs, or is about to."""
        return self.state in ("pending", "running")

    @property
    def gone(self) -> bool:
        """Whether it has ended, or is ending."""
        return self.state in ("terminated", "shutting-down")


@dataclass(frozen=True, slots=True)
class Ec2Disk:
    """An EBS volume."""

    id: str
    gib: int
    tags: Mapping[str, str]

    @property
    def deployment(self) -> str:
        """The deployment that it belongs to, or an empty text."""
        return self.tags.get(TAG_DEPLOYMENT, "")


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource. `bills`: it costs money as it stands."""

    deployment: str
    kind: str
    name: str
    region: str
    bills: bool = False
    detail: str = ""


def everything(account: Account, account_id: str) -> list[Resource]:
    """All resources of all deployments of the region (of roles and buckets: of the region in their name)."""
    listers = (
        _machines,
        _groups,
        _disks,
        _schedules,
        _templates,
        _security_groups,
        _parameters,
        _log_groups,
        _roles,
    )
    found = [thing for lister in listers for thing in lister(account)]
    return found + list(_buckets(account, account_id))


def of(account: Account, names: ResourceNames) -> list[Resource]:
    """All resources of one deployment."""
    return [thing for thing in everything(account, names.account) if thing.deployment == names.deployment]


def machines(account: Account, deployment: str | None = None) -> list[Ec2Machine]:
    """Machines that carry our tag (of one deployment, or of any), the terminated that EC2 still lists included."""
    reservations = account.pages("ec2", "describe_instances", "Reservations", Filters=[_tagged(deployment)])
    return [
        Ec2Machine(item["InstanceId"], item["InstanceType"], item["State"]["Name"], tags_of(item))
        for reservation in reservations
        for item in reservation["Instances"]
    ]


def disks(account: Account, deployment: str | None = None) -> list[Ec2Disk]:
    """EBS volumes that carry our tag."""
    volumes = account.pages("ec2", "describe_volumes", "Volumes", Filters=[_tagged(deployment)])
    return [Ec2Disk(item["VolumeId"], item["Size"], tags_of(item)) for item in volumes]


def tags_of(item: Mapping[str, Any]) -> dict[str, str]:
    """The tags of what EC2 describes."""
    return {tag["Key"]: tag["Value"] for tag in item.get("Tags", ())}


def _tagged(deployment: str | None) -> dict[str, object]:
    if deployment is None:
        return {"Name": "tag-key", "Values": [TAG_DEPLOYMENT]}
    return {"Name": f"tag:{TAG_DEPLOYMENT}", "Values": [deployment]}


def _deployment_of(item: Mapping[str, Any]) -> str:
    """The deployment that a tagged item belongs to, or an empty text."""
    return tags_of(item).get(TAG_DEPLOYMENT, "")


def _machines(account: Account) -> Iterator[Resource]:
    for machine in machines(account):
        if not machine.gone:
            detail = f"{machine.instance_type} {machine.state}"
            yield Resource(machine.deployment, "machine", machine.id, account.region, True, detail)


def _groups(account: Account) -> Iterator[Resource]:
    wanted = [{"Name": "tag-key", "Values": [TAG_DEPLOYMENT]}]
    for item in account.pages("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", Filters=wanted):
        name, desired = item["AutoScalingGroupName"], item["DesiredCapacity"]
        yield Resource(
            name.removeprefix(f"{PREFIX}-"), "group", name, account.region, desired > 0, f"desired capacity {desired}"
        )


def _disks(account: Account) -> Iterator[Resource]:
    for disk in disks(account):
        yield Resource(disk.deployment, "disk", disk.id, account.region, True, f"{disk.gib} GiB")


def _schedules(account: Account) -> Iterator[Resource]:
    for item in account.pages("scheduler", "list_schedules", "Schedules", GroupName="default", NamePrefix=f"{PREFIX}-"):
        yield Resource(item["Name"].removeprefix(f"{PREFIX}-"), "backstop", item["Name"], account.region)


def _templates(account: Account) -> Iterator[Resource]:
    wanted = [{"Name": "tag-key", "Values": [TAG_DEPLOYMENT]}]
    for item in account.pages("ec2", "describe_launch_templates", "LaunchTemplates", Filters=wanted):
        yield Resource(_deployment_of(item), "launch template", item["LaunchTemplateName"], account.region)


def _security_groups(account: Account) -> Iterator[Resource]:
    wanted = [{"Name": "tag-key", "Values": [TAG_DEPLOYMENT]}]
    for item in account.pages("ec2", "describe_security_groups", "SecurityGroups", Filters=wanted):
        yield Resource(_deployment_of(item), "security group", item["GroupId"], account.region)


def _parameters(account: Account) -> Iterator[Resource]:
    for item in account.pages("ssm", "get_parameters_by_path", "Parameters", Path=f"/{PREFIX}", Recursive=True):
        deployment, _, leaf = item["Name"].removeprefix(f"/{PREFIX}/").partition("/")
        kind = {"hub-token": "Hub token", "api-key": "API key"}.get(leaf, leaf)
        yield Resource(deployment, kind, item["Name"], account.region)


def _log_groups(account: Account) -> Iterator[Resource]:
    for item in account.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=f"/{PREFIX}/"):
        yield Resource(
            item["logGroupName"].removeprefix(f"/{PREFIX}/"), "log group", item["logGroupName"], account.region
        )


def _roles(account: Account) -> Iterator[Resource]:
    suffixes = tuple(f"-{account.region}-{kind}" for kind in ("guest", "switch"))
    for item in account.pages("iam", "list_roles", "Roles", PathPrefix=f"/{PREFIX}/"):
        name = item["RoleName"]
        for suffix in suffixes:
            if name.endswith(suffix):
                yield Resource(name.removeprefix(f"{PREFIX}-").removesuffix(suffix), "role", name, account.region)


def _buckets(account: Account, account_id: str) -> Iterator[Resource]:
    for item in account.call("s3", "list_buckets", Prefix=f"{PREFIX}-")["Buckets"]:
        parts = owner_of_bucket(item["Name"])
        if parts is not None and parts[1:] == (account_id, account.region):
            yield Resource(parts[0], "bucket", item["Name"], account.region)
