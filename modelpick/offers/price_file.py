"""The form of prices.jsonl: a line for each region, with what is known of each instance type there. Pure.

    {"region": "eu-central-1", "types": {
      "g5.xlarge": {"on-demand": {"usd_per_hour", "as_of", "sources"}, "spot": {...}},
      "p5.48xlarge": {"not_offered": {"as_of", "sources"}}}}

A type that a line does not name is unknown in that region. `sources` are keys of the manifest's sources, or names.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from modelpick.offers.price import MARKETS, Market
from modelpick.offers.price_sources import Pair, PriceRow


def types_of(text: str, region: str) -> Mapping[str, dict[str, Any]]:
    """What is known of each type in `region`. The other lines are not parsed: one region's question stays cheap."""
    head = f'{{"region": "{region}"'
    line = next((line for line in text.splitlines() if line.startswith(head)), "{}")
    types: Mapping[str, dict[str, Any]] = json.loads(line).get("types", {})
    return types


def prices_in(text: str) -> Iterator[tuple[Pair, float]]:
    """Every price: (instance type, region, market), dollars an hour."""
    for line in text.splitlines():
        row = json.loads(line)
        for name, known in row["types"].items():
            yield from (
                ((name, row["region"], market), known[market]["usd_per_hour"]) for market in MARKETS if market in known
            )


def merged(text: str, rows: Iterable[PriceRow]) -> str:
    """The file with `rows` in it. A row that is older than what is known of its market stays out; rows of a region that
    the file does not name do, too. A type with a price is offered, whatever a list said before."""
    regions = [json.loads(line) for line in text.splitlines()]
    types = {region["region"]: region["types"] for region in regions}
    for row in rows:
        if row.region not in types:
            continue
        known = types[row.region].setdefault(row.instance_type, {})
        if row.as_of >= _day(known, row.market):
            known[row.market] = {"usd_per_hour": row.usd_per_hour, "as_of": row.as_of, "sources": [row.source]}
            known.pop("not_offered", None)
    return "".join(json.dumps(region, ensure_ascii=False) + "\n" for region in regions)


def _day(known: Mapping[str, Any], market: Market) -> str:
    """The day of what is known of a market: of its price, or of the list that names none; "" where nothing is."""
    return str(known.get(market, known.get("not_offered", {})).get("as_of", ""))
