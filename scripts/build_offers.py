"""Builds the embedded offers, modelpick/offers/data, from facts/: instance types, GPUs, prices, regions (`make facts`).

An instance type is one row of instances.csv, a price of one market one row of prices.csv, a GPU one table of gpus.toml.
What a list of offers.toml's `coverage` would name and does not is not offered there. left_out.csv names the instance
types that are not offered anywhere, each with the reason. The same facts give the same bytes.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from facts_folder import Facts, Row, number, truth

SCHEMA_VERSION = 1
HOME = "us-east-1"
MARKETS = ("on-demand", "spot")
# Instances of the P class link their GPUs by NVLink, those of the G class by PCIe (tensor parallel over PCIe on g5,
# g6 and g6e is what the throughput measurements show).
NVLINK_CLASSES = ("p",)


def build(facts: Facts) -> dict[str, str]:
    """The data files by name. Raises ValueError for a row that names a GPU, instance or source no other file knows."""
    about, described = facts.toml("offers.toml"), facts.toml("gpus.toml")
    gpus = facts.named("gpus.toml", described["gpus"])
    instances = sorted(facts.csv("instances.csv"), key=lambda row: _by_size(row["instance_type"]))
    listed = facts.csv("prices.csv")
    regions = {row["code"]: row["description"] for row in _by("code", facts.csv("regions.csv"))}
    history = facts.csv("price_history.csv")
    names, sources = {row["instance_type"] for row in instances}, about["price_sources"]
    for row in instances:
        _known("GPU", row["gpu"], gpus)
    for row in (*listed, *history):
        _known("instance type", row["instance_type"], names)
    for row in listed:
        _known("region", row["region"], regions)
        _known("market", row["market"], MARKETS)
        for source in row["sources"].split():
            _known("source of a price", source, sources)
    by_region = _prices(listed, about["coverage"], [row["instance_type"] for row in instances], regions)
    files = {
        "gpus.json": _pretty(
            {"schema_version": SCHEMA_VERSION, "as_of": described["as_of"], "units": described["units"],
             "sources": described["sources"], "gpus": {name: _gpu(gpu) for name, gpu in gpus.items()}}
        ),
        "instances.jsonl": _lines(map(_instance, instances)),
        "prices.jsonl": _lines(by_region),
        "price_history.json": _history(history, sources["karpenter"]),
        "auxiliary.json": _pretty({"schema_version": SCHEMA_VERSION, **_auxiliary(about["auxiliary"])}),
        "regions.json": _pretty(
            {"schema_version": SCHEMA_VERSION, "source": about["regions_source"],
             "regions": regions}
        ),
    }  # fmt: skip
    left_out = {
        row["instance_type"]: {name: row[name] or None for name in ("status", "reason", "source")}
        for row in _by("instance_type", facts.csv("left_out.csv"))
    }
    newest = max(row["as_of"] for row in listed if row["market"] == "on-demand")
    return files | {"manifest.json": _manifest(files, sources, newest, left_out)}


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


def own_gpus(facts: Facts) -> str:
    """own_gpus.jsonl: a card that can be owned a line, those of one maker together."""
    rows = sorted(facts.csv("own_gpus.csv"), key=lambda row: (row["maker"], row["gpu"]))
    return _lines(
        {
            "gpu": row["gpu"],
            "maker": row["maker"],
            "form": row["form"],
            "memory_gib": number(row["memory_gib"]) if row["memory_gib"] else None,
            "bandwidth_gbs": number(row["bandwidth_gbs"]),
            "tflops": number(row["tflops"]),
            "compute_capability": row["compute_capability"],
            "source": row["source"],
        }
        for row in rows
    )


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


def _prices(
    listed: Iterable[Row], coverage: Iterable[Mapping[str, Any]], names: Sequence[str], regions: Iterable[str]
) -> list[dict[str, Any]]:
    """A line for each region: what is known of each type there. A type that is absent from its line is unknown there.

    Raises ValueError for two prices of one type, region and market.
    """
    types: dict[str, dict[str, dict[str, Any]]] = {region: {} for region in regions}
    named_by: dict[str, set[str]] = {}
    for row in _by("market", listed):
        known, market = types[row["region"]].setdefault(row["instance_type"], {}), row["market"]
        if market in known:
            raise ValueError(f"{row['instance_type']} has two {market} prices in {row['region']}")
        sources = row["sources"].split()
        known[market] = {"usd_per_hour": float(row["usd_per_hour"]), "as_of": row["as_of"], "sources": sources}
        for source in sources:
            named_by.setdefault(source, set()).add(row["instance_type"])
    for cover in coverage:
        named = cover.get("types") or sorted(named_by.get(cover["source"], ()))
        for region in cover["regions"]:
            for name in names:
                if name in named or name.split(".")[0] in named:
                    absent = {"not_offered": {"as_of": cover["as_of"], "sources": [cover["source"]]}}
                    types[region].setdefault(name, absent)
    order = {name: place for place, name in enumerate(names)}
    return [
        {"region": region, "types": dict(sorted(types[region].items(), key=lambda one: order[one[0]]))}
        for region in sorted(types)
    ]


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


def _manifest(
    files: Mapping[str, str], sources: Mapping[str, str], newest: str, left_out: Mapping[str, Mapping[str, Any]]
) -> str:
    return _pretty(
        {
            "schema_version": SCHEMA_VERSION,
            "prices_as_of": newest,
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
