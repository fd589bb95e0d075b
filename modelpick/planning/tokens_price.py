"""Dollars per million tokens on a rented GPU, and where renting beats an API's price. Pure."""

import math
from dataclasses import dataclass
from typing import Any

from modelpick.errors import UsageError
from modelpick.offers.price import Offer
from modelpick.planning.cost import HOURS_PER_MONTH, MonthCost
from modelpick.ranges import Range
from modelpick.speed.speed import DEFAULT_GENERATED, ServingSpeed
from modelpick.workload import Workload


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """Dollars per million tokens at `utilisation` of what the instance can do: of the prompts, of the answers, and of
    both together. The hour is charged to prompts and answers by the time each takes."""

    utilisation: float
    prompt: Range
    generated: Range
    blended: Range

    def as_json(self) -> dict[str, Any]:
        """The names of `cost --json`."""
        return {
            "utilisation": self.utilisation,
            "prompt": self.prompt.as_json("usd_per_mtok"),
            "generated": self.generated.as_json("usd_per_mtok"),
            "blended": self.blended.as_json("usd_per_mtok"),
        }


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Where renting costs what an API asks: million tokens a month, and the share of the instance's own capacity that
    is. A share above 1: renting never gets there on this instance."""

    against_usd_per_mtok: float
    mtok_per_month: float
    share_of_capacity: Range

    @property
    def reachable(self) -> bool:
        """Whether the likely speed suffices."""
        return self.share_of_capacity.likely <= 1

    def as_json(self) -> dict[str, Any]:
        """The names of `cost --json`."""
        return {
            "against_usd_per_mtok": self.against_usd_per_mtok,
            "mtok_per_month": self.mtok_per_month,
            "reachable": self.reachable,
            **self.share_of_capacity.as_json("share_of_capacity"),
        }


def token_prices(offer: Offer, speed: ServingSpeed, workload: Workload, utilisation: float = 1.0) -> TokenPrices | None:
    """$ per million tokens = $/h / (3600 s x tokens/s) x 1e6 / utilisation; None where the price is not known.

    Raises UsageError for a utilisation outside 0..1.
    """
    if not 0 < utilisation <= 1:
        raise UsageError(f"utilisation is {utilisation}", fix="give a share above 0, up to 1", code="bad_utilisation")
    if offer.usd_per_hour is None:
        return None
    dollars_per_second = offer.usd_per_hour / 3600 / utilisation
    generated, prompt = float(workload.generate or DEFAULT_GENERATED), float(workload.context)
    rate = speed.generated
    all_in = Range(*(dollars_per_second / tokens * 1e6 for tokens in (rate.high, rate.tokens_per_s, rate.low)))
    return TokenPrices(
        utilisation,
        prompt=all_in.times(speed.prompt_share * generated / prompt),
        generated=all_in.times(1 - speed.prompt_share),
        blended=all_in.times(generated / (generated + prompt)),
    )


def break_even(usd_per_mtok: float, month: MonthCost, speed: ServingSpeed, workload: Workload) -> BreakEven:
    """Tokens a month, prompts and answers together, at which `month` costs what the API would ask.

    Raises UsageError for a price that is not a positive number.
    """
    if not (math.isfinite(usd_per_mtok) and usd_per_mtok > 0):
        raise UsageError(
            f"the price to compare with is {usd_per_mtok}",
            fix="give dollars per million tokens, above 0",
            code="bad_price",
        )
    needed = month.total_usd / usd_per_mtok
    generated, prompt = float(workload.generate or DEFAULT_GENERATED), float(workload.context)
    per_generated = (generated + prompt) / generated * 3600 * month.hours / 1e6
    rate = speed.generated
    share = Range(*(needed / (tokens * per_generated) for tokens in (rate.high, rate.tokens_per_s, rate.low)))
    return BreakEven(usd_per_mtok, needed, share)


def capacity_mtok_per_month(speed: ServingSpeed, workload: Workload) -> float:
    """Million tokens, prompts and answers together, that the instance can do in a month of 730 hours."""
    generated, prompt = float(workload.generate or DEFAULT_GENERATED), float(workload.context)
    return speed.generated.tokens_per_s * (generated + prompt) / generated * 3600 * HOURS_PER_MONTH / 1e6
