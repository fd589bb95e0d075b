"""Prices: one instance type, one region, one market, with source and date. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from modelpick.offers.instance import InstanceType

Market = Literal["on-demand", "spot"]
Own = Literal["own"]  # of a card that is not rented (offers.own): it has no price
MARKETS: tuple[Market, ...] = ("on-demand", "spot")

Availability = Literal["offered", "not_offered", "unknown"]
"""Whether AWS rents a type in a region: a price list names it there, a list that would name it does not, or neither."""

# A provisioner that forgot one Price List filter showed ten times the price for seven months (2023-02..2023-09, see
# price_history.json), while no real change since 2022 went below 0.56x (p5.48xlarge, 2025-06): beyond 0.5x-1.5x of
# the embedded price a figure is taken for an error until the user confirms it.
BELIEVABLE = (0.5, 1.5)


@dataclass(frozen=True, slots=True)
class Offer:
    """An instance type at a price. `usd_per_hour` None: not known (never zero), and `how_to_get` says how to ask.

    `source` and `as_of` are the price's, or those of the list that does not name the type in this region. A spot price
    is what was observed on that day. `derived` is false: every price is read from a list (the field is of the JSON
    contract). `discount` is the negotiated part already taken off, 0 to 1.
    """

    instance: InstanceType
    region: str
    market: Market | Own
    usd_per_hour: float | None
    source: str | None
    as_of: str | None  # ISO date; the earliest possible one where the source is undated
    derived: bool = False
    how_to_get: str | None = None
    discount: float = 0.0
    availability: Availability = "unknown"
    assumed: tuple[str, ...] = ()  # what is taken for granted of a card of one's own

    @property
    def usd_per_gib_hour(self) -> float | None:
        """Dollars an hour for each GiB of usable GPU memory of the whole instance."""
        return self._per(self.instance.usable_memory_gib * self.instance.gpu_count)

    @property
    def usd_per_tflop_hour(self) -> float | None:
        """Dollars an hour for each reachable fp16 matmul TFLOPS of the whole instance."""
        return self._per(self.instance.matmul_tflops("fp16") * self.instance.gpu_count)

    def discounted(self, discounts: Mapping[str, float]) -> "Offer":
        """The offer with the negotiated discount of its family (0.12 means 12 % off) taken off.

        Spot prices stay as they are: they are not negotiated.
        """
        share = discounts.get(self.instance.family, 0.0)
        if not share or self.usd_per_hour is None or self.market == "spot":
            return self
        return replace(self, usd_per_hour=self.usd_per_hour * (1 - share), discount=share)

    def as_json(self) -> dict[str, Any]:
        """The `offer` object of the JSON contract, with what is known of the price."""
        return {
            "instance_type": self.instance.name,
            "gpu": self.instance.gpu.name,
            "gpu_count": self.instance.gpu_count,
            "usd_per_hour": self.usd_per_hour,
            "market": self.market,
            "region": self.region or None,
            "source": self.source,
            "as_of": self.as_of,
            "derived": self.derived,
            "how_to_get": self.how_to_get,
            "availability": self.availability,
        }

    def _per(self, amount: float) -> float | None:
        return None if self.usd_per_hour is None else self.usd_per_hour / amount


def believable(live: float, embedded: float | None) -> bool:
    """Whether a live price may be used without confirmation: within 0.5x-1.5x of the embedded one.

    Without an embedded price to compare with, it is not believable until confirmed.
    """
    if embedded is None:
        return False
    low, high = BELIEVABLE
    return low * embedded <= live <= high * embedded


@dataclass(frozen=True, slots=True)
class EgressTier:
    """Traffic to the internet up to `gb` a month (None: beyond) at `usd_per_gb`."""

    gb: float | None
    usd_per_gb: float


@dataclass(frozen=True, slots=True)
class BillingRates:
    """What AWS bills around an instance, US dollars, with the sources of the figures."""

    gp3_usd_per_gb_month: float
    s3_usd_per_gb_month: float
    public_ipv4_usd_per_hour: float
    egress_free_gb_per_month: float
    egress_tiers: tuple[EgressTier, ...]
    minimum_seconds: float
    as_of: str
    region: str
    sources: tuple[str, ...]

    def egress_usd(self, gb: float) -> float:
        """Dollars for `gb` sent to the internet within one month, the free part first, then tier by tier."""
        left, paid, below = max(0.0, gb - self.egress_free_gb_per_month), 0.0, 0.0
        for tier in self.egress_tiers:
            room = left if tier.gb is None else min(left, tier.gb - below)
            paid, left = paid + room * tier.usd_per_gb, left - room
            below = tier.gb or below
        return paid
