"""Every call of `up`, `extend` and `down` failing each way AWS fails: a typed error, the guarantee, and a way on.

A plain run of the tests lets every call fail once, the ways in turn; the rest is marked kill_matrix (`make check`).
"""

from collections.abc import Callable, Sequence
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


def cases(calls: int, ways: Sequence[str]) -> list[Any]:
    """Every call with every way; those beyond one way a call are marked."""
    return [
        pytest.param(call, way, marks=() if turn == call % len(ways) else (pytest.mark.kill_matrix,))
        for call in range(1, calls + 1)
        for turn, way in enumerate(ways)
    ]


def attempt(action: Callable[[], Any]) -> ModelpickError | None:
    try:
        action()
    except ModelpickError as error:
        return error
    return None


@pytest.mark.parametrize(("call", "way"), cases(UP_CALLS, list(WAYS)))
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


@pytest.mark.parametrize(("call", "way"), cases(EXTEND_CALLS, ["throttled", "lost", "denied"]))
def test_extend(call: int, way: str, aws: Aws, account: Account) -> None:
    """The machine keeps both switches, with the old limit or the new."""
    provision.up(account, spec(), PAYLOAD)
    aws.fail(call=call, **WAYS[way])
    attempt(lambda: provision.extend(account, "demo", 1.0, max_usd=20))
    aws.forgive()
    assert matrix.faults(aws) == []
    assert len(aws.state()["machines"]) == 1
    assert matrix.faults_after_limit(aws) == []


@pytest.mark.parametrize(("call", "way"), cases(DOWN_CALLS, ["throttled", "lost", "expired"]))
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
