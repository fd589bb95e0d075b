"""The kill matrix can tell: each planted defect in the order or the proof of things is caught by it."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from modelpick.aws import kill_switches, provision, resources, templates
from modelpick.aws.account import Account
from modelpick.aws.names import ResourceNames
from modelpick.errors import ModelpickError
from tests.aws import matrix
from tests.aws.conftest import PAYLOAD, spec
from tests.stand_ins.aws_account import Aws


def caught(aws: Aws, account: Account, action: Callable[[], Any], calls: range) -> list[str]:
    """The matrix's findings over these calls, killed after each."""
    found: list[str] = []
    for call in calls:
        with aws.saved():
            if not matrix.killed(aws, action, call=call, when="after"):
                break
            found += matrix.faults(aws) + matrix.faults_after_limit(aws)
            found += matrix.faults_after_again(aws, action, (1,))
    return found


def up(account: Account) -> Callable[[], Any]:
    return lambda: provision.up(account, spec(), PAYLOAD)


def test_without_a_defect_nothing_is_found(aws: Aws, account: Account) -> None:
    assert caught(aws, account, up(account), range(19, 25)) == []


def test_capacity_before_switches(aws: Aws, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def group_at_one(context: resources.DeploymentContext) -> None:
        kept(context)
        account.call(
            "autoscaling",
            "update_auto_scaling_group",
            AutoScalingGroupName=context.names.group,
            **templates.GROUP_AT_ONE,
        )

    kept = resources.group
    steps = tuple((title, group_at_one if step is kept else step) for title, step in resources.STEPS)
    monkeypatch.setattr(resources, "STEPS", steps)
    found = caught(aws, account, up(account), range(19, 22))
    assert any("unwatched" in item or "unarmed" in item for item in found)


@pytest.mark.parametrize("call", ["PutScheduledUpdateGroupAction", "CreateSchedule"])
def test_switches_not_read_back(call: str, aws: Aws, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS says yes and holds nothing: only who reads back notices."""
    aws.fail(call, what="ignored", times=9)
    with aws.saved():
        with pytest.raises(ModelpickError) as refused:
            provision.up(account, spec(), PAYLOAD)
        assert refused.value.code == "switches_not_armed"
        assert aws.state()["machines"] == []

    def believed(account: Account, names: ResourceNames) -> kill_switches.KillSwitches:
        return kill_switches.KillSwitches(wanted[0], wanted[0], ())

    wanted: list[Any] = []
    honest = kill_switches.arm

    def arm(account: Account, names: ResourceNames, stop_at: Any) -> kill_switches.KillSwitches:
        wanted[:] = [stop_at.replace(microsecond=0)]
        return honest(account, names, stop_at)

    monkeypatch.setattr(kill_switches, "arm", arm)
    monkeypatch.setattr(kill_switches, "read", believed)
    with aws.saved():
        provision.up(account, spec(), PAYLOAD)
        assert matrix.faults(aws) != []


def test_random_names(aws: Aws, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that do not follow from the id: the second run makes a second machine."""
    numbers = itertools.count()
    process = f"{id(aws) % 997}"

    def group(names: ResourceNames) -> str:
        return f"modelpick-{names.deployment}-{numbers_of()}"

    current = {"run": 0}

    def numbers_of() -> str:
        return f"{process}-{current['run']}"

    def action() -> Any:
        current["run"] = next(numbers) + 1
        return provision.up(account, spec(), PAYLOAD)

    monkeypatch.setattr(ResourceNames, "group", property(group))
    current["run"] = next(numbers) + 100
    assert matrix.killed(aws, action, call=23, when="after")
    next(numbers)
    found = matrix.faults_after_again(aws, action, (1,))
    assert any("2 machines" in item for item in found)
