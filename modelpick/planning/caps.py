"""How long a plan may run and what it may cost: the limit of each placement, and which are done by then. Pure."""

import math
from dataclasses import dataclass, replace

from modelpick.offers.price import BillingRates, Offer
from modelpick.planning import job
from modelpick.planning.cost import HOURS_PER_MONTH, disk_gb
from modelpick.planning.placement import Placement, Placements, served_speed
from modelpick.planning.rejection import Rejection
from modelpick.planning.request import MOST_HOURS, Caps, PlanRequest, SearchFacts
from modelpick.ranges import Range, exactly
from modelpick.speed.speed import ServingSpeed

CANDIDATES = 5
DEFAULT_SERVING_HOURS = 8.0  # a working day, where no cap is given: serving has no end of its own


@dataclass(frozen=True, slots=True)
class PlannedPlacement:
    """A placement with the hours and dollars of everything asked for, and the limit at which it is stopped.

    `hours` last until everything asked for is done, a server until the limit. `usd_per_hour` includes disk and address.
    """

    placement: Placement
    serving: ServingSpeed | None
    hours: Range
    usd_per_hour: float
    usd: Range
    limit_hours: float
    limit_usd: float

    @property
    def offer(self) -> Offer:
        """Where it is."""
        return self.placement.offer


def within_caps(
    found: Placements, request: PlanRequest, caps: Caps, facts: SearchFacts
) -> tuple[PlannedPlacement, ...] | Rejection:
    """The placements that are done before the caps stop them, in the order of `found.rows`, at most CANDIDATES.

    The ones after the first are for want of capacity, with the first one's set-up and within its limit: a slower one
    would be stopped before it is done.
    """
    planned = [_planned(row, request, caps, facts) for row in found.rows]
    able = [row for row in planned if row.hours.likely <= row.limit_hours * (1 + 1e-9)]
    if not able:
        return _cap_too_small(caps, planned[0])
    limit = able[0].limit_hours
    alike = [row for row in able if row.placement.setup is able[0].placement.setup]
    done = [row for row in alike if row.placement.time is None or row.placement.time.total.likely <= limit]
    return tuple(done[:CANDIDATES])


def hourly_usd(offer: Offer, rates: BillingRates, weights_gb: float) -> float:
    """Dollars an hour with the disk and the public address."""
    volume = disk_gb(weights_gb) * rates.gp3_usd_per_gb_month / HOURS_PER_MONTH
    return (offer.usd_per_hour or 0.0) + volume + rates.public_ipv4_usd_per_hour


def _planned(placement: Placement, request: PlanRequest, caps: Caps, facts: SearchFacts) -> PlannedPlacement:
    offer, setup, time, cost = placement.offer, placement.setup, placement.time, placement.job
    starting = job.BOOT_MINUTES.times(1 / 60) + job.INSTALL_MINUTES.times(1 / 60)
    needed = time.total if time is not None else starting + job.transfer_hours(offer.instance, setup.weights_gb)
    per_hour = hourly_usd(offer, facts.rates, setup.weights_gb)
    once = cost.storage + cost.transfer if cost is not None else exactly(0.0)
    highest = max(offer.usd_per_hour or 0.0, caps.on_demand.get(offer.instance.name, 0.0))
    dearest = hourly_usd(replace(offer, usd_per_hour=highest), facts.rates, setup.weights_gb)
    limit_hours, limit_usd = _limits(request, caps, needed, dearest, once)
    serving, hours = None, needed
    if placement.serving is not None:
        serving = served_speed(placement, facts)
        if limit_hours > needed.likely:
            hours = Range(limit_hours, limit_hours, max(needed.high, limit_hours))
    usd = cost.total if cost is not None and serving is None else hours.times(per_hour) + once
    return PlannedPlacement(placement, serving, hours, per_hour, usd, limit_hours, limit_usd)


def _limits(request: PlanRequest, caps: Caps, needed: Range, per_hour: float, once: Range) -> tuple[float, float]:
    """Hours and dollars after which it is stopped: the money cap is the time limit, whichever comes first."""
    if caps.max_hours is None and caps.max_usd is None:
        job_hours = float(math.ceil(needed.high)) if request.finetune is not None else 0.0
        hours = job_hours + (DEFAULT_SERVING_HOURS if request.serve is not None else 0.0)
    else:
        by_money = math.inf if caps.max_usd is None else (caps.max_usd - once.high) / per_hour
        hours = min(MOST_HOURS if caps.max_hours is None else caps.max_hours, by_money)
    return hours, caps.max_usd if caps.max_usd is not None else _up(hours * per_hour + once.high)


def _cap_too_small(caps: Caps, cheapest: PlannedPlacement) -> Rejection:
    hours, usd = _up(cheapest.hours.high), _up(cheapest.usd.high)
    options = []
    if caps.max_hours is not None:
        options.append(f"--max-hours {hours:g}")
    if caps.max_usd is not None:
        options.append(f"--max-usd {usd:g}")
    return Rejection(
        "cap",
        "cap_too_small",
        f"the caps stop it after {max(0.0, cheapest.limit_hours):.2f} h on {cheapest.offer.instance.name}, where it "
        f"likely takes {cheapest.hours.likely:.2f} h and ${cheapest.usd.likely:.2f}",
        f"{' '.join(options)} covers it, including the uncertainty",
        cheapest.offer,
    )


def _up(value: float) -> float:
    """Rounded up to two digits after the point."""
    return math.ceil(value * 100) / 100
