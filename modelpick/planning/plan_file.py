"""A plan: what would be created, in which order, for how long, at what price, and what stops it; and its file. Pure.

One description for all who make, write, read, show and carry out a plan: the fields of `Plan` are the keys of the file,
in their order, and what else the file lists (steps, switches) follows from them. A plan's seal is a checksum:
whoever edits a plan can seal it again, so every value is checked when a file is read, whoever reads it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

from modelpick.errors import UsageError, printable_json
from modelpick.licensing.outcome import Obligation, Verdict
from modelpick.offers.compatibility import Finding
from modelpick.planning.plan_actions import DELETE_AFTER_MINUTES, PREFIX, STEPS, Step
from modelpick.schema import Bounds, Pattern, Source, read, to_json
from modelpick.workload import Workload

SCHEMA_VERSION = 1
KIND = "modelpick-plan"
FIX = "make the plan again with `modelpick plan`"

PlannedTask = Literal["finetune", "serve"]
Dollars = Annotated[float, Bounds(0, 1_000_000, above=True)]
Hours = Annotated[float, Bounds(0, 24 * 365)]
Count = Annotated[int, Bounds(1, 1_000_000)]
Sha256 = Annotated[str, Pattern(r"[0-9a-f]{64}", "a SHA-256 in hexadecimal")]
PlanMarket = Literal["on-demand", "spot"]
_CODE = "bad_plan"


class _Part:
    """A plan of a newer version may hold more: what no field is there for is not read."""

    __slots__ = ()
    ignores_unknown: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class PlannedModel(_Part):
    """The model. `revision` is the commit that was planned with, None where it was not known."""

    id: Annotated[str, Pattern(r"[^\s\x00-\x1f-][^\x00-\x1f]{0,499}", "a model's name or folder")]
    revision: Annotated[str, Pattern(r"[0-9a-f]{7,64}", "a commit")] | None
    origin: str
    gated: bool


@dataclass(frozen=True, slots=True)
class PlannedLicense(_Part):
    """The verdict that the plan was made under, the ids of the licenses behind it, and what must be done for it."""

    verdict: Verdict
    ids: tuple[str, ...]
    obligations: tuple[Obligation, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedPolicy(_Part):
    """The policy that the plan was made under, by its name and the hash of its file."""

    name: str
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class PlannedRun(_Part):
    """The hyper-parameters of a fine-tuning. `optimizer_steps` is None where the rows are not counted."""

    learning_rate: float | None = None
    epochs: Annotated[float, Bounds(0, 10_000, above=True)] | None = None
    effective_batch: int | None = None
    gradient_accumulation: Count | None = None
    lora_alpha: int | None = None
    scheduler: str | None = None
    warmup_share: float | None = None
    optimizer_steps: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedData(_Part):
    """The training data and the tokens of one pass over it. `rows` is None for plain text, which is packed."""

    file: str
    sha256: Sha256
    bytes: int
    rows: int | None
    counted: bool
    truncated_rows: int
    low_tokens: float
    likely_tokens: float
    high_tokens: float


@dataclass(frozen=True, slots=True)
class PlannedMemory(_Part):
    """GiB on one GPU: the estimate with its 90 % interval, by part, and what the first candidate leaves free."""

    total_gib: float
    low_gib: float
    high_gib: float
    parts_gib: Mapping[str, float]
    usable_gib: float
    headroom_gib: float


@dataclass(frozen=True, slots=True)
class PlannedOffer(_Part):
    """An instance type and what an hour of it costs, with source and date; None where no price is known."""

    instance_type: str
    gpu: str
    gpu_count: int
    usd_per_hour: Dollars | None
    market: PlanMarket
    region: str
    source: str | None = None
    as_of: str | None = None
    derived: bool = False
    how_to_get: str | None = None


@dataclass(frozen=True, slots=True)
class PlannedRecipe(_Part):
    """What was chosen for the memory of a candidate's GPU; None: left to the machine."""

    batch: Count | None = None
    gradient_accumulation: Count | None = None
    gradient_checkpointing: bool | None = None


@dataclass(frozen=True, slots=True)
class PlannedSpeed(_Part):
    """Tokens per second with their 80 % interval, and what the hardware allows at most."""

    tokens_per_s: float
    low_tokens_per_s: float
    high_tokens_per_s: float
    roof_tokens_per_s: float


@dataclass(frozen=True, slots=True)
class PlannedServingSpeed(_Part):
    """Of all concurrent requests together: new tokens, prompt tokens while reading, and the time that reading takes."""

    generate: PlannedSpeed
    prefill: PlannedSpeed
    prefill_share_of_time: float
    seconds_to_first_token: float


@dataclass(frozen=True, slots=True)
class PlannedHours(_Part):
    """How long something takes."""

    low_hours: Hours
    likely_hours: Hours
    high_hours: Hours


@dataclass(frozen=True, slots=True)
class PlannedJobHours(PlannedHours):
    """How long a fine-tuning takes, in all and by part."""

    parts: Mapping[str, PlannedHours]


@dataclass(frozen=True, slots=True)
class PlannedTime(PlannedHours):
    """How long everything takes; `job` is the fine-tuning's share where a server runs `until_limit`."""

    until_limit: bool = False
    job: PlannedJobHours | None = None


@dataclass(frozen=True, slots=True)
class PlannedUsd(_Part):
    """What something costs."""

    low_usd: float
    likely_usd: float
    high_usd: float


@dataclass(frozen=True, slots=True)
class PlannedRate(PlannedUsd):
    """What it costs in all, and what an hour costs: instance, disk and address."""

    usd_per_hour: Dollars


@dataclass(frozen=True, slots=True)
class PlannedJobCost(PlannedUsd):
    """What a fine-tuning costs, in all and by part."""

    parts: Mapping[str, PlannedUsd]


@dataclass(frozen=True, slots=True)
class PlannedCost(PlannedRate):
    """What everything costs; `job` is the fine-tuning's share."""

    job: PlannedJobCost | None = None


@dataclass(frozen=True, slots=True)
class PlannedCandidate(_Part):
    """An instance type that will do: what runs there, how fast, how long, for how much."""

    offer: PlannedOffer
    headroom_gib: float
    finetune: PlannedRecipe | None
    training: PlannedSpeed | None
    serving: PlannedServingSpeed | None
    time: PlannedHours
    cost: PlannedRate
    max_hours: Hours


@dataclass(frozen=True, slots=True)
class StopSwitch:
    """What ends the machine, who holds it, and after how many hours; None where that is not a matter of time."""

    switch: str
    held_by: str
    after_hours: float | None


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """One step: what it creates and its price in dollars."""

    step: int
    action: str
    creates: str | None
    usd: float
    note: str


@dataclass(frozen=True, slots=True)
class PaidAction(PlannedAction):
    """The step that costs money."""

    low_usd: float
    likely_usd: float
    high_usd: float
    usd_per_hour: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(_Part):
    """A finished plan. `id` follows from everything else in it.

    `workloads` and `memory` are by task; `chosen` names the settings that were chosen for each GPU. The first of
    `candidates` is what `instance_type`, `time`, `cost` and `memory` are about; the others stand in for want of
    capacity. `care` lists conditions that the user has to meet.
    """

    id: Annotated[str, Pattern(r"modelpick-[0-9a-f]{10}", "the id of a plan")]
    tasks: tuple[PlannedTask, ...]
    model: PlannedModel
    license: PlannedLicense
    policy: PlannedPolicy
    workloads: Mapping[str, Workload]
    chosen: tuple[str, ...] = ()
    hyperparameters: PlannedRun | None = None
    data: PlannedData | None = None
    memory: Mapping[str, PlannedMemory]
    region: Annotated[str, Pattern(r"[a-z]{2}(-[a-z]+)+-\d{1,2}", "an AWS region such as us-east-1")]
    zones: tuple[str, ...] | None = None
    market: PlanMarket
    instance_type: str
    candidates: tuple[PlannedCandidate, ...]
    disk_gb: Annotated[
        int, Bounds(1, 65_536), Source("the largest gp3 volume in GiB, EBS user guide, General Purpose SSD volumes")
    ]
    download_gb: Annotated[float, Bounds(0, 65_536)]
    time: PlannedTime
    cost: PlannedCost
    max_usd: Dollars
    max_hours: Annotated[float, Bounds(0, 24 * 365, above=True)]
    care: tuple[Finding, ...] = ()
    unchecked: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def finetune(self) -> Workload | None:
        """The fine-tuning, or None."""
        return self._workload("finetune")

    @property
    def serve(self) -> Workload | None:
        """What is served, or None."""
        return self._workload("serve")

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of `up` for this plan, in their order."""
        shown = {"always": True, "gated": self.model.gated}
        shown |= {"serve": "serve" in self.tasks, "finetune": "finetune" in self.tasks}
        return tuple(step for step in STEPS if shown[step.when])

    @property
    def actions(self) -> tuple[PlannedAction, ...]:
        """Each step with what it creates and its dollars; only one of them is paid."""
        return self._actions(self.steps)

    @property
    def stop(self) -> tuple[StopSwitch, ...]:
        """What ends it, from the first to the last resort; the first two are inside AWS, whatever happens here."""
        later = _six_digits(self.max_hours + DELETE_AFTER_MINUTES / 60)
        return (
            StopSwitch("scheduled action: the group goes to 0", "AWS", float(self.max_hours)),
            StopSwitch("schedule: the group is deleted", "AWS", later),
            StopSwitch("the machine, when done or idle", "the instance", None),
            StopSwitch("modelpick down", "you", None),
        )

    def as_json(self) -> dict[str, Any]:
        """The plan file's content."""
        follows = {"stop": [to_json(switch) for switch in self.stop], "actions": _listed(self.actions)}
        return {"schema_version": SCHEMA_VERSION, "kind": KIND, **to_json(self), **follows}

    def to_bytes(self) -> bytes:
        """The plan file: one key a line, so that two plans can be compared line by line."""
        text = json.dumps(self.as_json(), indent=1, ensure_ascii=False, allow_nan=False)
        return (printable_json(text) + "\n").encode()

    def sealed(self) -> "Plan":
        """The plan with the id that follows from everything else in it, and every figure rounded to six digits."""
        rounded: Plan = _rounded(self)
        return replace(rounded, id=seal(to_json(rounded)))

    def lists(self, stop: object, actions: object) -> bool:
        """Whether a file's switches and steps are this plan's; an older file may lack steps that came later."""
        first = tuple(step for step in self.steps if step.since_first)
        listings = (_listed(self.actions), _listed(self._actions(first)))
        return stop == [to_json(switch) for switch in self.stop] and actions in listings

    def _workload(self, task: PlannedTask) -> Workload | None:
        return self.workloads[task] if task in self.tasks else None

    def _actions(self, steps: tuple[Step, ...]) -> tuple[PlannedAction, ...]:
        others = " (the next ones only without capacity, within the same limit)"
        words = {
            "name": self.id,
            "prefix": PREFIX,
            "short": self.id.removeprefix(f"{PREFIX}-"),
            "region": self.region,
            "disk_gb": self.disk_gb,
            "max_hours": self.max_hours,
            "delete_minutes": DELETE_AFTER_MINUTES,
            "next_ones": others if len(self.candidates) > 1 else "",
        }
        return tuple(self._action(number, step, words) for number, step in enumerate(steps, 1))

    def _action(self, number: int, step: Step, words: Mapping[str, object]) -> PlannedAction:
        creates = step.creates.format(**words) if step.creates is not None else None
        note, cost = step.note.format(**words), self.cost
        if step.phase != "pay":
            return PlannedAction(number, step.action, creates, 0.0, note)
        return PaidAction(
            number, step.action, creates, cost.likely_usd, note,
            cost.low_usd, cost.likely_usd, cost.high_usd, cost.usd_per_hour,
        )  # fmt: skip


_DERIVED = ("schema_version", "kind", "id", "stop", "actions")


def seal(content: Mapping[str, Any]) -> str:
    """The id that follows from a plan's content, whatever that holds under the names that follow from the rest."""
    body = {key: value for key, value in content.items() if key not in _DERIVED}
    return f"{PREFIX}-{hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:10]}"


def load(text: str) -> Plan:
    """A plan file.

    Raises UsageError where it is not a plan, of another schema version, was changed by hand, or holds a value that no
    plan of ours has.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError("the plan file is not JSON", fix="make it again", code=_CODE) from None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise UsageError("this file is not a plan", fix="make one with `modelpick plan MODEL`", code=_CODE)
    if content.get("schema_version") != SCHEMA_VERSION:
        raise UsageError(
            f"the plan has schema version {content.get('schema_version')}, this program reads {SCHEMA_VERSION}",
            fix="make it again with `modelpick plan MODEL`",
            code="plan_version",
        )
    if content.get("id") != seal(content):
        raise _changed()
    plan = plan_from(content)
    if not plan.lists(content.get("stop"), content.get("actions")):
        raise _changed()
    return plan


def _changed() -> UsageError:
    return UsageError(
        "the plan was changed after it was made", fix="make it again with the options you want", code="plan_changed"
    )


def plan_from(content: Mapping[str, Any]) -> Plan:
    """A plan's content as types. Raises UsageError(`bad_plan`) for a value that no plan of ours has."""
    try:
        plan = read(Plan, content, "the plan", _CODE)
    except UsageError as error:
        raise UsageError(error.message, fix=FIX, code=_CODE) from None
    problem = _problem(plan)
    if problem:
        raise UsageError(f"the plan {problem}", fix=FIX, code=_CODE)
    return plan


def _problem(plan: Plan) -> str | None:
    """The contradiction in a plan, or None."""
    if not plan.tasks or len(set(plan.tasks)) < len(plan.tasks):
        return "names no task, or one twice"
    if not plan.candidates:
        return "names no instance type"
    for task in plan.tasks:
        if task not in plan.workloads or plan.workloads[task].task != task:
            return f"describes no workload for its task {task}"
    for candidate in plan.candidates:
        if candidate.offer.region != plan.region:
            return f"is for {plan.region} and prices {candidate.offer.instance_type} in {candidate.offer.region}"
    return None


def _listed(actions: tuple[PlannedAction, ...]) -> list[dict[str, Any]]:
    return [to_json(action) for action in actions]


def _rounded(value: Any) -> Any:
    """Floats to six digits: what a plan says does not depend on the last bit of a machine's arithmetic."""
    if isinstance(value, float):
        return _six_digits(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{item.name: _rounded(getattr(value, item.name)) for item in fields(value)})
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_rounded(item) for item in value)
    return value


def _six_digits(value: float) -> float:
    return float(f"{value:.6g}")
