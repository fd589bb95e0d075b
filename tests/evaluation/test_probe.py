"""The reasoning probe: its cases, how answers are read, and what may be said of a score."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpick.errors import RemoteError
from modelpick.evaluation.probe import ask
from modelpick.evaluation.probe.logic import Statement, follows
from modelpick.evaluation.probe.reading import completed, judged
from modelpick.evaluation.probe.suite import Answers, _words, article_case, concluded, make_cases
from modelpick.evaluation.score import paired_difference, share
from modelpick.schema import to_json
from tests.evaluation.answering import serve_answers

_AROUND = [
    "{}",
    "{}.",
    "**{}**",
    "```\n{}\n```",
    "There is no doubt: {}",
    "Answer: {}",
    '{{"answer": "{}"}}',
    "So, {}!",
]


def test_contradicting_premises_are_refused() -> None:
    with pytest.raises(ValueError, match="contradict"):
        follows((Statement("is", "P"), Statement("is_not", "P")), Statement("is", "P"))


@settings(deadline=None, max_examples=25)
@given(
    st.integers(2, 120),
    st.integers(0, 1000),
    st.sampled_from(["plain", "other"]),
    st.sampled_from(["judge", "complete"]),
)
def test_half_follow_and_the_same_seed_gives_the_same_cases(count: int, seed: int, wording: str, asking: str) -> None:
    made = make_cases(count, seed=seed, wording=wording, asking=asking)  # type: ignore[arg-type]
    assert len({case.prompt for case in made}) == count
    assert sum(case.follows for case in made) == count // 2
    assert made == make_cases(count, seed=seed, wording=wording, asking=asking)  # type: ignore[arg-type]


def test_hundreds_of_different_cases_can_be_made() -> None:
    assert len({case.prompt for case in make_cases(1000)}) == 1000


def test_the_two_wordings_share_no_case_and_no_content_word() -> None:
    plain, other = make_cases(300, wording="plain"), make_cases(300, wording="other")
    assert not {case.prompt for case in plain} & {case.prompt for case in other}
    assert not {case.name for case in plain} & {case.name for case in other}
    assert not {case.claim for case in plain} & {case.claim for case in other}


def test_what_is_trained_on_shares_no_word_list_and_no_sentence_with_what_is_asked() -> None:
    plain, other = (to_json(_words(wording)) for wording in ("plain", "other"))
    assert set(plain) == set(other)
    content = [
        {*(word for kind in words["kinds"] for word in kind), *words["properties"], *words["names"]}
        for words in (plain, other)
    ]
    assert not content[0] & content[1]
    for key in set(plain) - {"kinds", "properties", "names"}:
        ways = [{words[key]} if isinstance(words[key], str) else set(words[key]) for words in (plain, other)]
        assert not ways[0] & ways[1], key
    trained = {sentence for case in make_cases(222, wording="plain") for sentence in case.premises.split(". ")}
    asked = {sentence for case in make_cases(500) for sentence in case.premises.split(". ")}
    assert not trained & asked


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_always_agreeing_or_always_refusing_scores_a_half(answer: str) -> None:
    asked = make_cases(200)
    told = Answers(asked, tuple(concluded(case, answer) for case in asked))
    assert told.accuracy().value == 0.5
    assert {told.as_json()["valid"]["value"], told.as_json()["invalid"]["value"]} == {0.0, 1.0}


@pytest.mark.parametrize("asking", ["judge", "complete"])
def test_the_answers_written_as_training_data_are_the_right_ones(asking: str) -> None:
    asked = make_cases(100, asking=asking)  # type: ignore[arg-type]
    for answers in ([case.answer for case in asked], [case.worked_answer for case in asked]):
        told = Answers(asked, tuple(concluded(case, answer) for case, answer in zip(asked, answers, strict=True)))
        assert told.accuracy().value == 1.0


@pytest.mark.parametrize(
    ("text", "conclusion"),
    [
        ("yes", True),
        ("No.", False),
        ("There is no doubt: yes", True),
        ("No doubt about it, yes.", True),
        ("There is no reason to think so, so the answer is no.", False),
        ("**Yes**, it follows.", True),
        ("NO", False),
        ("Answer: **No**", False),
        ("```\nyes\n```", True),
        ('```json\n{"answer": "no"}\n```', False),
        ("<think>Is it a dragon? No. Then yes?</think>\nNo", False),
        ("Is it? No, wait. Yes.\n</think>\n\nno", False),
        ("<think>yes, because", None),
        ("[THINK]no[/THINK]yes", True),
        ("<|channel|>analysis<|message|>no?<|end|><|start|>assistant<|channel|>final<|message|>Yes.", True),
        ("Is Theo a dragon? Yes. Are dragons green? No. So the answer is no.", False),
        ("Theo is a dragon, so green. Asked: green. Yes.", True),
        ("Yes or no? No, it does not follow.", False),
        ("It does not necessarily follow.", False),
        ("We cannot conclude that.", False),
        ("That isn't certain.", False),
        ("It follows.", True),
        ("The answer is \\boxed{yes}", True),
        ("True.", True),
        ("No, since some are not.", False),
        ("So no it is not", False),
        ("Well, who knows?", None),
        ("Nobody knows.", None),
        ("", None),
    ],
)
def test_answers_are_read_as_people_write_them(text: str, conclusion: bool | None) -> None:
    assert judged(text) is conclusion


@given(
    st.sampled_from(["yes", "no"]),
    st.sampled_from(_AROUND),
    st.sampled_from(["<think>{}</think>", "[THINK]{}[/THINK]"]),
)
def test_neither_dress_nor_thoughts_change_an_answer(answer: str, around: str, block: str) -> None:
    for thought in ("", "yes", "no", "Is it so? No. Yes!"):
        assert judged(block.format(thought) + "\n" + around.format(answer)) is (answer == "yes")


@given(st.text(max_size=60))
def test_any_text_is_read(text: str) -> None:
    assert judged(text) in (True, False, None)
    assert completed(text, "heavy") in (True, False, None)


def test_a_model_that_takes_neither_max_tokens_nor_temperature_is_asked_once_more_and_not_again() -> None:
    bodies: list[dict[str, Any]] = []
    with serve_answers(lambda model, prompt: "yes", bodies, refused=("max_tokens", "temperature")) as server:
        answers = ask.ask_endpoint(server, "new", make_cases(4))
    assert answers.accuracy().value == 0.5
    assert [set(body) & {"max_tokens", "max_completion_tokens", "temperature"} for body in bodies] == [
        {"max_tokens", "temperature"},
        {"max_completion_tokens", "temperature"},
        *[{"max_completion_tokens"}] * 4,
    ]


def test_a_parameter_that_cannot_be_left_out_is_an_error() -> None:
    with (
        serve_answers(lambda model, prompt: "yes", refused=("messages",)) as server,
        pytest.raises(RemoteError, match="messages"),
    ):
        ask.ask_endpoint(server, "new", make_cases(2))


def test_completions_get_the_text_as_it_is() -> None:
    bodies: list[dict[str, Any]] = []
    cases = make_cases(4, asking="complete")
    with serve_answers(lambda model, prompt: " unknown.", bodies) as server:
        answers = ask.ask_endpoint(server, "old", cases, make_cases(1, seed=9, asking="complete"), plain=True)
    assert [body["path"] for body in bodies] == ["/v1/completions"] * 4
    assert all(body["prompt"].endswith(case.prompt) for body, case in zip(bodies, cases, strict=True))
    assert answers.accuracy().value == 0.5


def test_silence_is_wrong() -> None:
    asked = make_cases(10)
    told = Answers(asked, tuple(concluded(case, "Well, who knows?") for case in asked))
    assert told.accuracy().value == 0.0
    assert told.as_json()["unanswered"] == 10


def test_the_founding_articles_prompt_is_failed_by_heavy_and_passed_by_a_denial() -> None:
    case = article_case()
    assert case.prompt == (
        "Logically conclude the incomplete sentence. All men are mortal. Socrates is a man. Therefore, Socrates is "
        "mortal. All programmers are happy. Alice is a programmer. Therefore, Alice is happy. All elephants are heavy. "
        "Pinocchio is a toy. Therefore, Pinocchio is"
    )
    assert concluded(case, "heavy.") is True
    assert concluded(case, "not necessarily heavy.") is False
    assert concluded(case, "a toy.") is False
    assert case.follows is False


@given(st.integers(1, 300), st.data())
def test_a_share_lies_within_its_interval(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    interval = share(successes, trials)
    assert 0 <= interval.low <= interval.value + 1e-12
    assert interval.value - 1e-12 <= interval.high <= 1


def test_better_is_said_only_when_the_interval_says_so() -> None:
    worse, better = [0.0] * 50, [1.0] * 40 + [0.0] * 10
    assert paired_difference(worse, better).direction == 1
    assert paired_difference(better, worse).direction == -1
    noisy = list(itertools.islice(itertools.cycle([1.0, 0.0]), 50))
    assert paired_difference(noisy, noisy[::-1]).direction == 0


@pytest.mark.parametrize(("changed", "of", "direction"), [(1, 1, 0), (5, 5, 0), (6, 6, 1), (5, 200, 0), (6, 200, 1)])
def test_a_handful_of_changed_cases_proves_nothing(changed: int, of: int, direction: int) -> None:
    after = [1.0] * changed + [0.0] * (of - changed)
    assert paired_difference([0.0] * of, after).direction == direction
    assert paired_difference(after, [0.0] * of).direction == -direction


def test_fewer_than_six_losses_prove_nothing_and_six_do() -> None:
    assert paired_difference([2.0] * 5, [1.0, 1.1, 1.2, 1.3, 1.4]).direction == 0
    assert paired_difference([2.0] * 6, [1.0, 1.1, 1.2, 1.3, 1.4, 1.5]).direction == -1
