"""Reads public price lists: bytes of a source in, price rows out. Pure.

Three sources need no credentials: AWS's bulk price list (one CSV a region), AWS's spot feed (one script for all
regions), and SkyPilot's catalog (one CSV for all regions, both markets). Each reader takes the file as chunks of bytes,
as they arrive, and keeps only the types and regions asked for. What changed its columns, is cut off, is empty or counts
in another currency is refused whole; a single row that cannot be used is dropped and named.

`checked` is the one home of the bounds between a list and the prices known: see FAR and LEAST_SHARE.
"""

import csv
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from modelpick.errors import RemoteError
from modelpick.offers.price import Market

# A figure this many times above or below the known one is held back. The largest error of a list was tenfold (2023-02,
# price_history.json), the largest real change 0.56x (p5.48xlarge, 2025-06), and spot prices of one type differ up to
# sixfold between zones.
FAR = 10.0
# Spot reaches from a tenth of the price on demand (AWS's floor: many rows of SkyPilot's v8) up to all of it.
FAR_SPOT = 20.0
# A list that lacks more than this share of the prices known of its regions and markets is taken for a cut one.
LEAST_SHARE = 0.5
_LONGEST_LINE = 1 << 20  # bytes; the longest line of a price list holds some 1,500
_LARGEST_FEED = 64 << 20  # bytes; the spot feed has about 5 MB

_DATE = re.compile(r"20\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(?!\d)", re.ASCII)

Pair = tuple[str, str, Market]
"""Instance type, region, market."""


class PriceSourceError(RemoteError):
    """A price list that cannot be read: it changed, was cut off, is empty, or counts in another currency."""


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One price: US dollars an hour, Linux, shared tenancy; the day it is of (ISO), and the source's name."""

    instance_type: str
    region: str
    market: Market
    usd_per_hour: float
    as_of: str
    source: str

    @property
    def pair(self) -> Pair:
        """What it is the price of."""
        return self.instance_type, self.region, self.market


@dataclass(frozen=True, slots=True)
class DroppedRow:
    """A row about a type asked for that was not used, and why."""

    instance_type: str
    region: str
    reason: str


@dataclass(frozen=True, slots=True)
class PricesRead:
    """What a source says: at most one row for each pair, and the rows that were dropped."""

    rows: tuple[PriceRow, ...]
    dropped: tuple[DroppedRow, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldPrice:
    """A price too far from the one it is compared with, and therefore not taken."""

    row: PriceRow
    known_usd_per_hour: float

    @property
    def text(self) -> str:
        """One line for a person."""
        name, region, market = self.row.pair
        times = self.row.usd_per_hour / self.known_usd_per_hour
        figures = f"${self.row.usd_per_hour:g}/h is {times:.3g}x the ${self.known_usd_per_hour:g}/h known"
        return f"{name} in {region} ({market}): {figures}"


@dataclass(frozen=True, slots=True)
class CheckedPrices:
    """What may be taken (`rows`), what is held back, and the known pairs that the source no longer has."""

    rows: tuple[PriceRow, ...]
    held: tuple[HeldPrice, ...]
    missing: tuple[Pair, ...]


def far_off(usd_per_hour: float, known: float, market: Market = "on-demand") -> bool:
    """Whether a figure of a list is beyond FAR (spot: FAR_SPOT) times the known one, up or down: an error, then."""
    far = FAR_SPOT if market == "spot" else FAR
    return not known / far < usd_per_hour < known * far


def checked(read: PricesRead, known: Mapping[Pair, float], home: str = "us-east-1") -> CheckedPrices:
    """Compares what a source says with the `known` prices: of the same pair, else of the type in `home` on demand.

    Raises PriceSourceError where the source has less than LEAST_SHARE of the known prices of its regions and markets.
    """
    rows: list[PriceRow] = []
    held: list[HeldPrice] = []
    for row in read.rows:
        reference = known.get(row.pair, known.get((row.instance_type, home, "on-demand")))
        if reference is not None and far_off(row.usd_per_hour, reference, row.market):
            held.append(HeldPrice(row, reference))
        else:
            rows.append(row)
    covered = {(row.region, row.market) for row in read.rows}
    expected = [pair for pair in known if pair[1:] in covered]
    present = {row.pair for row in read.rows}
    missing = tuple(sorted(pair for pair in expected if pair not in present))
    if len(missing) > len(expected) * (1 - LEAST_SHARE):
        _refuse(
            f"it lacks {len(missing)} of the {len(expected)} prices known of its regions",
            read.rows[0].source if read.rows else "the price list",
        )
    return CheckedPrices(tuple(rows), tuple(held), missing)


# The bulk price list: five lines about the file, then the header (its names as of 2025-09).
_PRICE_LIST_COLUMNS = (
    "TermType", "Unit", "PricePerUnit", "Currency", "Location Type", "Instance Type", "Tenancy", "Operating System",
    "CapacityStatus", "MarketOption", "Pre Installed S/W", "Region Code",
)  # fmt: skip
# Without every one of these a type has several prices; see aws.prices.FILTERS, the same for the Price List API.
_PRICE_LIST_FILTERS: Mapping[str, tuple[str, ...]] = {
    "TermType": ("OnDemand",), "Unit": ("Hrs",), "Location Type": ("AWS Region",), "Tenancy": ("Shared",),
    "Operating System": ("Linux",), "CapacityStatus": ("Used",), "MarketOption": ("OnDemand",),
    "Pre Installed S/W": ("NA", ""),
}  # fmt: skip
_IN_EVERY_PRICE = (b"OnDemand", b"Shared", b"Linux", b"Used")


def read_price_list(chunks: Iterable[bytes], *, region: str, types: Collection[str], source: str) -> PricesRead:
    """On-demand prices of `types` in AWS's bulk price list of one region, streamed (the file has hundreds of MB).

    https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonEC2/current/REGION/index.csv; each price is dated by
    the list's own publication date. Raises PriceSourceError.
    """
    lines = _lines(chunks, source)
    head: dict[str, str] = {}
    header: list[str] = []
    for line in lines:
        cells = _cells(line, source)
        if cells[:1] == ["SKU"]:
            header = cells
            break
        if len(cells) != 2 or len(head) > 8:
            break
        head[cells[0]] = cells[1]
    columns = _columns(header, _PRICE_LIST_COLUMNS, source)
    as_of = _day(head.get("Publication Date", ""), source)
    found = _Found(source, regions={region})
    for line in lines:
        if not all(word in line for word in _IN_EVERY_PRICE):
            _whole(line, len(header), source)
            continue
        cells = _cells(line, source)
        if len(cells) != len(header):
            _whole(line, len(header), source)
            found.drop(next((cell for cell in cells if cell in types), ""), region, "its row has another length")
            continue
        row = {name: cells[place] for name, place in columns.items()}
        if row["Instance Type"] not in types or any(row[key] not in few for key, few in _PRICE_LIST_FILTERS.items()):
            continue
        found.add(row["Instance Type"], row["Region Code"], "on-demand", row["PricePerUnit"], as_of, row["Currency"])
    return found.read()


def read_skypilot(
    chunks: Iterable[bytes], *, regions: Collection[str], types: Collection[str], as_of: str, source: str
) -> PricesRead:
    """On-demand and spot prices of `types` in SkyPilot's catalog of AWS (catalogs/v8 or v9, aws/vms.csv).

    A row for each zone: spot is that of the cheapest zone. The file is undated and in US dollars: `as_of` is the day of
    its commit. https://github.com/skypilot-org/skypilot-catalog. Raises PriceSourceError.
    """
    _day(as_of, source)
    lines = _lines(chunks, source)
    header = _cells(next(lines, b""), source)
    columns = _columns(header, ("InstanceType", "Price", "SpotPrice", "Region"), source)
    found = _Found(source, regions=regions, cheapest=True)
    for line in lines:
        name = line.partition(b",")[0].strip(b'"').decode("utf-8", "replace")
        if name not in types:
            _whole(line, len(header), source)
            continue
        cells = _cells(line, source)
        if len(cells) != len(header):
            _whole(line, len(header), source)
            found.drop(name, "", "its row has another length")
            continue
        row = {name: cells[place] for name, place in columns.items()}
        for market, column in (("on-demand", "Price"), ("spot", "SpotPrice")):
            if row[column]:
                found.add(name, row["Region"], "spot" if market == "spot" else "on-demand", row[column], as_of, "USD")
    return found.read()


# The spot feed's own names of the oldest regions.
_FEED_REGIONS = {
    "us-east": "us-east-1", "us-west": "us-west-1", "eu-ireland": "eu-west-1", "apac-sin": "ap-southeast-1",
    "apac-syd": "ap-southeast-2", "apac-tokyo": "ap-northeast-1",
}  # fmt: skip


def read_spot_feed(
    chunks: Iterable[bytes], *, regions: Collection[str], types: Collection[str], as_of: str, source: str
) -> PricesRead:
    """Spot prices of `types` for Linux in AWS's public feed, `callback({"config": ...});`, which is undated.

    https://website.spot.ec2.aws.a2z.com/spot.js, formerly https://spot-price.s3.amazonaws.com/spot.js; "N/A*" stands
    where a type is not rented. Raises PriceSourceError.
    """
    _day(as_of, source)
    config = _feed(chunks, source)
    if config.get("currencies") != ["USD"]:
        _refuse(f"its currencies are {config.get('currencies')!r}, not US dollars", source)
    found = _Found(source, regions=regions)
    try:
        for place in config["regions"]:
            region = _FEED_REGIONS.get(place["region"], place["region"])
            for size in (size for family in place["instanceTypes"] for size in family["sizes"]):
                linux = [column for column in size["valueColumns"] if column["name"] == "linux"]
                if size["size"] in types and linux and not linux[0]["prices"]["USD"].startswith("N/A"):
                    found.add(size["size"], region, "spot", linux[0]["prices"]["USD"], as_of, "USD")
    except (KeyError, TypeError, AttributeError) as error:
        raise _error(f"it has another structure ({type(error).__name__}: {error})", source) from None
    return found.read()


def _feed(chunks: Iterable[bytes], source: str) -> dict[str, Any]:
    held = bytearray()
    for chunk in chunks:
        held += chunk
        if len(held) > _LARGEST_FEED:
            _refuse(f"it is larger than {_LARGEST_FEED >> 20} MiB", source)
    text = bytes(held).decode("utf-8", "replace").strip().removesuffix(";")
    start = text.find("callback(")
    if start < 0 or not text.endswith(")"):
        _refuse("it is empty" if not text else "it is cut off or no longer `callback(...)`", source)
    try:
        config = json.loads(text[start + len("callback(") : -1])["config"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _error(f"its JSON cannot be read ({type(error).__name__})", source) from None
    if not isinstance(config, dict):
        _refuse("it has another structure", source)
    return config


class _Found:
    """Collects rows by pair, and what is dropped. `cheapest`: of several prices of a pair the lowest spot price."""

    def __init__(self, source: str, regions: Collection[str], *, cheapest: bool = False) -> None:
        self.source, self.regions, self.cheapest = source, regions, cheapest
        self.rows: dict[Pair, PriceRow] = {}
        self.dropped: list[DroppedRow] = []
        self.contradicted: set[Pair] = set()
        self.currencies: set[str] = set()

    def drop(self, name: str, region: str, reason: str) -> None:
        if name:
            self.dropped.append(DroppedRow(name, region, reason))

    def add(self, name: str, region: str, market: Market, usd: str, as_of: str, currency: str) -> None:
        """Takes one price, or drops it with a reason. A region not asked for is passed over."""
        if region not in self.regions:
            return
        self.currencies.add(currency)
        price = _dollars(usd)
        if currency != "USD" or price is None:
            self.drop(name, region, f"its {market} price is {usd!r} {currency or 'in no currency'}")
            return
        row = PriceRow(name, region, market, price, as_of, self.source)
        before = self.rows.get(row.pair)
        if row.pair in self.contradicted:
            return
        if before is None or before.usd_per_hour == price:
            self.rows[row.pair] = row
        elif self.cheapest and market == "spot":
            self.rows[row.pair] = min(before, row, key=lambda one: one.usd_per_hour)
        else:
            del self.rows[row.pair]
            self.contradicted.add(row.pair)
            self.drop(name, region, f"it has two {market} prices, ${before.usd_per_hour:g} and ${price:g}")

    def read(self) -> PricesRead:
        """The rows in order. Raises PriceSourceError where there is none."""
        if not self.rows:
            if self.currencies and "USD" not in self.currencies:
                _refuse(f"its prices are in {', '.join(sorted(self.currencies))}, not US dollars", self.source)
            _refuse("it has no price of any type asked for", self.source)
        return PricesRead(tuple(self.rows[pair] for pair in sorted(self.rows)), tuple(self.dropped))


def _dollars(text: str) -> float | None:
    """A price as it may be charged, or None. AWS lists 0.0 for what it does not sell at that price."""
    try:
        usd = float(text)
    except ValueError:
        return None
    return usd if math.isfinite(usd) and usd > 0 else None


def _lines(chunks: Iterable[bytes], source: str) -> Iterator[bytes]:
    """The lines of a file that arrives in chunks; the last one keeps a mark that it had no end."""
    rest = b""
    for chunk in chunks:
        parts = (rest + chunk).split(b"\n")
        rest = parts.pop()
        if len(rest) > _LONGEST_LINE:
            _refuse("a line of it has no end", source)
        for part in parts:
            if part.strip():
                yield part.rstrip(b"\r") + b"\n"
    if rest.strip():
        yield rest


def _cells(line: bytes, source: str) -> list[str]:
    try:
        return next(csv.reader([line.decode("utf-8").rstrip("\n")], strict=False), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise _error(f"a line cannot be read ({error})", source) from None


def _whole(line: bytes, columns: int, source: str) -> None:
    """Refuses the file for a last line that was cut off: no end, and fewer cells than the header."""
    if not line.endswith(b"\n") and len(_cells(line, source)) < columns:
        _refuse("it is cut off in its last line", source)


def _columns(header: Sequence[str], needed: Sequence[str], source: str) -> dict[str, int]:
    missing = [name for name in needed if name not in header]
    if not header:
        _refuse("it is empty, or no longer the file it was", source)
    if missing:
        _refuse(f"it has no column {', '.join(missing)}", source)
    return {name: list(header).index(name) for name in needed}


def _day(text: str, source: str) -> str:
    if not _DATE.match(text):
        _refuse(f"its date is {text!r}", source)
    return text[:10]


def _error(what: str, source: str) -> PriceSourceError:
    return PriceSourceError(
        f"{source} cannot be used: {what}",
        fix="the prices known before stay in use; `modelpick offers --live` asks AWS itself",
        code="price_source",
    )


def _refuse(what: str, source: str) -> NoReturn:
    raise _error(what, source)
