"""Today's prices from a public list, put over the prices in force. The lists are read by offers.price_sources."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from modelpick.errors import RemoteError, address
from modelpick.hub import download
from modelpick.hub.download import Download
from modelpick.offers.price_file import merged, prices_in
from modelpick.offers.price_sources import (
    CheckedPrices,
    PricesRead,
    checked,
    read_price_list,
    read_skypilot,
    read_spot_feed,
)

SKYPILOT = "https://raw.githubusercontent.com/skypilot-org/skypilot-catalog/master/catalogs/v8/aws/vms.csv"
"""All regions and both markets in one file of some 10 MB, which its project renews from AWS's own lists."""
LARGEST = 2_000_000_000  # bytes; AWS's list of one region has some 400 MB
_CODE = "price_source"
_BULK = re.compile(r"/AmazonEC2/[^/]+/([a-z]{2}(?:-[a-z]+)+-\d)/index\.csv$")
_RAW = re.compile(r"https://raw\.githubusercontent\.com/([^/]+/[^/]+)/([^/]+)/(.+)")
_PRICES, _ABOUT, _INSTANCES, _REGIONS = (
    f"offers/{name}" for name in ("prices.jsonl", "manifest.json", "instances.jsonl", "regions.json")
)


@dataclass(frozen=True, slots=True)
class PricesUpdated:
    """The files with the new prices (None: the list has not changed), and what the list was."""

    texts: Mapping[str, str] | None
    source: str
    etag: str | None
    found: CheckedPrices | None = None
    dropped: int = 0


def updated(texts: Mapping[str, str], where: str | None, etag: str | None) -> PricesUpdated:
    """The data files with the prices of the list at `where` (default: SkyPilot's catalog) merged into them.

    Raises RemoteError, of offers.price_sources among them, where the list cannot be had or cannot be believed.
    """
    where = where or SKYPILOT
    with download.opened(where, largest=LARGEST, code=_CODE, etag=etag) as answer:
        if answer.unchanged:
            return PricesUpdated(None, address(where), etag)
        read = _read(where, answer, texts)
    found = checked(read, dict(prices_in(texts[_PRICES])))
    return PricesUpdated(_merged(texts, found), address(where), answer.headers.get("etag"), found, len(read.dropped))


def _read(where: str, answer: Download, texts: Mapping[str, str]) -> PricesRead:
    types = {json.loads(line)["name"] for line in texts[_INSTANCES].splitlines()}
    regions = tuple(json.loads(texts[_REGIONS])["regions"])
    source, path = address(where), urlsplit(where).path
    if bulk := _BULK.search(path):
        return read_price_list(answer.pieces, region=bulk[1], types=types, source=source)
    day = answer.day or _day_of_commit(where)
    if path.endswith("spot.js"):
        return read_spot_feed(answer.pieces, regions=regions, types=types, as_of=day, source=source)
    return read_skypilot(answer.pieces, regions=regions, types=types, as_of=day, source=source)


def _day_of_commit(where: str) -> str:
    """The day of the last commit of a file on GitHub, whose raw files have no date. Raises RemoteError."""
    raw = _RAW.fullmatch(where)
    if raw is None:
        raise RemoteError(
            f"{address(where)} does not say of which day it is", fix="name a list with Last-Modified", code=_CODE
        )
    asked = f"https://api.github.com/repos/{raw[1]}/commits?sha={raw[2]}&path={raw[3]}&per_page=1"
    try:
        (commit,) = json.loads(download.content(asked, largest=1_000_000, code=_CODE))
        return str(commit["commit"]["committer"]["date"])[:10]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RemoteError(f"{address(asked)} names no commit", fix="try again later", code=_CODE) from None


def _merged(texts: Mapping[str, str], found: CheckedPrices) -> dict[str, str]:
    prices = merged(texts[_PRICES], found.rows)
    about = json.loads(texts[_ABOUT])
    days = [row.as_of for row in found.rows if row.market == "on-demand"]
    about["prices_as_of"] = max((about["prices_as_of"], *days))
    about.get("sha256", {}).pop("prices.jsonl", None)  # the snapshot's own manifest has it
    return {**texts, _PRICES: prices, _ABOUT: json.dumps(about, indent=1, ensure_ascii=False) + "\n"}
