"""A plan: what would be created, in which order, for how long, at what price, and what stops it; and its file. Pure.

One description for all who make, write, read, show and carry out a plan: the fields of `Plan` are the keys of the file,
in their order, and what else the file lists (steps, switches) follows from them. A plan's seal is a checksum:
whoever edits a plan can seal it again, so every value is checked when a file is read, whoever reads it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Annotated, Any

from modelpick.errors import UsageError, printable_json
from modelpick.offers.compatibility import Finding
from modelpick.offers.price import Market
from modelpick.planning.cost import SYSTEM_DISK_GB
from modelpick.planning.plan_actions import DELETE_AFTER_MINUTES, PREFIX, STEPS, Step
from modelpick.planning.plan_parts import (
    Dollars,
    PaidAction,
    PlannedAction,
    PlannedCandidate,
    PlannedCost,
    PlannedData,
    PlannedFacts,
    PlannedHours,
    PlannedLicense,
    PlannedMemory,
    PlannedModel,
    PlannedPolicy,
    PlannedRun,
    PlannedTask,
    PlannedTime,
    PlanPart,
    StopSwitch,
)
from modelpick.planning.request import MOST_HOURS
from modelpick.schema import Bounds, Pattern, Source, read, to_json
from modelpick.workload import Workload

SCHEMA_VERSION = 1
KIND = "modelpick-plan"
FIX = "make the plan again with `modelpick plan`"
_CODE = "bad_plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(PlanPart):
    """A finished plan. `id` follows from everything else in it.

    `workloads` and `memory` are by task; `chosen` names the settings that were chosen for each GPU. The first of
    `candidates` is what `instance_type`, `time`, `cost` and `memory` are about; the others stand in for want of
    capacity. `care` lists conditions that the user has to meet. `facts` are None in the file of an older version.
    """

    id: Annotated[str, Pattern(r"modelpick-[0-9a-f]{10}", "the id of a plan")]
    tasks: tuple[PlannedTask, ...]
    model: PlannedModel
    license: PlannedLicense
    policy: PlannedPolicy
    facts: PlannedFacts | None = None
    workloads: Mapping[str, Workload]
    chosen: tuple[str, ...] = ()
    hyperparameters: PlannedRun | None = None
    data: PlannedData | None = None
    memory: Mapping[str, PlannedMemory]
    region: Annotated[str, Pattern(r"[a-z]{2}(-[a-z]+)+-\d{1,2}", "an AWS region such as us-east-1")]
    zones: tuple[str, ...] | None = None
    market: Market
    instance_type: str
    candidates: tuple[PlannedCandidate, ...]
    disk_gb: Annotated[
        int,
        Bounds(SYSTEM_DISK_GB, 65_536),
        Source("what the system takes; the largest gp3 volume in GiB, EBS user guide, General Purpose SSD volumes"),
    ]
    download_gb: Annotated[float, Bounds(0, 65_536)]
    time: PlannedTime
    cost: PlannedCost
    max_usd: Dollars
    max_hours: Annotated[float, Bounds(0, MOST_HOURS, above=True)]
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
    def work(self) -> PlannedHours | None:
        """How long what has an end takes: the fine-tuning. None where the machine only serves, until its limit."""
        return self.time.job if self.time.until_limit else self.time

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
        """Whether a file's switches and steps are this plan's; an older file may lack steps that came later.

        Their sentences may be those of another version: what is done, made and paid is compared, and when it ends.
        """
        first = tuple(step for step in self.steps if step.since_first)
        listings = [_without_words(_listed(self._actions(steps))) for steps in (self.steps, first)]
        switches = _without_words([to_json(switch) for switch in self.stop])
        return _without_words(stop) == switches and _without_words(actions) in listings

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


def _without_words(rows: object) -> object:
    if not isinstance(rows, list):
        return None
    return [
        {key: value for key, value in row.items() if key not in ("note", "switch")} if isinstance(row, dict) else row
        for row in rows
    ]


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
