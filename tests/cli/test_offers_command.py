"""What `offers` shows: types of a region, regions of a type; price, unknown and not rented are told apart."""

import pytest

from modelpick.offers import embedded

from .conftest import Run


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


# All priced, some not rented, few rented, none known to be rented, nothing known.
@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "us-west-1", "ca-west-1", "ap-southeast-6"])
def test_a_region_has_its_three_answers_within_80_columns(region: str, modelpick: Run) -> None:
    shown, told = modelpick("offers", "--region", region), modelpick("offers", "--region", region, "--json").json
    assert shown.code == 0
    assert max(map(len, shown.out.splitlines())) <= 80
    assert "…" not in shown.out
    states = {row["instance_type"]: row["availability"] for row in told["offers"]}
    assert len(states) == len(embedded.instances())
    listed = {line.split()[0] for line in shown.out.splitlines() if line} & set(states)
    assert listed == {name for name, state in states.items() if state != "not_offered"}
    unknown = [row for row in told["offers"] if row["usd_per_hour"] is None and row["availability"] != "not_offered"]
    assert shown.out.count(" unknown") == len(unknown)
    assert ("Not rented here on 20" in shown.out) == ("not_offered" in states.values())
    prices = [row["usd_per_hour"] for row in told["offers"] if row["usd_per_hour"] is not None]
    assert prices == sorted(prices)


@pytest.mark.parametrize("market", ["on-demand", "spot"])
@pytest.mark.parametrize("name", ["g5.xlarge", "g7.2xlarge", "p5e.48xlarge"])
def test_one_type_in_every_region_the_cheapest_first(name: str, market: str, modelpick: Run) -> None:
    words = ("offers", "--instance", name, "--all-regions", "--market", market)
    shown, told = modelpick(*words), modelpick(*words, "--json").json
    assert shown.code == 0
    assert max(map(len, shown.out.splitlines())) <= 80
    assert "…" not in shown.out
    assert told["region"] is None
    assert {row["region"] for row in told["offers"]} == set(embedded.regions())
    prices = [row["usd_per_hour"] for row in told["offers"] if row["usd_per_hour"] is not None]
    assert prices == sorted(prices)
    assert [row["usd_per_hour"] for row in told["offers"]][: len(prices)] == prices, "an unknown price is never first"
    words_shown = shown.out.replace(",", " ").split()
    assert all(words_shown.count(region) == 1 for region in embedded.regions())
    assert f"a price in {len(prices)} of 34 regions" in " ".join(shown.out.split())


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--all-regions",), "contradiction"),
        (("--all-regions", "--instance", "g5.xlarge", "--region", "eu-west-1"), "contradiction"),
        (("--all-regions", "--instance", "g5.xlarge", "--live"), "contradiction"),
        (("--instance", "p3.2xlarge"), "instance_not_offered"),
        (("--instance", "p6e-gb200.36xlarge"), "instance_not_offered"),
        (("--region", "eu-centrl-1"), "unknown_region"),
    ],
)
def test_what_cannot_be_listed_is_refused(words: tuple[str, ...], code: str, modelpick: Run) -> None:
    answer = modelpick("offers", *words, "--json")
    assert (answer.code, answer.error["code"]) == (2, code)


def test_a_type_that_is_not_rented_says_since_when_that_is_known_and_where_it_is(modelpick: Run) -> None:
    out = " ".join(modelpick("offers", "--instance", "p5.48xlarge", "--region", "eu-west-1").out.split())
    assert "p5.48xlarge was not rented in eu-west-1 on 2026-01-21" in out
    assert "`modelpick offers --instance p5.48xlarge --all-regions`" in out


def test_retired_and_announced_types_are_told_with_their_source(modelpick: Run) -> None:
    told = {row["instance_type"]: row for row in modelpick("offers", "--json").json["left_out"]}
    assert told["p2.xlarge"]["status"] == "retired"
    assert told["p6e-gb200.36xlarge"]["status"] == "announced"
    assert all(row["source"] for row in told.values() if row["status"])


def test_recommend_lists_a_model_at_an_unknown_price_and_promises_no_cap(modelpick: Run) -> None:
    """In a region without any known price the models are listed, and nothing is called the cheapest."""
    ranked = modelpick("recommend", "--region", "ap-southeast-6", "--limit", "3")
    assert ranked.code == 0
    assert ranked.out.count(" unknown") >= 3
    assert "modelpick offers --live --region ap-southeast-6" in " ".join(ranked.out.split())
    capped = modelpick("recommend", "--region", "ap-southeast-6", "--max-usd-per-hour", "9", "--json")
    assert (capped.code, capped.json["recommendations"]) == (3, [])
    codes = {left["reason_code"] for left in capped.json["rejected"]}
    assert "price_unknown" in codes
    assert not codes & {"no_offer", "too_expensive"}


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "Qwen/Qwen3-8B", "--serve"),
        ("cost", "Qwen/Qwen3-8B"),
        ("recommend", "--max-usd-per-hour", "9"),
        ("recommend", "--max-usd-per-hour", "9", "--why-not", "Qwen/Qwen3-8B"),
    ],
)
def test_every_command_cannot_tell_at_an_unknown_price(modelpick: Run, words: tuple[str, ...]) -> None:
    """Nobody knows a price in ap-southeast-6: no command says no, and none says yes."""
    assert modelpick(*words, "--offline", "--region", "ap-southeast-6").code == 3


def test_every_region_is_suggested_and_the_beginning_of_a_name_is_near_to_it(modelpick: Run) -> None:
    answer = modelpick("offers", "--region", "nowhere")
    assert all(region in answer.err for region in embedded.regions())
    assert "did you mean p6-b200 or p6-b300?" in modelpick("offers", "--family", "p6").err
