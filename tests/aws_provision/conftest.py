"""One stand-in account for each test module, a caller who talks to it by real boto3, and a clock that tests move."""

import os
import types
from collections.abc import Iterator

import pytest

pytest.importorskip("boto3")
pytest.importorskip("moto")

from modelpick.aws.account import Account
from modelpick.aws.scaffold import Payload
from modelpick.aws.spec import Candidate, Spec, check
from tests.stand_ins import aws_account
from tests.stand_ins.aws_account import Aws

PRICES = {"g5.xlarge": 1.006, "g6.xlarge": 0.8048, "g5.2xlarge": 1.212}
PAYLOAD = Payload("#cloud-config\n", b"bundle", "b" * 64, hub_token="hf_secret")


def spec(name: str = "demo", **changes: object) -> Spec:
    """A small deployment: two types, two hours, five dollars."""
    facts: dict[str, object] = {
        "deployment": name, "region": "us-east-1", "max_hours": 2.0, "max_usd": 5.0, "around_usd_per_hour": 0.02,
        "disk_gib": 100,
        "candidates": tuple(Candidate(kind, PRICES[kind], 4) for kind in ("g5.xlarge", "g6.xlarge")),
    }  # fmt: skip
    return check(Spec(**{**facts, **changes}))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def _server() -> Iterator[Aws]:
    with aws_account.serve(usd_per_hour=PRICES) as aws:
        yield aws


@pytest.fixture
def aws(_server: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """The account, as new for every test."""
    for key, value in _server.environment.items():
        monkeypatch.setenv(key, value)
    # botocore waits between its attempts; here no time passes but simulated time.
    monkeypatch.setattr("botocore.endpoint.time", types.SimpleNamespace(sleep=lambda _: None, time=__import__("time").time))
    with _server.saved():
        yield _server


_CLIENTS: dict[str, Account] = {}


@pytest.fixture
def account(aws: Aws) -> Account:
    """The caller. Clients are made once for each account and process: loading AWS's models is the slow part."""
    if aws.endpoint not in _CLIENTS:
        _CLIENTS[aws.endpoint] = Account("us-east-1")
    known = _CLIENTS[aws.endpoint]
    known.sleep = lambda seconds: aws.advance(seconds=seconds)
    return known


def environment(aws: Aws, home: str) -> dict[str, str]:
    """For a modelpick process of its own."""
    return {**aws.environment, "HOME": home, "PATH": os.environ["PATH"], "COLUMNS": "100"}
