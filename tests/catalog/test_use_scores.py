"""Scores for one use: their scale, their intervals, and what the embedded ones rest on."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from modelpick.catalog import index

GENERAL = {f"o/m{number}": 30.0 + 4 * number for number in range(10)}
BOARDS: Mapping[str, Mapping[str, Any]] = {
    "Old": {"use": "code", "as_of": "2025-01-01", "family": "Bench"},
    "New": {"use": "code", "as_of": "2026-01-01", "family": "Bench"},
    "Other": {"use": "code", "as_of": "2025-06-01"},
    "EmbedA": {"use": "embedding", "as_of": "2026-01-01"},
    "EmbedB": {"use": "embedding", "as_of": "2026-01-01"},
}


@pytest.fixture
def scores(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    import use_scores

    return use_scores


def rows(board: str, values: Mapping[str, float]) -> list[dict[str, Any]]:
    return [{"board": board, "id": id, "named": id.upper(), "value": str(value)} for id, value in values.items()]


def test_a_board_that_says_the_same_gives_the_general_score(scores: ModuleType) -> None:
    board = {id: 1000 + 10 * value for id, value in GENERAL.items()} | {"o/new": 1000 + 10 * 100.0}
    found = scores.by_use(rows("Other", board), BOARDS, GENERAL)
    for id, general in GENERAL.items():
        score, low, high, status, boards, day = found[id]["code"]
        assert (score, status, boards, day) == (round(general, 1), "rated", ["Other"], "2025-06-01")
        assert high - score == pytest.approx(scores.WIDTH * scores.LEAST_ERROR, abs=0.11)
        assert score - low == pytest.approx(high - score, abs=0.11)
    assert found["o/new"]["code"][0] == 100, "rated by the board alone, and on its line"


def test_what_a_board_says_otherwise_widens_every_interval_of_it(scores: ModuleType) -> None:
    board = {id: value + (20 if number % 2 else 0) for number, (id, value) in enumerate(GENERAL.items())}
    score, low, high, *_ = scores.by_use(rows("Other", board), BOARDS, GENERAL)["o/m0"]["code"]
    assert high - low > 4 * scores.WIDTH * scores.LEAST_ERROR / 2
    assert low < score < high


def test_of_one_benchmark_the_newest_edition_counts_and_another_board_narrows(scores: ModuleType) -> None:
    old = rows("Old", {id: 100 - value for id, value in list(GENERAL.items())[:9]})  # the wrong way round
    new = rows("New", dict(list(GENERAL.items())[:8]))
    other = rows("Other", GENERAL)
    found = scores.by_use([*old, *new, *other], BOARDS, GENERAL)
    both, one = found["o/m0"]["code"], found["o/m9"]["code"]
    assert (both[0], both[4], both[5]) == (30.0, ["New", "Other"], "2026-01-01")
    assert both[2] - both[1] < one[2] - one[1]
    assert found["o/m8"]["code"][4] == ["Old", "Other"], "the only edition that tried it"


def test_a_model_in_several_settings_has_its_best(scores: ModuleType) -> None:
    twice = [*rows("Other", GENERAL), {"board": "Other", "id": "o/m0", "named": "thinking", "value": "66"}]
    assert scores.best_values(twice)["Other"]["o/m0"] == 66
    with pytest.raises(ValueError, match="stands for two models"):
        scores.best_values([*twice, {"board": "Other", "id": "o/m1", "named": "thinking", "value": "66"}])


def test_a_board_that_cannot_be_linked_is_refused(scores: ModuleType) -> None:
    with pytest.raises(ValueError, match="too few"):
        scores.by_use(rows("Other", dict(list(GENERAL.items())[:5])), BOARDS, GENERAL)
    with pytest.raises(ValueError, match="does not know"):
        scores.by_use(rows("Nobody", GENERAL), BOARDS, GENERAL)


def test_embedding_boards_stand_on_their_own_scale(scores: ModuleType) -> None:
    a = {f"e/{number}": float(number) for number in range(10)}
    b = {id: value + (3 if number % 2 else -3) for number, (id, value) in enumerate(a.items())}
    found = scores.by_use([*rows("EmbedA", a), *rows("EmbedB", b)], BOARDS, {})
    middle = [found[id]["embedding"][0] for id in a]
    assert sum(middle) / 10 == pytest.approx(50, abs=0.1)
    alone = scores.by_use(rows("EmbedA", a), BOARDS, {})["e/0"]["embedding"]
    both = found["e/0"]["embedding"]
    assert both[2] - both[1] < alone[2] - alone[1], "one board alone has no check"


def test_every_embedded_score_of_a_use_is_inside_its_interval_and_of_a_model_that_has_the_use() -> None:
    catalog = index.load()
    seen = set()
    for model in catalog.models.values():
        for use, quality in model.quality_by_use.items():
            seen.add(use)
            assert 0 <= quality.low <= quality.score <= quality.high <= 100, (model.id, use)
            assert quality.status == "rated"
            assert quality.sources
            assert set(quality.sources) <= catalog.boards.keys(), (model.id, use)
            days = [catalog.boards[board].as_of for board in quality.sources]
            assert quality.as_of == max(day for day in days if day), (model.id, use)
            assert (use == "embedding") == ("embedding" in model.capabilities), (model.id, use)
            assert "base" not in model.capabilities, f"{model.id}: boards rate what answers"
    assert seen == {"chat", "code", "reasoning", "vision", "embedding"}


def test_the_boards_in_the_tree_agree_with_the_embedded_general_score(scores: ModuleType) -> None:
    """The general score's own rows are not in the tree; what is there must order models as it does, and mostly lie in
    its intervals: four in five would if both measured one thing, and errors of both boards and scores add up."""
    from facts_folder import Facts

    facts = Facts()
    general = scores.general_scores(facts)
    intervals = {row["id"].lower(): (float(row["low"]), float(row["high"])) for row in facts.csv("quality.csv")}
    boards = facts.toml("catalog.toml")["use_boards"]
    linked = scores.linked_boards(facts.csv("board_scores.csv"), boards, general)
    newest = {one.board.family: one for of in linked.values() for one in sorted(of, key=lambda one: one.board.as_of)}
    for one in newest.values():
        if one.board.use == "embedding":
            continue
        shared = sorted(one.values.keys() & general.keys())
        pairs = [(a, b) for a in shared for b in shared if general[a] - general[b] > 7]  # an interval is half as wide
        right = sum(one.values[a] > one.values[b] for a, b in pairs)
        assert right / len(pairs) > 0.9, one.board.key
        inside = sum(intervals[id][0] - 4 <= one.values[id] <= intervals[id][1] + 4 for id in shared)
        assert inside / len(shared) > 0.8, one.board.key
