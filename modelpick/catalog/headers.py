"""Headers of weight files, without the weights: parameters by dtype from safetensors, `general.*` from GGUF. Pure.

Formats: https://github.com/huggingface/safetensors#format (8 bytes little-endian header length, then JSON) and
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 2 and 3, little-endian).
"""

import json
import math
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

# Larger headers are refused by the safetensors library itself (MAX_HEADER_SIZE in safetensors/src/tensor.rs).
LARGEST_HEADER = 100_000_000
# dtypes that hold one parameter an element. U8, I16, I32 ... hold packed weights (GPTQ, AWQ, NF4, MXFP4) or indices.
ONE_PARAMETER_EACH = frozenset(("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8"))
_GGUF_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_GGUF_STRING, _GGUF_ARRAY = 8, 9


def safetensors_header_length(first: bytes) -> int:
    """Bytes of the JSON header, from the first 8 bytes of a file. Raises ValueError for an impossible length."""
    if len(first) < 8:
        raise ValueError("the file ends before its header")
    length = int(struct.unpack("<Q", first[:8])[0])
    if not 2 <= length <= LARGEST_HEADER:
        raise ValueError(f"the header would be {length:,} bytes long")
    return length


def parameters_by_dtype(header: bytes) -> dict[str, int]:
    """Elements of parameters by dtype in a safetensors JSON header, without masks and other buffers.

    Raises ValueError where it is not such a header.
    """
    try:
        tensors = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise ValueError("the header is not JSON") from error
    if not isinstance(tensors, dict):
        raise ValueError("the header is not a JSON object")
    counts: Counter[str] = Counter()
    for name, tensor in tensors.items():
        if name == "__metadata__":
            continue
        shape = tensor.get("shape") if isinstance(tensor, dict) else None
        dtype = tensor.get("dtype") if isinstance(tensor, dict) else None
        if not isinstance(dtype, str) or not isinstance(shape, list):
            raise ValueError(f"tensor {name[:60]!r} has no dtype or shape")
        if any(isinstance(side, bool) or not isinstance(side, int) or not 0 <= side < 2**48 for side in shape):
            raise ValueError(f"tensor {name[:60]!r} has an impossible shape")
        if not _is_buffer(name, shape):
            counts[dtype] += math.prod(shape)
    return dict(counts)


# What modules make themselves and old files hold all the same: torch's buffers, which are no parameters. transformers
# before 4.31 saved the causal mask of each layer as `attn.bias`, and its fill value.
_BUFFERS = ("masked_bias", "inv_freq", "position_ids", "num_batches_tracked", "running_mean", "running_var")


def _is_buffer(name: str, shape: list[int]) -> bool:
    last = name.rpartition(".")[2]
    square = len(shape) == 4 and shape[:2] == [1, 1] and shape[2] == shape[3]
    return last in _BUFFERS or (last == "bias" and square)


def total_parameters(by_dtype: Mapping[str, int]) -> int | None:
    """All parameters, or None where a dtype packs several of them into one element."""
    if not by_dtype or any(count and dtype not in ONE_PARAMETER_EACH for dtype, count in by_dtype.items()):
        return None
    return sum(by_dtype.values())


def added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The counts of several files together."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))


def weight_files(names: Iterable[str], index: Mapping[str, object] | None = None) -> tuple[str, ...]:
    """Which safetensors files make the model once: those of the index, else `model.safetensors` or its shards.

    Repositories also carry copies (`consolidated.safetensors`, other precisions as `model.fp16.safetensors`).
    """
    weight_map = index.get("weight_map") if index is not None else None
    if isinstance(weight_map, dict):
        return tuple(sorted({name for name in weight_map.values() if isinstance(name, str)}))
    here = sorted(name for name in names if name.endswith(".safetensors") and "/" not in name)
    for single in ("model.safetensors", "adapter_model.safetensors"):
        if single in here:
            return (single,)
    shards = [name for name in here if name.startswith("model-") and "-of-" in name]
    return tuple(shards or ([here[0]] if len(here) == 1 else ()))


def gguf_general(start: bytes) -> dict[str, object]:
    """The `general.*` keys in the first bytes of a GGUF file; those that lie beyond `start` are left out.

    Raises ValueError for what is not a GGUF file of version 2 or 3.
    """
    if start[:4] != b"GGUF" or len(start) < 24:
        raise ValueError("this is not a GGUF file")
    version, _, entries = struct.unpack("<IQQ", start[4:24])
    if version not in (2, 3):
        raise ValueError(f"GGUF version {version} is not supported")
    reader = _Bytes(start, 24)
    found: dict[str, object] = {}
    try:
        for _ in range(min(entries, 10_000)):
            key = reader.string()
            value = reader.value(reader.number("I"))
            if key.startswith("general."):
                found[key] = value
            elif key.startswith("tokenizer."):
                break  # vocabularies follow: megabytes without a general key
    except EOFError:
        pass
    return found


class _Bytes:
    """A place in a byte string, and the GGUF values that follow it; EOFError at the end."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    def take(self, size: int) -> bytes:
        if size < 0 or self._at + size > len(self._data):
            raise EOFError
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def string(self) -> str:
        return self.take(self.number("Q")).decode("utf-8", errors="replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _GGUF_SCALARS:
            return self.number(_GGUF_SCALARS[kind])
        if kind == _GGUF_STRING:
            return self.string()
        if kind == _GGUF_ARRAY and depth < 4:
            item, count = self.number("I"), self.number("Q")
            return [self.value(item, depth + 1) for _ in range(count)]
        raise EOFError  # an unknown type has an unknown length: nothing after it can be found
