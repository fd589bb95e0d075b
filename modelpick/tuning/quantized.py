"""Loading with 8-bit or 4-bit weights, and proof that the layers really are quantized.

transformers replaces only modules whose type *is* `torch.nn.Linear`. A family with a Linear class of its own (Falcon)
is left in full precision while `model.is_quantized` says True. So two things live here and nowhere else: the mend for
such families, and the count of quantized layers that every load must pass.
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
# Task heads are freshly made for the data at hand: nothing to compress, and they are trained in full.
TASK_HEADS = ("classifier", "score", "qa_outputs")


@dataclass(frozen=True, slots=True)
class QuantizedLayers:
    """How many linear layers a loaded model has, how many hold quantized weights, and which were left by intent."""

    quantized: int
    left: tuple[str, ...]
    kept: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """For the run file."""
        return {"quantized": self.quantized, "kept_in_full_precision": list(self.kept)}


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


def mend_in_place_adds(model: "nn.Module", model_type: str) -> None:
    """Copy the outputs that a family's decoder layer adds to in place, so that 8-bit backward works."""
    wanted = _ADDED_TO_IN_PLACE.get(model_type)
    for module in model.modules():
        if type(module).__name__ == wanted:
            module.register_forward_hook(_copy_output)


def _copy_output(module: "nn.Module", inputs: object, output: Any) -> Any:
    return output.clone()


def count_layers(model: "nn.Module", keep: tuple[str, ...]) -> QuantizedLayers:
    """Count the linear layers of a loaded model by whether their weights are quantized.

    A layer is kept by intent when its path ends in, or passes through, one of `keep`.
    """
    import bitsandbytes as bnb
    from torch import nn

    quantized = 0
    left: list[str] = []
    kept: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, bnb.nn.Linear8bitLt | bnb.nn.Linear4bit):
            quantized += 1 if _holds_quantized_weights(module) else 0
            if not _holds_quantized_weights(module):
                left.append(name)
        elif isinstance(module, nn.Linear):
            (kept if _is_kept(name, keep) else left).append(name)
    return QuantizedLayers(quantized=quantized, left=tuple(left), kept=tuple(kept))


def assert_quantized(model: "nn.Module", keep: tuple[str, ...], label: str) -> QuantizedLayers:
    """The layer count of a model that must be quantized.

    Raises CannotTellError(code="not_quantized") when any linear layer outside `keep` holds full-precision weights, or
    when there is no quantized layer at all.
    """
    layers = count_layers(model, keep)
    if layers.left or not layers.quantized:
        shown = ", ".join(layers.left[:3]) or "every layer"
        raise CannotTellError(
            f"{label}: {len(layers.left)} linear layers stayed in full precision ({shown}), "
            f"{layers.quantized} were quantized",
            fix="use --method lora, which needs no quantization",
            code="not_quantized",
        )
    return layers


def _holds_quantized_weights(module: Any) -> bool:
    import torch

    return module.weight.dtype in (torch.int8, torch.uint8)


def _is_kept(name: str, keep: tuple[str, ...]) -> bool:
    return any(name == part or name.endswith(f".{part}") or f".{part}." in f".{name}." for part in keep)
