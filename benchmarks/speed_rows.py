"""Published measurements as they are collected (CSV) -> the rows of data/speeds.jsonl."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# Method names of the sources -> ours.
METHODS = {
    "int4": "gptq", "gptq-int4": "gptq", "w4a16": "awq", "q4_k_m": "gguf", "fp4": "nvfp4", "nf4-dq": "nf4",
    "w4a8kv4": "awq", "fp8_block": "fp8", "qlora-gptq": "qlora",
}  # fmt: skip


def read_csv(path: Path) -> list[dict[str, Any]]:
    """The rows that can be scored: not graded C (ambiguous unit, ratio only, impossible, contradicted by its
    own run), with tokens counted."""
    with path.open(encoding="utf-8", newline="") as file:
        return read_rows(csv.DictReader(file))


def read_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same of rows that are read already; an empty cell is an empty string."""
    return [_row(row) for row in rows if row["quality"] != "C" and row["toks_per_s"]]


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    def number(key: str) -> float | None:
        return float(row[key]) if row[key] else None

    answer: dict[str, Any] = {
        "id": row["id"],
        "source": row["source"],
        "model": row["model"],
        "task": row["task"],
        "method": METHODS.get(row["method"], row["method"]),
        "gpu": row["gpu"],
        "gpus": int(row["gpus"]),
        "parallel": row["parallel"],
        "batch": "saturated" if row["batch"] == "saturated" else number("batch"),
        "accumulation": number("grad_accum"),
        "prompt": number("in_len"),
        "generated": number("out_len"),
        "checkpointing": {"True": True, "False": False}.get(row["grad_ckpt"]),
        "stack": _stack(row),
        "version": row["stack"],
        "tokens_per_s": float(row["toks_per_s"]),
        "grade": row["quality"],
    }
    return {key: value for key, value in answer.items() if value not in (None, "")}


def _stack(row: Mapping[str, Any]) -> str:
    """The class of stacks whose constants a row shares, where that differs from the source's own name.

    vLLM before 0.7 captured no graph beyond `max_seq_len_to_capture` (8,192 tokens) and ran eagerly there: the older
    Qwen sweep left that default, and halves beyond it. LLM.int8 kernels are four times slower than other bitsandbytes
    ones. The batched llama.cpp runs went through a server of 2024 that is half as fast on one sequence.
    """
    stack: str = row["stackclass"]
    tokens = float(row["in_len"] or 0) + float(row["out_len"] or 0)
    if stack == "vllm" and "Qwen2.5@4da996c" in row["source"] and tokens > 8192 + 2048:
        return "vllm-eager"
    if stack == "eager-bnb" and row["method"] == "int8":
        return "eager-int8"
    if stack == "llamacpp" and "LLM-Inference-Bench" in row["source"]:
        return "llamacpp-server"
    return stack


# From which version on an engine is what it is today: vLLM's rewritten core with piecewise graphs (0.8, and the first
# published sweeps of it are of 0.11), SGLang and TensorRT-LLM as in the sweeps of 2025 and 2026.
CLASSES_2026 = {"vllm": "vllm-0.11", "sglang": "sglang-0.5", "trtllm": "trtllm-1.0"}


def read_rows_2026(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Two measurements of each row without a doubt: the tokens of a closed loop, and the wait for the first one (as its
    inverse).

    The whole of a request takes first + per_token * (out - 1). Each model counts as a source of its own.
    """
    answer = []
    for row in rows:
        if row["doubt"]:
            continue
        first, each = float(row["first_token_ms"]) / 1e3, float(row["per_token_ms"]) / 1e3
        batch, generated = float(row["concurrency"]), float(row["out_len"])
        common = {
            "id": f"aic:{row['id']}",
            "source": f"{row['source']} ({row['license']}): {row['model']}",
            "model": row["model"],
            "task": "serve-throughput",
            "method": row["method"],
            "gpu": row["gpu"],
            "gpus": int(row["gpus"]),
            "parallel": "TP",
            "batch": batch,
            "prompt": float(row["in_len"]),
            "generated": generated,
            "stack": CLASSES_2026[row["stack"]],
            "version": row["version"],
            "tokens_per_s": round(batch * generated / (first + each * (generated - 1)), 2),
            "grade": "B",
        }
        common |= {name: float(row[name]) for name in ("at_once", "polled_every") if row[name]}
        if row["cache"]:
            common["cache_bytes"] = {"fp8": 1.0, "bf16": 2.0}[row["cache"]]
        answer.append(common)
        if row["wait_doubt"]:
            continue
        answer.append(
            {**common, "id": f"{common['id']}:first", "task": "serve-first-token", "tokens_per_s": round(1 / first, 4)}
        )
    return answer
