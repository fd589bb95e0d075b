"""In which format weights are held: what `auto` means for a checkpoint, and which formats cannot be had of it. Pure."""

from dataclasses import replace
from functools import lru_cache

from modelpick.catalog.architecture.shape import Architecture, Checkpoint
from modelpick.errors import ModelpickError, UsageError
from modelpick.workload import CHECKPOINT_METHODS, Method, Workload

_BY_BITS: dict[int, Method] = {4: "nf4", 8: "int8"}  # what bitsandbytes has made of a checkpoint already
_MADE_AT_LOAD = ("int8", "nf4", "lora-int8", "qlora")
# peft trains adapters over these as they are (tuners/lora/gptq.py, awq.py): see weights.scheme_for.
_TRAINED_AS_THEY_ARE = ("gptq", "awq")
# transformers 5.23 rebuilds these in the compute type (quantizer_finegrained_fp8.py and quantizer_mxfp4.py,
# `dequantize`; compressed-tensors decompresses; bitsandbytes dequantize_and_replace); servers have no such switch.
_REBUILT = ("fp8", "mxfp4", "compressed-tensors", "bitsandbytes")
_SERVERS = ("vllm", "sglang", "tgi")
# Bits a weight of the formats that hold several, which vLLM loads (layers/quantization/auto_awq.py and auto_gptq.py,
# TYPE_MAP; read on 2026-11-30).
_LOADED_BITS = {"awq": (4,), "gptq": (4, 8)}


def own_method(checkpoint: Checkpoint | None) -> Method:
    """The method that holds a repository as it is: its own format, bf16 where it is not quantized."""
    if checkpoint is None:
        return "bf16"
    if checkpoint.method == "bitsandbytes":
        return _BY_BITS.get(checkpoint.bits, "int8")
    return next(method for method in CHECKPOINT_METHODS if method == checkpoint.method)


def as_held(workload: Workload, architecture: Architecture) -> Workload:
    """The workload with a method in place of `auto`: the checkpoint's own format, else bf16."""
    return _held(workload, own_method(architecture.checkpoint)) if workload.method == "auto" else workload


@lru_cache(maxsize=256)  # the same for every model of a catalog, so made once
def _held(workload: Workload, method: Method) -> Workload:
    return replace(workload, method=method)


def format_problem(architecture: Architecture, workload: Workload) -> ModelpickError | None:
    """The error for weights that nobody can hold this way, because the checkpoint is quantized otherwise; or None.

    Quantizing a second time is refused by transformers and vLLM (quantizers/auto.py, merge_quantization_configs;
    config/model.py, _verify_quantization).
    """
    own, method = architecture.checkpoint, workload.method
    if own is None:
        return None
    if method in ("auto", own_method(own)):
        return _unloadable_bits(own, workload)
    if method in _MADE_AT_LOAD:
        if own.method in _TRAINED_AS_THEY_ARE and method == "qlora":
            return None
        if own.method == "bitsandbytes" and method in _SAME.get(own.bits, ()):
            return None
        return UsageError(
            f"its weights are {own.method} already, and cannot be quantized to {method}",
            fix="leave out --method, which takes them as they are, or name the unquantized model",
            code="already_quantized",
        )
    if method == "bf16" and workload.task == "serve":
        if workload.stack in _SERVERS:
            return UsageError(
                f"{workload.stack} holds its {own.method} weights as they are, not in bf16",
                fix="leave out --method, or use --stack transformers, which rebuilds some formats",
                code="already_quantized",
            )
        if own.method not in _REBUILT:
            return UsageError(
                f"its {own.method} weights cannot be rebuilt in bf16",
                fix="leave out --method, or name the unquantized model",
                code="already_quantized",
            )
    return None


def _unloadable_bits(own: Checkpoint, workload: Workload) -> ModelpickError | None:
    loaded = _LOADED_BITS.get(own.method, (own.bits,))
    if workload.task != "serve" or workload.stack != "vllm" or own.bits in loaded:
        return None
    return UsageError(
        f"its {own.method} weights have {own.bits} bits, and vllm loads {own.method} of "
        f"{' or '.join(map(str, loaded))} alone",
        fix="name a repository with other weights of the model, or the unquantized model with --method fp8",
        code="bits_not_loaded",
    )


_SAME = {4: ("nf4", "qlora"), 8: ("int8", "lora-int8")}
