"""What a forward pass makes: transients when serving, tensors saved for the backward pass when training. Pure.

Lower-case names are those of the field: h hidden, i MLP width, b bytes of the compute type, V vocabulary, T tokens.
"""

from modelpick.catalog.architecture.shape import Architecture, Layers
from modelpick.memory.stacks import Stack


def mlp_width(run: Layers) -> float:
    """MLP channels that one token passes through, routed experts included."""
    width = float(run.feed_forward.width) if run.feed_forward else 0.0
    if run.experts:
        width += run.experts.per_token * run.experts.width + run.experts.shared_width
    if run.mixer:
        width = max(width, float(run.mixer.width))
    return width


def is_gated(run: Layers) -> bool:
    """Whether the run's MLPs have a gate."""
    return run.experts.gated if run.experts else bool(run.feed_forward and run.feed_forward.gated)


def prefill_bytes(architecture: Architecture, runs: tuple[Layers, ...], tokens: float, b: float) -> float:
    """Transients of a forward pass over `tokens` tokens in all, in bytes: the widest layer's MLP or attention.

    A gated MLP holds gate, up and their product beside the residual, the normed input and their fp32 forms
    (modeling_llama.py, traced): T*b*(3i + 4h); an ungated one T*b*(2i + 4h). Attention holds q, k, v and its output.
    """
    widest = 0.0
    h = architecture.hidden
    for run in runs:
        i = mlp_width(run)
        mlp = (3 if is_gated(run) else 2) * i + 4 * h
        attention = 0.0
        if run.attention:
            attention = 2 * run.attention.query_width + run.attention.kv_width + run.attention.output_width + 3 * h
        widest = max(widest, mlp, attention)
    return tokens * b * widest


def eager_scores_bytes(runs: tuple[Layers, ...], batch: int, tokens: int, b: float) -> float:
    """Attention scores that eager attention materializes: fp32 softmax beside the compute type, one layer at a time."""
    heads = max((run.attention.heads for run in runs if run.attention), default=0)
    return float(batch) * heads * tokens * tokens * (4 + b)


def saved_bytes(
    architecture: Architecture, run: Layers, tokens: int, b: float, *, full: bool, attention: str, inputs_saved: float
) -> float:
    """Bytes saved per token by one layer for its backward pass (`tokens` per sequence matters to eager attention).

    RMSNorm saves its fp32 input (4h), LayerNorm its input (b*h); attention q, k, v and its output; a gated MLP gate, up
    and the activated gate (3i*b), an ungated one 2i*b. Full fine-tuning also saves the input of every linear layer,
    where it is not already one of those. `inputs_saved`: bytes that adapters save beside (fp32 casts, dropout).
    """
    h = architecture.hidden
    norm = 4.0 * h if architecture.norm == "rms" else b * h
    total = run.norms * norm + inputs_saved
    i = mlp_width(run)
    total += (3 if is_gated(run) else 2) * i * b
    if run.attention:
        a = run.attention
        one = (a.query_width + a.output_width + a.kv_width) * b
        if attention == "eager":
            one += a.heads * tokens * (b + 4 + b)
        total += one * (2 if run.cross_attention else 1)
    if run.mixer:
        total += 8 * run.mixer.width * b
    if full:
        attends = (2 if run.cross_attention else 1) if run.attention else 0
        total += (attends + 1) * h * b + i * b  # inputs of qkv and of the MLP, and of the down projection
    return total


def logits_bytes(architecture: Architecture, tokens: float, stack: Stack, chunked: bool, b: float) -> float:
    """The loss's spike. transformers: logits, their fp32 copy, its shifted softmax and gradient: 16 bytes each entry;
    chunked cross-entropy: logits and gradient in the compute type."""
    width = 2.0 * b if chunked else 16.0
    return tokens * architecture.vocabulary * width
