"""What one text has and another lacks, in the right places, and without quadratic work."""

from hypothesis import given
from hypothesis import strategies as st

from modelpick.licensing.text_difference import Difference, differences

WORDS = st.lists(st.sampled_from([f"w{number}" for number in range(30)]), max_size=120)


def rebuilt(known: list[str], found: list[str], changes: list[Difference]) -> list[str]:
    """The found text, made of the known one and the differences."""
    made, at = [], 0
    for one in changes:
        made += known[at : one.lacks_from] + found[one.adds_from : one.adds_to]
        at = one.lacks_to
    return made + known[at:]


@given(WORDS, WORDS)
def test_the_differences_lead_from_one_text_to_the_other(known: list[str], found: list[str]) -> None:
    assert rebuilt(known, found, differences(known, found)) == found


@given(WORDS)
def test_a_text_does_not_differ_from_itself(words: list[str]) -> None:
    assert differences(words, words) == []


@given(st.integers(5, 195), st.integers(1, 5))
def test_a_difference_is_no_wider_than_it_is(at: int, length: int) -> None:
    known = [f"w{number}" for number in range(200)]
    found = known[:at] + known[at + length :]
    assert differences(known, found) == [Difference(at, min(at + length, 200), at, at)]
    assert differences(found, known) == [Difference(at, at, at, min(at + length, 200))]


def test_of_a_text_that_stands_there_twice_the_first_is_meant() -> None:
    known = [f"w{number}" for number in range(50)]
    assert differences(known, known + known) == [Difference(50, 50, 50, 100)]
