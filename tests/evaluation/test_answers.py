"""Measures of answers: which ones the data allow, what counts as right, and when a gain counts."""

from collections import Counter

import pytest

from modelpick.datasets.examples import Example, Turn
from modelpick.evaluation import answers
from modelpick.evaluation.score import ComparisonRow, Interval, ScoreComparison, Scores, compare


def example(answer: str, line: int = 1) -> Example:
    return Example(line, "instruction", (Turn("user", f"q {line}"),), answer)


@pytest.mark.parametrize(
    ("expected", "names"),
    [
        (["Paris", "Rome, I think", "Oslo"], {"exact match"}),
        (['{"a": 1}', "[2]", '{"b": [3]}'], {"exact match", "valid JSON"}),
        (["yes", "no", "yes", "no"], {"exact match", "label F1"}),
        (["7", "8", "9"], {"exact match"}),
    ],
)
def test_the_form_of_the_answers_chooses_the_measures(expected: list[str], names: set[str]) -> None:
    examples = [example(text, line) for line, text in enumerate(expected, 1)]
    rows = answers.compare_answers(examples, expected, expected, 0.01)
    assert {row.measure for row in rows} == names
    assert all(row.before.mean == row.after.mean == 1 for row in rows)
    assert {row.name for row in rows} == {answers.ANSWERS}


def test_the_same_json_is_an_exact_match_however_it_is_written() -> None:
    examples = [example('{"a": 1, "b": [2]}', line) for line in range(8)]
    rows = answers.compare_answers(examples, ["a: 1"] * 8, ['{"b":[2],\n"a":1}'] * 8, 0.01)
    assert {(row.measure, row.before.mean, row.after.mean, row.verdict) for row in rows} == {
        ("exact match", 0, 1, "better"), ("valid JSON", 0, 1, "better"),
    }  # fmt: skip


def test_f1_of_labels_is_that_of_every_label() -> None:
    expected = ["a"] * 8 + ["b"] * 2
    examples = [example(text, line) for line, text in enumerate(expected)]
    always_a = ["a"] * 10
    (f1,) = (row for row in answers.compare_answers(examples, always_a, expected, 0.01) if row.measure == "label F1")
    assert f1.before.mean == pytest.approx((2 * 8 / 18 + 0) / 2)
    assert f1.after.mean == 1
    assert f1.difference.value == pytest.approx(1 - 8 / 18)


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "look", "arguments": {"n": 1, "m": {"x": "}"}}}\n</tool_call>',
        'I look. {"type": "function", "function": {"name": "look", "arguments": '
        '"{\\"m\\": {\\"x\\": \\"}\\"}, \\"n\\": 1}"}}',
        '[TOOL_CALLS][{"name": "look", "parameters": {"m": {"x": "}"}, "n": 1}}]',
    ],
)
def test_a_call_is_found_in_the_marks_of_any_template(text: str) -> None:
    assert answers.calls_in(text) == Counter({("look", '{"m": {"x": "}"}, "n": 1}'): 1})
    assert answers.calls_in("no { call {} here") == Counter()


@pytest.mark.parametrize(
    ("low", "high", "measure", "verdict"),
    [
        (0.02, 0.5, "accuracy", "better"),
        (0.005, 0.5, "accuracy", "too small to count"),
        (-0.1, 0.5, "accuracy", "no difference shown"),
        (-0.5, -0.001, "accuracy", "worse"),
        (-0.5, -0.02, "loss", "better"),
        (-0.5, -0.005, "loss", "too small to count"),
        (0.001, 0.5, "loss", "worse"),
    ],
)
def test_better_needs_the_smallest_effect_and_worse_does_not(
    low: float, high: float, measure: str, verdict: str
) -> None:
    scores = Scores(measure, (0.5, 0.5))
    assert ScoreComparison("x", scores, scores, Interval(0.0, low, high), 0.01).verdict == verdict


def test_the_smallest_effect_of_a_loss_is_a_share_of_the_loss_before() -> None:
    many = compare("x", Scores("loss", (4.0,) * 50), Scores("loss", (3.97,) * 50), 0.01)
    assert many.smallest == 0.04
    assert many.verdict == "too small to count"
    assert compare("x", Scores("loss", (4.0,) * 50), Scores("loss", (3.9,) * 50), 0.01).verdict == "better"
    assert "counts from 0.040" in many.row().sentence
    old = ComparisonRow("x", "loss", 2, 1.0, 0.5, Interval(-0.5, -0.6, -0.4), "better")
    assert "counts" not in old.sentence
