"""asks.toml, the table of what users ask, is one a ranking can be held to: its names are in the catalog."""

import dataclasses
import json
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import typer

from modelpick.catalog import index
from modelpick.cli.filter_options import FilterOptions, agree
from modelpick.cli.main import main, register
from modelpick.planning.load import LoadLimits
from modelpick.workload import Workload, workload_from

_ASKS: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("asks.toml").read_text())["ask"]

# Asks that cannot be answered yet, and what they wait for. One that is answered must leave this table.
_WAITING = {
    "reranks search results": "the catalog has no reranker with a config.json that passes",
    "customer support in German": "no source of the catalog says which of the newest models speak German",
    "a 7B, as everybody says it": "the boards in force rate two of them; the archived board stands behind",
}


def test_twenty_five_users_ask_different_things() -> None:
    assert len({ask["user"] for ask in _ASKS}) == len({tuple(ask["words"]) for ask in _ASKS}) == 25
    assert all(ask["why"] for ask in _ASKS)


@pytest.mark.parametrize("ask", _ASKS, ids=lambda ask: ask["user"])
def test_every_name_that_is_accepted_is_a_model_and_enough_remain(ask: dict[str, Any]) -> None:
    ids = list(index.load().models)
    for pattern in ask["accept"]:
        assert any(fnmatchcase(id, pattern) for id in ids), pattern
    remaining = [
        id
        for id in ids
        if any(fnmatchcase(id, pattern) for pattern in ask["accept"])
        and not any(fnmatchcase(id, pattern) for pattern in ask["never"])
    ]
    # Fewer could not fill the rows, and many more would be no expert's choice.
    assert ask["at_least"] <= len(remaining) <= 400


@pytest.mark.parametrize("ask", _ASKS, ids=lambda ask: ask["user"])
def test_every_ask_is_typed_in_words_that_recommend_takes(ask: dict[str, Any]) -> None:
    app = typer.Typer()
    register(app, "recommend")
    typed = typer.main.get_command(app).make_context("recommend", list(ask["words"])).params
    filtered = FilterOptions(**{field.name: typed[field.name] for field in dataclasses.fields(FilterOptions)})
    filters = dataclasses.replace(filtered, sort="quality").filters(bool(typed["strict"]), LoadLimits())
    named = {name: typed[name] for name in ("task", "method") if typed[name]}
    work = workload_from({**named, **filtered.workload()})
    assert isinstance(work, Workload)
    agree(filters, work.task, filtered.engine)


def _matches(id: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(id, pattern) for pattern in patterns)


@pytest.mark.parametrize("ask", _ASKS, ids=lambda ask: ask["user"])
def test_an_expert_would_accept_the_first_five_rows(
    ask: dict[str, Any], capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    if ask["user"] in _WAITING:
        request.applymarker(pytest.mark.xfail(reason=_WAITING[ask["user"]], strict=True))
    with pytest.raises(SystemExit):
        main(["recommend", *ask["words"], "--limit", "5", "--json"])
    rows = json.loads(capsys.readouterr().out)["recommendations"]
    shown = [row["model"] for row in rows]
    assert not [id for id in shown if _matches(id, ask["never"])], shown
    assert sum(_matches(id, ask["accept"]) for id in shown) >= ask["at_least"], shown
    set_ups = [f"{row['setup']['engine']}/{row['setup']['method']}" for row in rows]
    assert not set(set_ups) & set(ask.get("never_set_up", ())), set_ups
