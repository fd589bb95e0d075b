"""Live prices through the real boto3 against a stand-in: every filter, every page, and doubt about what looks wrong."""

import datetime
import subprocess
import sys

import pytest

from modelpick.aws import account as door
from modelpick.aws import prices
from modelpick.errors import RemoteError
from modelpick.offers import embedded
from tests.stand_ins.aws import Aws

TODAY = datetime.date(2026, 11, 23)
NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)


def test_a_live_price_replaces_the_embedded_one_and_is_dated(aws: Aws) -> None:
    aws.sell("g5.xlarge", "us-east-1", 1.1)
    (live,) = prices.on_demand([embedded.offer("g5.xlarge")], TODAY)
    assert not live.held
    assert live.offer.usd_per_hour == 1.1
    assert live.offer.as_of == "2026-11-23"
    assert live.offer.source == "AWS Price List API"
    assert live.as_json()["ratio"] == pytest.approx(1.1 / 1.006)


def test_every_filter_is_sent_and_every_page_is_read(aws: Aws) -> None:
    """The right product stands on the third page, behind those that a forgotten filter would take."""
    for attributes in (
        {"tenancy": "Dedicated"},
        {"operatingSystem": "Windows"},
        {"capacitystatus": "UnusedCapacityReservation"},
    ):
        aws.sell("g5.xlarge", "us-east-1", 10.06, **attributes)
    aws.sell("g5.xlarge", "us-east-1", 3.0, preInstalledSw="SQL Ent")
    aws.sell("g5.xlarge", "eu-west-1", 1.123)
    aws.sell("g5.2xlarge", "us-east-1", 1.212)
    aws.sell("g5.xlarge", "us-east-1", 1.006)
    aws.ignore_filters = True
    (live,) = prices.on_demand([embedded.offer("g5.xlarge")], TODAY)
    assert live.usd_per_hour == 1.006
    assert len(aws.requests) == 3
    sent = {one["Field"]: one["Value"] for one in aws.requests[0]["Filters"]}
    assert sent == {"instanceType": "g5.xlarge", "regionCode": "us-east-1", **prices.FILTERS}


@pytest.mark.parametrize("factor", [10.0, 1.51, 0.49, 0.01])
def test_a_price_far_from_the_embedded_one_is_held_until_confirmed(aws: Aws, factor: float) -> None:
    aws.sell("g5.xlarge", "us-east-1", 1.006 * factor)
    offer = embedded.offer("g5.xlarge")
    (live,) = prices.on_demand([offer], TODAY)
    assert live.held
    assert live.offer is offer
    (sure,) = prices.on_demand([offer], TODAY, accept_price_change=True)
    assert sure.offer.usd_per_hour == pytest.approx(1.006 * factor)


def test_a_region_without_embedded_price_is_held_against_us_east_1(aws: Aws) -> None:
    aws.sell("g6.xlarge", "ap-southeast-6", 0.95)
    aws.sell("g6.2xlarge", "ap-southeast-6", 9.5)
    offers = [embedded.offer(name, "ap-southeast-6") for name in ("g6.xlarge", "g6.2xlarge")]
    good, bad = prices.on_demand(offers, TODAY)
    assert good.offer.usd_per_hour == 0.95
    assert bad.held
    assert bad.offer.usd_per_hour is None


def test_a_type_that_is_not_sold_is_unknown_and_never_zero(aws: Aws) -> None:
    aws.sell("g5.xlarge", "us-east-1", 0.0)
    free, absent = prices.on_demand([embedded.offer("g5.xlarge"), embedded.offer("p5e.48xlarge")], TODAY)
    assert free.usd_per_hour is None
    assert absent.offer.usd_per_hour is None
    assert absent.offer.availability == "not_offered"
    assert "no on-demand price" in (absent.offer.how_to_get or "")


def test_two_prices_for_one_type_are_not_chosen_between(aws: Aws) -> None:
    aws.sell("g5.xlarge", "us-east-1", 1.0)
    aws.sell("g5.xlarge", "us-east-1", 1.1)
    with pytest.raises(RemoteError, match="several prices") as caught:
        prices.on_demand([embedded.offer("g5.xlarge")], TODAY)
    assert caught.value.code == "ambiguous_price"


def test_all_types_are_asked_for_in_their_order(aws: Aws) -> None:
    offers = embedded.offers("us-east-1")
    for offer in offers:
        if offer.usd_per_hour is not None:
            aws.sell(offer.instance.name, "us-east-1", offer.usd_per_hour)
    live = prices.on_demand(offers, TODAY)
    assert [one.usd_per_hour for one in live] == [offer.usd_per_hour for offer in offers]
    assert not any(one.held for one in live)


def test_the_next_endpoint_answers_when_the_nearest_does_not(aws: Aws) -> None:
    aws.sell("g5.xlarge", "eu-west-1", 1.123)
    tried: list[str] = []

    def make(service: str, region: str) -> object:
        tried.append(region)
        made = door.client(service, region)
        if region == "eu-central-1":
            made.meta.events.register("before-send", _unreachable)
        return made

    (live,) = prices.on_demand([embedded.offer("g5.xlarge", "eu-west-1")], TODAY, make=make)
    assert live.usd_per_hour == 1.123
    assert tried == ["eu-central-1", "us-east-1"]


def _unreachable(**_: object) -> None:
    from botocore.exceptions import EndpointConnectionError

    raise EndpointConnectionError(endpoint_url="https://example.invalid")


@pytest.mark.parametrize(
    ("code", "message", "ours"),
    [
        ("ExpiredTokenException", "The security token is expired", "expired_credentials"),
        ("UnrecognizedClientException", "The security token is invalid", "bad_credentials"),
        ("InvalidSignatureException", "Signature expired: 20261123T000000Z is now earlier than ...", "clock_skew"),
        ("InvalidSignatureException", "Signature not yet current: ...", "clock_skew"),
        ("InvalidSignatureException", "The request signature does not match", "bad_credentials"),
        ("AccessDeniedException", "not authorized to perform pricing:GetProducts", "access_denied"),
        ("ThrottlingException", "Rate exceeded", "throttled"),
        ("InternalErrorException", "on our side\nand on two lines", "aws_refused"),
    ],
)
def test_what_aws_refuses_is_a_sentence_with_a_fix(aws: Aws, code: str, message: str, ours: str) -> None:
    aws.fail["pricing"] = (code, message, 400)
    with pytest.raises(RemoteError) as caught:
        prices.on_demand([embedded.offer("g5.xlarge")], TODAY)
    assert caught.value.code == ours
    assert caught.value.exit_code == 4
    assert caught.value.fix
    assert "\n" not in caught.value.message


def test_no_credentials_are_said_so(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(RemoteError) as caught:
        prices.on_demand([embedded.offer("g5.xlarge")], TODAY)
    assert caught.value.code == "no_credentials"
    assert "aws sso login" in caught.value.fix
    assert aws.requests == []


def test_an_unknown_profile_and_a_dead_network_are_said_so(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(RemoteError) as caught:
        prices.on_demand([embedded.offer("g5.xlarge")], TODAY)
    assert caught.value.code == "aws_unreachable"
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(RemoteError) as caught:
        prices.on_demand([embedded.offer("g5.xlarge")], TODAY)
    assert caught.value.code == "unknown_profile"


def test_spot_history_is_told_by_zone_with_median_and_spread(aws: Aws) -> None:
    """Zone a: 0.40 for six days, 0.90 for the last; zone b: 0.50 throughout; another type besides."""
    for hours, usd in ((200, 0.40), (24, 0.90)):
        aws.spot_price("g5.xlarge", "us-east-1a", usd, NOW - datetime.timedelta(hours=hours))
    for hours in (180, 100, 50, 10):
        aws.spot_price("g5.xlarge", "us-east-1b", 0.50, NOW - datetime.timedelta(hours=hours))
    aws.spot_price("g5.2xlarge", "us-east-1a", 0.7, NOW - datetime.timedelta(hours=10))
    zones = prices.spot_zones(["g5.xlarge", "g5.2xlarge"], "us-east-1", NOW)
    assert [(zone.instance_type, zone.zone) for zone in zones] == [
        ("g5.2xlarge", "us-east-1a"), ("g5.xlarge", "us-east-1a"), ("g5.xlarge", "us-east-1b"),
    ]  # fmt: skip
    _, a, b = zones
    assert (a.median, a.low, a.high, a.now, a.changes) == (0.40, 0.40, pytest.approx(0.9), 0.90, 2)
    assert b.median == b.low == b.high == 0.50
    assert b.changes == 4
    assert len(aws.requests) == 3  # three pages
    offers = prices.spot_offers(embedded.offers("us-east-1", "spot"), zones)
    spot = next(offer for offer in offers if offer.instance.name == "g5.xlarge")
    assert spot.usd_per_hour == 0.40
    assert "us-east-1a" in (spot.source or "")


def test_savings_plans_are_read_to_the_last_page(aws: Aws) -> None:
    for years, payment, rate in (
        (1, "No Upfront", 0.7),
        (3, "All Upfront", 0.43),
        (1, "All Upfront", 0.65),
        (3, "No Upfront", 0.5),
    ):
        aws.savings.append(
            {
                "savingsPlanOffering": {
                    "offeringId": "o", "paymentOption": payment, "planType": "Compute",
                    "durationSeconds": years * 31_536_000, "currency": "USD",
                },
                "rate": str(rate), "unit": "Hrs", "productType": "EC2", "serviceCode": "AmazonEC2",
                "properties": [{"name": "instanceType", "value": "g5.xlarge"}],
            }
        )  # fmt: skip
    found = prices.savings_plans(["g5.xlarge"], "us-east-1")
    assert [plan.usd_per_hour for plan in found] == [0.43, 0.5, 0.65, 0.7]
    assert found[0].years == 3
    assert len(aws.requests) == 2


def test_gp3_has_its_live_price(aws: Aws) -> None:
    aws.products.append(
        {
            "product": {"attributes": {"regionCode": "us-east-1", "volumeApiName": "gp3", "productFamily": "Storage"}},
            "terms": {
                "OnDemand": {"T": {"priceDimensions": {"D": {"unit": "GB-Mo", "pricePerUnit": {"USD": "0.08"}}}}}
            },
        }
    )
    assert prices.gp3_usd_per_gb_month("us-east-1") == 0.08
    assert prices.gp3_usd_per_gb_month("eu-west-3") is None


def test_importing_the_prices_does_not_import_boto3() -> None:
    program = "import sys, modelpick.aws.prices; sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
