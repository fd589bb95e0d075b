"""What MODEL or RUN means, and that an adapter belongs to its base: told from headers, without torch."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from modelpick.errors import UsageError
from modelpick.serving import source
from tests.cli.conftest import Run

RECORD: dict[str, Any] = {"schema_version": 1, "settings": {"model": "base", "data": "d.jsonl", "output": "run"}}


def safetensors(file: Path, shapes: dict[str, list[int]]) -> None:
    """A file with a true header and zeros for weights."""
    at, header = 0, {}
    for name, shape in shapes.items():
        size = 2 * shape[0] * shape[1]
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))


def model(folder: Path, hidden: int = 8) -> Path:
    folder.mkdir()
    config = {
        "model_type": "llama", "hidden_size": hidden, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "vocab_size": 32, "max_position_embeddings": 4608,
        "architectures": ["LlamaForCausalLM"],
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    safetensors(folder / "model.safetensors", {"model.layers.0.self_attn.q_proj.weight": [hidden, hidden]})
    return folder


def adapter(folder: Path, base: Path, inputs: int = 8, rank: int = 4, module: str = "self_attn.q_proj") -> Path:
    folder.mkdir(parents=True)
    config = {"base_model_name_or_path": str(base), "r": rank, "rank_pattern": {"q_proj": rank * 2}}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    name = f"base_model.model.model.layers.0.{module}.lora_A.weight"
    safetensors(folder / "adapter_model.safetensors", {name: [rank, inputs]})
    return folder


def run(folder: Path, base: Path, status: str = "done") -> Path:
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(RECORD | {"settings": {**RECORD["settings"], "model": str(base)}}))
    result = {"status": status, "model": "/somewhere/else/tuned"}
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_a_model_folder(tmp_path: Path) -> None:
    found = source.find(str(model(tmp_path / "Base Model")))
    assert found.served.names == ("Base-Model",)
    assert found.base.license == "apache-2.0"


def test_a_finished_run_is_the_tuned_model_beside_its_base(tmp_path: Path) -> None:
    base, folder = model(tmp_path / "base"), tmp_path / "run"
    run(folder, base)
    adapter(folder / "tuned", base)
    found = source.find(str(folder))
    assert found.served.names == ("tuned", "base")
    assert found.served.adapter == (folder / "tuned").resolve()
    assert found.served.rank == 8
    assert found.judged == str(base)


@pytest.mark.parametrize(
    "record",
    [{}, {"schema_version": 1}, {"schema_version": 99, "settings": RECORD["settings"]}, RECORD | {"settings": []},
     RECORD | {"settings": {}}, RECORD | {"settings": {**RECORD["settings"], "model": ["x"]}}],
)  # fmt: skip
def test_a_run_file_of_another_shape_is_refused_in_a_sentence(
    tmp_path: Path, modelpick: Run, record: dict[str, Any]
) -> None:
    folder = run(tmp_path / "run", model(tmp_path / "base"))
    (folder / "run.json").write_text(json.dumps(record))
    with pytest.raises(UsageError):
        source.find(str(folder))
    answer = modelpick("serve", str(folder), "--offline", "--json")
    assert answer.code == 2
    assert answer.error["code"] != "defect"


@pytest.mark.parametrize(
    "ranks",
    [{"r": "x"}, {"r": float("nan")}, {"r": []}, {"r": -1}, {"r": 1.5}, {"r": True}, {"rank_pattern": 3},
     {"rank_pattern": {"q": None}}, {"rank_pattern": [4]}],
)  # fmt: skip
def test_a_rank_that_is_none_is_refused_in_a_sentence(tmp_path: Path, ranks: dict[str, Any]) -> None:
    base = model(tmp_path / "base")
    tuned = adapter(tmp_path / "tuned", base)
    file = tuned / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | ranks))
    with pytest.raises(UsageError) as refused:
        source.find(str(base), adapter=tuned)
    assert refused.value.code == "bad_adapter"


@pytest.mark.parametrize(
    "header", ["[]", "1", '{"a": 1}', '{"a": {}}', '{"a": {"shape": 3}}', '{"a": {"shape": ["x", 1]}}']
)
def test_weights_whose_header_has_another_shape_are_left_to_the_server(tmp_path: Path, header: str) -> None:
    base = model(tmp_path / "base")
    tuned = adapter(tmp_path / "tuned", base)
    (tuned / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode())
    assert source.find(str(base), adapter=tuned).served.adapter == tuned.resolve()


def test_an_unfinished_run_is_not_served(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", model(tmp_path / "base"), status="interrupted")
    with pytest.raises(UsageError) as refused:
        source.find(str(folder))
    assert refused.value.code == "unfinished_run"
    assert "--resume" in refused.value.fix


def test_an_adapter_of_another_base_of_the_same_shapes_is_doubted(tmp_path: Path) -> None:
    own, other = model(tmp_path / "own"), model(tmp_path / "other")
    tuned = adapter(tmp_path / "tuned", own)
    assert source.find(str(own), adapter=tuned).doubt is None
    assert source.find(str(tuned)).doubt is None
    assert str(own) in str(source.find(str(other), adapter=tuned).doubt)


@pytest.mark.parametrize("changes", [{"inputs": 16}, {"module": "mlp.router"}])
def test_an_adapter_of_another_base_is_refused_by_its_shapes(tmp_path: Path, changes: dict[str, object]) -> None:
    base = model(tmp_path / "base")
    other = adapter(tmp_path / "adapter", tmp_path / "another", **changes)  # type: ignore[arg-type]
    with pytest.raises(UsageError) as refused:
        source.find(str(base), adapter=other)
    assert refused.value.code == "other_base"
    assert "another" in refused.value.message


def test_an_adapter_of_this_base_passes(tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    found = source.find(str(base), adapter=adapter(tmp_path / "mine", base))
    assert found.served.names == ("mine", "base")


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder"])
def test_a_folder_that_is_not_there(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        source.find(name)
    assert refused.value.code == "no_model"


def test_each_name_is_laid_out_as_a_folder_and_again_without_leftovers(tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    found = source.find(str(base), adapter=adapter(tmp_path / "mine", base))
    source.lay_out(found.served, tmp_path / "models")
    source.lay_out(found.served, tmp_path / "models")
    tuned = tmp_path / "models" / "mine"
    assert {file.name for file in tuned.iterdir()} == {
        "config.json", "README.md", "model.safetensors", "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip
    assert (tmp_path / "models" / "base" / "config.json").is_file()
    source.lay_out(source.find(str(base)).served, tmp_path / "models")
    assert [file.name for file in (tmp_path / "models").iterdir()] == ["base"]
    assert (base / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("files", "task"),
    [
        ({}, "generate"),
        ({"README.md": "---\nlicense: apache-2.0\npipeline_tag: text-generation\n---\n"}, "generate"),
        ({"README.md": "---\nlicense: apache-2.0\npipeline_tag: sentence-similarity\n---\n"}, "embed"),
        ({"README.md": "---\nlicense: apache-2.0\npipeline_tag: text-ranking\n---\n"}, "rank"),
        ({"modules.json": "[]"}, "embed"),
        ({"modules.json": "[]", "config.json": {"architectures": ["LlamaForSequenceClassification"]}}, "rank"),
    ],
)
def test_what_a_model_is_served_for_is_told_by_its_files(tmp_path: Path, files: dict[str, Any], task: str) -> None:
    folder = model(tmp_path / "base")
    for name, content in files.items():
        if isinstance(content, dict):
            content = json.dumps({**json.loads((folder / name).read_text()), **content})
        (folder / name).write_text(content)
    assert source.task_of(source.find(str(folder))) == task
    tuned = source.find(str(folder), adapter=adapter(tmp_path / "tuned", folder))
    assert source.task_of(tuned) == "generate"


def test_the_catalogs_models_that_embed_or_rank_are_served_for_that(tmp_path: Path) -> None:
    from dataclasses import replace

    from modelpick.catalog import index

    found = source.find(str(model(tmp_path / "base")))
    tasks = {"embedding": "embed", "reranking": "rank", "text": "generate", "vision-language": "generate"}
    seen = set()
    for id, row in index.load().models.items():
        if (task := tasks.get(row.kind)) is not None:
            seen.add(task)
            assert source.task_of(replace(found, judged=id)) == task, id
    assert seen == {"embed", "rank", "generate"}
