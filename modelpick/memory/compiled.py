"""What a layer saves for its backward pass when torch.compile compiled it. Pure.

The partitioner recomputes what is element-wise (torch/_functorch/partitioners.py,
min_cut_rematerialization_partition): counted on LlamaForCausalLM of transformers 5.23 with peft 0.21.2, torch 2.13, by
the outputs of the forward graph that are inputs of the backward graph.
"""

from modelpick.catalog.architecture.shape import Architecture, LayerGroup, Projection
from modelpick.memory.activations import attention_bytes, is_gated, mlp_width, saved_bytes
from modelpick.memory.stacks import Stack
from modelpick.workload import KBIT_METHODS, Workload


def is_compiled(group: LayerGroup, workload: Workload) -> bool:
    """Whether the saving is counted: quantized layers, experts and mixers run operations that graphs break at."""
    return workload.compile and workload.method not in KBIT_METHODS and not group.experts and not group.mixer


def layer_bytes(
    architecture: Architecture, group: LayerGroup, workload: Workload, stack: Stack, b: float,
    adapted: list[tuple[Projection, int]],
) -> float:  # fmt: skip
    """Bytes that one layer saves per token: `activations.saved_bytes`, or less where it is compiled.

    A compiled layer keeps the residual at each norm, what its matrices give, and each input of adapters once.
    """
    plain = saved_bytes(architecture, group, workload, stack, b, adapted)
    if not is_compiled(group, workload):
        return plain
    h, i = architecture.hidden, mlp_width(group)
    total = group.norms * b * h + (2 if is_gated(group) else 1) * b * i
    if group.attention:
        total += attention_bytes(architecture, group, workload, stack, b) * (2 if group.cross_attention else 1)
    if workload.method == "full":
        output = group.attention.output_width if group.attention else 0
        return min(plain, total + (group.norms * h + output + i) * b)
    each = b if stack.autocasts(workload) else stack.adapter_bytes
    widths: dict[tuple[str, int], int] = {}
    for projection, _ in adapted:
        role = projection.role
        shared = role if role in ("output", "down") else "mlp" if role in ("gate", "up", "gate_up") else "qkv"
        widths[shared, projection.inputs] = projection.inputs
        total += workload.lora_rank * each
        total += projection.inputs if workload.lora_dropout and not stack.dropout else 0.0  # a one-byte mask
    return min(plain, total + each * sum(widths.values()))
