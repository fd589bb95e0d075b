"""What a plan is made of: each part with what its values may be. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from modelpick.licensing.outcome import Obligation, Verdict
from modelpick.offers.price import Market
from modelpick.planning.request import MOST_HOURS, MOST_USD
from modelpick.schema import Bounds, Pattern

PlannedTask = Literal["finetune", "serve"]
Dollars = Annotated[float, Bounds(0, MOST_USD, above=True)]
Hours = Annotated[float, Bounds(0, MOST_HOURS)]
Count = Annotated[int, Bounds(1, 1_000_000)]
Sha256 = Annotated[str, Pattern(r"[0-9a-f]{64}", "a SHA-256 in hexadecimal")]


class PlanPart:
    """A plan of a newer version may hold more: what no field is there for is not read."""

    __slots__ = ()
    ignores_unknown: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class PlannedModel(PlanPart):
    """The repository that is downloaded. `revision` is the commit that was planned with, None where it was not known.

    `copy_of`: the model that was asked for, where this is a published copy of it with other weights.
    """

    id: Annotated[str, Pattern(r"[^\s\x00-\x1f-][^\x00-\x1f]{0,499}", "a model's name or folder")]
    revision: Annotated[str, Pattern(r"[0-9a-f]{7,64}", "a commit")] | None
    origin: str
    gated: bool
    copy_of: str | None = None


@dataclass(frozen=True, slots=True)
class PlannedLicense(PlanPart):
    """The verdict that the plan was made under, the ids of the licenses behind it, and what must be done for it."""

    verdict: Verdict
    ids: tuple[str, ...]
    obligations: tuple[Obligation, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedPolicy(PlanPart):
    """The policy that the plan was made under, by its name and the hash of its rules and the company's facts.

    `product`: the one that was judged for; None: all of them.
    """

    name: str
    sha256: Sha256
    product: str | None = None


@dataclass(frozen=True, slots=True)
class PlannedRun(PlanPart):
    """The hyper-parameters of a fine-tuning. `optimizer_steps` is None where the rows are not counted."""

    learning_rate: float | None = None
    epochs: Annotated[float, Bounds(0, 10_000, above=True)] | None = None
    effective_batch: int | None = None
    gradient_accumulation: Count | None = None
    lora_alpha: int | None = None
    scheduler: str | None = None
    warmup_share: float | None = None
    optimizer_steps: int | None = None
    columns: Annotated[str, Pattern(r"[^\x00-\x1f]{1,999}", "columns, as OURS=THEIRS,...")] | None = None


@dataclass(frozen=True, slots=True)
class PlannedData(PlanPart):
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
class PlannedMemory(PlanPart):
    """GiB on one GPU: the estimate with its 90 % interval, by part, and what the first candidate leaves free."""

    total_gib: float
    low_gib: float
    high_gib: float
    parts_gib: Mapping[str, float]
    usable_gib: float
    headroom_gib: float


@dataclass(frozen=True, slots=True)
class PlannedFacts(PlanPart):
    """The facts that the plan was made from: the embedded ones or a snapshot, by the hash of all their files."""

    source: str
    hash: Sha256
    models_as_of: str
    prices_as_of: str
    scores_as_of: str


@dataclass(frozen=True, slots=True)
class PlannedOffer(PlanPart):
    """An instance type and what an hour of it costs, with source and date; None where no price is known."""

    instance_type: str
    gpu: str
    gpu_count: int
    usd_per_hour: Dollars | None
    market: Market
    region: str
    source: str | None = None
    as_of: str | None = None
    derived: bool = False
    how_to_get: str | None = None


@dataclass(frozen=True, slots=True)
class PlannedRecipe(PlanPart):
    """What was chosen for the memory of a candidate's GPU; None: left to the machine."""

    batch: Count | None = None
    gradient_accumulation: Count | None = None
    gradient_checkpointing: bool | None = None


@dataclass(frozen=True, slots=True)
class PlannedSpeed(PlanPart):
    """Tokens per second with their 80 % interval, and what the hardware allows at most."""

    tokens_per_s: float
    low_tokens_per_s: float
    high_tokens_per_s: float
    roof_tokens_per_s: float


@dataclass(frozen=True, slots=True)
class PlannedServingSpeed(PlanPart):
    """Of all concurrent requests together: new tokens, prompt tokens while reading, and the time that reading takes."""

    generate: PlannedSpeed
    prefill: PlannedSpeed
    prefill_share_of_time: float
    seconds_to_first_token: float | None  # under the load; null: requests queue


@dataclass(frozen=True, slots=True)
class PlannedHours(PlanPart):
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
class PlannedUsd(PlanPart):
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
class PlannedCandidate(PlanPart):
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
