"""What attention keeps of the tokens it has seen. Pure.

Per layer and token a key and a value for each KV head (arXiv 1911.02150, 2305.13245); sliding-window layers keep at
most their window; MLA in vLLM keeps one latent (arXiv 2405.04434), in transformers the expanded heads
(modeling_deepseek_v3.py: past_key_values.update(key_states, value_states)); recurrent layers keep a fixed state. How
engines cut the cache into pages is in pages.py.
"""

from modelpick.catalog.architecture.shape import Architecture, LayerGroup
from modelpick.workload import Workload

STATE_BYTES = 4.0  # recurrent states are fp32 (modeling_falcon_h1.py, mamba_ssm)
# Bytes of an element with its scale. ggml's blocks of 32 (gguf constants.py, GGML_QUANT_SIZES).
_BLOCKS = {"q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32, "q4_0": 18 / 32}
_BITS = {"int8": 1.0, "int4": 0.5}
_SCALE = 4.0  # bytes: of a scale (vLLM's in fp32), or of a scale and a shift in 16 bits (transformers, optimum-quanto)
_QUANTO_GROUP = 64  # elements that share them: transformers cache_utils.py, QuantizedLayer q_group_size


def element_bytes(architecture: Architecture, workload: Workload, compute_bytes: float) -> float:
    """Bytes of a cached element: of the compute type, or quantized as the stack does, scales included.

    vLLM keeps an fp32 scale for each token and head (kv_cache_interface.py, int8_per_token_head).
    """
    dtype = workload.kv_cache_dtype
    if dtype == "auto":
        return 2.0 if workload.stack == "llama.cpp" else compute_bytes  # llama.cpp: f16
    if dtype == "fp8":
        return 1.0
    if dtype in _BLOCKS:
        return _BLOCKS[dtype]
    heads = [group.attention.head_dim for group in architecture.layers if group.attention]
    shared = min(heads, default=_QUANTO_GROUP) if workload.stack == "vllm" else _QUANTO_GROUP
    return _BITS[dtype] + _SCALE / shared


def layer_width(group: LayerGroup, latent: bool) -> int:
    """Elements that one layer of the run caches per token."""
    attention = group.attention
    if attention is None or attention.shares_keys or attention.of_images:
        return 0
    return (attention.latent if attention.latent and latent else attention.kv_width) + attention.indexed


def bytes_per_token(architecture: Architecture, element_bytes: float, latent: bool = False) -> float:
    """Cache growth per token and sequence while every window still grows, in bytes. Zero for encoders."""
    if architecture.kind == "encoder":
        return 0.0
    return sum(group.count * layer_width(group, latent) for group in architecture.layers) * element_bytes


def state_bytes(group: LayerGroup, compute_bytes: float) -> float:
    """What one recurrent or convolutional layer keeps of a sequence, however long it is."""
    if group.mixer is None:
        return 0.0
    return group.mixer.state * STATE_BYTES + group.mixer.convolution * compute_bytes


def cache_bytes(
    architecture: Architecture, tokens: int, sequences: int, element_bytes: float, *, latent: bool = False,
    compute_bytes: float = 2.0, encoder_tokens: int = 0,
) -> float:  # fmt: skip
    """Cache of `sequences` sequences of `tokens` tokens each, in bytes, held as one tensor a layer.

    An encoder-decoder also keeps its cross-attention keys and values of `encoder_tokens` tokens. Encoders keep nothing.
    """
    if architecture.kind == "encoder":
        return 0.0
    total = 0.0
    for group in architecture.layers:
        width = layer_width(group, latent)
        if width and group.attention is not None:
            window = group.attention.window
            kept = tokens if window is None else min(tokens, window)
            total += group.count * width * kept * element_bytes
            if group.cross_attention:
                total += group.count * width * encoder_tokens * element_bytes
        total += group.count * state_bytes(group, compute_bytes)
    return total * sequences


def largest_layer_width(architecture: Architecture, latent: bool = False) -> int:
    """Elements per token of the layer that caches most: what a growing cache copies at a time (torch.cat)."""
    return max((layer_width(group, latent) for group in architecture.layers), default=0)
