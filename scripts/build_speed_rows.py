"""Builds what the constants of speed are fitted on, three files in benchmarks/data, from facts/ (`make facts`).

speeds.jsonl: the published speeds of measured_speed.csv. speed_models.json: the shapes of the models measured, from
configs.jsonl or else measured_shapes.jsonl. speed_gpus.json: the GPUs of measured_gpus.csv, which AWS does not rent.
Rows that cannot be scored (ambiguous unit, ratio only, physically impossible, no token count) are not among the facts.
"""

import json
import sys
from pathlib import Path

from facts_folder import Facts, number, truth

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import speed_rows


def build(facts: Facts) -> dict[str, str]:
    """The files by name. Raises KeyError for a measured model whose shape no file tells."""
    measured = speed_rows.read_rows(facts.csv("measured_speed.csv", empty=""))
    shapes = {row["id"]: row["config"] for row in facts.jsonl("configs.jsonl")}
    for row in facts.jsonl("measured_shapes.jsonl"):
        if not row["source"]:
            raise ValueError(f"{row['model']}: a shape needs a source")
        shapes[row["model"]] = row["config"]
    models = {name: shapes[name] for name in sorted({row["model"] for row in measured})}
    gpus = {
        row["gpu"]: {
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
