"""Live prices: the Price List, spot history and savings plans, read through boto3. I/O; spends nothing.

A live price is compared with the embedded one: beyond 0.5x-1.5x it is not used until the user accepts it, because a
forgotten filter gives a price that is ten times wrong and looks like any other.
"""

import datetime
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from statistics import quantiles
from typing import Any

from modelpick.aws.account import client
from modelpick.aws.errors import aws_errors
from modelpick.errors import RemoteError
from modelpick.offers import embedded
from modelpick.offers.price import Offer, believable

ENDPOINTS = ("us-east-1", "eu-central-1", "ap-south-1")  # where the Price List API answers
_NEAREST = {"eu": "eu-central-1", "il": "eu-central-1", "af": "eu-central-1", "ap": "ap-south-1", "me": "ap-south-1"}
# Without every one of these a type has several prices: dedicated hosts, Windows, SQL Server, unused reservations.
FILTERS: Mapping[str, str] = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "capacitystatus": "Used",
    "preInstalledSw": "NA",
    "marketoption": "OnDemand",
}
SPOT_DAYS = 7
_AT_ONCE = 8  # requests at a time: the Price List allows about ten a second

MakeClient = Callable[[str, str], Any]


@dataclass(frozen=True, slots=True)
class LivePrice:
    """A live price and the embedded one. `held`: so far from it that the user must accept it first."""

    embedded: Offer
    usd_per_hour: float | None  # None: AWS lists no such price (the type is not sold there on demand)
    as_of: str
    held: bool

    @property
    def offer(self) -> Offer:
        """The offer to compute with: the live price, or the embedded one while the live one is not accepted."""
        if self.held:
            return self.embedded
        how = None if self.usd_per_hour is not None else "AWS lists no on-demand price for it in this region"
        return replace(
            self.embedded,
            usd_per_hour=self.usd_per_hour,
            source="AWS Price List API",
            as_of=self.as_of,
            derived=False,
            how_to_get=how,
            availability="not_offered" if self.usd_per_hour is None else "offered",
        )

    def as_json(self) -> dict[str, object]:
        """The names of `offers --live --json`."""
        old = self.embedded.usd_per_hour
        ratio = self.usd_per_hour / old if self.usd_per_hour is not None and old else None
        return {
            "instance_type": self.embedded.instance.name,
            "embedded_usd_per_hour": old,
            "live_usd_per_hour": self.usd_per_hour,
            "ratio": ratio,
            "held": self.held,
            "as_of": self.as_of,
        }


@dataclass(frozen=True, slots=True)
class SpotZone:
    """The spot price of one type in one zone over the last days, by how long each price held; dollars an hour."""

    instance_type: str
    zone: str
    now: float
    median: float
    low: float  # 10th percentile of the time
    high: float  # 90th
    changes: int
    as_of: str

    def as_json(self) -> dict[str, object]:
        """The names of `offers --live --market spot --json`."""
        return {
            "instance_type": self.instance_type,
            "zone": self.zone,
            "usd_per_hour": self.now,
            "median_usd_per_hour": self.median,
            "low_usd_per_hour": self.low,
            "high_usd_per_hour": self.high,
            "changes": self.changes,
            "as_of": self.as_of,
        }


@dataclass(frozen=True, slots=True)
class SavingsPlan:
    """What a type costs an hour under a commitment."""

    instance_type: str
    region: str
    plan: str  # Compute or EC2Instance
    years: float
    payment: str
    usd_per_hour: float


def on_demand(
    offers: Sequence[Offer], today: datetime.date, *, accept_price_change: bool = False, make: MakeClient = client
) -> list[LivePrice]:
    """The live on-demand price of each of `offers` (list prices, before discounts), in their order.

    `accept_price_change`: the user has accepted prices far from the embedded ones. Raises RemoteError
    (exit 4) where AWS cannot be asked, or gives several prices where one was asked for.
    """
    if not offers:
        return []
    region = offers[0].region
    names = [offer.instance.name for offer in offers]
    found = _asked(names, region, make)
    return [
        LivePrice(
            offer,
            price,
            today.isoformat(),
            held=price is not None and not accept_price_change and not believable(price, _reference(offer)),
        )
        for offer, price in zip(offers, found, strict=True)
    ]


def _reference(offer: Offer) -> float | None:
    """What a live price is compared with: the region's embedded one, or else the one of us-east-1."""
    return offer.usd_per_hour or embedded.offer(offer.instance.name).usd_per_hour


def _asked(names: Sequence[str], region: str, make: MakeClient) -> list[float | None]:
    """Each type's price from the nearest endpoint that answers."""
    nearest = _NEAREST.get(region.partition("-")[0], ENDPOINTS[0])
    tried: RemoteError | None = None
    for endpoint in dict.fromkeys((nearest, *ENDPOINTS)):
        pricing = make("pricing", endpoint)
        try:
            first = price_of(pricing, names[0], region)
        except RemoteError as error:
            if error.code != "aws_unreachable":
                raise
            tried = error
            continue
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            rest = pool.map(partial(_price_in, pricing, region), names[1:])
            return [first, *rest]
    raise tried or RemoteError("no Price List endpoint answers", fix="leave out --live", code="aws_unreachable")


def _price_in(pricing: Any, region: str, name: str) -> float | None:
    return price_of(pricing, name, region)


def price_of(pricing: Any, name: str, region: str) -> float | None:
    """The hourly Linux on-demand price of one type through a `pricing` client; None where AWS lists none."""
    wanted = {"instanceType": name, "regionCode": region, **FILTERS}
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    prices: set[float] = set()
    with aws_errors("the Price List"):
        for page in pricing.get_paginator("get_products").paginate(
            ServiceCode="AmazonEC2", Filters=filters, FormatVersion="aws_v1"
        ):
            for item in page["PriceList"]:
                prices.update(_hourly(item, wanted))
    if len(prices) > 1:
        listed = ", ".join(f"${price:g}" for price in sorted(prices))
        raise RemoteError(
            f"the Price List has several prices for {name} in {region}: {listed}",
            fix="leave out --live to use the embedded price",
            code="ambiguous_price",
        )
    return next(iter(prices), None)


def _hourly(item: str | Mapping[str, Any], wanted: Mapping[str, str]) -> Iterator[float]:
    """The hourly dollars of one product (a JSON string), if it is the one asked for: filters are not trusted."""
    product = json.loads(item) if isinstance(item, str) else item
    attributes = product.get("product", {}).get("attributes", {})
    if any(attributes.get(field, value) != value for field, value in wanted.items()):
        return
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term.get("priceDimensions", {}).values():
            usd = float(dimension.get("pricePerUnit", {}).get("USD", 0))
            if dimension.get("unit") == "Hrs" and usd > 0:
                yield usd


def spot_zones(
    names: Iterable[str], region: str, now: datetime.datetime, *, days: int = SPOT_DAYS, make: MakeClient = client
) -> list[SpotZone]:
    """Spot prices by zone over the last `days` before `now` (aware, UTC), cheapest median first.

    A type that no zone sells as spot is absent. Raises RemoteError where AWS cannot be asked.
    """
    start = now - datetime.timedelta(days=days)
    changes: dict[tuple[str, str], list[tuple[datetime.datetime, float]]] = {}
    ec2 = make("ec2", region)
    with aws_errors("the spot price history"):
        pages = ec2.get_paginator("describe_spot_price_history").paginate(
            InstanceTypes=list(names), ProductDescriptions=["Linux/UNIX"], StartTime=start, EndTime=now
        )
        for page in pages:
            for row in page["SpotPriceHistory"]:
                usd = float(row["SpotPrice"])
                if usd > 0 and row.get("ProductDescription", "Linux/UNIX") == "Linux/UNIX":
                    key = (row["InstanceType"], row["AvailabilityZone"])
                    changes.setdefault(key, []).append((row["Timestamp"], usd))
    zones = [_zone(name, zone, sorted(rows), start, now) for (name, zone), rows in changes.items()]
    return sorted(zones, key=lambda zone: (zone.instance_type, zone.median, zone.zone))


def _zone(
    name: str, zone: str, rows: list[tuple[datetime.datetime, float]], start: datetime.datetime, now: datetime.datetime
) -> SpotZone:
    """One price for each of 200 equal moments since `start`: a price applies until the next change."""
    moments = [start + (now - start) * share / 199 for share in range(200)]
    held, current = [], 0
    for moment in moments:
        while current + 1 < len(rows) and rows[current + 1][0] <= moment:
            current += 1
        if rows[current][0] <= moment or current == 0:
            held.append(rows[current][1])
    cuts = quantiles(held, n=10, method="inclusive")
    return SpotZone(name, zone, rows[-1][1], cuts[4], cuts[0], cuts[8], len(rows), rows[-1][0].date().isoformat())


def spot_offers(offers: Sequence[Offer], zones: Sequence[SpotZone]) -> list[Offer]:
    """Each of `offers` (of the spot market) with the median of its cheapest zone; unchanged where no zone sells it."""
    cheapest: dict[str, SpotZone] = {}
    for zone in zones:
        cheapest.setdefault(zone.instance_type, zone)
    answer = []
    for offer in offers:
        best = cheapest.get(offer.instance.name)
        if best is not None:
            source = f"spot price history, {best.zone}, median"
            offer = replace(
                offer,
                usd_per_hour=best.median,
                as_of=best.as_of,
                how_to_get=None,
                source=source,
                availability="offered",
            )
        answer.append(offer)
    return answer


def savings_plans(names: Iterable[str], region: str, *, make: MakeClient = client) -> list[SavingsPlan]:
    """What AWS offers under commitments of one and three years, cheapest first. Raises RemoteError."""
    api = make("savingsplans", ENDPOINTS[0])  # a global service
    query: dict[str, Any] = {
        "savingsPlanTypes": ["Compute", "EC2Instance"],
        "products": ["EC2"],
        "serviceCodes": ["AmazonEC2"],
        "filters": [
            {"name": "region", "values": [region]},
            {"name": "instanceType", "values": list(names)},
            {"name": "productDescription", "values": ["Linux/UNIX"]},
            {"name": "tenancy", "values": ["shared"]},
        ],
    }
    found: list[SavingsPlan] = []
    with aws_errors("savings plans"):
        while True:
            page = api.describe_savings_plans_offering_rates(**query)
            found += [plan for row in page["searchResults"] if (plan := _savings_plan(row, region)) is not None]
            if not page.get("nextToken"):
                break
            query["nextToken"] = page["nextToken"]
    return sorted(found, key=lambda plan: (plan.instance_type, plan.usd_per_hour, plan.plan, plan.payment))


def _savings_plan(row: Mapping[str, Any], region: str) -> SavingsPlan | None:
    terms = row["savingsPlanOffering"]
    properties = {one["name"]: one["value"] for one in row.get("properties", [])}
    usd, name = float(row["rate"]), properties.get("instanceType")
    if row.get("unit") != "Hrs" or terms.get("currency", "USD") != "USD" or usd <= 0 or name is None:
        return None
    years = terms["durationSeconds"] / (365 * 86_400)
    return SavingsPlan(name, region, terms["planType"], round(years, 2), terms["paymentOption"], usd)


def gp3_usd_per_gb_month(region: str, *, make: MakeClient = client) -> float | None:
    """The live price of a gp3 gigabyte-month in `region`; None where AWS lists none. Raises RemoteError."""
    wanted = {"regionCode": region, "volumeApiName": "gp3", "productFamily": "Storage"}
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    pricing = make("pricing", _NEAREST.get(region.partition("-")[0], ENDPOINTS[0]))
    with aws_errors("the Price List"):
        for page in pricing.get_paginator("get_products").paginate(ServiceCode="AmazonEC2", Filters=filters):
            for item in page["PriceList"]:
                product = json.loads(item) if isinstance(item, str) else item
                for term in product.get("terms", {}).get("OnDemand", {}).values():
                    for dimension in term.get("priceDimensions", {}).values():
                        usd = float(dimension.get("pricePerUnit", {}).get("USD", 0))
                        if dimension.get("unit") == "GB-Mo" and usd > 0:
                            return usd
    return None
