"""Normalised facts -> config.json's own keys, so that one reader serves catalog, Hub and folder (build_catalog.py)."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelpick.catalog import architecture
from modelpick.catalog.architecture.families import FAMILIES
from modelpick.errors import CannotTellError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")

_NAMES = tomllib.loads((Path(__file__).parent / "config_keys.toml").read_text("utf-8"))
KEYS: dict[str, str] = _NAMES["common"]
FAMILY_KEYS: dict[str, dict[str, str]] = _NAMES["family"]
# Families of which the text part is read and the towers for images or sound are not: its sum is not the model's.
MORE_THAN_TEXT = frozenset(_NAMES["more_than_text"])
# Families whose configuration class always writes how many positions it has.
WRITES_POSITIONS = frozenset(_NAMES["writes_positions"])
# Families with a table of positions.
POSITION_TABLES = frozenset(_NAMES["position_tables"])
# Families whose attention knows distances alone, or that only recur.
WITHOUT_LIMIT = frozenset(_NAMES["without_limit"])
# Facts that say how one repository is to be run, not which shape it has: a twin's value would be a guess.
NOT_SHARED = (
    "sliding_window", "max_position_embeddings", "n_positions", "max_seq_len", "rope_scaling", "rope_theta",
    "torch_dtype", "quantization_config", "num_nextn_predict_layers", "architectures", "text_config", "layer_types",
)  # fmt: skip
# Which layers attend, and what the others do: the config's own business, and the same in the same shape.
MIXED = (
    "full_attention_interval", "linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim",
    "linear_value_head_dim", "linear_conv_kernel_dim",
)  # fmt: skip
# Hybrids of which the facts know how many layers of each kind there are, but not all their widths.
HALF_KNOWN = ("nemotron_h",)
Sources = dict[str, str | None]


def native_config(
    fact: Mapping[str, Any],
    by_hand: Mapping[str, Any] | None,
    templates: Sequence[tuple[Mapping[str, Any], dict[str, Any]]],
    twin: Mapping[str, Any] | None,
    hybrid: Mapping[str, Any] | None = None,
    *,
    own_source: str = "cfg",
) -> tuple[dict[str, Any], Sources, list[list[Any]]]:
    """The config, the source of each key, conflicts. A config entered by hand is taken whole and wins.

    `twin` and `hybrid` are other models of the very same shape, `hybrid` one that tells which of its layers attend.
    """
    keyed, sources = _from_facts(fact)
    conflicts: list[list[Any]] = []
    if by_hand is not None:
        read = {**by_hand, **(by_hand.get("text_config") or {})}
        for key, value in keyed.items():
            if key in read and read[key] != value and key not in ("model_type", "architectures"):
                conflicts.append([f"config.{key}", read[key], own_source, value, sources[f"config.{key}"]])
        return dict(by_hand), {f"config.{key}": own_source for key in by_hand}, conflicts
    if twin is not None and twin["id"] != fact["id"] and same_shape(twin, fact):
        for name in ("model_type", "vocab_size", "intermediate_size"):
            if fact.get(name) is None and twin.get(name) is not None:
                keyed[_key(name, twin.get("model_type"))] = twin[name]
                sources[f"config.{_key(name, twin.get('model_type'))}"] = f"same shape as {twin['id']}"
    family = keyed.get("model_type")
    alike = hybrid is not None and hybrid.get("model_type") == family and same_shape(hybrid, fact)
    if hybrid is not None and alike and fact.get(MIXED[0]) is None:
        mixed = {name: hybrid[name] for name in MIXED if hybrid.get(name) is not None}
        keyed |= mixed
        sources |= {f"config.{name}": f"same shape as {hybrid['id']}" for name in mixed}
    for owner, template in templates:
        if template.get("model_type") == family and owner["id"] != fact["id"] and same_shape(owner, fact):
            for key, value in template.items():
                if key not in keyed and key not in NOT_SHARED:
                    keyed[key] = value
                    sources[f"config.{key}"] = f"same shape as {owner['id']}"
            break
    for key, value in _implied(fact, family).items():
        if key not in keyed:
            keyed[key] = value
            sources[f"config.{key}"] = f"derived: {_WHY[key]}"
    if "vocab_size" not in keyed and (vocabulary := derived_vocabulary(fact)):
        keyed["vocab_size"] = vocabulary
        sources["config.vocab_size"] = "derived: parameters outside the layers / hidden_size"
    return keyed, sources, conflicts


def shape_of(fact: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Layers, width and exact parameter count; None unless all three are known."""
    if not fact.get("num_layers") or not fact.get("hidden_size") or fact.get("parameters_rounded") is not False:
        return None
    return fact["num_layers"], fact["hidden_size"], fact["parameters"]


def same_shape(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two models are the same machine: equal layers, width and exact parameters, and no known difference."""
    if shape_of(one) is None or shape_of(one) != shape_of(other):
        return False
    names = ("model_type", "num_heads", "num_kv_heads", "intermediate_size", "head_dim", "vocab_size", "num_experts")
    return all(one.get(name) in (None, other.get(name)) or other.get(name) is None for name in names)


def believable_parameters(fact: Mapping[str, Any]) -> tuple[int | None, str | None]:
    """The parameter count, or None and the reason where the shape contradicts it.

    A rounded count far from the shape was read from a name (`base-30T` is 30 T training tokens); an exact count far
    below a dense shape is that of an add-on which needs another repository's weights. The factor 3 is wider than any
    embedding, bias or extra tower moves a real model; nothing between 0.35 and 3 was set aside. A count that equals
    products of the shape to the last digit, not one norm or bias in it, was never counted: llmfit falls back to such a
    formula, an ungated MLP and tied embeddings assumed, a quarter too low for a Llama. A count below a fifth of the
    smallest size in the model's own name is that of a draft, an adapter or one file of many.
    """
    parameters = fact.get("parameters")
    named = [float(size) * 1e9 for size in _SIZE_IN_NAME.findall(fact["id"])]
    if parameters is not None and named and parameters < min(named) / 5:
        return None, f"holds {parameters:,} parameters under a name of {min(named):,.0f}: part of another model"
    names = ("num_layers", "hidden_size", "num_heads")
    if parameters is None or any(not fact.get(name) for name in names) or fact.get("model_type") in HALF_KNOWN:
        return parameters, None
    layers, hidden, heads = (fact[name] for name in names)
    head_dim = fact.get("head_dim") or hidden // heads
    wide = fact.get("moe_intermediate_size") or fact.get("intermediate_size") or 4 * hidden
    experts = (fact.get("num_experts") or 1) + (fact.get("n_shared_experts") or 0)
    attention = 2 * hidden * head_dim * (heads + (fact.get("num_kv_heads") or heads))
    implied = layers * (attention + 3 * hidden * wide * experts) + 2 * hidden * (fact.get("vocab_size") or 0)
    if parameters in _formula_counts(fact):
        return None, f"the count of {parameters:,} parameters set aside: a formula's, without norms and biases"
    if fact.get("parameters_rounded") is not False and not 1 / 3 < parameters / implied < 3:
        return None, f"the rounded count of {parameters:,} parameters set aside: the shape implies about {implied:,}"
    if _PACKED_IN_NAME.search(fact["id"]) and parameters < 0.7 * implied:
        return None, f"the count of {parameters:,} set aside: elements that pack several 4-bit weights each"
    if experts == 1 and parameters < implied / 3:
        return None, f"holds {parameters:,} parameters of about {implied:,}: an add-on to another repository's weights"
    return parameters, None


def derived_tie(config: Mapping[str, Any], parameters: int) -> bool | None:
    """Whether the output matrix is the embedding, where an exact count fits only one of the two; else None."""
    counts = [parameters_of({**config, "tie_word_embeddings": tied}) for tied in (True, False)]
    if None in counts or counts[0] == counts[1]:
        return None
    off = [abs(parameters - (count or 0)) for count in counts]
    matrix = abs((counts[0] or 0) - (counts[1] or 0))
    return off[0] < off[1] if min(off) < matrix / 20 else None


def contradicting_shape(config: Mapping[str, Any], parameters: int | None) -> int | None:
    """What the shape of a family that is counted matrix by matrix adds up to, where a count is not near it; else None.

    Near: within 2 %, a head of its own more or less. Beyond are masks stored with the weights (Pythia), drafts, and
    config.json files that lack a key.
    """
    try:
        shape = architecture.read(config)
    except CannotTellError:
        return None
    told = (
        not parameters
        or not shape.exact
        or shape.guessed
        or "quantization_config" in config
        or "vision_config" in config
    )
    if told or abs((parameters or 0) - shape.parameters) <= 0.02 * shape.parameters + shape.head_parameters:
        return None
    return shape.parameters


def parameters_of(config: Mapping[str, Any]) -> int | None:
    """Parameters that the shape adds up to, where it is the whole model's; else None.

    It is that for a family whose every matrix is read (`FAMILIES`), nothing of it guessed, without towers for images or
    sound. That is wider than `Architecture.exact`, which also asks for a test that counts the family's own models: what
    is derived here is marked as derived, and tied embeddings are only derived where an exact count agrees with the sum.
    """
    try:
        shape = architecture.read(config)
    except CannotTellError:
        return None
    # The repository's own type, and the one that is read: a text tower inside has another.
    kinds = {config.get("model_type"), shape.model_type}
    return shape.parameters if kinds <= FAMILIES.keys() - MORE_THAN_TEXT and not shape.guessed else None


def _formula_counts(fact: Mapping[str, Any]) -> set[int]:
    layers, hidden, heads = fact["num_layers"], fact["hidden_size"], fact["num_heads"]
    head_dim = fact.get("head_dim") or hidden // heads
    attention = (4 * hidden * hidden, 2 * hidden * head_dim * (heads + (fact.get("num_kv_heads") or heads)))
    wide, vocabulary = fact.get("intermediate_size") or 4 * hidden, fact.get("vocab_size") or 0
    return {
        layers * (attends + matrices * hidden * wide) + copies * vocabulary * hidden
        for attends in attention
        for matrices in (2, 3)
        for copies in (1, 2)
    }


def derived_vocabulary(fact: Mapping[str, Any]) -> int | None:
    """V of a gated-MLP decoder without biases, where parameters = layers + norms + V x hidden (x 2 when untied).

    Only an exact quotient that is V or 2 V with V within 1,024 of the tokenizer's size (padding) is believed.
    """
    names = ("num_layers", "hidden_size", "intermediate_size", "num_heads", "num_kv_heads", "head_dim", "parameters")
    if any(fact.get(name) is None for name in names) or fact.get("parameters_rounded") is not False:
        return None
    layers, hidden, wide, heads, kv_heads, head_dim, parameters = (fact[name] for name in names)
    layer = 2 * hidden * heads * head_dim + 2 * hidden * kv_heads * head_dim + 3 * hidden * wide + 2 * hidden
    rows, rest = divmod(parameters - layers * layer - hidden, hidden)
    tokens = fact.get("tokenizer_tokens")
    if rest or not tokens:
        return None
    for copies in (1, 2):
        if rows % copies == 0 and 0 <= rows // copies - tokens <= 1024:
            return int(rows // copies)
    return None


_SIZE_IN_NAME = re.compile(r"(?<![A-Za-z0-9._])([1-9]\d*(?:\.\d+)?)[bB](?![A-Za-z0-9])")  # 7B, not A3B, 1_6b, 0b
_PACKED_IN_NAME = re.compile(r"fp4|int4|awq|gptq|4-?bit|w4a\d+", re.IGNORECASE)
_NEMOTRON_LETTERS = {"mamba": "M", "moe": "E", "attention": "*", "mlp": "-"}  # configuration_nemotron_h.py
_JAMBA_PERIOD, _JAMBA_OFFSET = 8, 4  # the defaults of transformers, models/jamba/configuration_jamba.py
_WHY = {
    "multi_query": "one key-value head",
    "new_decoder_architecture": "falcon has several key-value heads only in its new decoder",
    "layer_types": "the number of layers of each kind; their order does not change any memory",
    "hybrid_override_pattern": "the number of layers of each kind; their order does not change any memory",
    "attn_layer_period": "the number of attention layers",
    "attn_layer_offset": "the number of attention layers",
}


def _implied(fact: Mapping[str, Any], family: str | None) -> dict[str, Any]:
    """Keys of the family's own config.json that the normalised facts imply."""
    implied: dict[str, Any] = {}
    kv_heads, layers = fact.get("num_kv_heads"), fact.get("num_layers")
    if family in ("gpt_bigcode", "falcon") and kv_heads is not None:
        implied["multi_query"] = kv_heads == 1 or (family == "falcon" and kv_heads != fact.get("num_heads"))
    if family == "falcon" and kv_heads is not None:
        implied["new_decoder_architecture"] = 1 < kv_heads < fact["num_heads"]
    counts = fact.get("layer_types") or {}
    sliding, full = fact.get("sliding_layers"), fact.get("full_attention_layers")
    if family == "nemotron_h" and set(counts) <= set(_NEMOTRON_LETTERS) and counts:
        implied["hybrid_override_pattern"] = "".join(_NEMOTRON_LETTERS[kind] * n for kind, n in sorted(counts.items()))
    elif family == "jamba" and full is not None and layers is not None:
        if len(range(_JAMBA_OFFSET, layers, _JAMBA_PERIOD)) == full:
            implied |= {"attn_layer_period": _JAMBA_PERIOD, "attn_layer_offset": _JAMBA_OFFSET}
    elif counts and sum(counts.values()) == layers:
        implied["layer_types"] = [kind for kind, count in sorted(counts.items()) for _ in range(count)]
    elif sliding is not None and layers is not None and sliding != layers:
        implied["layer_types"] = ["sliding_attention"] * sliding + ["full_attention"] * (layers - sliding)
    return implied


def _from_facts(fact: Mapping[str, Any]) -> tuple[dict[str, Any], Sources]:
    keyed: dict[str, Any] = {}
    sources: Sources = {}
    for name in KEYS:
        if fact.get(name) is not None:
            key = _key(name, fact.get("model_type"))
            keyed[key] = fact[name]
            sources[f"config.{key}"] = fact["sources"].get(name)
    return keyed, sources


def _key(name: str, family: str | None) -> str:
    return FAMILY_KEYS.get(family or "", {}).get(name, KEYS[name])
