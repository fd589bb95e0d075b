"""What a model is asked to do: the names that options, files and JSON share. Pure.

A field of `Workload` is the setting: its name is the flag and the JSON key, and its annotation holds the bounds, the
help and the source. The settings that a fine-tuning run has too (planning/recipe.py) are defined here once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from modelpick.errors import UsageError
from modelpick.schema import Bounds, Help, Pattern, Source, read_options, settings_of, to_json

ServeMethod = Literal[
    "auto", "bf16", "int8", "nf4", "gptq", "awq", "fp8", "mxfp4", "nvfp4", "compressed-tensors", "gguf"
]
RunMethod = Literal["full", "lora", "lora-int8", "qlora", "prompt-tuning"]  # what `modelpick finetune` runs

SERVE_METHODS: tuple[str, ...] = get_args(ServeMethod)
FINETUNE_METHODS: tuple[str, ...] = get_args(RunMethod)
# A checkpoint brings them; bf16, int8 and nf4 can be made of any model that is not quantized yet.
CHECKPOINT_METHODS: tuple[ServeMethod, ...] = ("gptq", "awq", "fp8", "mxfp4", "nvfp4", "compressed-tensors", "gguf")
LORA_METHODS = ("lora", "lora-int8", "qlora")
KBIT_METHODS = ("lora-int8", "qlora")  # trained over weights that bitsandbytes quantized
VIRTUAL_TOKENS = 20  # of prompt tuning, where nobody says how many (arXiv 2104.08691, figure 3)
# The default load of a server: as many requests at once, each with a prompt and an answer of so many tokens. No source
# says what is usual: 4,096 tokens in all are what most models take, and eight requests are a small team's.
SERVED_REQUESTS, SERVED_PROMPT, SERVED_ANSWER = 8, 3_584, 512
TUNED_CONTEXT = 1_024  # tokens of a sequence in training


@dataclass(frozen=True, slots=True)
class Only:
    """The setting has a meaning for one task alone, for LoRA methods alone, for some methods alone, or for some stacks
    alone (with `auto`, the first of them is meant)."""

    task: Literal["serve", "finetune"] | None = None
    lora: bool = False
    stacks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlsoFlag:
    """Another flag of the command line that sets the same."""

    flag: str


_TUNING = Only("finetune")
_SERVING = Only("serve")
_LORA = Only(lora=True)
_LLAMA_CPP = Only("serve", stacks=("llama.cpp",))
METHOD_HELP = Help(
    "Weight format: auto, bf16, int8, nf4, gptq, awq, fp8, mxfp4, nvfp4, compressed-tensors, gguf; "
    "to fine-tune: full, lora, lora-int8, qlora, prompt-tuning.",
    metavar="M",
    default="what the checkpoint brings, else bf16; to fine-tune: lora-int8",
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
    Literal[
        "auto",
        "bf16",
        "int8",
        "nf4",
        "gptq",
        "awq",
        "fp8",
        "mxfp4",
        "nvfp4",
        "compressed-tensors",
        "gguf",
        "full",
        "lora",
        "lora-int8",
        "qlora",
        "prompt-tuning",
    ],
    METHOD_HELP,
    METHOD_SOURCE,
]
Context = Annotated[
    int,
    Bounds(1, 100_000_000),
    Help(
        "Prompt tokens (serve) or tokens per sequence (finetune).",
        metavar="N",
        default=f"{SERVED_PROMPT} to serve; {TUNED_CONTEXT}, or the longest example, to fine-tune",
    ),
    Source(f"defaults: {SERVED_PROMPT:,} to serve, {TUNED_CONTEXT:,} to fine-tune (docs/data.md); {_NO_LIMIT}"),
]
Generate = Annotated[
    int,
    Bounds(0, 100_000_000),
    Help(
        "Tokens to generate, on top of the context.",
        metavar="N",
        default=f"{SERVED_ANSWER}, or what the model's limit leaves",
    ),
    Source(_NO_LIMIT),
    _SERVING,
]
Batch = Annotated[
    int,
    Bounds(1, 1_000_000),
    Help(
        "Sequences at a time: concurrent requests (serve) or micro-batch size (finetune).",
        metavar="N",
        default=f"{SERVED_REQUESTS} to serve; to fine-tune what fits the GPU",
    ),
    Source(_NO_LIMIT),
]
Objective = Annotated[
    Literal["sft", "dpo", "kto"],
    Help(
        "What is learned: sft, the answers; dpo, to prefer the chosen answer of a pair; kto, from thumbs up and down.",
        metavar="O",
    ),
    Source("TRL 1.16: SFTTrainer; DPOTrainer; KTOTrainer (KTO: arXiv 2402.01306)"),
    _TUNING,
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
    Literal[
        "auto",
        "modelpick",
        "transformers",
        "trl",
        "axolotl",
        "llama-factory",
        "unsloth",
        "litgpt",
        "torchtune",
        "vllm",
        "sglang",
        "tgi",
        "llama.cpp",
    ],
    Help("Software that runs it. auto: what serve, finetune and up start.", metavar="S"),
    Source("planning/engines.py chooses; memory/stacks.py: what was measured"),
]
KvCacheDtype = Annotated[
    Literal["auto", "fp8", "int8", "int4", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"],
    Help("Dtype of the KV cache. q8_0 to q4_0: llama.cpp's."),
    Source("vLLM and SGLang --kv-cache-dtype; transformers' quantized cache; llama.cpp --cache-type-k, --cache-type-v"),
    _SERVING,
]
GgufLevel = Annotated[
    Literal[
        "F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0",
        "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "Q2_K_S", "IQ4_NL", "IQ4_XS", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS",
        "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "TQ2_0", "TQ1_0", "MXFP4_MOE",
    ] | None,
    Help("Quantization level of the GGUF file.", metavar="LEVEL", default="the file's own, else Q4_K_M"),
    Source("llama.cpp src/llama-quant.cpp, llama_ftype; memory/gguf_levels.py has what each makes of a tensor"),
    _LLAMA_CPP,
]  # fmt: skip
GpuLayers = Annotated[
    int | None,
    Bounds(0, 100_000),
    Help("Layers on the GPU; the rest stay in RAM.", metavar="N", default="all of them"),
    Source(f"llama.cpp --n-gpu-layers, which counts the output matrix as one layer more; {_NO_LIMIT}"),
    _LLAMA_CPP,
]
CpuMoe = Annotated[
    int,
    Bounds(0, 100_000),
    Help("Layers whose experts stay in RAM.", metavar="N"),
    Source(f"llama.cpp --n-cpu-moe: the experts of the first N layers; {_NO_LIMIT}"),
    _LLAMA_CPP,
]
CpuOffloadGb = Annotated[
    float,
    Bounds(0, 100_000),
    Help("GiB of weights that each GPU keeps in RAM.", metavar="GIB"),
    Source(f"--cpu-offload-gb of vLLM (model_executor/models/utils.py, maybe_offload_to_cpu) and SGLang; {_NO_LIMIT}"),
    Only("serve", stacks=("vllm", "sglang")),
]
Images = Annotated[
    int,
    Bounds(0, 10_000),
    Help("Images in each prompt, on top of its text.", metavar="N"),
    Source(f"memory/images.py: the tokens of an image follow from config.json; {_NO_LIMIT}"),
    _SERVING,
]
_STACKS_CHOICE = "memory/stacks.py, which says what each stack does, and refuses what it cannot"
KbitPrepared = Annotated[
    bool | None,
    Help(
        "Hold in fp32 what is not quantized, as peft's prepare_model_for_kbit_training does.",
        default="yes for transformers and older trl, else no",
    ),
    Source("peft 0.21.2, utils/other.py, prepare_model_for_kbit_training; memory/stacks.py"),
    Only("finetune"),
    Only(methods=KBIT_METHODS),
]
DoubleQuantization = Annotated[
    bool | None,
    Help("Quantize the scales of 4-bit weights too.", default="what the stack does"),
    Source("QLoRA, arXiv 2305.14314, section 3: 0.127 instead of 0.5 bit a parameter; memory/stacks.py"),
    Only(methods=("nf4", "qlora")),
]
VirtualTokens = Annotated[
    int | None,
    Bounds(1, 100_000),
    Help("Learned tokens before each sequence (prompt tuning).", metavar="N", default="20"),
    Source("arXiv 2104.08691, figure 3: 20 tokens, beyond which gains are marginal"),
    Only(methods=("prompt-tuning",)),
]
TargetLength = Annotated[
    int | None,
    Bounds(1, 100_000_000),
    Help("Tokens of a target sequence (encoder-decoders).", metavar="N", default="the context"),
    Source(_NO_LIMIT),
    _TUNING,
]
Compile = Annotated[
    bool,
    Help("Compile the model with torch.compile: element-wise results are recomputed, not saved."),
    Source("torch/_functorch/partitioners.py, min_cut_rematerialization_partition; " + _STACKS_CHOICE),
    _TUNING,
]
ActivationOffload = Annotated[
    bool | None,
    Help("Move saved activations to the CPU's memory until the backward pass.", default="what the stack does"),
    Source("trl 1.16.0, models/activation_offloading.py; " + _STACKS_CHOICE),
    _TUNING,
]
OptimizerOffload = Annotated[
    bool,
    Help("Keep optimizer states, and take the step, on the CPU."),
    Source("ZeRO-Offload, arXiv 2101.06840; " + _STACKS_CHOICE),
    _TUNING,
]
ParameterOffload = Annotated[
    bool,
    Help("Keep the shards of the weights in the CPU's memory until they are gathered."),
    Source("ZeRO-Infinity, arXiv 2104.07857; torch FSDP CPUOffload(offload_params=True); " + _STACKS_CHOICE),
    _TUNING,
]
OptimizerInBackward = Annotated[
    bool | None,
    Help("Update each weight as soon as its gradient is there, and free it.", default="what the stack does"),
    Source("LOMO, arXiv 2306.09782; torchtune 0.6.1, full_finetune_single_device.py; " + _STACKS_CHOICE),
    _TUNING,
    Only(methods=("full",)),
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
    method: Method = "auto"
    objective: Objective = "sft"
    context: Context = SERVED_PROMPT
    generate: Generate = 0
    batch: Annotated[Batch, AlsoFlag("--concurrency")] = 1
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
        Help("Version of the stack, where it changes memory: trl from 1.16 takes less, for example.", metavar="V"),
        Source(
            "memory/stacks.py, which also has the version that None means; a later one is taken as the newest known"
        ),
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
    kbit_prepared: KbitPrepared = None
    double_quantization: DoubleQuantization = None
    virtual_tokens: VirtualTokens = None
    target_length: TargetLength = None
    compile: Compile = False
    activation_offload: ActivationOffload = None
    optimizer_offload: OptimizerOffload = False
    parameter_offload: ParameterOffload = False
    optimizer_in_backward: OptimizerInBackward = None
    kv_cache_dtype: KvCacheDtype = "auto"
    gguf_level: GgufLevel = None
    n_gpu_layers: GpuLayers = None
    n_cpu_moe: CpuMoe = 0
    cpu_offload_gb: CpuOffloadGb = 0.0
    images: Images = 0
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
    def marked(notes: tuple[Any, ...]) -> bool:
        marks = [note for note in notes if isinstance(note, Only)]
        return any(getattr(mark, key) == value for mark in marks for key, value in wanted.items())

    return tuple(setting.name for setting in settings_of(Workload) if marked(setting.notes))


ONLY_SERVE = _only(task="serve")
_ONLY_FINETUNE = _only(task="finetune")
ONLY_LORA = _only(lora=True)
_METHODS_OF = {
    setting.name: note.methods
    for setting in settings_of(Workload)
    for note in setting.notes
    if isinstance(note, Only) and note.methods
}
# Settings that some stacks alone have: their defaults, and the stacks.
_OF_STACKS: Mapping[str, tuple[object, tuple[str, ...]]] = {
    setting.name: (setting.default, note.stacks)
    for setting in settings_of(Workload)
    for note in setting.notes
    if isinstance(note, Only) and note.stacks
}
# The stacks that each dtype of the cache exists in, and the version of a stack that first had it.
_LLAMA_CACHE = {"llama.cpp": ()}
_KV_STACKS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    # vLLM's int8_per_token_head and int4_per_token_head (PRs 38378 and 39074).
    "fp8": {"vllm": (), "sglang": (), "tgi": ()},
    "int8": {"transformers": (), "vllm": (0, 20)},
    "int4": {"transformers": (), "vllm": (0, 25)},
    **dict.fromkeys(("q8_0", "q5_1", "q5_0", "q4_1", "q4_0"), _LLAMA_CACHE),
}


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
    if task == "serve" and (values.get("gguf_level") or values.get("stack") == "llama.cpp"):
        values.setdefault("method", "gguf")
    values.setdefault("method", "auto" if task == "serve" else "lora-int8")
    if values["method"] not in allowed:
        raise _contradiction(f"method {values['method']} is not a way to {task}", f"use one of {', '.join(allowed)}")
    if task == "serve":
        values = {"context": SERVED_PROMPT, "generate": SERVED_ANSWER, "batch": SERVED_REQUESTS} | values
    values.setdefault("context", TUNED_CONTEXT)
    if "stack_version" in values:
        values.setdefault("stack", "transformers")
    for name in _ONLY_FINETUNE if task == "serve" else ONLY_SERVE:
        if values.get(name):
            raise _contradiction(f"{name} does not apply to task {task}", f"leave out {name}")
    for name in ONLY_LORA:
        if name in values and values["method"] not in LORA_METHODS:
            message = f"{name} does not apply to method {values['method']}"
            raise _contradiction(message, f"leave out {name}, or use lora")
    for name, methods in _METHODS_OF.items():
        if values.get(name) is not None and values["method"] not in methods:
            message = f"{name} does not apply to method {values['method']}"
            raise _contradiction(message, f"leave out {name}, or use {' or '.join(methods)}")
    _agree_with_stack(values)
    _agree_on_gpus(values)
    return Workload(**values)


def _agree_with_stack(values: dict[str, Any]) -> None:
    """Settles `auto` where a setting exists in some stacks alone; raises UsageError where another stack is named."""
    for name, (default, stacks) in _OF_STACKS.items():
        if values.get(name, default) != default:
            _agree(values, f"{name} {values[name]}", stacks)
    cache = values.get("kv_cache_dtype", "auto")
    if cache != "auto":
        first = _KV_STACKS[cache]
        _agree(values, f"kv_cache_dtype {cache}", tuple(first), settle="transformers" not in first)
        since = first.get(values.get("stack", "auto"), ())
        if (version := version_of(values.get("stack_version"))) and version < since:
            named = ".".join(map(str, since))
            raise _contradiction(
                f"{values['stack']} {values['stack_version']} has no kv_cache_dtype {cache}",
                f"use stack_version {named} or later, or leave out kv_cache_dtype",
            )
    method, stack = values["method"], values.get("stack", "auto")
    if stack == "llama.cpp":
        if values["task"] == "finetune":
            raise _contradiction("stack llama.cpp does not fine-tune", "leave out stack, or use task serve")
        if method not in ("auto", "gguf"):
            raise _contradiction(f"stack llama.cpp does not hold method {method}", "use method gguf, or another stack")
        values["method"] = "gguf"


def _agree(values: dict[str, Any], what: str, stacks: tuple[str, ...], *, settle: bool = True) -> None:
    """The named stack must be among `stacks`; an unnamed one becomes the first of them, if `settle`."""
    stack, method = values.get("stack", "auto"), values["method"]
    if stacks == ("llama.cpp",) and method not in ("auto", "gguf"):
        raise _contradiction(
            f"{what} does not apply to method {method}", f"use method gguf, or leave out {what.split()[0]}"
        )
    if stack == "auto" and settle:
        values["stack"] = stack = stacks[0]
    if stack != "auto" and stack not in stacks:
        also = f", which {' and '.join(stacks)} {'have' if len(stacks) > 1 else 'has'}"
        raise _contradiction(
            f"stack {stack} has no {what}{also}", f"use stack {stacks[0]}, or leave out {what.split()[0]}"
        )
    if values["method"] == "auto" and stacks == ("llama.cpp",):
        values["method"] = "gguf"


def _agree_on_gpus(values: dict[str, Any]) -> None:
    """Gives several GPUs their sharding; raises UsageError where gpus and sharding contradict each other."""
    task = values["task"]
    if values.get("gpus", 1) > 1 and values.get("sharding", "none") == "none":
        values["sharding"] = "tensor-parallel" if task == "serve" else "zero3"
    if values.get("sharding") == "zero2" and task == "serve":
        raise _contradiction("zero2 shards gradients, which serving does not have", "use tensor-parallel or zero3")
    _refuse_offload(values)
    offloads = values.get("optimizer_offload") or values.get("parameter_offload")
    alone = ("none", "zero2", "zero3") if offloads else ("none", "zero2")
    if values.get("gpus", 1) == 1 and values.get("sharding", "none") not in alone:
        raise _contradiction("sharding needs more than one GPU", "add gpus, or leave out sharding")


def version_of(text: str | None) -> tuple[int, ...]:
    """A version as numbers that can be compared; () where none is named."""
    return tuple(int(part) for part in (text or "").split(".") if part)


# Which sharding offers an offload: DeepSpeed's offload_optimizer (ZeRO-2, ZeRO-3) and offload_param (ZeRO-3 alone:
# runtime/zero/offload_config.py); FSDP's CPUOffload takes parameters, gradients and optimizer states together.
_OFFLOADS = {"optimizer_offload": ("zero2", "zero3", "fsdp"), "parameter_offload": ("zero3", "fsdp")}


def _refuse_offload(values: Mapping[str, Any]) -> None:
    sharding = values.get("sharding", "none")
    for name, shardings in _OFFLOADS.items():
        if values.get(name) and sharding not in shardings:
            raise _contradiction(
                f"{name} does not apply to sharding {sharding}", f"add sharding {' or '.join(shardings)}"
            )
    if sharding == "fsdp" and bool(values.get("optimizer_offload")) != bool(values.get("parameter_offload")):
        raise _contradiction(
            "sharding fsdp offloads parameters and optimizer together",
            "add both optimizer_offload and parameter_offload",
        )


def _contradiction(message: str, fix: str) -> UsageError:
    return UsageError(message, fix=fix, code="contradiction")
