"""Every call of `up`, `extend` and `down` failing each way AWS fails: a typed error, the guarantee, and a way on."""

from collections.abc import Callable
from typing import Any

import pytest

from modelpick.aws import provision, teardown
from modelpick.aws.account import Account
from modelpick.errors import ModelpickError
from tests.aws import matrix
from tests.aws.conftest import PAYLOAD, spec
from tests.stand_ins.aws_account import Aws

UP_CALLS, EXTEND_CALLS, DOWN_CALLS = 24, 6, 18
# How AWS fails a call: its code and status, how often (5: through all of botocore's attempts), what the user is told.
WAYS: dict[str, dict[str, Any]] = {
    "throttled": {"code": "Throttling", "times": 5},
    "denied": {"code": "AccessDenied", "times": 1, "status": 403},
    "expired": {"code": "ExpiredToken", "times": 1},
    "lost": {"what": "lost", "times": 5},
    "no answer": {"what": "drop"},
}
CODES = {"throttled": "throttled", "denied": "access_denied", "expired": "expired_credentials"}


def attempt(action: Callable[[], Any]) -> ModelpickError | None:
    try:
        action()
    except ModelpickError as error:
        return error
    return None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("call", range(1, UP_CALLS + 1))
def test_up(call: int, way: str, aws: Aws, account: Account) -> None:
    """Whatever call fails, however: nothing unwatched; the same command again is one machine; down leaves nothing."""
    aws.fail(call=call, **WAYS[way])
    error = attempt(lambda: provision.up(account, spec(), PAYLOAD))
    aws.forgive()
    assert matrix.faults(aws) == []
    if way in CODES:
        assert error is not None
        assert error.code == CODES[way]
        assert (error.exit_code == 5) <= bool(aws.state()["machines"])
    assert matrix.faults_after_again(aws, lambda: provision.up(account, spec(), PAYLOAD), (1,)) == []


@pytest.mark.parametrize("way", ["throttled", "lost", "denied"])
@pytest.mark.parametrize("call", range(1, EXTEND_CALLS + 1))
def test_extend(call: int, way: str, aws: Aws, account: Account) -> None:
    """The machine keeps both switches, with the old limit or the new."""
    provision.up(account, spec(), PAYLOAD)
    aws.fail(call=call, **WAYS[way])
    attempt(lambda: provision.extend(account, "demo", 1.0, max_usd=20))
    aws.forgive()
    assert matrix.faults(aws) == []
    assert len(aws.state()["machines"]) == 1
    assert matrix.faults_after_limit(aws) == []


@pytest.mark.parametrize("way", ["throttled", "lost", "expired"])
@pytest.mark.parametrize("call", range(1, DOWN_CALLS + 1))
def test_down(call: int, way: str, aws: Aws, account: Account) -> None:
    """Exit 5 while a machine may be left, and again leaves nothing."""
    provision.up(account, spec(), PAYLOAD)
    aws.fail(call=call, **WAYS[way])
    error = attempt(lambda: teardown.down(account, "demo"))
    aws.forgive()
    assert matrix.faults(aws) == []
    if aws.state()["machines"]:
        assert error is not None
        assert error.exit_code == 5
    assert matrix.faults_after_down(aws, account) == []


def test_everything_expires_in_the_middle(aws: Aws, account: Account) -> None:
    """After the paid call nothing is allowed any more: exit 5, and the clock does the rest."""
    aws.fail("DescribeAutoScalingGroups", code="ExpiredToken", times=99, call=6)
    error = attempt(lambda: provision.up(account, spec(), PAYLOAD))
    assert error is not None
    assert (error.exit_code, error.code) == (5, "expired_credentials")
    assert matrix.faults(aws) == []
    assert len(aws.state()["machines"]) == 1
    aws.advance(hours=3)
    assert aws.state()["machines"] == []
