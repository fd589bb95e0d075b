"""Builds benchmarks/data from a folder of collected facts: published speeds, the models' shapes, the GPUs' figures.

    python scripts/build_speed_rows.py FACTS_DIR

Rows that cannot be scored (ambiguous unit, ratio only, physically impossible: grade C, or no token count) are left out.
"""

import json
import sys
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import speed_rows  # noqa: E402

DATA = BENCHMARKS / "data"
# Shapes the facts folder lacks, in config.json's own keys.
# mpt-*: mosaicml/llm-foundry scripts/train/yamls/pretrain/mpt-*.yaml (sizes check against the published parameters).
MPT = {
    "125m": (12, 12, 768), "350m": (24, 16, 1024), "760m": (24, 12, 1536), "1b": (24, 16, 2048), "3b": (32, 20, 2560),
    "7b": (32, 32, 4096), "13b": (40, 40, 5120), "30b": (48, 56, 7168), "70b": (80, 64, 8192),
}  # fmt: skip
# The others: config.json of the named repository; parameters agree with the measured row's own figure.
HAND: dict[str, dict[str, Any]] = {
    "Deci/DeciLM-7B": {
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 2, "vocab_size": 32000,
    },
    "Qwen/Qwen-14B": {
        "hidden_size": 5120, "intermediate_size": 13696, "num_hidden_layers": 40, "num_attention_heads": 40,
        "num_key_value_heads": 40, "vocab_size": 152064,
    },
    "Qwen/Qwen3-235B-A22B-FP8": {
        "hidden_size": 4096, "num_hidden_layers": 94, "num_attention_heads": 64, "head_dim": 128,
        "num_key_value_heads": 4, "vocab_size": 151936, "num_experts": 128, "num_experts_per_tok": 8,
        "moe_intermediate_size": 1536, "model_type": "qwen3_moe", "intermediate_size": 12288,
        "decoder_sparse_step": 1, "mlp_only_layers": [],
    },
    "meta-llama/Llama-3.3-70B": {
        "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
        "num_key_value_heads": 8, "vocab_size": 128256,
    },
    "mistralai/Mistral-Large": {
        "hidden_size": 12288, "intermediate_size": 28672, "num_hidden_layers": 88, "head_dim": 128,
        "num_attention_heads": 96, "num_key_value_heads": 8, "vocab_size": 32768,
    },
    "mistralai/Mixtral-8x22B": {
        "hidden_size": 6144, "intermediate_size": 16384, "num_hidden_layers": 56, "num_attention_heads": 48,
        "num_key_value_heads": 8, "vocab_size": 32768, "num_local_experts": 8, "num_experts_per_tok": 2,
        "model_type": "mixtral",
    },
}  # fmt: skip
# GPUs that AWS does not rent but measurements were made on: vendor datasheets (GB/s, dense fp16 TFLOPS with fp32
# accumulate, GiB), not re-read. Their matmul speed is not measured: 75 % of the peak, as for unmeasured GPUs anywhere.
OTHER_GPUS = {
    "A100-80GB-PCIe": (1935, 312, 80, False), "H100-PCIe": (2000, 756, 80, True), "A10": (600, 125, 24, False),
    "A6000": (768, 155, 48, False), "A40": (696, 150, 48, False), "RTX3090": (936, 71, 24, False),
    "RTX4090": (1008, 165, 24, True), "RTX6000Ada": (960, 364, 48, True),
}  # fmt: skip


def main() -> int:
    """Writes the three files and says how many rows each has."""
    facts = Path(sys.argv[1])
    DATA.mkdir(parents=True, exist_ok=True)
    measured = speed_rows.read_csv(facts / "measured_speed.csv")
    models = {name: _config(name, facts) for name in sorted({row["model"] for row in measured})}
    gpus = {name: _other_gpu(*values) for name, values in OTHER_GPUS.items()}
    _write("speeds.jsonl", "".join(json.dumps(row) + "\n" for row in measured))
    _write(
        "speed_models.json",
        "{\n" + ",\n".join(f"{json.dumps(n)}: {json.dumps(c)}" for n, c in models.items()) + "\n}\n",
    )
    _write("speed_gpus.json", json.dumps(gpus, indent=1) + "\n")
    return 0


def _config(name: str, facts: Path) -> dict[str, Any]:
    """The model's shape in config.json's keys: from the configs, from the catalog facts, or entered by hand."""
    path = facts / "configs" / (name.replace("/", "--") + ".json")
    if path.exists():
        loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return loaded
    if name.startswith("mpt-"):
        layers, heads, hidden = MPT[name.removeprefix("mpt-")]
        return {"model_type": "mpt", "d_model": hidden, "n_heads": heads, "n_layers": layers, "expansion_ratio": 4,
                "vocab_size": 50368, "max_seq_len": 2048}  # fmt: skip
    if name in HAND:
        return {"model_type": "llama", "tie_word_embeddings": False, **HAND[name]}
    listed = json.loads((facts / "models.json").read_text(encoding="utf-8"))["models"]
    found = next(row for row in listed if row["id"].lower() == name.lower())
    if found["model_type"] == "kimi_k25":  # a vision tower around the same text model
        found = {**found, "model_type": "deepseek_v3"}
    renamed = {
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "num_kv_heads": "num_key_value_heads",
    }
    other = (
        "id",
        "config_",
        "params_",
        "downloads",
        "likes",
        "release",
        "pipeline",
        "context_",
        "has_",
        "vram",
        "tokenizer",
    )
    kept = {key: value for key, value in found.items() if isinstance(value, int | str) and not key.startswith(other)}
    kept.pop("license", None)
    return {renamed.get(key, key): value for key, value in kept.items()}


def _other_gpu(bandwidth: float, tflops: float, memory: float, fp8: bool) -> dict[str, Any]:
    return {
        "bandwidth_gbs": bandwidth,
        "fp16_tflops": tflops,
        "memory_gib": memory,
        "fp8": fp8,
        "source": "vendor datasheet, not re-read",
    }


def _write(name: str, text: str) -> None:
    (DATA / name).write_text(text, encoding="utf-8", newline="\n")
    print(f"{DATA / name}: {text.count(chr(10))} lines")


if __name__ == "__main__":
    sys.exit(main())
