"""Adapters, gradients and optimizer states, and what one of several GPUs holds of a model. Pure."""

import math
from dataclasses import dataclass, replace

from modelpick.catalog.architecture.shape import Architecture, LayerGroup, Projection
from modelpick.errors import UsageError, nearest
from modelpick.memory.stacks import DEEPSPEED, Stack, stack_of
from modelpick.memory.weights import ELEMENT_BYTES, Weights, kept_linear
from modelpick.workload import Workload

# Bytes of optimizer state per trainable parameter, over the parameter's own bytes p (torch.optim.AdamW: two moments in
# the parameter's type; bitsandbytes 8-bit: one byte each, arXiv 2110.02861; sgd without momentum: none).
_STATES = {"adamw": "2p", "adamw-fused": "2p", "adamw-8bit": "2", "paged-adamw-8bit": "2", "sgd": "0"}

# Module names of a role in any family: a target given in one family's words finds the same matrix in another.
_ROLES = {
    "query": ("query",), "q": ("query",), "q_proj": ("query",), "query_proj": ("query",), "lora_query": ("query",),
    "key": ("key",), "k": ("key",), "k_proj": ("key",), "lora_key": ("key",),
    "value": ("value",), "v": ("value",), "v_proj": ("value",), "lora_value": ("value",),
    "projection": ("output",), "o": ("output",), "o_proj": ("output",), "out_proj": ("output",),
    "output_proj": ("output",), "lora_projection": ("output",),
    "mlp": ("gate", "up", "gate_up", "down"), "lora_mlp": ("gate", "up", "gate_up", "down"),
    "gate_proj": ("gate",), "up_proj": ("up",), "down_proj": ("down",), "w1": ("gate",), "w2": ("down",), "w3": ("up",),
    "wi_0": ("gate",), "wi_1": ("up",), "wi": ("up",), "wo": ("down",),
    "query_key_value": ("qkv", "query", "key", "value"), "qkv_proj": ("qkv", "query", "key", "value"),
    "c_attn": ("qkv", "query", "key", "value"), "wqkv": ("qkv", "query", "key", "value"),
    "gate_up_proj": ("gate_up", "gate", "up"), "fc1": ("up",), "fc2": ("down",), "dense_h_to_4h": ("up", "gate_up"),
    "dense_4h_to_h": ("down",),
}  # fmt: skip
_HEAD = frozenset({"head", "lm_head", "lora_head", "embed_out", "output"})
ALL = "all-linear"

# Parameters that ZeRO-3 leaves gathered after use: stage3_max_live_parameters (deepspeed runtime/zero/config.py).
LIVE = 1e9


def state_bytes(workload: Workload, parameter_bytes: float) -> float:
    """Optimizer state in bytes per trainable parameter of `parameter_bytes` bytes.

    Paged states are managed memory (bitsandbytes functional.py get_paged): torch's allocator does not see them.
    DeepSpeed keeps an fp32 master of every trainable parameter that is not fp32, and its states are in fp32
    (runtime/zero/stage_1_and_2.py and stage3.py, fp32 partitions).
    """
    master = 4.0 if _has_masters(workload, parameter_bytes) else 0.0
    if workload.optimizer.startswith("paged") and workload.measure != "device":
        return master
    states = {"2p": 2 * (master or parameter_bytes), "2": 2.0, "0": 0.0}
    return master + states[_STATES[workload.optimizer]]


def step_bytes(workload: Workload, trainable: float, parameter_bytes: float) -> float:
    """What the optimizer's step holds for a moment for `trainable` parameters on one GPU, in bytes: foreach AdamW's
    list of denominators; DeepSpeed's gradients in fp32, in ZeRO-3 a group of 1e9 parameters at a time (sub_group_size).
    """
    if _has_masters(workload, parameter_bytes):
        return 4 * (min(trainable, 1e9) if workload.sharding == "zero3" else trainable)
    return trainable * parameter_bytes if workload.optimizer == "adamw" else 0.0


def bucket_bytes(workload: Workload, parameter_bytes: float) -> float:
    """DeepSpeed's buffer in which gradients are reduced: 5e8 elements by default (runtime/zero/config.py)."""
    return 5e8 * parameter_bytes if workload.sharding in DEEPSPEED else 0.0


def _has_masters(workload: Workload, parameter_bytes: float) -> bool:
    return workload.sharding in DEEPSPEED and parameter_bytes < 4


def adapted(group: LayerGroup, targets: str) -> list[tuple[Projection, int]]:
    """The projections of a layer that get an adapter, each with the outputs adapted (a part of a fused one, or all)."""
    if targets == ALL:
        return [(projection, projection.outputs) for projection in group.projections]
    words = [word.strip() for word in targets.split(",") if word.strip()]
    named = {projection.name for projection in group.projections}
    found = []
    for projection in group.projections:
        if projection.name in words:
            found.append((projection, projection.outputs))
            continue
        roles = {role for word in words if word not in named for role in _ROLES.get(word, ())}
        if projection.role in roles:
            found.append((projection, projection.outputs))
        elif projection.role == "qkv" and group.attention is not None and roles & {"query", "key", "value"}:
            a = group.attention
            sizes = {"query": a.query_width, "key": a.kv_heads * a.head_dim, "value": a.kv_heads * a.value_dim}
            found += [(projection, size) for role, size in sizes.items() if role in roles]
    return found


def adapts_head(targets: str) -> bool:
    """Whether the output matrix is among the targets."""
    return targets != ALL and any(word.strip() in _HEAD for word in targets.split(","))


def adapter_parameters(architecture: Architecture, rank: int, targets: str) -> int:
    """Trainable parameters of LoRA adapters (arXiv 2106.09685): rank * (inputs + outputs) a matrix.

    Raises UsageError when no linear layer of the model bears a target's name.
    """
    groups = architecture.layers + architecture.encoder
    total = sum(group.held * rank * (p.inputs + out) for group in groups for p, out in adapted(group, targets))
    if adapts_head(targets):
        total += rank * (architecture.hidden + architecture.vocabulary)
    if not total:
        known = sorted({p.name for group in groups for p in group.projections})
        raise UsageError(
            f"no layer of {architecture.model_type} is called {targets!r}",
            fix=nearest(targets, known) or f"use all-linear, or some of {', '.join(known)}",
            code="unknown_lora_targets",
        )
    return total


def left_plain(architecture: Architecture, stack: Stack) -> int:
    """Weights of linear layers and experts that bitsandbytes does not quantize."""
    return kept_linear(architecture, stack) + (0 if stack.quantizes_experts else architecture.expert_weights)


def widened(architecture: Architecture, held: Weights, workload: Workload, stack: Stack, b: float) -> Weights:
    """The weights as prepare_model_for_kbit_training leaves them: all that is not quantized in fp32, but for embeddings
    and output matrix where the stack casts them back (peft 0.21.2, utils/other.py)."""
    norms, embeddings = stack.holds_wide(workload)
    if not norms:
        return held
    wider = 4.0 / b
    return replace(
        held,
        linear=held.linear + left_plain(architecture, stack) * (4.0 - b),
        embeddings=held.embeddings * (wider if embeddings else 1.0),
        other=held.other * wider,
    )


def prompt_parameters(architecture: Architecture, workload: Workload) -> int:
    """Trainable parameters of prompt tuning (arXiv 2104.08691): an embedding a virtual token; of an encoder-decoder one
    for each half (peft 0.21.2, tuners/prompt_tuning: num_transformer_submodules)."""
    halves = 2 if architecture.kind == "encoder-decoder" else 1
    return halves * (workload.virtual_tokens or 0) * architecture.hidden


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
    ZeRO-2 leaves the weights whole. With `parameter_offload` a GPU has what is gathered alone.
    """
    n = workload.gpus
    if workload.sharding == "zero2":
        return Shares(held.total, 1.0, 1.0, 1 / n, 0.0)
    if (n == 1 and not workload.parameter_offload) or workload.sharding == "none":
        return Shares(held.total, 1.0, 1.0, 1.0, 0.0)
    if workload.sharding == "tensor-parallel":
        outer = held.embeddings / n if stack_of(workload).splits_embeddings else held.embeddings
        weights = held.linear / n + outer + held.other
        return Shares(weights, cache_share(architecture, workload), 1.0, 1 / n, 0.0)
    layers = max(architecture.depth, 1)
    gathered = max(2 * held.linear / layers, held.embeddings)
    if workload.sharding == "zero3":
        gathered = max(gathered, LIVE * ELEMENT_BYTES[workload.dtype])
    split = 0.0 if workload.parameter_offload else held.total / n
    return Shares(split, 1.0, 1.0, 1 / n, min(gathered, held.total - split))


def cache_share(architecture: Architecture, workload: Workload) -> float:
    """The largest fraction of the cache that one GPU holds under tensor parallel: whole KV heads. 1 otherwise."""
    fraction, n = 0.0, workload.gpus if workload.sharding == "tensor-parallel" else 1
    for group in architecture.layers:
        if group.attention is not None:
            latent = group.attention.latent and workload.stack == "vllm"
            heads = group.attention.kv_heads
            fraction = max(fraction, 1.0 if latent else math.ceil(heads / n) / heads)
    return fraction or 1.0
