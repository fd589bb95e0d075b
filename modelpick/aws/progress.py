"""How far a machine is, by what it put into its bucket: its own stage, the fine-tuning's progress, the server's."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelpick.aws import inventory, provision, record
from modelpick.aws.account import Account
from modelpick.aws.errors import Refused
from modelpick.aws.names import Names
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
class Progress:
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


def read(account: Account, names: Names, noted: record.Record | None) -> Progress:
    """What lies in the bucket. What an earlier machine of the name left there, before this deployment, does not count.

    Raises nothing that AWS says: what cannot be read is not known.
    """

    def one(key: str, dated: str) -> Mapping[str, Any] | None:
        told = _json(account, names, key)
        if told is None or (noted is not None and _time(told.get(dated)) < noted.created_at):
            return None
        return told

    return Progress(one(_MACHINE, "at"), one(_TRAINING, "heartbeat_at"), one(_SERVING, "at"))


def comparisons(account: Account, names: Names) -> list[Mapping[str, Any]]:
    """Before and after, as the fine-tuning's result.json has them; empty where there is none."""
    found = _json(account, names, _RESULT)
    return list(found.get("comparisons") or ()) if found else []


def follow(account: Account, deployment: str, report: Callable[[str], None], *, serves: bool = False) -> Progress:
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
        except Refused as refused:
            unanswered += 1
            if refused.code not in _PASSING or unanswered > _MOST_UNANSWERED:
                raise provision.may_be_billing(refused, names, provision.switches_known(account, names)) from None
            account.sleep(_POLL)
            continue
        unanswered = 0
        now = read(account, names, noted)
        if now.text() != said:
            said = now.text()
            report(said)
        if now.ready:
            return now
        if now.over or not alive:
            return _ended(account, names, now, serves)
        account.sleep(_POLL)


def _ended(account: Account, names: Names, now: Progress, serves: bool) -> Progress:
    """Done, or an error that says why and what to do. Results and checkpoints are in the bucket either way."""
    if not serves and now.training is not None and now.training.get("state") == "done":
        return now
    lines = _text(account, names, _LOG).splitlines()[-_LAST_LINES:]
    shown = "".join(f"\n    {line if len(line) <= 400 else f'{line[:200]} ... {line[-200:]}'}" for line in lines)
    how = f"the machine of {names.deployment} is gone" if not now.over else f"{names.deployment} {now.text()}"
    raise ModelpickError(
        f"{how}{'; its last lines:' if shown else ''}{shown}",
        fix=f"modelpick logs {names.deployment}; to go on from its last checkpoint: modelpick down "
        f"{names.deployment}, then the same command again",
        code="job_failed" if now.over else "machine_gone",
    )


def _text(account: Account, names: Names, key: str) -> str:
    try:
        found = account.find("s3", "get_object", Bucket=names.bucket, Key=key)
    except Refused:
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
