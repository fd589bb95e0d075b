"""Quantized repositories: their shape and abilities are their original's, their format and weights their own."""

from collections.abc import Mapping
from typing import Any

from modelpick.catalog.index import model_from
from modelpick.errors import ModelpickError
from modelpick.memory.estimate import architecture_of, estimate
from modelpick.workload import workload_from

# What the quantizers write where nothing else is said (transformers 5.23, utils/quantization_config.py: GPTQConfig and
# AwqConfig have group_size 128). NVFP4, MXFP4 and compressed-tensors name the modules they leave alone, which no list
# that was read tells: without the repository's own config.json their weights are not known.
_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "awq": {"quant_method": "awq", "group_size": 128},
    "gptq": {"quant_method": "gptq", "group_size": 128},
    "autoround": {"quant_method": "auto-round", "group_size": 128},
    "fp8": {"quant_method": "fp8"},
    "bitsandbytes": {"quant_method": "bitsandbytes", "load_in_4bit": True},
}
_SHAPE = (
    ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size"),
    ("config", "parameters", "parameters_exact", "active_parameters", "capabilities", "pipeline_tag"),
)


def completed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, the quantized ones with what their originals tell; one whose shape contradicts its name is left out."""
    by_id = {row["id"].lower(): row for row in rows}
    kept = []
    for row in rows:
        quantization = row.pop("quantization", None)
        if quantization is None:
            kept.append(row)
            continue
        base = next((id for id, relation in row.get("base_models") or () if relation == "quantized"), None)
        original = by_id.get(base.lower()) if base else None
        if original is not None and _agrees(row["config"] or {}, original["config"] or {}):
            row["base_models"] = [[original["id"], "quantized"]]
            _complete(row, original, quantization)
            kept.append(row)
    return kept


def _agrees(own: Mapping[str, Any], original: Mapping[str, Any]) -> bool:
    read = {**original, **(original.get("text_config") or {})}
    told = {**own, **(own.get("text_config") or {})}
    return all(key not in told or key not in read or told[key] == read[key] for key in _SHAPE[0][:3])


def _complete(row: dict[str, Any], original: Mapping[str, Any], quantization: tuple[str, int]) -> None:
    told = f"quantization of {original['id']}"
    sources = row["sources"]
    own = (row["config"] or {}).get("quantization_config")
    said = sources.pop("quantization", "name")
    config = row["config"]
    for field in _SHAPE[1]:
        row[field] = original.get(field)
        sources[field] = told
    for key in [key for key in sources if key.startswith(("config.", "capabilities."))]:
        del sources[key]
    sources |= {f"capabilities.{one}": told for one in row["capabilities"] or ()}
    row["quantization"] = f"{quantization[0]}-{quantization[1]}bit"
    sources["quantization"] = said
    if own is not None:
        row["config"] = config
        sources |= {f"config.{key}": "aicore" for key in config or ()}
    elif quantization[0] in _CONFIGS and row["config"]:
        method = dict(_CONFIGS[quantization[0]])
        if quantization[0] in ("awq", "gptq", "autoround"):
            method["bits"] = quantization[1]
        row["config"] = {**row["config"], "quantization_config": method}
        sources |= {f"config.{key}": told for key in row["config"]}
        sources["config.quantization_config"] = said
    else:
        row["config"] = None
        row["notes"].append("which of its matrices are quantized is not known: its config.json was not read")
    if row.get("context") is None:
        row["context"], sources["context"] = original.get("context"), told
        row["trained_context"], sources["trained_context"] = original.get("trained_context"), told
    row["notes"] = [note for note in row["notes"] if "parameters" not in note]
    _weigh(row)


def _weigh(row: dict[str, Any]) -> None:
    """The bytes of its weights, by the shape and its format; unknown where either is."""
    size = weights_of(row)
    if size is not None:
        row["weights"] = size
        row["sources"]["weights"] = "derived: the shape in this format (modelpick.memory.weights)"


def weights_of(row: Mapping[str, Any]) -> int | None:
    """Bytes that the weights of a built row take as they are stored."""
    try:
        shape = architecture_of(model_from({**row, "base_models": ()}))
        method = shape.checkpoint.method if shape.checkpoint is not None else "bf16"
        workload = workload_from({"task": "serve", "method": _METHODS.get(method, method), "context": 512, "batch": 1})
        return round(estimate(shape, workload, row.get("parameters")).parts.weights)
    except ModelpickError:
        return None


_METHODS = {"bitsandbytes": "nf4"}  # the checkpoint's word -> the workload's
