"""What a workload's words mean on its stack: what nobody said is settled, what the stack has no switch for is refused.

Pure. The words that a stack has are in stacks.py.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from modelpick.errors import UsageError
from modelpick.memory.stacks import STACKS, Stack, named_stack, stack_of
from modelpick.workload import KBIT_METHODS, VIRTUAL_TOKENS, Workload


@lru_cache(maxsize=256)  # a file of cases repeats its few workloads: a look-up takes a fifth of `replace`
def settled(workload: Workload) -> Workload:
    """The workload with its stack's name, and with the stack's own choice for each word that was left open.

    A word that the method has no use for is None. Raises UsageError(code="contradiction"), naming both words, for what
    the stack cannot do.
    """
    named = replace(workload, stack=named_stack(workload))  # type: ignore[arg-type]
    stack = stack_of(named)
    for word, other, fix in _refused(named, stack):
        raise UsageError(f"{word} does not apply to {other}", fix=fix, code="contradiction")
    return replace(
        named,
        kbit_prepared=_kbit_prepared(named, stack),
        double_quantization=_chosen(named.double_quantization, stack.double_quantization, _has_nf4(named)),
        optimizer_in_backward=_chosen(
            named.optimizer_in_backward,
            stack.steps_in_backward and named.gradient_accumulation == 1,
            named.method == "full",
        ),
        virtual_tokens=named.virtual_tokens or (VIRTUAL_TOKENS if named.method == "prompt-tuning" else None),
        loss_chunking=_chosen(named.loss_chunking, _chunks_loss(named, stack), named.task == "finetune"),
        activation_offload=_chosen(
            named.activation_offload,
            stack.offloads_checkpoints and named.gradient_checkpointing,
            named.task == "finetune",
        ),
    )


def _chosen(said: bool | None, otherwise: bool, applies: bool) -> bool | None:
    return None if not applies else otherwise if said is None else said


def _has_nf4(workload: Workload) -> bool:
    return workload.method in ("nf4", "qlora")


def _kbit_prepared(workload: Workload, stack: Stack) -> bool | None:
    """Sharded weights are of one type: peft's function is not called for them (trl models/utils.py 0.26,
    is_sharded_qlora; axolotl loaders/model.py), and DeepSpeed's engine casts the whole model."""
    if workload.method not in KBIT_METHODS:
        return None
    if workload.kbit_prepared is None:
        return stack.kbit_prepared and workload.sharding == "none"
    return workload.kbit_prepared


def _chunks_loss(workload: Workload, stack: Stack) -> bool:
    """litgpt cuts the loss of adapters alone: finetune/full.py does not. What nobody measured is counted whole: the
    loss behind virtual tokens, and the answers that dpo and kto compare."""
    measured = workload.method != "prompt-tuning" and workload.objective == "sft"
    return measured and stack.chunks_loss and (workload.is_lora or not stack.loss_chunk_tokens)


def _refused(workload: Workload, stack: Stack) -> Iterator[tuple[str, str, str]]:
    """What the stack cannot do: the word, the word it contradicts, and what to do."""
    on = f"stack {stack.name}"
    for word, turned in _turned(workload, stack).items():
        if turned and word not in stack.words:
            able = ", ".join(sorted(name for name, other in STACKS.items() if word in other.words))
            yield word, on, f"leave it out, or use stack {able}"
    if workload.kbit_prepared and workload.sharding != "none":
        yield "kbit_prepared", f"sharding {workload.sharding}", "leave out one of them: shards are of one type"
    if workload.gpus > 1 and workload.task == "finetune" and stack.name in _ONE_GPU:
        yield f"gpus {workload.gpus}", on, "use one GPU, or stack transformers, trl, axolotl or llama-factory"
    if workload.optimizer_in_backward and workload.gradient_accumulation > 1:
        yield (
            "optimizer_in_backward",
            f"gradient_accumulation {workload.gradient_accumulation}",
            "leave out one of them",
        )
    if workload.optimizer_in_backward and stack.name != "torchtune" and workload.optimizer != "sgd":
        yield "optimizer_in_backward", f"optimizer {workload.optimizer} on {on}", "use optimizer sgd: there it is LOMO"
    if workload.activation_offload and not workload.gradient_checkpointing and stack.name in _CHECKPOINTS_ALONE:
        yield "activation_offload", f"gradient_checkpointing false on {on}", "add gradient_checkpointing"


_ONE_GPU = ("modelpick", "unsloth")
_CHECKPOINTS_ALONE = ("llama-factory", "unsloth")  # use_unsloth_gc, unsloth: what is offloaded are checkpoints


def _turned(workload: Workload, stack: Stack) -> dict[str, object]:
    """Each word that a stack may lack, and whether the workload turns it away from what the stack does anyway."""
    quantizes_twice, in_pieces = workload.double_quantization, workload.loss_chunking
    return {
        "prompt-tuning": workload.method == "prompt-tuning",
        "objective": workload.objective != "sft",
        "kbit_prepared": workload.kbit_prepared,
        "double_quantization": quantizes_twice is not None and quantizes_twice != stack.double_quantization,
        "loss_chunking": in_pieces is not None and in_pieces != stack.chunks_loss,
        "compile": workload.compile,
        "activation_offload": workload.activation_offload,
        "optimizer_offload": workload.optimizer_offload,
        "parameter_offload": workload.parameter_offload,
        "optimizer_in_backward": workload.optimizer_in_backward,
    }
