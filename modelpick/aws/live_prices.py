"""AWS's prices of today and the embedded ones: shown by `offers --live`, and what `up` computes its limit from.

I/O; knows the clock.
"""

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from modelpick.aws import prices, record
from modelpick.aws.account import Account, client
from modelpick.aws.names import ResourceNames
from modelpick.aws.spec import DELAY_HOURS, InstanceCandidate, Spec, check
from modelpick.errors import CannotTellError, RemoteError, UsageError
from modelpick.offers import embedded
from modelpick.offers.price import Offer
from modelpick.schema import to_json

_SHORTER = 0.9  # higher prices may shorten the planned hours to this share; beyond it the user is asked


@dataclass(frozen=True, slots=True)
class LiveOffers:
    """AWS's answer: the offers at today's prices, and what they rest on. `notes`: what is not known."""

    offers: tuple[Offer, ...]
    compared: tuple[prices.LivePrice, ...] = ()
    zones: tuple[prices.SpotZone, ...] = ()
    savings: tuple[prices.SavingsPlan, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def held(self) -> tuple[prices.LivePrice, ...]:
        """Prices too far from the embedded ones to be used before the user accepts them."""
        return tuple(live for live in self.compared if live.held)

    def as_json(self) -> dict[str, object]:
        """The `live` object of `offers --json`."""
        return {
            "compared": [live.as_json() for live in self.compared],
            "spot_zones": [zone.as_json() for zone in self.zones],
            "savings_plans": [to_json(plan) for plan in self.savings],
            "notes": list(self.notes),
        }


def live_offers(
    offers: Sequence[Offer], *, accept_price_change: bool = False, make: prices.MakeClient = client
) -> LiveOffers:
    """Live prices for `offers` (of one region and market, without discounts). Raises RemoteError (exit 4).

    Savings plans need a permission of their own: without it they are a note, not an error.
    """
    now = datetime.datetime.now(datetime.UTC)
    if not offers:
        return LiveOffers(())
    names, region = [offer.instance.name for offer in offers], offers[0].region
    if offers[0].market == "spot":
        zones = prices.spot_zones(names, region, now, make=make)
        return LiveOffers(tuple(prices.spot_offers(offers, zones)), zones=tuple(zones))
    compared = prices.on_demand(offers, now.date(), accept_price_change=accept_price_change, make=make)
    savings: list[prices.SavingsPlan] = []
    notes = []
    try:
        savings = prices.savings_plans(names, region, make=make)
    except RemoteError as error:
        notes.append(f"savings plans: {error.message}")
    return LiveOffers(
        tuple(live.offer for live in compared), tuple(compared), savings=tuple(savings), notes=tuple(notes)
    )


def at_todays_prices(
    account: Account, spec: Spec, *, discounts: Mapping[str, float], offline: bool, accept_price_change: bool = False
) -> tuple[Spec, tuple[str, ...]]:
    """`spec` at live prices, with notes for the user. A deployment that was begun keeps its recorded types and prices.

    `offline`: AWS is not asked for prices, the embedded ones apply. Raises as `reprice` does.
    """
    begun = record.read(account, ResourceNames(spec.deployment, account.identity()["Account"], spec.region))
    if begun is not None:
        since = f"{begun.created_at:%Y-%m-%d %H:%M} UTC"
        return begun.priced(spec), (f"begun at {since}: its prices and its limit apply",)
    if offline:
        return spec, (f"prices of {embedded.as_of()}: --offline does not ask AWS for today's",)
    return reprice(spec, discounts=discounts, accept_price_change=accept_price_change, make=account.client_in)


def reprice(
    spec: Spec, *, discounts: Mapping[str, float], accept_price_change: bool = False, make: prices.MakeClient = client
) -> tuple[Spec, tuple[str, ...]]:
    """`spec` at today's prices, with notes for the user. The money cap and the hash of the request stay.

    Raises CannotTellError for a price far from the embedded one unless `accept_price_change`, UsageError where the cap
    no longer buys the hours. Where the Price List cannot be asked, the embedded prices apply and a note says so.
    """
    offers = [embedded.offer(candidate.instance_type, spec.region) for candidate in spec.candidates]
    today = datetime.datetime.now(datetime.UTC).date()
    try:
        compared = prices.on_demand(offers, today, accept_price_change=accept_price_change, make=make)
    except RemoteError as error:
        return spec, (f"prices of {embedded.as_of()}: AWS's prices of today could not be read ({error.message})",)
    _refuse_unbelievable([live for live in compared if live.held])
    notes = [
        f"{live.embedded.instance.name}: {live.offer.how_to_get}; computed with {_usd(live.embedded.usd_per_hour)}"
        for live in compared
        if live.usd_per_hour is None
    ]
    repriced = [
        replace(planned, usd_per_hour=live.offer.discounted(discounts).usd_per_hour or planned.usd_per_hour)
        for planned, live in zip(spec.candidates, compared, strict=True)
    ]
    affordable = [candidate for candidate in repriced if _hours(spec, candidate) >= _SHORTER * spec.hours]
    if not affordable:
        raise _too_expensive(spec, repriced)
    dropped = [candidate.instance_type for candidate in repriced if candidate not in affordable]
    notes += [f"left out as too expensive today: {', '.join(dropped)}"] if dropped else []
    return check(replace(spec, candidates=tuple(affordable), asked_sha256=spec.sha256)), (
        f"prices of AWS's Price List, {compared[0].as_of}", *notes,
    )  # fmt: skip


def _refuse_unbelievable(held: Sequence[prices.LivePrice]) -> None:
    if held:
        raise CannotTellError(
            "; ".join(
                f"AWS asks ${live.usd_per_hour:.4g} an hour for {live.embedded.instance.name}, far from the "
                f"embedded price of {_usd(live.embedded.usd_per_hour)}"
                for live in held
            ),
            fix="if that is right, re-run the command with --confirm",
            code="price_not_believed",
        )


def _hours(spec: Spec, candidate: InstanceCandidate) -> float:
    """How long the cap pays for a candidate, the delay of the forced delete taken off."""
    return min(spec.max_hours, spec.max_usd / (candidate.usd_per_hour + spec.around_usd_per_hour) - DELAY_HOURS)


def _too_expensive(spec: Spec, repriced: Sequence[InstanceCandidate]) -> UsageError:
    cheapest = min(repriced, key=lambda candidate: candidate.usd_per_hour)
    needed = (spec.hours + DELAY_HOURS) * (cheapest.usd_per_hour + spec.around_usd_per_hour)
    return UsageError(
        f"prices have risen since the plan: ${spec.max_usd:.2f} bought {spec.hours:.2f} h, and buys "
        f"{max(_hours(spec, cheapest), 0):.2f} h now that {cheapest.instance_type} is "
        f"${cheapest.usd_per_hour:.3f} an hour",
        fix=f"re-run the command with --max-usd {math.ceil(needed * 100) / 100:.2f}",
        code="prices_changed",
    )


def _usd(price: float | None) -> str:
    return "unknown" if price is None else f"${price:.4g}"
