"""What the process takes in addition to its tensors, and how far measured peaks lie from the estimate. Pure.

The CUDA context, what the caching allocator holds in reserve, and the 90 % interval that benchmarks/calibrate_memory.py
measured for each kind of case.
"""

import json
from functools import cache

from modelpick.files import data_file
from modelpick.workload import Workload

# nvidia-smi over torch's reserved memory: 0.45-1.3 GiB by GPU, driver and what is loaded. Fitted within that range on
# the published figures of QwenLM/Qwen: serving (14 figures) near the low end, training with its optimizer kernels and
# communicator (26) near the high one; median residual 4 % and 6 %. Since then contexts have grown: an H200 with CUDA 13
# and torch 2.11 takes 0.70 GiB to serve, 0.76 with bitsandbytes' kernels (benchmarks/on_gpu.py), so serving counts 0.7.
CONTEXT = {"serve": 0.7 * 2**30, "finetune": 1.2 * 2**30}
# Reserved over allocated: 1-8 % typically (torch/csrc/cuda/CUDACachingAllocator.cpp rounds segments to 2 or 20 MiB).
SLACK = 0.03
# vLLM captures CUDA graphs after it has measured its peak: 0.3-1 GiB in its own log lines ("Graph capturing finished").
GRAPHS = 0.5 * 2**30
# A cache that grows by torch.cat leaves behind blocks that no later, larger one fits into: reserved memory grows twice
# as fast as the cache. Fitted on Qwen-7B's published figures by batch and by length (README of QwenLM/Qwen, KV cache
# tables, 14 figures): median residual 6 % after it, up to 30 % before.
GROWTH = 1.0

KINDS = (
    "serve", "serve-quantized", "serve-int8", "serve-sharded",
    "lora", "lora-int8", "qlora", "full", "prompt-tuning", "finetune-sharded",
)  # fmt: skip


def runtime_bytes(allocated: float, grown: float, workload: Workload) -> float:
    """Bytes of the process in addition to `allocated` bytes of tensors, as `workload.measure` counts them.

    `grown`: bytes of the cache that generation added by growing it.
    """
    if workload.measure == "allocated":
        return 0.0
    reserve = 0.0 if workload.stack == "llama.cpp" else SLACK * allocated + GROWTH * grown  # its buffers are exact
    if workload.measure == "reserved":
        return reserve
    return reserve + CONTEXT[workload.task] + (GRAPHS if workload.stack == "vllm" else 0.0)


@cache
def _table() -> dict[str, tuple[float, float]]:
    strata = json.loads(data_file("memory", "intervals.json").read_text(encoding="utf-8"))["strata"]
    return {name: (float(row["below"]), float(row["above"])) for name, row in strata.items()}


def kind(workload: Workload) -> str:
    """The kind of run, as far as it changes how well its memory can be estimated: one of KINDS."""
    if workload.gpus > 1:
        return f"{workload.task}-sharded"
    if workload.task == "finetune":
        return workload.method
    if workload.method == "bf16":
        return "serve"
    return "serve-int8" if workload.method == "int8" else "serve-quantized"


def stratum(workload: Workload) -> str:
    """The kind of case that intervals are kept for: what is done, and how it is measured."""
    return f"{kind(workload)}/{workload.measure}"


def interval(workload: Workload) -> tuple[float, float]:
    """How far below and above the estimate the measured peak lies in 90 % of cases, as fractions of the estimate."""
    return _table()[stratum(workload)]
