"""What is asked of a search for places, and the facts and caps that it is judged by. Pure."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from modelpick.catalog.architecture import Architecture
from modelpick.catalog.model import Model
from modelpick.errors import UsageError
from modelpick.memory.estimate import MemoryEstimate
from modelpick.memory.measured import MeasuredRuns
from modelpick.offers.chat_parsers import ChatParsers
from modelpick.offers.compatibility import Rule, Subject
from modelpick.offers.price import BillingRates
from modelpick.planning.data_tokens import Tokens
from modelpick.planning.load import LoadLimits
from modelpick.ranges import Range, exactly
from modelpick.speed.roofline import ServingEfficiency
from modelpick.speed.speed import Calibration
from modelpick.speed.training import TrainingEfficiency
from modelpick.workload import Task, Workload

# What is fine-tuned on where no data file is given, so that there is a cost; every command says so. arXiv 2305.11206
# (LIMA), section 2: 1,000 examples chosen with care, about 750,000 tokens in all.
_EXAMPLES, _TOKENS_EACH = 1_000, 750
DEFAULT_DATA = Tokens(
    "LIMA", "", 0, _EXAMPLES, exactly(float(_EXAMPLES * _TOKENS_EACH)), counted=True, truncated_rows=0
)
DEFAULT_DATA_TEXT = f"{_EXAMPLES:,} examples of {_TOKENS_EACH} tokens"

# Beyond these a figure is a slip, and a plan file with it would not be read (plan_parts).
MOST_USD, MOST_HOURS = 1_000_000, 24 * 365


@dataclass(frozen=True, slots=True)
class Caps:
    """The user's limits. None: not set. Raises UsageError for what is not a number above 0, up to MOST_USD, MOST_HOURS.

    `on_demand`: dollars an hour by instance type. A spot price may rise to them, so caps are computed with them.
    """

    max_usd: float | None = None
    max_hours: float | None = None
    max_usd_per_hour: float | None = None
    on_demand: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, most in (("max_usd", MOST_USD), ("max_hours", MOST_HOURS), ("max_usd_per_hour", MOST_USD)):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and 0 < value <= most):
                fix = f"give a number above 0, at most {most:,}"
                raise UsageError(f"{name} is {value:,.12g}", fix=fix, code=f"bad_{name}")


@dataclass(frozen=True, slots=True)
class SearchFacts:
    """What a search judges by: the same for every model.

    `rules` is the compatibility table, and `subject_of` the question to it for a model; `serving` and `training` give
    the calibrated constants of a stack and a method, of a server also for its version; `chat_parsers` by which flags a
    server reads a family's tool calls and reasoning; `measured` the runs whose memory was measured on the user's own
    machines.
    """

    rules: tuple[Rule, ...]
    subject_of: Callable[[Model, Workload], Subject]
    rates: BillingRates
    serving: Callable[[str, str, str | None], Calibration[ServingEfficiency]]
    training: Callable[[str, str], Calibration[TrainingEfficiency]]
    chat_parsers: ChatParsers
    measured: Callable[[], MeasuredRuns] = MeasuredRuns


def _anything(model: Model) -> bool:
    """Where no policy is asked."""
    return True


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """The tasks for one model: fine-tune it, serve it, or both (one of them at least).

    `unset` names the unset settings, which are chosen for each GPU (choose.TUNABLE); `tokens` is the data,
    counted; `epochs` how often it is read. `traced`: a device-level estimate of the one task, in place of the formulas'
    (estimate --exact). `architecture`: the model's, where it was read already. `limits`: on what a server does under
    load; `one_server`: a placement has to keep them by itself. `copies`: published copies of the model's weights, of
    which `may_use` tells whether the policy lets them be used (asked of those alone that a place is found for). `bits`:
    of each weight, where that is all that is asked of them. `converted`: GGUF files may be made of the weights first.
    `encodes`: it turns texts into vectors or scores, which none of our servers does. `columns`: of the data by our
    names, passed on to the run.
    """

    model: Model
    finetune: Workload | None = None
    serve: Workload | None = None
    unset: frozenset[str] = frozenset()
    tokens: Tokens | None = None
    epochs: float | None = None
    traced: MemoryEstimate | None = None
    architecture: Architecture | None = None
    limits: LoadLimits | None = None
    one_server: bool = False
    copies: tuple[Model, ...] = ()
    may_use: Callable[[Model], bool] = _anything
    bits: int | None = None
    converted: bool = False
    encodes: bool = False
    columns: str | None = None

    @property
    def tasks(self) -> list[tuple[Task, Workload]]:
        """What is to be done, in order."""
        both: tuple[tuple[Task, Workload | None], ...] = (("finetune", self.finetune), ("serve", self.serve))
        return [(name, workload) for name, workload in both if workload is not None]

    @property
    def data(self) -> Tokens:
        """What is trained on: the data as counted, else the default."""
        return self.tokens or DEFAULT_DATA

    @property
    def one_pass(self) -> Range:
        """The tokens that one pass over the data trains on. DPO reads the question of a pair with each of its sides:
        up to twice what the file holds."""
        count = self.data.count
        if self.finetune is None or self.finetune.objective != "dpo":
            return count
        return Range(count.low, 1.5 * count.likely, 2 * count.high)

    @property
    def gpus(self) -> int:
        """The GPUs asked for."""
        return max((workload.gpus for _, workload in self.tasks), default=1)
