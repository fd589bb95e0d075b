"""Headers of weight files: exact counts, and refusals of what cannot be."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.catalog import headers


def _header(tensors: dict[str, Any]) -> bytes:
    return json.dumps(tensors).encode()


def test_parameters_are_counted_by_dtype() -> None:
    header = _header(
        {
            "__metadata__": {"format": "pt"},
            "embed": {"dtype": "BF16", "shape": [100, 8], "data_offsets": [0, 1600]},
            "scale": {"dtype": "F32", "shape": [], "data_offsets": [1600, 1604]},
            "norm": {"dtype": "BF16", "shape": [8], "data_offsets": [1604, 1620]},
        }
    )
    counts = headers.parameters_by_dtype(header)
    assert counts == {"BF16": 808, "F32": 1}
    assert headers.total_parameters(counts) == 809


@pytest.mark.parametrize(
    ("name", "dtype", "shape"),
    [
        ("h.0.attn.bias", "F32", [1, 1, 1024, 1024]),
        ("gpt_neox.layers.0.attention.bias", "U8", [1, 1, 2048, 2048]),
        ("gpt_neox.layers.0.attention.masked_bias", "F32", []),
        ("gpt_neox.layers.0.attention.rotary_emb.inv_freq", "F32", [16]),
        ("embeddings.position_ids", "I64", [1, 512]),
        ("batch_norm.num_batches_tracked", "I64", []),
    ],
)
def test_a_mask_or_another_buffer_is_no_parameter(name: str, dtype: str, shape: list[int]) -> None:
    weight = {"h.0.attn.c_attn.bias": {"dtype": "F32", "shape": [2304]}}
    counts = headers.parameters_by_dtype(_header({**weight, name: {"dtype": dtype, "shape": shape}}))
    assert headers.total_parameters(counts) == 2304


def test_packed_weights_have_a_count_by_dtype_but_no_total() -> None:
    assert headers.total_parameters({"BF16": 10, "U8": 4}) is None
    assert headers.total_parameters({"I32": 10}) is None
    assert headers.total_parameters({}) is None
    assert headers.total_parameters({"I8": 10, "F32": 1}) == 11


@pytest.mark.parametrize(
    "header",
    [b"", b"[]", b"{", b"\xff\xfe", _header({"a": 1}), _header({"a": {"dtype": "F32", "shape": [-1]}}),
     _header({"a": {"dtype": "F32", "shape": [2**60]}}), _header({"a": {"dtype": 3, "shape": []}}),
     _header({"a": {"dtype": "F32", "shape": [1.5]}}), b"[" * 100_000],
)  # fmt: skip
def test_a_header_that_cannot_be_is_refused(header: bytes) -> None:
    with pytest.raises(ValueError, match=r"header|tensor"):
        headers.parameters_by_dtype(header)


@pytest.mark.parametrize("first", [b"", b"1234567", struct.pack("<Q", 0), struct.pack("<Q", 2**40), b"\xff" * 8])
def test_a_header_length_that_cannot_be_is_refused(first: bytes) -> None:
    with pytest.raises(ValueError, match="header"):
        headers.safetensors_header_length(first)


@pytest.mark.parametrize(
    ("names", "index", "chosen"),
    [
        (["model.safetensors", "consolidated.safetensors"], None, ("model.safetensors",)),
        (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "consolidated.safetensors"], None,
         ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")),
        (["adapter_model.safetensors"], None, ("adapter_model.safetensors",)),
        (["weird.safetensors"], None, ("weird.safetensors",)),
        (["a.safetensors", "b.safetensors"], None, ()),
        (["sub/model.safetensors"], None, ()),
        (["x.safetensors"], {"weight_map": {"t": "b", "u": "a", "v": "a"}}, ("a", "b")),
        (["model.safetensors"], {"weight_map": 3}, ("model.safetensors",)),
    ],
)  # fmt: skip
def test_each_weight_is_counted_once(names: list[str], index: dict[str, Any] | None, chosen: tuple[str, ...]) -> None:
    assert headers.weight_files(names, index) == chosen


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def gguf(entries: dict[str, str], version: int = 3) -> bytes:
    """A GGUF file's start with string entries only, a number first and a vocabulary last."""
    body = _string("general.alignment") + struct.pack("<II", 4, 32)
    for key, value in entries.items():
        body += _string(key) + struct.pack("<I", 8) + _string(value)
    body += _string("general.tags") + struct.pack("<IIQ", 9, 8, 2) + _string("a") + _string("b")
    body += _string("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 10**9)
    return b"GGUF" + struct.pack("<IQQ", version, 1, len(entries) + 3) + body


def test_general_keys_of_a_gguf_file_are_read() -> None:
    start = gguf({"general.license": "llama3.1", "general.base_model.0.repo_url": "https://huggingface.co/a/b"})
    assert headers.gguf_general(start) == {
        "general.alignment": 32,
        "general.license": "llama3.1",
        "general.base_model.0.repo_url": "https://huggingface.co/a/b",
        "general.tags": ["a", "b"],
    }


def test_a_cut_gguf_header_gives_what_came_before_the_cut() -> None:
    start = gguf({"general.license": "mit", "general.name": "x" * 1000})
    assert headers.gguf_general(start[:200]) == {"general.alignment": 32, "general.license": "mit"}


@pytest.mark.parametrize("start", [b"", b"GGUF", b"GGML" + b"\0" * 40, gguf({}, version=1), gguf({}, version=99)])
def test_what_is_no_gguf_file_is_refused(start: bytes) -> None:
    with pytest.raises(ValueError, match="GGUF"):
        headers.gguf_general(start)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_gguf_reader_fail_otherwise(data: bytes) -> None:
    headers.gguf_general(b"GGUF" + struct.pack("<IQQ", 3, 1, 5) + data)
