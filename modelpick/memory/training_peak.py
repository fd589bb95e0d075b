"""The moments at which a fine-tuning can peak: the backward pass, the end of the forward one, the step. Pure."""

from dataclasses import replace

from modelpick.catalog.architecture import Architecture
from modelpick.memory import activations, training
from modelpick.memory.parts import MemoryParts
from modelpick.memory.stacks import Stack
from modelpick.memory.training import Shares, shares
from modelpick.memory.weights import Scheme, Weights, kept_linear, weight_bytes
from modelpick.workload import Workload


def training_parts(
    architecture: Architecture, workload: Workload, stack: Stack, held: Weights, share: Shares, b: float, count: int
) -> tuple[MemoryParts, int]:
    """The larger of two moments: the start of the backward pass, or the optimizer's step."""
    kept = 0.0
    each = stack.trained_bytes(workload, b)
    whole = 1.0 if workload.sharding == "zero2" else share.trained  # ZeRO-2 splits all that is trained but weights
    if workload.method == "full":
        trainable, adapter = count, 0.0
        if stack.duplicates_tied_head and architecture.tied:
            trainable += architecture.head_parameters
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
    forward = _saved(architecture, workload, stack, b, held, trainable) + share.gathered
    if stack.steps_in_backward and workload.method == "full":
        gradients = step = 0.0
    if workload.gradient_accumulation > 1 or stack.accumulates:
        kept += gradients
    if forward + kept > gradients + step:
        gradients, active = kept, forward
    else:
        active = step
    return MemoryParts(share.weights, 0.0, active, gradients + bucket, states, adapter), trainable


def parts_alone(
    architecture: Architecture, workload: Workload, stack: Stack, scheme: Scheme | None, b: float, count: int
) -> MemoryParts:
    """The same training on one GPU without sharding: an upper bound for each of several GPUs.

    What engines for several GPUs add (fp32 masters, buffers, gathered layers) can outweigh what two GPUs save, but
    nobody shards to hold more.
    """
    one = replace(workload, gpus=1, sharding="none")
    held = weight_bytes(architecture, scheme, stack, b, count, one)
    return training_parts(architecture, one, stack, held, shares(architecture, one, held), b, count)[0]


def _saved(
    architecture: Architecture, workload: Workload, stack: Stack, b: float, held: Weights, trainable: int
) -> float:
    """Bytes alive when the backward pass starts: everything saved, and the loss's spike or a layer at work."""
    tokens = float(workload.batch) * workload.context
    loss = activations.loss_bytes(architecture, workload, stack, held.rebuilt if stack.quantizes_head else 0.0)
    shared = saved = activations.bias_bytes(architecture, workload, b)
    widest = moving = borders = kept = 0.0
    if workload.is_lora and stack.autocasts(workload):  # what is in fp32 is cast, and the casts stay
        saved += b * trainable
        saved += b * kept_linear(architecture, stack) if workload.dtype == "fp16" else 0.0
    for group in architecture.layers + architecture.encoder:
        adapted = [] if workload.method == "full" else training.adapted(group, workload.lora_targets)
        one = tokens * activations.saved_bytes(architecture, group, workload, stack, b, adapted)
        saved += group.count * one
        kept += group.count * tokens * activations.kept_bytes(architecture, group, workload, stack, b)
        borders += group.count * tokens * architecture.hidden * b
        at_work = tokens * activations.moving_bytes(architecture, group, workload, stack, b)
        widest, moving = max(widest, one + at_work), max(moving, at_work)
    if workload.gradient_checkpointing and (stack.checkpoints_alone or workload.gpus > 1):
        stays = 0.0 if stack.reentrant else kept
        at_work = widest + held.rebuilt
        if workload.sharding == "fsdp" and workload.is_lora and stack.keeps_input_gradients:
            at_work += borders
        return min(3 * shared + borders + stays + max(at_work, loss), saved + max(loss, at_work))
    ends_forward = 0.0
    if kept and stack.kept_tokens:
        ends_forward = _ends_forward(architecture, workload, stack, b, kept / tokens) + held.rebuilt
    return saved + max(loss, moving + held.rebuilt, ends_forward)


def _ends_forward(architecture: Architecture, workload: Workload, stack: Stack, b: float, kept: float) -> float:
    """Extra bytes at the end of the forward pass: its logits, and what is left of the batch before.

    `kept`: bytes per token that stay as long as their graph. The logits of the batch before are in fp32.
    """
    before = workload.context if workload.packing else min(stack.kept_tokens * workload.batch, workload.context)
    left = kept + architecture.hidden * b + 4 * architecture.vocabulary
    return float(workload.batch) * (workload.context * architecture.vocabulary * b + before * left)
