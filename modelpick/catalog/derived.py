"""Whether a repository says of itself that it was made from another: by its name, its files, its tags. Pure.

A quantization, an adapter, a merge and a conversion always have a parent, so one that names none is a question.
"""

import re
from dataclasses import dataclass
from typing import Literal

from modelpick.catalog.card import RELATION
from modelpick.catalog.model import Model
from modelpick.catalog.parents import is_recipe, paths_in

Kind = Literal["quantized", "adapter", "merge"]
NAME_WORDS = (
    r"(?P<adapter>q?lora|loras|dora|adapters?|peft)"
    r"|(?P<merge>merged?|merges|slerp|dare[-_]?ties|ties|frankenmerge|mergekit|passthrough)"
    r"|(?P<quantized>gguf|ggml(?:v\d)?|gptq|awq|exl[23]|hqq|aqlm|quip|eetq|bnb|imat(?:rix)?|autoround|mlx|onnx|openvino"
    r"|coreml|ct2|ctranslate2|tflite|litert|quant(?:i[sz]ed)?|qat|[1-8]-?bits?|int[48]|uint4|fp8|nf4|[mn]v?x?fp4"
    r"|w[248]a(?:4|8|16)|i?q[1-8]_(?:[01k]|k_\w+|x*s|x*m|nl))"
)
"""The words of a name that say how a model was made, as a regular expression; letters and digits end a word."""
TELLING_TAGS = "(?i)^(licen[cs]e(_name)?:|base_model:|(source_)?datasets?:|(merge|mergekit|lora|qlora)$)"
"""Tags that say something of license, parents, data or how a model was made; DuckDB reads the expression as well."""
_NAME = re.compile(f"(?<![a-z0-9])(?:{NAME_WORDS})(?![a-z0-9])")
# Methods that only ever change weights which exist; FP8, MXFP4 and compressed-tensors also hold originals.
_AFTER_TRAINING = frozenset(
    {"gptq", "awq", "bitsandbytes", "aqlm", "hqq", "quip", "eetq", "exl2", "exl3", "auto-round", "autoround", "higgs",
     "spqr", "vptq", "quanto", "intel/auto-round"}
)  # fmt: skip
_QUANTIZER = frozenset({"quantize_config.json", "quant_config.json"})
_ADAPTER = re.compile(r"adapter_(?:config\.json|model\.(?:safetensors|bin))")
_CONVERTED = re.compile(r".*\.gguf|.*ggml.*\.bin|.*\.(?:llamafile|ggml|exl2)")
_WEIGHTS = re.compile(
    r"(?:model|pytorch_model|consolidated|tf_model|flax_model)[\w.-]*\.(?:safetensors|bin|pth?|h5|msgpack)"
)
_TAGS: dict[str, Kind] = {"merge": "merge", "mergekit": "merge", "lora": "adapter", "qlora": "adapter"}


@dataclass(frozen=True, slots=True)
class Derivation:
    """What a repository says it is, what says so, and the name its parent would have by its own (None: unknown)."""

    kind: Kind
    because: str
    stem: str | None = None


def derivation(model: Model, id: str) -> Derivation | None:
    """What the name `id`, the files, the config or the tags of a repository say it was made by."""
    name = id.rpartition("/")[2]
    said = None if "unquantized" in name.lower() else _NAME.search(name.lower())
    if said is not None:
        kind: Kind = "adapter" if said["adapter"] else "merge" if said["merge"] else "quantized"
        return Derivation(kind, f"its name says {said[0]}", name[: said.start()].rstrip("-_.") or None)
    return _by_files(model) or _by_tags(model)


def _by_files(model: Model) -> Derivation | None:
    for file in model.files:
        if _ADAPTER.fullmatch(file):
            return Derivation("adapter", f"it holds {file}")
        if is_recipe(file):
            return Derivation("merge", f"it holds {file}")
        if file in _QUANTIZER:
            return Derivation("quantized", f"it holds {file}")
    converted = next((file for file in model.files if _CONVERTED.fullmatch(file.lower())), None)
    if converted is not None and not any(_WEIGHTS.fullmatch(file.rpartition("/")[2].lower()) for file in model.files):
        return Derivation("quantized", f"it holds only converted weights ({converted})")
    if model.adapter_config is not None:
        return Derivation("adapter", "it holds adapter_config.json")
    quantization = (model.config or {}).get("quantization_config")
    method = quantization.get("quant_method") if isinstance(quantization, dict) else None
    if isinstance(method, str) and method.lower() in _AFTER_TRAINING:
        return Derivation("quantized", f"its config.json says quant_method {method}")
    return None


def _by_tags(model: Model) -> Derivation | None:
    for tag in model.tags:
        if (kind := _TAGS.get(tag.lower())) is not None:
            return Derivation(kind, f"its tags say {tag}")
    for stated in model.unreadable:
        if stated.field == RELATION:
            merge = "merge" in stated.value.lower()
            return Derivation("merge" if merge else "quantized", f"its {RELATION} is {stated.value}")
    return Derivation("adapter", "its library is peft") if (model.library or "").lower() == "peft" else None


def weight_names(model: Model) -> tuple[str, ...]:
    """What a converted or trained model's files call its weights: the name in its GGUF header, the names of converted
    files, and the folder that its training started from.

    "LLaMA" and "LLaMA v2" are what llama.cpp's first converters wrote into any model's header (convert.py, 2023).
    """
    stated = (value for key in ("general.name", "general.basename") if (value := (model.gguf or {}).get(key)))
    names = [name for name in stated if isinstance(name, str) and name.strip().lower() not in ("llama", "llama v2")]
    names += [file.rpartition("/")[2] for file in model.files if _CONVERTED.fullmatch(file.lower())]
    names += [path.replace("\\", "/").rstrip("/").rpartition("/")[2] for path in paths_in(model.config or {})]
    return tuple(dict.fromkeys(re.sub(r"\s+", "-", name.strip())[:200] for name in names))[:20]
