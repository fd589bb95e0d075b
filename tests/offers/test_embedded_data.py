"""The embedded offers hold what their sources say, agree with themselves, and show when somebody changed a price."""

import ast
import dataclasses
import datetime
import hashlib
import json
import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest

from modelpick.errors import UsageError
from modelpick.offers import embedded
from modelpick.offers.instance import Gpu, InstanceType
from modelpick.offers.price import MARKETS, BillingRates, Market, Offer, believable
from modelpick.offers.price_sources import PriceRow, PricesRead, checked

# Prices read by hand from the sources named in manifest.json (us-east-1, on-demand, Linux).
KNOWN_PRICES = {
    "g4dn.xlarge": 0.526,
    "g5.xlarge": 1.006,
    "g5.2xlarge": 1.212,
    "g5.12xlarge": 5.672,
    "g5.48xlarge": 16.288,
    "g6.xlarge": 0.8048,
    "g6e.xlarge": 1.861,
    "g6f.large": 0.202,
    "g7.2xlarge": 2.52,
    "g7e.2xlarge": 3.36312,
    "gr6.4xlarge": 1.5392,
    "p3dn.24xlarge": 31.212,
    "p4d.24xlarge": 21.957642,
    "p4de.24xlarge": 27.44705,
    "p5.4xlarge": 6.88,
    "p5.48xlarge": 55.04,
    "p5en.48xlarge": 63.296,
    "p6-b200.48xlarge": 113.9328,
    "p6-b300.48xlarge": 142.416,
}


@pytest.fixture
def data(repository: Path) -> Path:
    return repository / "modelpick" / "offers" / "data"


def test_every_data_file_is_the_one_that_was_built(data: Path) -> None:
    manifest = json.loads((data / "manifest.json").read_text())
    assert {"instances.jsonl", "prices.jsonl", "gpus.json", "price_history.json"} <= set(manifest["sha256"])
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((data / name).read_bytes()).hexdigest() == digest, f"{name} was changed by hand"


@pytest.mark.parametrize(("name", "usd"), KNOWN_PRICES.items())
def test_prices_reproduce_their_sources(name: str, usd: float) -> None:
    offer = embedded.offer(name)
    assert offer.usd_per_hour == usd
    assert offer.source is not None
    assert offer.as_of == "2026-07-20"
    assert not offer.derived


def every_offer(market: Market = "on-demand") -> list[Offer]:
    return [offer for region in embedded.regions() for offer in embedded.offers(region, market)]


@pytest.mark.parametrize("market", MARKETS)
def test_every_answer_has_its_source_and_its_day_or_says_how_to_ask(market: Market) -> None:
    """Offered, not offered and unknown are three answers; none of the dates is one that has not come yet."""
    today = datetime.date.today().isoformat()
    for offer in every_offer(market):
        if offer.usd_per_hour is not None:
            assert offer.availability == "offered"
            assert 0.02 < offer.usd_per_hour < 250
            assert not offer.derived
            assert offer.how_to_get is None
        else:
            assert "--live" in (offer.how_to_get or "")
        if offer.usd_per_hour is not None or offer.availability == "not_offered":
            assert offer.source
            assert re.fullmatch(r"202\d-\d\d-\d\d", offer.as_of or "")
            assert (offer.as_of or "") <= today
        else:
            assert (offer.source, offer.as_of) == (None, None)


def test_nearly_every_type_has_a_price_where_aws_rents_it() -> None:
    offered = [offer for offer in every_offer() if offer.availability == "offered"]
    priced = [offer for offer in offered if offer.usd_per_hour is not None]
    assert len(offered) > 700
    assert len(priced) >= 0.95 * len(offered)
    priced = {region for _, region, market in embedded.known_prices() if market == "on-demand"}
    assert len(priced) == 28


def test_the_types_of_new_regions_are_unknown_there_and_not_absent() -> None:
    """ap-southeast-6 opened after every list that names regions without GPUs; g7 came after the widest list."""
    assert {offer.availability for offer in embedded.offers("ap-southeast-6")} == {"unknown"}
    g7 = [offer for offer in every_offer() if offer.instance.family == "g7" and offer.region != "us-east-1"]
    listed = ("ap-east-2", "ap-southeast-4", "ap-southeast-7", "ca-west-1", "mx-central-1")
    assert {offer.availability for offer in g7} == {"unknown"}
    assert {embedded.offer("g5.xlarge", region).availability for region in listed} == {"not_offered"}
    assert embedded.offer("p5.48xlarge", "eu-west-1").availability == "not_offered"
    assert embedded.offer("p5.48xlarge", "eu-north-1").availability == "offered"


def test_only_p5e_has_no_price_where_all_others_have_one() -> None:
    """p5e is in the instance list, but sold as capacity blocks: unknown is None, never zero."""
    assert [o.instance.name for o in embedded.offers("us-east-1") if o.usd_per_hour is None] == ["p5e.48xlarge"]


def test_one_factor_scales_a_family_in_a_region() -> None:
    """All sizes of a family cost the same multiple of us-east-1 in a region: a changed row shows at once."""
    factors: dict[tuple[str, str], list[float]] = defaultdict(list)
    for offer in every_offer():
        home = embedded.offer(offer.instance.name).usd_per_hour
        if offer.usd_per_hour is not None and home is not None:
            factors[offer.region, offer.instance.family].append(offer.usd_per_hour / home)
    assert len(factors) > 150
    for key, values in factors.items():
        assert max(values) <= 1.002 * min(values), f"{key}: {values}"
        assert 0.999 < max(values) < 1.7 * 1.001, key
    assert factors["ap-northeast-1", "g5"][0] == pytest.approx(1.459 / 1.006, rel=1e-3)


def test_retired_and_announced_types_are_marked_and_have_no_price() -> None:
    marked = {name: kind for name, kind in embedded.left_out().items() if kind.status is not None}
    assert {kind.status for kind in marked.values()} == {"retired", "announced"}
    assert all(kind.source for kind in marked.values())
    assert {name.split(".")[0] for name, kind in marked.items() if kind.status == "retired"} == {
        "g2",
        "g3",
        "g3s",
        "p2",
        "p3",
    }
    assert not set(embedded.left_out()) & set(embedded.instances())
    assert not set(embedded.left_out()) & {name for name, _, _ in embedded.known_prices()}
    for name in ("p3.2xlarge", "p6e-gb200.36xlarge"):
        with pytest.raises(UsageError, match=r"retired|announced"):
            embedded.instance(name)


def test_a_price_list_of_today_would_be_believed_where_nothing_changed() -> None:
    """The bounds of update hold the embedded prices themselves: none is far from its own kind."""
    known = embedded.known_prices()
    home = {pair: usd for pair, usd in known.items() if pair[1:] == ("us-east-1", "on-demand")}
    rows = tuple(PriceRow(*pair, usd, "2026-11-30", "a list") for pair, usd in known.items())
    assert checked(PricesRead(rows), known).held == ()
    assert checked(PricesRead(rows), home).held == ()
    assert checked(PricesRead(rows), home).missing == ()


def test_errors_of_old_price_lists_are_marked_and_are_not_the_current_price() -> None:
    """2023-02 showed g4dn at ten times its price; the history keeps that, the offers do not."""
    history = embedded.price_history()
    assert any(step["error"] for step in history["g4dn.xlarge"])
    for name, steps in history.items():
        good = [step["usd_per_hour"] for step in steps if not step["error"]]
        assert embedded.offer(name).usd_per_hour == pytest.approx(good[-1]), name
        assert all(believable(new, old) for old, new in pairwise(good)), name


def test_larger_sizes_of_a_family_are_not_cheaper_for_the_same_gpus() -> None:
    rows = [o for o in embedded.offers("us-east-1") if o.usd_per_hour is not None]
    for a in rows:
        for b in rows:
            same = (a.instance.family, a.instance.gpu_count) == (b.instance.family, b.instance.gpu_count)
            if same and a.instance.vcpus < b.instance.vcpus:
                assert (a.usd_per_hour or 0) < (b.usd_per_hour or 0), (a.instance.name, b.instance.name)


def test_only_nvidia_is_offered_and_the_rest_says_why() -> None:
    assert len(embedded.instances()) == 65
    for family in ("g4ad", "dl1", "inf1", "inf2", "trn1", "trn2", "vt1", "g3", "p2", "p3"):
        assert not any(kind.family == family for kind in embedded.instances().values())
        assert any(name.startswith(f"{family}.") for name in embedded.left_out())
    with pytest.raises(UsageError, match="Gaudi") as caught:
        embedded.instance("dl1.24xlarge")
    assert caught.value.code == "instance_not_offered"


def test_gpu_facts_of_the_measured_list_outrank_datasheets() -> None:
    gpus = embedded.gpus()
    assert gpus["B200"].bandwidth_gbs == 7700  # the instance list says 8000
    assert gpus["A10G"].fp16_tflops == 70
    assert gpus["RTX PRO 6000"].bandwidth_gbs == 1597
    assert not gpus["T4"].supports("bf16")
    assert not gpus["V100-32GB"].supports("bf16")
    assert not gpus["A10G"].supports("fp8")
    assert gpus["L4"].supports("fp8")
    for gpu in gpus.values():
        assert gpu.bf16 == (float(gpu.compute_capability) >= 8.0), gpu.name
        assert gpu.fp8 == (float(gpu.compute_capability) >= 8.9), gpu.name
        assert gpu.matmul_tflops("fp16") <= gpu.fp16_tflops
        if named := re.search(r"-(\d+)GB$", gpu.name):  # the memory it is sold with
            assert gpu.memory_usable_gib * 2**30 <= int(named[1]) * 1.08e9, gpu.name
        whole = [kind for kind in embedded.instances().values() if kind.gpu == gpu and kind.gpu_fraction == 1]
        assert {kind.usable_memory_gib for kind in whole} == {gpu.memory_usable_gib}, gpu.name
        assert gpu.sources


def test_usable_memory_is_per_gpu_and_below_the_box() -> None:
    kinds = embedded.instances()
    assert kinds["g5.xlarge"].usable_memory_gib == 22.35
    assert kinds["g5.48xlarge"].usable_memory_gib == 22.35
    assert kinds["g6f.2xlarge"].usable_memory_gib == 5.59
    assert kinds["g6f.2xlarge"].gpu_count == 1
    assert kinds["g6f.2xlarge"].bandwidth_gbs == 75
    for kind in kinds.values():
        assert kind.usable_memory_gib == pytest.approx(kind.gpu.memory_usable_gib * kind.gpu_fraction, rel=0.01)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        embedded.instance("g5.xlrge")
    assert "g5.xlarge" in caught.value.fix
    with pytest.raises(UsageError) as caught:
        embedded.check_region("eu-wst-1")
    assert "eu-west-1" in caught.value.fix
    assert embedded.check_region("US-EAST-1") == "us-east-1"


def test_spot_is_an_observation_below_the_price_on_demand() -> None:
    known = [offer for offer in every_offer("spot") if offer.usd_per_hour is not None]
    assert len(known) > 200
    assert len({offer.region for offer in known}) >= 20
    for offer in known:
        asked = embedded.offer(offer.instance.name, offer.region).usd_per_hour
        assert asked is not None
        assert 0.0999 * asked < offer.usd_per_hour <= asked * 1.0001, offer  # AWS's floor is a tenth


@pytest.mark.parametrize("kind", [Gpu, InstanceType, BillingRates])
def test_every_fact_of_a_gpu_an_instance_and_a_bill_is_read(kind: type, repository: Path) -> None:
    """A fact that no line reads may not be committed: nobody would notice if it were wrong."""
    files = [*(repository / "modelpick").rglob("*.py"), *(repository / "benchmarks").glob("*.py")]
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text("utf-8"))))
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
    assert [field.name for field in dataclasses.fields(kind) if field.name not in read] == []  # type: ignore[arg-type]


def test_every_auxiliary_price_is_one_that_a_bill_reads(data: Path) -> None:
    listed = json.loads((data / "auxiliary.json").read_text())
    rates = {field.name for field in dataclasses.fields(BillingRates)}
    prices = {name for name, value in listed.items() if isinstance(value, dict) and "usd" in value}
    assert prices <= rates
    assert set(listed) - prices == {"schema_version", "as_of", "region", "egress_usd_per_gb", "billing"}
