"""Training data: forms, bad lines, duplicates, leaks, secrets, a selection that is fewer and better."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.datasets import duplicates, read
from modelpick.datasets.check import check_data
from modelpick.datasets.curate import curate_examples, pick_next
from modelpick.datasets.examples import Example, Turn
from modelpick.datasets.forms import example_from
from modelpick.errors import UsageError


def write(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def example(line: int, prompt: str, answer: str | None = "a good answer.") -> Example:
    return Example(line, "instruction", (Turn("user", prompt),), answer)


@pytest.mark.parametrize(
    ("record", "form", "prompt", "answer"),
    [
        ({"instruction": "Add", "input": "1 2", "output": "3"}, "instruction", "Add\n\n1 2", "3"),
        ({"question": "Why?", "answer": "So."}, "instruction", "Why?", "So."),
        ({"prompt": "Once", "completion": " upon"}, "completion", "Once", " upon"),
        ({"text": "Once upon"}, "completion", "", "Once upon"),
        ({"text": "fine", "label": 1}, "classification", "fine", "1"),
        ({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}, "chat", "Hi", "Ho"),
        ({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}, "chat", "Hi", "Ho"),
    ],
)
def test_every_form_is_recognised(record: dict[str, Any], form: str, prompt: str, answer: str) -> None:
    one = example_from(record, 1)
    assert (one.form, one.prompt, one.answer) == (form, prompt, answer)


def test_a_chat_is_one_example_whose_earlier_answers_are_learned_too() -> None:
    turns = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"), ("user", "e")]
    made = example_from({"messages": [{"role": role, "content": text} for role, text in turns]}, 1)
    assert made.answer == "d"
    assert [(turn.content, turn.learned) for turn in made.turns if turn.role == "assistant"] == [("b", True)]


def test_line_forty_thousand_is_named(tmp_path: Path) -> None:
    lines = ['{"prompt": "p", "completion": "c"}'] * 39_999 + ["{broken"] + ['{"prompt": "p", "completion": "c"}']
    file = tmp_path / "long.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read.read_for_training(file)
    assert "line 40000" in caught.value.message
    assert len(read.read(file).examples) == 40_000


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty_data"),
        ("\n\n", "empty_data"),
        ('{"prompt": "p", "completion": "c"}', "too_few_examples"),
        ('{"prompt": "p", "completion": "c"}\n{"instruction": "i", "output": "o"}', "bad_data"),
        ("[1]", "bad_data"),
        ('{"neither": 1}', "bad_data"),
        ('{"prompt": "p", "completion": ""}', "bad_data"),
        ('{"prompt": 3, "completion": "c"}', "bad_data"),
        ('{"messages": [{"role": "king", "content": "x"}]}', "bad_data"),
        (json.dumps({"prompt": "p", "completion": "x" * 10_000_000}), "bad_data"),
        ("[" * 100_000, "bad_data"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path: Path, text: str, code: str) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read.read_for_training(file)
    assert caught.value.code == code


def test_bytes_that_are_not_utf8_are_named_by_line(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_bytes(b'{"prompt": "p", "completion": "c"}\n{"prompt": "\xff"}\n')
    assert [(problem.line, problem.code) for problem in read.read(file).problems] == [(2, "not_utf8")]


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_a_sentence(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    for suffix in (".jsonl", ".csv", ".json"):
        file = folder / f"fuzz{suffix}"
        file.write_bytes(raw)
        try:
            data = read.read(file)
        except UsageError:
            continue
        assert data.examples or data.problems


def test_csv_and_parquet_read_the_same_examples(tmp_path: Path) -> None:
    rows = [{"prompt": f"What, {n}?", "completion": f'"{n}"\nindeed'} for n in range(12)]
    csv_file = tmp_path / "data.csv"
    import csv

    with csv_file.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["prompt", "completion"])
        writer.writeheader()
        writer.writerows(rows)
    from_csv = [(one.prompt, one.answer) for one in read.read_for_training(csv_file).examples]
    assert from_csv == [(row["prompt"], row["completion"]) for row in rows]
    pyarrow = pytest.importorskip("pyarrow", reason="the extra train is absent")
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra train is absent")
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "data.parquet")
    from_parquet = read.read_for_training(tmp_path / "data.parquet").examples
    assert [(one.prompt, one.answer) for one in from_parquet] == from_csv


@given(st.lists(st.lists(st.sampled_from("abcde"), max_size=9), max_size=14), st.sampled_from([1, 2, 4, 100]))
def test_near_duplicates_are_exactly_those_of_comparing_all_pairs(texts: list[list[str]], template: int) -> None:
    """Greedily, from the first: each text repeats the first kept one that is near, found by comparing with all."""
    said = [" ".join(one) for one in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "TEMPLATE", template)
        found = duplicates.first_of_each(said)
    sets = [shingles(text) for text in said]
    counts = Counter(triple for one in set(sets) for triple in one)

    def alike(one: frozenset[Any], other: frozenset[Any]) -> bool:
        if one == other:
            return bool(one)
        rare, other_rare = ({triple for triple in both if counts[triple] <= template} for both in (one, other))
        if not rare or not other_rare or len(one & other) < duplicates.NEAR * len(one | other):
            return False
        return len(rare & other_rare) >= duplicates.DISTINCT * len(rare | other_rare)

    kept: list[int] = []
    for number, one in enumerate(sets):
        same = next((other for other in kept if alike(sets[other], one)), number)
        assert found[number] == same
        if same == number:
            kept.append(number)


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = duplicates.words(text)
    return frozenset(tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))) if words else frozenset()


def test_check_finds_duplicates_leaks_lengths_and_secrets(tmp_path: Path) -> None:
    long = "tell me all about the history of the city of Rome and its many old bridges please"
    records = [{"instruction": f"question number {n} about {n * 7}", "output": f"answer {n}."} for n in range(12)]
    records += [{"instruction": long, "output": "It is old."}, {"instruction": long + "!", "output": "It is old."}]
    records += [{"instruction": "my key", "output": "AKIAABCDEFGHIJKLMNOP and anna@firma.de"}]
    file = write(tmp_path / "data.jsonl", records)
    held_out = write(tmp_path / "held.jsonl", [{"instruction": long, "output": "Another answer."}])
    report = check_data(file, held_out=held_out, context=20)
    codes = {problem.code for problem in report.problems}
    assert codes == {"duplicate", "leak", "too_long", "secret_data", "personal_data"}
    assert report.duplicates == ((13, 14),)
    assert report.leaks == ((13, 1), (14, 1))
    assert "AKIAABCDEFGHIJKLMNOP" not in json.dumps(report.as_json())


def test_declared_sources_are_judged_by_the_policy(tmp_path: Path) -> None:
    records = [{"instruction": f"q {n}", "output": "a", "source": "tatsu-lab/alpaca"} for n in range(12)]
    report = check_data(write(tmp_path / "data.jsonl", records), policy="commercial")
    assert report.sources == ("tatsu-lab/alpaca",)
    assert report.sources_verdict in ("review", "deny")
    assert any(problem.code == "restricted_source" for problem in report.problems)


def test_curation_is_diverse_free_of_duplicates_and_prefers_whole_answers() -> None:
    same = [example(n, f"please sort the numbers three one two now {n // 100}", "one two three.") for n in range(1, 40)]
    topics = ["the tides of the sea", "how bread rises", "why leaves turn red", "what a treaty is", "how engines cool"]
    different = [
        example(100 + n, f"Explain {topic} to a child", f"Because {topic} works so.") for n, topic in enumerate(topics)
    ]
    sloppy = [example(200, "Explain how bread rises to a child", "As an AI language model I cannot help")]
    chosen = curate_examples([*same, *different, *sloppy], budget=6)
    lines = {one.line for one in chosen.chosen}
    assert {100, 101, 102, 103, 104} <= lines
    assert 200 not in lines
    assert len(chosen.duplicates) == 38


def test_what_is_unsure_and_unlike_the_seen_is_labelled_next() -> None:
    pool = [
        example(1, "the price of apples", None),
        example(2, "the depth of oceans", None),
        example(3, "the cost of pears", None),
    ]
    seen = [example(9, "the price of apples")]
    picked = pick_next(pool, seen, [0.9, 0.8, 0.1], wanted=1)
    assert picked[0][0].line == 2


ROWS = [{"instruction": f"what is {n}?", "output": f"it is {n}, surely"} for n in range(12)]


@pytest.mark.parametrize(
    ("encoding", "delimiter", "newline", "header"),
    [
        ("utf-8-sig", ",", "\r\n", ["instruction", "output"]),
        ("utf-8", ";", "\n", ["Instruction", " Output"]),
        ("utf-16", "\t", "\r\n", ["instruction", "output"]),
        ("utf-8", ",", "\r", ["instruction", "output"]),
    ],
)
def test_what_spreadsheets_write_is_read(
    tmp_path: Path, encoding: str, delimiter: str, newline: str, header: list[str]
) -> None:
    import csv

    file = tmp_path / "data.csv"
    with file.open("w", encoding=encoding, newline="") as opened:
        writer = csv.writer(opened, delimiter=delimiter, lineterminator=newline)
        writer.writerows([header, *(row.values() for row in ROWS)])
    found = read.read_for_training(file).examples
    assert [(one.prompt, one.answer) for one in found] == [tuple(row.values()) for row in ROWS]


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ({"prompt": "half a \ud800 pair", "completion": "c"}, "not_unicode"),
        ({"prompt": "p", "chosen": "a", "rejected": "a "}, "equal_sides"),
        ({"prompt": "p", "completion": "c", "source": ["a", "b"]}, "not_text"),
        ({"text": "t", "label": 0.5}, "bad_label"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": None}]}, "bad_chat"),
    ],
)
def test_what_cannot_be_learned_is_named(tmp_path: Path, record: dict[str, Any], code: str) -> None:
    assert [problem.code for problem in read.read(write(tmp_path / "data.jsonl", [record])).problems] == [code]


def test_text_parts_and_whole_floats_are_what_they_mean() -> None:
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": "Ho"},
    ]
    assert example_from({"messages": turns}, 1).prompt == "Hi"
    assert example_from({"text": "t", "label": 2.0}, 1).answer == "2"


def test_check_says_no_to_what_finetune_would_refuse(tmp_path: Path) -> None:
    few = check_data(write(tmp_path / "few.jsonl", ROWS[:1]))
    assert [problem.code for problem in few.problems] == ["too_few_examples"]
    alike = check_data(write(tmp_path / "alike.jsonl", [{"text": f"text number {n}", "label": "a"} for n in range(12)]))
    assert [problem.code for problem in alike.problems] == ["one_label"]
