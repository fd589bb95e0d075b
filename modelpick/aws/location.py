"""What the account offers a machine: image, subnets, zones with the types, quota. Read only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelpick.aws.account import Account
from modelpick.aws.names import TAG_DEPLOYMENT
from modelpick.aws.spec import InstanceCandidate, Spec
from modelpick.errors import RemoteError, UsageError, nearest
from modelpick.offers.embedded import instances

# AWS Deep Learning Base AMI, by the public parameter of its release notes: driver, CUDA, container toolkit, SSM agent.
IMAGE_PARAMETER = "/aws/service/deeplearning/ami/{cpu}/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
# EC2's vCPU quotas (Service Quotas, service ec2): what they are called, and which families they count.
QUOTAS: Mapping[str, tuple[str, tuple[str, ...], bool]] = {
    "L-DB2E81BA": ("Running On-Demand G and VT instances", ("g", "vt"), False),
    "L-3819A6DF": ("All G and VT Spot Instance Requests", ("g", "vt"), True),
    "L-417A185B": ("Running On-Demand P instances", ("p",), False),
    "L-C4BD4855": ("All P5 Spot Instance Requests", ("p5",), True),
    "L-7212CCBC": ("All P4, P3 and P2 Spot Instance Requests", ("p4", "p3", "p2"), True),
}


@dataclass(frozen=True, slots=True)
class LaunchLocation:
    """Where the machine can run. `offered` are the candidates at least one of the zones has."""

    account: str
    owner: str
    image: str
    vpc: str
    subnets: tuple[str, ...]
    public: bool
    zones: tuple[str, ...]
    offered: tuple[InstanceCandidate, ...]

    @property
    def types(self) -> tuple[str, ...]:
        """The instance types to try, the best first."""
        return tuple(candidate.instance_type for candidate in self.offered)


@dataclass(frozen=True, slots=True)
class QuotaHeadroom:
    """One vCPU quota: its limit, what runs under it, what one machine needs."""

    code: str
    name: str
    limit: float
    used: int
    needed: int

    @property
    def enough(self) -> bool:
        """Whether one more machine fits: limit - used >= needed (a quota above zero alone says nothing)."""
        return self.limit - self.used >= self.needed

    @property
    def request(self) -> str:
        """The command that asks AWS for what is missing."""
        return (
            "aws service-quotas request-service-quota-increase --service-code ec2 "
            f"--quota-code {self.code} --desired-value {self.used + self.needed}"
        )


def owner_of(arn: str) -> str:
    """Who a caller is, for the owner tag: the last part of the ARN."""
    return arn.rpartition("/")[2][:128] or "root"


def image(account: Account, cpu: str) -> str:
    """The id of today's image for `cpu` (x86_64 or arm64). Raises RemoteError when the region has none."""
    parameter = IMAGE_PARAMETER.format(cpu=cpu)
    absent = RemoteError(
        f"{account.region} has no GPU image ({parameter})", fix="choose another --region", code="no_image"
    )
    return str(account.must_find(absent, "ssm", "get_parameter", Name=parameter)["Parameter"]["Value"])


def offered_zones(account: Account, types: Sequence[str]) -> dict[str, set[str]]:
    """Zones of the region by instance type."""
    zones: dict[str, set[str]] = {name: set() for name in types}
    for row in account.pages(
        "ec2",
        "describe_instance_type_offerings",
        "InstanceTypeOfferings",
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": list(types)}],
    ):
        zones[row["InstanceType"]].add(row["Location"])
    return zones


def subnets(account: Account, wanted: str | None) -> tuple[list[dict[str, Any]], bool]:
    """The subnets to use (the default VPC's, or the one named), and whether they are public ones.

    Raises UsageError for an unknown subnet; RemoteError without a default VPC or without a route to the internet.
    """
    name, value = ("subnet-id", wanted) if wanted else ("default-for-az", "true")
    filters = [{"Name": name, "Values": [value]}]
    found = account.call("ec2", "describe_subnets", Filters=filters)["Subnets"]
    if not found and wanted:
        raise UsageError(
            f"there is no subnet {wanted} in {account.region}",
            fix=f"aws ec2 describe-subnets --region {account.region}",
            code="unknown_subnet",
        )
    if not found:
        raise RemoteError(
            f"{account.region} has no default VPC",
            fix=f"aws ec2 create-default-vpc --region {account.region}, or name a subnet with --subnet",
            code="no_default_vpc",
        )
    tables = _route_tables(account, str(found[0]["VpcId"]))
    usable = [(subnet, _route_out(tables, subnet)) for subnet in found if subnet.get("AvailableIpAddressCount", 1) > 0]
    leading_out = [(subnet, way) for subnet, way in usable if way]
    if not leading_out:
        raise RemoteError(
            f"no route to the internet from {', '.join(item['SubnetId'] for item in found)}: VPC endpoints are not"
            " enough, because the machine downloads packages and weights",
            fix="use --subnet with a subnet that has an internet or NAT gateway",
            code="no_route_out",
        )
    return [subnet for subnet, _ in leading_out], all(way == "internet" for _, way in leading_out)


def _route_tables(account: Account, vpc: str) -> list[dict[str, Any]]:
    wanted = [{"Name": "vpc-id", "Values": [vpc]}]
    return list(account.pages("ec2", "describe_route_tables", "RouteTables", Filters=wanted))


def _route_out(tables: Sequence[Mapping[str, Any]], subnet: Mapping[str, Any]) -> str | None:
    """`internet` (a public subnet), `nat` (or another gateway), or None. A subnet without a table has the main one."""
    own = [
        table for table in tables if any(item.get("SubnetId") == subnet["SubnetId"] for item in table["Associations"])
    ]
    main = [table for table in tables if any(item.get("Main") for item in table["Associations"])]
    for route in (route for table in own or main for route in table["Routes"]):
        if route.get("DestinationCidrBlock") == "0.0.0.0/0" and route.get("State", "active") == "active":
            return "internet" if str(route.get("GatewayId", "")).startswith("igw-") else "nat"
    return None


def headroom(
    account: Account, candidates: Iterable[InstanceCandidate], *, spot: bool, mine: str | None = None
) -> list[QuotaHeadroom]:
    """Every vCPU quota the candidates fall under. Machines of deployment `mine` do not count as used."""
    needs: dict[str, int] = {}
    for candidate in candidates:
        code = _quota_of(candidate.instance_type, spot)
        if code is not None:
            needs[code] = max(needs.get(code, 0), candidate.vcpus)
    if not needs:
        return []
    running = list(_running(account, spot=spot, mine=mine))
    rows = []
    for code, needed in needs.items():
        found = account.find("service-quotas", "get_service_quota", ServiceCode="ec2", QuotaCode=code)
        if found is None:  # a partition without this quota: the launch will show what it allows
            continue
        quota = found["Quota"]
        used = sum(vcpus for kind, vcpus in running if _quota_of(kind, spot) == code)
        rows.append(QuotaHeadroom(code, QUOTAS[code][0], float(quota["Value"]), used, needed))
    return rows


def discover(account: Account, spec: Spec, *, expected_account: str | None = None) -> LaunchLocation:
    """Everything `up` needs to know before it makes anything. Raises a typed error for what is missing."""
    caller = account.identity()
    account.check_clock()
    if expected_account and caller["Account"] != expected_account:
        raise UsageError(
            f"these credentials belong to account {caller['Account']}, not to {expected_account}",
            fix="choose another AWS_PROFILE, or leave out --account",
            code="wrong_account",
        )
    found, public = subnets(account, spec.subnet)
    zones = offered_zones(account, [candidate.instance_type for candidate in spec.candidates])
    usable = [subnet for subnet in found if any(subnet["AvailabilityZone"] in listed for listed in zones.values())]
    here = {subnet["AvailabilityZone"] for subnet in usable}
    offered = tuple(item for item in spec.candidates if zones[item.instance_type] & here)
    if not offered:
        types = ", ".join(zones)
        raise RemoteError(
            f"no zone of {account.region} with one of your subnets offers {types}",
            fix=_elsewhere(zones, found),
            code="not_offered",
        )
    return LaunchLocation(
        account=caller["Account"],
        owner=owner_of(caller["Arn"]),
        image=image(account, offered[0].cpu),
        vpc=usable[0]["VpcId"],
        subnets=tuple(sorted(subnet["SubnetId"] for subnet in usable)),
        public=public,
        zones=tuple(sorted(here)),
        offered=offered,
    )


def check_headroom(
    account: Account, spec: Spec, candidates: Sequence[InstanceCandidate]
) -> tuple[InstanceCandidate, ...]:
    """The candidates whose quota has room for one more machine, in one of the markets. Raises RemoteError for none."""
    short: list[QuotaHeadroom] = []
    for spot in {"spot": (True,), "on-demand": (False,)}.get(spec.market, (True, False)):
        rows = headroom(account, candidates, spot=spot, mine=spec.deployment)
        left = {row.code: row.limit - row.used for row in rows}
        codes = [(candidate, _quota_of(candidate.instance_type, spot)) for candidate in candidates]
        fitting = tuple(one for one, code in codes if code not in left or left[code] >= one.vcpus)
        if fitting:
            return fitting
        short += rows
    row = min(short, key=lambda item: item.needed)
    raise RemoteError(
        f"quota {row.name} ({row.code}) in {account.region}: {row.limit:g} vCPUs, {row.used} in use,"
        f" {row.needed} needed",
        fix=f"{row.request} --region {account.region}",
        code="quota",
    )


def _quota_of(instance_type: str, spot: bool) -> str | None:
    family = instance_type.partition(".")[0]
    matches = [
        (len(prefix), code)
        for code, (_, prefixes, is_spot) in QUOTAS.items()
        for prefix in prefixes
        if is_spot == spot and family.startswith(prefix)
    ]
    return max(matches)[1] if matches else None


def _running(account: Account, *, spot: bool, mine: str | None) -> Iterable[tuple[str, int]]:
    states = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    for reservation in account.pages("ec2", "describe_instances", "Reservations", Filters=states):
        for item in reservation["Instances"]:
            tags = {tag["Key"]: tag["Value"] for tag in item.get("Tags", ())}
            if (item.get("InstanceLifecycle") == "spot") != spot or (mine and tags.get(TAG_DEPLOYMENT) == mine):
                continue
            cpu, known = item.get("CpuOptions", {}), instances().get(item["InstanceType"])
            vcpus = known.vcpus if known else cpu.get("CoreCount", 1) * cpu.get("ThreadsPerCore", 1)
            yield item["InstanceType"], vcpus


def _elsewhere(zones: Mapping[str, set[str]], found: Sequence[Mapping[str, Any]]) -> str:
    having = sorted({zone for listed in zones.values() for zone in listed})
    if having:
        return f"name a subnet in {' or '.join(having)} with --subnet"
    types = ", ".join(zones)
    return f"choose another --region or --instance; {nearest(types, ()) or types + ' is not offered here'}"
