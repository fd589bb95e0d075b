"""How a repository itself holds its weights: `quantization_config`. Pure."""

from collections.abc import Mapping

from modelpick.catalog.architecture import fields
from modelpick.catalog.architecture.fields import Config, missing, whole
from modelpick.catalog.architecture.shape import Checkpoint

# Bits where the config leaves them out (the quantizers' own defaults, transformers utils/quantization_config.py).
_BITS = {"fp8": 8, "mxfp4": 4, "gptq": 4, "awq": 4, "bitsandbytes": 8, "compressed-tensors": 8, "modelopt": 4}


def checkpoint(config: Config) -> Checkpoint | None:
    """How the repository holds its weights. Raises CannotTellError for a method or a bit width that is not known."""
    inner = config.get("quantization_config")
    if inner is None:
        return None
    if not isinstance(inner, Mapping):
        raise fields.bad("quantization_config", inner, "an object")
    method = inner.get("quant_method")
    if method is None and inner.get("load_in_4bit") is not None:
        method = "bitsandbytes"
    if method not in _BITS:
        raise missing(str(config.get("model_type")), f"its quantization {method!r} is not one that modelpick knows")
    if method == "bitsandbytes":
        bits = 4 if inner.get("load_in_4bit") or inner.get("_load_in_4bit") else 8
    else:
        bits = whole(inner, ("bits", "w_bit"), largest=32) or _BITS[method]
    group = inner.get("group_size")
    return Checkpoint(str(method), bits, group if isinstance(group, int) and group > 0 else 0)
