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


def _objections(ask: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    """What an expert would say against the first five rows."""
    shown = [row["model"] for row in rows]
    set_ups = [f"{row['setup']['engine']}/{row['setup']['method']}" for row in rows]
    wrong = [f"must not be there: {id}" for id in shown if _matches(id, ask["never"])]
    wrong += [f"must not be there: {one}" for one in set_ups if one in ask.get("never_set_up", ())]
    accepted = [id for id in shown if _matches(id, ask["accept"])]
    if len(accepted) < ask["at_least"]:
        wrong.append(f"{len(accepted)} accepted, {ask['at_least']} wanted, of {shown}")
    return wrong


@pytest.mark.parametrize("ask", _ASKS, ids=lambda ask: ask["user"])
def test_an_expert_would_accept_the_first_five_rows(ask: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Of an ask that is `open`: would not yet, so that it is noticed when it is met."""
    with pytest.raises(SystemExit):
        main(["recommend", *ask["words"], "--limit", "5", "--json"])
    wrong = _objections(ask, json.loads(capsys.readouterr().out)["recommendations"])
    if "open" in ask:
        assert wrong, f"met now; it was open: {ask['open']}"
    else:
        assert not wrong
