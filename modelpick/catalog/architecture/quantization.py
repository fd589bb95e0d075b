"""`quantization_config` of a config.json: in which format a checkpoint stores which weights. Pure.

Bits a weight include the scales (and zero points) stored with it. Sources: the quantizers' own configs in transformers
5.23 (utils/quantization_config.py), compressed-tensors 0.12 (quantization/quant_args.py) and NVIDIA's modelopt
(torch/export/convert_hf_config.py), as vLLM reads them (model_executor/layers/quantization).
"""

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from modelpick.catalog.architecture.fields import Config, bad, integer, missing
from modelpick.catalog.architecture.shape import EXPERTS_STORED, Checkpoint, LayerGroup, Stored

# Bits where the config leaves them out (the quantizers' own defaults, transformers utils/quantization_config.py).
_BITS = {"fp8": 8, "fbgemm_fp8": 8, "mxfp4": 4, "gptq": 4, "awq": 4, "auto-round": 4, "bitsandbytes": 8}
_NVFP4, _MXFP4 = 4 + 8 / 16, 4 + 8 / 32  # an 8-bit scale for 16 weights (NVFP4), for 32 (OCP microscaling)
_INT4_AWQ = 4 + 16 / 128
_FP8_BLOCKS = 8 + 32 / (128 * 128)
# modelopt's quant_algo: our word for the format, and bits a weight.
_MODELOPT: Mapping[str, tuple[str, float]] = {
    "FP8": ("fp8", 8.0), "FP8_PER_CHANNEL_PER_TOKEN": ("fp8", 8.0), "FP8_PB_WO": ("fp8", _FP8_BLOCKS),
    "NVFP4": ("nvfp4", _NVFP4), "NVFP4_AWQ": ("nvfp4", _NVFP4), "W4A16_AWQ": ("nvfp4", _INT4_AWQ),
    "W4A8_AWQ": ("nvfp4", _INT4_AWQ), "W4A8_NVFP4_FP8": ("nvfp4", _NVFP4), "MXFP8": ("fp8", 8 + 8 / 32),
    "W8A8_SQ_PER_CHANNEL": ("fp8", 8.0),
}  # fmt: skip
_MOST_PATTERNS = 50_000  # ignored modules: a list of every module of the largest model has some 10,000
_LONGEST_PATTERN = 300  # characters


@dataclass(frozen=True, slots=True)
class _Rule:
    """Modules that share a format; `bits` None: left in the compute type. `alike`: it names no layer by its number."""

    matches: Callable[[str], bool]
    bits: float | None
    alike: bool = True


def checkpoint(config: Config, groups: Sequence[LayerGroup]) -> Checkpoint | None:
    """The weight format of the repository, matrix by matrix; None: not quantized.

    Raises CannotTellError for a method, a bit width or an algorithm that is not known.
    """
    inner = config.get("quantization_config", config.get("compression_config"))
    if inner is None:
        return None
    if not isinstance(inner, Mapping):
        raise bad("quantization_config", inner, "an object")
    method = inner.get("quant_method")
    if method is None and inner.get("load_in_4bit") is not None:
        method = "bitsandbytes"
    kind = str(config.get("model_type"))
    if method == "compressed-tensors":
        found, rules = _compressed(inner, kind)
    elif method == "modelopt" or (isinstance(method, str) and method.startswith("modelopt")):
        found, rules = _modelopt(inner, kind)
    elif method in _BITS:
        found, rules = _plain(config, inner, str(method))
    else:
        raise missing(kind, f"its quantization {method!r} is not one that modelpick knows")
    return replace(found, stored=_stored(rules, groups, experts_alone=found.method == "mxfp4"))


def _plain(config: Config, inner: Mapping[str, Any], method: str) -> tuple[Checkpoint, list[_Rule]]:
    """One format for all that is quantized; DeepSeek-V4 names another for its experts (`expert_dtype`)."""
    if method == "bitsandbytes":
        bits = 4 if inner.get("load_in_4bit") or inner.get("_load_in_4bit") else 8
    else:
        bits = integer(inner, ("bits", "w_bit"), largest=32) or _BITS[method]
    size = inner.get("group_size")
    group = size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else 0
    if method == "auto-round":
        method = "awq" if "awq" in str(inner.get("packing_format")) else "gptq"
    elif method == "fbgemm_fp8":
        method = "fp8"
    per_weight: float = bits
    if method in ("gptq", "awq"):
        per_weight = bits + (16 + bits) / (group or 4096)
    elif method == "mxfp4":
        per_weight = _MXFP4
    elif method == "fp8" and inner.get("weight_block_size"):
        per_weight = _FP8_BLOCKS
    elif method == "bitsandbytes":
        per_weight = 4 + 32 / 64 if bits == 4 else 8.0
    rules = _left_alone(inner)
    experts = config.get("expert_dtype") or inner.get("expert_dtype")
    if isinstance(experts, str) and experts in ("fp4", "mxfp4"):
        rules.append(_Rule(lambda path: ".experts." in path, _MXFP4))
    return Checkpoint(method, bits, group), [*rules, _Rule(lambda path: True, per_weight)]


def _compressed(inner: Mapping[str, Any], kind: str) -> tuple[Checkpoint, list[_Rule]]:
    """compressed-tensors: groups of targets, each with the arguments of its weights."""
    groups = inner.get("config_groups")
    if not isinstance(groups, Mapping) or not groups:
        raise missing(kind, "its quantization_config names no config_groups")
    rules = _left_alone(inner)
    widths: list[tuple[int, int]] = []
    for name, group in groups.items():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if not isinstance(weights, Mapping):
            raise bad(f"config_groups.{name}", group, "a group with weights")
        layout = str(group.get("format") or inner.get("format") or "")
        targets = group.get("targets")
        listed = [str(one) for one in targets] if isinstance(targets, list | tuple) else ["Linear"]
        rules.append(_Rule(_targeted(listed), _bits_of(weights, layout, str(name)), _alike(listed)))
        size = weights.get("group_size")
        widths.append((int(weights.get("num_bits") or 8), size if isinstance(size, int) and size > 0 else 0))
    bits, group_size = min(widths)
    return Checkpoint("compressed-tensors", bits, group_size), rules


def _bits_of(weights: Mapping[str, Any], layout: str, where: str) -> float:
    """Bits a weight of one group's arguments: packed where the format packs, with its scales."""
    bits = integer(weights, ("num_bits",), largest=32)
    if bits is None:
        raise bad(f"config_groups.{where}.weights.num_bits", weights.get("num_bits"), "a number of bits")
    floating = weights.get("type") == "float"
    size = integer(weights, ("group_size",), smallest=-1)
    group = size if size is not None and size > 0 else 0
    if weights.get("strategy") == "block":
        return bits + 32 / (128 * 128)
    if floating and bits == 4:
        return _MXFP4 if group == 32 else _NVFP4
    if not floating and bits < 8:
        # pack-quantized: whole weights in words of 32 bits; int-quantized and naive ones take a byte each.
        bits_stored = 8.0 if layout in ("int-quantized", "naive-quantized") else 32 / (32 // bits)
    else:
        bits_stored = float(max(bits, 8))
    zeros = 0 if weights.get("symmetric", True) else bits
    return bits_stored + ((16 + zeros) / group if group else 0.0)


def _modelopt(inner: Mapping[str, Any], kind: str) -> tuple[Checkpoint, list[_Rule]]:
    """modelopt: one algorithm, or (MIXED_PRECISION) one for each listed layer; or groups as compressed-tensors has."""
    described = inner.get("quantization") if isinstance(inner.get("quantization"), Mapping) else inner
    assert isinstance(described, Mapping)
    algorithm = str(described.get("quant_algo") or "")
    rules = _left_alone(described)
    if algorithm == "MIXED_PRECISION" and isinstance(layers := described.get("quantized_layers"), Mapping):
        by_algorithm: dict[str, list[str]] = {}
        for name, layer in layers.items():
            by_algorithm.setdefault(str(layer.get("quant_algo") if isinstance(layer, Mapping) else layer), []).append(
                str(name)
            )
        words = [_algorithm(one, kind) for one in by_algorithm]
        rules += [
            _Rule(_any_of(names), _algorithm(one, kind)[1], _alike(names)) for one, names in by_algorithm.items()
        ]  # what is not listed stays as it is
        least = min(words, key=lambda word: word[1])
        return Checkpoint(least[0], int(least[1]), 0), rules
    if not algorithm and isinstance(described.get("config_groups"), Mapping):
        found, rules = _compressed(described, kind)
        return replace(found, method="nvfp4" if found.bits == 4 else "fp8"), rules
    word, bits = _algorithm(algorithm, kind)
    group = integer(described, ("group_size",)) or (16 if word == "nvfp4" else 0)
    return Checkpoint(word, int(bits), group), [*rules, _Rule(lambda path: True, bits)]


def _algorithm(name: str, kind: str) -> tuple[str, float]:
    if name not in _MODELOPT:
        raise missing(kind, f"its quant_algo {name!r} is not one that modelpick knows")
    return _MODELOPT[name]


def _left_alone(inner: Mapping[str, Any]) -> list[_Rule]:
    """Rules for the modules that stay in the compute type, under the name that each quantizer gives them."""
    named: list[str] = []
    for key in ("ignore", "modules_to_not_convert", "exclude_modules", "ignored_layers", "llm_int8_skip_modules"):
        value = inner.get(key)
        if isinstance(value, list | tuple):
            named += [str(one) for one in value]
    dynamic = inner.get("dynamic")  # GPTQModel: "-:regex" are not quantized
    if isinstance(dynamic, Mapping):
        named += [f"re:{str(key)[2:]}" for key in dynamic if str(key).startswith("-:")]
    return [_Rule(_any_of(named), None, _alike(named))] if named else []


def _targeted(targets: Sequence[str]) -> Callable[[str], bool]:
    if "Linear" in targets:
        return lambda path: True
    return _any_of(targets)


def _any_of(names: Iterable[str]) -> Callable[[str], bool]:
    """Whether a module's path is among `names`: dotted parts of it, globs, or regular expressions ("re:...").

    What cannot be understood matches everything: what is left alone by mistake is counted larger than it is.
    """
    listed = list(dict.fromkeys(names))[:_MOST_PATTERNS]
    by_layer: dict[str, list[str]] = {}
    for name in listed:
        layer = re.search(r"layers?\.(\d+)(?:\.|$)", name)
        by_layer.setdefault(layer[1] if layer else "", []).append(name)
    of_layer: dict[str, Callable[[str], bool]] = {}  # made when a path of that layer is asked for

    def matches(path: str) -> bool:
        number = re.search(r"layers?\.(\d+)\.", path)
        for layer in (number[1], "") if number else ("",):
            if layer in by_layer:
                if layer not in of_layer:
                    of_layer[layer] = _matcher(by_layer[layer])
                if of_layer[layer](path):
                    return True
        return False

    return matches


def _matcher(names: Iterable[str]) -> Callable[[str], bool]:
    """`_any_of` over names of one layer, or of all: globs as one expression, dotted parts as one set."""
    expressions: list[re.Pattern[str]] = []
    globs: list[str] = []
    parts: set[str] = set()
    for name in names:
        if name.startswith("re:"):
            text = name[3:]
            nested = re.search(r"\)\s*[*+{]", text)  # a repeated group may take time without end on a foreign pattern
            if nested or len(text) > _LONGEST_PATTERN:
                return lambda path: True
            try:
                expressions.append(re.compile(text))
            except (re.error, OverflowError):
                return lambda path: True
        elif "*" in name or "?" in name:
            globs.append(fnmatch.translate(name[:_LONGEST_PATTERN]))
        else:
            parts.add(name.removeprefix("model.language_model.").removeprefix("language_model.").removeprefix("model."))
    glob = re.compile("|".join(globs)) if globs else None

    def matches(path: str) -> bool:
        if parts and not parts.isdisjoint(_parts(path)):
            return True
        if glob is not None and any(map(glob.match, _ancestors(path))):
            return True
        return any(expression.match(path) for expression in expressions)

    return matches


def _alike(names: Iterable[str]) -> bool:
    """Whether no name can tell layers apart: none has a digit, stands for one character or is an expression."""
    return not any(name.startswith("re:") or _ONE_CHARACTER.search(name) for name in names)


_ONE_CHARACTER = re.compile(r"[0-9?\[]")


@lru_cache(maxsize=8192)
def _parts(path: str) -> tuple[str, ...]:
    """Every run of names that stand side by side in a dotted path."""
    names = path.split(".")
    return tuple(".".join(names[start:end]) for start in range(len(names)) for end in range(start + 1, len(names) + 1))


@lru_cache(maxsize=8192)
def _ancestors(path: str) -> tuple[str, ...]:
    """The module, and those it is in: what is left alone is so with all that is in it."""
    parts = path.split(".")
    listed = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    return tuple(dict.fromkeys((*listed, *(module.removeprefix("model.") for module in listed))))


_MLP = frozenset({"gate_up", "gate", "up", "down"})


def _paths(name: str, role: str, routed: bool, layer: int) -> tuple[str, ...]:
    """The module's path as transformers names it; in mixture-of-experts layers the dense part is the shared expert."""
    start = f"model.layers.{layer}"
    if role in _MLP:
        return (f"{start}.mlp.shared_experts.{name}",) if routed else (f"{start}.mlp.{name}",)
    if role == "other":
        return tuple(f"{start}.{part}.{name}" for part in ("linear_attn", "mamba", "mixer", "self_attn", "conv"))
    return (f"{start}.self_attn.{name}",)


def _stored(rules: Sequence[_Rule], groups: Sequence[LayerGroup], experts_alone: bool) -> tuple[Stored, ...]:
    """For each module name (and the routed experts): the share of its layers that is quantized, and at how many bits.

    Groups of layers no longer know which layers they are: a rule that names layers counts by its share of all.
    """
    depth = 1 if all(rule.alike for rule in rules) else sum(group.count for group in groups)
    found: dict[str, Stored] = {}
    routed = any(group.experts for group in groups)
    for group in groups:
        for projection in group.projections:
            key = stored_key(projection.name, group.experts is not None, projection.role)
            if key not in found:
                if experts_alone and routed:
                    found[key] = Stored(key, 0.0, 0.0)
                    continue
                paths = [_paths(projection.name, projection.role, group.experts is not None, i) for i in range(depth)]
                found[key] = _share(key, rules, paths)
        if group.experts is not None and EXPERTS_STORED not in found:
            paths = [
                tuple(f"model.layers.{i}.mlp.experts.0.{part}" for part in ("up_proj", "w1", "gate_up_proj"))
                for i in range(depth)
            ]
            found[EXPERTS_STORED] = _share(EXPERTS_STORED, rules, paths)
    return tuple(found.values())


def stored_key(name: str, routed: bool, role: str) -> str:
    """The name under which a projection's format is kept: a shared expert's is not that of a dense layer's MLP."""
    return f"shared_experts.{name}" if routed and role in _MLP else name


def _share(key: str, rules: Sequence[_Rule], paths: Sequence[tuple[str, ...]]) -> Stored:
    bits = [_bits_at(rules, path) for path in paths]
    quantized = [one for one in bits if one is not None]
    if not quantized:
        return Stored(key, 0.0, 0.0)
    return Stored(key, len(quantized) / len(bits), sum(quantized) / len(quantized))


def _bits_at(rules: Sequence[_Rule], paths: tuple[str, ...]) -> float | None:
    for rule in rules:
        if any(rule.matches(path) for path in paths):
            return rule.bits
    return None
