"""What the process takes beside tensors: the CUDA context, and what the caching allocator holds in reserve. Pure."""

from modelpick.workload import Workload

# nvidia-smi over torch's reserved memory: 0.45-1.3 GiB by GPU, driver and what is loaded. Fitted within that range on
# the published figures of QwenLM/Qwen: serving (14 figures) near the low end, training with its optimizer kernels and
# communicator (26) near the high one; median residual 4 % and 6 %.
CONTEXT = {"serve": 0.5 * 2**30, "finetune": 1.2 * 2**30}
# Reserved over allocated: 1-8 % typically (torch/csrc/cuda/CUDACachingAllocator.cpp rounds segments to 2 or 20 MiB).
SLACK = 0.03
# vLLM captures CUDA graphs after it has measured its peak: 0.3-1 GiB in its own log lines ("Graph capturing finished").
GRAPHS = 0.5 * 2**30


# A cache that grows by torch.cat leaves behind blocks that no later, larger one fits into: reserved memory grows twice
# as fast as the cache. Fitted on Qwen-7B's published figures by batch and by length (README of QwenLM/Qwen, KV cache
# tables, 14 figures): median residual 6 % after it, up to 30 % before.
GROWTH = 1.0


def runtime_bytes(allocated: float, grown: float, workload: Workload) -> float:
    """Bytes of the process beside `allocated` bytes of tensors, as `workload.measure` counts them.

    `grown`: bytes of the cache that generation added by growing it.
    """
    if workload.measure == "allocated":
        return 0.0
    reserve = SLACK * allocated + GROWTH * grown
    if workload.measure == "reserved":
        return reserve
    return reserve + CONTEXT[workload.task] + (GRAPHS if workload.stack == "vllm" else 0.0)
