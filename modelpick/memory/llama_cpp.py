"""llama.cpp on one GPU: the file's tensors there, its cells of cache, its compute buffer. Pure.

Read from llama.cpp, mid 2026: src/llama-model.cpp (the last `n_gpu_layers` layers are on the GPU, the output counting
as one more; the embedding table stays in RAM), common/arg.cpp (--n-cpu-moe: the experts of the first layers stay in
RAM), src/llama-context.cpp (the compute buffer is reserved for a batch of 512 tokens that all want logits).
"""

from dataclasses import dataclass

from modelpick.catalog.architecture.shape import Architecture
from modelpick.memory import activations
from modelpick.memory.gguf_levels import TYPE_BITS, USUAL_LEVEL, GgufBytes, file_bytes
from modelpick.memory.parts import MemoryParts
from modelpick.memory.stacks import Stack
from modelpick.workload import Workload, version_of

_FLOAT = 4.0  # activations and logits are fp32
_MASK = 2.0  # the mask of flash attention is fp16
_FLASH_SINCE = (6325,)  # the build from which flash attention is chosen by itself


@dataclass(frozen=True, slots=True)
class OnGpu:
    """Bytes of weights on the GPU, and the part of the layers (with their cache) that is there."""

    weights: float
    layers: float
    moved: float  # the largest tensor of experts in RAM, which a long prompt copies over


def serving_parts(
    architecture: Architecture, workload: Workload, stack: Stack, parameters: int, cache: float
) -> MemoryParts:
    """The peak of a server without the process's own bytes. `cache`: bytes of all layers' cells."""
    made = on_gpu(architecture, workload, parameters)
    return MemoryParts(
        weights=made.weights, kv_cache=cache * made.layers, activations=_buffer(architecture, workload, stack, made)
    )


def on_gpu(architecture: Architecture, workload: Workload, parameters: int) -> OnGpu:
    """What of a file is on the GPU. Where nothing is said of layers, all of it, the embedding table included."""
    file = file_of(architecture, workload)
    counted = max(parameters / architecture.parameters, 1.0) if architecture.parameters else 1.0
    depth = max(architecture.depth, 1)
    routed = sum(group.count for group in architecture.layers if group.experts)
    layers = depth if workload.n_gpu_layers is None else min(workload.n_gpu_layers, depth)
    first = depth - layers  # of the layers on the GPU; experts come last
    in_ram = max(min(workload.n_cpu_moe, depth) - max(first, depth - routed), 0)
    weights = file.layers * layers / depth + (file.other if layers else 0.0)
    each = file.experts / routed if routed else 0.0
    weights -= each * in_ram
    if workload.n_gpu_layers is None:
        weights += file.embedding + file.output
    elif workload.n_gpu_layers > depth:  # a tied output is a copy of the embedding
        weights += file.output or file.embedding
    return OnGpu(max(weights, 0.0) * counted, layers / depth, each / 2 if in_ram else 0.0)


def _buffer(architecture: Architecture, workload: Workload, stack: Stack, made: OnGpu) -> float:
    """The compute buffer: logits of a batch, or its widest layer; scores without flash attention. TriLM's vocabulary of
    50,688 and width of 3,072 make 105 MiB, as llama.cpp logs (99 and 6)."""
    if not made.layers:
        return 0.0
    batch = float(stack.prefill_tokens)
    tokens = float(workload.context + workload.generate)
    hidden = batch * architecture.hidden * _FLOAT
    inner = activations.transient_bytes(architecture, architecture.layers, batch, _FLOAT, stack)
    logits = batch * architecture.vocabulary * _FLOAT + hidden
    heads = max((group.attention.heads for group in architecture.layers if group.attention), default=0)
    version = version_of(workload.stack_version)
    if workload.attention == "eager" or (version and version < _FLASH_SINCE):
        inner += heads * batch * tokens * _FLOAT
    elif heads:
        logits += batch * tokens * _MASK
        inner += batch * tokens * _MASK
    return max(inner, logits) + made.moved


def file_of(architecture: Architecture, workload: Workload) -> GgufBytes:
    """The tensors of the file: by its own table where that is at hand and no level is named, else by the level."""
    own = architecture.checkpoint
    if workload.gguf_level is None and own is not None and own.file:
        told = dict(own.file)
        return GgufBytes(*(float(told.get(part, 0)) for part in ("layers", "experts", "embedding", "output", "other")))
    return file_bytes(architecture, workload.gguf_level or USUAL_LEVEL)


def formula(level: str | None) -> str:
    """What `--explain` shows for the weights."""
    named = level or USUAL_LEVEL
    return f"tensors of a {named} file, each in its type" + (
        f" ({TYPE_BITS[named]:g} bits a weight where nothing else applies)" if named in TYPE_BITS else ""
    )
