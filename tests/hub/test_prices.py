"""Prices and scores from tables: what is taken, what is held back, what is refused."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelpick.catalog import index, snapshot
from modelpick.errors import RemoteError
from modelpick.hub import prices
from modelpick.offers import embedded
from modelpick.offers.price_file import prices_in
from modelpick.settings import DataSettings
from tests.hub.conftest import FALCON
from tests.hub.test_update import changes, run

DAY = 1_799_700_000  # 2027-01-11


def skypilot(folder: Path, factor: float = 1.0, *, columns: str = "InstanceType,Price,SpotPrice,Region") -> Path:
    """Every known price in SkyPilot's form, times a factor."""
    known = dict(prices_in(snapshot.embedded_facts().text("offers/prices.jsonl")))
    lines = [columns]
    for kind, region in sorted({pair[:2] for pair in known}):
        each = (known.get((kind, region, "on-demand")), known.get((kind, region, "spot")))
        lines.append(",".join([kind, *("" if usd is None else repr(usd * factor) for usd in each), region]))
    file = folder / "vms.csv"
    file.write_text("\n".join(lines) + "\n")
    os.utime(file, (DAY, DAY))
    return file


def usd(kind: str, region: str) -> float:
    price = embedded.offer(kind, region).usd_per_hour
    assert price is not None
    return price


def test_new_prices_are_dated_sourced_and_in_force(folder: Path, tmp_path: Path) -> None:
    before = usd("g5.xlarge", "eu-west-1")
    file = skypilot(tmp_path, 1.25)
    done = run(kinds=("prices",), sources=DataSettings(prices=str(file)))
    offer = embedded.offer("g5.xlarge", "eu-west-1")
    assert offer.usd_per_hour == pytest.approx(before * 1.25)
    assert (offer.as_of, embedded.as_of()) == ("2027-01-11", "2027-01-11")
    assert str(file) in str(offer.source)
    assert changes(done, "repriced")["g5.xlarge eu-west-1 on-demand"] == (before, pytest.approx(before * 1.25))
    assert done.kinds["prices"]["held"] == []
    assert index.load().as_of == done.before.as_of["models"], "the models are as old as before"


@pytest.mark.parametrize("factor", [100, 0.01])
def test_prices_a_hundred_times_off_are_held_back_one_by_one(folder: Path, tmp_path: Path, factor: float) -> None:
    before = usd("g5.xlarge", "eu-west-1")
    file = skypilot(tmp_path, factor)
    done = run(kinds=("prices",), sources=DataSettings(prices=str(file)))
    assert usd("g5.xlarge", "eu-west-1") == before
    assert not changes(done, "repriced")
    assert any("g5.xlarge in eu-west-1" in text for text in done.kinds["prices"]["held"])
    assert embedded.as_of() == done.before.as_of["prices"]


@pytest.mark.parametrize("columns", ["InstanceType,Cost,SpotPrice,Region", "", "a,b,c,d", "<html>"])
def test_a_table_that_changed_its_columns_is_refused(folder: Path, tmp_path: Path, columns: str) -> None:
    file = skypilot(tmp_path, columns=columns)
    with pytest.raises(RemoteError) as caught:
        run(kinds=("prices",), sources=DataSettings(prices=str(file)))
    assert caught.value.code == "price_source"
    assert snapshot.in_force().source == "embedded"


def test_a_list_that_has_not_changed_is_not_read_again(
    folder: Path, tmp_path: Path, serve_folder: Callable[[Path], str]
) -> None:
    skypilot(tmp_path, 1.25)
    sources = DataSettings(prices=f"{serve_folder(tmp_path)}/vms.csv")
    assert run(kinds=("prices",), sources=sources).changed
    again = run(kinds=("prices",), sources=sources)
    assert again.kinds["prices"]["unchanged"]
    assert not again.changed


def test_a_list_without_a_day_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RemoteError, match="of which day"):
        prices._day_of_commit("https://example.com/vms.csv")


SCORES = "id,score,low,high,status,boards,as_of\n"
ROW = f"{FALCON},55.5,50,60,rated,ArenaText,2027-01-05\n"


def test_new_scores(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "scores.csv"
    file.write_text(SCORES + ROW + "acme/unknown,50,40,60,rated,AA,2027-01-05\n")
    done = run(kinds=("scores",), sources=DataSettings(scores=str(file)))
    model = index.load().find(FALCON)
    assert model is not None
    assert model.quality is not None
    assert (model.quality.score, model.quality.sources, model.quality.as_of) == (55.5, ("ArenaText",), "2027-01-05")
    assert done.facts.as_of["scores"] == "2027-01-05"
    assert done.kinds["scores"] == {"source": str(file), "scores": 2, "unknown_models": 1}


@pytest.mark.parametrize(
    "text",
    [
        "", SCORES, "id,score\n" + ROW, SCORES + ROW + ROW, SCORES + ROW.replace("55.5", "nan"),
        SCORES + ROW.replace("55.5", "5550"), SCORES + ROW.replace("ArenaText", "Nobody"),
        SCORES + ROW.replace("rated", "best"), SCORES + ROW.replace("2027-01-05", "soon"), SCORES + "a\n",
        SCORES + ROW.replace("2027-01-05", "2029-01-01"),
    ],
)  # fmt: skip
def test_scores_that_are_not_believed(folder: Path, tmp_path: Path, text: str) -> None:
    file = tmp_path / "scores.csv"
    file.write_text(text)
    with pytest.raises(RemoteError) as caught:
        run(kinds=("scores",), sources=DataSettings(scores=str(file)))
    assert caught.value.code in ("score_source", "bad_facts")
    assert snapshot.in_force().source == "embedded"


def test_no_source_of_scores_is_said(folder: Path) -> None:
    with pytest.raises(RemoteError) as caught:
        run(kinds=("scores",))
    assert caught.value.code == "no_source"
