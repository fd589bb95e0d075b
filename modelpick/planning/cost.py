"""What it costs: an instance and what is billed around it, for a job or for a month. Pure."""

from dataclasses import dataclass
from typing import Any

from modelpick.errors import UsageError
from modelpick.offers.price import BillingRates, Offer

HOURS_PER_MONTH = 730.0  # 365 x 24 / 12, the month AWS quotes storage and addresses by
# What a machine holds before weights come: the machine image and the libraries, with room. Assumed, on the large side:
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

    def as_json(self) -> dict[str, Any]:
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
