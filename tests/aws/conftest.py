"""One stand-in account for all tests of a worker, a caller who talks to it by real boto3, a clock that tests move."""

import os
import time
import types
from collections.abc import Iterator
from functools import cache

import pytest

pytest.importorskip("boto3")
pytest.importorskip("moto")

from botocore.loaders import Loader, create_loader

from modelpick.aws.account import Account
from modelpick.aws.resources import Payload
from modelpick.aws.spec import InstanceCandidate, LicenseClaim, Spec, check
from modelpick.licensing.judge_models import policy_in_force
from modelpick.licensing.outcome import Verdict
from tests.cli.conftest import modelpick as modelpick
from tests.stand_ins import aws_account
from tests.stand_ins.aws_account import Aws

PRICES = {"g5.xlarge": 1.006, "g6.xlarge": 0.8048, "g5.2xlarge": 1.212}
PAYLOAD = Payload("#cloud-config\n", b"bundle", "b" * 64, hub_token="hf_secret")


MODEL = "Qwen/Qwen3-8B"  # Apache-2.0


@cache
def allowed() -> LicenseClaim:
    """What a plan says of MODEL's license."""
    return LicenseClaim(policy_in_force("commercial"), Verdict.ALLOW, ("apache-2.0",), offline=True)


def spec(name: str = "demo", **changes: object) -> Spec:
    """A small deployment: two types, two hours, five dollars."""
    facts: dict[str, object] = {
        "deployment": name, "region": "us-east-1", "max_hours": 2.0, "max_usd": 5.0, "around_usd_per_hour": 0.02,
        "disk_gib": 100, "model": MODEL, "license": allowed(),
        "candidates": tuple(InstanceCandidate(kind, PRICES[kind], 4) for kind in ("g5.xlarge", "g6.xlarge")),
    }  # fmt: skip
    return check(Spec(**{**facts, **changes}))  # type: ignore[arg-type]


SERVICES = ("autoscaling", "ec2", "iam", "logs", "s3", "scheduler", "service-quotas", "ssm", "sts")


@pytest.fixture(scope="session")
def server() -> Iterator[Aws]:
    """One account for all tests of this process, in a process of its own: what a test does in it is undone."""
    with aws_account.serve(usd_per_hour=PRICES) as aws:
        yield aws


@pytest.fixture(scope="session")
def models() -> Loader:
    """AWS's service models, read once: a command's own session would read them from files again (a second of CPU)."""
    return create_loader()


@pytest.fixture(scope="session")
def caller(server: Aws, models: Loader) -> Account:
    """One caller for all tests, with its clients. Waiting moves the account's clock alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.loaders.create_loader", lambda _=None: models)
        for key, value in server.environment.items():
            patch.setenv(key, value)
        account = Account("us-east-1", sleep=lambda seconds: server.advance(seconds=seconds))
        for service in SERVICES:
            account._client(service)
    account._own_clock = account.now  # this machine's clock and AWS's agree, whatever the simulated time
    return account


@pytest.fixture
def aws(server: Aws) -> Iterator[Aws]:
    """The account, as new for every test."""
    with server.saved():
        yield server


@pytest.fixture
def account(caller: Account, models: Loader, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Account:
    """The caller in a new account; a client made late (another region's) talks to it too. Retries do not wait."""
    for key, value in aws.environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr("botocore.loaders.create_loader", lambda _=None: models)
    monkeypatch.setattr("botocore.endpoint.time", types.SimpleNamespace(sleep=lambda _: None, time=time.time))
    monkeypatch.setattr(caller, "_skew", caller._skew)  # as it was before, since the account is too
    return caller


def environment(aws: Aws, home: str) -> dict[str, str]:
    """For a modelpick process of its own."""
    return {**aws.environment, "HOME": home, "PATH": os.environ["PATH"], "COLUMNS": "100"}
