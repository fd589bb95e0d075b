"""A GGUF file's own table: what it weighs, the shape it describes, and a table that is not true."""

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.catalog import folder as snapshot
from modelpick.catalog import gguf_table
from modelpick.errors import UsageError
from modelpick.memory.estimate import architecture_of, estimate_model
from modelpick.workload import workload_from

KEYS: dict[str, Any] = {
    "general.architecture": "llama", "llama.block_count": 2, "llama.embedding_length": 256,
    "llama.feed_forward_length": 512, "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2,
    "llama.context_length": 4096, "tokenizer.ggml.tokens": ["a"] * 1000,
}  # fmt: skip
Q4_K, Q6_K, F32 = 12, 14, 0
TENSORS = [("token_embd.weight", (256, 1000), Q6_K), ("output_norm.weight", (256,), F32)]
TENSORS += [
    (f"blk.{layer}.{name}.weight", sides, Q4_K)
    for layer in range(2)
    for name, sides in (
        ("attn_q", (256, 256)), ("attn_k", (256, 128)), ("attn_v", (256, 128)), ("attn_output", (256, 256)),
        ("ffn_gate", (256, 512)), ("ffn_up", (256, 512)), ("ffn_down", (512, 256)),
    )
]  # fmt: skip
BYTES = {Q4_K: 144 / 256, Q6_K: 210 / 256, F32: 4}


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, list):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
    return struct.pack("<II", 4, value)


def _size(sides: tuple[int, ...], kind: int) -> int:
    elements = 1
    for side in sides:
        elements *= side
    return int(elements * BYTES[kind])


def gguf(
    keys: dict[str, Any] = KEYS, tensors: list[tuple[str, tuple[int, ...], int]] = TENSORS, *, missing: int = 0,
    step: float = 1.0,
) -> bytes:  # fmt: skip
    """A whole file; `missing` bytes are cut off its end, and offsets grow by `step` of each tensor's size."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    head += b"".join(_text(name) + _value(value) for name, value in keys.items())
    offset = 0
    for name, sides, kind in tensors:
        head += _text(name) + struct.pack(f"<I{len(sides)}Q", len(sides), *sides) + struct.pack("<IQ", kind, offset)
        offset += int(_size(sides, kind) * step) + -int(_size(sides, kind) * step) % 32
    head += b"\0" * (-len(head) % 32)
    return head + b"\0" * max(offset - missing, 0)


def _folder(path: Path, content: bytes) -> Path:
    (path / "model.gguf").write_bytes(content)
    return path


def test_a_file_weighs_what_its_table_says(tmp_path: Path) -> None:
    model = snapshot.read_folder(_folder(tmp_path, gguf()))
    shape = architecture_of(model)
    assert (shape.model_type, shape.hidden, shape.depth, shape.vocabulary, shape.tied) == ("llama", 256, 2, 1000, True)
    found = estimate_model(model, workload_from({}))
    assert (found.workload.method, found.workload.stack) == ("gguf", "llama.cpp")
    assert found.parts.weights == sum(_size(sides, kind) for _, sides, kind in TENSORS)
    other = estimate_model(model, workload_from({"gguf_level": "Q8_0"}))
    assert other.parts.weights > found.parts.weights


def test_layers_in_ram_follow_the_table_too(tmp_path: Path) -> None:
    model = snapshot.read_folder(_folder(tmp_path, gguf()))
    layer = sum(_size(sides, kind) for name, sides, kind in TENSORS if name.startswith("blk.1."))
    one = estimate_model(model, workload_from({"n_gpu_layers": 1}))
    assert one.parts.weights == layer + _size((256,), F32)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gguf(missing=1000), "its table describes"),
        (gguf(step=0.5), "overlaps"),
        (gguf()[:200], "ends before its table"),
        (gguf(tensors=[("a.weight", (250, 4), Q4_K)]), "impossible shape"),
        (gguf(tensors=[*TENSORS[:1], ("a.weight", (2**40, 2**20), F32)], missing=2**70), "impossible shape"),
    ],
)
def test_a_table_that_is_not_true_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    model = snapshot.read_folder(_folder(tmp_path, content))
    with pytest.raises(UsageError) as refused:
        estimate_model(model, workload_from({}))
    assert refused.value.code == "bad_gguf"
    assert says in refused.value.message


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail_otherwise(data: bytes) -> None:
    for start in (data, b"GGUF" + struct.pack("<IQQ", 3, 2, 2) + data):
        try:
            gguf_table.read(start)
        except (ValueError, gguf_table.NotWholeError):
            continue
