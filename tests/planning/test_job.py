"""What a job and a million tokens cost: intervals in order, everything that is billed is in, unknown stays unknown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.catalog.architecture import read
from modelpick.errors import UsageError
from modelpick.offers import embedded
from modelpick.planning.cost import break_even, serving_month, token_prices
from modelpick.planning.job import job_cost, job_time, transfer_hours
from modelpick.ranges import Range, exactly, total
from modelpick.speed import calibration, speed
from modelpick.speed.shape import shape_of
from modelpick.speed.speed import ServingSpeed, Speed
from modelpick.workload import Workload, workload_from
from tests.speed.test_roofline import LLAMA_2_7B

POSITIVE = st.floats(1e-3, 1e6)
SPEED = Speed(2000.0, 1500.0, 2600.0, 4000.0)
RATES = embedded.billing_rates()


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    return Range(*sorted(draw(st.tuples(POSITIVE, POSITIVE, POSITIVE))))


@given(ranges(), ranges())
def test_products_and_sums_keep_their_order(a: Range, b: Range) -> None:
    product, both = a.spread(b), a + b
    assert product.low <= product.likely <= product.high
    assert product.likely == pytest.approx(a.likely * b.likely)
    assert product.low >= a.low * b.low * (1 - 1e-9)
    assert product.high <= a.high * b.high * (1 + 1e-9)
    assert both.likely == pytest.approx(a.likely + b.likely)
    assert a.spread(exactly(1.0)).high == pytest.approx(a.high)


def test_a_range_out_of_order_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="out of order"):
        Range(2, 1, 3)


def test_all_hours_that_are_billed_are_in_the_job() -> None:
    """Two million tokens at 2,000/s are 1,000 s; boot, installation, download, evaluation and saving come on top."""
    kind = embedded.instances()["g5.xlarge"]
    time = job_time(kind, SPEED, exactly(2e6), weights_gb=14, result_gb=0.1)
    assert time.training.likely == pytest.approx(1000 / 3600)
    assert time.training.high == pytest.approx(2e6 / 1500 / 3600)
    assert time.total.likely > time.training.likely + 8 / 60
    assert time.total == total([time.boot, time.install, time.download, time.training, time.evaluation, time.save])
    cost = job_cost(embedded.offer("g5.xlarge"), time, RATES, weights_gb=14, result_gb=0.1)
    assert cost is not None
    assert cost.instance.likely == pytest.approx(time.total.likely * 1.006)
    assert cost.total.likely > cost.instance.likely
    assert cost.disk.low > 0
    assert cost.address.low > 0


def test_a_download_without_room_on_nvme_waits_for_the_volume() -> None:
    """g5.xlarge has 250 GB of NVMe and 2.5 Gbit/s: 14 GB come over the network; 400 GB go to gp3 at 125 MB/s."""
    kind = embedded.instances()["g5.xlarge"]
    assert transfer_hours(kind, 14).low == pytest.approx(14 / 0.3125 / 3600)
    assert transfer_hours(kind, 400).low == pytest.approx(400 / 0.125 / 3600)


def test_spot_adds_interruptions() -> None:
    kind = embedded.instances()["g5.xlarge"]
    steady = job_time(kind, SPEED, exactly(1e9), weights_gb=14, result_gb=0.1)
    spot = job_time(kind, SPEED, exactly(1e9), weights_gb=14, result_gb=0.1, spot=True)
    assert spot.total.high > steady.total.high
    assert spot.total.likely > steady.total.likely
    assert steady.interruptions == exactly(0.0)


def test_an_unknown_price_makes_an_unknown_cost() -> None:
    kind = embedded.instances()["p5e.48xlarge"]
    time = job_time(kind, SPEED, exactly(1e6), weights_gb=14, result_gb=0.1)
    assert job_cost(embedded.offer("p5e.48xlarge"), time, RATES, weights_gb=14, result_gb=0.1) is None
    assert token_prices(embedded.offer("p5e.48xlarge"), _serving(), Workload()) is None


def test_the_hour_is_charged_once_to_prompts_and_answers() -> None:
    workload = Workload(context=1000, generate=250, batch=8)
    prices = token_prices(embedded.offer("g5.xlarge"), _serving(), workload, utilisation=0.5)
    assert prices is not None
    hour = _serving().generated.tokens_per_s * 3600 * 0.5 / 1e6  # million generated tokens
    assert prices.generated.likely * hour + prices.prompt.likely * hour * 4 == pytest.approx(1.006)
    assert prices.blended.likely * hour * 5 == pytest.approx(1.006)
    assert prices.blended.low < prices.blended.likely < prices.blended.high


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_a_utilisation_is_a_share(share: float) -> None:
    with pytest.raises(UsageError):
        token_prices(embedded.offer("g5.xlarge"), _serving(), Workload(), utilisation=share)


def test_renting_beats_an_api_only_above_some_traffic() -> None:
    workload = Workload(context=1000, generate=250, batch=8)
    month = serving_month(embedded.offer("g5.xlarge"), RATES)
    assert month is not None
    dear, cheap = (break_even(price, month, _serving(), workload) for price in (10.0, 0.05))
    assert dear.mtok_per_month == pytest.approx(month.total_usd / 10)
    assert dear.reachable
    assert not cheap.reachable
    for price in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError):
            break_even(price, month, _serving(), workload)


def _serving() -> ServingSpeed:
    workload = workload_from({"method": "gptq", "context": 1000, "generate": 250, "batch": 8, "stack": "vllm"})
    shape = shape_of(read(LLAMA_2_7B))
    return speed.serving_speed(shape, embedded.instances()["g5.xlarge"], calibration.serving("vllm", "gptq"), workload)
