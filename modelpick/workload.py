"""What a model is asked to do: the names that options, files and JSON share. Pure.

A field of `Workload` is the setting: its name is the flag and the JSON key, and its annotation holds the bounds, the
help and the source. The settings that a fine-tuning run has too (planning/recipe.py) are defined here once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from modelpick.errors import UsageError
from modelpick.schema import Bounds, Help, Pattern, Source, read_options, settings_of, to_json

ServeMethod = Literal["bf16", "int8", "nf4", "gptq", "awq", "fp8", "mxfp4", "gguf"]
FinetuneMethod = Literal["full", "lora", "lora-int8", "qlora"]

SERVE_METHODS: tuple[str, ...] = get_args(ServeMethod)
FINETUNE_METHODS: tuple[str, ...] = get_args(FinetuneMethod)
CHECKPOINT_METHODS = ("gptq", "awq", "fp8", "mxfp4", "gguf")  # a checkpoint brings them; bf16, int8, nf4 any model can
LORA_METHODS = ("lora", "lora-int8", "qlora")
SERVED_ANSWER = 512  # new tokens that a server leaves room for, where none are named


@dataclass(frozen=True, slots=True)
class Only:
    """The setting has a meaning for one task alone, or for LoRA methods alone."""

    task: Literal["serve", "finetune"] | None = None
    lora: bool = False


_TUNING = Only("finetune")
_SERVING = Only("serve")
_LORA = Only(lora=True)
METHOD_HELP = Help(
    "Weight format: bf16, int8, nf4, gptq, awq, fp8, mxfp4, gguf; to fine-tune: full, lora, lora-int8, qlora.",
    metavar="M",
    default="",
)
METHOD_SOURCE = Source(
    "bitsandbytes (LLM.int8, arXiv 2208.07339; NF4 and QLoRA, arXiv 2305.14314); LoRA, arXiv 2106.09685; "
    "the others are checkpoint formats"
)
_NO_LIMIT = "the largest value is above anything in use, so that only mistakes are refused"

Task = Annotated[
    Literal["serve", "finetune"],
    Help("What the model does.", default="what the method is for, else serve"),
    Source("the two halves of this program"),
]
Method = Annotated[
    Literal["bf16", "int8", "nf4", "gptq", "awq", "fp8", "mxfp4", "gguf", "full", "lora", "lora-int8", "qlora"],
    METHOD_HELP,
    METHOD_SOURCE,
]
Context = Annotated[
    int,
    Bounds(1, 100_000_000),
    Help(
        "Prompt tokens (serve) or tokens per sequence (finetune).",
        metavar="N",
        default="4096 to serve; 1024, or the longest example, to fine-tune",
    ),
    Source(f"defaults: 4,096 to serve, 1,024 to fine-tune (docs/data.md); {_NO_LIMIT}"),
]
Generate = Annotated[
    int,
    Bounds(0, 100_000_000),
    Help("Tokens to generate, on top of the context.", metavar="N", default="512 for a server, else 0"),
    Source(_NO_LIMIT),
    _SERVING,
]
Batch = Annotated[
    int,
    Bounds(1, 1_000_000),
    Help(
        "Sequences at a time: concurrent requests (serve) or micro-batch size (finetune).",
        metavar="N",
        default="1, or what fits the GPU",
    ),
    Source(_NO_LIMIT),
]
LoraRank = Annotated[
    int,
    Bounds(1, 65_536),
    Help("Rank of the LoRA adapters.", metavar="N"),
    Source("docs/data.md, LoRA evidence: rank 16; PEFT's MetaMathQA comparison (huggingface/peft@5d602fd): r 32 .478"),
    _LORA,
]
LoraTargets = Annotated[
    str,
    Pattern(r"(?s).*\S.*", "module names joined by commas, or all-linear"),
    Help("Modules to adapt: names joined by commas, or all-linear.", metavar="LIST"),
    Source('"LoRA Without Regret" (Thinking Machines, 2025-09-29): adapters on all linear layers'),
    _LORA,
]
LoraDropout = Annotated[
    float,
    Bounds(0, 1, below=True),
    Help("Dropout before each adapter. Above 0, keeps an extra copy of each adapter's input.", metavar="X"),
    Source("peft 0.21, LoraConfig: 0"),
    _LORA,
]
Optimizer = Annotated[
    Literal["adamw", "adamw-fused", "adamw-8bit", "paged-adamw-8bit", "sgd"],
    Help("Optimizer.", metavar="O"),
    Source("transformers 5.23, OptimizerNames; 8-bit ones: bitsandbytes, arXiv 2110.02861"),
    _TUNING,
]
GradientCheckpointing = Annotated[
    bool,
    Help("Recompute activations in the backward pass: less memory, more time."),
    Source("arXiv 1604.06174"),
    _TUNING,
]
GradientAccumulation = Annotated[
    int,
    Bounds(1, 1_000_000),
    Help("Micro-batches per optimizer step.", metavar="N", default="1, or up to 16 examples a step"),
    Source(f"with more than one, gradients stay through the next forward pass (measured); {_NO_LIMIT}"),
    _TUNING,
]
Dtype = Annotated[
    Literal["bf16", "fp16", "fp32"],
    Help("Compute dtype."),
    Source("bf16 has the exponent of fp32 (arXiv 1905.12322) and needs no loss scaling"),
]
Attention = Annotated[
    Literal["eager", "sdpa", "flash"],
    Help("Attention kernel."),
    Source("transformers 5.23: attn_implementation, whose default is sdpa"),
]
Stack = Annotated[
    Literal["auto", "transformers", "trl", "llama-factory", "litgpt", "torchtune", "vllm"],
    Help("Software that runs it. auto: what serve, finetune and up start.", metavar="S"),
    Source("planning/engines.py chooses; memory/stacks.py: what was measured"),
]
KvCacheDtype = Annotated[
    Literal["auto", "fp8", "int8", "int4"],
    Help("Dtype of the KV cache."),
    Source("vLLM --kv-cache-dtype; transformers' quantized cache"),
    _SERVING,
]
Measure = Annotated[
    Literal["allocated", "reserved", "device"],
    Help("Memory to report: allocated by torch, reserved by torch, or all that the GPU shows."),
    Source("torch.cuda.memory_allocated, memory_reserved; nvidia-smi"),
]
Sharding = Annotated[
    Literal["none", "tensor-parallel", "zero2", "zero3", "fsdp"],
    Help("How GPUs share the model.", metavar="HOW", default="tensor-parallel to serve, zero3 to fine-tune"),
    Source("ZeRO, arXiv 1910.02054; Megatron-LM, arXiv 1909.08053"),
]


@dataclass(frozen=True, slots=True)
class Workload:
    """A task on a model. Token counts are tokens, `batch` is concurrent sequences (serving) or the micro-batch.

    `context` is prompt tokens when serving and tokens per sequence when training; `generate` is new tokens on top of
    the prompt. `gpus` > 1 needs a `sharding`: memories are never added up without one. None, where it is allowed,
    leaves the choice to the stack.
    """

    task: Task = "serve"
    method: Method = "int8"
    context: Context = 4096
    generate: Generate = 0
    batch: Batch = 1
    lora_rank: LoraRank = 16
    lora_targets: LoraTargets = "all-linear"
    lora_dropout: LoraDropout = 0.0
    optimizer: Optimizer = "adamw"
    gradient_checkpointing: GradientCheckpointing = False
    gradient_accumulation: GradientAccumulation = 1
    dtype: Dtype = "bf16"
    autocast: Annotated[
        bool | None, Help("Train under torch.autocast.", default="what the stack does"), Source("torch.amp"), _TUNING
    ] = None
    attention: Attention = "sdpa"
    stack: Stack = "auto"
    stack_version: Annotated[
        str | None,
        Pattern(r"\d{1,4}(\.\d{1,4}){0,3}", "a version number such as 4.42"),
        Help("Version of the stack: transformers before 4.45 took more memory, trl from 1.16 takes less.", metavar="V"),
        Source("memory/stacks.py, which also has the version that None means"),
    ] = None
    measure: Measure = "device"
    gpus: Annotated[int, Bounds(1, 4096), Help("GPUs to shard the model over.", metavar="N"), Source(_NO_LIMIT)] = 1
    sharding: Sharding = "none"
    packing: Annotated[
        bool, Help("Pack several training examples into one sequence."), Source("TRL's SFTConfig.packing"), _TUNING
    ] = False
    loss_chunking: Annotated[
        bool | None,
        Help("Compute the loss in chunks.", default="what the stack does"),
        Source("memory/stacks.py, which tells the stacks that do"),
        _TUNING,
    ] = None
    kv_cache_dtype: KvCacheDtype = "auto"
    gpu_memory_utilization: Annotated[
        float,
        Bounds(0, 1, above=True),
        Help("Share of GPU memory that vLLM uses.", metavar="X"),
        Source("vLLM: --gpu-memory-utilization, 0.9"),
        _SERVING,
    ] = 0.9

    @property
    def is_lora(self) -> bool:
        """Whether only low-rank adapters are trained."""
        return self.method in LORA_METHODS

    def as_json(self) -> dict[str, object]:
        """The workload in the names of the contract."""
        return to_json(self)


def _only(**wanted: Any) -> tuple[str, ...]:
    return tuple(setting.name for setting in settings_of(Workload) if Only(**wanted) in setting.notes)


ONLY_SERVE = _only(task="serve")
_ONLY_FINETUNE = _only(task="finetune")
ONLY_LORA = _only(lora=True)


def workload_from(options: Mapping[str, object]) -> Workload:
    """A workload from names and values; what is absent or None takes its default (which depends on the task).

    The task follows from the method when only the method is named. Raises UsageError for an unknown name or value
    (suggesting the nearest), a number out of bounds, and options that contradict each other.
    """
    values = read_options(Workload, options, unknown="unknown_option")
    if "task" not in values:
        values["task"] = "finetune" if values.get("method") in FINETUNE_METHODS else "serve"
    task = values["task"]
    allowed = SERVE_METHODS if task == "serve" else FINETUNE_METHODS
    values.setdefault("method", "int8" if task == "serve" else "lora-int8")
    if values["method"] not in allowed:
        raise _contradiction(f"method {values['method']} is not a way to {task}", f"use one of {', '.join(allowed)}")
    values.setdefault("context", 4096 if task == "serve" else 1024)
    if "stack_version" in values:
        values.setdefault("stack", "transformers")
    for name in _ONLY_FINETUNE if task == "serve" else ONLY_SERVE:
        if values.get(name):
            raise _contradiction(f"{name} does not apply to task {task}", f"leave out {name}")
    for name in ONLY_LORA:
        if name in values and values["method"] not in LORA_METHODS:
            message = f"{name} does not apply to method {values['method']}"
            raise _contradiction(message, f"leave out {name}, or use lora")
    if values.get("gpus", 1) > 1 and values.get("sharding", "none") == "none":
        values["sharding"] = "tensor-parallel" if task == "serve" else "zero3"
    if values.get("sharding") == "zero2" and task == "serve":
        raise _contradiction("zero2 shards gradients, which serving does not have", "use tensor-parallel or zero3")
    if values.get("gpus", 1) == 1 and values.get("sharding", "none") not in ("none", "zero2"):
        raise _contradiction("sharding needs more than one GPU", "add gpus, or leave out sharding")
    return Workload(**values)


def _contradiction(message: str, fix: str) -> UsageError:
    return UsageError(message, fix=fix, code="contradiction")
