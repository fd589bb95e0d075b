"""What a fine-tuning job takes and costs: every hour that is billed, with low, likely and high. Pure."""

from dataclasses import dataclass, fields
from typing import ClassVar

from modelpick.offers.instance import InstanceType
from modelpick.offers.price import BillingRates, Offer
from modelpick.planning.cost import HOURS_PER_MONTH, disk_gb
from modelpick.ranges import Range, exactly, total
from modelpick.speed.speed import Speed

# From the call until the guest runs our code, minutes. Not measured on a real account: a wide assumption.
BOOT_MINUTES = Range(2, 4, 10)
# Installing the training set-up: 1.6 GB of wheels took under 3 minutes on two cores (docs/data.md, "training set-up").
INSTALL_MINUTES = Range(2, 4, 8)
# Evaluation on top of the training time: validation took 18-67 % of it in the LLM Studio runs of h2oai; the generating
# evaluation of PEFT's MetaMathQA runs 30-130 %. None at best.
EVALUATION_SHARE = Range(0.0, 0.18, 0.67)
# A gp3 volume writes 125 MB/s unless more is bought (AWS: baseline of gp3); local NVMe is not the limit.
GP3_GB_PER_SECOND = 0.125
# Downloads reach a part of the instance's baseline network.
NETWORK_SHARE = Range(0.3, 0.7, 1.0)
# Interruptions per hour of a spot instance. AWS's Spot Instance Advisor sorts types into bands of less than 5 % to more
# than 20 % a month; likely is 20 % a month, high one a day, as GPU types see in busy zones.
SPOT_INTERRUPTIONS_PER_HOUR = Range(0.0, 0.2 / HOURS_PER_MONTH, 1 / 24)


@dataclass(frozen=True, slots=True)
class RangeParts:
    """A sum of ranges: every field is a part of it, in `unit`."""

    unit: ClassVar[str]

    @property
    def parts(self) -> dict[str, Range]:
        """Each part by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def total(self) -> Range:
        """All parts; low ends and high ends add up."""
        return total(self.parts.values())

    def as_json(self) -> dict[str, object]:
        """The total, and `parts` by name."""
        parts = {name: part.as_json(self.unit) for name, part in self.parts.items()}
        return {**self.total.as_json(self.unit), "parts": parts}


@dataclass(frozen=True, slots=True)
class JobTime(RangeParts):
    """The hours an instance is billed for, part by part."""

    boot: Range
    install: Range
    download: Range
    training: Range
    evaluation: Range
    save: Range
    interruptions: Range

    unit: ClassVar[str] = "hours"


@dataclass(frozen=True, slots=True)
class JobCost(RangeParts):
    """What a job is billed, in US dollars."""

    instance: Range
    disk: Range
    address: Range
    storage: Range  # S3, one month
    transfer: Range

    unit: ClassVar[str] = "usd"


def job_time(
    kind: InstanceType,
    speed: Speed,
    tokens: Range,
    *,
    weights_gb: float,
    result_gb: float,
    spot: bool = False,
    checkpoint_minutes: float = 15.0,
) -> JobTime:
    """The billed hours to train on `tokens` (all epochs together) and bring the result home.

    On spot, every interruption costs half a checkpoint interval and another start.
    """
    rate = Range(1 / speed.high, 1 / speed.tokens_per_s, 1 / speed.low)
    training = tokens.spread(rate).times(1 / 3600)
    evaluation = Range(
        training.low * EVALUATION_SHARE.low,
        training.likely * EVALUATION_SHARE.likely,
        training.high * EVALUATION_SHARE.high,
    )
    boot, install = BOOT_MINUTES.times(1 / 60), INSTALL_MINUTES.times(1 / 60)
    download, save = transfer_hours(kind, weights_gb), transfer_hours(kind, result_gb)
    interruptions = exactly(0.0)
    if spot:
        restart = boot + install + download
        lost = Range(restart.low, restart.likely + checkpoint_minutes / 120, restart.high + checkpoint_minutes / 60)
        often = SPOT_INTERRUPTIONS_PER_HOUR
        interruptions = Range(
            training.low * often.low * lost.low,
            training.likely * often.likely * lost.likely,
            training.high * often.high * lost.high,
        )
    return JobTime(boot, install, download, training, evaluation, save, interruptions)


def transfer_hours(kind: InstanceType, gb: float) -> Range:
    """Hours to bring `gb` from the internet or S3 to the disk: the slower of the network and, without NVMe, gp3."""
    network = kind.network_gbps / 8
    slowest, likely, fastest = (
        min(network * share, GP3_GB_PER_SECOND if kind.nvme_gb < gb else network)
        for share in (NETWORK_SHARE.low, NETWORK_SHARE.likely, NETWORK_SHARE.high)
    )
    return Range(gb / fastest / 3600, gb / likely / 3600, gb / slowest / 3600)


def job_cost(
    offer: Offer, time: JobTime, rates: BillingRates, *, weights_gb: float, result_gb: float
) -> JobCost | None:
    """Dollars for the hours of `time` on `offer`, a minute at least; None where the price is not known."""
    if offer.usd_per_hour is None:
        return None
    least = rates.minimum_seconds / 3600
    hours = Range(*(max(least, end) for end in (time.total.low, time.total.likely, time.total.high)))
    volume = disk_gb(weights_gb) * rates.gp3_usd_per_gb_month / HOURS_PER_MONTH
    return JobCost(
        instance=hours.times(offer.usd_per_hour),
        disk=hours.times(volume),
        address=hours.times(rates.public_ipv4_usd_per_hour),
        storage=exactly(result_gb * rates.s3_usd_per_gb_month),
        transfer=Range(0.0, rates.egress_usd(result_gb), result_gb * rates.egress_tiers[0].usd_per_gb),
    )
