"""What every deployment does now, by the account's own word: machine, switches, dollars, its own report."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any

from modelpick.aws import inventory, kill_switches, provision, record
from modelpick.aws.account import Account
from modelpick.aws.errors import AwsRefused
from modelpick.aws.inventory import Resource
from modelpick.aws.names import Names
from modelpick.aws.record import instance_history
from modelpick.errors import ModelpickError

_MACHINE, _LOG = "progress/machine.json", "progress/job.log"
# Where the job's commands were told to keep them (from_plan); the machine copies results/ to the bucket as it goes.
_TRAINING, _SERVING, _RESULT = "results/run/progress.json", "results/serve/progress.json", "results/run/result.json"
_POLL = 10.0
_PASSING = ("aws_unreachable", "throttled", "aws_refused")  # what another look may not meet again
_MOST_UNANSWERED = 30  # looks in a row: five minutes, longer than a laptop takes to find its network again
_LAST_LINES = 5
_STAGES = {
    "driver": "looking at the GPU's driver",
    "packages": "installing packages",
    "job": "starting the job",
    "running": "running",
    "ending": "ending",
    "ended": "ended",
    "failed": "failed",
}
_TRAINING_STATES = {
    "preparing": "getting the model",
    "before": "measuring the model as it is",
    "after": "measuring what was made of it",
    "saving": "saving",
    "done": "done",
}


@dataclass(frozen=True, slots=True)
class MachineProgress:
    """What the machine last said; None where it has said nothing yet."""

    machine: Mapping[str, Any] | None = None
    training: Mapping[str, Any] | None = None
    serving: Mapping[str, Any] | None = None

    @property
    def stage(self) -> str | None:
        """The machine's own stage, with its detail."""
        if self.machine is None:
            return None
        return ": ".join(str(word) for word in (self.machine["stage"], self.machine.get("detail")) if word)

    @property
    def ready(self) -> bool:
        """Whether every model answers."""
        return self.serving is not None and self.serving["state"] == "ready" and not self.over

    @property
    def over(self) -> bool:
        """Whether the machine has brought its results home, or given up."""
        return self.machine is not None and self.machine["stage"] in ("ended", "failed")

    def text(self) -> str:
        """All of it in one line for a person."""
        stage = self.machine["stage"] if self.machine else None
        if stage is None:
            return "booting"
        if stage != "running":
            return ": ".join(word for word in (_STAGES.get(stage, stage), self.machine.get("detail")) if word)  # type: ignore[union-attr]
        if self.serving is not None:
            names = ", ".join(self.serving["models"])
            return f"serving {names}" if self.serving["state"] == "ready" else f"server {self.serving['state']}"
        return _training(self.training) if self.training is not None else _STAGES["running"]

    def as_json(self) -> dict[str, Any]:
        """`progress` of `status --json` and `up --json --follow`: the three files as they are."""
        return {"machine": self.machine, "training": self.training, "serving": self.serving}


def _training(told: Mapping[str, Any]) -> str:
    """progress.json of a fine-tuning (docs/job-contract.md) in a few words."""
    state = str(told.get("state"))
    if state != "training":
        error = (told.get("error") or {}).get("message")
        return f"fine-tuning {state}: {error}" if error else f"fine-tuning: {_TRAINING_STATES.get(state, state)}"
    if told.get("steps") is None:
        return "fine-tuning: loading the model to train"
    parts = [f"fine-tuning: step {told.get('step', 0)} of {told['steps']}"]
    if told.get("loss") is not None:
        parts.append(f"loss {told['loss']:.3f}")
    if told.get("eta_seconds") is not None:
        minutes, seconds = divmod(round(told["eta_seconds"]), 60)
        parts.append(f"{minutes}:{seconds:02} left")
    return ", ".join(parts)


def read_progress(account: Account, names: Names, noted: record.Record | None) -> MachineProgress:
    """What lies in the bucket. What an earlier machine of the name left there, before this deployment, does not count.

    Raises nothing that AWS says: what cannot be read is not known.
    """

    def one(key: str, dated: str) -> Mapping[str, Any] | None:
        told = _json(account, names, key)
        if told is None or (noted is not None and _time(told.get(dated)) < noted.created_at):
            return None
        return told

    return MachineProgress(one(_MACHINE, "at"), one(_TRAINING, "heartbeat_at"), one(_SERVING, "at"))


def comparisons(account: Account, names: Names) -> list[Mapping[str, Any]]:
    """Before and after, as the fine-tuning's result.json has them; empty where there is none."""
    found = _json(account, names, _RESULT)
    return list(found.get("comparisons") or ()) if found else []


def follow(
    account: Account, deployment: str, report: Callable[[str], None], *, serves: bool = False
) -> MachineProgress:
    """Tell how far it is whenever that changes, until every model answers or the job is done.

    With `serves` a machine that ends before it served has failed, whatever it had done until then.
    Raises ModelpickError (`job_failed`, `machine_gone`) when it will come to nothing more, MayBeBillingError when AWS
    cannot be asked any longer.
    """
    names = Names(deployment, account.identity()["Account"], account.region)
    noted = record.read(account, names)
    said, unanswered = "", 0
    while True:
        try:
            alive = any(
                item["State"]["Name"] in ("pending", "running") for item in inventory.instances(account, deployment)
            )
        except AwsRefused as refused:
            unanswered += 1
            if refused.code not in _PASSING or unanswered > _MOST_UNANSWERED:
                raise provision.may_be_billing(refused, names, provision.switches_known(account, names)) from None
            account.sleep(_POLL)
            continue
        unanswered = 0
        now = read_progress(account, names, noted)
        if now.text() != said:
            said = now.text()
            report(said)
        if now.ready:
            return now
        if now.over or not alive:
            return _ended(account, names, now, serves)
        account.sleep(_POLL)


def _ended(account: Account, names: Names, now: MachineProgress, serves: bool) -> MachineProgress:
    """Done, or an error that says why and what to do. Results and checkpoints are in the bucket either way."""
    if not serves and now.training is not None and now.training.get("state") == "done":
        return now
    lines = _text(account, names, _LOG).splitlines()[-_LAST_LINES:]
    shown = "".join(f"\n    {line if len(line) <= 400 else f'{line[:200]} ... {line[-200:]}'}" for line in lines)
    how = f"the machine of {names.deployment} is gone" if not now.over else f"{names.deployment} {now.text()}"
    raise ModelpickError(
        f"{how}{'; its last lines:' if shown else ''}{shown}",
        fix=f"modelpick logs {names.deployment}; to go on from its last checkpoint: modelpick down "
        f"{names.deployment}, then re-run the command",
        code="job_failed" if now.over else "machine_gone",
    )


def _text(account: Account, names: Names, key: str) -> str:
    try:
        found = account.find("s3", "get_object", Bucket=names.bucket, Key=key)
    except AwsRefused:
        return ""
    return found["Body"].read().decode("utf-8", "replace") if found else ""


def _json(account: Account, names: Names, key: str) -> Mapping[str, Any] | None:
    try:
        told = json.loads(_text(account, names, key) or "null")
    except ValueError:
        return None
    return told if isinstance(told, dict) and ("stage" in told or "state" in told or "status" in told) else None


def _time(text: Any) -> datetime:
    """A time as the machine writes it; one that cannot be read is long ago."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


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
        """Whether something runs, or is about to, that nothing will stop: the state that must not be."""
        return self.state in ("running", "starting") and not self.armed

    def as_json(self) -> dict[str, Any]:
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
            "things": [thing.as_json() for thing in self.things],
        }


def deployments(account: Account) -> list[Status]:
    """Every deployment of the region, by tags and names alone. Raises AwsRefused when AWS cannot be asked."""
    account_id = account.identity()["Account"]
    by_name: dict[str, list[Resource]] = {}
    for thing in inventory.everything(account, account_id):
        by_name.setdefault(thing.deployment, []).append(thing)
    return [
        _status(account, Names(name, account_id, account.region), by_name[name]) for name in sorted(by_name) if name
    ]


def regions(account: Account) -> list[str]:
    """Every region the account has enabled."""
    return sorted(item["RegionName"] for item in account.call("ec2", "describe_regions")["Regions"])


@dataclass(frozen=True, slots=True)
class Seen:
    """Deployments of the `regions` that were looked into; `unseen`: those that could not be -> why."""

    deployments: Sequence[Status]
    regions: Sequence[str]
    unseen: Mapping[str, str]


def everywhere(account: Account, within: float = LOOK_SECONDS) -> Seen:
    """Every deployment of every enabled region, all asked at once.

    A region that denies, fails, or does not answer in `within` seconds hides no other one: it is among the unseen.
    Raises AwsRefused when the regions cannot be listed, or not one could be looked into.
    """
    waiting = regions(account)
    answers: SimpleQueue[tuple[str, list[Status] | Exception]] = SimpleQueue()

    def look(region: str) -> None:
        try:
            answers.put((region, deployments(account.in_region(region))))
        except Exception as error:  # whatever it is, it is raised or told below, where somebody listens
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
    """Whether nobody will miss it: unwatched, ended, half-made or half-deleted, of any age."""
    return status.unwatched or status.state in ("ended", "prepared", "stopping")


def _status(account: Account, names: Names, things: list[Resource]) -> Status:
    try:
        noted = record.read(account, names)
    except ModelpickError as error:
        if error.code != "bad_record":  # one of another version: the rest can still be told
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
    held: kill_switches.KillSwitches, group: dict[str, Any] | None, machines: list[Resource]
) -> kill_switches.KillSwitches:
    """The switches, with every machine they do not reach as a problem: they stop the group and what is in it."""
    inside = {item["InstanceId"] for item in (group or {}).get("Instances", ())}
    outside = [f"{thing.name} is not in the group" for thing in machines if thing.name not in inside]
    return replace(held, problems=(*held.problems, *outside))


def _state(
    group: dict[str, Any] | None,
    machines: list[Resource],
    ran: bool,
    things: list[Resource],
    noted: record.Record | None,
) -> str:
    if machines:
        return "running"
    if group is not None and group["DesiredCapacity"] > 0 and not ran:
        return "starting"
    if noted is not None and noted.going_down:
        return "stopping"
    if ran:
        return "ended"
    return "kept" if {thing.kind for thing in things} == {"bucket"} else "prepared"
