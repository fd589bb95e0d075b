"""The assumptions of an estimate as a table: each row has the case it applies to, and its sentence. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from modelpick.catalog.architecture.shape import Architecture
from modelpick.memory.stacks import DEEPSPEED, NEWEST, OLDER, Stack, is_unread
from modelpick.memory.weights import Scheme
from modelpick.workload import CHECKPOINT_METHODS, KBIT_METHODS, Task, Workload

CLASSIFIED = "trained as a classifier; training it to fill masks keeps logits over the vocabulary as well"


@dataclass(frozen=True, slots=True)
class EstimatedCase:
    """What is estimated: a model's shape, a workload, the weight format and the memory use of its stack."""

    architecture: Architecture
    workload: Workload
    scheme: Scheme | None
    stack: Stack

    @property
    def deepspeed(self) -> bool:
        """Whether DeepSpeed's engine trains."""
        return self.workload.sharding in DEEPSPEED

    @property
    def bitsandbytes(self) -> bool:
        """Whether bitsandbytes quantizes the weights."""
        return self.scheme is not None and self.scheme.name in ("int8", "nf4", "nf4-double")

    @property
    def one_key_head(self) -> bool:
        """Whether a layer's single key head keeps transformers from fused attention."""
        unfused = any(group.attention and group.attention.unfused for group in self.architecture.layers)
        return unfused and self.stack.transformers_models

    @property
    def delta_rules(self) -> bool:
        """Whether transformers runs the model's delta-rule layers on its plain PyTorch path."""
        plain = any(group.mixer and group.mixer.plain for group in self.architecture.layers)
        return plain and self.stack.transformers_models

    @property
    def has_mixers(self) -> bool:
        """Whether a layer is recurrent or convolutional."""
        return any(group.mixer for group in self.architecture.layers)

    @property
    def has_table(self) -> bool:
        """Whether a GGUF file's own table is at hand."""
        return self.architecture.checkpoint is not None and bool(self.architecture.checkpoint.file)

    @property
    def lacks_checkpoint(self) -> bool:
        """Whether the weights would have to come quantized, and this repository's do not."""
        own = self.architecture.checkpoint
        brought = self.workload.method in CHECKPOINT_METHODS and self.workload.method != "gguf"
        return brought and (own is None or own.method != self.workload.method)


def sharding_adds_memory(workload: Workload, stack: Stack) -> bool:
    """Whether a GPU in a sharded run uses more memory than one GPU alone: measured for adapters under FSDP."""
    checkpointed = stack.keeps_input_gradients and workload.gradient_checkpointing
    return workload.sharding == "fsdp" and workload.is_lora and (stack.keeps_unsharded_gradients or checkpointed)


_SERVE: tuple[Task, ...] = ("serve",)
_FINETUNE: tuple[Task, ...] = ("finetune",)
_BOTH = _SERVE + _FINETUNE
# (of which tasks, in which case, the sentence): {stack}, {version} and {method} are filled in.
_ROWS: tuple[tuple[tuple[Task, ...], Callable[[EstimatedCase], object], str], ...] = (
    (
        _BOTH,
        lambda c: c.bitsandbytes and c.architecture.expert_weights and not c.stack.quantizes_experts,
        "{stack} leaves fused experts unquantized: bitsandbytes covers linear layers only",
    ),
    (
        _BOTH,
        lambda c: c.bitsandbytes and c.architecture.model_type == "falcon",
        "FalconLinear is replaced by nn.Linear before loading; otherwise nothing is quantized",
    ),
    (
        _FINETUNE,
        lambda c: c.one_key_head and c.workload.stack == "modelpick",
        "its single key head is repeated for attention, as modelpick finetune does; as it is, no fused kernel fits",
    ),
    (
        _BOTH,
        lambda c: c.one_key_head and c.workload.stack != "modelpick",
        "no fused attention kernel accepts its single key head: the scores of a prompt are kept in fp32",
    ),
    (
        _FINETUNE,
        lambda c: c.workload.sharding == "fsdp" and c.workload.method == "full" and c.stack.fsdp_bytes,
        "FSDP with bf16 or fp16 mixed precision keeps its shards in fp32; without mixed precision they take half",
    ),
    (
        _FINETUNE,
        lambda c: sharding_adds_memory(c.workload, c.stack),
        "adapters under FSDP use more memory per GPU than one GPU alone (measured): activations are not sharded",
    ),
    (
        _FINETUNE,
        lambda c: c.workload.kbit_prepared,
        "prepare_model_for_kbit_training is counted, as peft's documentation calls it: residuals in fp32; "
        "--no-kbit-prepared leaves it out",
    ),
    (
        _FINETUNE,
        lambda c: c.workload.kbit_prepared is False and c.workload.stack == "modelpick",
        "without prepare_model_for_kbit_training, which modelpick finetune does not call",
    ),
    (
        _FINETUNE,
        lambda c: c.workload.method == "lora-int8",
        "LLM.int8 keeps input columns with a value of 6 or more once more: few in trained weights, left to the "
        "interval; random weights have many",
    ),
    (
        _FINETUNE,
        lambda c: c.workload.gradient_checkpointing and c.workload.gpus == 1 and not c.stack.checkpoints_alone,
        "{stack} checkpoints activations only under FSDP: on one GPU all of them are kept",
    ),
    (
        _FINETUNE,
        lambda c: c.workload.method == "lora-int8" and c.workload.gradient_checkpointing and not c.stack.reentrant,
        "bitsandbytes keeps the inputs of 8-bit layers despite checkpointing (use_reentrant=False)",
    ),
    (
        _BOTH,
        lambda c: c.deepspeed,
        "DeepSpeed: fp32 master weights and optimizer states, a bucket of 5e8 gradients, no autocast",
    ),
    (
        _FINETUNE,
        lambda c: c.architecture.kind == "encoder-decoder" and c.workload.target_length is None,
        "targets are as long as the context; shorter ones take less",
    ),
    (
        _FINETUNE,
        lambda c: c.workload.stack == "axolotl" and c.workload.method in KBIT_METHODS,
        "axolotl calls prepare_model_for_kbit_training and casts norms and embeddings back: nothing stays in fp32",
    ),
    (
        _FINETUNE,
        lambda c: c.stack.chunked_loss_limit,
        "unsloth cuts the loss to the memory that is free: up to 4 GiB on a GPU that has it, 1 GiB is counted",
    ),
    (
        _FINETUNE,
        lambda c: c.workload.compile and c.workload.method in KBIT_METHODS,
        "torch.compile saves nothing that is counted over quantized layers, whose operations it does not recompute",
    ),
    (
        _FINETUNE,
        lambda c: c.workload.compile and c.workload.method not in KBIT_METHODS,
        "torch.compile recomputes what is element-wise, as counted on Llama; where the graph breaks it takes more",
    ),
    (
        _FINETUNE,
        lambda c: c.workload.activation_offload or c.workload.optimizer_offload or c.workload.parameter_offload,
        "what is offloaded must fit into 80 % of the machine's memory",
    ),
    (
        _FINETUNE,
        lambda c: c.workload.method == "prompt-tuning",
        "prompt tuning as peft does it; modelpick finetune does not train it",
    ),
    (
        _FINETUNE,
        lambda c: c.workload.stack == "trl" and c.workload.stack_version is None,
        "trl before 1.16, which computes all logits at once and, before 0.27, prepares for k-bit training; "
        "--stack-version 1.16 does neither",
    ),
    (
        _BOTH,
        lambda c: is_unread(c.workload),
        "{stack} {version} is newer than the newest version that was read, {newest}, and is counted as that",
    ),
    (
        _BOTH,
        lambda c: c.workload.stack_version is not None and c.workload.stack not in OLDER and not is_unread(c.workload),
        "{stack} {version} is assumed to use as much memory as {newest}, the version that was read",
    ),
    (
        _BOTH,
        lambda c: c.delta_rules,
        "delta-rule layers run without flash-linear-attention, as transformers does by default; with it they take less",
    ),
    (
        _BOTH,
        lambda c: c.has_mixers and not c.delta_rules,
        "state-space layers run with their CUDA kernels; the plain PyTorch path takes more",
    ),
    (_FINETUNE, lambda c: c.architecture.kind == "encoder", CLASSIFIED),
    (
        _SERVE,
        lambda c: c.workload.method == "gguf" and c.workload.gguf_level is None and not c.has_table,
        "GGUF is assumed to be Q4_K_M; --gguf-level names another level",
    ),
    (
        _SERVE,
        lambda c: c.workload.n_gpu_layers is not None or c.workload.n_cpu_moe,
        "layers and experts that stay in RAM, and the embedding table, are not counted: they take RAM",
    ),
    (
        _SERVE,
        lambda c: c.workload.cpu_offload_gb,
        "offloaded weights take RAM, and cross to the GPU at every step",
    ),
    (
        _SERVE,
        lambda c: c.scheme is not None and c.stack.rebuilds(c.scheme.name),
        "{stack} holds {method} packed only with triton 3.4 and the package kernels: 16 bits are counted",
    ),
    (_SERVE, lambda c: c.lacks_checkpoint, "this model is assumed to have a checkpoint in {method}"),
)
_ROWS_OF = {task: tuple(row[1:] for row in _ROWS if task in row[0]) for task in _BOTH}


def assumptions_of(case: EstimatedCase) -> list[str]:
    """The sentences that apply to `case`, in the order of the rows."""
    work = case.workload
    applying = [sentence for applies, sentence in _ROWS_OF[work.task] if applies(case)]
    if not applying:
        return applying
    newest = ".".join(map(str, NEWEST.get(work.stack, ()))) or "the one of mid 2026"  # llama.cpp numbers its builds
    names = {"stack": case.stack.name, "version": work.stack_version, "method": work.method, "newest": newest}
    return [text.format(**names) for text in applying]
