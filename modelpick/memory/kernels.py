"""What an engine's kernels hold in addition to a checkpoint's own weights: padding, copies, repeated heads. Pure.

Each rule is read from the engine's code; stacks.py says which engine has which.
"""

import math

from modelpick.catalog.architecture.shape import Architecture, Experts, LayerGroup, Projection
from modelpick.memory.stacks import Stack

_MXFP4_BITS, _NVFP4_BITS = 4.25, 4.5
# vLLM 0.10 to 0.32, quantization/mxfp4.py and fused_moe/oracle/mxfp4.py: gpt-oss-120b holds 65.97 GiB on an H100, of a
# checkpoint of 60.8 (vLLM issue 23278). FlashInfer on B200 rounds both up to 256.
_MARLIN_HIDDEN, _MARLIN_WIDTH = 256, 128
# vLLM quantization/utils/marlin_utils_fp4.py, _pad_to_marlin_tile: NVFP4's output rows.
_NVFP4_ROWS = 64
_COPIED = frozenset({"q_a_proj", "kv_a_proj_with_mqa"})  # vLLM models/deepseek_v2.py: ReplicatedLinear


def up(size: float, multiple: int) -> int:
    """The next multiple, at least `size`."""
    return math.ceil(size / multiple) * multiple


def vocabulary_factor(vocabulary: int, stack: Stack, gpus: int) -> float:
    """Rows of the embedding and the output matrix over the model's own: padded, and to a share for each GPU."""
    multiple = stack.vocabulary_multiple
    if multiple == 1 or not vocabulary:
        return 1.0
    return up(vocabulary, math.lcm(multiple, gpus)) / vocabulary


def expert_factor(experts: Experts, hidden: int, bits: float, stack: Stack, gpus: int) -> float:
    """Padded over stored weights of the routed experts, whose matrices are cut by width over the GPUs."""
    if not stack.pads_experts:
        return 1.0
    width = experts.width / gpus
    if bits == _MXFP4_BITS:
        return up(width, _MARLIN_WIDTH) * gpus * up(hidden, _MARLIN_HIDDEN) / (experts.width * hidden)
    if bits == _NVFP4_BITS:
        return up(width, _NVFP4_ROWS) * gpus * up(hidden, _NVFP4_ROWS) / (experts.width * hidden)
    return 1.0


def copied_share(
    architecture: Architecture, group: LayerGroup, projection: Projection, stack: Stack, gpus: int
) -> float:
    """The part of a matrix that every GPU holds whole under tensor parallelism.

    Where it is not known how an engine splits a mixture of experts (a shape that is only guessed), all but the experts:
    DeepSeek-V4-Pro holds 125.65 GiB on each of 8 GPUs, an eighth of its file would be 101 (InferenceX issue 2128).
    """
    if gpus == 1:
        return 0.0
    if architecture.guessed and group.experts is not None:
        return 1.0
    latent = group.attention is not None and group.attention.latent
    return 1.0 if latent and stack.absorbs_latent and projection.name in _COPIED else 0.0


def repeated_heads(group: LayerGroup, projection: Projection, gpus: int) -> float:
    """What a GPU holds of key and value projections beyond its share, as a part of the matrix: with fewer heads than
    GPUs each head is on several (vLLM layers/linear.py QKVParallelLinear, num_kv_head_replicas)."""
    attention = group.attention
    if gpus == 1 or attention is None or attention.latent or projection.role not in ("key", "value", "qkv"):
        return 0.0
    heads = attention.kv_heads
    beyond = math.ceil(heads / gpus) / heads - 1 / gpus
    if projection.role != "qkv":
        return max(beyond, 0.0)
    return max(beyond, 0.0) * min(1.0, attention.kv_width / max(projection.outputs, 1))


def absorbed_bytes(group: LayerGroup, stack: Stack, element_bytes: float) -> float:
    """Bytes of one layer's copies of kv_b_proj, by which MLA is computed in the latent."""
    if not stack.absorbs_latent or group.attention is None or not group.attention.latent:
        return 0.0
    return sum(p.weights for p in group.projections if p.name == "kv_b_proj") * element_bytes
