"""A plan file as types with bounds. Pure.

A plan's seal is a checksum: whoever edits a plan can seal it again, so every value that is acted upon is checked when
the file is read, whoever reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from modelpick.errors import UsageError
from modelpick.licensing.outcome import Verdict
from modelpick.schema import Bounds, Pattern, Source, read
from modelpick.workload import Workload

PlannedTask = Literal["finetune", "serve"]
Dollars = Annotated[float, Bounds(0, 1_000_000, above=True)]
Hours = Annotated[float, Bounds(0, 24 * 365)]
_CODE = "bad_plan"
_FIX = "make the plan again with `modelpick plan`"


class _Part:
    """A plan holds more than a machine is made from: the rest of each table is not read."""

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
    """The verdict that the plan was made under, and the ids of the licenses behind it."""

    verdict: Verdict
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlannedPolicy(_Part):
    """The policy that the plan was made under, by its name and the hash of its file."""

    name: str
    sha256: Annotated[str, Pattern(r"[0-9a-f]{64}", "a SHA-256 in hexadecimal")]


@dataclass(frozen=True, slots=True)
class PlannedOffer(_Part):
    """An instance type and what an hour of it costs; None where no price is known."""

    instance_type: str
    region: str
    market: Literal["on-demand", "spot"]
    usd_per_hour: Dollars | None


@dataclass(frozen=True, slots=True)
class PlannedTime(_Part):
    """How long it takes."""

    likely_hours: Hours


@dataclass(frozen=True, slots=True)
class PlannedDuration(_Part):
    """How long it takes; `job` is the fine-tuning's share where a server runs `until_limit`."""

    likely_hours: Hours
    until_limit: bool = False
    job: PlannedTime | None = None


@dataclass(frozen=True, slots=True)
class PlannedCost(_Part):
    """What an hour costs in all: instance, disk and address."""

    usd_per_hour: Dollars


@dataclass(frozen=True, slots=True)
class PlannedRecipe(_Part):
    """What was chosen for the memory of a candidate's GPU; None: left to the machine."""

    batch: Annotated[int, Bounds(1, 1_000_000)] | None = None
    gradient_accumulation: Annotated[int, Bounds(1, 1_000_000)] | None = None
    gradient_checkpointing: bool | None = None


@dataclass(frozen=True, slots=True)
class PlannedCandidate(_Part):
    """An instance type that will do, with its time and its price."""

    offer: PlannedOffer
    time: PlannedTime
    cost: PlannedCost
    finetune: PlannedRecipe | None = None


@dataclass(frozen=True, slots=True)
class PlannedHyperparameters(_Part):
    """The recipe's epochs; the machine chooses the rest by the same rule."""

    epochs: Annotated[float, Bounds(0, 10_000, above=True)] | None = None


@dataclass(frozen=True, slots=True)
class PlannedDeployment(_Part):
    """A plan, as far as a machine is made from it."""

    id: Annotated[str, Pattern(r"modelpick-[0-9a-f]{10}", "the id of a plan")]
    tasks: tuple[PlannedTask, ...]
    model: PlannedModel
    license: PlannedLicense
    policy: PlannedPolicy
    workloads: Mapping[str, Workload]
    region: Annotated[str, Pattern(r"[a-z]{2}(-[a-z]+)+-\d{1,2}", "an AWS region such as us-east-1")]
    market: Literal["on-demand", "spot"]
    candidates: tuple[PlannedCandidate, ...]
    disk_gb: Annotated[
        int, Bounds(1, 65_536), Source("the largest gp3 volume in GiB, EBS user guide, General Purpose SSD volumes")
    ]
    download_gb: Annotated[float, Bounds(0, 65_536)]
    max_usd: Dollars
    max_hours: Annotated[float, Bounds(0, 24 * 365, above=True)]
    time: PlannedDuration
    chosen: tuple[str, ...] = ()
    hyperparameters: PlannedHyperparameters | None = None
    sources: tuple[str, ...] = ()

    @property
    def finetune(self) -> Workload | None:
        """The fine-tuning, or None."""
        return self._workload("finetune")

    @property
    def serve(self) -> Workload | None:
        """What is served, or None."""
        return self._workload("serve")

    def _workload(self, task: PlannedTask) -> Workload | None:
        return self.workloads[task] if task in self.tasks else None


def deployment_from(content: Mapping[str, Any]) -> PlannedDeployment:
    """What a plan's content says of a machine. Raises UsageError(`bad_plan`) for a value that no plan of ours has."""
    try:
        planned = read(PlannedDeployment, content, "the plan", _CODE)
    except UsageError as error:
        raise UsageError(error.message, fix=_FIX, code=_CODE) from None
    _check(planned)
    return planned


def _check(planned: PlannedDeployment) -> None:
    problem = _problem(planned)
    if problem:
        raise UsageError(f"the plan {problem}", fix=_FIX, code=_CODE)


def _problem(planned: PlannedDeployment) -> str | None:
    """What contradicts itself."""
    if not planned.tasks or len(set(planned.tasks)) < len(planned.tasks):
        return "names no task, or one twice"
    if not planned.candidates:
        return "names no instance type"
    for task in planned.tasks:
        if task not in planned.workloads or planned.workloads[task].task != task:
            return f"describes no workload for its task {task}"
    for candidate in planned.candidates:
        if candidate.offer.region != planned.region:
            return f"is for {planned.region} and prices {candidate.offer.instance_type} in {candidate.offer.region}"
    return None
