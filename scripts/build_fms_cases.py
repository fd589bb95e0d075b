"""Turns fms-acceleration's published benchmarks into cases of benchmarks/memory_accuracy.py (`make facts`).

facts/measured_memory_fms.csv becomes benchmarks/data/memory_cases_fms.jsonl. It holds torch's peak for each run in
github.com/foundation-model-stack/fms-acceleration, scripts/benchmarks/refs/*.csv, by table and line. The recipe is in
defaults.yaml and scenarios*.yaml there: 4096 tokens packed, gradient checkpointing, flash attention, rank 16 on q, k, v
and o with dropout 0.1, FSDP on several GPUs. Left out were runs that failed, runs on its own fused kernels except
those with Liger's loss, and models that the catalog does not know.
"""

import json
from collections.abc import Mapping
from typing import Any

from facts_folder import Facts

_REPOSITORY = "foundation-model-stack/fms-acceleration@876e2ed6f"
_TABLES = {"a100_80gb.csv": "4.48.1", "a100_80gb_liger.csv": "4.45.2"}
# The model that a quantized or mirrored repository is of.
_SAME = {
    "TheBloke/Mistral-7B-v0.1-GPTQ": "mistralai/Mistral-7B-v0.1",
    "TheBloke/Mixtral-8x7B-Instruct-v0.1-GPTQ": "mistralai/Mixtral-8x7B-Instruct-v0.1",
    "TheBloke/Llama-2-70B-GPTQ": "meta-llama/Llama-2-70b-hf",
    "TechxGenus/Meta-Llama-3-8B-GPTQ": "meta-llama/Meta-Llama-3-8B",
    "NousResearch/Llama-2-70b-hf": "meta-llama/Llama-2-70b-hf",
}


def build(facts: Facts) -> str:
    """The text of the file."""
    return "".join(json.dumps(case(row)) + "\n" for row in facts.csv("measured_memory_fms.csv"))


def case(row: Mapping[str, Any]) -> dict[str, Any]:
    """One case."""
    framework, table = row["framework"], row["table"]
    liger = framework.endswith("-liger")
    quantized = "bnb" in framework or "gptq" in framework
    method = "full" if not row["peft_method"] else "qlora" if quantized else "lora"
    gpus, half = int(row["gpus"]), row["dtype"] == "float16"
    workload: dict[str, Any] = {
        "task": "finetune", "method": method, "context": 4096, "batch": int(row["batch"]),
        "dtype": "fp16" if half else "bf16", "attention": "flash", "stack": "transformers",
        "stack_version": _TABLES[table][:4], "measure": "allocated", "gradient_checkpointing": True, "packing": True,
    }  # fmt: skip
    if method != "full":
        workload |= {"lora_rank": 16, "lora_targets": "q_proj,k_proj,v_proj,o_proj", "lora_dropout": 0.1}
    if liger:
        workload["loss_chunking"] = True
    if framework.startswith("accelerated-peft-bnb"):
        workload["kbit_prepared"] = False  # framework_plugin_bnb.py there has a function of its own: nothing in fp32
    elif framework == "baseline-peft-bnb":
        # no_peft_model: SFTTrainer prepares what is not sharded (scripts/benchmarks/refs/requirements.txt: trl 0.13.0).
        workload |= {"stack": "trl", "stack_version": "0.13", "kbit_prepared": gpus == 1}
    if gpus > 1:
        workload |= {"gpus": gpus, "sharding": "fsdp"}
    return {
        "id": f"fms-{table.removesuffix('.csv').removeprefix('a100_80gb').strip('_') or 'base'}-{row['line']}",
        "source": f"{_REPOSITORY}:scripts/benchmarks/refs/{table}",
        "grade": "A",
        "model": _SAME.get(row["model"], row["model"]),
        "workload": workload,
        "measured_gib": round(float(row["peak_bytes"]) / 2**30, 3),
        "summed_over": 1,
        "quantization": "gptq-int4" if "gptq" in framework else "bnb.nf4" if quantized else "none",
        "metric": "torch max_memory_allocated (Trainer, rank 0)",
        "stack_versions": f"transformers {_TABLES[table]} torch 2.4.1 peft 0.13.2 bitsandbytes 0.43.3",
        "gpu": "A100-80GB",
        "notes": f"{framework}; mixed precision {'bf16' if row['bf16'] else 'fp16' if row['fp16'] else 'no'}",
    }
