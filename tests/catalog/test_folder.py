"""Local folders, whole and damaged: a Model, a Model with notes, or one sentence with a fix."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from modelpick.catalog import folder as snapshot
from modelpick.catalog.model import BaseModel
from modelpick.errors import UsageError
from tests.catalog.test_headers import gguf

CONFIG = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2}


def _folder(path: Path, **files: str | bytes | dict[str, Any]) -> Path:
    for name, content in files.items():
        file = path / name.replace("__", ".")
        if isinstance(content, dict):
            content = json.dumps(content)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _safetensors(**tensors: tuple[str, list[int]]) -> bytes:
    header = json.dumps({name: {"dtype": dtype, "shape": shape} for name, (dtype, shape) in tensors.items()}).encode()
    return struct.pack("<Q", len(header)) + header + b"weights are never read"


def test_a_whole_folder(tmp_path: Path) -> None:
    model = snapshot.read_folder(
        _folder(
            tmp_path,
            config__json=CONFIG,
            README__md="---\nlicense: llama3.1\nbase_model: a/b\n---\nText",
            LICENSE="the terms",
            model__safetensors=_safetensors(a=("BF16", [4, 5]), b=("F32", [2])),
        )
    )
    assert (model.origin, model.id, model.revision) == ("folder", str(tmp_path), None)
    assert model.config == CONFIG
    assert model.license == "llama3.1"
    assert model.base_models == (BaseModel("a/b", "unknown"),)
    assert model.texts["LICENSE"] == "the terms"
    assert (model.parameters, model.parameters_exact, model.parameters_by_dtype) == (22, True, {"BF16": 20, "F32": 2})
    assert model.sources["license"] == "README.md"
    assert model.sources["config.hidden_size"] == "config.json"
    assert model.sources["parameters"] == "safetensors headers"
    assert model.notes == ()


def test_shards_are_added_up_by_their_index(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    _folder(tmp_path, config__json=CONFIG)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "model-1.safetensors").write_bytes(_safetensors(a=("BF16", [3])))
    (tmp_path / "consolidated.safetensors").write_bytes(_safetensors(a=("BF16", [1000])))
    assert snapshot.read_folder(tmp_path).parameters is None, "a shard is missing: no count is better than a low one"
    (tmp_path / "model-2.safetensors").write_bytes(_safetensors(b=("BF16", [4])))
    assert snapshot.read_folder(tmp_path).parameters == 7


def test_packed_weights_are_not_counted_as_parameters(tmp_path: Path) -> None:
    model = snapshot.read_folder(
        _folder(tmp_path, config__json=CONFIG, model__safetensors=_safetensors(a=("I32", [10]), b=("F16", [2])))
    )
    assert model.parameters is None
    assert model.parameters_by_dtype == {"F16": 2, "I32": 10}
    assert any("packed" in note for note in model.notes)


def test_an_adapter_names_its_base_even_where_the_card_does_not(tmp_path: Path) -> None:
    adapter = {"base_model_name_or_path": "meta-llama/Llama-2-7b-hf"}
    model = snapshot.read_folder(
        _folder(tmp_path, adapter_config__json=adapter, adapter_model__safetensors=_safetensors(a=("F32", [5])))
    )
    assert model.base_models == (BaseModel("meta-llama/Llama-2-7b-hf", "adapter"),)
    assert model.sources["base_models"] == "adapter_config.json"
    assert model.parameters is None, "an adapter's few parameters are not the model's"


def test_an_adapter_whose_card_names_another_base_keeps_both(tmp_path: Path) -> None:
    model = snapshot.read_folder(
        _folder(
            tmp_path,
            README__md="---\nlicense: mit\nbase_model: nice/model\n---\n",
            adapter_config__json={"base_model_name_or_path": "nasty/model"},
        )
    )
    assert {base.id for base in model.base_models} == {"nice/model", "nasty/model"}
    assert model.conflicts[0].field == "base_models"


def test_a_folder_with_a_card_only_can_be_judged_and_says_what_is_missing(tmp_path: Path) -> None:
    model = snapshot.read_folder(_folder(tmp_path, README__md="---\nlicense: mit\n---\n"))
    assert model.license == "mit"
    assert model.config is None
    assert "no config.json" in model.notes[0]


def test_the_commit_of_a_cache_folder_is_its_revision(tmp_path: Path) -> None:
    folder = tmp_path / "snapshots" / ("a1" * 20)
    folder.mkdir(parents=True)
    assert snapshot.read_folder(_folder(folder, config__json=CONFIG)).revision == "a1" * 20


def test_a_gguf_header_is_evidence_too(tmp_path: Path) -> None:
    model = snapshot.read_folder(_folder(tmp_path, m__gguf=gguf({"general.license": "cc-by-nc-4.0"})))
    assert model.gguf is not None
    assert model.gguf["general.license"] == "cc-by-nc-4.0"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "line 1"),
        ("", "line 1"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a": ' + "9" * 5000 + "}", "limit"),
        ('{"a": ' + "[" * 100_000 + "}", "nested"),
        (b"\xff\xfe\x00\x01", "line 1"),
        ('{"a": "' + "x" * 4_000_001 + '"}', "larger than"),
    ],
)
def test_a_broken_config_is_one_sentence_and_a_fix(tmp_path: Path, content: str | bytes, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        snapshot.read_folder(_folder(tmp_path, config__json=content))
    assert caught.value.code == "bad_json"
    assert says in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.fix


def test_escaped_surrogates_do_not_reach_any_output(tmp_path: Path) -> None:
    config = snapshot.read_folder(
        _folder(tmp_path, config__json='{"a\\ud800": ["\\uDFFF"], "b": "\\ud83d\\ude00"}')
    ).config
    assert config == {"a?": ["?"], "b": "\U0001f600"}


def test_a_config_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + json.dumps(CONFIG).encode()
    assert snapshot.read_folder(_folder(tmp_path, config__json=content)).config == CONFIG


def test_no_folder_and_an_empty_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        snapshot.read_folder(tmp_path / "absent")
    with pytest.raises(UsageError, match="is not a folder"):
        snapshot.read_folder(_folder(tmp_path, file="x") / "file")
    (tmp_path / "file").unlink()
    with pytest.raises(UsageError) as caught:
        snapshot.read_folder(tmp_path)
    assert caught.value.code == "no_model_here"


def test_damaged_weights_and_texts_are_notes_not_errors(tmp_path: Path) -> None:
    model = snapshot.read_folder(
        _folder(
            tmp_path,
            config__json=CONFIG,
            LICENSE=b"\x00\x01\x02binary",
            NOTICE="café".encode("latin-1"),
            model__safetensors=b"\xff" * 100,
            m__gguf=b"GGML",
        )
    )
    assert model.parameters is None
    assert "LICENSE" not in model.texts
    assert model.texts["NOTICE"] == "café"
    assert len(model.notes) == 3
    assert [each.name for each in model.unread] == ["LICENSE"]
