"""Turns the weights that servers log and files hold into cases of benchmarks/memory_accuracy.py (`make facts`).

facts/measured_server_weights.csv becomes benchmarks/data/server_weights.jsonl: what one GPU holds of a model's weights,
with the workload that describes it.
"""

import json
from typing import Any

from facts_folder import Facts, Row


def build(facts: Facts) -> str:
    """The text of the file."""
    return "".join(json.dumps(case(row)) + "\n" for row in facts.csv("measured_server_weights.csv"))


def case(row: Row) -> dict[str, Any]:
    """One case; `gguf LEVEL` names a method and its level."""
    method, _, level = row["method"].partition(" ")
    workload = {"task": "serve", "method": method, "stack": row["stack"], "gpus": int(row["gpus"])}
    if row["version"]:
        workload["stack_version"] = row["version"]
    if level:
        workload["gguf_level"] = level
    return {"model": row["model"], "workload": workload, "measured_gib": float(row["gib"]), "source": row["source"]}
