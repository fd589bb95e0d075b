"""What the weights take. Pure."""

from dataclasses import dataclass

from modelpick.catalog.architecture.shape import Architecture
from modelpick.memory.quantization import Scheme
from modelpick.memory.stacks import Stack
from modelpick.workload import Workload

PACKED = frozenset({"gptq", "awq", "mxfp4", "bitsandbytes", "modelopt", "compressed-tensors"})


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes of the weights, split as tensor parallelism splits them, and the largest matrix a kernel rebuilds."""

    linear: float  # linear layers and experts
    embeddings: float  # embeddings and the output matrix
    other: float  # norms, towers, whatever is not quantized and not split
    rebuilt: float  # a transient, counted with the activations
    loading: float = 0.0  # a transient of loading

    @property
    def total(self) -> float:
        """Bytes on a single GPU."""
        return self.linear + self.embeddings + self.other


def parameter_count(architecture: Architecture, told: int | None) -> tuple[int, str]:
    """Parameters and where the number is from.

    The repository's own count wins, unless it packs several weights into one element or is less than the matrices that
    the config describes: then the config's count does.
    """
    derived = architecture.parameters
    if told is None:
        return derived, "config.json"
    if architecture.tied and abs(told - derived - architecture.head_parameters) <= 0.001 * derived:
        return derived, "repository, its tied output matrix counted once"
    packed = architecture.checkpoint is not None and architecture.checkpoint.method in PACKED
    if packed and told < 0.9 * derived:
        return derived, "config.json (the repository's count packs several weights into one element)"
    if architecture.exact and told < 0.9 * derived:
        return derived, "config.json (the repository's count is less than its matrices)"
    return told, "repository"


def weight_bytes(
    architecture: Architecture,
    scheme: Scheme | None,
    stack: Stack,
    element_bytes: float,
    parameters: int,
    workload: Workload,
) -> Weights:
    """Weights as held on the GPU. What the scheme does not cover stays in the compute type."""
    if workload.method == "full":
        element_bytes = stack.trained_bytes(workload, element_bytes)
    own_head = not architecture.tied or stack.unties or (scheme is not None and scheme.unties)
    head = architecture.head_parameters if own_head else 0
    if own_head and architecture.tied:
        parameters += head
    outer = min(architecture.embedding_parameters + head, parameters)
    inner = parameters - outer
    linear, experts = architecture.linear_weights, architecture.expert_weights
    covered, rows, covered_head = 0.0, 0.0, 0.0
    if scheme is not None:
        if scheme.covers == "everything":
            return Weights(inner * scheme.bytes_per_weight, outer * scheme.bytes_per_weight, 0.0, 0.0)
        if scheme.covers == "linear" or not experts:
            covered = linear - kept_linear(architecture, stack)
            rows = sum(run.count * run.linear_outputs for run in architecture.layers + architecture.encoder)
        if experts and (scheme.covers == "experts" or stack.quantizes_experts or scheme.name in ("fp8", "gptq", "awq")):
            covered += experts
            rows += experts / max(architecture.hidden, 1) * (scheme.bytes_per_output > 0)
        covered = min(covered, inner)
        covered_head = float(head) if stack.quantizes_head and scheme.covers == "linear" else 0.0
    quantized = covered * (scheme.bytes_per_weight if scheme else 0.0) + rows * (
        scheme.bytes_per_output if scheme else 0
    )
    split = min(linear + experts, inner)
    rest = max(split - covered, 0.0) * element_bytes
    if workload.dtype == "fp16":  # modeling_utils.py _get_dtype_plan: in fp32, since fp16 overflows there
        rest += kept_linear(architecture, stack) * max(4.0 - element_bytes, 0.0)
    return Weights(
        linear=quantized + rest,
        embeddings=(outer - covered_head) * element_bytes + covered_head * (scheme.bytes_per_weight if scheme else 0.0),
        other=(inner - max(split, covered)) * element_bytes,
        loading=architecture.embedding_parameters * element_bytes
        if scheme is not None and scheme.copies_embedding and architecture.tied
        else 0.0,
        rebuilt=_rebuilt(architecture, scheme, stack, workload),
    )


def kept_linear(architecture: Architecture, stack: Stack) -> int:
    """Linear weights that bitsandbytes leaves alone, and fp16 holds in fp32: T5's `wo` (_keep_in_fp32_modules in
    modeling_t5.py)."""
    if architecture.kind != "encoder-decoder" or stack.quantizes_head:
        return 0
    runs = architecture.layers + architecture.encoder
    return sum(run.count * p.inputs * p.outputs for run in runs for p in run.projections if p.role == "down")


def _rebuilt(architecture: Architecture, scheme: Scheme | None, stack: Stack, workload: Workload) -> float:
    """Bytes of the largest quantized matrix while a kernel has it dequantized (LLM.int8: in the backward pass only, in
    the type of its input, which a layer norm under autocast gives in fp32)."""
    training_int8 = workload.method == "lora-int8"
    if scheme is not None and scheme.name == "int8" and stack.quantizes_head:
        # Lightning's plugin loads over what it made empty (bitsandbytes.py _Linear8bitLt.quantize): an fp16 copy, and
        # double_quant's int8 and transposed int8, are there beside the matrix. falcon-7b: 8.70 GB, as published.
        return 4.0 * architecture.head_parameters
    if scheme is None or not (scheme.dequantizes or training_int8):
        return 0.0
    if scheme.covers == "experts" and architecture.expert_weights:
        return 0.0  # MXFP4 kernels (triton_kernels) compute from the packed form
    largest = max((p.inputs * p.outputs for run in architecture.layers for p in run.projections), default=0)
    if stack.quantizes_head:
        largest = max(largest, architecture.head_parameters)
    wide = training_int8 and architecture.norm == "layer" and stack.autocasts(workload)
    return largest * (4.0 if wide else stack.dequantized_bytes)
