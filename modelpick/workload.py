"""What a model is asked to do: the names that options, files and JSON share. Pure.

One mapping of names to values describes a workload everywhere (flags, `--cases` lines, plan files): `workload_from`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args, get_origin

from modelpick.errors import UsageError, nearest

Task = Literal["serve", "finetune"]
ServeMethod = Literal["bf16", "int8", "nf4", "gptq", "awq", "fp8", "mxfp4", "gguf"]
FinetuneMethod = Literal["full", "lora", "lora-int8", "qlora"]
Method = Literal["bf16", "int8", "nf4", "gptq", "awq", "fp8", "mxfp4", "gguf", "full", "lora", "lora-int8", "qlora"]
Optimizer = Literal["adamw", "adamw-fused", "adamw-8bit", "paged-adamw-8bit", "sgd"]
Dtype = Literal["bf16", "fp16", "fp32"]
Attention = Literal["eager", "sdpa", "flash"]
Stack = Literal["auto", "transformers", "trl", "llama-factory", "litgpt", "torchtune", "vllm"]
Measure = Literal["allocated", "reserved", "device"]
Sharding = Literal["none", "tensor-parallel", "zero2", "zero3", "fsdp"]
KvCacheDtype = Literal["auto", "fp8", "int8", "int4"]

SERVE_METHODS: tuple[str, ...] = get_args(ServeMethod)
FINETUNE_METHODS: tuple[str, ...] = get_args(FinetuneMethod)
CHECKPOINT_METHODS = ("gptq", "awq", "fp8", "mxfp4", "gguf")  # a checkpoint brings them; bf16, int8, nf4 any model can
LORA_METHODS = ("lora", "lora-int8", "qlora")


@dataclass(frozen=True, slots=True)
class Workload:
    """A task on a model. Token counts are tokens, `batch` is concurrent sequences (serving) or the micro-batch.

    `context` is prompt tokens when serving and tokens per sequence when training; `generate` is new tokens on top of
    the prompt. `dtype` is the compute type. `gpus` > 1 needs a `sharding`: memories are never added up without one.
    """

    task: Task = "serve"
    method: Method = "int8"
    context: int = 4096
    generate: int = 0
    batch: int = 1
    lora_rank: int = 16  # lora_defaults: r 16 on all linear layers; ignored unless the method is a LoRA
    lora_targets: str = "all-linear"  # or comma-joined module names
    lora_dropout: float = 0.0  # peft's default; litgpt's 0.05 is its stack's own
    optimizer: Optimizer = "adamw"
    gradient_checkpointing: bool = False
    gradient_accumulation: int = 1  # micro-batches a step: with more than one, gradients stay through the next forward
    dtype: Dtype = "bf16"
    autocast: bool | None = None  # training under torch.autocast; None: where the stack does so by default
    attention: Attention = "sdpa"
    stack: Stack = "auto"  # what `serve`, `finetune` and `up` start (planning/engines.py); else the stack named
    stack_version: str | None = None  # "4.42"; None: what memory/stacks.py takes it for
    measure: Measure = "device"
    gpus: int = 1
    sharding: Sharding = "none"
    packing: bool = False
    loss_chunking: bool | None = None  # None: what the stack does by default
    kv_cache_dtype: KvCacheDtype = "auto"
    gpu_memory_utilization: float = 0.9  # vllm only

    @property
    def is_lora(self) -> bool:
        """Whether only low-rank adapters are trained."""
        return self.method in LORA_METHODS

    def as_json(self) -> dict[str, Any]:
        """The workload in the names of the contract."""
        return asdict(self)


_TYPES: dict[str, Any] = {
    "task": Task, "method": Method, "context": int, "generate": int, "batch": int, "lora_rank": int,
    "lora_targets": str, "lora_dropout": float, "optimizer": Optimizer, "gradient_checkpointing": bool,
    "gradient_accumulation": int,
    "dtype": Dtype, "autocast": bool, "attention": Attention, "stack": Stack, "stack_version": str,
    "measure": Measure, "gpus": int, "sharding": Sharding, "packing": bool, "loss_chunking": bool,
    "kv_cache_dtype": KvCacheDtype, "gpu_memory_utilization": float,
}  # fmt: skip
_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){0,3}")
_SMALLEST = {"generate": 0}
SERVED_ANSWER = 512  # new tokens that a server leaves room for, where none are named
_LARGEST = {
    "context": 100_000_000, "generate": 100_000_000, "batch": 1_000_000, "lora_rank": 65_536, "gpus": 4096,
    "gradient_accumulation": 1_000_000,
}  # fmt: skip
_ONLY_LORA = ("lora_rank", "lora_targets", "lora_dropout")
_ONLY_FINETUNE = (
    "optimizer",
    "gradient_checkpointing",
    "gradient_accumulation",
    "autocast",
    "packing",
    "loss_chunking",
)
ONLY_SERVE = ("generate", "kv_cache_dtype", "gpu_memory_utilization")


def workload_from(names: Mapping[str, Any]) -> Workload:
    """A workload from the names given; what is absent or None takes its default (which depends on the task).

    The task follows from the method when only the method is named. Raises UsageError for an unknown name or value
    (suggesting the nearest), a number out of range, and options that contradict each other.
    """
    given = {key: _checked(key, value) for key, value in names.items() if value is not None}
    if "task" not in given:
        given["task"] = "finetune" if given.get("method") in FINETUNE_METHODS else "serve"
    task = given["task"]
    allowed = SERVE_METHODS if task == "serve" else FINETUNE_METHODS
    given.setdefault("method", "int8" if task == "serve" else "lora-int8")
    if given["method"] not in allowed:
        raise _contradiction(f"method {given['method']} is not a way to {task}", f"use one of {', '.join(allowed)}")
    given.setdefault("context", 4096 if task == "serve" else 1024)
    if "stack_version" in given:
        given.setdefault("stack", "transformers")
    wrong_task = _ONLY_FINETUNE if task == "serve" else ONLY_SERVE
    for key in wrong_task:
        if given.get(key):
            raise _contradiction(f"{key} has no meaning for task {task}", f"leave out {key}")
    for key in _ONLY_LORA:
        if key in given and given["method"] not in LORA_METHODS:
            raise _contradiction(f"{key} has no meaning for method {given['method']}", f"leave out {key}, or use lora")
    if given.get("gpus", 1) > 1 and given.get("sharding", "none") == "none":
        given["sharding"] = "tensor-parallel" if task == "serve" else "zero3"
    if given.get("sharding") == "zero2" and task == "serve":
        raise _contradiction("zero2 shards gradients, which serving has none of", "use tensor-parallel or zero3")
    if given.get("gpus", 1) == 1 and given.get("sharding", "none") not in ("none", "zero2"):
        raise _contradiction("sharding needs more than one GPU", "add gpus, or leave out sharding")
    return Workload(**given)


def _checked(key: str, value: Any) -> Any:
    if key not in _TYPES:
        raise UsageError(
            f"unknown workload name {key!r}",
            fix=nearest(key, _TYPES) or f"use one of {', '.join(_TYPES)}",
            code="unknown_option",
        )
    kind = _TYPES[key]
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        if value not in choices:
            raise UsageError(
                f"unknown {key} {value!r}",
                fix=nearest(str(value), choices) or f"use one of {', '.join(choices)}",
                code=f"unknown_{key}",
            )
        return value
    if kind is bool:
        if not isinstance(value, bool):
            raise _bad_number(key, value, "true or false")
        return value
    if kind is str:
        if key == "stack_version" and not (isinstance(value, str) and _VERSION.fullmatch(value)):
            raise _bad_number(key, value, "a version number such as 4.42")
        if not isinstance(value, str) or not value.strip():
            raise _bad_number(key, value, "module names joined by commas, or all-linear")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _bad_number(key, value, "a finite number")
    if key == "lora_dropout":
        if not 0 <= value < 1:
            raise _bad_number(key, value, "a fraction from 0 to below 1")
        return float(value)
    if kind is float:
        if not 0 < value <= 1:
            raise _bad_number(key, value, "a fraction above 0 and at most 1")
        return float(value)
    smallest, largest = _SMALLEST.get(key, 1), _LARGEST[key]
    if value != int(value) or not smallest <= value <= largest:
        raise _bad_number(key, value, f"a whole number from {smallest} to {largest}")
    return int(value)


def _bad_number(key: str, value: Any, wanted: str) -> UsageError:
    return UsageError(f"{key} is {value!r}", fix=f"give {wanted}", code=f"bad_{key}")


def _contradiction(message: str, fix: str) -> UsageError:
    return UsageError(message, fix=fix, code="contradiction")
