"""Turns fms-acceleration's published benchmarks into cases of benchmarks/memory_accuracy.py.

    python scripts/build_fms_cases.py CHECKOUT

CHECKOUT is a clone of github.com/foundation-model-stack/fms-acceleration; scripts/benchmarks/refs/*.csv hold torch's
peak for each run, defaults.yaml and scenarios*.yaml the recipe: 4096 tokens packed, gradient checkpointing, flash
attention, rank 16 on q, k, v and o with dropout 0.1, FSDP on several cards. Runs on its own fused kernels are left out,
but for those with Liger's loss, and so are models that the catalog does not know.
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

OUT = Path(__file__).resolve().parent.parent / "benchmarks" / "data" / "memory_cases_fms.jsonl"
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


def case(row: dict[str, str], table: str, number: int) -> dict[str, Any] | None:
    """One case, or None for a run that failed or ran what no workload describes."""
    framework, peak = row["framework_config"], row["mem_peak_torch_mem_alloc_in_bytes"]
    liger = framework.endswith("-liger")
    if not peak or ("foak" in framework and not liger) or "bigcode" in row["model_name_or_path"]:
        return None
    quantized = "bnb" in framework or "gptq" in framework
    method = "full" if not row["peft_method"] else "qlora" if quantized else "lora"
    gpus, half = int(row["num_gpus"]), row["torch_dtype"] == "float16"
    workload: dict[str, Any] = {
        "task": "finetune", "method": method, "context": 4096, "batch": int(row["per_device_train_batch_size"]),
        "dtype": "fp16" if half else "bf16", "attention": "flash", "stack": "transformers",
        "stack_version": _TABLES[table][:4], "measure": "allocated", "gradient_checkpointing": True, "packing": True,
    }  # fmt: skip
    if method != "full":
        workload |= {"lora_rank": 16, "lora_targets": "q_proj,k_proj,v_proj,o_proj", "lora_dropout": 0.1}
    if liger:
        workload["loss_chunking"] = True
    if gpus > 1:
        workload |= {"gpus": gpus, "sharding": "fsdp"}
    return {
        "id": f"fms-{table.removesuffix('.csv').removeprefix('a100_80gb').strip('_') or 'base'}-{number}",
        "source": f"{_REPOSITORY}:scripts/benchmarks/refs/{table}",
        "grade": "A",
        "model": _SAME.get(row["model_name_or_path"], row["model_name_or_path"]),
        "workload": workload,
        "measured_gib": round(float(peak) / 2**30, 3),
        "summed_over": 1,
        "quantization": "gptq-int4" if "gptq" in framework else "bnb.nf4" if quantized else "none",
        "metric": "torch max_memory_allocated (Trainer, rank 0)",
        "stack_versions": f"transformers {_TABLES[table]} torch 2.4.1 peft 0.13.2 bitsandbytes 0.43.3",
        "gpu": "A100-80GB",
        "notes": f"{framework}; mixed precision {'bf16' if row['bf16'] else 'fp16' if row['fp16'] else 'no'}",
    }


def main(checkout: Path) -> None:
    """Writes the cases of the tables in `checkout`."""
    made = []
    for table in _TABLES:
        path = checkout / "scripts" / "benchmarks" / "refs" / table
        with path.open(encoding="utf-8", newline="") as rows:
            cases = [case(row, table, number) for number, row in enumerate(csv.DictReader(rows), start=2)]
        made += [one for one in cases if one is not None]
    OUT.write_text("".join(json.dumps(one) + "\n" for one in made), encoding="utf-8")
    print(f"{len(made)} cases in {OUT.name}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
