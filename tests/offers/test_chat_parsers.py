"""The table of parsers: every name exists where it is used, and what a family writes is what its parser reads."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from modelpick.catalog import index
from modelpick.errors import UsageError
from modelpick.offers.chat_parsers import ChatParsers, before, find, for_version, lists, table_from
from modelpick.offers.embedded import load_chat_parsers

TABLE = load_chat_parsers()
TEMPLATES = json.loads((Path(__file__).parent / "data" / "chat_templates.json").read_text())["models"]


def unlisted(table: ChatParsers) -> list[str]:
    """Parser names of the rows that the newest vLLM that was read does not list."""
    pairs = [(row.tool_parser, table.vllm.tool_parsers) for row in table.family]
    pairs += [(row.reasoning_parser, table.vllm.reasoning_parsers) for row in table.family]
    return [name for name, listed in pairs if name is not None and not lists(listed, name, table.vllm.read)]


def contradicted(table: ChatParsers) -> list[str]:
    """Models that get one parser by their id alone and another once their template is at hand."""
    wrong = []
    for known in TEMPLATES:
        text = "\n".join(known["contains"])
        by_id = find(table, known["model_type"], [known["model"]], None)
        by_template = find(table, known["model_type"], [known["model"]], text)
        if by_id is not None and by_id != by_template:
            wrong.append(known["model"])
    return wrong


def test_every_parser_is_one_of_vllms_own() -> None:
    assert unlisted(TABLE) == []
    assert all(before(span[0], TABLE.vllm.read) for span in TABLE.vllm.tool_parsers.values())


def test_every_row_says_where_it_is_from_and_is_reached() -> None:
    ids = [(str((model.config or {}).get("model_type", "")), id) for id, model in index.load().models.items()]
    beyond = {"granite-20b-functioncalling", "longcat-flash-chat", "gigachat3-", "muse-glimmer-"}  # not in the catalog
    for row in TABLE.family:
        assert re.match(r"(docs|recipes|wheel), \S", row.source), row
        assert row.tool_parser or row.reasoning_parser
        assert row.ids or row.marker, row
        assert (row.template is None) or re.fullmatch(r"tool_chat_template_\w+(\.\d+\w*)?\.jinja", row.template)
        reached = [id for kind, id in ids if find(TABLE, kind, [id], None) == row]
        assert reached or not row.ids or set(row.ids) & beyond or "mellum" in row.families, row


def test_what_the_template_writes_is_what_the_parser_reads() -> None:
    assert contradicted(TABLE) == []
    assert len([known for known in TEMPLATES if find(TABLE, known["model_type"], [known["model"]], None)]) > 30


def test_a_wrong_row_is_found() -> None:
    """A name that vLLM does not have, and two families that changed places."""
    misspelt = replace(TABLE, family=(*TABLE.family[:-1], replace(TABLE.family[-1], tool_parser="hermes2")))
    assert unlisted(misspelt) == ["hermes2"]
    llama = next(row for row in TABLE.family if row.tool_parser == "llama3_json" and row.ids)
    qwen = next(row for row in TABLE.family if row.source == "docs, Qwen models")
    changed = [
        replace(row, families=qwen.families, ids=qwen.ids) if row is llama
        else replace(row, families=llama.families, ids=llama.ids) if row is qwen
        else row
        for row in TABLE.family
    ]  # fmt: skip
    assert "Qwen/Qwen2.5-7B-Instruct" in contradicted(replace(TABLE, family=tuple(changed)))


@pytest.mark.parametrize(
    ("model_type", "id", "tool", "reasoning"),
    [
        ("qwen2", "Qwen/Qwen2.5-7B-Instruct", "hermes", None),
        ("qwen3", "Qwen/Qwen3-8B-AWQ", "hermes", "qwen3"),
        ("qwen3", "/data/int4-models/Qwen3-8B", "hermes", "qwen3"),
        ("qwen3_moe", "Qwen/Qwen3-30B-A3B-Instruct-2507", "hermes", None),
        ("llama", "meta-llama/Llama-3.1-8B-Instruct@main", "llama3_json", None),
        ("llama", "NousResearch/Hermes-3-Llama-3.1-8B", "hermes", None),
        ("gpt_oss", "openai/gpt-oss-20b", "openai", "openai_gptoss"),
        ("deepseek_v32", "deepseek-ai/DeepSeek-V3.2-NVFP4", "deepseek_v32", "deepseek_v3"),
        ("llama", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", None, "deepseek_r1"),
        ("zamba2", "Zyphra/Zamba2-7B-Instruct", None, None),
        ("llama", "meta-llama/Meta-Llama-3-8B-Instruct", None, None),
        ("llama", "meta-llama/Llama-3.1-8B", None, None),
        ("deepseek_v32", "deepseek-ai/DeepSeek-V3.2-Speciale", None, None),
    ],
)
def test_well_known_models(model_type: str, id: str, tool: str | None, reasoning: str | None) -> None:
    row = find(TABLE, model_type, [id], None)
    assert (row.tool_parser if row else None, row.reasoning_parser if row else None) == (tool, reasoning)


def test_a_tuned_model_is_read_by_its_template_or_by_its_parent() -> None:
    chatml = "tools ... <tool_call>"
    assert (found := find(TABLE, "llama", ["/models/ours"], chatml)) is not None
    assert found.tool_parser == "hermes"
    assert find(TABLE, "llama", ["/models/ours"], None) is None
    parent = find(TABLE, "llama", ["us/ours", "meta-llama/Llama-3.1-8B-Instruct"], None)
    assert parent is not None
    assert parent.tool_parser == "llama3_json"
    # Trained on with another template: what it writes now counts, not what its parent wrote.
    again = find(TABLE, "llama", ["us/ours", "meta-llama/Llama-3.1-8B-Instruct"], chatml)
    assert again is not None
    assert again.tool_parser == "hermes"


def test_an_older_vllm_gets_only_the_parsers_that_it_has() -> None:
    gemma = find(TABLE, "gemma4", ["google/gemma-4-31B-it"], None)
    assert gemma is not None
    assert for_version(TABLE, gemma, "0.18.1").tool_parser is None
    assert for_version(TABLE, gemma, "0.19.0").tool_parser == "gemma4"
    assert for_version(TABLE, gemma, None).reasoning_parser == "gemma4"
    gone = TABLE.vllm.tool_parsers
    assert lists(gone, "minimax", "0.23.0")
    assert not lists(gone, "minimax", "0.24.0")
    assert not lists(gone, "nobody", "0.32.0")


def test_a_row_with_a_wrong_key_is_refused() -> None:
    with pytest.raises(UsageError):
        table_from({"family": [{"source": "docs, x", "toolparser": "hermes"}]})
