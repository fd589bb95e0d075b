"""`down`: paid resources first, whatever is already gone, until only what should be kept is left.

The switches go after the machine and the record goes last, so that a `down` that dies leaves the rest findable and
nothing unwatched. Repeating it is safe at any point.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from modelpick.aws import inventory, kill_switches, provision, record, templates
from modelpick.aws.account import Account
from modelpick.aws.errors import AwsRefused
from modelpick.aws.names import ResourceNames
from modelpick.aws.record import InstanceRun, Record, instance_history
from modelpick.errors import MayBeBillingError, RemoteError

Report = Callable[[str], None]
_POLL = 10.0
_LONGEST_WAIT = timedelta(minutes=20)  # a GPU machine ends in two or three minutes: ten times that is an error
_KEEP_DAYS = 30  # what is kept of a deployment without a record or an expiry
_PASSES = 3  # a resource that an `up` made meanwhile is found in the next pass


@dataclass(frozen=True, slots=True)
class RetainedResults:
    """Results left in the deployment's bucket. `expires_at` None: no expiry could be read."""

    where: str
    objects: int
    size_bytes: int
    expires_at: datetime | None

    def usd_per_month(self, usd_per_gb_month: float) -> float:
        """Its monthly price; GB as S3 bills them (2^30 bytes)."""
        return self.size_bytes / 2**30 * usd_per_gb_month


@dataclass(frozen=True, slots=True)
class Receipt:
    """The end of a deployment. Dollars are estimates from hours and prices; None where a price is not known."""

    deployment: str
    region: str
    runs: Sequence[InstanceRun]
    hours: float
    items_usd: Mapping[str, float | None]
    kept: RetainedResults | None
    usd_per_gb_month: float

    @property
    def total_usd(self) -> float | None:
        """The sum, or None when an item is unknown."""
        values = list(self.items_usd.values())
        return None if any(value is None for value in values) else sum(value or 0.0 for value in values)

    def as_json(self) -> dict[str, object]:
        """The receipt in the names of `down --json`."""
        kept = self.kept and {
            "where": self.kept.where,
            "objects": self.kept.objects,
            "size_bytes": self.kept.size_bytes,
            "expires_at": f"{self.kept.expires_at:%Y-%m-%dT%H:%M:%SZ}" if self.kept.expires_at else None,
            "usd_per_month": round(self.kept.usd_per_month(self.usd_per_gb_month), 4),
        }
        return {
            "deployment": self.deployment,
            "region": self.region,
            "machines": len(self.runs),
            "hours": round(self.hours, 4),
            "items_usd": {name: None if value is None else round(value, 4) for name, value in self.items_usd.items()},
            "total_usd": None if self.total_usd is None else round(self.total_usd, 4),
            "kept": kept,
        }


def receipt(
    account: Account,
    names: ResourceNames,
    noted: Record | None,
    past: Sequence[InstanceRun],
    ended: datetime,
    kept: RetainedResults | None,
) -> Receipt:
    """The receipt of a deployment whose machines ran as `past` says."""
    from modelpick.offers import embedded

    types = {machine.id: machine.instance_type for machine in inventory.machines(account, names.deployment)}
    prices = noted.usd_per_hour if noted else {}
    machine: float | None = 0.0
    for life in past:
        # A machine EC2 has forgotten is charged as the dearest type it could have been.
        dearest = max(prices.values(), default=None)
        price = prices.get(types.get(life.instance_id, ""), dearest)
        machine = None if machine is None or price is None else machine + price * life.hours(ended)
    hours = sum(life.hours(ended) for life in past)
    rates = embedded.billing_rates()
    address = rates.public_ipv4_usd_per_hour * hours
    disk = max(noted.around_usd_per_hour * hours - address, 0.0) if noted else (None if past else 0.0)
    items = {"machine": machine, "disk": disk, "address": address}
    return Receipt(names.deployment, names.region, tuple(past), hours, items, kept, rates.s3_usd_per_gb_month)


@dataclass(frozen=True, slots=True)
class Retention:
    """What should stay: results (until they expire) and training data, by name."""

    results: bool = True
    data: bool = False


def down(
    account: Account, deployment: str, *, keep: Retention = Retention(), report: Report = lambda _: None
) -> Receipt:
    """Remove a deployment and say what it was. Raises MayBeBillingError while something paid may be left."""
    names = ResourceNames(deployment, account.identity()["Account"], account.region)
    try:
        noted, began, ended = _stop_what_bills(account, names, report)
    except AwsRefused as refused:
        raise _unfinished(refused, names) from None
    summary = receipt(account, names, noted, instance_history(account, names, began), ended, None)
    for again in range(_PASSES):
        if again:  # an `up` made something meanwhile: its machine, or its request for one, goes before its switches
            _stop_what_bills(account, names, report)
        _remove_the_rest(account, names, keep, report)
        left = [thing for thing in inventory.of(account, names) if thing.kind != "bucket"]
        if not left:
            break
    else:
        raise RemoteError(
            f"still there: {', '.join(f'{thing.kind} {thing.name}' for thing in left)}",
            fix=f"modelpick down {deployment}",
            code="not_empty",
        )
    return receipt(account, names, noted, summary.runs, ended, _kept(account, names))


def _stop_what_bills(
    account: Account, names: ResourceNames, report: Report
) -> tuple[record.Record | None, datetime, datetime]:
    """Zero and delete the group, and wait until machines and disks are gone. The switches stay armed meanwhile."""
    report("machine")
    group = kill_switches.find_group(account, names)
    began = group.created_at if group is not None else account.now()
    provision.to_zero(account, names, unprotected=True)
    noted = record.mark_going_down(account, names)
    account.find("autoscaling", "delete_auto_scaling_group", AutoScalingGroupName=names.group, ForceDelete=True)
    deadline = account.now() + _LONGEST_WAIT
    while True:
        left = [machine for machine in inventory.machines(account, names.deployment) if machine.state != "terminated"]
        # Instances that the group does not know of (detached by hand) end here; the others are ending already.
        stray = [machine.id for machine in left if not machine.gone]
        if stray:
            account.find("ec2", "terminate_instances", InstanceIds=stray)
        if not left and kill_switches.find_group(account, names) is None:
            break
        if account.now() > deadline:
            raise MayBeBillingError(
                f"the machine of {names.deployment} did not stop: {', '.join(machine.id for machine in left)}",
                fix=f"modelpick down {names.deployment}, or terminate it in the console",
                code="does_not_end",
            )
        account.sleep(_POLL)
    for disk in inventory.disks(account, names.deployment):
        report(f"disk {disk.id}")
        account.find("ec2", "delete_volume", VolumeId=disk.id)
    # Without a record or a group nothing says when this deployment began: what an earlier one of the name ran is not
    # its cost.
    return noted, noted.created_at if noted else began, account.now()


def _remove_the_rest(account: Account, names: ResourceNames, keep: Retention, report: Report) -> None:
    report("schedules")
    account.find("scheduler", "delete_schedule", Name=names.group)
    report("free resources")
    account.find("ec2", "delete_launch_template", LaunchTemplateName=names.group)
    _security_groups(account, names)
    _profile(account, names)
    for role, policy in ((names.guest_role, "guest"), (names.switch_role, "switch")):
        account.find("iam", "delete_role_policy", RoleName=role, PolicyName=policy)
        account.find("iam", "delete_role", RoleName=role)
    for secret in (names.hub_token, names.api_key):
        account.find("ssm", "delete_parameter", Name=secret)
    account.find("logs", "delete_log_group", logGroupName=names.log_group)
    report("bucket")
    _bucket(account, names, keep)
    account.find("ssm", "delete_parameter", Name=names.record)


def _security_groups(account: Account, names: ResourceNames) -> None:
    wanted = [{"Name": "group-name", "Values": [names.group]}]
    deadline = account.now() + _LONGEST_WAIT
    for item in account.call("ec2", "describe_security_groups", Filters=wanted)["SecurityGroups"]:
        while True:
            try:
                account.find("ec2", "delete_security_group", GroupId=item["GroupId"])
                break
            except AwsRefused as refused:
                # The machine's network interface lives a little longer than the machine.
                if refused.aws_code != "DependencyViolation" or account.now() > deadline:
                    raise
                account.sleep(_POLL)


def _profile(account: Account, names: ResourceNames) -> None:
    held = account.find("iam", "get_instance_profile", InstanceProfileName=names.guest_role)
    if held is None:
        return
    for role in held["InstanceProfile"]["Roles"]:
        account.find(
            "iam",
            "remove_role_from_instance_profile",
            InstanceProfileName=names.guest_role,
            RoleName=role["RoleName"],
        )
    account.find("iam", "delete_instance_profile", InstanceProfileName=names.guest_role)


def _bucket(account: Account, names: ResourceNames, keep: Retention) -> None:
    """Delete what is not kept; the bucket itself goes when nothing is. What stays has an expiry from before it came."""
    held = account.find("s3", "list_objects_v2", Bucket=names.bucket, MaxKeys=1)
    if held is None:
        return
    kept = tuple(prefix for prefix, wanted in (("results/", keep.results), ("data/", keep.data)) if wanted)
    batch: list[dict[str, str]] = []
    any_kept = False
    for item in account.pages("s3", "list_objects_v2", "Contents", Bucket=names.bucket):
        if item["Key"].startswith(kept) if kept else False:
            any_kept = True
            continue
        batch.append({"Key": item["Key"]})
        if len(batch) == 1000:  # DeleteObjects takes 1,000 keys at most (S3 API reference)
            _delete(account, names, batch)
            batch = []
    if batch:
        _delete(account, names, batch)
    if not any_kept:
        account.find("s3", "delete_bucket", Bucket=names.bucket)
    elif "results/" not in _days(account, names):  # the expiry was removed: nothing is kept without one
        noted = record.read(account, names)
        rules = templates.lifecycle(noted.keep_results_days if noted else _KEEP_DAYS, passing_days=_KEEP_DAYS)
        account.call("s3", "put_bucket_lifecycle_configuration", Bucket=names.bucket, LifecycleConfiguration=rules)


def _delete(account: Account, names: ResourceNames, keys: list[dict[str, str]]) -> None:
    answer = account.call("s3", "delete_objects", Bucket=names.bucket, Delete={"Objects": keys, "Quiet": True})
    if failed := answer.get("Errors"):
        raise RemoteError(
            f"S3 did not delete {failed[0]['Key']}: {failed[0].get('Message', '')}",
            fix=f"modelpick down {names.deployment}",
            code="not_empty",
        )


def _kept(account: Account, names: ResourceNames) -> RetainedResults | None:
    if account.find("s3", "list_objects_v2", Bucket=names.bucket, MaxKeys=1) is None:
        return None
    days = _days(account, names)
    objects = list(account.pages("s3", "list_objects_v2", "Contents", Bucket=names.bucket))
    ends = [_end(item, days) for item in objects]
    known = [end for end in ends if end is not None]
    expires = max(known) if known and len(known) == len(ends) else None
    return RetainedResults(f"s3://{names.bucket}/", len(objects), sum(item["Size"] for item in objects), expires)


def _days(account: Account, names: ResourceNames) -> dict[str, int]:
    """Days after which objects under each prefix expire, as read back."""
    rules = account.find("s3", "get_bucket_lifecycle_configuration", Bucket=names.bucket) or {"Rules": []}
    return {
        str(rule.get("Filter", {}).get("Prefix")): rule["Expiration"]["Days"]
        for rule in rules["Rules"]
        if rule["Status"] == "Enabled" and "Days" in rule.get("Expiration", {})
    }


def _end(item: dict[str, Any], days: dict[str, int]) -> datetime | None:
    left = days.get(f"{item['Key'].partition('/')[0]}/")
    modified: datetime = item["LastModified"].astimezone(UTC)
    return None if left is None else modified + timedelta(days=left)


def _unfinished(refused: AwsRefused, names: ResourceNames) -> MayBeBillingError:
    return MayBeBillingError(
        f"{refused.message}. Something of {names.deployment} may still be billing; its kill switches are still set",
        fix=f"modelpick down {names.deployment}",
        code=refused.code,
    )
