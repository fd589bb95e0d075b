"""What rows that are shared, and chats that are one row, save: tokens computed, and seconds on this machine.

python benchmarks/packing_gain.py

Lengths are drawn log-normal (median 120 tokens, at most 1,024), as instruction data are: most short, a few long. The
model is a Llama of 1 M random parameters, so that seconds are mostly those of the layers. A chat of 20 turns is one row
today, and was one row an answer.
"""

import random
import time
from typing import Any

import torch
import transformers

from modelpick.loading.tokenize import IGNORED, EncodedRow
from modelpick.training import packing

EXAMPLES, BATCH, TURNS = 64, 8, 20


def drawn(seed: int) -> list[EncodedRow]:
    """Examples whose last third is learned."""
    chance = random.Random(seed)
    rows = []
    for _ in range(EXAMPLES):
        length = max(8, min(1024, round(chance.lognormvariate(4.8, 0.8))))
        ids = [chance.randrange(5, 1000) for _ in range(length)]
        rows.append(EncodedRow(input_ids=ids, labels=[IGNORED] * (2 * length // 3) + ids[2 * length // 3 :]))
    return rows


def padded(rows: list[EncodedRow]) -> dict[str, Any]:
    """The batch as it is without packing."""
    width = max(len(row["input_ids"]) for row in rows)
    rest = [width - len(row["input_ids"]) for row in rows]
    ids = [row["input_ids"] + [0] * more for row, more in zip(rows, rest, strict=True)]
    labels = [row["labels"] + [IGNORED] * more for row, more in zip(rows, rest, strict=True)]
    mask = [[1] * (width - more) + [0] * more for more in rest]
    named = {"input_ids": ids, "labels": labels, "attention_mask": mask}
    return {name: torch.tensor(value) for name, value in named.items()}


def measured(model: Any, rows: list[EncodedRow], collate: Any) -> tuple[int, float]:
    """Positions computed, and seconds of an epoch's forward and backward passes."""
    positions, start = 0, time.perf_counter()
    for at in range(0, len(rows), BATCH):
        batch = collate(rows[at : at + BATCH])
        positions += batch["input_ids"].numel()
        model(**batch, use_cache=False).loss.backward()
        model.zero_grad()
    return positions, time.perf_counter() - start


def main() -> None:
    """Print one line a way of making batches."""
    config = transformers.LlamaConfig(
        vocab_size=1000, hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4
    )
    model = transformers.LlamaForCausalLM(config)
    rows = drawn(0)
    tokens = sum(len(row["input_ids"]) for row in rows)
    print(f"{EXAMPLES} examples of {tokens:,} tokens, micro-batches of {BATCH}; keeps examples apart: ", end="")
    print(packing.keeps_apart(model))
    by_length = sorted(rows, key=lambda row: len(row["input_ids"]))
    for name, order, collate in (
        ("padded", rows, padded),
        ("packed", rows, packing.PackingCollator(0)),
        ("padded, grouped by length", by_length, padded),
    ):
        positions, seconds = measured(model, order, collate)
        print(f"{name:26} {positions:7,} positions, {positions / tokens:4.2f} a token, {seconds:5.1f} s")
    alone = sum(range(2, TURNS + 1, 2))
    print(
        f"a chat of {TURNS} turns of like lengths: {alone / TURNS:.1f} times its tokens as one row an answer, 1 as one"
    )


if __name__ == "__main__":
    main()
