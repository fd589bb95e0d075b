"""How offers look: a line a type, or a line a region for one type; below it what is unknown and what is not rented."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from modelpick.aws.live_prices import LiveOffers
from modelpick.offers import embedded
from modelpick.offers.price import MARKETS, Offer

Others = Mapping[tuple[str, str], Offer]
"""The offer in the other market, by type and region."""


def draw_offers(console: Console, offers: Sequence[Offer], others: Others, *, by_tflop: bool) -> None:
    """The types of one region and market."""
    if not offers:
        console.print("no instance type matches these filters; loosen one of them")
        return
    shown = [offer for offer in offers if offer.availability != "not_offered"] if len(offers) > 1 else list(offers)
    market, region = offers[0].market, offers[0].region
    other = "$/TFLOP-h" if by_tflop else "on demand" if market == "spot" else "spot"
    table = _table(("instance", "GPUs"), ("GiB each", "$/h", other, "$/GiB-h"))
    for offer in shown:
        (second,) = _beside(others, [offer])
        beside = _digits(offer.usd_per_tflop_hour, 4) if by_tflop else _digits(second.usd_per_hour, 3)
        table.add_row(
            offer.instance.name, _gpus(offer), f"{offer.instance.usable_memory_gib:.1f}", _hourly(offer), beside,
            _digits(offer.usd_per_gib_hour, 3), _day(offer),
        )  # fmt: skip
    if shown:
        console.print(table)
        console.print()
    count = "1 instance type" if len(shown) == 1 else f"{len(shown)} instance types"
    console.print(f"{count}, {market}, {region}. Memory is per GPU and never added up.")
    _draw_days(console, [*shown, *(() if by_tflop else _beside(others, shown))])
    _draw_unknown(console, shown)
    _draw_not_rented(console, [offer for offer in offers if offer.availability == "not_offered"])


def draw_regions(console: Console, offers: Sequence[Offer], others: Others) -> None:
    """One type in every region, those with a price first."""
    kind, market = offers[0].instance, offers[0].market
    priced = [offer for offer in offers if offer.usd_per_hour is not None]
    table = _table(("region", "place"), ("$/h", "on demand" if market == "spot" else "spot", "more"))
    for offer in priced:
        assert offer.usd_per_hour is not None
        (second,) = _beside(others, [offer])
        over = offer.usd_per_hour / (priced[0].usd_per_hour or offer.usd_per_hour) - 1
        table.add_row(
            offer.region, embedded.regions()[offer.region], _hourly(offer),
            _digits(second.usd_per_hour, 3), f"+{over:.0%}", _day(offer),
        )  # fmt: skip
    if priced:
        console.print(table)
        console.print()
    what = f"{kind.name} ({_gpus(offers[0])}, {kind.usable_memory_gib:.1f} GiB each)"
    console.print(f"{what}, {market}: a price in {len(priced)} of {len(offers)} regions.", markup=False)
    _draw_days(console, [*priced, *_beside(others, priced)])
    for availability, title in (
        ("offered", "rented, price unknown"),
        ("unknown", "unknown"),
        ("not_offered", "not rented"),
    ):
        listed = [one for one in offers if one.usd_per_hour is None and one.availability == availability]
        if listed:
            days = sorted({one.as_of for one in listed if one.as_of})
            on = f" ({' and '.join(days)})" if days else ""
            console.print(f"{title}{on}: {', '.join(one.region for one in listed)}", markup=False)


def draw_live(console: Console, asked: LiveOffers) -> None:
    """What AWS says, and where it differs from the embedded prices."""
    changed = [
        price for price in asked.compared if not price.held and price.usd_per_hour != price.embedded.usd_per_hour
    ]
    console.print(f"asked AWS: {len(changed)} prices differ from the embedded ones", markup=False)
    for price in changed:
        now, before = _usd(price.usd_per_hour), _usd(price.embedded.usd_per_hour)
        console.print(f"  {price.embedded.instance.name}: {now}, embedded {before}")
    for price in asked.held:
        now, before = _usd(price.usd_per_hour), _usd(price.embedded.usd_per_hour)
        console.print(
            f"not used: {price.embedded.instance.name} at {now} is far from {before}; --confirm if it is right"
        )
    for zone in asked.zones:
        console.print(
            f"  {zone.instance_type} {zone.zone}: {zone.now:.4f} now, {zone.median:.4f} median of 7 days "
            f"({zone.low:.4f}-{zone.high:.4f})"
        )
    for plan in asked.savings:
        terms = f"{plan.plan}, {plan.years:g} y, {plan.payment}"
        console.print(f"  savings plan: {plan.instance_type} {plan.usd_per_hour:.4f}/h, {terms}")
    for note in asked.notes:
        console.print(note, markup=False)


def _table(texts: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in texts:
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    for title in numbers:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("as of", no_wrap=True)
    return table


def _gpus(offer: Offer) -> str:
    kind = offer.instance
    share = f"1/{round(1 / kind.gpu_fraction)}" if kind.gpu_fraction < 1 else f"{kind.gpu_count}"
    return f"{share} {kind.gpu.name}"


def _hourly(offer: Offer) -> str:
    if offer.usd_per_hour is not None:
        return f"{offer.usd_per_hour:.3f}"
    return "not rented" if offer.availability == "not_offered" else "unknown"


def _digits(value: float | None, places: int) -> str:
    return "" if value is None else f"{value:.{places}f}"


def _day(offer: Offer) -> str:
    return offer.as_of or ""


def _beside(others: Others, offers: Sequence[Offer]) -> list[Offer]:
    return [others[offer.instance.name, offer.region] for offer in offers]


def _draw_days(console: Console, offers: Sequence[Offer]) -> None:
    """Of which days the prices of each market are. Spot moves: its prices are observations."""
    for market in MARKETS:
        days = [one.as_of for one in offers if one.market == market and one.usd_per_hour is not None and one.as_of]
        if days:
            span = min(days) if min(days) == max(days) else f"{min(days)} to {max(days)}"
            what = "Spot prices were observed on" if market == "spot" else "On-demand prices are of lists of"
            console.print(f"{what} {span}.", markup=False)


def _draw_unknown(console: Console, offers: Sequence[Offer]) -> None:
    unknown = [offer for offer in offers if offer.usd_per_hour is None and offer.availability != "not_offered"]
    if unknown:
        count = "1 price is" if len(unknown) == 1 else f"{len(unknown)} prices are"
        console.print(f"{count} not known. To ask AWS: {unknown[0].how_to_get}", markup=False)


def _draw_not_rented(console: Console, offers: Sequence[Offer]) -> None:
    """By family: which types a list would name here and does not."""
    if not offers:
        return
    if len(offers) == 1:
        name = offers[0].instance.name
        where = f"`modelpick offers --instance {name} --all-regions` lists where it is rented"
        console.print(f"{name} was not rented in {offers[0].region} on {offers[0].as_of}; {where}.", markup=False)
        return
    families: dict[str, int] = {}
    for offer in offers:
        families[offer.instance.family] = families.get(offer.instance.family, 0) + 1
    days = " and ".join(sorted({offer.as_of for offer in offers if offer.as_of}))
    listed = ", ".join(f"{family} ({count})" for family, count in families.items())
    console.print(f"Not rented here on {days}: {listed}.", markup=False)


def _usd(price: float | None) -> str:
    return "unknown" if price is None else f"${price:.4f}"


def as_json(offer: Offer) -> dict[str, Any]:
    """One element of `offers`."""
    per_unit = {"usd_per_gib_hour": offer.usd_per_gib_hour, "usd_per_tflop_hour": offer.usd_per_tflop_hour}
    return {**offer.instance.as_json(), **offer.as_json(), **per_unit}
