"""How far a machine is, from the reports in its bucket: its own stage, the fine-tuning's progress, the server's."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, TypeVar

from modelpick import schema
from modelpick.aws import inventory, provision, record
from modelpick.aws.account import Account
from modelpick.aws.errors import AwsRefused
from modelpick.aws.names import ResourceNames
from modelpick.errors import ModelpickError, UsageError
from modelpick.schema import LARGEST, Bounds

_MACHINE, _LOG = "progress/machine.json", "progress/job.log"
# Where the job's commands keep them (from_plan); the machine copies results/ to the bucket as it goes.
_TRAINING, _SERVING, _RESULT = "results/run/progress.json", "results/serve/progress.json", "results/run/result.json"
_POLL = 10.0
_PASSING = ("aws_unreachable", "throttled", "aws_refused")  # errors that may be gone at the next look
_MOST_UNANSWERED = 30  # looks in a row: five minutes, longer than a laptop takes to find its network again
_LAST_LINES = 5
_R = TypeVar("_R")
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
    "after": "measuring the tuned model",
    "saving": "saving",
    "done": "done",
}


class _Report:
    """A program's report in the bucket; a newer version may have more fields."""

    __slots__ = ()
    ignores_unknown: ClassVar[bool] = True


_Number = Annotated[float, Bounds(-LARGEST, LARGEST)]


@dataclass(frozen=True, slots=True)
class MachineReport(_Report):
    """The machine's own stage: driver, packages, job, running, ending, ended or failed."""

    stage: str
    detail: str | None = None
    at: str | None = None


@dataclass(frozen=True, slots=True)
class TrainingError(_Report):
    """Why a fine-tuning failed."""

    message: str = ""


@dataclass(frozen=True, slots=True)
class TrainingReport(_Report):
    """progress.json of a fine-tuning (docs/job-contract.md)."""

    state: str
    step: int | None = None
    steps: int | None = None
    loss: _Number | None = None
    eta_seconds: _Number | None = None
    error: TrainingError | None = None
    heartbeat_at: str | None = None


@dataclass(frozen=True, slots=True)
class ServingReport(_Report):
    """progress.json of the server (docs/job-contract.md)."""

    state: str
    models: tuple[str, ...] = ()
    at: str | None = None


@dataclass(frozen=True, slots=True)
class MachineProgress:
    """What the machine last wrote; None where it has written nothing yet. `files` are the reports as they are."""

    machine: MachineReport | None = None
    training: TrainingReport | None = None
    serving: ServingReport | None = None
    files: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stage(self) -> str | None:
        """The machine's own stage, with its detail."""
        if self.machine is None:
            return None
        return ": ".join(word for word in (self.machine.stage, self.machine.detail) if word)

    @property
    def ready(self) -> bool:
        """Whether every model answers."""
        return self.serving is not None and self.serving.state == "ready" and not self.over

    @property
    def over(self) -> bool:
        """Whether the machine has brought its results home, or given up."""
        return self.machine is not None and self.machine.stage in ("ended", "failed")

    def text(self) -> str:
        """All of it in one line for the screen."""
        if self.machine is None:
            return "booting"
        stage = self.machine.stage
        if stage != "running":
            return ": ".join(word for word in (_STAGES.get(stage, stage), self.machine.detail) if word)
        if self.serving is not None:
            names = ", ".join(self.serving.models)
            return f"serving {names}" if self.serving.state == "ready" else f"server {self.serving.state}"
        return _training_text(self.training) if self.training is not None else _STAGES["running"]

    def as_json(self) -> dict[str, object]:
        """`progress` of `status --json` and `up --json --follow`: the three files as they are."""
        return {name: self.files.get(name) for name in ("machine", "training", "serving")}


def _training_text(report: TrainingReport) -> str:
    """A fine-tuning's progress in a few words."""
    if report.state != "training":
        if report.error is not None and report.error.message:
            return f"fine-tuning {report.state}: {report.error.message}"
        return f"fine-tuning: {_TRAINING_STATES.get(report.state, report.state)}"
    if report.steps is None:
        return "fine-tuning: loading the model to train"
    parts = [f"fine-tuning: step {report.step or 0} of {report.steps}"]
    if report.loss is not None:
        parts.append(f"loss {report.loss:.3f}")
    if report.eta_seconds is not None:
        minutes, seconds = divmod(round(report.eta_seconds), 60)
        parts.append(f"{minutes}:{seconds:02} left")
    return ", ".join(parts)


def read_progress(account: Account, names: ResourceNames, noted: record.Record | None) -> MachineProgress:
    """What the machine wrote into the bucket. A report from before this deployment (`noted`) does not count.

    Raises nothing: a report that cannot be fetched, or is of another shape, is not known.
    """
    machine, machine_file = _report(account, names, _MACHINE, MachineReport)
    training, training_file = _report(account, names, _TRAINING, TrainingReport)
    serving, serving_file = _report(account, names, _SERVING, ServingReport)
    since = noted.created_at if noted is not None else None
    if machine is not None and _is_older(machine.at, since):
        machine = machine_file = None
    if training is not None and _is_older(training.heartbeat_at, since):
        training = training_file = None
    if serving is not None and _is_older(serving.at, since):
        serving = serving_file = None
    files = {"machine": machine_file, "training": training_file, "serving": serving_file}
    return MachineProgress(machine, training, serving, files)


def _report(
    account: Account, names: ResourceNames, key: str, kind: type[_R]
) -> tuple[_R | None, Mapping[str, Any] | None]:
    """A report and the file it was read from."""
    content = _json(account, names, key)
    if content is None:
        return None, None
    try:
        return schema.read(kind, content, key, "bad_report"), content
    except UsageError:
        return None, None


def _is_older(at: str | None, since: datetime | None) -> bool:
    return since is not None and _time(at) < since


def comparisons(account: Account, names: ResourceNames) -> list[Mapping[str, Any]]:
    """Before and after, as the fine-tuning's result.json has them; empty where there is none."""
    result = _json(account, names, _RESULT)
    rows = result.get("comparisons") if result else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def follow(
    account: Account, deployment: str, report: Callable[[str], None], *, serves: bool = False
) -> MachineProgress:
    """Report how far it is whenever that changes, until every model answers or the job is done.

    With `serves` a machine that ends before it served has failed, whatever it had done until then.
    Raises ModelpickError (`job_failed`, `machine_gone`) when nothing more will come of it, MayBeBillingError when AWS
    cannot be asked any longer.
    """
    names = ResourceNames(deployment, account.identity()["Account"], account.region)
    noted = record.read(account, names)
    shown, unanswered = "", 0
    while True:
        try:
            alive = any(machine.runs for machine in inventory.machines(account, deployment))
        except AwsRefused as refused:
            unanswered += 1
            if refused.code not in _PASSING or unanswered > _MOST_UNANSWERED:
                raise provision.may_be_billing(refused, names, provision.switches_known(account, names)) from None
            account.sleep(_POLL)
            continue
        unanswered = 0
        now = read_progress(account, names, noted)
        if now.text() != shown:
            shown = now.text()
            report(shown)
        if now.ready:
            return now
        if now.over or not alive:
            return _ended(account, names, now, serves)
        account.sleep(_POLL)


def _ended(account: Account, names: ResourceNames, now: MachineProgress, serves: bool) -> MachineProgress:
    """Done, or an error that says why and what to do. Results and checkpoints are in the bucket either way."""
    if not serves and now.training is not None and now.training.state == "done":
        return now
    lines = _text(account, names, _LOG).splitlines()[-_LAST_LINES:]
    listed = "".join(f"\n    {line if len(line) <= 400 else f'{line[:200]} ... {line[-200:]}'}" for line in lines)
    how = f"the machine of {names.deployment} is gone" if not now.over else f"{names.deployment} {now.text()}"
    raise ModelpickError(
        f"{how}{'; its last lines:' if listed else ''}{listed}",
        fix=f"modelpick logs {names.deployment}; to continue from its last checkpoint: modelpick down "
        f"{names.deployment}, then re-run the command",
        code="job_failed" if now.over else "machine_gone",
    )


def _text(account: Account, names: ResourceNames, key: str) -> str:
    try:
        found = account.find("s3", "get_object", Bucket=names.bucket, Key=key)
    except AwsRefused:
        return ""
    return found["Body"].read().decode("utf-8", "replace") if found else ""


def _json(account: Account, names: ResourceNames, key: str) -> Mapping[str, Any] | None:
    try:
        content = json.loads(_text(account, names, key) or "null")
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _time(text: str | None) -> datetime:
    """A time as the machine writes it; one that cannot be read is long ago."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
