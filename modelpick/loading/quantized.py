"""Loading with 8-bit or 4-bit weights, and proof that the layers really are quantized.

transformers replaces only modules whose type *is* `torch.nn.Linear`. A family with a Linear class of its own (Falcon)
is left in full precision while `model.is_quantized` says True. So two things live here and nowhere else: the fix for
such families, and the count of quantized layers that every load must pass.

The count sees every weight, not only linear layers: since transformers 5 the experts of a mixture are one tensor a
layer (`mlp.experts.gate_up_proj`), which no quantizer here touches and which is nearly all of such a model.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from modelpick.errors import CannotTellError

if TYPE_CHECKING:
    from torch import nn

Bits = Literal["int8", "nf4"]

# Model type -> its own Linear class, which computes what nn.Linear does (transformers 5.23, modeling_falcon.py:59).
_OWN_LINEAR = {"falcon": ("transformers.models.falcon.modeling_falcon", "FalconLinear")}
# Modules whose output is then added to in place; LLM.int8 returns a view there, which autograd refuses
# (`mlp_output += attention_output`, modeling_falcon.py:619).
_ADDED_TO_IN_PLACE = {"falcon": "FalconMLP"}
# Weights outside linear layers may stay in full precision up to this share of all matrices: routers (one in twice an
# expert's width), convolutions and state matrices of state-space models are below it, any layer of experts is above.
_ELSEWHERE = 0.01
# Task heads are freshly made for the data at hand: nothing to compress, and they are trained in full.
TASK_HEADS = ("classifier", "score", "qa_outputs")


@dataclass(frozen=True, slots=True)
class QuantizedLayers:
    """How many layers hold quantized weights, which linear ones do not (`kept`: by intent), what is not in one."""

    quantized: int
    left: tuple[str, ...]
    kept: tuple[str, ...]
    elsewhere: tuple[str, ...] = ()


def quantization_config(bits: Bits, keep: tuple[str, ...], compute_dtype: Any) -> Any:
    """A BitsAndBytesConfig: LLM.int8 (arXiv 2208.07339) or NF4 with double quantization (QLoRA, arXiv 2305.14314)."""
    from transformers import BitsAndBytesConfig

    if bits == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(keep))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype,
        llm_int8_skip_modules=list(keep),
    )


@contextmanager
def plain_linear_layers(model_type: str) -> Iterator[None]:
    """While open, a family's own Linear class is built as `nn.Linear`, so that transformers quantizes it."""
    if model_type not in _OWN_LINEAR:
        yield
        return
    from torch import nn

    module_name, class_name = _OWN_LINEAR[model_type]
    module = import_module(module_name)
    own = getattr(module, class_name)
    setattr(module, class_name, nn.Linear)
    try:
        yield
    finally:
        setattr(module, class_name, own)


def fix_in_place_adds(model: "nn.Module", model_type: str) -> None:
    """Copy the outputs that a family's decoder layer adds to in place, so that 8-bit backward works."""
    wanted = _ADDED_TO_IN_PLACE.get(model_type)
    for module in model.modules():
        if type(module).__name__ == wanted:
            module.register_forward_hook(_copy_output)


def _copy_output(module: "nn.Module", inputs: object, output: Any) -> Any:
    return output.clone()


def count_layers(model: "nn.Module", keep: tuple[str, ...]) -> QuantizedLayers:
    """Count the linear layers of a loaded model by whether their weights are quantized.

    A layer is kept by intent when its path ends in, or passes through, one of `keep`. Weights outside linear layers are
    `elsewhere` when together they are more than a hundredth of the model.
    """
    import bitsandbytes as bnb

    quantized = 0
    left: list[str] = []
    kept: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, bnb.nn.Linear8bitLt | bnb.nn.Linear4bit):
            quantized += 1 if _holds_quantized_weights(module) else 0
            if not _holds_quantized_weights(module):
                left.append(name)
        elif isinstance(module, linear_classes()):
            (kept if is_kept(name, keep) else left).append(name)
    return QuantizedLayers(quantized, tuple(left), tuple(kept), weights_elsewhere(model, keep))


def kept_by_intent(model: Any) -> tuple[str, ...]:
    """Linear modules that stay in full precision: output embedding, task heads, what the family needs in fp32.

    A skeleton on the meta device is as good as a loaded model.
    """
    output = model.get_output_embeddings()
    names = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if module is output}
    heads = {name.split(".")[0] for name, _ in model.named_modules() if name.split(".")[0] in TASK_HEADS}
    in_fp32 = set(getattr(model, "_keep_in_fp32_modules", None) or ())
    return tuple(sorted((names | heads | in_fp32) - {""}))


def weights_elsewhere(model: "nn.Module", keep: tuple[str, ...]) -> tuple[str, ...]:
    """Matrices outside linear layers and embeddings, largest first, when they are too much of the model to ignore.

    Only shapes are read, so that a skeleton on the meta device is as good as a loaded model.
    """
    from torch import nn

    elsewhere: dict[str, int] = {}
    inside = 0
    modules: Any = model.named_modules()
    for name, module in modules:
        if isinstance(module, nn.Embedding) or is_kept(name, keep):
            continue
        if isinstance(module, linear_classes()):
            # A 4-bit layer packs two weights into a byte; its features show how many it stands for.
            layer: Any = module
            inside += layer.in_features * layer.out_features if isinstance(layer, nn.Linear) else layer.weight.numel()
            continue
        for parameter_name, parameter in module.named_parameters(recurse=False):
            if parameter.ndim > 1:
                elsewhere[f"{name}.{parameter_name}"] = parameter.numel()
    outside = sum(elsewhere.values())
    largest_first = sorted(elsewhere, key=lambda one: (-elsewhere[one], one))
    return tuple(largest_first) if outside > _ELSEWHERE * (inside + outside) else ()


def refuse_unquantizable(skeleton: "nn.Module", keep: tuple[str, ...], label: str) -> None:
    """Raise CannotTellError(code="not_quantizable") before any weight is fetched, for a model whose bulk would stay."""
    found = weights_elsewhere(skeleton, keep)
    if found:
        raise CannotTellError(
            f"{label}: {len(found)} weights are not in linear layers ({found[0]}, ...), and bitsandbytes would leave "
            "them in full precision",
            fix="use --method lora, which needs no quantization, or a model without fused experts",
            code="not_quantizable",
        )


def linear_classes() -> tuple[type, ...]:
    """What transformers replaces by a quantized layer, and its subclasses, which it does not."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return (nn.Linear, Conv1D)


def assert_quantized(
    model: "nn.Module", keep: tuple[str, ...], label: str, *, linear_only: bool = False
) -> QuantizedLayers:
    """The layer count of a model that must be quantized.

    Raises CannotTellError(code="not_quantized") when any linear layer outside `keep` holds full-precision weights, when
    too much of the model is outside linear layers (unless `linear_only`), or when there is no quantized layer at all.
    """
    layers = count_layers(model, keep)
    left = (*layers.left, *(() if linear_only else layers.elsewhere))
    if left or not layers.quantized:
        shown = ", ".join(left[:3]) or "every layer"
        raise CannotTellError(
            f"{label}: {len(left)} layers stayed in full precision ({shown}), {layers.quantized} were quantized",
            fix="use --method lora, which needs no quantization",
            code="not_quantized",
        )
    return layers


def _holds_quantized_weights(module: Any) -> bool:
    import torch

    return module.weight.dtype in (torch.int8, torch.uint8)


def is_kept(name: str, keep: tuple[str, ...]) -> bool:
    """Whether a module's path ends in, or passes through, one of `keep`."""
    return any(name == part or name.endswith(f".{part}") or f".{part}." in f".{name}." for part in keep)
