"""One stand-in account for each test module, a caller who talks to it by real boto3, and a clock that tests move."""

import os
import time
import types
from collections.abc import Iterator

import pytest

pytest.importorskip("boto3")
pytest.importorskip("moto")

from modelpick.aws.account import Account
from modelpick.aws.resources import Payload
from modelpick.aws.spec import InstanceCandidate, Spec, check
from tests.stand_ins import aws_account
from tests.stand_ins.aws_account import Aws

PRICES = {"g5.xlarge": 1.006, "g6.xlarge": 0.8048, "g5.2xlarge": 1.212}
PAYLOAD = Payload("#cloud-config\n", b"bundle", "b" * 64, hub_token="hf_secret")


def spec(name: str = "demo", **changes: object) -> Spec:
    """A small deployment: two types, two hours, five dollars."""
    facts: dict[str, object] = {
        "deployment": name, "region": "us-east-1", "max_hours": 2.0, "max_usd": 5.0, "around_usd_per_hour": 0.02,
        "disk_gib": 100,
        "candidates": tuple(InstanceCandidate(kind, PRICES[kind], 4) for kind in ("g5.xlarge", "g6.xlarge")),
    }  # fmt: skip
    return check(Spec(**{**facts, **changes}))  # type: ignore[arg-type]


SERVICES = ("autoscaling", "ec2", "iam", "logs", "s3", "scheduler", "service-quotas", "ssm", "sts")


@pytest.fixture(scope="module")
def server() -> Iterator[Aws]:
    """The module's account, in a process of its own."""
    with aws_account.serve(usd_per_hour=PRICES) as aws:
        yield aws


@pytest.fixture(scope="module")
def caller(server: Aws) -> Iterator[Account]:
    """The module's caller, warmed: loading AWS's models is the slow part. Waiting moves the account's clock alone."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in server.environment.items():
            patch.setenv(key, value)
        patch.setattr("botocore.endpoint.time", types.SimpleNamespace(sleep=lambda _: None, time=time.time))
        account = Account("us-east-1", sleep=lambda seconds: server.advance(seconds=seconds))
        account._own_clock = account.now  # this machine's clock and AWS's agree, whatever the simulated time
        for service in SERVICES:
            account._client(service)
        yield account


@pytest.fixture
def aws(server: Aws) -> Iterator[Aws]:
    """The account, as new for every test."""
    with server.saved():
        yield server


@pytest.fixture
def account(caller: Account, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Account:
    """The caller in a new account; a client made late (another region's) talks to it too."""
    for key, value in aws.environment.items():
        monkeypatch.setenv(key, value)
    return caller


def environment(aws: Aws, home: str) -> dict[str, str]:
    """For a modelpick process of its own."""
    return {**aws.environment, "HOME": home, "PATH": os.environ["PATH"], "COLUMNS": "100"}
