"""No key is dropped without a word: in every form a key that changes what is learned is read, or refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpick.datasets import forms, read, turns
from modelpick.datasets.examples import BadExampleError, Example
from modelpick.datasets.forms import example_from, read_record

CHAT = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
CALL = {"type": "function", "id": "c1", "function": {"name": "lookup", "arguments": '{"n": 7}'}}
TOOL = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}
# A record of each form, as plain as it can be: of each row of FORMS one or more.
PLAIN: dict[str, list[dict[str, Any]]] = {
    "OpenAI preference": [
        {"input": {"messages": CHAT[:1]}, "preferred_output": CHAT[1:],
         "non_preferred_output": [{**CHAT[1], "content": "three"}]}
    ],
    "preference": [
        {"prompt": "one", "chosen": "two", "rejected": "three"},
        {"prompt": CHAT[:1], "chosen": CHAT[1:], "rejected": [{"role": "assistant", "content": "three"}]},
        {"chosen": CHAT, "rejected": [CHAT[0], {"role": "assistant", "content": "three"}]},
        {"instruction": "one", "input": "", "chosen": "two", "rejected": "three"},
        {"conversations": [{"from": "human", "value": "one"}], "chosen": {"from": "gpt", "value": "two"},
         "rejected": {"from": "gpt", "value": "three"}},
    ],
    "thumbs": [{"instruction": "one", "output": "two", "kto_tag": True}, {"messages": CHAT, "kto_tag": False}],
    "labelled completion": [
        {"prompt": "one", "completion": "two", "label": True}, {"messages": CHAT, "label": 0},
        {"question": "one", "answer": "two", "label": True},
    ],
    "chat": [
        {"messages": CHAT}, {"conversations": [{"from": "human", "value": "one"}, {"from": "gpt", "value": "two"}]}
    ],
    "classification": [{"text": "one", "label": "two"}],
    "prompt and completion": [{"prompt": "one", "completion": "two"}, {"prompt": CHAT[:1], "completion": CHAT[1:]}],
    "prompt": [{"prompt": "one", "output": "two"}],
    "instruction": [{"instruction": "one", "output": "two"}, {"question": "one", "answer": "two"}],
    "text": [{"text": "one"}],
}  # fmt: skip
# A value for every key that changes what is learned, and what of the Example must then differ.
VALUES: dict[str, Any] = {
    "tools": [TOOL], "functions": [TOOL["function"]], "system": "Be kind.", "history": [["before", "then"]],
    "input": "more", "context": "more", "reasoning_content": "because", "reasoning": "because", "thinking": "because",
    **{key: ["something"] for key in forms.REFUSED},
}  # fmt: skip
RECORDS = [(name, record) for name, records in PLAIN.items() for record in records]


UNKNOWN = st.dictionaries(
    st.text(min_size=1, max_size=6),
    st.text(max_size=3) | st.integers() | st.lists(st.integers(), max_size=2),
    max_size=3,
)


def read_or_refused(record: Any) -> tuple[Example | None, frozenset[str], str]:
    """(example, keys not read, ""), or (None, none, the sentence of the refusal)."""
    try:
        example, _, ignored = read_record(record, 1)
    except BadExampleError as error:
        return None, frozenset(), str(error)
    return example, ignored, ""


def seen(example: Example) -> Any:
    return (example.turns, example.reply, example.tools, example.rejected, example.liked)


def test_every_form_has_a_record_here() -> None:
    assert set(PLAIN) == {row.name for row in forms.FORMS}
    for name, record in RECORDS:
        _, row, ignored = read_record(record, 1)
        assert (row.name, ignored) == (name, frozenset())


@pytest.mark.parametrize("key", sorted(VALUES))
@pytest.mark.parametrize(("name", "record"), RECORDS)
def test_a_key_that_changes_what_is_learned_is_read_or_refused(name: str, record: dict[str, Any], key: str) -> None:
    """With the key the example differs, or the record is refused with the key's name, or the key is reported."""
    if record.get(key):
        return
    example, ignored, refusal = read_or_refused({**record, key: VALUES[key]})
    if example is None:
        assert key in refusal
        return
    assert seen(example) != seen(example_from(record, 1)) or key in ignored
    assert key not in forms.REFUSED


@pytest.mark.parametrize("key", sorted(turns.MEANING - {"role", "from", "content", "value"} | set(turns.REFUSED)))
def test_a_key_of_a_turn_is_read_or_refused(key: str) -> None:
    value = {
        **dict.fromkeys(turns.FLAGS, 0), "tool_calls": [CALL], "function_call": CALL["function"], "name": "Ann",
        "tool_call_id": "c1",
    }.get(key, "because")  # fmt: skip
    chat = [*CHAT, {"role": "user", "content": "three"}, {"role": "assistant", "content": "four"}]
    for place in (1, 3):
        changed = [{**turn, key: value} if at == place else turn for at, turn in enumerate(chat)]
        example, ignored, refusal = read_or_refused({"messages": changed})
        named = key in refusal or f"messages[].{key}" in ignored
        assert named or seen(example) != seen(example_from({"messages": chat}, 1))


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(RECORDS), UNKNOWN)
def test_unknown_keys_are_always_named(named: tuple[str, dict[str, Any]], more: dict[str, Any]) -> None:
    name, record = named
    row = next(row for row in forms.FORMS if row.name == name)
    unknown = {key: value for key, value in more.items() if key not in row.reads and key not in record}
    _, ignored, refusal = read_or_refused({**unknown, **record})
    assert any(key in refusal for key in unknown) if refusal else unknown.keys() <= ignored


def test_flags_weights_and_roles_say_what_is_learned() -> None:
    for flag, quiet in (("weight", 0), ("train", False), ("training", False), ("loss", False)):
        wrong = {"role": "assistant", "content": "WRONG", flag: quiet}
        turns_ = [CHAT[0], wrong, {"role": "user", "content": "No."}, CHAT[1]]
        example = example_from({"messages": turns_}, 1)
        assert [turn.learned for turn in example.turns if turn.role == "assistant"] == [False]
        with pytest.raises(BadExampleError, match="not learned"):
            example_from({"messages": turns_[:2]}, 1)
    with pytest.raises(BadExampleError, match="weight"):
        example_from({"messages": [CHAT[0], {**CHAT[1], "weight": 0.5}]}, 1)
    with pytest.raises(BadExampleError, match="only answers"):
        example_from({"messages": [{**CHAT[0], "train": True}, CHAT[1]]}, 1)
    developer = example_from({"messages": [{"role": "developer", "content": "Be kind."}, *CHAT]}, 1)
    assert developer.turns[0].role == "system"


def test_tools_and_their_calls_are_the_same_in_every_shape() -> None:
    asked = {"role": "user", "content": "7?"}
    result = {"role": "tool", "content": "found", "tool_call_id": "c1"}
    called = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    openai = example_from({"tools": [TOOL], "messages": [asked, called, result, CHAT[1]]}, 1)
    turns_ = [("human", "7?"), ("function_call", '{"name": "lookup", "arguments": {"n": 7}}'), ("observation", "found"),
              ("gpt", "two")]  # fmt: skip
    tools = '[{"name": "lookup", "parameters": {"type": "object"}}]'
    conversations = [{"from": role, "value": text} for role, text in turns_]
    factory = example_from({"tools": tools, "system": "", "conversations": conversations}, 1)
    for example in (openai, factory):
        assert example.tool_definitions() == [TOOL]
        (call,) = example.turns[1].calls
        assert (call.name, call.arguments) == ("lookup", '{"n": 7}')
        assert example.turns[2].role == "tool"


def test_a_preference_is_the_same_pair_in_every_shape() -> None:
    for record in PLAIN["preference"]:
        example = example_from(record, 1)
        chosen, rejected = example.sides()
        assert [turn.content for turn in example.turns] == ["one"]
        assert (chosen.answer, rejected.answer) == ("two", "three")
    assert example_from(PLAIN["OpenAI preference"][0], 1).rejected
    assert [example_from(record, 1).liked for record in PLAIN["labelled completion"]] == [True, False, True]
    with pytest.raises(BadExampleError, match="same"):
        example_from({"prompt": "one", "chosen": "two", "rejected": "two\n"}, 1)


def test_what_is_not_read_is_named_once_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    rows = [{"prompt": f"q {n}", "completion": "a", **({"topic": "x"} if n > 2 else {})} for n in range(12)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = read.read_for_training(file)
    assert [problem.text for problem in data.problems] == ["topic is not read (9 lines, first in line 4)"]


def test_a_text_beside_another_text_is_not_guessed() -> None:
    with pytest.raises(BadExampleError, match="--columns prompt=text,completion=summary"):
        example_from({"text": "long", "summary": "short"}, 1)
    columns = {"prompt": "text", "completion": "Summary"}
    example = example_from(forms.renamed({"text": "long", "summary": "short"}, columns)[0], 1)
    assert (example.prompt, example.answer) == ("long", "short")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text"}, {"type": "text", "text": None}, {"type": "text", "content": "lost"}, {"text": 5}, "lost",
        {"type": "refusal", "refusal": "No."}, {"type": "tool_use", "name": "lookup", "input": {}},
        {"type": "image_url", "image_url": {"url": "x"}}, {"image": {"source": "x"}},
    ],
)  # fmt: skip
def test_a_part_of_a_content_is_text_or_refused_for_what_it_is(part: Any) -> None:
    """Nothing in a list of parts becomes an empty text, and only what is media is refused as media."""
    content = [{"type": "text", "text": "one "}, part]
    example, _, refusal = read_or_refused({"messages": [{"role": "user", "content": content}, CHAT[1]]})
    assert example is None
    assert ("images" in refusal) == ("image" in json.dumps(part))


@pytest.mark.parametrize("kind", [{}, {"type": "text"}, {"type": "input_text"}])
def test_parts_of_text_are_one_text_and_their_other_keys_are_named(kind: dict[str, str]) -> None:
    content = [{**kind, "text": "one "}, {**kind, "text": "two", "cache_control": {"type": "ephemeral"}}]
    example, ignored, _ = read_or_refused({"messages": [{"role": "user", "content": content}, CHAT[1]]})
    assert example is not None
    assert (example.prompt, ignored) == ("one two", {"messages[].content[].cache_control"})


def test_a_call_is_learned_with_its_arguments_or_refused() -> None:
    for key in ("input", "args", "kwargs"):
        for call in ({"name": "lookup", key: {"n": 7}}, {"function": {"name": "lookup"}, key: {"n": 7}}):
            with pytest.raises(BadExampleError, match=key):
                example_from({"messages": [CHAT[0], {"role": "assistant", "tool_calls": [call]}]}, 1)
    both = {"role": "assistant", "tool_calls": [CALL], "function_call": {"name": "other", "arguments": "{}"}}
    with pytest.raises(BadExampleError, match="tool_calls and function_call"):
        example_from({"messages": [CHAT[0], both]}, 1)
    anthropic = {"name": "lookup", "input_schema": {"type": "object"}}
    assert example_from({"messages": CHAT, "tools": [anthropic]}, 1).tool_definitions() == [TOOL]


def test_an_empty_answer_is_refused_wherever_it_stands() -> None:
    for place in (1, 3):
        chat = [*CHAT, {"role": "user", "content": "three"}, {"role": "assistant", "content": "four"}]
        chat[place] = {"role": "assistant", "content": " "}
        with pytest.raises(BadExampleError, match="empty"):
            example_from({"messages": chat}, 1)
    chat[1:3] = [{"role": "assistant", "content": "", "train": False}, chat[2]]
    assert example_from({"messages": [*chat[:3], CHAT[1]]}, 1).answer == "two"


def test_what_follows_the_last_learned_answer_is_named() -> None:
    for more in ({"role": "user", "content": "three"}, {"role": "assistant", "content": "three", "weight": 0}):
        _, ignored, _ = read_or_refused({"messages": [*CHAT, more]})
        assert ignored == {"what follows the last learned answer of a chat"}


def test_what_is_usual_is_no_reason_to_refuse() -> None:
    """A key that would be refused may stand there with the value that changes nothing, as programs write it."""
    for key, values in turns.USUAL.items():
        for value in values:
            if key in forms.REFUSED:
                assert seen(example_from({"messages": CHAT, key: value}, 1)) == seen(
                    example_from({"messages": CHAT}, 1)
                )
            if key in turns.REFUSED:
                example_from({"messages": [CHAT[0], {**CHAT[1], key: value}]}, 1)


def test_two_sides_answer_what_is_asked() -> None:
    """What a preference says twice, as UltraFeedback's prompt and messages do, is the same, or the line is refused."""
    no = {"role": "assistant", "content": "three"}
    sides: dict[str, Any] = {"chosen": CHAT, "rejected": [CHAT[0], no]}
    for asked in ({"prompt": "one", "messages": CHAT}, {"prompt": CHAT[:1]}, {"instruction": "one"}):
        example = example_from({**asked, **sides}, 1)
        assert ([turn.content for turn in example.turns], example.answer) == (["one"], "two")
    for asked in ({"prompt": "other"}, {"prompt": [{"role": "user", "content": "other"}]}, {"instruction": "other"}):
        with pytest.raises(BadExampleError, match="chosen"):
            example_from({**asked, **sides}, 1)
    with_system = example_from({"system": "Be kind.", "prompt": "one", **sides}, 1)
    assert [turn.content for turn in with_system.turns] == ["Be kind.", "one"]
    for judged in ({"chosen": [{**CHAT[1], "weight": 0}], "rejected": [no]},
                   {"completion": [{**CHAT[1], "weight": 0}], "label": True}):  # fmt: skip
        with pytest.raises(BadExampleError, match="weight"):
            example_from({"prompt": CHAT[:1], **judged}, 1)


def test_an_instruction_with_its_answer_stands_before_the_prompt_made_of_it() -> None:
    made, ignored, _ = read_or_refused({"prompt": "Below is one", "instruction": "one", "input": "", "output": "two"})
    assert made is not None
    assert (made.prompt, made.answer, ignored) == ("one", "two", {"prompt"})


def test_a_list_may_be_its_json_text() -> None:
    """A CSV has no other way to hold one."""
    listed = {"messages": json.dumps(CHAT), "tools": json.dumps([TOOL])}
    assert seen(example_from(listed, 1)) == seen(example_from({"messages": CHAT, "tools": [TOOL]}, 1))
    history = {"instruction": "one", "output": "two", "history": [["before", "then"]]}
    assert seen(example_from({**history, "history": json.dumps(history["history"])}, 1)) == seen(
        example_from(history, 1)
    )


def test_half_a_character_is_refused_wherever_it_stands() -> None:
    tool = {"type": "function", "function": {"name": "lookup", "description": "\ud800"}}
    result = {"role": "tool", "content": "x", "name": "\ud800"}
    for record in ({"messages": CHAT, "tools": [tool]}, {"messages": [CHAT[0], result, CHAT[1]]}):
        with pytest.raises(BadExampleError, match="surrogate"):
            example_from(record, 1)
