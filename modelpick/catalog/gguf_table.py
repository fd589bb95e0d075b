"""The table of tensors at the start of a GGUF file: what it weighs by its parts, and the shape its keys describe. Pure.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 2 and 3, little-endian). Names of keys and
tensors: gguf 0.19, constants.py.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Weights of a block and its bytes, by ggml's number of the type (gguf 0.19, GGMLQuantizationType, GGML_QUANT_SIZES).
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74),
    18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2),
    26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
    40: (64, 36),
}  # fmt: skip
_POOLING = {1: "mean", 2: "cls", 3: "last", 4: "rank"}  # gguf 0.19, PoolingType; 0: none
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST = 1_000_000  # keys or tensors: the largest models have some ten thousand
# GGUF's architecture -> model_type, where they differ; others are the same but for dashes.
_MODEL_TYPES = {
    "qwen2moe": "qwen2_moe", "qwen3moe": "qwen3_moe", "gemma3": "gemma3_text", "gptneox": "gpt_neox",
    "command-r": "cohere", "deepseek2": "deepseek_v2", "glm4moe": "glm4_moe", "phi2": "phi", "bert": "bert",
}  # fmt: skip
_KEYS = {  # key below the architecture's name -> key of config.json
    "block_count": "num_hidden_layers", "embedding_length": "hidden_size", "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads", "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim", "attention.sliding_window": "sliding_window",
    "context_length": "max_position_embeddings", "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok", "expert_feed_forward_length": "moe_intermediate_size",
    "vocab_size": "vocab_size",
}  # fmt: skip


class NotWholeError(Exception):
    """The table goes on beyond the bytes at hand."""


@dataclass(frozen=True, slots=True)
class GgufTable:
    """`bytes_of`: of layers (experts included), experts, embedding, output, other. `end`: where the file ends at the
    least. `config` is in config.json's own keys. `chat_template` is the file's own, empty where it has none. `pooling`:
    how one vector is made of a text's, "rank" for a reranker; empty where the file generates text."""

    bytes_of: Mapping[str, int]
    end: int
    config: dict[str, object]
    chat_template: str = ""
    pooling: str = ""


def read(start: bytes) -> GgufTable:
    """The table in the first bytes of a file. Raises NotWholeError where there are too few, ValueError for what is not
    a GGUF file, or a table that contradicts itself."""
    if start[:4] != b"GGUF":
        raise ValueError("this is not a GGUF file")
    at = _TableReader(start, 4)
    version, tensors, keys = at.number("I"), at.number("Q"), at.number("Q")
    if version not in (2, 3) or max(tensors, keys) > _MOST:
        raise ValueError(f"GGUF version {version} with {tensors} tensors and {keys} keys is not supported")
    values: dict[str, Any] = {}
    for _ in range(keys):
        name = at.text()
        values[name] = at.value(at.number("I"))
    sizes = dict.fromkeys(("layers", "experts", "embedding", "output", "other"), 0)
    spans = []
    for _ in range(tensors):
        name = at.text()
        sides = [at.number("Q") for _ in range(min(at.number("I"), 8))]
        kind, offset = at.number("I"), at.number("Q")
        size = _size(name, sides, kind)
        spans.append((offset, size, name))
        for part in _parts(name):
            sizes[part] += size
    alignment = values.get("general.alignment") or 32
    if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20:
        raise ValueError(f"its alignment is {alignment!r}")
    data = math.ceil(at.place / alignment) * alignment
    end = data
    for offset, size, name in sorted(spans):
        if data + offset < end:
            raise ValueError(f"its tensor {name[:60]!r} overlaps the one before")
        end = data + offset + size
    template = values.get("tokenizer.chat_template")
    pooling = values.get(f"{values.get('general.architecture')}.pooling_type")
    return GgufTable(
        sizes,
        end,
        _config(values, tied=not sizes["output"]),
        template if isinstance(template, str) else "",
        _POOLING.get(pooling, "") if isinstance(pooling, int) else "",
    )


def _size(name: str, sides: list[int], kind: int) -> int:
    if kind not in _BLOCKS:
        raise ValueError(f"its tensor {name[:60]!r} is of a type ({kind}) that is not known")
    block, size = _BLOCKS[kind]
    elements = math.prod(sides)
    if not sides or elements >= 1 << 48 or sides[0] % block:
        raise ValueError(f"its tensor {name[:60]!r} has an impossible shape")
    return elements // block * size


def _parts(name: str) -> tuple[str, ...]:
    if name.startswith("blk."):
        return ("layers", "experts") if "_exps." in name else ("layers",)
    if name.startswith(("token_embd.", "per_layer_token_embd.")):
        return ("embedding",)
    return ("output",) if name == "output.weight" else ("other",)


def _config(values: Mapping[str, Any], *, tied: bool) -> dict[str, object]:
    """The keys of config.json that the file's own keys say."""
    kind = values.get("general.architecture")
    if not isinstance(kind, str):
        return {}
    config: dict[str, object] = {"model_type": _MODEL_TYPES.get(kind, kind.replace("-", "_"))}
    config["tie_word_embeddings"] = tied
    for key, ours in _KEYS.items():
        value = values.get(f"{kind}.{key}")
        if isinstance(value, list) and value:  # a number for each layer
            value = max(value) if all(isinstance(one, int) for one in value) else None
        if isinstance(value, int) and not isinstance(value, bool) and value:
            config[ours] = value
    tokens = values.get("tokenizer.ggml.tokens")
    if isinstance(tokens, int):
        config["vocab_size"] = tokens
    return config


class _TableReader:
    """A place in a byte string, and the values that follow it; NotWholeError at the end."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data, self.place = data, place

    def _take(self, size: int) -> bytes:
        if self.place + size > len(self._data):
            raise NotWholeError
        self.place += size
        return self._data[self.place - size : self.place]

    def number(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self._take(struct.calcsize(f"<{code}")))[0]

    def text(self) -> str:
        return self._take(self.number("Q")).decode("utf-8", errors="replace")

    def value(self, kind: int) -> Any:
        """A value; of an array of texts only how many there are."""
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            raise ValueError(f"a value is of a type ({kind}) that is not known")
        item, count = self.number("I"), self.number("Q")
        if item in _SCALARS:
            width = struct.calcsize(f"<{_SCALARS[item]}")
            data = self._take(width * count)
            return list(struct.unpack(f"<{count}{_SCALARS[item]}", data)) if count <= 10_000 else count
        if item != _STRING:
            raise ValueError("an array of arrays is not supported")
        for _ in range(count):
            self._take(self.number("Q"))
        return count
