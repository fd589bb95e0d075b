"""The reasoning probe: right answers come from logic, and no lazy strategy does well."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpick.evaluation.probe.logic import SHAPES, Shape, Statement, follows, known
from modelpick.evaluation.probe.suite import Answers, _words, article_case, concluded, make_cases
from modelpick.evaluation.score import paired_difference, share
from modelpick.schema import to_json


def test_valid_and_invalid_shapes_are_told_apart_by_trying_every_world() -> None:
    truths = {shape.name: follows(shape.premises, shape.conclusion) for shape in SHAPES}
    assert [name for name, truth in truths.items() if truth] == [
        "ponens", "chain", "long chain", "among others", "tollens", "exclusion", "excluding chain",
    ]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_derivation_and_trying_every_world_agree(shape: Shape) -> None:
    assert (shape.conclusion in known(shape.premises)) == follows(shape.premises, shape.conclusion)
    assert all(follows(shape.premises, fact) for fact in known(shape.premises))


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
