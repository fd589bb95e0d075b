"""Builds what the constants of speed are fitted on, three files in benchmarks/data, from facts/ (`make facts`), and
modelpick/speed/data/operators.json.

speeds.jsonl: the published speeds of measured_speed.csv and measured_speed_2026.csv. speed_models.json: the shapes of
the models measured, from configs.jsonl or else measured_shapes.jsonl. speed_gpus.json: the GPUs of measured_gpus.csv,
which AWS does not rent. operators.json: what operator_speed.csv says by weight format and by GPU.
Published rows that cannot be scored (ambiguous unit, ratio only, physically impossible, no token count) are not among
the facts; of our own runs they are, graded C.
"""

import json
import statistics
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from facts_folder import Facts, number, truth

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import speed_rows

# Whose lines stand for a weight format: those that engines are tuned for. A share above 1.2 is a line that does not
# describe its points (a start that hides the reading), and below 0.3 a kernel that no engine takes for its checkpoints.
_TUNED_GPUS = ("H100-80GB", "H200", "B200", "B300")
_SHARES = (0.3, 1.2)


def build(facts: Facts) -> dict[str, str]:
    """The files by name. Raises KeyError for a measured model whose shape no file tells."""
    measured = speed_rows.read_rows(facts.csv("measured_speed.csv", empty=""))
    measured += speed_rows.read_rows_2026(facts.csv("measured_speed_2026.csv", empty=""))
    shapes = {row["id"]: row["config"] for row in facts.jsonl("configs.jsonl")}
    for row in facts.jsonl("measured_shapes.jsonl"):
        if not row["source"]:
            raise ValueError(f"{row['model']}: a shape needs a source")
        shapes[row["model"]] = row["config"]
    models = {name: shapes[name] for name in sorted({row["model"] for row in measured})}
    gpus = {
        row["gpu"]: {
            "architecture": row["architecture"],
            "bandwidth_gbs": number(row["bandwidth_gbs"]),
            "fp16_tflops": number(row["fp16_tflops"]),
            "memory_gib": number(row["memory_gib"]),
            "fp8": truth(row["fp8"]),
            "source": row["source"],
        }
        for row in facts.csv("measured_gpus.csv")
    }
    return {
        "speeds.jsonl": "".join(json.dumps(row) + "\n" for row in measured),
        "speed_models.json": "{\n"
        + ",\n".join(f"{json.dumps(name)}: {json.dumps(config)}" for name, config in models.items())
        + "\n}\n",
        "speed_gpus.json": json.dumps(gpus, indent=1) + "\n",
    }


def operators(facts: Facts) -> str:
    """The text of operators.json: lines by weight format, the middle of the GPUs; and what differs by GPU."""
    rows = sorted((dict(row) for row in facts.csv("operator_speed.csv", empty="")), key=_identity)
    dense = [row for row in rows if row["kind"] == "gemm"]
    reference = statistics.median(float(row["share"]) for row in _tuned(dense) if row["weights"] == "bf16")
    large = {(row["gpu"], row["weights"]): float(row["large_tflops"]) for row in dense}
    experts = [row for row in rows if row["kind"] == "experts"]
    content = {
        "source": "; ".join(sorted({f"{row['source']}, {row['license']}, {row['engine']}" for row in rows})),
        "weights": _lines(dense, reference),
        "experts": _lines(experts, reference),
        "gpus": {
            gpu: {
                "gains": {
                    weights: round(large[gpu, weights] / large[gpu, "bf16"], 2)
                    for name, weights in large
                    if name == gpu and weights != "bf16"
                },
                "experts": _lines([row for row in experts if row["gpu"] == gpu], reference),
                "allreduce_us": {
                    row["gpus"]: float(row["start_us"])
                    for row in rows
                    if row["kind"] == "allreduce" and row["gpu"] == gpu
                },
                # The most that was reached: over more GPUs it also depends on how a host wires them.
                "link_gbs": max(
                    float(row["link_gbs"]) for row in rows if row["kind"] == "allreduce" and row["gpu"] == gpu
                ),
            }
            for gpu in dict.fromkeys(row["gpu"] for row in dense)
        },
    }
    return json.dumps(content, indent=1) + "\n"


def _identity(row: Mapping[str, Any]) -> tuple[str, str, str, int]:
    return row["kind"], row["gpu"], row["weights"], int(row["gpus"])


def _tuned(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["gpu"] in _TUNED_GPUS and _SHARES[0] < float(row["share"]) < _SHARES[1]]


def _lines(rows: Iterable[Mapping[str, Any]], reference: float) -> dict[str, dict[str, float]]:
    """The middle start and share of each weight format; shares in relation to `reference`, at most the same."""
    tuned = _tuned(rows)
    return {
        weights: {
            "start_us": round(
                statistics.median(float(row["start_us"]) for row in tuned if row["weights"] == weights), 1
            ),
            "share": round(
                min(
                    1.0,
                    statistics.median(float(row["share"]) for row in tuned if row["weights"] == weights) / reference,
                ),
                3,
            ),
        }
        for weights in sorted({row["weights"] for row in tuned})
    }
