"""How many requests a server carries within limits on the wait, and how many servers a load needs. Pure."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from modelpick.errors import UsageError
from modelpick.offers.instance import InstanceType
from modelpick.planning.engines import answered_at_once, speed_as_served
from modelpick.speed.roofline import ServingEfficiency
from modelpick.speed.shape import SpeedShape
from modelpick.speed.speed import DEFAULT_GENERATED, Calibration, ServingSpeed
from modelpick.workload import Workload

# More concurrent requests than this are not tried on one server: vLLM's largest default of --max-num-seqs (vllm 0.32,
# engine/arg_utils.py: 1,024 on GPUs of 70 GiB and more).
MOST_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class LoadLimits:
    """What is asked of the servers. None: not asked. Raises UsageError for what is not a number above 0.

    `max_first_token_s`: seconds to the first token; `min_tokens_per_s`: tokens a second of each request from there on.
    Both are compared with what is likely. `requests_per_s`: how many arrive; else the workload's batch is what is
    under way at any time.
    """

    max_first_token_s: float | None = None
    min_tokens_per_s: float | None = None
    requests_per_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_first_token_s", "min_tokens_per_s", "requests_per_s"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} is {value}", fix="give a number above 0", code=f"bad_{name}")

    @property
    def asked(self) -> bool:
        """Whether anything is asked."""
        return (self.max_first_token_s, self.min_tokens_per_s, self.requests_per_s) != (None, None, None)

    def met_by(self, speed: ServingSpeed) -> bool:
        """Whether a request waits no longer, and then is answered no slower, than asked."""
        first = speed.seconds_to_first_token
        if first is None or (self.max_first_token_s is not None and first > self.max_first_token_s):
            return False
        return self.min_tokens_per_s is None or speed.per_request.likely >= self.min_tokens_per_s

    def arriving_within(self, speed: ServingSpeed, workload: Workload) -> bool:
        """Whether as many requests are finished in a second as arrive."""
        finished = speed.generated.tokens_per_s / (workload.generate or DEFAULT_GENERATED)
        return self.requests_per_s is None or finished >= self.requests_per_s


@dataclass(frozen=True, slots=True)
class CarriedLoad:
    """What one server carries within the limits, and how many of them the load needs.

    `at_once`: the most concurrent requests it answers within the limits (0: not even one); `requests_per_s` of them it
    finishes; `servers` None where no number of them keeps the limits. `saturated`: one server alone would queue.
    `speed`: of one server with its part of the load. `arriving`: the requests a second that were asked for.
    """

    at_once: int
    requests_per_s: float
    servers: int | None
    saturated: bool
    speed: ServingSpeed | None
    arriving: float | None = None

    def asked(self, batch: int) -> str:
        """The load in words; `batch` is under way at any time where no rate was asked for."""
        if self.arriving is None:
            return "1 request at a time" if batch == 1 else f"{batch} requests at a time"
        return f"{self.arriving:g} requests a second"

    @property
    def text(self) -> str:
        """A sentence for the screen."""
        if self.servers is None:
            return "not even one request at a time keeps the limits"
        each = f"{self.at_once} at once, {self.requests_per_s:.2g} finished a second"
        more = "the load is more than one server does: requests would queue without end; " if self.saturated else ""
        return f"{more}within the limits a server has {each}: {self.servers} needed"

    def as_json(self) -> dict[str, Any]:
        """The names of `cost --json`."""
        return {
            "at_once_per_server": self.at_once,
            "requests_per_s_per_server": self.requests_per_s,
            "servers": self.servers,
            "saturated": self.saturated,
            "speed": self.speed.as_json() if self.speed is not None else None,
        }


def carried_load(
    shape: SpeedShape,
    instance: InstanceType,
    efficiency: Calibration[ServingEfficiency],
    workload: Workload,
    limits: LoadLimits,
) -> CarriedLoad:
    """How many servers on `instance` the load of `workload` needs within `limits`.

    Raises nothing: a load that no number of servers carries is an answer.
    """
    generated = float(workload.generate or DEFAULT_GENERATED)

    def at(requests: int) -> ServingSpeed:
        return speed_as_served(shape, instance, efficiency, replace(workload, batch=requests))

    def finished(speed: ServingSpeed) -> float:
        return speed.generated.tokens_per_s / generated

    ceiling = 1 if answered_at_once(replace(workload, batch=2)) == 1 else MOST_AT_ONCE
    within = _most(lambda requests: limits.met_by(at(requests)), ceiling)
    if within == 0:
        return CarriedLoad(0, 0.0, None, True, None, limits.requests_per_s)
    best = at(within)
    if limits.requests_per_s is None:
        servers = math.ceil(workload.batch / within)
        saturated = workload.batch > _most(lambda requests: at(requests).first_token is not None, ceiling)
        part = at(math.ceil(workload.batch / servers))
    else:
        servers = math.ceil(limits.requests_per_s / finished(best) - 1e-9)
        room = _most(lambda requests: at(requests).first_token is not None, ceiling)
        saturated = limits.requests_per_s > finished(at(room))
        each = limits.requests_per_s / servers
        part = at(_least(lambda requests: finished(at(requests)) >= each * (1 - 1e-9), within))
    return CarriedLoad(within, finished(best), servers, saturated, part, limits.requests_per_s)


def _most(holds: Callable[[int], bool], ceiling: int) -> int:
    """The largest number up to `ceiling` for which `holds`, which holds for all smaller ones; 0 if for none."""
    low, high = 0, ceiling
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def _least(holds: Callable[[int], bool], ceiling: int) -> int:
    """The smallest number for which `holds`, which holds for all larger ones up to `ceiling`."""
    return min(_most(lambda number: not holds(number), ceiling) + 1, ceiling)
