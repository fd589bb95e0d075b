"""What a chat template makes of an example: learned whole, or refused; tried on every template that TRL carries."""

from importlib.resources import files
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra train is absent")
from modelpick.datasets.examples import Example
from modelpick.datasets.forms import example_from
from modelpick.errors import UsageError
from modelpick.loading import chat_template
from modelpick.loading.chat_template import rendered
from modelpick.loading.tokenize import encode, tokenized
from tests import tiny_models

TEMPLATES = {
    path.name: path for path in files("trl").joinpath("chat_templates").iterdir() if path.name.endswith("jinja")
}
TEXT_ONLY = sorted(
    name for name in TEMPLATES if "vl" not in name and "training" not in name and "diffusion" not in name
)
USER = {"role": "user", "content": "Where is form seventeen?"}
ANSWER = {"role": "assistant", "content": "At desk  nine,\nSend It There. "}
THOUGHT = {**ANSWER, "reasoning_content": "Desks have numbers."}
CALL = {"type": "function", "function": {"name": "lookup", "arguments": {"number": 17}}}
TOOL = {
    "type": "function",
    "function": {
        "name": "lookup",
        "description": "d",
        "parameters": {"type": "object", "properties": {"number": {"type": "integer", "description": "n"}}},
    },
}
AGAIN = [{"role": "user", "content": "And eighteen?"}, {"role": "assistant", "content": "Ten."}]
WRONG = {"role": "assistant", "content": "WRONG", "train": False}
RECORDS: dict[str, dict[str, Any]] = {
    "one answer": {"messages": [USER, ANSWER]},
    "system": {"messages": [{"role": "system", "content": "You are a clerk."}, USER, ANSWER]},
    "two answers": {"messages": [USER, ANSWER, *AGAIN]},
    "a wrong answer": {"messages": [USER, WRONG, {"role": "user", "content": "No."}, ANSWER]},
    "thought": {"messages": [USER, THOUGHT]},
    "thought in text": {"messages": [USER, {**ANSWER, "content": "<think>Desks</think>At nine."}]},
    "tools": {"messages": [USER, ANSWER], "tools": [TOOL]},
    "a call": {"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}], "tools": [TOOL]},
}  # fmt: skip


def learned(example: Example, template: str) -> tuple[list[str], list[str], list[str]]:
    """(the learned parts, the texts, the codes of the errors)."""
    rows, problems = rendered(example, tiny_models.tokenizer(chat_template=template))
    parts = [row.text[start:end] for row in rows for start, end in row.learned]
    return parts, [row.text for row in rows], [problem.code for problem in problems if problem.severity == "error"]


@pytest.mark.parametrize("name", TEXT_ONLY)
def test_every_answer_is_learned_whole_or_the_example_is_refused(name: str) -> None:
    template = TEMPLATES[name].read_text(encoding="utf-8")
    for what, record in RECORDS.items():
        example = example_from(record, 1)
        parts, texts, errors = learned(example, template)
        if errors:
            assert not texts, what
            continue
        reply = example.reply
        assert reply is not None
        answers = [turn for turn in (*example.turns, reply) if turn.role == "assistant" and turn.learned]
        assert len(parts) == len(answers), what
        for part, turn in zip(parts, answers, strict=True):
            assert turn.content.removeprefix("<think>") in part, what  # which some prompts end with
            assert not turn.reasoning or turn.reasoning in part, what
            assert all(call.name in part and "17" in part for call in turn.calls), what
            assert "seventeen" not in part, what
            assert "WRONG" not in part, what
        for turn in example.turns:
            assert turn.content.strip() in texts[-1], what  # what is not learned is shown as it is in use: trimmed
        assert not example.tools or "lookup" in texts[-1], what


PLAIN = (
    "{% for m in messages %}<s>{{ m.role }}: {{ ANSWER }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)


@pytest.mark.parametrize(
    "changed",
    ["m.content | trim", "m.content | lower", "m.content.split('</think>')[-1]", "m.content | replace('  ', ' ')"],
)
def test_an_answer_that_a_template_changes_is_put_in_as_it_is_written(changed: str) -> None:
    answer = "<think>Hm.</think> At Desk  nine.\n"
    example = example_from({"messages": [USER, {"role": "assistant", "content": answer}]}, 1)
    tokenizer = tiny_models.tokenizer(chat_template=PLAIN.replace("ANSWER", changed))
    (row,), problems = rendered(example, tokenizer)
    (span,) = row.learned
    assert row.text[slice(*span)] == f"{answer}</s>"
    assert [problem.code for problem in problems] == ["answer_restored"]


@pytest.mark.parametrize(
    ("template", "code"),
    [
        (PLAIN.replace("ANSWER", "m.content[:5]"), "answer_lost"),
        (PLAIN.replace("ANSWER", "'' if m.role == 'assistant' else m.content"), "answer_lost"),
        (PLAIN.replace("ANSWER", "'' if m.role == 'system' else m.content"), "system_lost"),
        (PLAIN.replace("ANSWER", "'' if m.role == 'user' else m.content"), "turn_lost"),
        (PLAIN.replace("ANSWER", "raise_exception('no system')"), "template_refused"),
        (PLAIN.replace("ANSWER", "m.content"), "reasoning_lost"),
    ],
)
def test_what_a_template_loses_is_refused_by_name(template: str, code: str) -> None:
    turns = [{"role": "system", "content": "You are a clerk."}, USER, THOUGHT if code == "reasoning_lost" else ANSWER]
    example = example_from({"messages": turns}, 1)
    tokenizer = tiny_models.tokenizer(chat_template=template)
    _, problems = rendered(example, tokenizer)
    assert [problem.code for problem in problems] == [code]
    with pytest.raises(UsageError) as caught:
        encode([example], tokenizer, "decoder", 100)
    assert caught.value.code == code


def test_a_template_that_cannot_be_parsed_is_named() -> None:
    tokenizer = tiny_models.tokenizer(chat_template="{% for m in messages %}{{ m.content }")
    with pytest.raises(UsageError) as caught:
        tokenized([example_from(RECORDS["one answer"], 1)], tokenizer, "decoder")
    assert caught.value.code == "broken_template"


@pytest.mark.parametrize(
    ("template", "code"),
    [
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "stop_not_learned"),
        (PLAIN.replace("</s>", "</s></s>").replace("ANSWER", "m.content"), "doubled_special"),
    ],
)
def test_a_stop_token_is_learned_and_no_special_token_stands_twice(template: str, code: str) -> None:
    tokenizer = tiny_models.tokenizer(chat_template=template)
    made = tokenized([example_from(RECORDS["one answer"], 1)], tokenizer, "decoder")
    assert [problem.code for problem in made[0].problems] == [code]


def test_a_tokenizer_without_an_end_is_named() -> None:
    tokenizer = tiny_models.tokenizer()
    tokenizer.eos_token = None
    made = tokenized([example_from({"prompt": "one", "completion": "two"}, 1)], tokenizer, "decoder")
    assert [problem.code for problem in made[0].problems] == ["no_stop_token"]


def test_the_prompt_shows_tools_too() -> None:
    tokenizer = tiny_models.tokenizer(chat_template="{{ tools }}" + PLAIN.replace("ANSWER", "m.content"))
    assert "lookup" in chat_template.prompt_of(example_from(RECORDS["tools"], 1), tokenizer)


def _with_tools(system: str, result: str, name: str, **flags: Any) -> dict[str, Any]:
    call = {"type": "function", "id": "abcdefghi", "function": {"name": name, "arguments": {"number": 17}}}
    tool = {**TOOL, "function": {**TOOL["function"], "name": name}}
    asked = {"role": "tool", "content": result, "name": name, "tool_call_id": "abcdefghi"}
    turns = [USER, {"role": "assistant", "content": "", "tool_calls": [call], **flags}, asked, ANSWER]
    return {"messages": [{"role": "system", "content": system}, *turns], "tools": [tool]}


@pytest.mark.parametrize("name", [*TEXT_ONLY, "BARE"])
def test_what_the_answer_says_again_is_missed_as_well(name: str) -> None:
    """A system text, a tool's result and a tool are lost or not, whether or not other turns hold the same words."""
    template = BARE if name == "BARE" else TEMPLATES[name].read_text(encoding="utf-8")
    for flags in ({}, {"train": False}):
        alone = _with_tools("You are a clerk.", "It stands in hall twelve.", "find_a_desk", **flags)
        again = _with_tools("form seventeen", "nine", "desk", **flags)
        for one, other in ((alone, again), *zip(_parts_of(alone), _parts_of(again), strict=True)):
            expected, errors = (learned(example_from(record, 1), template)[2] for record in (one, other))
            assert bool(errors) == bool(expected), one  # which loss is named first may differ


def _parts_of(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The record with its system turn alone, with the tool's result alone, and with the tool offered alone."""
    system, asked, *called, answer = record["messages"]
    return [
        {"messages": [system, asked, answer]},
        {"messages": [asked, *called, answer]},
        {"messages": [asked, answer], "tools": record["tools"]},
    ]


BARE = (
    "{% for m in messages if m.role in ('user', 'assistant') %}<s>{{ m.role }}: {{ m.content }}"
    "{% for call in (m.tool_calls or [])[:1] %}{{ call.function | tojson }}{% endfor %}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)


def test_each_of_several_calls_is_learned_or_the_example_is_refused() -> None:
    calls = [{"type": "function", "function": {"name": "lookup", "arguments": {"number": n}}} for n in (17, 1)]
    example = example_from({"messages": [USER, {"role": "assistant", "content": "", "tool_calls": calls}]}, 1)
    assert learned(example, BARE)[2] == ["tool_call_lost"]
    parts, _, errors = learned(example, BARE.replace("[:1]", ""))
    assert (errors, parts[0].count("lookup")) == ([], 2)
