"""Typed access to a config: a key under any of its family names, checked, or an error that names it. Pure."""

from collections.abc import Mapping
from typing import Any

from modelpick.errors import CannotTellError

Config = Mapping[str, object]

# The same fact under the names that families give it.
HIDDEN = ("hidden_size", "n_embd", "d_model", "dim", "hidden_dim")
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads")
KV_HEADS = (
    "num_key_value_heads", "num_kv_heads", "n_head_kv", "kv_n_heads", "multi_query_group_num", "num_attention_groups",
)  # fmt: skip
WIDTH = ("intermediate_size", "ffn_dim", "n_inner", "d_ff", "ffn_hidden_size")
VOCABULARY = ("vocab_size", "padded_vocab_size")
CONTEXT = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_sequence_length", "model_max_length",
)  # fmt: skip
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
EXPERTS_PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_top_k", "top_k_experts", "moe_topk")
EXPERT_WIDTH = ("moe_intermediate_size", "expert_ffn_hidden_size", "moe_intermediate_dim")

# Ten times the largest published model in each direction: beyond it a config is broken, not ambitious.
LARGEST = {"layers": 10_000, "width": 10_000_000, "vocabulary": 100_000_000, "context": 10_000_000_000}


def bad(key: str, value: object, expected: str) -> CannotTellError:
    """The error for a config value that cannot be right."""
    shown = repr(value)
    return CannotTellError(
        f"config.json: {key} is {shown[:60]}, not {expected}", fix=f"correct {key} in config.json", code="bad_config"
    )


def missing(model_type: str, what: str) -> CannotTellError:
    """The error for a fact that memory depends on and that the config lacks."""
    return CannotTellError(
        f"architecture {model_type!r} cannot be read: {what}",
        fix="use a model whose config.json states it, or a family that modelpick knows",
        code="unknown_architecture",
    )


def find(config: Config, keys: tuple[str, ...]) -> tuple[str, Any]:
    """The first of `keys` that the config sets (null counts as absent), with its value; else the first key and None."""
    for key in keys:
        value = config.get(key)
        if value is not None:
            return key, value
    return keys[0], None


def integer(config: Config, keys: tuple[str, ...], *, smallest: int = 1, largest: int = LARGEST["width"]) -> int | None:
    """A whole number within bounds, or None when absent. Raises CannotTellError (bad_config) for anything else."""
    key, value = find(config, keys)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        if not (isinstance(value, float) and value.is_integer()):
            raise bad(key, value, "a whole number")
        value = int(value)
    if not smallest <= value <= largest:
        raise bad(key, value, f"a whole number from {smallest} to {largest}")
    return int(value)


def needed(config: Config, keys: tuple[str, ...], **bounds: int) -> int:
    """Like `integer`, but raises CannotTellError where the fact is missing."""
    value = integer(config, keys, **bounds)
    if value is None:
        raise missing(model_type(config), f"config.json lacks {keys[0]}")
    return value


def flag(config: Config, key: str, default: bool) -> bool:
    """A boolean, or `default` when absent or null."""
    value = config.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise bad(key, value, "true or false")
    return value


def names(config: Config, key: str) -> list[str] | None:
    """A list of words (`layer_types`), or None when absent."""
    value = config.get(key)
    if value is None:
        return None
    if isinstance(value, Mapping):  # counts by kind, as catalog rows may hold them
        return [str(kind) for kind, count in value.items() for _ in range(_count(key, count))]
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise bad(key, value, "a list of words")
    return list(value)


def _count(key: str, count: object) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= LARGEST["layers"]:
        raise bad(key, count, "a number of layers")
    return count


def model_type(config: Config) -> str:
    """The config's model_type. Raises CannotTellError when there is none."""
    value = config.get("model_type")
    if not isinstance(value, str) or not value:
        raise CannotTellError(
            "config.json has no model_type", fix="add model_type to config.json", code="unknown_architecture"
        )
    return value
