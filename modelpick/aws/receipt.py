"""What a deployment ran and cost, by Auto Scaling's own memory and the prices in its record; what is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelpick.aws import inventory
from modelpick.aws.account import Account
from modelpick.aws.history import Life
from modelpick.aws.names import Names
from modelpick.aws.record import Record


@dataclass(frozen=True, slots=True)
class Kept:
    """Results left in the deployment's bucket. `expires_at` None: no expiry could be read."""

    where: str
    objects: int
    size_bytes: int
    expires_at: datetime | None

    def usd_per_month(self, usd_per_gb_month: float) -> float:
        """What keeping it costs; GB as S3 bills them (2^30 bytes)."""
        return self.size_bytes / 2**30 * usd_per_gb_month


@dataclass(frozen=True, slots=True)
class Receipt:
    """The end of a deployment. Dollars are estimates from hours and prices; None where a price is not known."""

    deployment: str
    region: str
    lives: Sequence[Life]
    hours: float
    items_usd: Mapping[str, float | None]
    kept: Kept | None
    usd_per_gb_month: float

    @property
    def total_usd(self) -> float | None:
        """The sum, or None when an item is unknown."""
        values = list(self.items_usd.values())
        return None if any(value is None for value in values) else sum(value or 0.0 for value in values)

    def as_json(self) -> dict[str, Any]:
        """The receipt in the names of `down --json`."""
        kept = self.kept and {
            "where": self.kept.where,
            "objects": self.kept.objects,
            "size_bytes": self.kept.size_bytes,
            "expires_at": f"{self.kept.expires_at:%Y-%m-%dT%H:%M:%SZ}" if self.kept.expires_at else None,
            "usd_per_month": round(self.kept.usd_per_month(self.usd_per_gb_month), 4),
        }
        return {
            "deployment": self.deployment,
            "region": self.region,
            "machines": len(self.lives),
            "hours": round(self.hours, 4),
            "items_usd": {name: None if value is None else round(value, 4) for name, value in self.items_usd.items()},
            "total_usd": None if self.total_usd is None else round(self.total_usd, 4),
            "kept": kept,
        }


def receipt(
    account: Account, names: Names, noted: Record | None, past: Sequence[Life], ended: datetime, kept: Kept | None
) -> Receipt:
    """The receipt of a deployment whose machines' lives are `past`."""
    from modelpick.offers import embedded

    types = {item["InstanceId"]: item["InstanceType"] for item in inventory.instances(account, names.deployment)}
    prices = noted.usd_per_hour if noted else {}
    machine: float | None = 0.0
    for life in past:
        # A machine EC2 has forgotten is charged as the dearest type it could have been.
        dearest = max(prices.values(), default=None)
        price = prices.get(types.get(life.instance_id, ""), dearest)
        machine = None if machine is None or price is None else machine + price * life.hours(ended)
    hours = sum(life.hours(ended) for life in past)
    rates = embedded.billing_rates()
    address = rates.public_ipv4_usd_per_hour * hours
    disk = max(noted.around_usd_per_hour * hours - address, 0.0) if noted else (None if past else 0.0)
    items = {"machine": machine, "disk": disk, "address": address}
    return Receipt(names.deployment, names.region, tuple(past), hours, items, kept, rates.s3_usd_per_gb_month)
