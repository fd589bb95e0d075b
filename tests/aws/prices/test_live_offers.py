"""`modelpick offers --live`: the real program and the real boto3 against a stand-in."""

import pytest

from tests.cli.conftest import Run, modelpick  # noqa: F401
from tests.stand_ins.aws import Aws


def test_live_prices_are_compared_and_far_ones_are_held(aws: Aws, modelpick: Run) -> None:  # noqa: F811
    aws.sell("g5.xlarge", "us-east-1", 1.1)
    aws.sell("g5.2xlarge", "us-east-1", 12.12)
    words = ("offers", "--family", "g5", "--gpu", "A10G", "--live")
    body = modelpick(*words, "--json").json
    prices = {row["instance_type"]: row["usd_per_hour"] for row in body["offers"]}
    assert prices["g5.xlarge"] == 1.1
    assert prices["g5.2xlarge"] == 1.212  # the live price is held
    assert prices["g5.48xlarge"] is None  # not sold: unknown, not the embedded price
    held = [row["instance_type"] for row in body["live"]["compared"] if row["held"]]
    assert held == ["g5.2xlarge"]
    drawn = modelpick(*words)
    assert "not used: g5.2xlarge at $12.1200" in drawn.out
    accept_price_change = modelpick(*words, "--confirm", "--json").json
    assert (
        next(row for row in accept_price_change["offers"] if row["instance_type"] == "g5.2xlarge")["usd_per_hour"]
        == 12.12
    )


def test_a_negotiated_discount_comes_off_live_prices_too(
    aws: Aws,
    modelpick: Run,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path_factory.mktemp("work")
    (folder / "modelpick.toml").write_text("[discounts]\ng5 = 0.1\n")
    monkeypatch.chdir(folder)
    aws.sell("g5.xlarge", "us-east-1", 1.1)
    body = modelpick("offers", "--instance", "g5.xlarge", "--live", "--json").json
    assert body["offers"][0]["usd_per_hour"] == pytest.approx(0.99)
    assert body["live"]["compared"][0]["live_usd_per_hour"] == 1.1


def test_missing_permission_for_savings_plans_is_a_note(aws: Aws, modelpick: Run) -> None:  # noqa: F811
    aws.sell("g5.xlarge", "us-east-1", 1.006)
    aws.fail["savingsplans"] = ("AccessDeniedException", "no", 403)
    answer = modelpick("offers", "--instance", "g5.xlarge", "--live", "--json")
    assert answer.code == 0
    assert "savings plans" in answer.json["live"]["notes"][0]


def test_a_dead_price_list_is_exit_4_in_one_sentence(aws: Aws, modelpick: Run) -> None:  # noqa: F811
    aws.fail["pricing"] = ("ExpiredTokenException", "expired", 400)
    answer = modelpick("offers", "--instance", "g5.xlarge", "--live", "--json")
    assert answer.code == 4
    assert answer.error["code"] == "expired_credentials"


def test_confirm_without_live_is_refused(modelpick: Run) -> None:  # noqa: F811
    assert modelpick("offers", "--confirm").code == 2


def test_a_plan_stands_on_the_prices_of_today(aws: Aws, modelpick: Run) -> None:  # noqa: F811
    aws.sell("g6.xlarge", "us-east-1", 0.5)
    words = ("plan", "Qwen/Qwen3-8B", "--serve", "--instance", "g6.xlarge", "--json")
    today, embedded = modelpick(*words, "--live").json, modelpick(*words).json
    assert today["candidates"][0]["offer"]["usd_per_hour"] == 0.5 != embedded["candidates"][0]["offer"]["usd_per_hour"]
    assert today["candidates"][0]["offer"]["source"] != embedded["candidates"][0]["offer"]["source"]
    assert today["max_usd"] < embedded["max_usd"]


def test_a_plan_for_what_aws_does_not_sell_says_so(aws: Aws, modelpick: Run) -> None:  # noqa: F811
    answer = modelpick("plan", "Qwen/Qwen3-8B", "--serve", "--instance", "g6.xlarge", "--live", "--json")
    assert (answer.code, answer.error["code"]) == (1, "not_offered_here")
    aws.fail["pricing"] = ("ExpiredTokenException", "expired", 400)
    answer = modelpick("plan", "Qwen/Qwen3-8B", "--serve", "--instance", "g6.xlarge", "--live", "--json")
    assert (answer.code, answer.error["code"]) == (4, "expired_credentials")
    assert "leave out --live" in answer.error["fix"]
    assert modelpick("plan", "Qwen/Qwen3-8B", "--live", "--offline").code == 2
