"""What could leave a GPU running past its switches: hands in the console, and commands that race each other."""

import contextlib
import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from modelpick.aws import inventory, kill_switches, provision, record, status, teardown, templates
from modelpick.aws.account import Account, client, session
from modelpick.aws.names import TAG_EXPIRES, ResourceNames
from modelpick.errors import ModelpickError
from tests.aws import matrix
from tests.aws.conftest import PAYLOAD, spec
from tests.stand_ins.aws_account import Aws

NAMES = ResourceNames("demo", "123456789012", "us-east-1")


def up(account: Account, **changes: Any) -> provision.RunningMachine:
    return provision.up(account, spec(**changes), PAYLOAD)


def refused(action: Callable[[], Any]) -> ModelpickError:
    with pytest.raises(ModelpickError) as caught:
        action()
    return caught.value


def when(account: Account, operation: str, do: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do something of another process directly behind the first call of `operation`."""
    kept, done = account.call, []

    def call(service: str, name: str, **parameters: Any) -> dict[str, Any]:
        answer = kept(service, name, **parameters)
        if name == operation and not done:
            done.append(True)
            do()
        return answer

    monkeypatch.setattr(account, "call", call)


def test_a_machine_protected_from_scale_in_is_told_and_taken(aws: Aws, account: Account) -> None:
    """The scheduled action would not end it: unwatched, exit 5, and the backstop and `down` still do."""
    machine = up(account)
    account.call(
        "autoscaling", "set_instance_protection", AutoScalingGroupName=NAMES.group, InstanceIds=[machine.instance_id],
        ProtectedFromScaleIn=True,
    )  # fmt: skip
    told = status.deployments(account)[0]
    assert told.unwatched
    assert "protected from scale-in" in told.problems[0]
    again = refused(lambda: up(account))
    assert again.exit_code == 5
    assert again.fix.endswith("modelpick down demo")
    with aws.saved():
        aws.advance(hours=2.5)
        assert aws.state()["machines"] == []
    teardown.down(account, "demo")
    assert aws.state()["left"] == []


def test_a_group_protected_from_deletion_is_no_switch(
    aws: Aws, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto does not know deletion protection: the description is amended, the rest is real."""
    up(account)
    honest = account.call

    def protected(service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        answer = honest(service, operation, **parameters)
        for group in answer.get("AutoScalingGroups", ()):
            group["DeletionProtection"] = "prevent-force-deletion"
        return answer

    monkeypatch.setattr(account, "call", protected)
    assert kill_switches.read(account, NAMES).problems == ("the group is protected from deletion",)


def test_a_machine_out_of_its_group_is_told(aws: Aws, account: Account) -> None:
    machine = up(account)
    account.call(
        "autoscaling", "detach_instances", AutoScalingGroupName=NAMES.group, InstanceIds=[machine.instance_id],
        ShouldDecrementDesiredCapacity=True,
    )  # fmt: skip
    told = status.deployments(account)[0]
    assert told.unwatched
    assert f"{machine.instance_id} is not in the group" in told.problems
    assert [item.deployment for item in status.everywhere(account).deployments if status.is_orphan(item)] == ["demo"]
    teardown.down(account, "demo")
    assert aws.state()["machines"] == []


@pytest.mark.parametrize(
    ("service", "operation", "words"),
    [
        ("iam", "delete_role", {"RoleName": NAMES.switch_role}),
        ("scheduler", "delete_schedule", {"Name": NAMES.group}),
        ("autoscaling", "delete_scheduled_action",
         {"AutoScalingGroupName": NAMES.group, "ScheduledActionName": NAMES.scheduled_stop}),
        ("autoscaling", "suspend_processes",
         {"AutoScalingGroupName": NAMES.group, "ScalingProcesses": ["Terminate"]}),
    ],
)  # fmt: skip
def test_a_switch_broken_by_hand_is_told(
    service: str, operation: str, words: dict[str, Any], aws: Aws, account: Account
) -> None:
    up(account)
    if operation == "delete_role":
        account.call("iam", "delete_role_policy", RoleName=NAMES.switch_role, PolicyName="switch")
    account.call(service, operation, **words)
    assert status.deployments(account)[0].unwatched
    assert matrix.faults(aws) != []


def test_an_up_that_pays_while_a_down_ends_has_its_switches_or_no_machine(
    aws: Aws, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It began behind the record's deletion, has read its switches back, and pays just as `down` removes them."""
    up(account)
    aws.advance(hours=0.1)  # what ran before is told from what runs now by the second it began
    other = Account("us-east-1", sleep=account.sleep, own_clock=account.now)
    paying: list[dict[str, Any]] = []
    seen: list[str] = []
    call, find = other.call, account.find

    def stalled(service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        if operation == "update_auto_scaling_group" and parameters["DesiredCapacity"] == 1:
            paying.append(parameters)
            raise KeyboardInterrupt
        return call(service, operation, **parameters)

    def deleting(service: str, operation: str, **parameters: Any) -> dict[str, Any] | None:
        answer = find(service, operation, **parameters)
        if operation == "delete_parameter" and parameters["Name"] == NAMES.record and not paying:
            monkeypatch.setattr(other, "call", stalled)
            with pytest.raises(KeyboardInterrupt):
                provision.up(other, spec(), PAYLOAD)
        elif operation == "delete_schedule" and paying:
            with contextlib.suppress(ModelpickError):
                call("autoscaling", "update_auto_scaling_group", **paying[0])
            seen.extend(matrix.faults(aws))
        return answer

    monkeypatch.setattr(account, "find", deleting)
    teardown.down(account, "demo")
    assert paying
    assert seen == []
    assert aws.state()["left"] == []


def test_extend_does_not_undo_the_mark_of_a_down(aws: Aws, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    up(account)
    other = Account("us-east-1", sleep=account.sleep, own_clock=account.now)
    with monkeypatch.context() as patch:
        when(account, "put_object", lambda: teardown.down(other, "demo"), patch)
        assert refused(lambda: provision.extend(account, "demo", 1.0, max_usd=20)).code != ""
    assert record.read(account, NAMES) is None
    assert aws.state()["machines"] == []
    teardown.down(account, "demo")
    assert aws.state()["left"] == []


def test_the_expiry_is_on_what_is_paid_for_and_moves_with_the_limit(aws: Aws, account: Account) -> None:
    up(account)
    held = provision.extend(account, "demo", 2.0, max_usd=20)
    for item in (*inventory.machines(account, "demo"), *inventory.disks(account, "demo")):
        assert datetime.fromisoformat(item.tags[TAG_EXPIRES]) == held.delete_at
        assert {"modelpick:plan", "modelpick:owner"} <= set(item.tags)
    tagged = account.call("s3", "get_bucket_tagging", Bucket=NAMES.bucket)["TagSet"]
    expires = next(tag["Value"] for tag in tagged if tag["Key"] == TAG_EXPIRES)
    assert datetime.fromisoformat(expires) > account.now() + timedelta(days=30)


def test_no_spot_quota_is_no_reason_not_to_buy_on_demand(aws: Aws, account: Account) -> None:
    aws.world(quotas={"L-DB2E81BA": 8.0})
    aws.no_capacity(market="spot")
    assert up(account, market="spot-then-on-demand").instance_id in aws.state()["machines"]


def test_a_receipt_without_a_record_knows_the_hours_and_says_that_it_does_not_know_the_price(
    aws: Aws, account: Account
) -> None:
    up(account)
    aws.advance(hours=1)
    account.call("ssm", "delete_parameter", Name=NAMES.record)
    told = teardown.down(account, "demo").as_json()
    assert told["machines"] == 1
    assert told["hours"] == pytest.approx(1.0, abs=0.05)
    assert told["total_usd"] is None


def test_what_is_kept_has_an_expiry_even_if_somebody_took_it_away(aws: Aws, account: Account) -> None:
    up(account, keep_results_days=7)
    for key in ("results/adapter", "data/train.jsonl"):
        account.call("s3", "put_object", Bucket=NAMES.bucket, Key=key, Body=b"x")
    account.call("s3", "delete_bucket_lifecycle", Bucket=NAMES.bucket)
    assert aws.state()["unforgetting"] != []
    kept = teardown.down(account, "demo", keep=teardown.Retention(data=True)).kept
    assert kept is not None
    assert kept.objects == 2
    assert kept.expires_at is not None
    assert aws.state()["unforgetting"] == []


def test_a_region_that_is_denied_or_broken_does_not_hide_the_others(aws: Aws, account: Account) -> None:
    aws.world(regions=["eu-central-1", "eu-west-1", "us-east-1"])
    up(account)
    aws.fail("DescribeInstances", code="UnauthorizedOperation", status=403, region="eu-central-1")
    aws.fail("DescribeInstances", code="RequestLimitExceeded", status=503, region="eu-west-1", times=99)
    seen = status.everywhere(account)
    assert [item.deployment for item in seen.deployments] == ["demo"]
    assert seen.regions == ["us-east-1"]
    assert "denies" in seen.unseen["eu-central-1"]
    assert "throttles" in seen.unseen["eu-west-1"]


def test_a_region_that_never_answers_holds_nobody_up(
    aws: Aws, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket that is never read stands for the region; the others are told, and it is said."""
    aws.world(regions=["eu-central-1", "us-east-1"])
    up(account)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setitem(account._clients, ("sts", "eu-central-1"), client("sts", "eu-central-1", of=session()))
        seen = status.everywhere(account, within=5.0)
    assert [item.deployment for item in seen.deployments] == ["demo"]
    assert seen.unseen == {"eu-central-1": "no answer within 5 seconds"}


def test_no_region_at_all_is_an_error_of_its_own(aws: Aws, account: Account) -> None:
    aws.fail("DescribeInstances", code="ExpiredToken", status=400)
    assert refused(lambda: status.everywhere(account)).code == "expired_credentials"


def named_by_another(account: Account, at: datetime, **sizes: int) -> None:
    """The stop as CloudFormation makes it: the same action, under a name of its own making."""
    account.call(
        "autoscaling", "delete_scheduled_action", AutoScalingGroupName=NAMES.group,
        ScheduledActionName=NAMES.scheduled_stop,
    )  # fmt: skip
    account.call(
        "autoscaling", "put_scheduled_update_group_action", AutoScalingGroupName=NAMES.group,
        ScheduledActionName="demo-Stop-1X2Y3Z", StartTime=at, **{**templates.GROUP_AT_ZERO, **sizes},
    )  # fmt: skip


def test_a_stop_that_another_tool_named_counts_where_it_is_told_and_not_where_it_is_armed(
    aws: Aws, account: Account
) -> None:
    machine = up(account)
    sooner = machine.stop_at - timedelta(minutes=30)
    named_by_another(account, sooner)
    told = status.deployments(account)[0]
    assert (told.armed, told.stop_at) == (True, sooner)
    assert matrix.faults(aws) == []
    assert kill_switches.read(account, NAMES).problems == ("the stop is not set",)
    kill_switches.arm(account, NAMES, machine.stop_at)  # beside ours the earlier one still ends it
    assert status.deployments(account)[0].stop_at == sooner
    aws.advance(hours=1.6)
    assert aws.state()["machines"] == []


@pytest.mark.parametrize(
    ("sizes", "hours", "said"),
    [
        ({"MaxSize": 1, "DesiredCapacity": 1}, 1.0, "the stop does not set the group to zero"),
        ({"MinSize": 1, "MaxSize": 1}, 1.0, "the stop does not set the group to zero"),
        ({}, -1.0, "the stop is in the past"),
        (None, 1.0, "the stop is not set"),
    ],
)
def test_an_action_by_another_name_that_stops_nothing_is_no_stop(
    sizes: dict[str, int] | None, hours: float, said: str, aws: Aws, account: Account
) -> None:
    up(account)
    named_by_another(account, account.now() + timedelta(minutes=10 if hours < 0 else 60), **(sizes or {}))
    if hours < 0:  # suspended while its time came: it is still listed, and did nothing
        account.call(
            "autoscaling", "suspend_processes", AutoScalingGroupName=NAMES.group, ScalingProcesses=["ScheduledActions"]
        )
        aws.advance(hours=0.5)
        account.call(
            "autoscaling", "resume_processes", AutoScalingGroupName=NAMES.group, ScalingProcesses=["ScheduledActions"]
        )
    if sizes is None:
        account.call(
            "autoscaling", "delete_scheduled_action", AutoScalingGroupName=NAMES.group,
            ScheduledActionName="demo-Stop-1X2Y3Z",
        )  # fmt: skip
    told = status.deployments(account)[0]
    assert told.unwatched
    assert said in told.problems
