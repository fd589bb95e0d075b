"""Killed at any instant, nothing bills that nothing stops. Each case is a process that really dies by SIGKILL.

A plain run of the tests kills at every call of a first `up`, of `extend` and of `down` once, behind its effect. All
other points are marked kill_matrix, which `make kill-matrix` and so `make check` run.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from modelpick.aws import provision, teardown
from modelpick.aws.account import Account
from modelpick.errors import ModelpickError
from tests.aws import matrix
from tests.aws.conftest import PAYLOAD, spec
from tests.stand_ins.aws_account import Aws

Scene = Callable[[Aws, Account], Callable[[], Any]]


def up(aws: Aws, account: Account) -> Callable[[], Any]:
    """A first `up`."""
    return lambda: provision.up(account, spec(), PAYLOAD)


def up_without_spot(aws: Aws, account: Account) -> Callable[[], Any]:
    """`up` that finds no spot capacity and goes on-demand."""
    aws.no_capacity(market="spot")
    return lambda: provision.up(account, spec(market="spot-then-on-demand"), PAYLOAD)


def up_waiting(aws: Aws, account: Account) -> Callable[[], Any]:
    """`up` that waits for capacity, its limit moving with it."""
    aws.no_capacity()
    return lambda: provision.up(account, spec(), PAYLOAD, wait=timedelta(minutes=25))


def up_again(aws: Aws, account: Account) -> Callable[[], Any]:
    """`up` of a deployment that died half-way."""
    assert matrix.killed(aws, up(aws, account), call=12, when="after")
    return up(aws, account)


def extend(aws: Aws, account: Account) -> Callable[[], Any]:
    """Two hours more for a running machine."""
    provision.up(account, spec(), PAYLOAD)
    return lambda: provision.extend(account, "demo", 2.0, max_usd=20.0)


def down(aws: Aws, account: Account) -> Callable[[], Any]:
    """`down` of a running machine."""
    provision.up(account, spec(), PAYLOAD)
    return lambda: teardown.down(account, "demo")


def down_keeping(aws: Aws, account: Account) -> Callable[[], Any]:
    """`down` that keeps results."""
    provision.up(account, spec(), PAYLOAD)
    bucket = "modelpick-demo-123456789012-us-east-1"
    account.call("s3", "put_object", Bucket=bucket, Key="results/adapter.safetensors", Body=b"weights")
    return lambda: teardown.down(account, "demo")


def down_half(aws: Aws, account: Account) -> Callable[[], Any]:
    """`down` of a deployment that died half-way up."""
    assert matrix.killed(aws, up(aws, account), call=21, when="after")
    return lambda: teardown.down(account, "demo")


# scene: (its mutating calls, the first that no other scene has, machines that are right after the command again)
SCENES: dict[Scene, tuple[int, int, tuple[int, ...]]] = {
    up: (24, 1, (1,)),
    up_without_spot: (25, 25, (1,)),
    up_waiting: (32, 24, (0,)),
    up_again: (23, 1, (1,)),
    extend: (6, 1, (1,)),
    down: (18, 1, (0,)),
    down_keeping: (17, 1, (0,)),
    down_half: (18, 1, (0,)),
}
EVERY_CALL_ONCE = (up, extend, down)


def _mark(scene: Scene, when: str) -> tuple[pytest.MarkDecorator, ...]:
    return () if scene in EVERY_CALL_ONCE and when == "after" else (pytest.mark.kill_matrix,)


POINTS = [
    pytest.param(scene, call, when, id=f"{scene.__name__}-{call}-{when}", marks=_mark(scene, when))
    for scene, (calls, first, _) in SCENES.items()
    for call in range(first, calls + 1)
    for when in ("before", "after")
]


@pytest.fixture(scope="module")
def scene(request: pytest.FixtureRequest, server: Aws, caller: Account) -> Iterator[tuple[Scene, Callable[[], Any]]]:
    """A scene, set once for all its points, and its command."""
    with server.saved():
        yield request.param, request.param(server, caller)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__, indirect=True)
def test_the_matrix_covers_every_mutating_call(scene: tuple[Scene, Callable[[], Any]], aws: Aws) -> None:
    stage, action = scene
    aws.calls(clear=True)
    try:
        action()
    except ModelpickError as error:
        said = error.code
        assert said == "no_capacity"
    made = [name for name, mutating in aws.calls() if mutating]
    assert len(made) == SCENES[stage][0], made


def test_there_are_over_two_hundred_points_and_a_plain_run_meets_every_call() -> None:
    assert len(POINTS) > 200
    plain = [point.values for point in POINTS if not point.marks]
    assert {(scene, call) for scene, call, _ in plain} == {
        (scene, call) for scene in EVERY_CALL_ONCE for call in range(1, SCENES[scene][0] + 1)
    }


@pytest.mark.parametrize(("scene", "call", "when"), POINTS, indirect=["scene"])
def test_killed_at(scene: tuple[Scene, Callable[[], Any]], call: int, when: str, aws: Aws, account: Account) -> None:
    """No machine without both switches; nothing bills past the limit; down leaves nothing; again gives one or none."""
    stage, action = scene
    assert matrix.killed(aws, action, call=call, when=when)
    assert matrix.faults(aws) == []
    assert matrix.faults_after_limit(aws) == []
    assert matrix.faults_after_down(aws, account) == []
    assert matrix.faults_after_again(aws, action, SCENES[stage][2]) == []
