"""What a forward pass makes: transients when serving, tensors saved for the backward pass when training. Pure.

Lower-case names are those of the field: h hidden, i MLP width, b bytes of the compute type, V vocabulary, T tokens.
Every count of saved tensors below was read off a trace of the stack's own code (see stacks.py).
"""

from modelpick.catalog.architecture.shape import Architecture, Layers, Mixer, Projection
from modelpick.memory.quantization import ELEMENT_BYTES
from modelpick.memory.stacks import DEEPSPEED, Stack
from modelpick.workload import Workload

_ATTENTION = frozenset({"qkv", "query", "key", "value"})
_ENTRY = frozenset({"gate", "up", "gate_up"})


def mlp_width(run: Layers) -> float:
    """MLP channels that one token passes through, routed experts included."""
    width = float(run.feed_forward.width) if run.feed_forward else 0.0
    if run.experts:
        width += run.experts.per_token * run.experts.width + run.experts.shared_width
    return width


def is_gated(run: Layers) -> bool:
    """Whether the run's MLPs have a gate."""
    return run.experts.gated if run.experts else bool(run.feed_forward and run.feed_forward.gated)


def transient_bytes(
    architecture: Architecture, runs: tuple[Layers, ...], tokens: float, b: float, stack: Stack, int8: bool = False
) -> float:
    """Transients of a forward pass over `tokens` tokens in all, in bytes: the widest layer's MLP or attention.

    A gated MLP holds gate, up and their product beside the residual, the normed input and its fp32 form
    (modeling_llama.py, traced): T*b*(3i + 4h); an ungated one T*b*(2i + 4h). Attention holds q, k, v and its output.
    LLM.int8 adds the int32 accumulator of the widest product and the int8 copy of its input
    (bitsandbytes backends/default/ops.py int8_scaled_mm): T*(4i + 3h). A mixer holds what it saves when training.
    """
    widest = 0.0
    h = architecture.hidden
    for run in runs:
        i = mlp_width(run)
        mlp = ((3 if is_gated(run) else 2) * i + 4 * h) * b + (4 * i + 3 * h if int8 else 0)
        attention = 0.0
        if run.attention:
            wide = 2 * run.attention.query_width + run.attention.kv_width + run.attention.output_width
            attention = (wide + 3 * h) * b + (4 * run.attention.query_width if int8 else 0)
        mixer = mixer_bytes(run.mixer, stack, b) if run.mixer else 0.0
        widest = max(widest, mlp, attention, mixer)
    return tokens * widest


def mixer_bytes(mixer: Mixer, stack: Stack, b: float) -> float:
    """Bytes per token of a recurrent mixer: eight elements a channel (traced on modeling_mamba.py and
    modeling_falcon_h1.py without kernels), and what delta rules hold in fp32 where transformers runs them without
    flash-linear-attention, which its own packages do not bring."""
    return mixer.width * (8 * b + (mixer.plain if stack.transformers_models else 0.0))


def eager_scores_bytes(runs: tuple[Layers, ...], batch: int, tokens: int, b: float) -> float:
    """Attention scores that eager attention materializes, one layer at a time: an fp32 softmax beside the scores."""
    heads = max((run.attention.heads for run in runs if run.attention), default=0)
    return float(batch) * heads * tokens * tokens * (4 + b)


def saved_bytes(
    architecture: Architecture, run: Layers, workload: Workload, stack: Stack, b: float,
    adapted: list[tuple[Projection, int]],
) -> float:  # fmt: skip
    """Bytes that one layer saves per token for its backward pass."""
    h = architecture.hidden
    full = workload.method == "full"
    i = mlp_width(run)
    # RMSNorm saves its fp32 input, LayerNorm its input (parallel blocks: one for both).
    total = run.norms * 4.0 * h if architecture.norm == "rms" else (1 if architecture.parallel else run.norms) * b * h
    # Gate, activated gate and up; or the one input of the activation; gelu_new saves three tensors more.
    composed = run.feed_forward is not None and run.feed_forward.composed and stack.name != "litgpt"
    total += ((3 if is_gated(run) else 1) + (3 if composed else 0)) * i * b
    if run.experts:
        total += run.experts.per_token * h * b  # the tokens gathered for each expert
    if run.attention:
        total += _attention_bytes(architecture, run, workload, stack, b) * (2 if run.cross_attention else 1)
        if stack.keeps_fused_qkv:  # lora.py zero_pad: the outputs of a partly adapted fused projection
            total += _partly_adapted(run, adapted) * b
    if run.mixer:
        total += mixer_bytes(run.mixer, stack, b)
    if full:
        # The inputs of attention, of the MLP and of its down projection; RMSNorm's weight saves the normed input too.
        total += run.norms * b * h * (2 if architecture.norm == "rms" else 1) + i * b
        return total
    if workload.lora_dropout and not stack.dropout:  # peft: each adapter's own result and a one-byte mask
        width = 0.0 if workload.method != "lora" or not stack.casts_adapter_input else stack.adapter_bytes
        total += sum(projection.inputs * (1 if width else b + 1) for projection, _ in adapted)
    if workload.method in ("lora-int8", "qlora") and not stack.saves_quantized_inputs:
        return total + _quantized_inputs(run, adapted, workload, stack, h, b)
    return total + kept_bytes(architecture, run, workload, stack, b) + _adapter_bytes(adapted, workload, stack, b)


def kept_bytes(architecture: Architecture, run: Layers, workload: Workload, stack: Stack, b: float) -> float:
    """Bytes per token of one layer that stay as long as its graph, not only until its backward pass: the inputs of its
    quantized matrices, where bitsandbytes keeps them as attributes of the node.

    LLM.int8 always does (autograd/_functions.py MatMul8bitLt, ctx.tensors), 4-bit until 0.42: the input of qkv, of the
    output projection, of the MLP and of down. Where one norm serves attention and MLP, its output is one tensor.
    """
    keeps = workload.method == "lora-int8" or (workload.method == "qlora" and stack.saves_quantized_inputs)
    if not keeps:
        return 0.0
    output = run.attention.output_width if run.attention else 0
    return (min(run.norms, 2) * architecture.hidden + output + mlp_width(run)) * b


def _attention_bytes(architecture: Architecture, run: Layers, workload: Workload, stack: Stack, b: float) -> float:
    """q, k, v and the output; keys and values repeated to all heads where the stack does so; eager's scores."""
    a = run.attention
    if a is None:
        return 0.0
    masked = workload.attention == "sdpa" and workload.batch > 1 and not workload.packing and not stack.repeats_kv
    grouped = a.kv_heads < a.heads
    if grouped and (stack.repeats_kv or masked or workload.attention == "eager"):
        kept = a.heads * (a.head_dim + a.value_dim)
    else:
        kept = a.kv_width
    # Flash attention keeps its output; eager attention does not, unless the next matrix is trained.
    output = 0 if workload.attention == "eager" and workload.method != "full" else a.output_width
    total = (a.query_width + output + kept) * b
    if (stack.keeps_fused_qkv and not grouped) or (a.rotates_fused and not stack.keeps_fused_qkv):
        total += (a.query_width + a.kv_heads * a.head_dim) * b
    if masked:
        total += workload.context * b  # the mask in the compute type, made anew in each layer
    if workload.attention == "eager":
        # The fp32 softmax and its cast; the tanh of capped scores.
        total += a.heads * workload.context * (4 + b + (b if architecture.caps_scores else 0))
    return total


def _quantized_inputs(
    run: Layers, adapted: list[tuple[Projection, int]], workload: Workload, stack: Stack, h: int, b: float
) -> float:
    """Inputs of quantized layers that stay for the backward pass, each tensor once: LLM.int8 keeps all of them
    (bitsandbytes autograd/_functions.py MatMul8bitLt, ctx.tensors), 4-bit those with an adapter."""
    roles = {projection.role for projection, _ in adapted}
    int8 = workload.method == "lora-int8"
    kept = 0.0
    if int8 or roles & _ATTENTION:
        kept += h
    if int8 or roles & _ENTRY:
        kept += h
    if int8 or "down" in roles:
        kept += mlp_width(run)
    return kept * b + len(adapted) * workload.lora_rank * stack.adapter_bytes


def _partly_adapted(run: Layers, adapted: list[tuple[Projection, int]]) -> float:
    roles = {projection.role for projection, _ in adapted}
    if not roles & _ATTENTION or {"query", "key", "value"} <= roles:
        return 0.0
    whole = sum(p.outputs for p in run.projections if p.role in _ATTENTION)
    width = sum(outputs for projection, outputs in adapted if projection.role in _ATTENTION)
    return float(width) if width < whole else 0.0


def _adapter_bytes(adapted: list[tuple[Projection, int]], workload: Workload, stack: Stack, b: float) -> float:
    """Bytes per token that adapters save beside: an fp32 cast of each input, or dropout's results, or the input."""
    total = 0.0
    seen: set[str] = set()
    for projection, _ in adapted:
        total += workload.lora_rank * stack.adapter_bytes
        shared = "qkv" if projection.role in _ATTENTION else "mlp" if projection.role in _ENTRY else projection.name
        if stack.casts_adapter_input and b < stack.adapter_bytes:
            total += stack.adapter_bytes * projection.inputs
        elif stack.dropout:
            # litgpt: one dropout for the fused qkv, one for every other adapted layer: output and a one-byte mask
            name = "qkv" if projection.role in _ATTENTION else projection.name
            each = 2 if projection.role == "gate_up" else 1  # which litgpt does not fuse
            total += 0.0 if name in seen else each * projection.inputs * (b + 1)
            seen.add(name)
        elif shared not in seen:
            total += projection.inputs * b
            seen.add(shared)
    return total


def loss_bytes(architecture: Architecture, workload: Workload, stack: Stack, rebuilt: float) -> float:
    """The loss's spike in bytes: bytes per logit of the stack, times T*V. Encoders' heads count the same way.

    In pieces, when the head is not among them quantized: one piece more at work. A quantized head is rebuilt (`rebuilt`
    bytes) when the whole loss has gone backward: fp32 logits and bf16 gradients are left then (autograd takes the
    nodes made last first).
    """
    tokens = float(workload.batch) * workload.context
    logits = tokens * architecture.vocabulary
    capped = 2.0 if architecture.caps_logits else 0.0  # tanh keeps its result
    each = stack.loss_bytes + capped
    if stack.copies_shifted_logits and workload.batch > 1:
        each += 2.0
    if workload.sharding in DEEPSPEED and not architecture.upcasts_logits:
        # Without autocast: logits, log-softmax, the gradients of the loss and of log-softmax in the compute type.
        each = 4 * ELEMENT_BYTES[workload.dtype]
    if workload.loss_chunking and stack.chunked_loss_bytes is None:
        return min(each * logits, 8.0 * tokens * architecture.hidden)
    if workload.loss_chunking:
        each = min(each, stack.chunked_loss_bytes or each)
    if not workload.is_lora or not stack.piece_tokens:
        return each * logits
    each = stack.piece_loss_bytes + capped
    piece = float(workload.batch) * architecture.vocabulary * min(stack.piece_tokens, workload.context)
    return max(each * (logits + piece), 0.75 * each * logits + rebuilt)
