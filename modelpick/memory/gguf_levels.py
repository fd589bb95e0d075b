"""What a GGUF file of each level holds: llama.cpp's rules for the type of every tensor. Pure.

Read from llama.cpp src/llama-quant.cpp (llama_ftype_get_default_type, llama_tensor_get_type_impl, tensor_type_fallback,
tensor_allows_quantization), mid 2026; where an importance matrix changes a type, the larger one is taken. A level is a
default type, and exceptions for tensors that matter more: which ones depends on the model, so that no level has one
number of bits.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from modelpick.catalog.architecture.shape import Architecture, LayerGroup, Projection

# Bits a weight of each type, scales included: ggml's blocks (gguf 0.19, constants.py GGML_QUANT_SIZES).
TYPE_BITS: dict[str, float] = {
    "F32": 32, "F16": 16, "BF16": 16, "Q8_0": 8.5, "Q6_K": 6.5625, "Q5_K": 5.5, "Q5_1": 6, "Q5_0": 5.5, "Q4_K": 4.5,
    "Q4_1": 5, "Q4_0": 4.5, "Q3_K": 3.4375, "Q2_K": 2.625, "IQ4_NL": 4.5, "IQ4_XS": 4.25, "IQ3_S": 3.4375,
    "IQ3_XXS": 3.0625, "IQ2_S": 2.5625, "IQ2_XS": 2.3125, "IQ2_XXS": 2.0625, "IQ1_M": 1.75, "IQ1_S": 1.5625,
    "TQ2_0": 2.0625, "TQ1_0": 1.6875, "MXFP4": 4.25,
}  # fmt: skip
# The default type of the levels that are not named after it.
_DEFAULT = {
    "Q5_K_M": "Q5_K", "Q5_K_S": "Q5_K", "Q4_K_M": "Q4_K", "Q4_K_S": "Q4_K", "Q3_K_L": "Q3_K", "Q3_K_M": "Q3_K",
    "Q3_K_S": "Q3_K", "Q2_K_S": "Q2_K", "IQ3_M": "IQ3_S", "IQ3_XS": "IQ3_S", "IQ2_M": "IQ2_S", "IQ2_S": "IQ2_XS",
    "MXFP4_MOE": "MXFP4",
}  # fmt: skip
_SMALLEST = frozenset({"IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ1_S", "IQ1_M"})
_BLOCK_256 = frozenset(TYPE_BITS) - {
    "F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "IQ4_NL", "MXFP4",
}  # fmt: skip
_FALLBACK = {
    "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "Q3_K": "Q4_0", "Q2_K": "Q4_0", "TQ1_0": "Q4_0", "TQ2_0": "Q4_0",
}  # fmt: skip
USUAL_LEVEL = "Q4_K_M"  # the most downloaded one

Category = Literal["output", "embedding", "q", "k", "v", "o", "gate", "up", "down", "other"]
_CATEGORIES: dict[str, Category] = {
    "query": "q", "key": "k", "value": "v", "qkv": "v", "output": "o", "gate": "gate", "up": "up", "gate_up": "up",
    "down": "down",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Model:
    """What the rules ask of a model: layers, query heads a KV head, experts of a layer, and names of its own."""

    layers: int
    grouping: int
    experts: int
    falcon: bool
    tied: bool


def more_bits(layer: int, layers: int) -> bool:
    """Whether a layer is among those that "M" levels spend more bits on (use_more_bits)."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def tensor_type(level: str, category: Category, layer: int, model: _Model, columns: int) -> str:
    """The type of a tensor of `columns` inputs in layer `layer`."""
    made = _DEFAULT.get(level, level)
    if made not in ("F32", "F16", "BF16"):
        made = _chosen(level, made, category, layer, model)
        if category == "output" and made != "Q8_0" and columns % 256:
            made = "Q8_0"
    block = 256 if made in _BLOCK_256 else 1 if made in ("F32", "F16", "BF16") else 32
    if columns % block:
        made = _FALLBACK.get(made, "IQ4_NL")
    return "F16" if made not in ("F32", "F16", "BF16") and columns % 32 else made


def _chosen(level: str, made: str, category: Category, layer: int, model: _Model) -> str:
    if category == "output" or (model.tied and category == "embedding"):
        if level == "MXFP4_MOE" or model.falcon:
            return "Q8_0"
        if level in _SMALLEST or level == "IQ3_XXS":
            return "Q5_K"
        return made if made == "Q8_0" else "Q6_K"
    if level == "MXFP4_MOE":
        return "Q8_0"  # experts, which are three-dimensional, are asked for apart
    if category == "embedding":
        if level in ("IQ2_S", "IQ2_M", "IQ3_XXS"):
            return "IQ3_S"
        return "Q2_K" if level in _SMALLEST else "Q4_K" if level in ("TQ1_0", "TQ2_0") else made
    if level in _SMALLEST:
        return _smallest(level, made, category, layer, model)
    rules = {"v": _values, "k": _keys, "q": _queries, "down": _down, "o": _outputs, "gate": _inward, "up": _inward}
    rule = rules.get(category)
    return rule(level, made, layer, model) if rule else made


def _smallest(level: str, made: str, category: Category, layer: int, model: _Model) -> str:
    second = level in ("IQ2_S", "IQ2_M")
    if category == "v":
        return "Q4_K" if model.grouping >= 4 or model.experts >= 4 else "IQ3_S" if second else "Q2_K"
    if category == "k" and model.experts == 8:
        return "Q4_K"
    if category == "down" and layer < model.layers // 8:
        return "IQ3_S" if second else "Q2_K"
    if category == "o":
        if model.experts == 8:
            return "Q5_K"
        return "IQ2_XXS" if level in ("IQ1_S", "IQ1_M") else "IQ3_S" if second else made
    return made


def _values(level: str, made: str, layer: int, model: _Model) -> str:
    grouped = model.grouping >= 4
    if level == "Q2_K":
        made = "Q4_K" if grouped else "Q3_K"
    elif (level in ("Q2_K_S", "IQ3_XXS", "IQ3_XS", "IQ3_S") and grouped) or level == "IQ3_M":
        made = "Q4_K"
    elif level == "Q3_K_M":
        made = "Q5_K" if layer < 2 else "Q4_K"
    elif level == "Q3_K_L" or (level in ("IQ4_NL", "IQ4_XS") and grouped):
        made = "Q5_K"
    elif level in ("Q4_K_M", "Q5_K_M") and more_bits(layer, model.layers):
        made = "Q6_K"
    elif level == "Q4_K_S" and layer < 4:
        made = "Q5_K"
    if model.layers == 80 and model.grouping == 8 and made in ("Q3_K", "Q4_K"):  # LLM_TYPE_70B
        made = "Q5_K"
    return "Q8_0" if model.experts == 8 else made


def _keys(level: str, made: str, layer: int, model: _Model) -> str:
    if model.experts == 8:
        return "Q8_0"
    return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(level, made)


def _queries(level: str, made: str, layer: int, model: _Model) -> str:
    return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(level, made)


def _down(level: str, made: str, layer: int, model: _Model) -> str:
    layers, early, more = model.layers, layer < model.layers // 8, more_bits(layer, model.layers)
    if level == "Q2_K":
        return "Q3_K"
    if level == "Q2_K_S":
        return "Q4_K" if early else made
    if level == "Q3_K_M":
        if layer < layers // 16:
            return "Q5_K"
        return "Q4_K" if not model.falcon or more else "Q3_K"
    if level == "IQ3_M":
        return "Q4_K" if early or (model.experts == 8 and more) else made
    if level == "Q3_K_L":
        return "Q4_K" if model.falcon else "Q5_K"
    if level == "Q4_K_M" and model.falcon:
        return "Q6_K" if layer < layers // 16 else "Q5_K" if more else "Q4_K"
    if level in ("Q4_K_M", "Q5_K_M"):
        return "Q6_K" if more else made
    if level == "Q4_K_S" and not model.falcon:
        return "Q5_K" if early else made
    if early:
        return {"Q4_0": "Q4_1", "Q5_0": "Q5_1", "IQ4_NL": "Q5_K", "IQ4_XS": "Q5_K"}.get(level, made)
    return made


def _outputs(level: str, made: str, layer: int, model: _Model) -> str:
    if model.falcon:
        return "Q4_K" if level == "Q3_K_L" else made
    if model.experts == 8:
        return made if level in ("Q3_K_L", "Q4_0", "Q5_0", "Q5_K_M", "Q5_K_S", "Q6_K", "Q8_0") else "Q5_K"
    return {"Q2_K": "Q3_K", "IQ3_XXS": "IQ3_S", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}.get(level, made)


def _inward(level: str, made: str, layer: int, model: _Model) -> str:
    middle = model.layers // 8 <= layer < 7 * model.layers // 8
    return "IQ3_XXS" if level == "IQ3_XS" and middle else made


@dataclass(frozen=True, slots=True)
class GgufBytes:
    """Bytes of a file by what they are: a layer's on average, of them its routed experts, the tables."""

    layers: float  # all layers, experts included
    experts: float
    embedding: float
    output: float  # 0: the embedding serves
    other: float

    @property
    def total(self) -> float:
        """The tensors of the file."""
        return self.layers + self.embedding + self.output + self.other


@lru_cache(maxsize=512)
def file_bytes(architecture: Architecture, level: str) -> GgufBytes:
    """What a file of this level holds. Norms, biases and routers are fp32, as convert_hf_to_gguf.py writes them."""
    model = _model(architecture)
    layers = experts = 0.0
    first = 0
    for group in architecture.layers + architecture.encoder:
        for projection in group.projections:
            category = _CATEGORIES.get(projection.role, "other")
            layers += _over_layers(projection, category, level, first, group, model)
        if group.experts is not None:
            routed = _expert_bytes(group, level, first, model, architecture.hidden)
            experts += routed
            layers += routed
        layers += group.count * group.other_parameters * 4.0
        first += group.count
    rows = architecture.embedding_parameters
    embedding = rows * TYPE_BITS[tensor_type(level, "embedding", 0, model, architecture.hidden)] / 8
    head = 0 if architecture.tied else architecture.head_parameters
    output = head * TYPE_BITS[tensor_type(level, "output", 0, model, architecture.hidden)] / 8
    return GgufBytes(layers, experts, embedding, output, architecture.other_parameters * 4.0)


def _model(architecture: Architecture) -> _Model:
    attention = next((group.attention for group in architecture.layers if group.attention), None)
    grouping = attention.heads // attention.kv_heads if attention else 1
    experts = max((group.experts.count for group in architecture.layers if group.experts), default=0)
    falcon = architecture.model_type == "falcon"
    return _Model(architecture.depth, grouping, experts, falcon, architecture.tied)


def _over_layers(
    projection: Projection, category: Category, level: str, first: int, group: LayerGroup, model: _Model
) -> float:
    """Bytes of one matrix over the layers of its group, which are taken to stand together."""
    bits = sum(
        TYPE_BITS[tensor_type(level, category, layer, model, projection.inputs)]
        for layer in range(first, first + group.count)
    )
    return projection.weights * bits / 8


def _expert_bytes(group: LayerGroup, level: str, first: int, model: _Model, hidden: int) -> float:
    assert group.experts is not None
    matrices: tuple[tuple[Category, int], ...] = (("up", hidden), ("down", group.experts.width))
    if group.experts.gated:
        matrices = (("gate", hidden), *matrices)
    each = group.experts.weights / len(matrices)
    total = 0.0
    for category, columns in matrices:
        for layer in range(first, first + group.count):
            made = "MXFP4" if level == "MXFP4_MOE" else tensor_type(level, category, layer, model, columns)
            total += each * TYPE_BITS[made] / 8
    return total
