"""Builds the embedded offers, modelpick/offers/data, from facts/: instance types, GPUs, prices, regions (`make facts`).

An instance type is one row of instances.csv, a price one row of prices.csv, a GPU one table of gpus.toml. Where no list
tells a price, the factor of the family and region in price_factors.csv gives it from the price at home. left_out.csv
names the instance types that are not offered, each with the reason. The same facts give the same bytes.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from facts_folder import Facts, Row, number, truth

SCHEMA_VERSION = 1
HOME = "us-east-1"
# Instances of the P class link their GPUs by NVLink, those of the G class by PCIe (tensor parallel over PCIe on g5,
# g6 and g6e is what the throughput measurements show).
NVLINK_CLASSES = ("p",)


def build(facts: Facts) -> dict[str, str]:
    """The data files by name. Raises ValueError for a row that names a GPU, instance or source no other file knows."""
    about, described = facts.toml("offers.toml"), facts.toml("gpus.toml")
    gpus = facts.named("gpus.toml", described["gpus"])
    instances = sorted(facts.csv("instances.csv"), key=lambda row: _by_size(row["instance_type"]))
    listed = facts.csv("prices.csv")
    prices = sorted(
        [*map(_price, listed), *_derived(listed, facts.csv("price_factors.csv"))],
        key=lambda price: (price["region"], _by_size(price["instance"])),
    )
    history = facts.csv("price_history.csv")
    names, sources = {row["instance_type"] for row in instances}, about["price_sources"]
    for row in instances:
        _known("GPU", row["gpu"], gpus)
    for row in (*listed, *history):
        _known("instance type", row["instance_type"], names)
    for row in listed:
        for source in row["sources"].split():
            _known("source of a price", source, sources)
    files = {
        "gpus.json": _pretty(
            {"schema_version": SCHEMA_VERSION, "as_of": described["as_of"], "units": described["units"],
             "sources": described["sources"], "gpus": {name: _gpu(gpu) for name, gpu in gpus.items()}}
        ),
        "instances.jsonl": _lines(map(_instance, instances)),
        "prices.jsonl": _lines(prices),
        "price_history.json": _history(history, sources["karpenter"]),
        "auxiliary.json": _pretty({"schema_version": SCHEMA_VERSION, **_auxiliary(about["auxiliary"])}),
        "regions.json": _pretty(
            {"schema_version": SCHEMA_VERSION, "source": about["regions_source"],
             "regions": {row["code"]: row["description"] for row in _by("code", facts.csv("regions.csv"))}}
        ),
    }  # fmt: skip
    left_out = {row["instance_type"]: row["reason"] for row in _by("instance_type", facts.csv("left_out.csv"))}
    return files | {"manifest.json": _manifest(files, sources, left_out)}


def _by(field: str, rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: str(row[field]))


def _known(kind: str, name: str, names: Iterable[str]) -> None:
    if name not in names:
        raise ValueError(f"{name!r} is not a known {kind}")


def _gpu(gpu: Row) -> dict[str, Any]:
    """One whole GPU. bf16 runs at the rate of fp16 on every GPU that has it."""
    return {
        "architecture": gpu["architecture"],
        "compute_capability": gpu["compute_capability"],
        "memory_usable_gib": gpu["memory_usable_gib"],
        "bandwidth_gbs": gpu["bandwidth_gbs"],
        "fp16_tflops": gpu["tflops"],
        "gemm_fp16_tflops": gpu.get("gemm_fp16_tflops"),
        "gemm_bf16_tflops": gpu.get("gemm_bf16_tflops"),
        "bf16": gpu["bf16"],
        "fp8": gpu["fp8"],
        "status": gpu["status"],
        "note": gpu.get("note"),
        "sources": gpu["sources"],
    }


def _auxiliary(listed: Mapping[str, Any]) -> dict[str, Any]:
    """What else AWS bills around an instance: as it is, but that the last step of traffic has no end."""
    egress = listed["egress_usd_per_gb"]
    steps = [{"gb": step.get("gb"), "usd": step["usd"]} for step in egress["up_to_gb"]]
    return {**listed, "egress_usd_per_gb": {**egress, "up_to_gb": steps}}


def _instance(row: Row) -> dict[str, Any]:
    name = row["instance_type"]
    return {
        "name": name,
        "gpu": row["gpu"],
        "gpu_count": number(row["gpu_count"]),
        "gpu_fraction": number(row["gpu_fraction"]),
        "usable_memory_gib": number(row["usable_memory_gib"]),
        "vcpus": number(row["vcpus"]),
        "ram_gib": number(row["ram_gib"]),
        "nvme_gb": number(row["nvme_gb"]),
        "network_gbps": number(row["network_gbps"]),
        "cpu": row["cpu"],
        "gpu_link": "nvlink" if name[0] in NVLINK_CLASSES else "pcie",
        "spot": truth(row["spot"]),
        "source": row["source"],
    }


def _price(row: Row) -> dict[str, Any]:
    usd, sources = float(row["usd_per_hour"]), row["sources"].split()
    answer = _priced(row["instance_type"], row["region"], usd, row["as_of"], sources)
    if row["spot_usd_per_hour"]:
        answer["spot_usd_per_hour"] = float(row["spot_usd_per_hour"])
    return answer


def _derived(listed: Iterable[Row], factors: Iterable[Row]) -> list[dict[str, Any]]:
    """The prices of a family's sizes that no list has in a region: the price at home times the region's factor."""
    known = {(row["instance_type"], row["region"]) for row in listed}
    home = {row["instance_type"]: float(row["usd_per_hour"]) for row in listed if row["region"] == HOME}
    return [
        _priced(name, row["region"], round(usd * float(row["factor"]), 5), row["as_of"], ["derived"])
        for row in factors
        for name, usd in home.items()
        if name.split(".")[0] == row["family"] and (name, row["region"]) not in known
    ]


def _priced(name: str, region: str, usd: float, day: str, sources: list[str]) -> dict[str, Any]:
    return {
        "instance": name,
        "region": region,
        "usd_per_hour": usd,
        "as_of": day,
        "sources": sources,
        "derived": sources == ["derived"],
    }


def _history(rows: Iterable[Row], source: str) -> str:
    """Prices over time in the home region, oldest first.

    A price that went back to the one before it was an error of the list it was read from (2023-02: ten times too much
    for whole families) and is marked.
    """
    steps: dict[str, list[tuple[str, float, str]]] = {}
    for row in rows:
        steps.setdefault(row["instance_type"], []).append((row["from"], float(row["usd_per_hour"]), row["commit"]))
    changes = {
        name: [
            {"from": day, "usd_per_hour": usd, "commit": commit,
             "error": 0 < i < len(listed) - 1 and listed[i - 1][1] == listed[i + 1][1] != usd}
            for i, (day, usd, commit) in enumerate(listed)
        ]
        for name, listed in ((name, sorted(steps[name])) for name in sorted(steps))
    }  # fmt: skip
    head = {"schema_version": SCHEMA_VERSION, "region": HOME, "source": source}
    body = ",\n".join(f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in changes.items())
    return f'{json.dumps(head)[:-1]}, "changes": {{\n{body}\n}}}}\n'


def _manifest(files: Mapping[str, str], sources: Mapping[str, str], left_out: Mapping[str, str]) -> str:
    return _pretty(
        {
            "schema_version": SCHEMA_VERSION,
            "sources": sources,
            "sha256": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in sorted(files.items())},
            "left_out": left_out,
        }
    )


def _by_size(name: str) -> tuple[str, int, str]:
    family, size = name.split(".")
    digits = "".join(c for c in size if c.isdigit())
    steps = int(digits) if digits else {"large": 0, "xlarge": 1, "metal": 999}.get(size, 998)
    return family, steps, size


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
