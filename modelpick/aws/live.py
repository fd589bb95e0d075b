"""What `offers --live` shows: live prices beside the embedded ones, asked of AWS now. I/O; knows the clock."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelpick.aws import prices
from modelpick.aws.client import client
from modelpick.errors import RemoteError
from modelpick.offers.price import Offer


@dataclass(frozen=True, slots=True)
class Asked:
    """AWS's answer: the offers to reckon with, and what they rest on. `notes`: what could not be asked."""

    offers: tuple[Offer, ...]
    compared: tuple[prices.Live, ...] = ()
    zones: tuple[prices.SpotZone, ...] = ()
    savings: tuple[prices.SavingsPlan, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def held(self) -> tuple[prices.Live, ...]:
        """Prices too far from the embedded ones to be used without a word from the user."""
        return tuple(one for one in self.compared if one.held)

    def as_json(self) -> dict[str, Any]:
        """The `live` object of `offers --json`."""
        return {
            "compared": [one.as_json() for one in self.compared],
            "spot_zones": [zone.as_json() for zone in self.zones],
            "savings_plans": [plan.as_json() for plan in self.savings],
            "notes": list(self.notes),
        }


def ask(offers: Sequence[Offer], *, confirmed: bool = False, make: prices.MakeClient = client) -> Asked:
    """Live prices for `offers` (of one region and market, without discounts). Raises RemoteError (exit 4).

    Savings plans need a permission of their own: without it they are a note, not an error.
    """
    now = datetime.datetime.now(datetime.UTC)
    if not offers:
        return Asked(())
    names, region = [offer.instance.name for offer in offers], offers[0].region
    if offers[0].market == "spot":
        zones = prices.spot_zones(names, region, now, make=make)
        return Asked(tuple(prices.spot_offers(offers, zones)), zones=tuple(zones))
    compared = prices.on_demand(offers, now.date(), confirmed=confirmed, make=make)
    savings: list[prices.SavingsPlan] = []
    notes = []
    try:
        savings = prices.savings_plans(names, region, make=make)
    except RemoteError as error:
        notes.append(f"savings plans: {error.message}")
    return Asked(tuple(one.offer for one in compared), tuple(compared), savings=tuple(savings), notes=tuple(notes))
