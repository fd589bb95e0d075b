"""The picture's laws: every mark inside its frame, and what is called best is beaten by nothing as cheap."""

from hypothesis import given
from hypothesis import strategies as st

from modelpick.report import chart
from modelpick.report.chart import Point

points = st.lists(
    st.builds(
        lambda name, usd, score, reach: Point(name, usd, score, score - reach, score + reach),
        st.sampled_from("abc"), st.floats(0.05, 900), st.floats(1, 99), st.floats(0, 20),
    ),
    min_size=1, max_size=30,
)  # fmt: skip


@given(points)
def test_marks_stay_in_the_frame_and_intervals_around_their_mark(given_points: list[Point]) -> None:
    drawn = chart.chart(given_points)
    assert drawn is not None
    assert len(drawn.marks) == len(given_points)
    for mark in drawn.marks:
        assert 0 <= mark.x <= chart.WIDTH
        assert chart.TOP - 0.1 <= mark.top <= mark.y <= mark.bottom <= chart.HEIGHT - chart.BOTTOM + 0.1


@given(points)
def test_the_best_are_those_that_nothing_as_cheap_beats(given_points: list[Point]) -> None:
    drawn = chart.chart(given_points)
    assert drawn is not None
    for mark in drawn.marks:
        beaten = any(p.usd <= mark.point.usd and p.score > mark.point.score for p in given_points)
        assert not (mark.best and beaten)
        equals = [p for p in given_points if p.usd <= mark.point.usd and p.score == mark.point.score]
        assert mark.best or beaten or len(equals) > 1


def test_nothing_to_draw_is_no_picture() -> None:
    assert chart.chart([]) is None
    assert chart.chart([Point("free", 0.0, 50, 40, 60)]) is None
