"""What a forward pass makes: transients when serving, tensors saved for the backward pass when training. Pure.

Lower-case names are those of the field: h hidden, i MLP width, b bytes of the compute type, V vocabulary, T tokens.
Every count of saved tensors below was read off a trace of the stack's own code (see stacks.py).
"""

from dataclasses import dataclass

from modelpick.catalog.architecture.shape import Architecture, Attention, LayerGroup, Mixer, Projection
from modelpick.memory.stacks import DEEPSPEED, Stack
from modelpick.memory.weights import ELEMENT_BYTES
from modelpick.workload import Workload

_ATTENTION = frozenset({"qkv", "query", "key", "value"})
_ENTRY = frozenset({"gate", "up", "gate_up"})


def mlp_width(group: LayerGroup) -> float:
    """MLP channels that one token passes through, routed experts included."""
    width = float(group.feed_forward.width) if group.feed_forward else 0.0
    if group.experts:
        width += group.experts.per_token * group.experts.width + group.experts.shared_width
    return width


def is_gated(group: LayerGroup) -> bool:
    """Whether the run's MLPs have a gate."""
    return group.experts.gated if group.experts else bool(group.feed_forward and group.feed_forward.gated)


def transient_bytes(
    architecture: Architecture,
    groups: tuple[LayerGroup, ...],
    tokens: float,
    b: float,
    stack: Stack,
    int8: bool = False,
) -> float:
    """Transients of a forward pass over `tokens` tokens in all, in bytes: the widest layer's MLP or attention.

    A gated MLP holds gate, up and their product, in addition to the residual, the normed input and its fp32 form
    (modeling_llama.py, traced): T*b*(3i + 4h); an ungated one T*b*(2i + 4h); an activation made of elementary
    operations two tensors more. Attention holds q, k, v and its output.
    LLM.int8 adds the int32 accumulator of the widest product and the int8 copy of its input
    (bitsandbytes backends/default/ops.py int8_scaled_mm): T*(4i + 3h). A mixer holds what it saves when training.
    """
    widest = 0.0
    h = architecture.hidden
    for group in groups:
        i = mlp_width(group)
        unfused_activation = 2 if group.feed_forward is not None and group.feed_forward.unfused_activation else 0
        mlp = ((3 if is_gated(group) else 2) * i + 4 * h) * b + max(
            4 * i + 3 * h if int8 else 0, unfused_activation * i * b
        )
        if int8 and any(projection.role == "gate_up" for projection in group.projections):
            mlp += 6 * i  # both halves at once: their accumulator, and fp16 in addition to the compute type
        attention = 0.0
        if group.attention:
            wide = 2 * group.attention.query_width + group.attention.kv_width + group.attention.output_width
            attention = (wide + 3 * h) * b + (4 * group.attention.query_width if int8 else 0)
        mixer = mixer_bytes(group.mixer, stack, b) if group.mixer else 0.0
        widest = max(widest, mlp, attention, mixer)
    return tokens * widest


def mixer_bytes(mixer: Mixer, stack: Stack, b: float) -> float:
    """Bytes per token of a recurrent mixer: eight elements a channel (traced on modeling_mamba.py and
    modeling_falcon_h1.py without kernels), and what delta rules hold in fp32 where transformers runs them without
    flash-linear-attention, which its own packages do not bring."""
    return mixer.width * (8 * b + (mixer.plain if stack.transformers_models else 0.0))


def scores_bytes(
    architecture: Architecture, groups: tuple[LayerGroup, ...], workload: Workload, stack: Stack, b: float
) -> float:
    """Attention scores of a prompt that exist one layer at a time, in bytes: in eager attention an fp32 softmax next to
    them (where that is the only path, before and after the mask, and in fp32), without a fused kernel both in fp32, and
    a bias of each head with the mask made of it."""
    heads = max((group.attention.heads for group in groups if group.attention), default=0)
    each = 0.0
    if workload.attention == "eager":
        each = 4 + b if architecture.sdpa else 8 + 2 * b
    elif any(is_unfused(group.attention, workload, stack) for group in groups):
        each = 8.0
    elif architecture.score_bias and stack.transformers_models:
        each = (2 if architecture.score_bias == "layers" else 1) * b
    return float(workload.batch) * heads * workload.context * workload.context * each


def moving_bytes(architecture: Architecture, group: LayerGroup, workload: Workload, stack: Stack, b: float) -> float:
    """Bytes per token of the gradients that are at work inside a layer: of the gate, of up and of the residual, and of
    down's input in fp32 where an adapter under autocast reads a cast of it; of attention scores that were materialized,
    before and after their softmax."""
    scores = 0.0
    if group.attention and (workload.attention == "eager" or is_unfused(group.attention, workload, stack)):
        scores = 8.0 * group.attention.heads * workload.context
    linear = _widths(architecture, group, workload, stack, b).linear
    casts = linear > b or (workload.method == "lora" and stack.autocasts(workload) and b < stack.adapter_bytes)
    mlp = (2 * linear + (4.0 if casts else 0.0)) * _width_at_work(group, stack)
    return max(mlp + 2 * stream_bytes(workload, b) * architecture.hidden, scores)


def _width_at_work(group: LayerGroup, stack: Stack) -> float:
    """MLP channels per token that are at work at once: of experts that are modules of their own, one after the other
    (modeling_mixtral.py before transformers 5, litgpt/model.py LLaMAMoE), one with twice its share of the tokens."""
    if group.experts is None or not stack.quantizes_experts:
        return mlp_width(group)
    at_once = min(2 * group.experts.per_token / group.experts.count, 1.0)
    return max(at_once * group.experts.width, float(group.experts.shared_width))


def bias_bytes(architecture: Architecture, workload: Workload, b: float) -> float:
    """Bytes of the biases of every head that all layers share. Checkpoints keep three: bias, mask and their sum are
    inputs of each layer."""
    if not architecture.score_bias:
        return 0.0
    heads = max((group.attention.heads for group in architecture.layers if group.attention), default=0)
    return float(heads) * workload.context**2 * b


def is_unfused(attention: Attention | None, workload: Workload, stack: Stack) -> bool:
    """Whether sdpa falls back to plain products. `modelpick finetune` repeats the key head so that it does not."""
    repeats_keys = workload.task == "finetune" and stack.name == "modelpick"
    return _has_single_key(attention, workload, stack) and not repeats_keys


def _has_single_key(attention: Attention | None, workload: Workload, stack: Stack) -> bool:
    return attention is not None and attention.unfused and stack.transformers_models and workload.attention == "sdpa"


def saved_bytes(
    architecture: Architecture, group: LayerGroup, workload: Workload, stack: Stack, b: float,
    adapted: list[tuple[Projection, int]],
) -> float:  # fmt: skip
    """Bytes that one layer saves per token for its backward pass."""
    if stack.fused_lora and workload.is_lora and not workload.lora_dropout and not group.experts and not group.mixer:
        return _fused_lora_bytes(architecture, group, workload, stack, b)
    h, i = architecture.hidden, mlp_width(group)
    widths = _widths(architecture, group, workload, stack, b)
    total = _norm_bytes(architecture, group, widths) + _activation_bytes(group, widths, b) * i
    if group.experts:
        total += group.experts.per_token * h * b  # the tokens gathered for each expert
    if architecture.dropout:
        total += group.norms * h + (i if architecture.norm == "t5" else 0)  # a byte for each of what is dropped or not
    if group.attention:
        total += attention_bytes(architecture, group, workload, stack, b) * (2 if group.cross_attention else 1)
        if architecture.score_bias == "layers":
            total += group.attention.heads * workload.context * b  # the mask of every head, made anew in each layer
        if stack.keeps_fused_qkv:  # lora.py zero_pad: the outputs of a partly adapted fused projection
            total += _partly_adapted(group, adapted) * b
        if group.attention.rotates_fused and not stack.keeps_fused_qkv and widths.linear > b:
            total -= _rotated(group.attention) * b  # fp32 is cast for attention: no view keeps the fused tensor
    if group.mixer:
        total += mixer_bytes(group.mixer, stack, b)
    if workload.method == "full":
        # The inputs of attention, of the MLP and of its down projection; RMSNorm's weight saves the normed input too.
        total += group.norms * b * h * (1 if architecture.norm == "layer" else 2) + i * b
        return total
    if workload.lora_dropout and not stack.dropout:  # peft: each adapter's own result and a one-byte mask
        width = 0.0 if workload.method != "lora" or not stack.casts_adapter_input else stack.adapter_bytes
        total += sum(projection.inputs * (1 if width else b + 1) for projection, _ in adapted)
    if workload.method in ("lora-int8", "qlora") and not stack.saves_quantized_inputs:
        return total + _quantized_inputs(architecture, group, adapted, workload, stack, b)
    return total + kept_bytes(architecture, group, workload, stack, b) + _adapter_bytes(adapted, workload, stack, b)


@dataclass(frozen=True, slots=True)
class _Widths:
    """Bytes per element: of what a norm gives, of what a linear layer gives, of what the activation gives.

    Norms in fp32 (kbit_prepared) give fp32 (modeling_llama.py LlamaRMSNorm, traced). CUDA's autocast computes layer
    norms and powers in fp32 (aten/src/ATen/autocast_mode.h, AT_FORALL_FP32); a plain linear layer takes that back,
    bitsandbytes' layers give the type they are given (Linear4bit, MatMul8bitLt).
    """

    norm: float
    linear: float
    activated: float
    unfused_activation: bool


def _widths(architecture: Architecture, group: LayerGroup, workload: Workload, stack: Stack, b: float) -> _Widths:
    autocast = stack.autocasts(workload)
    norm = 4.0 if (autocast and architecture.norm == "layer") or workload.kbit_prepared else b
    linear = norm if workload.method in ("lora-int8", "qlora") else b
    unfused_activation = (
        group.feed_forward is not None and group.feed_forward.unfused_activation and stack.name != "litgpt"
    )
    return _Widths(norm, linear, 4.0 if autocast and unfused_activation else linear, unfused_activation)


def stream_bytes(workload: Workload, b: float) -> float:
    """Bytes per element of the residuals: what fp32 norms give makes the sums fp32 from the first MLP on."""
    return 4.0 if workload.kbit_prepared else b


def _norm_bytes(architecture: Architecture, group: LayerGroup, widths: _Widths) -> float:
    """RMSNorm saves its fp32 input, T5's also the original input, LayerNorm its input: parallel blocks the same
    one, unless autocast makes a copy for each."""
    h = architecture.hidden
    if architecture.norm == "rms":
        return group.norms * 4.0 * h
    if architecture.norm == "t5":
        return group.norms * (4.0 + widths.norm) * h
    return (1 if architecture.parallel and widths.norm < 4 else group.norms) * widths.norm * h


def _activation_bytes(group: LayerGroup, widths: _Widths, b: float) -> float:
    """Bytes per channel of the MLP: gate, activated gate and up, or the one input of the activation. gelu_new saves the
    base of its power, the tanh and the two factors of its product (activations.py NewGELUActivation)."""
    gated = is_gated(group)
    if not widths.unfused_activation:
        return (3 if gated else 1) * widths.linear
    inner = 3 * widths.activated + widths.linear
    return inner + (widths.activated + widths.linear if gated else 0)


def kept_bytes(architecture: Architecture, group: LayerGroup, workload: Workload, stack: Stack, b: float) -> float:
    """Bytes per token of one layer that stay as long as its graph, not only until its backward pass: the inputs of its
    quantized matrices, where bitsandbytes keeps them as attributes of the node.

    LLM.int8 always does (autograd/_functions.py MatMul8bitLt, ctx.tensors), 4-bit until 0.42: the input of qkv, of the
    output projection, of the MLP and of down. Where one norm serves attention and MLP, its output is one tensor.
    """
    keeps = workload.method == "lora-int8" or (workload.method == "qlora" and stack.saves_quantized_inputs)
    if not keeps:
        return 0.0
    widths = _widths(architecture, group, workload, stack, b)
    output = group.attention.output_width if group.attention else 0
    down = 0.0 if architecture.norm == "t5" else widths.activated * mlp_width(group)
    return _linear_inputs(group) * architecture.hidden * widths.norm + output * b + down


def _linear_inputs(group: LayerGroup) -> int:
    """Normed inputs that linear layers read: of attention, of cross attention, of the MLP, or one for all."""
    return min(group.norms, 3 if group.cross_attention else 2)


def attention_bytes(architecture: Architecture, group: LayerGroup, workload: Workload, stack: Stack, b: float) -> float:
    """q, k, v and the output; keys and values repeated to all heads where the stack does so; eager's scores."""
    a = group.attention
    if a is None:
        return 0.0
    if workload.kbit_prepared and not stack.autocasts(workload):
        b = 4.0  # nothing makes what quantized layers give narrow again
    masked = workload.attention == "sdpa" and workload.batch > 1 and not workload.packing and not stack.repeats_kv
    masked = masked or _has_single_key(a, workload, stack)  # modeling_falcon.py makes its mask in any case
    if is_unfused(a, workload, stack):  # queries, keys and values in fp32, and the softmax
        return (a.query_width + a.kv_width + a.heads * workload.context) * 4.0
    grouped = a.kv_heads < a.heads
    if grouped and (stack.repeats_kv or masked or workload.attention == "eager"):
        kept = a.heads * (a.head_dim + a.value_dim)
    else:
        kept = a.kv_width
    # Flash attention keeps its output; eager attention does not, unless the next matrix is trained.
    output = 0 if workload.attention == "eager" and workload.method != "full" else a.output_width
    total = (a.query_width + output + kept) * b
    if a.normed and architecture.norm == "rms":  # in fp32, as any RMS norm
        total += _rotated(a) * 4.0
    if (stack.keeps_fused_qkv and not grouped) or (a.rotates_fused and not stack.keeps_fused_qkv):
        total += _rotated(a) * b
    if masked:
        total += workload.context * b  # the mask in the compute type, made anew in each layer
    if workload.attention == "eager":
        # The fp32 softmax and its cast; the tanh of capped scores.
        total += a.heads * workload.context * (4 + b + (b if architecture.caps_scores else 0))
    return total


def _fused_lora_bytes(
    architecture: Architecture, group: LayerGroup, workload: Workload, stack: Stack, b: float
) -> float:
    """A layer of unsloth's kernels: the input of each norm (rms_layernorm.py), of qkv and of the MLP, gate and up
    (fast_lora.py, save_for_backward), and what attention keeps, whose output the output matrix reads."""
    inputs = (group.norms + 2) * architecture.hidden * b
    width = (2 if is_gated(group) else 1) * mlp_width(group) * b
    return inputs + width + attention_bytes(architecture, group, workload, stack, b)


def cross_bytes(group: LayerGroup, workload: Workload, b: float) -> float:
    """Bytes that cross-attention keeps per token that the encoder read: key and value, and in eager attention a score
    of each head and target token."""
    a = group.attention
    if a is None:
        return 0.0
    scores = a.heads * workload.context * (4 + b) if workload.attention == "eager" else 0.0
    return a.kv_width * b + scores


def _quantized_inputs(
    architecture: Architecture, group: LayerGroup, adapted: list[tuple[Projection, int]], workload: Workload,
    stack: Stack, b: float,
) -> float:  # fmt: skip
    """Inputs of quantized layers that stay for the backward pass, each tensor once: LLM.int8 keeps all of them, 4-bit
    those with an adapter. An adapter whose input is wider than the compute type also keeps a cast of it.

    The attention output is there already where a fused kernel keeps it.
    """
    widths = _widths(architecture, group, workload, stack, b)
    roles = {projection.role for projection, _ in adapted}
    total = 0.0
    if workload.method == "lora-int8":
        total += kept_bytes(architecture, group, workload, stack, b)
        keeps_output = workload.attention != "eager" and not is_unfused(group.attention, workload, stack)
        if group.attention is not None and keeps_output:
            total -= group.attention.output_width * b
    else:
        read = (roles & _ATTENTION and (2 if group.cross_attention else 1)) or 0
        read = min(read + bool(roles & _ENTRY), _linear_inputs(group))
        reads = b if stack.autocasts(workload) or not stack.casts_adapter_input else stack.adapter_bytes
        total += read * architecture.hidden * reads if widths.norm == reads else 0.0
        total += mlp_width(group) * reads if "down" in roles and widths.activated == reads else 0.0
    rank_bytes = b if stack.autocasts(workload) else stack.adapter_bytes
    for projection, _ in adapted:
        source = widths.activated if projection.role == "down" else b if projection.role == "output" else widths.norm
        if stack.autocasts(workload):
            total += projection.inputs * b if source > b else 0.0
        elif source < stack.adapter_bytes and stack.casts_adapter_input:  # tuners/lora/bnb.py, _cast_input_dtype
            total += projection.inputs * stack.adapter_bytes
        total += workload.lora_rank * rank_bytes
    return total


def _rotated(attention: Attention) -> int:
    return attention.query_width + attention.kv_heads * attention.head_dim


def _partly_adapted(group: LayerGroup, adapted: list[tuple[Projection, int]]) -> float:
    roles = {projection.role for projection, _ in adapted}
    if not roles & _ATTENTION or {"query", "key", "value"} <= roles:
        return 0.0
    whole = sum(p.outputs for p in group.projections if p.role in _ATTENTION)
    width = sum(outputs for projection, outputs in adapted if projection.role in _ATTENTION)
    return float(width) if width < whole else 0.0


def _adapter_bytes(adapted: list[tuple[Projection, int]], workload: Workload, stack: Stack, b: float) -> float:
    """Extra bytes per token that adapters save: a cast of each input (to fp32, under autocast back again), or
    dropout's results, or the input."""
    total = 0.0
    seen: set[str] = set()
    each_bytes = b if stack.autocasts(workload) else stack.adapter_bytes
    for projection, _ in adapted:
        total += workload.lora_rank * each_bytes
        shared = "qkv" if projection.role in _ATTENTION else "mlp" if projection.role in _ENTRY else projection.name
        if stack.casts_adapter_input and b < stack.adapter_bytes:
            total += each_bytes * projection.inputs
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


def label_length(architecture: Architecture, workload: Workload) -> int:
    """Tokens of a sequence that have a logit: the target's, where an encoder reads another sequence."""
    translates = architecture.kind == "encoder-decoder" and workload.target_length is not None
    return workload.target_length or workload.context if translates else workload.context


# A compiled loss: logits in the compute type, and their gradient once in fp32 and once cast; of log-softmax a scalar a
# token is kept (see compiled.py).
COMPILED_LOGIT_BYTES = 8.0


def loss_bytes(architecture: Architecture, workload: Workload, stack: Stack, rebuilt: float) -> float:
    """The loss's spike in bytes: bytes per logit of the stack, times T*V; of an encoder, which is trained as a
    classifier, times its classes for each sequence.

    In pieces, when the head is not among them quantized: one piece more at work. A quantized head is rebuilt (`rebuilt`
    bytes) when the whole loss has gone backward: fp32 logits and bf16 gradients are left then (autograd takes the
    nodes made last first).
    """
    if architecture.kind == "encoder":
        return stack.loss_bytes * workload.batch * max(architecture.labels, 2)
    tokens = float(workload.batch) * label_length(architecture, workload)
    logits = tokens * architecture.vocabulary
    capped = 2.0 if architecture.caps_logits else 0.0  # tanh keeps its result
    each = stack.loss_bytes + capped
    if stack.copies_shifted_logits and workload.batch > 1:
        each += 2.0
    if workload.sharding in DEEPSPEED and not architecture.upcasts_logits:
        # Without autocast: logits, log-softmax, the gradients of the loss and of log-softmax in the compute type.
        each = 4 * ELEMENT_BYTES[workload.dtype]
    if workload.compile:
        each = min(each, COMPILED_LOGIT_BYTES + capped)
    if not workload.loss_chunking or (stack.fused_head and architecture.kind != "decoder"):
        return each * logits
    if stack.fused_head:
        return _fused_head_bytes(architecture, workload, tokens)
    if workload.is_lora and stack.loss_chunk_tokens:
        each = stack.loss_chunk_bytes + capped
        piece = float(workload.batch) * architecture.vocabulary * min(stack.loss_chunk_tokens, workload.context)
        return max(each * (logits + piece), 0.75 * each * logits + rebuilt)
    if stack.chunked_loss_bytes is None:
        return min(each * logits, 8.0 * tokens * architecture.hidden)
    in_pieces = min(each, stack.chunked_loss_bytes) * logits
    return in_pieces if stack.chunked_loss_limit is None else min(in_pieces, stack.chunked_loss_limit)


# trl/kernels/chunked_logprob.py (1.16): tokens of a tile, and its width, which a smaller vocabulary does not narrow.
_TILE = 4096, 32768


def _fused_head_bytes(architecture: Architecture, workload: Workload, tokens: float) -> float:
    """TRL's fused output matrix when every position has a label, in bytes: a tile of logits, the hidden states picked
    out for it, their gradient in fp32 and its cast; a trained matrix's gradient likewise (ChunkedLogProbFunction)."""
    b = ELEMENT_BYTES[workload.dtype]
    trained = architecture.head_parameters if workload.method == "full" else 0
    return min(tokens, _TILE[0]) * _TILE[1] * b + tokens * architecture.hidden * (2 * b + 4) + trained * (b + 4)
