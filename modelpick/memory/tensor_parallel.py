"""Whether a server's kernels can be cut over the GPUs as asked: a run that stops at its start needs no estimate. Pure.

Read from vLLM 0.32: config/model.py verify_with_parallel_config (heads), layers/linear.py QKVParallelLinear (heads of
keys and values) and quantization/fp8.py create_weights (blocks). SGLang 0.5 holds the same classes; TGI 3.3 asserts the
first (models/custom_modeling).
"""

from modelpick.catalog.architecture.shape import EXPERTS_STORED, Architecture
from modelpick.errors import UsageError
from modelpick.workload import Workload

_SERVERS = ("vllm", "sglang", "tgi")
_BLOCK = 128  # rows and columns that share a scale of FP8


def split_problem(architecture: Architecture, workload: Workload) -> UsageError | None:
    """The error for a number of GPUs that the model's matrices are not cut into, or None."""
    gpus = workload.gpus
    if workload.sharding != "tensor-parallel" or workload.stack not in _SERVERS or architecture.guessed:
        return None
    why = _uneven(architecture, gpus)
    if why is None:
        return None
    most = max(fewer for fewer in (1, 2, 4, 8, 16, 32) if fewer < gpus and _uneven(architecture, fewer) is None)
    return UsageError(
        f"{workload.stack} does not cut {why} over {gpus} GPUs",
        fix=f"use --gpus {most}, or another number that divides them",
        code="uneven_split",
    )


def _uneven(architecture: Architecture, gpus: int) -> str | None:
    """What the GPUs do not divide; nothing is left over on one."""
    if gpus == 1:
        return None
    for group in architecture.layers:
        attention, experts = group.attention, group.experts
        if attention is not None and attention.heads % gpus:
            return f"{attention.heads} attention heads"
        if attention is not None and not attention.latent:
            heads = attention.kv_heads
            if max(heads, gpus) % min(heads, gpus):
                return f"{heads} key and value heads"
        if experts is not None and _in_blocks(architecture) and experts.width % (gpus * _BLOCK):
            return f"experts that are {experts.width} wide, in FP8 blocks of {_BLOCK},"
    return None


def _in_blocks(architecture: Architecture) -> bool:
    own = architecture.checkpoint
    if own is None or own.method != "fp8":
        return False
    return any(stored.name == EXPERTS_STORED and 8 < stored.bits < 8.1 for stored in own.stored)
