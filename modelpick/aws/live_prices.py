"""Live prices beside the embedded ones, asked of AWS now: shown by `offers --live`, reckoned with by `up`.

I/O; knows the clock.
"""

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelpick.aws import prices
from modelpick.aws.client import client
from modelpick.aws.spec import DELAY_HOURS, Candidate, Spec, check
from modelpick.errors import CannotTellError, RemoteError, UsageError
from modelpick.offers import embedded
from modelpick.offers.price import Offer

_SHORTER = 0.9  # a price may rise since the plan by what shortens the hours to this share; beyond it the user is asked


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


def reckon(
    spec: Spec, *, discounts: Mapping[str, float], confirmed: bool = False, make: prices.MakeClient = client
) -> tuple[Spec, tuple[str, ...]]:
    """`spec` at today's prices, with what is to be said about them; the money cap and the wishes' hash stay.

    Raises CannotTellError for a price far from the embedded one that is not `confirmed`, UsageError where the cap no
    longer buys the hours. Where the Price List cannot be asked, the embedded prices hold and that is said.
    """
    offers = [embedded.offer(one.instance_type, spec.region) for one in spec.candidates]
    try:
        found = prices.on_demand(offers, datetime.datetime.now(datetime.UTC).date(), confirmed=confirmed, make=make)
    except RemoteError as error:
        return spec, (f"prices of {embedded.as_of()}: AWS's could not be asked ({error.message})",)
    if held := [one for one in found if one.held]:
        raise CannotTellError(
            "; ".join(
                f"AWS asks ${one.usd_per_hour:.4g} an hour for {one.embedded.instance.name}, far from the "
                f"{_usd(one.embedded.usd_per_hour)} known here"
                for one in held
            ),
            fix="if that is right, the same command with --confirm",
            code="price_not_believed",
        )
    notes = [
        f"{one.embedded.instance.name}: {one.offer.how_to_get}; reckoned at {_usd(one.embedded.usd_per_hour)}"
        for one in found
        if one.usd_per_hour is None
    ]
    today = [
        replace(kept, usd_per_hour=live.offer.discounted(discounts).usd_per_hour or kept.usd_per_hour)
        for kept, live in zip(spec.candidates, found, strict=True)
    ]
    fitting = [one for one in today if _hours(spec, one) >= _SHORTER * spec.hours]
    if not fitting:
        raise _too_dear(spec, today)
    dropped = [one.instance_type for one in today if one not in fitting]
    notes += [f"left out, too dear today: {', '.join(dropped)}"] if dropped else []
    return check(replace(spec, candidates=tuple(fitting), asked_sha256=spec.sha256)), (
        f"prices of AWS's Price List, {found[0].as_of}", *notes,
    )  # fmt: skip


def _hours(spec: Spec, one: Candidate) -> float:
    return min(spec.max_hours, spec.max_usd / (one.usd_per_hour + spec.around_usd_per_hour) - DELAY_HOURS)


def _too_dear(spec: Spec, today: Sequence[Candidate]) -> UsageError:
    best = min(today, key=lambda one: one.usd_per_hour)
    needed = (spec.hours + DELAY_HOURS) * (best.usd_per_hour + spec.around_usd_per_hour)
    return UsageError(
        f"the plan is older than its prices: ${spec.max_usd:.2f} bought {spec.hours:.2f} h, and buys "
        f"{max(_hours(spec, best), 0):.2f} h now that {best.instance_type} is ${best.usd_per_hour:.3f} an hour",
        fix=f"the same command with --max-usd {math.ceil(needed * 100) / 100:.2f}",
        code="prices_changed",
    )


def _usd(price: float | None) -> str:
    return "unknown" if price is None else f"${price:.4g}"
