"""The split by what is asked: no question on both sides, the share as near as whole groups come, never none unsaid."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpick.datasets.examples import Example, Turn
from modelpick.datasets.forms import example_from
from modelpick.datasets.split import asked_key, read_data, split
from modelpick.errors import UsageError


def chat(*said: str, system: str | None = None) -> dict[str, object]:
    roles = ["user" if number % 2 == 0 else "assistant" for number in range(len(said))]
    turns = [{"role": role, "content": text} for role, text in zip(roles, said, strict=True)]
    return {"messages": [*([{"role": "system", "content": system}] if system else []), *turns]}


def examples(*records: dict[str, object]) -> list[Example]:
    return [example_from(record, line) for line, record in enumerate(records, 1)]


LETTER = st.sampled_from("abcdefgh")
CHATS = st.builds(
    lambda asked, system: chat(*(text for one in asked for text in (one, f"{one} it is")), system=system),
    st.lists(LETTER, min_size=1, max_size=3),
    st.sampled_from([None, "You are terse.", "You are kind."]),
)
ONE_QUESTION = st.builds(lambda asked: {"instruction": asked, "output": f"{asked}!"}, LETTER)
TEXTS = st.builds(lambda text: {"text": text}, st.text("abc ", min_size=1, max_size=3).filter(str.strip))
FILES = st.one_of(*(st.lists(record, min_size=2, max_size=40) for record in (CHATS, ONE_QUESTION, TEXTS)))


@settings(max_examples=200, deadline=None)
@given(FILES, st.floats(0.02, 0.5), st.integers(0, 9))
def test_no_question_is_on_both_sides_and_the_share_is_within_one_group_of_what_was_asked(
    records: list[dict[str, object]], share: float, seed: int
) -> None:
    every = examples(*records)
    train, held_out = split(every, share, seed)
    assert not {asked_key(one) for one in train} & {asked_key(one) for one in held_out}
    assert not {one.line for one in train} & {one.line for one in held_out}
    left_out = [one for one in every if one not in train and one not in held_out]
    asked_in_training = {asked_key(one) for one in train}
    shared = {key for key, lines in _askers(every).items() if len(lines) > 1}
    assert all(asked_key(one) in asked_in_training | shared for one in left_out)
    assert train
    last = Counter(asked_key(max((one for one in every if one.line == line), key=lambda one: len(one.turns)))
                   for line in {one.line for one in every})  # fmt: skip
    assert bool(held_out) is (len(last) > 1)
    if held_out:
        largest = max(sum(1 for one in every if one.line in lines) for lines in _groups(every).values())
        assert abs(len(held_out) - share * len(every)) <= largest


def _askers(every: list[Example]) -> dict[str, set[str]]:
    """Of each question the groups (by last question) that ask it."""
    last = {one.line: asked_key(one) for one in sorted(every, key=lambda one: len(one.turns))}
    askers: dict[str, set[str]] = {}
    for one in every:
        askers.setdefault(asked_key(one), set()).add(last[one.line])
    return askers


def _groups(every: list[Example]) -> dict[str, set[int]]:
    last = {one.line: asked_key(one) for one in sorted(every, key=lambda one: len(one.turns))}
    groups: dict[str, set[int]] = {}
    for line, key in last.items():
        groups.setdefault(key, set()).add(line)
    return groups


@pytest.mark.parametrize("systems", [1, 2, 40])
def test_a_system_prompt_makes_no_group(systems: int) -> None:
    records = [chat(f"question {n}?", f"answer {n}", system=f"You are {n % systems}.") for n in range(40)]
    train, held_out = split(examples(*records), 0.1, 42)
    assert (len(train), len(held_out)) == (36, 4)


def test_an_opening_that_every_chat_has_makes_no_group_and_proves_nothing() -> None:
    records = [chat("Hi", "Hello!", f"My invoice {n} is wrong.", f"Send form {n}.") for n in range(40)]
    train, held_out = split(examples(*records), 0.1, 42)
    assert [one.asked for one in held_out if one.asked == "Hi"] == []
    assert (len(train), len(held_out)) == (36, 4)


def test_a_large_group_does_not_take_the_share_of_all() -> None:
    records = [{"instruction": "the same", "output": str(n)} for n in range(91)]
    records += [{"instruction": f"another {n}", "output": "x"} for n in range(9)]
    for seed in range(5):
        train, held_out = split(examples(*records), 0.1, seed)
        assert (len(train), len(held_out)) == (91, 9)


def write(path: Path, records: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_nothing_held_out_is_refused_unless_it_is_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path / "same.jsonl", [{"instruction": "Write!", "output": f"text {n}"} for n in range(20)])
    with pytest.raises(UsageError) as caught:
        read_data(file)
    assert caught.value.code == "nothing_held_out"
    chosen = read_data(file, held_out=0.0)
    assert chosen.held_out == ()
    assert "no example is held out" in chosen.held_out_sentence


def test_another_share_than_was_asked_for_is_told(tmp_path: Path) -> None:
    two = [{"instruction": f"q {n % 2}", "output": f"text {n}"} for n in range(20)]
    data = read_data(write(tmp_path / "two.jsonl", two), held_out=0.1)
    assert data.record().held_out_share == 0.5
    assert data.held_out_sentence.startswith("10 of 20 examples are held out (50.0%, 10.0% asked for")
    usual = [{"instruction": f"q {n}", "output": f"text {n}"} for n in range(20)]
    sentence = read_data(write(tmp_path / "usual.jsonl", usual), held_out=0.1).held_out_sentence
    assert sentence == "2 of 20 examples are held out (10.0%)"


def test_questions_are_the_same_but_for_case_punctuation_and_system_turns() -> None:
    turns = (Turn("system", "Be kind."), Turn("user", "Where is it?"))
    plain = (Turn("user", "where is it"),)
    assert asked_key(Example(1, "chat", turns, "a")) == asked_key(Example(2, "chat", plain, "b"))
    assert asked_key(Example(1, "completion", (Turn("user", ""),), "Text.")) == "text"
