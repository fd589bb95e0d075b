"""`modelpick offers`: instance types and prices."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import typer

from modelpick import api, settings
from modelpick.aws import live_prices as live
from modelpick.aws.live_prices import LiveOffers
from modelpick.cli.options import Family, Instance, Offline, Region, amount, not_both, one_of
from modelpick.cli.output import Console, Output
from modelpick.errors import RemoteError, UsageError, nearest
from modelpick.offers import embedded
from modelpick.offers.embedded import families_named
from modelpick.offers.instance import Families
from modelpick.offers.price import Market, Offer

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
    all_regions: Annotated[
        bool, typer.Option("--all-regions", help="One type in every region, the cheapest first.")
    ] = False,
    sort: Annotated[str, typer.Option("--sort", metavar="|".join(_SORTS), help="Sort order.")] = "price",
    live: Annotated[bool, typer.Option("--live", help="Ask AWS and compare; needs credentials.")] = False,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="With --live: accept prices far from the embedded ones.")
    ] = False,
    offline: Offline = False,
) -> None:
    """List NVIDIA instance types with price, GPU and memory.

    Offered, not rented there and unknown are three answers, each with its source and day in --json.
    """
    one_of("--sort", sort, _SORTS)
    not_both("--offline", offline or None, "--live", live or None)
    if instance is not None:
        instance = embedded.instance(instance).name
    families = families_named(family) if family is not None else Families(None, None)
    gpu = _gpu_named(gpu)
    smallest, cap = amount("--min-memory", min_memory), amount("--max-usd-per-hour", max_usd_per_hour)
    if confirm and not live:
        raise UsageError("--confirm needs --live", fix="add --live", code="contradiction")
    if all_regions:
        not_both("--all-regions", True, "--region", region)
        not_both("--all-regions", True, "--live", live or None)
    settled = settings.load({"region": region})
    places = _regions(all_regions, instance, settled.region)
    chosen = [
        offer
        for place in places
        for offer in api.offers(region=place, market=market)
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
    others = _in_the_other_market(listed, settled.discounts)
    _answer(out, listed, others, asked, region=None if all_regions else places[0], market=market, sort=sort)
    if not listed:
        raise typer.Exit(1)


def _answer(
    out: Output,
    listed: list[Offer],
    others: Mapping[tuple[str, str], Offer],
    asked: LiveOffers | None,
    *,
    region: str | None,
    market: str,
    sort: str,
) -> None:
    from modelpick.cli.render.offers import as_json, draw_live, draw_offers, draw_regions

    payload = {
        "region": region,
        "market": market,
        "as_of": embedded.as_of(),
        "offers": [as_json(offer) for offer in listed],
        "left_out": [kind.as_json() for kind in embedded.left_out().values()],
        "assumptions": ["memory is what one GPU can use; memories of several GPUs are never added up"],
        "sources": sorted({offer.source for offer in listed if offer.source}),
        "live": asked.as_json() if asked is not None else None,
    }

    def draw(console: Console) -> None:
        if region is None and listed:
            draw_regions(console, listed, others)
        else:
            draw_offers(console, listed, others, by_tflop=sort == "usd-per-tflop")
        if asked is not None:
            draw_live(console, asked)

    out.answer(payload, draw, stands_on=("prices",))


def _regions(all_regions: bool, instance: str | None, region: str) -> list[str]:
    """The regions to list. Raises UsageError for every region without a type."""
    if not all_regions:
        return [embedded.check_region(region)]
    if instance is None:
        raise UsageError("--all-regions is for one type", fix="add --instance TYPE", code="contradiction")
    return list(embedded.regions())


def _in_the_other_market(offers: Iterable[Offer], discounts: Mapping[str, float]) -> dict[tuple[str, str], Offer]:
    """The same types in the other market, by type and region."""
    found: dict[tuple[str, str], Offer] = {}
    for offer in offers:
        market: Market = "on-demand" if offer.market == "spot" else "spot"
        place = (offer.instance.name, offer.region)
        found[place] = embedded.offer(*place, market).discounted(discounts)
    return found


def _gpu_named(gpu: str | None) -> str | None:
    """The GPU's name in lower case. Raises UsageError for one that no instance type has."""
    names = {kind.gpu.name for kind in embedded.instances().values()}
    if gpu is not None and gpu.lower() not in {name.lower() for name in names}:
        fix = nearest(gpu, names) or f"use one of {', '.join(sorted(names))}"
        raise UsageError(f"unknown GPU {gpu!r}", fix=fix, code="unknown_gpu")
    return None if gpu is None else gpu.lower()


def _ask(offers: list[Offer], accept_price_change: bool) -> LiveOffers:
    try:
        return live.live_offers(offers, accept_price_change=accept_price_change)
    except RemoteError as error:
        raise RemoteError(error.message, fix=f"{error.fix}; or leave out --live", code=error.code) from None


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
