"""The moments at which a fine-tuning can peak: the backward pass, the end of the forward one, the step. Pure."""

from dataclasses import replace

from modelpick.catalog.architecture import Architecture
from modelpick.errors import UsageError
from modelpick.memory import activations, training
from modelpick.memory.compiled import layer_bytes
from modelpick.memory.parts import MemoryParts, TrainingPeak
from modelpick.memory.stacks import Stack
from modelpick.memory.training import Shares, shares
from modelpick.memory.weights import Scheme, Weights, kept_linear, weight_bytes
from modelpick.workload import Workload


def training_parts(
    architecture: Architecture, workload: Workload, stack: Stack, held: Weights, share: Shares, b: float, count: int
) -> TrainingPeak:
    """The larger of two moments: the start of the backward pass, or the optimizer's step.

    Raises UsageError for LoRA targets that the model does not have, and for a target length of a decoder.
    """
    if workload.target_length is not None and architecture.kind != "encoder-decoder":
        raise UsageError(
            f"target_length does not apply to {architecture.model_type}, which is not an encoder-decoder",
            fix="leave out target_length",
            code="contradiction",
        )
    if workload.method == "prompt-tuning":
        workload = _with_virtual_tokens(workload)
    if workload.objective == "dpo":  # both sides of each pair in one pass (trl 1.16, DataCollatorForPreference)
        workload = replace(workload, batch=2 * workload.batch)
    kept = 0.0
    each = stack.trained_bytes(workload, b)
    whole = 1.0 if workload.sharding == "zero2" else share.trained  # ZeRO-2 splits all that is trained but weights
    if workload.method == "full":
        trainable, adapter = count, 0.0
        if stack.duplicates_tied_head and architecture.tied:
            trainable += architecture.head_parameters
    elif workload.method == "prompt-tuning":
        trainable = training.prompt_parameters(architecture, workload)
        adapter = trainable * each * whole
    else:
        trainable = training.adapter_parameters(architecture, workload.lora_rank, workload.lora_targets)
        adapter = trainable * each * whole
        if workload.method == "qlora" and stack.trains_quantized_embedding:
            kept = architecture.embedding_parameters * b
        if workload.sharding in ("fsdp", "zero3") and stack.keeps_unsharded_gradients:
            kept += held.total
    gradients = trainable * each * share.trained
    bucket = training.bucket_bytes(workload, each)
    states = trainable * training.state_bytes(workload, each) * share.trained
    step = training.step_bytes(workload, trainable * share.trained, each)
    forward, offloaded = _saved(architecture, workload, stack, b, held, trainable)
    forward += share.gathered
    if workload.optimizer_in_backward:  # one matrix's gradient and its step at a time
        gradients = step = 0.0
        forward += each * max(
            (p.inputs * p.outputs for group in architecture.layers for p in group.projections), default=0
        )
    if workload.gradient_accumulation > 1 or stack.accumulates:
        kept += gradients
    if workload.optimizer_offload:
        # DeepSpeed moves reduced gradients to the CPU as they come (runtime/zero/stage_1_and_2.py,
        # async_accumulate_grad_in_cpu_via_gpu; stage3.py, partition_grads), FSDP with its shards.
        offloaded += states + gradients
        gradients = step = states = kept = 0.0
    if workload.parameter_offload:
        offloaded += held.total / workload.gpus
    if forward + kept > gradients + step:
        gradients, active = kept, forward
    else:
        active = step
    parts = MemoryParts(share.weights, 0.0, active, gradients + bucket, states, adapter)
    return TrainingPeak(parts, trainable, offloaded)


def parts_alone(
    architecture: Architecture, workload: Workload, stack: Stack, scheme: Scheme | None, b: float, count: int
) -> MemoryParts:
    """The same training on one GPU without sharding: an upper bound for each of several GPUs.

    What engines for several GPUs add (fp32 masters, buffers, gathered layers) can outweigh what two GPUs save, but
    nobody shards to hold more.
    """
    one = replace(workload, gpus=1, sharding="none", optimizer_offload=False, parameter_offload=False)
    held = training.widened(architecture, weight_bytes(architecture, scheme, stack, b, count, one), one, stack, b)
    return training_parts(architecture, one, stack, held, shares(architecture, one, held), b, count).parts


def _saved(
    architecture: Architecture, workload: Workload, stack: Stack, b: float, held: Weights, trainable: int
) -> tuple[float, float]:
    """Bytes alive when the backward pass starts: everything saved, and the loss's spike or a layer at work. And the
    bytes that were moved to the CPU's memory."""
    loss = activations.loss_bytes(architecture, workload, stack, held.rebuilt if stack.quantizes_head else 0.0)
    shared = saved = activations.bias_bytes(architecture, workload, b)
    widest = moving = borders = widest_border = kept = 0.0
    if workload.is_lora and stack.autocasts(workload):  # what is in fp32 is cast, and the casts stay
        saved += b * trainable
        saved += b * kept_linear(architecture, stack) if workload.dtype == "fp16" else 0.0
    plain, head = _casts(architecture, workload, stack, b)
    saved, loss = saved + plain, loss + head
    targets = replace(workload, context=activations.label_length(architecture, workload))
    read = replace(workload, context=architecture.heard or workload.context)
    runs = [(group, targets) for group in architecture.layers] + [(group, read) for group in architecture.encoder]
    for group, run in runs:
        tokens = float(run.batch) * run.context
        adapted = training.adapted(group, run.lora_targets) if run.is_lora else []
        one = tokens * layer_bytes(architecture, group, run, stack, b, adapted)
        if group.cross_attention:  # keys and values of what the encoder read
            one += run.batch * (read.context - run.context) * activations.cross_bytes(group, run, b)
        saved += group.count * one
        kept += group.count * tokens * activations.kept_bytes(architecture, group, run, stack, b)
        border = tokens * architecture.hidden * activations.stream_bytes(run, b)
        borders += group.count * border
        widest_border = max(widest_border, border)
        at_work = tokens * activations.moving_bytes(architecture, group, run, stack, b)
        widest, moving = max(widest, one + at_work), max(moving, at_work)
    checkpoints = workload.gradient_checkpointing and (stack.checkpoints_alone or workload.gpus > 1)
    moved = 0.0
    if workload.activation_offload:
        moved = borders if checkpoints else saved
        borders = min(borders, OFFLOADED_AT_ONCE * widest_border)
        saved = min(saved, OFFLOADED_AT_ONCE * widest_border * _widest_tensor(architecture))
    if checkpoints:
        stays = 0.0 if stack.reentrant else kept
        at_work = widest + held.rebuilt + plain / max(architecture.depth, 1)
        if workload.sharding == "fsdp" and workload.is_lora and stack.keeps_input_gradients:
            at_work += borders
        return min(3 * shared + borders + stays + max(at_work, loss), saved + max(loss, at_work)), moved
    ends_forward = 0.0
    if kept and stack.kept_tokens:
        tokens = float(workload.batch) * workload.context
        ends_forward = _ends_forward(architecture, workload, stack, b, kept / tokens) + held.rebuilt
    # The base answers with the adapter off, after the forward pass whose tensors are kept: a layer at work, and the
    # logits as for the loss (trl 1.16, DPOTrainer._compute_loss; KTOTrainer does so for its KL term as well).
    reference = widest + held.rebuilt if workload.objective != "sft" else 0.0
    return saved + max(loss, moving + held.rebuilt, ends_forward, reference), moved


# trl models/activation_offloading.py, max_fwd_stash_size: tensors on their way to the CPU that the GPU still holds.
OFFLOADED_AT_ONCE = 5


def _widest_tensor(architecture: Architecture) -> float:
    """The widest tensor that a layer saves, in residuals: what its MLP's matrices give."""
    width = max((activations.mlp_width(group) for group in architecture.layers), default=0.0)
    return max(width / architecture.hidden, 1.0)


def _with_virtual_tokens(workload: Workload) -> Workload:
    """Virtual tokens stand before each sequence that an encoder or a decoder reads (peft peft_model.py)."""
    target, virtual = workload.target_length, workload.virtual_tokens or 0
    longer = None if target is None else target + virtual
    return replace(workload, context=workload.context + virtual, target_length=longer)


def _casts(architecture: Architecture, workload: Workload, stack: Stack, b: float) -> tuple[float, float]:
    """Bytes of what autocast makes of matrices that kbit_prepared holds in fp32: of all layers', of the output matrix.

    They are frozen, so their casts are saved for the backward pass and not cached (aten/src/ATen/autocast_mode.cpp,
    cached_cast).
    """
    norms, embeddings = stack.holds_wide(workload)
    if not norms or not stack.autocasts(workload):
        return 0.0, 0.0
    return training.left_plain(architecture, stack) * b, architecture.head_parameters * b if embeddings else 0.0


def _ends_forward(architecture: Architecture, workload: Workload, stack: Stack, b: float, kept: float) -> float:
    """Extra bytes at the end of the forward pass: its logits, and what is left of the batch before.

    `kept`: bytes per token that stay as long as their graph. The logits of the batch before are in fp32.
    """
    before = workload.context if workload.packing else min(stack.kept_tokens * workload.batch, workload.context)
    left = kept + architecture.hidden * b + 4 * architecture.vocabulary
    return float(workload.batch) * (workload.context * architecture.vocabulary * b + before * left)
