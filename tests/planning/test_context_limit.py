"""The one check of how many tokens may be asked, for any limit, prompt and answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.catalog.architecture import UNLIMITED
from modelpick.errors import CannotTellError, UsageError
from modelpick.planning.context_limit import context_problem, within_limit
from modelpick.workload import Workload

tokens = st.integers(1, 20_000)
answers = st.integers(0, 20_000)


def test_an_unknown_limit_is_no_permission() -> None:
    problem = context_problem(None, 1)
    assert isinstance(problem, CannotTellError)
    assert problem.code == "context_unknown"
    with pytest.raises(CannotTellError):
        within_limit(None, Workload(), ())


def test_nothing_is_too_long_without_a_limit() -> None:
    assert context_problem(UNLIMITED, 100_000_000, 100_000_000) is None


@given(limit=tokens, prompt=tokens, answer=answers)
def test_prompt_and_answer_share_the_limit(limit: int, prompt: int, answer: int) -> None:
    problem = context_problem(limit, prompt, answer)
    assert (problem is None) == (prompt + answer <= limit)
    if problem is not None:
        assert isinstance(problem, UsageError)
        assert problem.code == "context_too_long"


@given(
    limit=tokens, prompt=tokens, answer=answers, fixed=st.sets(st.sampled_from(("context", "generate", "batch")))
)  # fmt: skip
def test_only_what_nobody_asked_for_is_lowered_and_the_result_is_within(
    limit: int, prompt: int, answer: int, fixed: set[str]
) -> None:
    asked = Workload(context=prompt, generate=answer)
    prompt_left = 1 if "context" not in fixed else prompt
    room = max(limit - prompt, 0) if "context" in fixed else limit // 2
    answer_left = min(answer, room) if "generate" not in fixed else answer
    if prompt + answer > limit and prompt_left + answer_left > limit:
        with pytest.raises(UsageError, match="at most"):
            within_limit(limit, asked, fixed)
        return
    within = within_limit(limit, asked, fixed)
    assert context_problem(limit, within.context, within.generate) is None
    assert within.context <= prompt
    assert within.generate <= answer
    assert "context" not in fixed or within.context == prompt
    assert "generate" not in fixed or within.generate == answer
    if prompt + answer <= limit:
        assert within == asked
