"""The readers of public price lists: what they take, what they drop by name, what they refuse whole."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.offers import price_sources
from modelpick.offers.price_sources import PriceRow, PriceSourceError, PricesRead, checked

TYPES = {"g5.xlarge", "g6.xlarge", "p5.48xlarge"}
REGIONS = {"us-east-1", "eu-central-1"}

# One row of AWS's list, with the columns that matter and two that do not.
LINUX = {
    "SKU": "A1", "TermType": "OnDemand", "Unit": "Hrs", "PricePerUnit": "1.0060000000", "Currency": "USD",
    "Location": "US East (N. Virginia)", "Location Type": "AWS Region", "Instance Type": "g5.xlarge",
    "Tenancy": "Shared", "Operating System": "Linux", "CapacityStatus": "Used", "MarketOption": "OnDemand",
    "Pre Installed S/W": "NA", "Region Code": "us-east-1",
}  # fmt: skip
# What the list also holds of a type, at other prices: each differs in one column.
OTHERS: Sequence[Mapping[str, str]] = (
    {"TermType": "Reserved"}, {"Unit": "Quantity"}, {"Location Type": "AWS Local Zone"}, {"Tenancy": "Dedicated"},
    {"Operating System": "Windows"}, {"CapacityStatus": "AllocatedCapacityReservation"},
    {"MarketOption": "CapacityBlock"}, {"Pre Installed S/W": "SQL Web"}, {"Region Code": "us-east-1-atl-1"},
    {"Instance Type": "m5.large"},
)  # fmt: skip


def price_list(*rows: Mapping[str, str], drop: str = "") -> bytes:
    text = io.StringIO()
    text.write('"FormatVersion","v1.0"\n"Disclaimer","made up, for tests"\n')
    text.write('"Publication Date","2026-11-20T18:00:00Z"\n"Version","1"\n"OfferCode","AmazonEC2"\n')
    columns = [name for name in LINUX if name != drop]
    writer = csv.DictWriter(text, columns, quoting=csv.QUOTE_ALL, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows({**LINUX, **row} for row in rows)
    return text.getvalue().encode()


def skypilot(*rows: Sequence[str]) -> bytes:
    text = io.StringIO()
    text.write("InstanceType,GpuInfo,Price,SpotPrice,Region,AvailabilityZone\n")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


INFO = "{'Gpus': [{'Name': 'A10G', 'Count': 1}]}"


def feed(regions: Mapping[str, Mapping[str, str]], currencies: Sequence[str] = ("USD",)) -> bytes:
    def size(name: str, usd: str) -> dict[str, Any]:
        columns = [{"name": os, "prices": {"USD": price}} for os, price in (("linux", usd), ("mswin", "9.9"))]
        return {"size": name, "valueColumns": columns}

    listed = [
        {"region": region, "instanceTypes": [{"type": "gpu", "sizes": [size(*one) for one in prices.items()]}]}
        for region, prices in regions.items()
    ]
    config = {"rate": "perhr", "currencies": list(currencies), "regions": listed}
    return f"callback({json.dumps({'vers': 0.01, 'config': config})});".encode()


Read = Callable[[Iterable[bytes]], PricesRead]


def from_list(chunks: Iterable[bytes]) -> PricesRead:
    return price_sources.read_price_list(chunks, region="us-east-1", types=TYPES, source="the list")


def from_skypilot(chunks: Iterable[bytes]) -> PricesRead:
    return price_sources.read_skypilot(
        chunks, regions=REGIONS, types=TYPES, as_of="2026-11-20", source="the catalog"
    )  # fmt: skip


def from_feed(chunks: Iterable[bytes]) -> PricesRead:
    return price_sources.read_spot_feed(chunks, regions=REGIONS, types=TYPES, as_of="2026-11-20", source="the feed")


GOOD: Sequence[tuple[Read, bytes]] = (
    (from_list, price_list({}, {"Instance Type": "g6.xlarge", "PricePerUnit": "0.8048"})),
    (from_skypilot, skypilot(("g5.xlarge", INFO, "1.006", "0.4", "us-east-1", "use1-az1"))),
    (from_feed, feed({"us-east": {"g5.xlarge": "0.4100", "g6.xlarge": "N/A*"}})),
)


def in_chunks(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def prices(read: PricesRead) -> dict[tuple[str, str, str], float]:
    return {row.pair: row.usd_per_hour for row in read.rows}


def test_the_price_list_gives_one_price_a_type_whatever_else_it_sells() -> None:
    data = price_list(*({**other, "PricePerUnit": "77"} for other in OTHERS), {}, {"Pre Installed S/W": ""})
    read = from_list([data])
    assert read.rows == (PriceRow("g5.xlarge", "us-east-1", "on-demand", 1.006, "2026-11-20", "the list"),)
    assert not read.dropped


@pytest.mark.parametrize("column", ["TermType", "PricePerUnit", "Currency", "MarketOption", "Region Code"])
def test_a_price_list_without_a_column_is_refused_by_its_name(column: str) -> None:
    with pytest.raises(PriceSourceError, match=column):
        from_list([price_list({}, drop=column)])


@pytest.mark.parametrize("bad", ["0.0000000000", "-1", "nan", "inf", "free", ""])
def test_a_row_without_a_usable_price_is_dropped_and_named(bad: str) -> None:
    read = from_list([price_list({"PricePerUnit": bad}, {"Instance Type": "g6.xlarge"})])
    assert [row.instance_type for row in read.rows] == ["g6.xlarge"]
    assert [(row.instance_type, row.region) for row in read.dropped] == [("g5.xlarge", "us-east-1")]
    assert repr(bad) in read.dropped[0].reason


def test_two_prices_of_one_pair_are_none() -> None:
    rows = ({}, {"PricePerUnit": "10.06"}, {}, {"Instance Type": "g6.xlarge"})
    read = from_list([price_list(*rows)])
    assert [row.instance_type for row in read.rows] == ["g6.xlarge"]
    assert "two on-demand prices" in read.dropped[0].reason


def test_a_list_in_another_currency_is_refused() -> None:
    with pytest.raises(PriceSourceError, match="CNY"):
        from_list([price_list({"Currency": "CNY"})])
    with pytest.raises(PriceSourceError, match="CNY"):
        from_feed([feed({"us-east": {"g5.xlarge": "1"}}, ["CNY"])])


def test_skypilot_gives_both_markets_and_the_cheapest_zone() -> None:
    data = skypilot(
        ("g5.xlarge", INFO, "1.006", "0.51", "us-east-1", "use1-az1"),
        ("g5.xlarge", INFO, "1.006", "0.42", "us-east-1", "use1-az2"),
        ("g5.xlarge", INFO, "1.006", "", "us-east-1", "use1-az3"),
        ("g5.xlarge", INFO, "1.258", "0.6", "eu-central-1", "euc1-az1"),
        ("g5.xlarge", INFO, "9", "9", "us-gov-west-1", "usgw1-az1"),
        ("m5.large", "", "0.096", "0.03", "us-east-1", "use1-az1"),
    )
    assert prices(from_skypilot([data])) == {
        ("g5.xlarge", "us-east-1", "on-demand"): 1.006,
        ("g5.xlarge", "us-east-1", "spot"): 0.42,
        ("g5.xlarge", "eu-central-1", "on-demand"): 1.258,
        ("g5.xlarge", "eu-central-1", "spot"): 0.6,
    }


def test_the_feed_has_the_old_names_of_regions_and_only_linux_counts() -> None:
    assert prices(from_feed([GOOD[2][1]])) == {("g5.xlarge", "us-east-1", "spot"): 0.41}


@pytest.mark.parametrize(("read", "data"), GOOD, ids=["list", "skypilot", "feed"])
def test_how_a_file_arrives_does_not_matter(read: Read, data: bytes) -> None:
    whole = read([data])
    assert all(read(in_chunks(data, size)) == whole for size in (1, 7, 64))
    if read is not from_feed:
        assert read([data.replace(b"\n", b"\r\n")]) == whole


@pytest.mark.parametrize(("read", "data"), GOOD, ids=["list", "skypilot", "feed"])
def test_no_cut_gives_another_price(read: Read, data: bytes) -> None:
    """Cut anywhere: refused, or (between two lines of a table) fewer rows, never another figure."""
    whole = set(read([data]).rows)
    for end in range(len(data) - 1):
        try:
            found = set(read([data[:end]]).rows)
        except PriceSourceError:
            continue
        assert found <= whole, end


@given(
    st.sampled_from(GOOD),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 6)), max_size=4),
)
def test_damage_is_refused_or_dropped_but_never_a_crash(
    good: tuple[Read, bytes], damage: list[tuple[float, bytes, int]]
) -> None:
    read, data = good
    for where, new, old in damage:
        at = int(where * len(data))
        data = data[:at] + new + data[at + old :]
    try:
        found = read([data])
    except PriceSourceError:
        return
    assert len({row.pair for row in found.rows}) == len(found.rows)
    assert all(0 < row.usd_per_hour < float("inf") for row in found.rows)
    assert {row.instance_type for row in found.rows} <= TYPES


@given(st.sampled_from([from_list, from_skypilot, from_feed]), st.binary(max_size=200))
def test_any_bytes_are_refused_in_one_sentence(read: Read, data: bytes) -> None:
    with pytest.raises(PriceSourceError) as refused:
        read([data])
    assert refused.value.exit_code == 4
    assert refused.value.code == "price_source"


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (from_list, b"x" * (2 << 20)),
        (from_skypilot, b"InstanceType,Price,SpotPrice,Region\n" + b'"' + b"x" * (2 << 20)),
        (from_feed, b"callback(" + b"[" * 200_000 + b")"),
    ],
    ids=["no end of line", "a quote that never closes", "nested without end"],
)
def test_a_hostile_file_is_refused(read: Read, data: bytes) -> None:
    with pytest.raises(PriceSourceError):
        read(in_chunks(data, 65536))


KNOWN: dict[price_sources.Pair, float] = {
    ("g5.xlarge", "us-east-1", "on-demand"): 1.006,
    ("g6.xlarge", "us-east-1", "on-demand"): 0.8048,
}


def row(name: str, usd: float, region: str = "us-east-1") -> PriceRow:
    return PriceRow(name, region, "on-demand", usd, "2026-11-20", "the list")


@pytest.mark.parametrize(("usd", "taken"), [(1.006, True), (9.9, True), (10.06, False), (0.11, True), (0.1, False)])
@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_ten_times_off_is_held_back_and_named(usd: float, taken: bool, region: str) -> None:
    """Of a region without a price, the type's price at home is what it is compared with."""
    answer = checked(PricesRead((row("g5.xlarge", usd, region), row("g6.xlarge", 0.8))), KNOWN)
    assert (("g5.xlarge", region, "on-demand") in {one.pair for one in answer.rows}) is taken
    assert [held.row.instance_type for held in answer.held] == ([] if taken else ["g5.xlarge"])
    assert all("g5.xlarge" in held.text and "$1.006/h known" in held.text for held in answer.held)


@pytest.mark.parametrize(("usd", "taken"), [(0.1006, True), (1.006, True), (0.05, False), (30.0, False)])
def test_spot_may_fall_to_a_tenth_of_the_price_on_demand(usd: float, taken: bool) -> None:
    offer = PriceRow("g5.xlarge", "us-east-1", "spot", usd, "2026-11-20", "the feed")
    assert bool(checked(PricesRead((offer,)), KNOWN).rows) is taken


def test_what_a_source_lost_is_named_and_a_large_loss_refuses_it() -> None:
    assert checked(PricesRead((row("g5.xlarge", 1.006),)), KNOWN).missing == (("g6.xlarge", "us-east-1", "on-demand"),)
    with pytest.raises(PriceSourceError, match="lacks 2 of the 3"):
        checked(PricesRead((row("g5.xlarge", 1.006),)), {**KNOWN, ("p5.48xlarge", "us-east-1", "on-demand"): 55.04})
