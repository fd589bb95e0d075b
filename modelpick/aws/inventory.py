"""Everything in a region that carries a deployment's name or tag, whoever made it and whatever became of the rest."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modelpick.aws.account import Account
from modelpick.aws.names import PREFIX, TAG_DEPLOYMENT, ResourceNames, owner_of_bucket

_GONE = ("terminated", "shutting-down")


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource. `bills`: it costs money as it stands."""

    deployment: str
    kind: str
    name: str
    region: str
    bills: bool = False
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        """The thing in the names of `status` and `sweep`."""
        return {
            "deployment": self.deployment,
            "kind": self.kind,
            "name": self.name,
            "region": self.region,
            "bills": self.bills,
            "detail": self.detail,
        }


def everything(account: Account, account_id: str) -> list[Resource]:
    """All things of all deployments of the region (roles and buckets: of the region their name tells)."""
    listers = (
        _instances,
        _groups,
        _volumes,
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
    """All things of one deployment."""
    return [thing for thing in everything(account, names.account) if thing.deployment == names.deployment]


def instances(account: Account, deployment: str | None = None) -> list[dict[str, Any]]:
    """EC2 instances that carry our tag (of one deployment, or of any), the terminated that EC2 still lists included."""
    wanted = (
        {"Name": "tag-key", "Values": [TAG_DEPLOYMENT]}
        if deployment is None
        else {"Name": f"tag:{TAG_DEPLOYMENT}", "Values": [deployment]}
    )
    held = account.pages("ec2", "describe_instances", "Reservations", Filters=[wanted])
    return [item for reservation in held for item in reservation["Instances"]]


def volumes(account: Account, deployment: str | None = None) -> list[dict[str, Any]]:
    """EBS volumes that carry our tag."""
    wanted = (
        {"Name": "tag-key", "Values": [TAG_DEPLOYMENT]}
        if deployment is None
        else {"Name": f"tag:{TAG_DEPLOYMENT}", "Values": [deployment]}
    )
    return list(account.pages("ec2", "describe_volumes", "Volumes", Filters=[wanted]))


def tag_of(item: dict[str, Any]) -> str:
    """The deployment a tagged item belongs to, or an empty text."""
    return next((tag["Value"] for tag in item.get("Tags", ()) if tag["Key"] == TAG_DEPLOYMENT), "")


def _instances(account: Account) -> Iterator[Resource]:
    for item in instances(account):
        state = item["State"]["Name"]
        if state not in _GONE:
            yield Resource(
                tag_of(item), "machine", item["InstanceId"], account.region, True, f"{item['InstanceType']} {state}"
            )


def _groups(account: Account) -> Iterator[Resource]:
    wanted = [{"Name": "tag-key", "Values": [TAG_DEPLOYMENT]}]
    for item in account.pages("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", Filters=wanted):
        name, desired = item["AutoScalingGroupName"], item["DesiredCapacity"]
        yield Resource(name.removeprefix(f"{PREFIX}-"), "group", name, account.region, desired > 0, f"wants {desired}")


def _volumes(account: Account) -> Iterator[Resource]:
    for item in volumes(account):
        yield Resource(tag_of(item), "disk", item["VolumeId"], account.region, True, f"{item['Size']} GiB")


def _schedules(account: Account) -> Iterator[Resource]:
    for item in account.pages("scheduler", "list_schedules", "Schedules", GroupName="default", NamePrefix=f"{PREFIX}-"):
        yield Resource(item["Name"].removeprefix(f"{PREFIX}-"), "backstop", item["Name"], account.region)


def _templates(account: Account) -> Iterator[Resource]:
    wanted = [{"Name": "tag-key", "Values": [TAG_DEPLOYMENT]}]
    for item in account.pages("ec2", "describe_launch_templates", "LaunchTemplates", Filters=wanted):
        yield Resource(tag_of(item), "launch template", item["LaunchTemplateName"], account.region)


def _security_groups(account: Account) -> Iterator[Resource]:
    wanted = [{"Name": "tag-key", "Values": [TAG_DEPLOYMENT]}]
    for item in account.pages("ec2", "describe_security_groups", "SecurityGroups", Filters=wanted):
        yield Resource(tag_of(item), "security group", item["GroupId"], account.region)


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
