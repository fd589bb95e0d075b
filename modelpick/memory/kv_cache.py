"""What attention keeps of the tokens it has seen. Pure.

Per layer and token a key and a value for each KV head (arXiv 1911.02150, 2305.13245); sliding-window layers keep at
most their window; MLA in vLLM keeps one latent (arXiv 2405.04434), in transformers the expanded heads
(modeling_deepseek_v3.py: past_key_values.update(key_states, value_states)); recurrent layers keep a fixed state.
"""

from modelpick.catalog.architecture.shape import Architecture, LayerGroup

STATE_BYTES = 4.0  # recurrent states are fp32 (modeling_falcon_h1.py, mamba_ssm)


def layer_width(group: LayerGroup, latent: bool) -> int:
    """Elements that one layer of the run caches per token."""
    attention = group.attention
    if attention is None:
        return 0
    if attention.latent and latent:
        return attention.latent
    return attention.kv_width


def bytes_per_token(architecture: Architecture, element_bytes: float, latent: bool = False) -> float:
    """Cache growth per token and sequence while every window still grows, in bytes. Zero for encoders."""
    if architecture.kind == "encoder":
        return 0.0
    return sum(group.count * layer_width(group, latent) for group in architecture.layers) * element_bytes


def cache_bytes(
    architecture: Architecture, tokens: int, sequences: int, element_bytes: float, *, latent: bool = False,
    compute_bytes: float = 2.0, encoder_tokens: int = 0,
) -> float:  # fmt: skip
    """Cache of `sequences` sequences of `tokens` tokens each, in bytes.

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
        if group.mixer is not None:
            total += group.count * (group.mixer.state * STATE_BYTES + group.mixer.convolution * compute_bytes)
    return total * sequences


def largest_layer_width(architecture: Architecture, latent: bool = False) -> int:
    """Elements per token of the layer that caches most: what a growing cache copies at a time (torch.cat)."""
    return max((layer_width(group, latent) for group in architecture.layers), default=0)
