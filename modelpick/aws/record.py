"""A deployment's record: the SSM parameter that is made first and deleted last, and contains the request.

It holds the request and dates, not state: what runs, and what stops it, is always read from the group and the switches.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from modelpick import schema
from modelpick.aws import templates
from modelpick.aws.account import Account
from modelpick.aws.names import PREFIX, ResourceNames, tag_list
from modelpick.aws.spec import DELAY_HOURS, FORCED_DELETE_AFTER, Market, Spec
from modelpick.errors import ModelpickError, UsageError
from modelpick.files import parse_json
from modelpick.schema import Bounds, Pattern, to_json

_SCHEMA_VERSION, _CODE = 1, "bad_record"


@dataclass(frozen=True, slots=True)
class Record:
    """The request of `up`, its time, and the image chosen. `going_down` once `down` has begun."""

    deployment: str
    plan_sha256: str
    region: str
    model: str
    owner: str
    created_at: datetime
    image: str
    hours: float
    max_usd: float
    usd_per_hour: Mapping[str, float]
    around_usd_per_hour: float
    disk_gib: int
    keep_results_days: int
    market: Market
    going_down: bool = False

    @property
    def hourly_usd(self) -> float:
        """What an hour costs at most, at the prices of the start."""
        return max(self.usd_per_hour.values()) + self.around_usd_per_hour

    @property
    def most_usd(self) -> float:
        """The most the deployment can cost: its hours, and the delay of the second switch."""
        return (self.hours + DELAY_HOURS) * self.hourly_usd

    @property
    def expires(self) -> datetime:
        """When its machine is gone at the latest, as planned at the start (`extend` moves it on what is paid for)."""
        return self.created_at + timedelta(hours=self.hours) + FORCED_DELETE_AFTER

    def priced(self, spec: Spec) -> Spec:
        """`spec` with the types and prices noted at the start, from which its hours were computed."""
        kept = [one for one in spec.candidates if one.instance_type in self.usd_per_hour]
        at = tuple(replace(one, usd_per_hour=self.usd_per_hour[one.instance_type]) for one in kept)
        return replace(spec, candidates=at or spec.candidates, asked_sha256=spec.sha256)

    def as_json(self) -> dict[str, object]:
        """The record as stored."""
        return {
            "schema_version": _SCHEMA_VERSION, **to_json(self), "created_at": f"{self.created_at:%Y-%m-%dT%H:%M:%SZ}",
        }  # fmt: skip


_Amount = Annotated[float, Bounds(0, 10_000_000)]


@dataclass(frozen=True, slots=True)
class _Stored:
    """A record as JSON has it, with what each value may be; the names are those of Record."""

    schema_version: Literal[1]
    deployment: Annotated[str, Pattern(r"[a-z0-9]+(-[a-z0-9]+)*", "the name of a deployment")]
    plan_sha256: Annotated[str, Pattern(r"[0-9a-f]{64}", "a SHA-256 in hexadecimal")]
    region: str
    model: str
    owner: str
    created_at: Annotated[str, Pattern(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "a time such as 2026-11-23T18:00:00Z")]
    image: str
    hours: _Amount
    max_usd: _Amount
    usd_per_hour: Mapping[str, _Amount]
    around_usd_per_hour: _Amount
    disk_gib: int
    keep_results_days: int
    market: Market
    going_down: bool = False


def new(spec: Spec, *, owner: str, image: str, now: datetime) -> Record:
    """The record of a deployment that begins now."""
    return Record(
        deployment=spec.deployment,
        plan_sha256=spec.sha256,
        region=spec.region,
        model=spec.model,
        owner=owner,
        created_at=now.replace(microsecond=0),
        image=image,
        hours=spec.hours,
        max_usd=spec.max_usd,
        usd_per_hour={item.instance_type: item.usd_per_hour for item in spec.candidates},
        around_usd_per_hour=spec.around_usd_per_hour,
        disk_gib=spec.disk_gib,
        keep_results_days=spec.keep_results_days,
        market=spec.market,
    )


def parse(text: str) -> Record:
    """A stored record. Raises ModelpickError for one that a newer or a broken modelpick wrote."""
    try:
        stored = schema.read(_Stored, parse_json(text, where="it", code=_CODE), "", _CODE)
        created_at = datetime.strptime(stored.created_at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        if not stored.usd_per_hour:
            raise ValueError("it names no instance type")
    except (UsageError, ValueError) as error:
        raise ModelpickError(
            f"a deployment's record cannot be read: {error}",
            fix="use the modelpick version that made it, or modelpick down NAME",
            code=_CODE,
        ) from None
    values = {item.name: getattr(stored, item.name) for item in fields(Record)}
    return Record(**{**values, "created_at": created_at})


def read(account: Account, names: ResourceNames) -> Record | None:
    """The record of a deployment, or None."""
    found = account.find("ssm", "get_parameter", Name=names.record)
    return None if found is None else parse(found["Parameter"]["Value"])


def begin(account: Account, names: ResourceNames, spec: Spec, record: Record) -> Record:
    """Store `record` unless there is one; return the stored one. Of two at once, AWS lets one win.

    Raises ModelpickError when the name belongs to a deployment of another plan, or is being taken down.
    """
    made = account.make(
        "ssm",
        "put_parameter",
        Name=names.record,
        Type="String",
        Value=templates.canonical(record.as_json()),
        Description="modelpick: the request for this deployment",
        Tags=tag_list(templates.tags(spec, owner=record.owner, expires=record.expires)),
    )
    held = record if made is not None else (read(account, names) or record)
    if held.going_down:
        raise ModelpickError(
            f"{names.deployment} is being taken down",
            fix=f"modelpick down {names.deployment}, then re-run the command",
            code="going_down",
        )
    if held.plan_sha256 != record.plan_sha256:
        raise ModelpickError(
            f"{names.deployment} exists with another plan (by {held.owner}, {held.created_at:%Y-%m-%d %H:%M} UTC)",
            fix=f"choose another --name, or: modelpick down {names.deployment}",
            code="name_taken",
        )
    return held


def store(account: Account, names: ResourceNames, record: Record) -> None:
    """Overwrite the record."""
    account.call(
        "ssm",
        "put_parameter",
        Name=names.record,
        Type="String",
        Value=templates.canonical(record.as_json()),
        Overwrite=True,
    )


def mark_going_down(account: Account, names: ResourceNames) -> Record | None:
    """Mark the record, when there is one, so that no `up` pays any more; the record as it is now."""
    try:
        held = read(account, names)
    except ModelpickError as error:
        if error.code != "bad_record":
            raise
        return None
    if held is not None and not held.going_down:
        held = replace(held, going_down=True)
        store(account, names, held)
    return held


def all_names(account: Account, account_id: str) -> dict[str, Record | None]:
    """Every deployment of the region that has a record (None: one that cannot be read), by id."""
    found: dict[str, Record | None] = {}
    for item in account.pages("ssm", "get_parameters_by_path", "Parameters", Path=f"/{PREFIX}", Recursive=True):
        deployment, _, leaf = item["Name"].removeprefix(f"/{PREFIX}/").partition("/")
        if leaf == "record":
            try:
                found[deployment] = parse(item["Value"])
            except ModelpickError:
                found[deployment] = None
    return found


_LAUNCHED = re.compile(r"(?i)^launching a new (?:ec2|spot|on-demand)? ?instance: (i-[0-9a-f]+)")
_ENDED = re.compile(r"(?i)^terminating ec2 instance: (i-[0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class InstanceRun:
    """One machine from launch to end (None: not ended, as far as Auto Scaling knows)."""

    instance_id: str
    started_at: datetime
    ended_at: datetime | None

    def hours(self, now: datetime) -> float:
        """How long it ran, or has run until now; 60 seconds at least (EC2 bills by the second from a minute on)."""
        return max(((self.ended_at or now) - self.started_at).total_seconds(), 60.0) / 3600


def instance_history(account: Account, names: ResourceNames, since: datetime) -> list[InstanceRun]:
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
    return sorted(
        (InstanceRun(name, at, ended.get(name)) for name, at in started.items()), key=lambda life: life.started_at
    )


def _activities(account: Account, names: ResourceNames) -> list[dict[str, Any]]:
    return list(
        account.pages(
            "autoscaling",
            "describe_scaling_activities",
            "Activities",
            AutoScalingGroupName=names.group,
            IncludeDeletedGroups=True,
        )
    )
