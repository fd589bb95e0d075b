"""What serving costs: a month of an instance with all that is billed, a million tokens, an API's price. Pure."""

import math
from dataclasses import dataclass

from modelpick.errors import UsageError
from modelpick.offers.price import BillingRates, Offer
from modelpick.ranges import Range
from modelpick.speed.speed import DEFAULT_GENERATED, ServingSpeed
from modelpick.workload import Workload

HOURS_PER_MONTH = 730.0  # 365 x 24 / 12, the month AWS quotes storage and addresses by
# Disk space before the weights: the machine image and the libraries, with room. Assumed, on the large side:
# disks too small for the weights are a common failure, and 10 GB of gp3 cost $0.80 a month.
SYSTEM_DISK_GB = 75.0


@dataclass(frozen=True, slots=True)
class MonthCost:
    """A month of serving in US dollars, by part. `hours` is how long the instance runs."""

    hours: float
    instance_usd: float
    disk_usd: float
    address_usd: float
    transfer_usd: float

    @property
    def total_usd(self) -> float:
        """The sum of the parts."""
        return self.instance_usd + self.disk_usd + self.address_usd + self.transfer_usd

    def as_json(self) -> dict[str, object]:
        """The month in the names of the JSON contract."""
        return {
            "hours": self.hours,
            "instance_usd": self.instance_usd,
            "disk_usd": self.disk_usd,
            "address_usd": self.address_usd,
            "transfer_usd": self.transfer_usd,
            "total_usd_per_month": self.total_usd,
        }


def serving_month(
    offer: Offer, rates: BillingRates, *, duty_cycle: float = 1.0, weights_gb: float = 0.0, egress_gb: float = 0.0
) -> MonthCost | None:
    """A month on `offer`, switched on for the share `duty_cycle` of it; None where the price is not known.

    The disk is billed the whole month (it stays while the instance is stopped), the address while the instance runs.
    Raises UsageError for a duty cycle outside 0..1.
    """
    if not 0 < duty_cycle <= 1:
        raise UsageError(f"duty cycle is {duty_cycle}", fix="give a share above 0, up to 1", code="bad_duty_cycle")
    if offer.usd_per_hour is None:
        return None
    hours = HOURS_PER_MONTH * duty_cycle
    return MonthCost(
        hours=hours,
        instance_usd=hours * offer.usd_per_hour,
        disk_usd=disk_gb(weights_gb) * rates.gp3_usd_per_gb_month,
        address_usd=hours * rates.public_ipv4_usd_per_hour,
        transfer_usd=rates.egress_usd(egress_gb),
    )


def disk_gb(weights_gb: float) -> float:
    """The gp3 volume for a model: the system, and the weights twice (the download and what is made of it)."""
    return SYSTEM_DISK_GB + 2 * weights_gb


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """Dollars per million tokens at `utilisation` of what the instance can do: of the prompts, of the answers, and of
    both together. The hour is charged to prompts and answers by the time each takes."""

    utilisation: float
    prompt: Range
    generated: Range
    blended: Range

    def as_json(self) -> dict[str, object]:
        """The names of `cost --json`."""
        return {
            "utilisation": self.utilisation,
            "prompt": self.prompt.as_json("usd_per_mtok"),
            "generated": self.generated.as_json("usd_per_mtok"),
            "blended": self.blended.as_json("usd_per_mtok"),
        }


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Where renting costs as much as an API: million tokens a month, and the share of the instance's own capacity that
    is. A share above 1: renting never gets there on this instance."""

    against_usd_per_mtok: float
    mtok_per_month: float
    share_of_capacity: Range

    @property
    def reachable(self) -> bool:
        """Whether the likely speed suffices."""
        return self.share_of_capacity.likely <= 1

    def as_json(self) -> dict[str, object]:
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
    """Tokens a month, prompts and answers together, at which `month` costs as much as the API.

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
