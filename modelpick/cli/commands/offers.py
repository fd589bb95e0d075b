"""`modelpick offers`: instance types and prices."""

from typing import Annotated

import typer

from modelpick import api, settings
from modelpick.aws import live_prices as live
from modelpick.aws.live_prices import LiveOffers
from modelpick.cli.options import Family, Instance, Region, amount, one_of
from modelpick.cli.output import Console, Output
from modelpick.errors import RemoteError, UsageError, nearest
from modelpick.offers import embedded
from modelpick.offers.embedded import families_named
from modelpick.offers.instance import Families
from modelpick.offers.price import Offer

_SORTS = ("price", "memory", "name", "usd-per-gib", "usd-per-tflop")
_MARKETS = ("on-demand", "spot")


def offers(
    out: Output,
    region: Region = None,
    market: Annotated[
        str, typer.Option("--market", metavar="on-demand|spot", help="Market; embedded spot prices are old samples.")
    ] = "on-demand",
    family: Family = None,
    instance: Instance = None,
    gpu: Annotated[str | None, typer.Option("--gpu", metavar="NAME", help="GPU name, e.g. A10G.")] = None,
    min_memory: Annotated[
        str | None, typer.Option("--min-memory", metavar="GIB", help="Least usable GiB of one GPU.")
    ] = None,
    max_usd_per_hour: Annotated[
        str | None, typer.Option("--max-usd-per-hour", metavar="X", help="Most dollars an hour.")
    ] = None,
    sort: Annotated[str, typer.Option("--sort", metavar="|".join(_SORTS), help="Sort order.")] = "price",
    live: Annotated[bool, typer.Option("--live", help="Ask AWS and compare; needs credentials.")] = False,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="With --live: accept prices far from the embedded ones.")
    ] = False,
) -> None:
    """List NVIDIA instance types with price, GPU and memory."""
    one_of("--sort", sort, _SORTS)
    if instance is not None:
        instance = embedded.instance(instance).name
    families = families_named(family) if family is not None else Families(None, None)
    gpu = _gpu_named(gpu)
    settled = settings.load({"region": region})
    smallest, cap = amount("--min-memory", min_memory), amount("--max-usd-per-hour", max_usd_per_hour)
    if confirm and not live:
        raise UsageError("--confirm needs --live", fix="add --live", code="contradiction")
    chosen = [
        offer
        for offer in api.offers(region=settled.region, market=market)
        if families.admit(offer.instance)
        and (instance is None or offer.instance.name == instance)
        and (gpu is None or offer.instance.gpu.name.lower() == gpu)
        and (smallest is None or offer.instance.usable_memory_gib >= smallest)
    ]
    asked = _ask(chosen, confirm) if live else None
    if asked is not None:
        chosen = list(asked.offers)
    listed = [
        offer
        for offer in (offer.discounted(settled.discounts) for offer in chosen)
        if (cap is None or (offer.usd_per_hour is not None and offer.usd_per_hour <= cap))
    ]
    listed.sort(key=lambda offer: _sort_key(offer, sort))
    payload = {
        "region": embedded.check_region(settled.region),
        "market": market,
        "as_of": embedded.as_of(),
        "offers": [_as_json(offer) for offer in listed],
        "assumptions": ["memory is what one GPU can use; memories of several GPUs are never added up"],
        "sources": sorted({offer.source for offer in listed if offer.source}),
        "live": asked.as_json() if asked is not None else None,
    }

    def draw(console: Console) -> None:
        _draw(console, listed, embedded.check_region(settled.region), market)
        if asked is not None:
            _draw_live(console, asked)

    out.answer(payload, draw)
    if not listed:
        raise typer.Exit(1)


def _gpu_named(gpu: str | None) -> str | None:
    """The GPU's name in lower case. Raises UsageError for one that no instance type has."""
    names = {kind.gpu.name for kind in embedded.instances().values()}
    if gpu is not None and gpu.lower() not in {name.lower() for name in names}:
        fix = nearest(gpu, names) or f"use one of {', '.join(sorted(names))}"
        raise UsageError(f"unknown GPU {gpu!r}", fix=fix, code="unknown_gpu")
    return None if gpu is None else gpu.lower()


def _as_json(offer: Offer) -> dict[str, object]:
    """One element of `offers`."""
    per_unit = {"usd_per_gib_hour": offer.usd_per_gib_hour, "usd_per_tflop_hour": offer.usd_per_tflop_hour}
    return {**offer.instance.as_json(), **offer.as_json(), **per_unit}


def _ask(offers: list[Offer], accept_price_change: bool) -> LiveOffers:
    try:
        return live.live_offers(offers, accept_price_change=accept_price_change)
    except RemoteError as error:
        raise RemoteError(error.message, fix=f"{error.fix}; or leave out --live", code=error.code) from None


def _draw_live(console: Console, asked: LiveOffers) -> None:
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


def _usd(price: float | None) -> str:
    return "unknown" if price is None else f"${price:.4f}"


def _sort_key(offer: Offer, sort: str) -> tuple[float, str]:
    unknown = float("inf")
    values = {
        "price": offer.usd_per_hour,
        "memory": -offer.instance.usable_memory_gib,
        "name": 0.0,
        "usd-per-gib": offer.usd_per_gib_hour,
        "usd-per-tflop": offer.usd_per_tflop_hour,
    }
    value = values[sort]
    return (unknown if value is None else value, offer.instance.name)


def _draw(console: Console, offers: list[Offer], region: str, market: str) -> None:
    from rich.table import Table

    if not offers:
        console.print("no instance type matches these filters; loosen one of them")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("instance", no_wrap=True)
    table.add_column("GPUs", no_wrap=True, overflow="ellipsis")
    for title in ("GiB each", "$/h", "$/GiB-h", "$/TFLOP-h"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("as of", no_wrap=True)
    unpriced = 0
    for offer in offers:
        kind = offer.instance
        share = f"1/{round(1 / kind.gpu_fraction)}" if kind.gpu_fraction < 1 else f"{kind.gpu_count}"
        unpriced += offer.usd_per_hour is None
        table.add_row(
            kind.name,
            f"{share} {kind.gpu.name}",
            f"{kind.usable_memory_gib:.1f}",
            "unknown" if offer.usd_per_hour is None else f"{offer.usd_per_hour:.3f}{'*' if offer.derived else ' '}",
            "" if offer.usd_per_gib_hour is None else f"{offer.usd_per_gib_hour:.3f}",
            "" if offer.usd_per_tflop_hour is None else f"{offer.usd_per_tflop_hour:.4f}",
            offer.as_of or "",
        )
    console.print(table)
    console.print()
    console.print(f"{len(offers)} instance types, {market}, {region}. Memory is per GPU and never added up.")
    if any(offer.derived for offer in offers):
        console.print("* derived: the us-east-1 price times the region's factor, not read from a price list.")
    if unpriced:
        how = next(offer.how_to_get for offer in offers if offer.usd_per_hour is None)
        console.print(f"{unpriced} prices are not known. To ask AWS: {how}")
