"""Turns published memory measurements into the cases of benchmarks/memory_accuracy.py (`make facts`).

facts/measured_memory.csv becomes benchmarks/data/memory_cases.jsonl: one measurement a line, in the words of a
workload, with its source, in GiB per GPU, and with what the table says that a workload cannot. Its rows are the
measurements that a workload describes: adapters other than LoRA, mixed precision and pipelines were left out of it.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from facts_folder import Facts

_METHODS = {
    "none": "bf16", "bnb.nf4": "nf4", "bnb.nf4-dq": "nf4", "bnb.fp4-dq": "nf4", "bnb.int8": "int8",
    "gptq-int4": "gptq", "gptq-int8": "gptq", "awq": "awq", "awq-int4": "awq", "fp8": "fp8",
}  # fmt: skip
_DTYPES = {"bf16": "bf16", "bfloat16": "bf16", "fp16": "fp16", "fp32": "fp32"}
_ATTENTION = {"flash_attention_2": "flash", "sdpa": "sdpa", "eager": "eager", "": "sdpa"}


def build(facts: Facts) -> str:
    """The text of the file."""
    return "".join(
        json.dumps(case(row), ensure_ascii=False) + "\n" for row in facts.csv("measured_memory.csv", empty="")
    )


def case(row: Mapping[str, Any]) -> dict[str, Any]:
    """One case. Raises KeyError for a data type or a quantization that no workload describes."""
    method = row["method"]
    total = "total" in row["metric"] or "summed" in row["metric"]
    gpus, sharding = int(row["gpus"] or 1), row["sharding"]
    workload: dict[str, Any] = {
        "task": "serve" if method == "infer" else "finetune",
        "method": _METHODS[row["quant"]] if method == "infer" else method,
        "context": int(row["seq_len"]),
        "batch": int(row["batch"]),
        "dtype": _DTYPES[row["dtype"]],
        "attention": _ATTENTION[row["attn"]],
        "stack": "litgpt" if row["stack"].startswith("litgpt") else "transformers",
        "measure": _measure(row["metric"]),
    }
    if row["quant"].endswith("-dq"):
        workload["double_quantization"] = True
    if method == "infer":
        workload["generate"] = int(row["gen_len"] or 0)
        if "KV cache int8" in row["notes"]:
            workload["kv_cache_dtype"] = "int8"
    else:
        workload["gradient_checkpointing"] = row["grad_ckpt"] == "True"
        if row["grad_accum"] not in ("", "1"):
            workload["gradient_accumulation"] = int(row["grad_accum"])
        if method != "full":
            targets = row["lora_targets"]
            if targets == "default":  # peft utils/constants.py, TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
                targets = "query_key_value" if "bloom" in row["model"] else "q|v"
            workload["lora_targets"] = targets.replace("|", ",")
            workload["lora_rank"] = int(row["lora_rank"])
    measured = float(row["measured_gib"])
    if gpus > 1 and not sharding.startswith("pipeline") and sharding:
        workload["gpus"] = gpus
        workload["sharding"] = {"FSDP": "fsdp", "TP": "tensor-parallel"}.get(sharding, "zero3")
        measured = measured / gpus if total else measured
    if "finetune.py" in row["stack"] and gpus == 1 and method in ("qlora", "full"):
        # QwenLM/Qwen finetune/finetune_qlora_single_gpu.sh (fp16) and finetune_ds.sh: DeepSpeed also on one card
        workload["sharding"] = "zero2"
        workload["dtype"] = "fp16" if method == "qlora" else workload["dtype"]
    grade = row["quality"]
    if "finetune.py" in row["stack"] and gpus > 1:
        # The stage and that nothing is offloaded stand in finetune_ds.sh, finetune_lora_ds.sh and ds_config_zero*.json.
        workload["sharding"] = "zero2" if method == "lora" and "Zero3" not in row["notes"] else "zero3"
        grade = "B"
    if row["stack"].startswith("modelpick "):  # our own loop, as planning.recipe.as_trained describes it
        workload |= {"stack": "modelpick", "loss_chunking": True, "optimizer": "adamw-fused"}
    elif version := re.match(r"transformers ~?(\d+\.\d+)", row["stack"]):
        workload["stack_version"] = version[1]
    return {
        "id": row["id"],
        "source": row["source"],
        "grade": grade,
        "model": _measured_model(row["model"]),
        "workload": workload,
        "measured_gib": round(measured, 3),
        "summed_over": gpus if sharding.startswith("pipeline") else 1,
        "quantization": row["quant"],
        "metric": row["metric"],
        "stack_versions": row["stack"],
        "gpu": row["gpu"],
        "notes": row["notes"],
    }


def _measured_model(model: str) -> str:
    """Qwen2's speed tables are of the instruct models, whose context is a quarter of the base models'."""
    return f"{model}-Instruct" if re.fullmatch(r"Qwen/Qwen2-[^-]+(-A14B)?", model) else model


def _measure(metric: str) -> str:
    if "reserved" in metric:
        return "reserved"
    return "allocated" if "allocated" in metric else "device"
