"""`serve --chat-template FILE`: what a server would fail on, or lose tools by, is refused before one is started."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelpick.errors import UsageError
from modelpick.offers.embedded import load_chat_parsers
from modelpick.serving import chat_template, source
from modelpick.serving.capabilities import ChatModel, abilities
from modelpick.serving.command import Served
from tests.serving.test_source import adapter, model
from tests.tiny_gguf import TEMPLATE

TABLE = load_chat_parsers()
# Joins the arguments as text, as some makers' templates do: an object there is an error.
AS_TEXT = TEMPLATE.replace("call.function.arguments | tojson", "'' + call.function.arguments")


@pytest.mark.parametrize(
    "text",
    [
        TEMPLATE,
        AS_TEXT,
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}",
        "{% for m in messages %}{% if loop.index > 9 %}{% break %}{% endif %}{% generation %}{{ m.content }}"
        "{% endgeneration %}{% endfor %}{{ strftime_now('%Y') }}",
    ],
)
def test_a_template_that_works_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.jinja").write_text(text)
    assert chat_template.read(tmp_path / "t.jinja") == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{% for m in messages %}{{ m.content }}", "plain question"),  # no end
        ("{{ messages[0].content | no_such_filter }}", "plain question"),
        ("{{ raise_exception('no') }}", "no"),
        ("{{ messages[0].content.__class__.__mro__ }}{{ messages[0].content }}", "unsafe"),
        ("{{ messages.append(1) }}{{ messages[0].content }}", "plain question"),  # nothing may be changed
        ("hello", "what the user asks"),
        ("", "what the user asks"),
        ("{% if tools %}{{ tools[0].nothing.name }}{% endif %}{{ messages[0].content }}", "with a tool"),
        (
            "{% if tools %}there are{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}",
            "a tool or its answer",
        ),
        ("{% if tools %}{{ tools | tojson }}{% endif %}{{ messages[0].content }}", "a tool or its answer"),
    ],
)
def test_a_template_that_would_fail_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "t.jinja").write_text(text)
    with pytest.raises(UsageError) as caught:
        chat_template.read(tmp_path / "t.jinja")
    assert caught.value.code == "bad_template"
    assert why in caught.value.message


def test_a_template_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\0")
    for path in (tmp_path / "none", tmp_path, tmp_path / "binary"):
        with pytest.raises(UsageError) as caught:
            chat_template.read(path)
        assert caught.value.code == "no_template"


@pytest.mark.parametrize("row", [row for row in TABLE.family if row.template], ids=lambda row: row.template)
def test_every_family_that_lacks_its_template_takes_tools_by_it(row: Any) -> None:
    names = [("org/" + row.ids[0]).replace("\\", "").replace("^", "").replace("$", "")] if row.ids else ["org/m"]
    plain = ChatModel((*row.families, "llama")[0], names, "{{ messages }}")
    able = abilities(type(TABLE)(TABLE.vllm, TABLE.llama_cpp, TABLE.transformers, (row,)), "vllm", plain)
    given = ChatModel(plain.model_type, names, TEMPLATE, template_file="chat_template.jinja")
    with_it = abilities(type(TABLE)(TABLE.vllm, TABLE.llama_cpp, TABLE.transformers, (row,)), "vllm", given)
    if with_it.tools:
        assert with_it.flags[-2:] == ("--chat-template", "chat_template.jinja")
        assert with_it.flags.count("--chat-template") == 1
        assert able.tools or "--chat-template" in able.why["tools"]
    toolless = ChatModel(plain.model_type, names, "{{ messages }}", template_file="chat_template.jinja")
    lacks = abilities(type(TABLE)(TABLE.vllm, TABLE.llama_cpp, TABLE.transformers, (row,)), "vllm", toolless)
    assert row.flags or not lacks.tools


def test_each_engine_is_told_of_it() -> None:
    for engine, flag in (("vllm", "--chat-template"), ("llama.cpp", "--chat-template-file")):
        given = ChatModel("llama", ["org/m"], TEMPLATE, template_file="chat_template.jinja")
        able = abilities(TABLE, engine, given)  # type: ignore[arg-type]
        assert able.flags[able.flags.index(flag) + 1] == "chat_template.jinja"
        assert flag not in abilities(TABLE, engine, ChatModel("llama", ["org/m"], TEMPLATE)).flags  # type: ignore[arg-type]


@pytest.mark.parametrize("tuned", [False, True])
def test_transformers_finds_it_in_the_folders_that_it_serves(tmp_path: Path, tuned: bool) -> None:
    base = model(tmp_path / "base")
    (base / "chat_template.jinja").write_text("old")
    on_it = adapter(tmp_path / "tuned", base) if tuned else None
    served = Served("base", base, "tuned" if tuned else None, on_it)
    source.lay_out(served, tmp_path / "models", TEMPLATE)
    for name in served.names:
        assert (tmp_path / "models" / name / "chat_template.jinja").read_text() == TEMPLATE
        assert json.loads((tmp_path / "models" / name / "config.json").read_text())["hidden_size"] == 8
        assert (tmp_path / "models" / name / "adapter_config.json").exists() == (name == "tuned")
    assert (base / "chat_template.jinja").read_text() == "old"
    source.lay_out(served, tmp_path / "models")
    assert (tmp_path / "models" / "base" / "chat_template.jinja").read_text() == "old"
