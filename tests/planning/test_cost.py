"""What a month costs: parts add up, nothing unknown becomes zero."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.errors import UsageError
from modelpick.offers import embedded
from modelpick.planning.cost import serving_month


def test_a_month_of_g5_xlarge() -> None:
    """730 h x $1.006, 75 GB of gp3 at $0.08, an address at $0.005/h."""
    month = serving_month(embedded.offer("g5.xlarge"), embedded.billing_rates())
    assert month is not None
    assert month.instance_usd == pytest.approx(734.38)
    assert month.disk_usd == pytest.approx(6.0)
    assert month.address_usd == pytest.approx(3.65)
    assert month.total_usd == pytest.approx(744.03)


def test_an_unknown_price_is_not_zero() -> None:
    assert serving_month(embedded.offer("p5e.48xlarge"), embedded.billing_rates()) is None


@pytest.mark.parametrize("duty", [0, -1, 1.5, float("nan")])
def test_a_duty_cycle_is_a_share(duty: float) -> None:
    with pytest.raises(UsageError):
        serving_month(embedded.offer("g5.xlarge"), embedded.billing_rates(), duty_cycle=duty)


def test_egress_is_billed_by_tier() -> None:
    """100 GB free, then 10 TB at 0.09, then 40 TB at 0.085."""
    rates = embedded.billing_rates()
    assert rates.egress_usd(100) == 0
    assert rates.egress_usd(200) == pytest.approx(9.0)
    assert rates.egress_usd(20_100) == pytest.approx(10_000 * 0.09 + 10_000 * 0.085)


@given(st.floats(0, 1e7), st.floats(0, 1e7))
def test_more_traffic_never_costs_less(a: float, b: float) -> None:
    rates = embedded.billing_rates()
    assert rates.egress_usd(min(a, b)) <= rates.egress_usd(max(a, b)) + 1e-9


def test_a_negotiated_discount_is_per_family() -> None:
    offer = embedded.offer("g5.xlarge")
    assert offer.discounted({"g5": 0.1}).usd_per_hour == pytest.approx(0.9054)
    assert offer.discounted({"p4d": 0.1}) is offer
    spot = embedded.offer("g5.xlarge", market="spot")
    assert spot.discounted({"g5": 0.1}) is spot
