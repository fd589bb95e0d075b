"""The builder of the embedded offers: what is offered where, what is marked, who is left out."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from modelpick.offers.price_file import merged, prices_in, types_of
from modelpick.offers.price_sources import PriceRow

FILES = {
    "instances.csv": """instance_type,gpu,gpu_count,gpu_fraction,usable_memory_gib,vcpus,ram_gib,nvme_gb,network_gbps,\
cpu,spot,source
g5.48xlarge,A10G,8,1.0,22.35,192,768.0,7600,100.0,x86_64,yes,recorded
g5.xlarge,A10G,1,1.0,22.35,4,16.0,250,2.5,x86_64,yes,recorded
g6f.large,L4,1,0.125,2.79,2,8.0,75,1.0,x86_64,,recorded
p4d.24xlarge,A10G,8,1.0,22.35,96,1152.0,8000,400.0,x86_64,no,recorded
""",
    "prices.csv": """instance_type,region,market,usd_per_hour,as_of,sources
g5.xlarge,us-east-1,on-demand,1.006,2026-07-20,karpenter cloudprice
g5.xlarge,us-east-1,spot,0.4591,2025-08-01,skypilot
g5.48xlarge,us-east-1,on-demand,16.288,2026-07-20,karpenter
g5.xlarge,eu-west-1,on-demand,1.123,2025-08-01,skypilot
""",
    "price_history.csv": """instance_type,from,usd_per_hour,commit
g5.xlarge,2023-02-01,10.06,b
g5.xlarge,2022-06-23,1.006,a
g5.xlarge,2023-09-18,1.006,c
""",
    "regions.csv": "code,description\nus-east-1,US East (N. Virginia)\neu-west-1,Ireland\neu-west-9,New\n",
    "left_out.csv": """instance_type,status,reason,source
dl1.24xlarge,,Gaudi is not an NVIDIA GPU,
p3.2xlarge,retired,AWS has retired it,a list
""",
    "gpus.toml": """as_of = "2026-11-22"
units = "GB/s"
[sources]
aic = "a table"
[gpus.A10G]
architecture = "Ampere"
compute_capability = "8.6"
memory_usable_gib = 22.35
bandwidth_gbs = 600
tflops = 70
bf16 = true
fp8 = false
status = "verified"
sources = { bw = "aic" }
[gpus.L4]
architecture = "Ada"
compute_capability = "8.9"
memory_usable_gib = 22.35
bandwidth_gbs = 300
tflops = 121
bf16 = false
fp8 = true
status = "planted: without bf16"
sources = { bw = "aic" }
""",
    "offers.toml": """regions_source = "botocore"
[price_sources]
karpenter = "a list"
cloudprice = "another"
skypilot = "an undated one"
advisor = "a list of what is there"
[[coverage]]
source = "karpenter"
as_of = "2026-07-20"
regions = ["us-east-1", "eu-west-1"]
[[coverage]]
source = "advisor"
as_of = "2025-06-28"
regions = ["eu-west-1"]
types = ["g5", "p4d.24xlarge"]
[auxiliary]
as_of = "2026-11-22"
[auxiliary.egress_usd_per_gb]
free_gb_per_month = 100
up_to_gb = [ { gb = 10000, usd = 0.09 }, { usd = 0.05 } ]
source = "s"
""",
}


@pytest.fixture
def built(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The data files that the builder makes of FILES, by name."""
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    import build_offers
    import facts_folder

    for name, text in FILES.items():
        (tmp_path / name).write_text(text.replace("\\\n", ""), "utf-8")
    module: ModuleType = build_offers
    return module.build(facts_folder.Facts(tmp_path))  # type: ignore[no-any-return]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_what_nobody_measured_of_a_gpu_is_null(built: dict[str, str]) -> None:
    gpus = json.loads(built["gpus.json"])["gpus"]
    assert (gpus["A10G"]["fp16_tflops"], gpus["A10G"]["gemm_bf16_tflops"]) == (70, None)
    assert (gpus["A10G"]["bf16"], gpus["L4"]["bf16"]) == (True, False)


def test_instances_are_sorted_by_family_and_size_and_keep_what_is_unknown(built: dict[str, str]) -> None:
    kinds = {row["name"]: row for row in lines(built["instances.jsonl"])}
    assert list(kinds) == ["g5.xlarge", "g5.48xlarge", "g6f.large", "p4d.24xlarge"]
    assert (kinds["g6f.large"]["gpu_count"], kinds["g6f.large"]["gpu_fraction"]) == (1, 0.125)
    assert (kinds["g6f.large"]["spot"], kinds["g5.xlarge"]["spot"]) == (None, True)
    assert (kinds["g5.48xlarge"]["gpu_link"], kinds["p4d.24xlarge"]["gpu_link"]) == ("pcie", "nvlink")


def test_who_is_left_out_is_named_with_the_reason(built: dict[str, str]) -> None:
    assert json.loads(built["manifest.json"])["left_out"] == {
        "dl1.24xlarge": {"status": None, "reason": "Gaudi is not an NVIDIA GPU", "source": None},
        "p3.2xlarge": {"status": "retired", "reason": "AWS has retired it", "source": "a list"},
    }


def test_prices_keep_their_sources_and_their_day(built: dict[str, str]) -> None:
    rows = {row["region"]: row["types"] for row in lines(built["prices.jsonl"])}
    assert list(rows) == ["eu-west-1", "eu-west-9", "us-east-1"]
    assert rows["us-east-1"]["g5.xlarge"] == {
        "on-demand": {"usd_per_hour": 1.006, "as_of": "2026-07-20", "sources": ["karpenter", "cloudprice"]},
        "spot": {"usd_per_hour": 0.4591, "as_of": "2025-08-01", "sources": ["skypilot"]},
    }
    assert rows["eu-west-1"]["g5.xlarge"]["on-demand"]["as_of"] == "2025-08-01"
    assert json.loads(built["manifest.json"])["prices_as_of"] == "2026-07-20"


def test_absent_from_a_list_that_covers_type_and_region_is_not_offered_else_unknown(built: dict[str, str]) -> None:
    """karpenter's list names g5 and no p4d; the advisor's is told which types it names. A price outranks both."""
    rows = {row["region"]: row["types"] for row in lines(built["prices.jsonl"])}
    assert rows["eu-west-1"]["g5.48xlarge"] == {"not_offered": {"as_of": "2026-07-20", "sources": ["karpenter"]}}
    assert rows["eu-west-1"]["p4d.24xlarge"] == {"not_offered": {"as_of": "2025-06-28", "sources": ["advisor"]}}
    assert "not_offered" not in rows["eu-west-1"]["g5.xlarge"]
    assert set(rows["us-east-1"]) == {"g5.xlarge", "g5.48xlarge"}
    assert rows["eu-west-9"] == {}


def test_what_prices_arrive_is_merged_and_only_newer_ones_count(built: dict[str, str]) -> None:
    news = [
        PriceRow("g5.48xlarge", "eu-west-1", "on-demand", 18.2, "2026-11-20", "the list"),
        PriceRow("g5.xlarge", "us-east-1", "on-demand", 9.0, "2024-01-01", "the list"),
        PriceRow("g5.xlarge", "us-east-1", "spot", 0.5, "2026-11-20", "the feed"),
        PriceRow("g6f.large", "eu-west-9", "on-demand", 0.3, "2026-11-20", "the list"),
        PriceRow("g5.xlarge", "us-gov-west-1", "on-demand", 1.2, "2026-11-20", "the list"),
    ]
    before, after = (dict(prices_in(text)) for text in (built["prices.jsonl"], merged(built["prices.jsonl"], news)))
    changed = {pair: usd for pair, usd in after.items() if before.get(pair) != usd}
    assert changed == {news[0].pair: 18.2, news[2].pair: 0.5, news[3].pair: 0.3}
    here = types_of(merged(built["prices.jsonl"], news), "eu-west-1")["g5.48xlarge"]
    assert here == {"on-demand": {"usd_per_hour": 18.2, "as_of": "2026-11-20", "sources": ["the list"]}}


def test_a_price_that_went_back_was_an_error_of_the_list(built: dict[str, str]) -> None:
    changes = json.loads(built["price_history.json"])["changes"]["g5.xlarge"]
    assert [(step["from"], step["error"]) for step in changes] == [
        ("2022-06-23", False),
        ("2023-02-01", True),
        ("2023-09-18", False),
    ]


def test_the_last_step_of_traffic_has_no_end(built: dict[str, str]) -> None:
    egress = json.loads(built["auxiliary.json"])["egress_usd_per_gb"]
    assert egress["up_to_gb"] == [{"gb": 10000, "usd": 0.09}, {"gb": None, "usd": 0.05}]
