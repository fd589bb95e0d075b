"""Scores for one use (chat, code, reasoning, vision, embedding) from the rows of boards, facts/board_scores.csv.

A board's values are put on the scale of the general score (50 + 15 standard deviations, facts/quality.csv) by
mean-sigma linking, as tests are equated (Kolen and Brennan, Test Equating, Scaling, and Linking: the models that both
rate get the same mean and the same standard deviation). Embedding models have no general score: their boards are
centred at 50 with 15 points a standard deviation over all they rate.

The error of one board is the standard deviation of what is left between its linked values and the general score (of an
embedding board: the other board). That counts a real gift for the use as error as well, so intervals are rather too
wide than too narrow. Boards are joined by weight 1 / error squared; editions of one benchmark count as one.
An interval is 80 %.

    python scripts/use_scores.py        prints each board's error, and how the general score compares
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

from facts_folder import FACTS, Facts

FEWEST_SHARED = 8  # models that board and general score both rate: below, a line through them says little
WIDTH = 1.2816  # standard deviations from the middle to either end of an 80 % interval
LEAST_ERROR = 3.0  # points: no board is believed further than a good general score is (facts/quality.csv: 3.4)
Values = dict[str, float]


@dataclass(frozen=True, slots=True)
class Board:
    """One board or one edition of it: what it is asked for, when, and the benchmark whose edition it is."""

    key: str
    use: str
    family: str
    as_of: str


@dataclass(frozen=True, slots=True)
class Linked:
    """A board's values on the common scale (by lower-case id), and the standard deviation of its error, in points."""

    board: Board
    values: Values
    error: float


def by_use(
    rows: Iterable[Mapping[str, Any]], boards: Mapping[str, Mapping[str, Any]], general: Values
) -> dict[str, dict[str, list[Any]]]:
    """Lower-case id -> use -> [score, low, high, "rated", boards, the newest one's day].

    `general`: lower-case id -> general score of the models that current boards rate. Raises ValueError for a board
    that shares too few models with it.
    """
    scores: dict[str, dict[str, list[Any]]] = defaultdict(dict)
    for use, linked in linked_boards(rows, boards, general).items():
        for id in sorted({id for one in linked for id in one.values}):
            scores[id][use] = _joined(id, linked)
    return dict(scores)


def linked_boards(
    rows: Iterable[Mapping[str, Any]], boards: Mapping[str, Mapping[str, Any]], general: Values
) -> dict[str, list[Linked]]:
    """Use -> its boards on the common scale."""
    values = best_values(rows)
    if unknown := values.keys() - boards.keys():
        raise ValueError(f"facts/catalog.toml does not know the boards {', '.join(sorted(unknown))}")
    uses: dict[str, list[Board]] = defaultdict(list)
    for key in sorted(values):
        about = boards[key]
        uses[about["use"]].append(Board(key, about["use"], about.get("family", key), about["as_of"]))
    return {
        use: [_against(board, values[board.key], general) for board in of]
        if use != "embedding"
        else _among_themselves(of, values)
        for use, of in sorted(uses.items())
    }


def best_values(rows: Iterable[Mapping[str, Any]]) -> dict[str, Values]:
    """Board -> lower-case id -> value. A model that a board tried in several settings (with and without thinking)
    has the value of the setting that suits it best, as its user would choose it. Raises ValueError where one name of
    a board stands for two models."""
    values: dict[str, Values] = defaultdict(dict)
    named: dict[tuple[str, str], str] = {}
    for row in rows:
        if named.setdefault((row["board"], row["named"]), row["id"]) != row["id"]:
            raise ValueError(f"{row['board']}: {row['named']} stands for two models")
        of, id = values[row["board"]], row["id"].lower()
        of[id] = max(float(row["value"]), of.get(id, float("-inf")))
    return values


def _against(board: Board, values: Values, general: Values) -> Linked:
    shared = sorted(values.keys() & general.keys())
    if len(shared) < FEWEST_SHARED:
        raise ValueError(f"{board.key} shares {len(shared)} models with the general score, too few to link it")
    linked = _scaled(values, [values[id] for id in shared], [general[id] for id in shared])
    free = len(shared) - 2  # the line through them took two
    left = sum((linked[id] - general[id]) ** 2 for id in shared) / free
    return Linked(board, linked, max(LEAST_ERROR, left**0.5))


def _among_themselves(boards: Sequence[Board], values: Mapping[str, Values]) -> list[Linked]:
    """Boards without a general score: each centred over all it rates, the error from how they differ."""
    linked = {board.key: _scaled(of := values[board.key], list(of.values()), (35.0, 65.0)) for board in boards}
    gaps = [
        one[id] - other[id]
        for number, one in enumerate(linked.values())
        for other in list(linked.values())[number + 1 :]
        for id in one.keys() & other.keys()
    ]
    # Two boards of the same error differ by its root of two.
    error = max(LEAST_ERROR, pstdev(gaps) / 2**0.5 if len(gaps) >= FEWEST_SHARED else 15.0)
    return [Linked(board, linked[board.key], error) for board in boards]


def _scaled(values: Values, here: Sequence[float], there: Sequence[float]) -> Values:
    """The values moved and stretched so that mean and standard deviation of `here` become those of `there`."""
    middle, factor = fmean(here), pstdev(there) / pstdev(here)
    return {id: fmean(there) + factor * (value - middle) for id, value in values.items()}


def _joined(id: str, linked: Sequence[Linked]) -> list[Any]:
    rating = [one for one in linked if id in one.values]
    newest: dict[str, Linked] = {}
    for one in sorted(rating, key=lambda one: one.board.as_of):
        newest[one.board.family] = one  # of one benchmark the newest edition that rates it
    weights = {one.board.key: 1 / one.error**2 for one in newest.values()}
    total = sum(weights.values())
    score = sum(weights[one.board.key] * one.values[id] for one in newest.values()) / total
    reach = WIDTH / total**0.5
    low, score, high = (round(min(100.0, max(0.0, value)), 1) for value in (score - reach, score, score + reach))
    names = sorted(one.board.key for one in newest.values())
    return [score, low, high, "rated", names, max(one.board.as_of for one in newest.values())]


def general_scores(facts: Facts) -> Values:
    """Lower-case id -> general score of the models that current boards rate."""
    return {row["id"].lower(): float(row["score"]) for row in facts.csv("quality.csv") if row["status"] == "rated"}


def main() -> None:
    """Prints the boards."""
    facts = Facts(FACTS)
    general = general_scores(facts)
    boards = facts.toml("catalog.toml")["use_boards"]
    for use, linked in linked_boards(facts.csv("board_scores.csv"), boards, general).items():
        for one in linked:
            shared = len(one.values.keys() & general.keys())
            print(
                f"{use:10} {one.board.key:30} {one.board.as_of}  {len(one.values):3} models, {shared:3} with a general "
                f"score, error {one.error:4.1f}"
            )


if __name__ == "__main__":
    main()
