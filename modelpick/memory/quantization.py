"""How many bytes a weight takes, and which weights a method covers. Pure. A new quantization is one entry here."""

from dataclasses import dataclass
from typing import Literal

from modelpick.catalog.architecture.shape import Checkpoint

ELEMENT_BYTES = {"bf16": 2.0, "fp16": 2.0, "fp32": 4.0}
Covers = Literal["nothing", "linear", "experts", "everything"]


@dataclass(frozen=True, slots=True)
class Scheme:
    """Bytes per weight and per output row of what it covers. `dequantizes`: kernels rebuild whole matrices."""

    name: str
    bytes_per_weight: float
    bytes_per_output: float
    covers: Covers
    dequantizes: bool
    formula: str  # the name `explain` shows
    unties: bool = False  # checkpoints of it hold the output matrix apart from the embedding
    copies_embedding: bool = False  # loading copies a tied embedding once


# bitsandbytes/functional.py quantize_4bit: 4 bits, one fp32 absmax per block of 64 weights.
NF4 = Scheme("nf4", 0.5 + 4 / 64, 0, "linear", True, "0.5 + 4/64 byte per weight (block 64, fp32 absmax)")
# ... with compress_statistics: the absmax in 8 bits, an fp32 absmax per 256 of them (arXiv 2305.14314, section 3).
NF4_DOUBLE = Scheme(
    "nf4-double", 0.5 + 1 / 64 + 4 / (64 * 256), 0, "linear", True, "0.5 + 1/64 + 4/16384 byte per weight (double)"
)
# bitsandbytes/nn/modules.py Int8Params: CB in int8, SCB fp32 per output row (arXiv 2208.07339).
INT8 = Scheme("int8", 1.0, 4.0, "linear", False, "1 byte per weight + 4 bytes per output row")
# Blocks of 128x128 with an fp32 scale (DeepSeek-V3 technical report, arXiv 2412.19437, section 3.3).
# Qwen3's FP8 repositories hold lm_head apart (measured 0.27, 0.55, 0.77 GiB above the tied 0.6B, 1.7B, 4B).
FP8 = Scheme(
    "fp8", 1 + 4 / (128 * 128), 0, "linear", False, "1 + 4/16384 byte per weight (128x128 blocks)", unties=True
)
# OCP microscaling: 4-bit values, an 8-bit exponent per 32: 4.25 bits. gpt-oss keeps all but its experts in bf16.
MXFP4 = Scheme("mxfp4", 4.25 / 8, 0, "experts", True, "4.25 bits per expert weight")
# llama.cpp Q4_K_M, the most downloaded GGUF quantization: 4.85 bits per weight over whole 7-8B files
# (llama.cpp tools/quantize/README.md, Llama-3.1-8B table: 4.8944 bpw).
GGUF = Scheme("gguf", 4.8944 / 8, 0, "everything", False, "4.89 bits per weight (Q4_K_M file)")


def grouped(method: str, bits: int = 4, group: int = 128) -> Scheme:
    """GPTQ or AWQ: packed integers, per group an fp16 scale and a packed zero point (arXiv 2210.17323, 2306.00978)."""
    per_weight = bits / 8 + (2 + bits / 8) / group
    return Scheme(
        method, per_weight, 0, "linear", True, f"{bits}/8 + (2 + {bits}/8)/{group} byte per weight",
        # Fitted: Qwen2.5 AWQ at a prompt of one token peaks one embedding above its weights where that is tied (0.5B
        # to 3B; residual under 2 %), and not where it is not (7B to 72B).
        copies_embedding=method == "awq",
    )  # fmt: skip


_GPTQ = grouped("gptq")
_AWQ = grouped("awq")
_SERVED = {"int8": INT8, "nf4": NF4, "fp8": FP8, "mxfp4": MXFP4, "gguf": GGUF, "gptq": _GPTQ, "awq": _AWQ}


def scheme_for(method: str, checkpoint: Checkpoint | None, double_quantization: bool) -> Scheme | None:
    """The scheme of a method of design.md; None: unquantized. A checkpoint of the same method tells bits and group.

    LoRA over a checkpoint that is 4-bit already is trained over it as it is (peft tuners/lora/gptq.py, awq.py).
    """
    if method == "qlora" and checkpoint is not None and checkpoint.method in ("gptq", "awq"):
        method = checkpoint.method
    if method in ("qlora", "nf4"):
        return NF4_DOUBLE if double_quantization else NF4
    if method == "lora-int8":
        return INT8
    if method in ("gptq", "awq") and checkpoint is not None and checkpoint.method == method:
        return grouped(method, checkpoint.bits, checkpoint.group or 128)
    return _SERVED.get(method)
