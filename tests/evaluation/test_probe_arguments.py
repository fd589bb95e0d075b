"""What is asked looks alike whether it follows or not: the whole family of arguments, and every suite made of it."""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpick.evaluation.probe import ask, suite
from modelpick.evaluation.probe.arguments import Argument, can_be_property, groups
from modelpick.evaluation.probe.logic import Statement, derivation, follows, known
from modelpick.evaluation.probe.suite import Case, make_cases
from modelpick.evaluation.probe.trivial import best_guess
from tests.evaluation.answering import serve_answers

ARGUMENTS = [argument for group in groups() for argument in (*group.holding, *group.failing)]


def test_all_arguments_are_judged_as_trying_every_world_judges_them() -> None:
    for group in groups():
        assert all(follows(argument.premises, argument.claim) for argument in group.holding)
        assert not any(follows(argument.premises, argument.claim) for argument in group.failing)


def test_a_claim_is_derived_exactly_when_it_holds_in_every_world() -> None:
    """The worked answers say what `known` derives: it must be all that follows, and nothing else."""
    for argument in random.Random(0).sample(ARGUMENTS, 800):
        derived = known(argument.premises)
        assert (derivation(argument.premises, argument.claim) is not None) == (argument.claim in derived)
        terms = {term for premise in argument.premises for term in premise.terms()}
        for form, term in product(("is", "is_not"), terms):
            statement = Statement(form, term)  # type: ignore[arg-type]
            assert (statement in derived) == follows(argument.premises, statement), (argument, statement)


def test_every_mistake_and_every_way_to_conclude_is_among_them() -> None:
    assert {argument.shape for argument in ARGUMENTS} == {
        "ponens", "tollens", "exclusion", "chained ponens", "chained tollens", "chained exclusion",
        "some", "converse", "inverse", "denied exclusion", "opposite",
    }  # fmt: skip


def test_in_a_group_nothing_counted_or_linked_tells_what_holds_from_what_does_not() -> None:
    def seen(argument: Argument) -> tuple[object, ...]:
        named = Counter(term for rule in argument.rules for term in rule.terms())
        forms = sorted(premise.form for premise in argument.premises)
        return argument.fact, argument.claim, forms, argument.depth, named["A"], named["B"], len(named)

    for group in groups():
        assert len({repr(seen(argument)) for argument in (*group.holding, *group.failing)}) == 1


SUITES = st.tuples(
    st.sampled_from([40, 100, 200]), st.integers(0, 10_000), st.sampled_from(["plain", "other"]),
    st.sampled_from(["judge", "complete"]), st.sampled_from([1, 2, 3]),
)  # fmt: skip


@settings(deadline=None, max_examples=12)
@given(SUITES)
def test_no_feature_of_a_suite_gives_more_than_five_points_away(drawn: tuple[int, int, str, str, int]) -> None:
    count, seed, wording, asking, depth = drawn
    made = make_cases(count, seed=seed, wording=wording, asking=asking, depth=depth)  # type: ignore[arg-type]
    guess = best_guess((case.look, case.follows) for case in made)
    assert guess.share <= 0.55, guess
    assert all(case.depth <= depth for case in made)


def test_the_features_catch_a_suite_that_gives_itself_away() -> None:
    """The guard can fail: chains that hold against arguments whose words are not linked, as the first probe had."""
    made = make_cases(100)
    leaky = [(case.look, case.argument.fact.form == "is" or index % 3 == 0) for index, case in enumerate(made)]
    assert best_guess(leaky).share > 0.6


WORDS = suite._words("other")
NOUNS = {**{one: one for one, _ in WORDS.kinds}, **{many: one for one, many in WORDS.kinds}}
TERMS = {**NOUNS, **{word: word for word in WORDS.properties}}


class Read:
    """A question as somebody who does not reason reads it: sentences, and the content words in each."""

    def __init__(self, prompt: str) -> None:
        *premises, self.question = re.split(r"(?<=\.) ", prompt.split(". ", 1)[0] + ". " + prompt.split(". ", 1)[1])[1:]
        if "?" not in self.question:  # "... that x? Reply with yes or no." ends in a sentence of its own
            self.question = premises.pop() + " " + self.question
        self.premises = premises
        self.words = [self._terms(sentence) for sentence in premises]
        self.claim = self._terms(self.question)[-1]
        name = next(name for name in WORDS.names if name in prompt)
        self.fact_at = next(index for index, sentence in enumerate(premises) if name in sentence)
        self.fact = self.words[self.fact_at][-1]
        self.rules = [words for index, words in enumerate(self.words) if index != self.fact_at]

    @staticmethod
    def _terms(sentence: str) -> list[str]:
        return [TERMS[word] for word in re.findall(r"\w+", sentence) if word in TERMS]

    def reached(self, *, backward: bool = False) -> bool:
        terms = [self.fact]
        for term in terms:
            for first, last in self.rules:
                start, end = (last, first) if backward else (first, last)
                if start == term and end not in terms:
                    terms.append(end)
        return self.claim in terms


def _denies(sentence: str) -> bool:
    return re.search(r"\b(not|no|single)\b", sentence, re.IGNORECASE) is not None


STRATEGIES: dict[str, Callable[[Read], bool]] = {
    "always yes": lambda read: True,
    "always no": lambda read: False,
    "no to what is denied": lambda read: " not " not in read.question,
    "no where a premise denies": lambda read: not any(_denies(sentence) for sentence in read.premises),
    "yes where claim and premises deny alike": lambda read: (
        (" not " in read.question) == any(_denies(sentence) for sentence in read.premises)
    ),
    "no where some is said": lambda read: not any(
        re.match(r"A few|There are", sentence) for sentence in read.premises
    ),
    "yes to many premises": lambda read: len(read.premises) > 4,
    "yes to many linked words": lambda read: (
        sum(times > 1 for times in Counter(word for words in read.words for word in words).values()) > 2
    ),
    "yes where the claim's word is said twice": lambda read: sum(read.claim in words for words in read.words) > 1,
    "yes where reading on leads there": lambda read: read.reached(),
    "yes where reading back leads there": lambda read: read.reached(backward=True),
    "yes where the fact comes first": lambda read: read.fact_at < len(read.premises) / 2,
    "yes where the last premise has the claim's word": lambda read: read.claim in read.words[-1],
    "yes where fact and claim share a sentence": lambda read: any(
        {read.fact, read.claim} <= set(words) for words in read.rules
    ),
    "yes to a long text": lambda read: sum(map(len, read.premises)) > 160,
    "yes where the first premise is about all": lambda read: (
        re.match("Every|Each|What|If", read.premises[0]) is not None
    ),
    "yes to one wording": lambda read: read.question.startswith("Can"),
}  # fmt: skip


@pytest.fixture(scope="module")
def guessers() -> Iterator[str]:
    """A server whose models are the strategies: each answers from the text of the question alone."""
    with serve_answers(
        lambda model, prompt: "yes" if STRATEGIES[model](Read(prompt)) else "no"
    ) as server:  # fmt: skip
        yield server


@pytest.fixture(scope="module")
def asked() -> tuple[Case, ...]:
    return make_cases(200, seed=11)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_trivial_strategy_comes_far_from_a_half(strategy: str, guessers: str, asked: tuple[Case, ...]) -> None:
    answers = ask.ask_endpoint(guessers, strategy, asked)
    assert answers.unanswered == 0
    assert abs(answers.accuracy().value - 0.5) <= 0.05, answers.accuracy()


def test_the_strategies_read_what_is_asked(asked: tuple[Case, ...]) -> None:
    """They are no straw men: what they read of a text is what stands in it."""
    for case in asked:
        read = Read(case.prompt)
        assert len(read.premises) == len(case.argument.premises)
        assert case.argument.premises[read.fact_at] == case.argument.fact
        assert read.claim in {TERMS[word] for word in re.findall(r"\w+", case.claim) if word in TERMS}
        assert all(len(words) == 2 for words in read.rules)


def test_every_suite_has_as_many_cases_of_each_depth_and_polarity_that_hold_as_do_not() -> None:
    made = make_cases(300, seed=5)
    counts = Counter((case.depth, case.argument.claim.form, case.follows) for case in made)
    assert all(counts[depth, form, True] == counts[depth, form, False] for depth, form, _ in counts)


def test_a_property_is_never_a_subject() -> None:
    for case in make_cases(200, seed=2, asking="complete"):
        assert can_be_property(case.argument, "B")
        assert all(rule.subject != "B" for rule in case.argument.rules)
