"""What every deployment does now, read from the account: machine, switches, dollars, its own report."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from queue import Empty, SimpleQueue

from modelpick.aws import inventory, kill_switches, record
from modelpick.aws.account import Account
from modelpick.aws.inventory import Resource
from modelpick.aws.kill_switches import ScalingGroup
from modelpick.aws.names import ResourceNames
from modelpick.aws.progress import MachineProgress, read_progress
from modelpick.aws.record import instance_history
from modelpick.errors import ModelpickError
from modelpick.schema import to_json

# A region answers in seconds. One that does not would be waited for five times ten seconds and longer, call by call.
LOOK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Status:
    """One deployment. `state`: running, starting, stopping, ended, prepared (nothing paid yet), kept (results only)."""

    deployment: str
    region: str
    state: str
    model: str
    owner: str
    machine: str | None
    instance_type: str | None
    stop_at: datetime | None
    armed: bool
    problems: tuple[str, ...]
    hours: float
    usd: float | None
    progress: MachineProgress
    things: tuple[Resource, ...]

    @property
    def unwatched(self) -> bool:
        """Whether something runs, or is about to, that nothing will stop: the forbidden state."""
        return self.state in ("running", "starting") and not self.armed

    def as_json(self) -> dict[str, object]:
        """The status in the names of `status --json`."""
        return {
            "deployment": self.deployment,
            "region": self.region,
            "state": self.state,
            "model": self.model,
            "owner": self.owner,
            "machine": self.machine,
            "instance_type": self.instance_type,
            "stop_at": f"{self.stop_at:%Y-%m-%dT%H:%M:%SZ}" if self.stop_at else None,
            "armed": self.armed,
            "problems": list(self.problems),
            "hours": round(self.hours, 4),
            "spent_usd": None if self.usd is None else round(self.usd, 4),
            "stage": self.progress.stage,
            "progress": self.progress.as_json(),
            "things": [to_json(thing) for thing in self.things],
        }


def deployments(account: Account) -> list[Status]:
    """Every deployment of the region, by tags and names alone. Raises AwsRefused when AWS cannot be asked."""
    account_id = account.identity()["Account"]
    by_name: dict[str, list[Resource]] = {}
    for thing in inventory.everything(account, account_id):
        by_name.setdefault(thing.deployment, []).append(thing)
    return [
        _status(account, ResourceNames(name, account_id, account.region), by_name[name])
        for name in sorted(by_name)
        if name
    ]


def regions(account: Account) -> list[str]:
    """Every region the account has enabled."""
    return sorted(item["RegionName"] for item in account.call("ec2", "describe_regions")["Regions"])


@dataclass(frozen=True, slots=True)
class Seen:
    """Deployments of the searched `regions`; `unseen`: those that could not be searched -> why."""

    deployments: Sequence[Status]
    regions: Sequence[str]
    unseen: Mapping[str, str]


def everywhere(account: Account, within: float = LOOK_SECONDS) -> Seen:
    """Every deployment of every enabled region, all asked at once.

    A region that denies, fails, or does not answer in `within` seconds does not hide another one: it is among the
    unseen. Raises AwsRefused when the regions cannot be listed, or not one could be searched.
    """
    waiting = regions(account)
    answers: SimpleQueue[tuple[str, list[Status] | Exception]] = SimpleQueue()

    def look(region: str) -> None:
        try:
            answers.put((region, deployments(account.in_region(region))))
        except Exception as error:  # any error is raised or reported below, in the calling thread
            answers.put((region, error))

    for region in waiting:  # daemons: one that hangs keeps nobody from leaving
        threading.Thread(target=look, args=(region,), daemon=True).start()
    found: dict[str, list[Status]] = {}
    failed: dict[str, ModelpickError] = {}
    until = time.monotonic() + within
    while len(found) + len(failed) < len(waiting):
        try:
            region, answer = answers.get(timeout=max(until - time.monotonic(), 0.0))
        except Empty:
            break
        if isinstance(answer, ModelpickError):
            failed[region] = answer
        elif isinstance(answer, Exception):
            raise answer
        else:
            found[region] = answer
    if failed and len(failed) == len(waiting):
        raise next(iter(failed.values()))
    silent = f"no answer within {within:g} seconds"
    unseen = {name: failed[name].message if name in failed else silent for name in waiting if name not in found}
    return Seen([one for name in sorted(found) for one in found[name]], sorted(found), unseen)


def is_orphan(status: Status) -> bool:
    """Whether it was left behind: unwatched, ended, half-made or half-deleted, of any age."""
    return status.unwatched or status.state in ("ended", "prepared", "stopping")


def _status(account: Account, names: ResourceNames, things: list[Resource]) -> Status:
    try:
        noted = record.read(account, names)
    except ModelpickError as error:
        if error.code != "bad_record":  # a record of another version: the rest can still be shown
            raise
        noted = None
    group = kill_switches.find_group(account, names)
    held = (
        kill_switches.read(account, names, by_any_name=True)
        if group
        else kill_switches.KillSwitches(None, None, ("there is no group",))
    )
    machines = [thing for thing in things if thing.kind == "machine"]
    held = _reaching(held, group, machines)
    past = instance_history(account, names, noted.created_at) if noted else []
    now = account.now()
    hours = sum(life.hours(now) for life in past)
    hourly = (max(noted.usd_per_hour.values(), default=0.0) + noted.around_usd_per_hour) if noted else None
    kind = machines[0].detail.split()[0] if machines else None
    if noted and kind and kind in noted.usd_per_hour:
        hourly = noted.usd_per_hour[kind] + noted.around_usd_per_hour
    return Status(
        deployment=names.deployment,
        region=names.region,
        state=_state(group, machines, bool(past), things, noted),
        model=noted.model if noted else "",
        owner=noted.owner if noted else "",
        machine=machines[0].name if machines else None,
        instance_type=kind,
        stop_at=held.stop_at,
        armed=held.armed,
        problems=held.problems,
        hours=hours,
        usd=None if hourly is None else hourly * hours,
        progress=read_progress(account, names, noted)
        if any(one.kind == "bucket" for one in things)
        else MachineProgress(),
        things=tuple(things),
    )


def _reaching(
    held: kill_switches.KillSwitches, group: ScalingGroup | None, machines: list[Resource]
) -> kill_switches.KillSwitches:
    """The switches, with every machine they do not reach as a problem: they stop the group and what is in it."""
    inside = {member.instance_id for member in group.members} if group is not None else set()
    outside = [f"{thing.name} is not in the group" for thing in machines if thing.name not in inside]
    return replace(held, problems=(*held.problems, *outside))


def _state(
    group: ScalingGroup | None,
    machines: list[Resource],
    ran: bool,
    things: list[Resource],
    noted: record.Record | None,
) -> str:
    if machines:
        return "running"
    if group is not None and group.desired > 0 and not ran:
        return "starting"
    if noted is not None and noted.going_down:
        return "stopping"
    if ran:
        return "ended"
    return "kept" if {thing.kind for thing in things} == {"bucket"} else "prepared"
