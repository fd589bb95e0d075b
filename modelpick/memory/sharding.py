"""What one of several GPUs holds. Pure."""

import math
from dataclasses import dataclass

from modelpick.catalog.architecture.shape import Architecture
from modelpick.memory.quantization import ELEMENT_BYTES
from modelpick.memory.stacks import stack_of
from modelpick.memory.weights import Weights
from modelpick.workload import Workload

# Parameters that ZeRO-3 leaves gathered after use: stage3_max_live_parameters (deepspeed runtime/zero/config.py).
LIVE = 1e9


@dataclass(frozen=True, slots=True)
class Shares:
    """Of one GPU: bytes of weights, fractions of the cache, of activations and of trained state, bytes gathered."""

    weights: float
    cache: float
    activations: float
    trained: float
    gathered: float


def shares(architecture: Architecture, workload: Workload, held: Weights) -> Shares:
    """One GPU's part under the workload's sharding. Without sharding, all of it.

    Tensor parallel (arXiv 1909.08053): linear layers and embeddings are split, norms are not; KV heads are split and
    replicated when GPUs outnumber them; MLA's latent is on every GPU. ZeRO-3 and FSDP (arXiv 1910.02054, 2304.11277):
    weights, gradients and optimizer states are split, two layers are gathered at a time; every GPU has its own batch.
    ZeRO-2 leaves the weights whole.
    """
    n = workload.gpus
    if workload.sharding == "zero2":
        return Shares(held.total, 1.0, 1.0, 1 / n, 0.0)
    if n == 1 or workload.sharding == "none":
        return Shares(held.total, 1.0, 1.0, 1.0, 0.0)
    if workload.sharding == "tensor-parallel":
        outer = held.embeddings / n if stack_of(workload).splits_embeddings else held.embeddings
        weights = held.linear / n + outer + held.other
        return Shares(weights, cache_share(architecture, workload), 1.0, 1 / n, 0.0)
    layers = max(architecture.depth, 1)
    gathered = max(2 * held.linear / layers, held.embeddings)
    if workload.sharding == "zero3":
        gathered = max(gathered, LIVE * ELEMENT_BYTES[workload.dtype])
    split = held.total / n
    return Shares(split, 1.0, 1.0, 1 / n, min(gathered, held.total - split))


def cache_share(architecture: Architecture, workload: Workload) -> float:
    """The largest fraction of the cache that one GPU holds under tensor parallel: whole KV heads. 1 otherwise."""
    fraction, n = 0.0, workload.gpus if workload.sharding == "tensor-parallel" else 1
    for run in architecture.layers:
        if run.attention is not None:
            latent = run.attention.latent and workload.stack == "vllm"
            heads = run.attention.kv_heads
            fraction = max(fraction, 1.0 if latent else math.ceil(heads / n) / heads)
    return fraction or 1.0
