"""What packages of PyPI say of Hub repositories: one reader a package (gather_catalog.py calls them).

Each reader takes the unpacked wheel and yields (repository, facts), the facts under the names of facts/gathered.jsonl.
Python modules are parsed and never run.
"""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Said = Iterator[tuple[str, dict[str, Any]]]
# llmfit falls back to this where a config.json could not be read or states no length (its scrape_hf_models.py).
_LLMFIT_FALLBACK = 4096
_LLMFIT_NAMES = {
    "architecture": "model_type", "num_hidden_layers": "num_layers", "hidden_size": "hidden_size",
    "num_attention_heads": "num_heads", "num_key_value_heads": "num_kv_heads", "head_dim": "head_dim",
    "vocab_size": "vocab_size", "parameters_raw": "parameters", "license": "license", "languages": "languages",
    "pipeline_tag": "pipeline_tag", "hf_downloads": "downloads", "hf_likes": "likes", "release_date": "release_date",
}  # fmt: skip


def llmfit(wheel: Path) -> Said:
    """llmfit: what the Hub's API and config.json said on the day of the scrape. The list is inside the executable."""
    program = next(wheel.glob("*.data/scripts/llmfit")).read_bytes()
    rows: list[dict[str, Any]] = []
    for start in (match.start() for match in re.finditer(rb'\[\s*\{\s*"name"\s*:', program)):
        listed, _ = json.JSONDecoder().raw_decode(program[start : start + 40_000_000].decode("utf-8", "ignore"))
        rows = max(rows, listed, key=len)
    for row in rows:
        said = {
            ours: row[theirs] for theirs, ours in _LLMFIT_NAMES.items() if row.get(theirs) not in (None, [], "unknown")
        }
        if wide := row.get("moe_intermediate_size"):  # so called for dense models too
            said["moe_intermediate_size" if row.get("is_moe") else "intermediate_size"] = wide
        if row.get("is_moe"):
            said |= {"num_experts": row["num_experts"], "num_experts_per_tok": row["active_experts"]}
        read = row.get("num_hidden_layers") is not None
        if row["context_length"] != _LLMFIT_FALLBACK:
            said["context"] = row["context_length"]
        elif read and row.get("architecture") not in ("unknown", None):
            said["context_or_fallback"] = _LLMFIT_FALLBACK
        if row.get("format") in ("awq", "gptq", "autoround"):
            said["quantization"] = [row["format"], int(re.sub(r"\D", "", row["quantization"]) or 4)]
        said["parameters_rounded"] = row["parameters_raw"] % 1_000_000 == 0
        yield row["name"], said


def mteb(wheel: Path) -> Said:
    """mteb: the benchmark's own descriptions of embedding and reranking models."""
    for path in sorted((wheel / "mteb/models/model_implementations").glob("*.py")):
        module = ast.parse(path.read_text("utf-8"))
        known = _constants(module)
        for call in _calls(module, "ModelMeta"):
            meta = _keywords(call, known)
            name = meta.get("name")
            if not isinstance(name, str) or name.count("/") != 1 or meta.get("open_weights") is not True:
                continue
            kinds = meta.get("model_type") or []
            said: dict[str, Any] = {"capabilities": ["rerank" if "cross-encoder" in kinds else "embedding"]}
            for theirs, ours in (("embed_dim", "dimension"), ("max_tokens", "context"), ("n_parameters", "parameters"),
                                 ("license", "license"), ("release_date", "release_date")):  # fmt: skip
                if isinstance(meta.get(theirs), int | str) and not isinstance(meta[theirs], bool):
                    said[ours] = meta[theirs]
            if isinstance(said.get("parameters"), int):
                said["parameters_rounded"] = said["parameters"] % 1_000_000 == 0
            languages = [str(one).split("-")[0] for one in meta.get("languages") or [] if one]
            if languages:
                said["languages"] = sorted(dict.fromkeys(languages))
            if isinstance(meta.get("adapted_from"), str) and meta["adapted_from"].count("/") == 1:
                said["base_model"] = [meta["adapted_from"], "finetune"]
            yield name, said


def xinference(wheel: Path) -> Said:
    """xinference: its specifications of language, embedding and reranking models, with their quantizations.

    `context_length` and abilities are one value for all sizes of a family.
    """
    rooms = wheel / "xinference/model"
    for path in sorted((rooms / "llm/models").glob("*.json")):
        for family in json.loads(path.read_text("utf-8")):
            yield from _xinference_family(family)
    for kind, capability in (("embedding", "embedding"), ("rerank", "rerank")):
        for path in sorted((rooms / kind / "models").glob("*.json")):
            for family in json.loads(path.read_text("utf-8")):
                said = {"capabilities": [capability], "languages": sorted(family.get("language") or [])}
                said |= {"dimension": family["dimensions"]} if family.get("dimensions") else {}
                said |= {"context": family["max_tokens"]} if family.get("max_tokens") else {}
                for spec in family["model_specs"]:
                    source = spec["model_src"].get("huggingface") or {}
                    if spec["model_format"] == "pytorch" and source.get("model_id"):
                        yield source["model_id"], said


_ABILITIES = {"chat": "chat", "vision": "vision", "tools": "tools", "reasoning": "reasoning", "hybrid": "reasoning"}


def _xinference_family(family: Mapping[str, Any]) -> Said:
    abilities = family.get("model_ability") or []
    capabilities = sorted({_ABILITIES[one] for one in abilities if one in _ABILITIES})
    if "generate" in abilities and "chat" not in abilities:
        capabilities.append("base")
    said: dict[str, Any] = {"capabilities": capabilities, "languages": sorted(family.get("model_lang") or [])}
    if family.get("context_length"):
        said["context"] = family["context_length"]
    originals: dict[str, str] = {}
    for spec in family["model_specs"]:
        source = spec["model_src"].get("huggingface") or {}
        id, size = source.get("model_id"), str(spec.get("model_size_in_billions"))
        if not id or "{" in id:
            continue
        if spec["model_format"] == "pytorch":
            originals.setdefault(size, id)
            shape = source.get("model_metadata") or {}
            named = {"num_hidden_layers": "num_layers", "hidden_size": "hidden_size", "vocab_size": "vocab_size",
                     "num_attention_heads": "num_heads", "num_key_value_heads": "num_kv_heads",
                     "intermediate_size": "intermediate_size"}  # fmt: skip
            yield (
                id,
                {
                    **said,
                    **{ours: shape[theirs] for theirs, ours in named.items() if isinstance(shape.get(theirs), int)},
                },
            )
        elif size in originals and originals[size] != id:
            yield id, {"base_model": [originals[size], "quantized"]}


def unsloth(wheel: Path) -> Said:
    """unsloth: which of its 4-bit repositories stands for which original."""
    module = ast.parse((wheel / "unsloth/models/mapper.py").read_text("utf-8"))
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            table = _value(node.value, {})
            for id, originals in table.items():
                listed = originals.get("16", ()) if isinstance(originals, dict) else originals
                official = [one for one in listed or () if isinstance(one, str) and not one.startswith("unsloth/")]
                if official and isinstance(id, str) and "4bit" in id:
                    yield id, {"base_model": [official[0], "quantized"], "quantization": ["bitsandbytes", 4]}


def gpustack(wheel: Path) -> Said:
    """gpustack: its model catalog, which names capabilities a model set."""
    catalog = yaml.safe_load((wheel / "gpustack/assets/model-catalog.yaml").read_text("utf-8"))
    for family in catalog["model_sets"]:
        words = family.get("capabilities") or []
        capabilities = sorted({word for word in words if word in ("vision", "tools", "reasoning")})
        kinds = {"embedding": "embedding", "reranker": "rerank"}
        capabilities += [kinds[one] for one in family.get("categories") or [] if one in kinds]
        for id in sorted({spec.get("huggingface_repo_id") for spec in family["specs"]} - {None}):
            if capabilities and "gguf" not in id.lower():
                yield id, {"capabilities": capabilities}


def ms_swift(wheel: Path) -> Said:
    """ms-swift: its registry says which repositories embed, rerank, see images or write code."""
    tags = {"vision": "vision", "coding": "code", "embedding": "embedding", "reranker": "rerank"}
    for path in sorted((wheel / "swift/model/models").glob("*.py")):
        for call in _calls(ast.parse(path.read_text("utf-8")), "ModelMeta"):
            words = {word.arg: _value(word.value, {}) for word in call.keywords if word.arg}
            for group in _calls(call, "ModelGroup"):
                own = {word.arg: _value(word.value, {}) for word in group.keywords if word.arg}
                named = [*(words.get("tags") or []), *(own.get("tags") or []), words.get("task_type")]
                capabilities = sorted({tags[one] for one in named if one in tags})
                for model in _calls(group, "Model"):
                    id = _value(model.args[1], {}) if len(model.args) > 1 else None
                    if isinstance(id, str) and id.count("/") == 1:
                        yield id, {"capabilities": capabilities}


def fastembed(wheel: Path) -> Said:
    """fastembed: dimension of the models it serves."""
    for path in sorted((wheel / "fastembed").rglob("*.py")):
        module = ast.parse(path.read_text("utf-8"))
        for call in _calls(module, "DenseModelDescription"):
            words = {word.arg: _value(word.value, {}) for word in call.keywords if word.arg}
            if isinstance(words.get("dim"), int) and str(words.get("model")).count("/") == 1:
                yield words["model"], {"dimension": words["dim"], "capabilities": ["embedding"]}


# Keys of a config.json that say how text is made, never what a model weighs or how long it reads.
_NOT_SHAPE = re.compile(
    r".*(?:token_id|_token|id2label|label2id|auto_map|transformers_version|_name_or_path|initializer_range|_std|use_cache)"
    r"|output_.*|.*_(?:act|eps|theta|loss_coef|placeholder)|time_step_.*|rescale_.*|.*token_index|use_mamba_kernels|_commit_hash|return_dict|summary_.*|task_specific_params|.*dropout.*|torchscript"
)


def aiconfigurator(wheel: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """aiconfigurator-core: the shape in the config.json of each repository it knows, quantization included."""
    folder = wheel / "aiconfigurator_core/model_configs"
    for path in sorted(folder.glob("*_config.json")):
        if path.name.endswith("_hf_quant_config.json"):
            continue
        config = _shape_only(json.loads(path.read_text("utf-8")))
        beside = path.with_name(path.name.replace("_config.json", "_hf_quant_config.json"))
        if beside.exists() and "quantization_config" not in config:
            quantized = json.loads(beside.read_text("utf-8"))
            config["quantization_config"] = {"quant_method": "modelopt", **quantized.get("quantization", quantized)}
        if config.get("quantization_config"):
            config["quantization_config"] = _shortened(config["quantization_config"])
        if len(json.dumps(config)) < _LONGEST_CONFIG:  # the others list the format of each of thousands of modules
            yield path.name.removesuffix("_config.json").replace("--", "/", 1), config


_LONGEST_CONFIG = 5_000  # characters
_FEW = 4  # layers


def _shortened(quantization: Mapping[str, Any]) -> dict[str, Any]:
    """Lists of modules left alone with one pattern for what is so in many layers: never fewer modules than listed."""
    short: dict[str, Any] = {}
    for key, value in quantization.items():
        if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
            alike = Counter(re.sub(r"(layers|blocks|experts)\.\d+", r"\1.*", one) for one in value)
            named = [re.sub(r"(layers|blocks|experts)\.\d+", r"\1.*", one) for one in value]
            value = list(
                dict.fromkeys(one if alike[many] <= _FEW else many for one, many in zip(value, named, strict=True))
            )
        if key not in ("producer", "kv_cache_scheme", "kv_cache_quant_algo", "version", "global_compression_ratio"):
            short[key] = value
    return short


def _shape_only(config: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in config.items():
        if _NOT_SHAPE.fullmatch(key) or value is None:
            continue
        kept[key] = _shape_only(value) if isinstance(value, dict) and key != "quantization_config" else value
    return kept


def _calls(node: ast.AST, name: str) -> list[ast.Call]:
    """Calls of a function or class of that name, in the order of the text."""
    return [
        one for one in ast.walk(node)
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id == name
    ]  # fmt: skip


def _constants(module: ast.Module) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            known[node.targets[0].id] = _value(node.value, known)
    return known


def _keywords(call: ast.Call, known: Mapping[str, Any]) -> dict[str, Any]:
    """What a call is told by name, `**CONSTANT` of the module included."""
    told: dict[str, Any] = {}
    for word in call.keywords:
        value = _value(word.value, known)
        told |= {word.arg: value} if word.arg else value if isinstance(value, dict) else {}
    return told


def _value(node: ast.AST, known: Mapping[str, Any]) -> Any:
    """The literal a node stands for, names of the module's own constants included; None for anything else."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return _keywords(node, known)
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return [_value(one, known) for one in node.elts]
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {key.value: _value(value, known) for key, value in pairs if isinstance(key, ast.Constant)}
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None
