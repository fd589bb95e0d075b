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
    """The rows that can be scored: not graded C (ambiguous unit, ratio only, impossible), with tokens counted."""
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
