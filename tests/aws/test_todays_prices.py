"""What `up` reckons with: the price AWS asks today, if it can be believed."""

from typing import Any

import pytest

from modelpick.aws import live_prices, provision
from modelpick.aws.account import Account
from modelpick.errors import ModelpickError
from tests.aws import matrix
from tests.aws.conftest import PAYLOAD, PRICES, spec
from tests.stand_ins.aws_account import Aws

NEW = {"g5.xlarge": 1.1, "g6.xlarge": 0.85}


def reprice(account: Account, wanted: Any, **how: Any) -> Any:
    return live_prices.reprice(wanted, discounts=how.pop("discounts", {}), make=account.client_in, **how)


def refused(account: Account, wanted: Any) -> ModelpickError:
    with pytest.raises(ModelpickError) as caught:
        reprice(account, wanted)
    return caught.value


def test_the_cap_buys_hours_at_today_s_price(aws: Aws, account: Account) -> None:
    aws.world(usd_per_hour=NEW)
    wanted = spec(max_hours=4.0, max_usd=4.5)
    today, said = reprice(account, wanted)
    assert [item.usd_per_hour for item in today.candidates] == [1.1, 0.85]
    assert today.hours < wanted.hours
    assert today.sha256 == wanted.sha256  # the same command again is the same deployment
    assert "AWS's Price List" in said[0]
    provision.up(account, today, PAYLOAD)
    aws.advance(hours=10)
    assert sum(aws.state()["bill"].values()) <= 4.5


def test_a_negotiated_discount_comes_off_today_s_price(aws: Aws, account: Account) -> None:
    today, _ = reprice(account, spec(), discounts={"g5": 0.5})
    assert today.candidates[0].usd_per_hour == pytest.approx(PRICES["g5.xlarge"] / 2)


@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_a_price_far_from_the_known_one_is_not_believed_without_a_word(
    factor: float, aws: Aws, account: Account
) -> None:
    aws.world(usd_per_hour={**PRICES, "g5.xlarge": factor * PRICES["g5.xlarge"]})
    error = refused(account, spec(max_usd=500.0))
    assert (error.code, error.exit_code) == ("price_not_believed", 3)
    assert "g5.xlarge" in error.message
    assert error.fix.endswith("--confirm")
    today, _ = reprice(account, spec(max_usd=500.0), accept_price_change=True)
    assert today.candidates[0].usd_per_hour == pytest.approx(factor * PRICES["g5.xlarge"])


def test_a_plan_older_than_its_prices_names_the_cap_that_mends_it(aws: Aws, account: Account) -> None:
    aws.world(usd_per_hour={kind: 1.4 * usd for kind, usd in PRICES.items()})
    wanted = spec(max_hours=4.0, max_usd=4.5)
    error = refused(account, wanted)
    assert (error.code, error.exit_code) == ("prices_changed", 2)
    cap = float(error.fix.rpartition(" ")[2])
    assert reprice(account, spec(max_hours=4.0, max_usd=cap))[0].hours >= 0.9 * wanted.hours


def test_a_type_too_dear_today_is_left_out_and_said(aws: Aws, account: Account) -> None:
    aws.world(usd_per_hour={**PRICES, "g5.xlarge": 1.45})
    today, said = reprice(account, spec(max_hours=4.0, max_usd=4.5))
    assert [item.instance_type for item in today.candidates] == ["g6.xlarge"]
    assert any("left out" in text and "g5.xlarge" in text for text in said)


@pytest.mark.parametrize(
    "answer", [{"code": "AccessDeniedException", "status": 400}, {"code": "InternalFailure", "status": 500}]
)
def test_the_embedded_prices_hold_where_aws_may_not_be_asked(
    answer: dict[str, Any], aws: Aws, account: Account
) -> None:
    aws.fail("GetProducts", times=99, **answer)
    today, said = reprice(account, spec())
    assert today.candidates == spec().candidates
    assert "could not be read" in said[0]


def test_a_type_without_a_list_price_keeps_the_embedded_one_and_says_so(aws: Aws, account: Account) -> None:
    aws.world(usd_per_hour={"g6.xlarge": PRICES["g6.xlarge"]})
    today, said = reprice(account, spec())
    assert today.candidates[0].usd_per_hour == PRICES["g5.xlarge"]
    assert any("g5.xlarge" in text for text in said)


def test_what_was_begun_goes_on_without_the_type_that_was_too_dear(aws: Aws, account: Account) -> None:
    """Its hours were reckoned without that type: with it the cap would not hold."""
    aws.world(usd_per_hour={**PRICES, "g5.xlarge": 1.45})
    wanted = spec(max_hours=4.0, max_usd=4.5)
    today, _ = reprice(account, wanted)
    assert matrix.killed(aws, lambda: provision.up(account, today, PAYLOAD), call=8, when="after")
    again, said = live_prices.at_todays_prices(account, wanted, discounts={}, offline=False)
    assert "its prices and its limit apply" in said[0]
    assert provision.up(account, again, PAYLOAD).instance_type == "g6.xlarge"
    aws.advance(hours=10)
    assert sum(aws.state()["bill"].values()) <= 4.5
