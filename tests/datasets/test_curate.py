"""The laws of choosing: whatever the examples, what `curate` and `next` may and may not do."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn", reason="the extra data is absent")
from modelpick.datasets import duplicates, personal_data
from modelpick.datasets.curate import curate_examples, fresh, pick_next
from modelpick.datasets.examples import Example, Turn
from modelpick.errors import UsageError

WORDS = "the a of tide moon bread yeast oven treaty king engine piston leaf green".split()  # noqa: SIM905
TEXTS = st.lists(st.sampled_from([*WORDS, "anna@firma.de"]), min_size=1, max_size=12).map(" ".join)
ANSWERS = st.sampled_from(["Because it is so.", "", "As an AI I cannot help", "<div> no", "it it it it it it it it it"])
PAIRS = st.lists(st.tuples(TEXTS, ANSWERS), min_size=1, max_size=25)


def examples_of(pairs: list[tuple[str, str]]) -> list[Example]:
    return [
        Example(line, "instruction", (Turn("system", "Be brief."), Turn("user", asked)), answer)
        for line, (asked, answer) in enumerate(pairs, 1)
    ]


@settings(deadline=None)
@given(PAIRS, st.integers(1, 30), st.booleans())
def test_the_laws_of_curation(pairs: list[tuple[str, str]], budget: int, keep_sensitive: bool) -> None:
    examples = examples_of(pairs)
    chosen = curate_examples(examples, budget, keep_sensitive=keep_sensitive)
    texts = [example.said for example in chosen.chosen]
    assert len(texts) <= budget
    assert duplicates.first_of_each(texts) == list(range(len(texts)))
    assert keep_sensitive or not any(personal_data.find(example.text) for example in chosen.chosen)
    dropped = [line for line, _ in chosen.duplicates]
    told = [*dropped, *chosen.sensitive, *chosen.lines]
    assert len(told) == len(set(told))  # each line has one fate
    assert len(told) + chosen.beyond_budget == len(examples)  # and none is lost
    kept = {line for _, line in chosen.duplicates}
    assert not kept & {*dropped, *chosen.sensitive}
    for line, kept_line in chosen.duplicates:
        assert duplicates.first_of_each([examples[kept_line - 1].said, examples[line - 1].said]) == [0, 0]
    if budget >= len(examples):
        assert chosen.beyond_budget == 0
        assert kept <= set(chosen.lines)


@settings(deadline=None)
@given(PAIRS, st.integers(1, 8), st.randoms(use_true_random=False))
def test_the_order_of_the_lines_does_not_matter(
    pairs: list[tuple[str, str]], budget: int, chance: random.Random
) -> None:
    mixed = list(pairs)
    chance.shuffle(mixed)
    one, other = (sorted(e.text for e in curate_examples(examples_of(made), budget).chosen) for made in (pairs, mixed))
    assert one == other


def test_the_same_in_every_process(tmp_path: Path) -> None:
    chance = random.Random(7)
    rows = [
        {"instruction": " ".join(chance.choices(WORDS, k=9)), "output": f"{' '.join(chance.choices(WORDS, k=9))}."}
        for _ in range(200)
    ]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = set()
    for seed in ("1", "2"):
        target = tmp_path / f"{seed}.jsonl"
        words = ["data", "curate", str(data), "--budget", "20", "--output", str(target)]
        subprocess.run(
            [sys.executable, "-m", "modelpick", *words],
            check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        found.add(target.read_bytes())
    assert len(found) == 1


def test_what_is_chosen_covers_every_topic_and_little_dirt() -> None:
    """Twenty topics of very different sizes beside dirt: a choice of forty has all topics and no dirt."""
    chance = random.Random(3)
    pairs = []
    for topic in range(20):
        own = [f"topic{topic}word{n}" for n in range(30)]
        for _ in range(4 + 8 * topic):
            asked = " ".join(["please explain how", *chance.choices(own, k=12)])
            pairs.append((asked, " ".join(chance.choices(own, k=15)) + "."))
    clean = len(pairs)
    for n in range(200):
        asked = " ".join(f"dirt{chance.randrange(1000)}" for _ in range(12))
        pairs.append(
            (
                asked,
                chance.choice(
                    ["As an AI language model I cannot help", "<div>x</div> y", f"um {n} well and so then the"]
                ),
            )
        )
    chosen = curate_examples(examples_of(pairs), 40)
    assert {pairs[line - 1][0].split()[3].split("word")[0] for line in chosen.lines if line <= clean} == {
        f"topic{n}" for n in range(20)
    }
    assert sum(line > clean for line in chosen.lines) == 0
    assert chosen.quality > chosen.quality_before


def test_a_template_makes_no_duplicates_of_different_inputs() -> None:
    template = "You are given a customer's letter. Read it with care and say in one word whether it is kind or not: "
    chance = random.Random(1)
    letters = [" ".join(chance.choices([f"w{n}" for n in range(400)], k=5)) for _ in range(300)]
    assert duplicates.first_of_each([template + letter for letter in letters]) == list(range(300))
    assert duplicates.first_of_each([template + letters[0], template + letters[0] + "!"]) == [0, 0]


def test_signs_that_change_the_question_are_seen() -> None:
    assert duplicates.first_of_each(["What is 3 + 4?", "What is 3 - 4?", "What is 3 * 4?", "what is 3+4"]) == [
        0,
        1,
        2,
        0,
    ]
    assert duplicates.first_of_each(
        ["今天天气很好我们去公园", "今天天气很好我们去公园。", "明天下雨我们在家里看书"]
    ) == [
        0,
        0,
        2,
    ]


def test_what_the_held_out_file_says_is_left_out() -> None:
    examples = examples_of([(f"explain the word {word} to a child", "It is so.") for word in WORDS])
    chosen = curate_examples(examples, 100, held_out=examples_of([("Explain the word tide to a child!", "It is so.")]))
    assert chosen.leaked == ((4, 1),)
    assert 4 not in chosen.lines


def test_what_was_asked_before_is_not_asked_again() -> None:
    pool = examples_of([("the price of pears", ""), ("The price of apples?", ""), ("the price of pears!", "")])
    assert [example.line for example in fresh(pool, examples_of([("the price of apples", "2")]))] == [1]
    everything = pick_next(pool, [], [0.5, 0.9, 0.1], 10)
    assert sorted(example.line for example, _ in everything) == [1, 2, 3]


def test_without_the_extra_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelpick.extras.find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        curate_examples(examples_of([("a", "b")]), 1)
    assert (caught.value.code, caught.value.fix) == ("missing_extra", "pip install 'modelpick[data]'")
