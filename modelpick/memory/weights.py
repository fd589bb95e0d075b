"""What the weights take: bytes a weight of each quantization, and which weights it covers. Pure.

A new quantization is one Scheme here. What a checkpoint says of its own modules comes before what a scheme covers; what
an engine's kernels add to the file is in kernels.py.
"""

from dataclasses import dataclass, replace
from typing import Literal

from modelpick.catalog.architecture.quantization import stored_key
from modelpick.catalog.architecture.shape import (
    EXPERTS_STORED,
    Architecture,
    Checkpoint,
    LayerGroup,
    Projection,
    Stored,
)
from modelpick.memory import kernels
from modelpick.memory.stacks import Stack
from modelpick.workload import Workload

PACKED = frozenset({"gptq", "awq", "mxfp4", "nvfp4", "bitsandbytes", "compressed-tensors"})
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
    duplicates_tied_head: bool = False  # checkpoints of it hold the output matrix apart from the embedding
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
    "fp8",
    1 + 4 / (128 * 128),
    0,
    "linear",
    False,
    "1 + 4/16384 byte per weight (128x128 blocks)",
    duplicates_tied_head=True,
)
# OCP microscaling: 4-bit values, an 8-bit exponent per 32: 4.25 bits. gpt-oss keeps all but its experts in bf16.
MXFP4 = Scheme("mxfp4", 4.25 / 8, 0, "experts", True, "4.25 bits per expert weight")
# NVFP4: 4-bit values, an 8-bit scale per 16 (arXiv 2509.25149, section 2).
NVFP4 = Scheme("nvfp4", 0.5 + 1 / 16, 0, "linear", False, "4.5 bits per weight (an 8-bit scale per 16)")
# A GGUF file's tensors have types of their own (gguf_levels.py). The average of a Q4_K_M file, the most downloaded
# level, stands in for all of them where one figure is asked for: bits a weight of Llama-3.1-8B (llama.cpp
# tools/quantize/README.md: 4.8944 bits, 4.58 GiB).
Q4_K_M_BITS = 4.8944
GGUF = Scheme("gguf", Q4_K_M_BITS / 8, 0, "everything", False, f"{Q4_K_M_BITS:.2f} bits per weight (Q4_K_M file)")


def grouped(method: str, bits: int = 4, group: int = 128) -> Scheme:
    """GPTQ or AWQ: packed integers, per group an fp16 scale and a packed zero point (arXiv 2210.17323, 2306.00978)."""
    per_weight = bits / 8 + (2 + bits / 8) / group
    return Scheme(
        method, per_weight, 0, "linear", True, f"{bits}/8 + (2 + {bits}/8)/{group} byte per weight",
        # Fitted: Qwen2.5 AWQ at a prompt of one token peaks one embedding above its weights where that is tied (0.5B
        # to 3B; residual under 2 %), and not where it is not (7B to 72B).
        copies_embedding=method == "awq",
    )  # fmt: skip


# The methods that weights are served with, but for those of ELEMENT_BYTES. GPTQ and AWQ: 4 bits in groups of 128, what
# most checkpoints have.
SCHEMES = {
    "int8": INT8, "nf4": NF4, "fp8": FP8, "mxfp4": MXFP4, "nvfp4": NVFP4, "gguf": GGUF, "gptq": grouped("gptq"),
    "awq": grouped("awq"), "compressed-tensors": replace(grouped("compressed-tensors"), dequantizes=False),
}  # fmt: skip


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
    if checkpoint is not None and checkpoint.method == method:
        return _brought(checkpoint)
    return SCHEMES.get(method)


def _brought(checkpoint: Checkpoint) -> Scheme:
    """The scheme of a repository's own format. What it tells of each module is in `checkpoint.stored`."""
    method = checkpoint.method
    if method in ("gptq", "awq"):
        return grouped(method, checkpoint.bits, checkpoint.group or 128)
    told = sorted({stored.bits for stored in checkpoint.stored if stored.share})
    bits = " and ".join(f"{each:.4g}" for each in told) or f"{checkpoint.bits}"
    return replace(SCHEMES[method], formula=f"{bits} bits per weight, scales included, where its config says so")


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes of the weights, split as tensor parallelism splits them, and the largest matrix a kernel rebuilds."""

    linear: float  # linear layers and experts
    embeddings: float  # embeddings and the output matrix
    other: float  # norms, towers, what each GPU holds a copy of: not split
    rebuilt: float  # a transient, counted with the activations
    loading: float = 0.0  # a transient of loading

    @property
    def total(self) -> float:
        """Bytes on a single GPU."""
        return self.linear + self.embeddings + self.other


def parameter_count(architecture: Architecture, stated: int | None) -> tuple[int, str]:
    """Parameters, and where the number is from. `stated`: the repository's own count, where known.

    The repository's count wins. The count of config.json replaces it where the repository packs several weights into
    one element, or has fewer parameters than the matrices that the config describes.
    """
    derived = architecture.parameters
    if stated is None:
        return derived, "config.json"
    if architecture.tied and abs(stated - derived - architecture.head_parameters) <= 0.001 * derived:
        return derived, "repository, its tied output matrix counted once"
    masks = architecture.depth * (architecture.context or 0) ** 2
    if masks and abs(stated - derived - masks) <= 0.001 * derived:
        return derived, "repository, without the causal masks that it holds"
    packed = architecture.checkpoint is not None and architecture.checkpoint.method in PACKED
    if packed and stated < 0.9 * derived:
        return derived, "config.json (the repository's count packs several weights into one element)"
    if architecture.exact and stated < 0.9 * derived:
        return derived, "config.json (the repository's count is less than its matrices)"
    return stated, "repository"


def weight_bytes(
    architecture: Architecture,
    scheme: Scheme | None,
    stack: Stack,
    element_bytes: float,
    parameters: int,
    workload: Workload,
) -> Weights:
    """Weights as stored on the GPU. What the scheme does not cover stays in the compute type."""
    if workload.method == "full":
        element_bytes = stack.trained_bytes(workload, element_bytes)
    own_head = (
        not architecture.tied or stack.duplicates_tied_head or (scheme is not None and scheme.duplicates_tied_head)
    )
    head = architecture.head_parameters if own_head else 0
    if own_head and architecture.tied:
        parameters += head
    outer = min(architecture.embedding_parameters + head, parameters)
    inner = parameters - outer
    if scheme is not None and scheme.covers == "everything":
        return Weights(inner * scheme.bytes_per_weight, outer * scheme.bytes_per_weight, 0.0, 0.0)
    layers = _layers(architecture, scheme, stack, element_bytes, workload)
    all_of_them = architecture.linear_weights + architecture.expert_weights
    counted = min(1.0, inner / all_of_them) if all_of_them else 0.0  # a repository with fewer than its config describes
    if workload.dtype == "fp16":  # modeling_utils.py _get_dtype_plan: in fp32, since fp16 overflows there
        extra = kept_linear(architecture, stack) * max(4.0 - element_bytes, 0.0)
        layers = replace(layers, split=layers.split + extra)
    covered_head = float(head) if stack.quantizes_head and scheme is not None and scheme.covers == "linear" else 0.0
    outer_bytes = (outer - covered_head) * element_bytes
    outer_bytes += covered_head * (scheme.bytes_per_weight if scheme else 0.0)
    return Weights(
        linear=layers.split * counted,
        embeddings=outer_bytes * kernels.vocabulary_factor(architecture.vocabulary, stack, workload.gpus),
        other=layers.whole * counted + (inner - all_of_them * counted) * element_bytes,
        loading=architecture.embedding_parameters * element_bytes
        if scheme is not None and scheme.copies_embedding and architecture.tied
        else 0.0,
        rebuilt=_rebuilt(architecture, scheme, stack, workload),
    )


@dataclass(frozen=True, slots=True)
class _Layers:
    """Bytes of the linear layers and experts: those that tensor parallelism splits, those whole on every GPU."""

    split: float
    whole: float


def _layers(
    architecture: Architecture, scheme: Scheme | None, stack: Stack, element_bytes: float, workload: Workload
) -> _Layers:
    """Every matrix in its format, as the stack's kernels hold it."""
    own = architecture.checkpoint
    told: dict[str, Stored] = {}
    if scheme is not None and own is not None and own.method == scheme.name:
        told = {stored.name: stored for stored in own.stored}
    gpus = workload.gpus if workload.sharding == "tensor-parallel" else 1
    kept = architecture.norm == "t5" and not stack.quantizes_head  # T5's wo: see kept_linear
    has_experts = bool(architecture.expert_weights)
    split = whole = 0.0
    for group in architecture.layers + architecture.encoder:
        for projection in group.projections:
            each = _matrix_bytes(group, projection, scheme, told, element_bytes, kept=kept, has_experts=has_experts)
            copied = kernels.copied_share(architecture, group, projection, stack, gpus)
            split += group.held * each * (1 - copied)
            whole += group.held * each * copied
            whole += group.held * each * kernels.repeated_heads(group, projection, gpus)
        if group.experts is not None:
            split += group.held * _expert_bytes(architecture, group, scheme, told, stack, element_bytes, gpus)
        split += group.held * kernels.absorbed_bytes(group, stack, element_bytes)
    return _Layers(split, whole)


def _matrix_bytes(
    group: LayerGroup, projection: Projection, scheme: Scheme | None, told: dict[str, Stored], element_bytes: float, *,
    kept: bool, has_experts: bool,
) -> float:  # fmt: skip
    """Bytes of one linear layer: quantized as far as its checkpoint, or else the scheme, covers it."""
    weights = projection.weights
    if scheme is None or (kept and projection.role == "down"):
        return weights * element_bytes
    stored = told.get(stored_key(projection.name, group.experts is not None, projection.role))
    if stored is not None:
        return weights * (stored.share * stored.bits / 8 + (1 - stored.share) * element_bytes)
    if scheme.covers == "experts" and has_experts:
        return weights * element_bytes
    return weights * scheme.bytes_per_weight + projection.outputs * scheme.bytes_per_output


def _expert_bytes(
    architecture: Architecture, group: LayerGroup, scheme: Scheme | None, told: dict[str, Stored], stack: Stack,
    element_bytes: float, gpus: int,
) -> float:  # fmt: skip
    """Bytes of one layer's routed experts. bitsandbytes covers them only where the stack has linear layers of them."""
    assert group.experts is not None
    weights = group.experts.weights
    stored = told.get(EXPERTS_STORED)
    bitsandbytes = scheme is not None and scheme.name in ("int8", "nf4", "nf4-double")
    if scheme is None or (bitsandbytes and not stack.quantizes_experts) or stack.rebuilds(scheme.name):
        return weights * element_bytes
    if stored is not None:
        padded = kernels.expert_factor(group.experts, architecture.hidden, stored.bits, stack, gpus)
        return weights * (stored.share * stored.bits / 8 * padded + (1 - stored.share) * element_bytes)
    padded = kernels.expert_factor(group.experts, architecture.hidden, 8 * scheme.bytes_per_weight, stack, gpus)
    rows = weights / max(architecture.hidden, 1) if scheme.bytes_per_output else 0.0
    return weights * scheme.bytes_per_weight * padded + rows * scheme.bytes_per_output


def kept_linear(architecture: Architecture, stack: Stack) -> int:
    """Linear weights that bitsandbytes leaves alone, and fp16 holds in fp32: T5's `wo` (_keep_in_fp32_modules in
    modeling_t5.py)."""
    if architecture.norm != "t5" or stack.quantizes_head:
        return 0
    groups = architecture.layers + architecture.encoder
    return sum(group.held * p.inputs * p.outputs for group in groups for p in group.projections if p.role == "down")


def _rebuilt(architecture: Architecture, scheme: Scheme | None, stack: Stack, workload: Workload) -> float:
    """Bytes of the largest quantized matrix while a kernel has it dequantized (LLM.int8: in the backward pass only, in
    the type of its input, which a layer norm under autocast gives in fp32)."""
    training_int8 = workload.method == "lora-int8"
    if scheme is not None and scheme.name == "int8" and stack.quantizes_head:
        # Lightning's plugin loads over what it made empty (bitsandbytes.py _Linear8bitLt.quantize): an fp16 copy, and
        # double_quant's int8 and transposed int8, exist in addition to the matrix. falcon-7b: 8.70 GB, as published.
        return 4.0 * architecture.head_parameters
    if scheme is None or not (scheme.dequantizes or training_int8):
        return 0.0
    if scheme.covers == "experts" and architecture.expert_weights:
        return 0.0  # MXFP4 kernels (triton_kernels) compute from the packed form
    largest = max((p.inputs * p.outputs for group in architecture.layers for p in group.projections), default=0)
    if stack.quantizes_head:
        largest = max(largest, architecture.head_parameters)
    wide = training_int8 and architecture.norm == "layer" and stack.autocasts(workload)
    return largest * (4.0 if wide else stack.dequantized_bytes)
