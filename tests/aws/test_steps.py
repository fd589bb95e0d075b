"""`up` makes exactly the calls of its plan's actions, in the order that the plan shows them."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from modelpick.aws import provision, resources
from modelpick.aws.account import Account
from modelpick.aws.spec import MachineJob
from modelpick.errors import ModelpickError
from modelpick.planning import gather
from modelpick.planning.plan_actions import STEPS
from tests.aws.conftest import MODEL, PAYLOAD, spec
from tests.stand_ins.aws_account import Aws

# The first call of each step that `up` carries out; what the machine does itself, and `down`, make none.
CALLS = {
    "account": "sts:GetCallerIdentity",
    "bucket": "s3:CreateBucket",
    "logs": "logs:CreateLogGroup",
    "guest_role": "iam:CreateRole",
    "switch_role": "iam:CreateRole",
    "security_group": "ec2:CreateSecurityGroup",
    "hub_token": "ssm:PutParameter",
    "api_key": "ssm:PutParameter",
    "bundle": "s3:PutObject",
    "template": "ec2:CreateLaunchTemplate",
    "group": "autoscaling:CreateAutoScalingGroup",
    "arm_stop": "autoscaling:PutScheduledUpdateGroupAction",
    "arm_delete": "scheduler:CreateSchedule",
    "read_back": "autoscaling:DescribeScheduledActions",
    "start": "autoscaling:UpdateAutoScalingGroup",
    "hold_size": "autoscaling:SuspendProcesses",
}
# What a step needs beside its first call; `bundle` comes again when the machine is told its limit.
ALSO = {
    "s3:PutBucketPublicAccessBlock", "s3:PutPublicAccessBlock", "s3:PutBucketEncryption",
    "s3:PutBucketLifecycleConfiguration", "s3:PutBucketLifecycle", "s3:PutBucketTagging", "logs:PutRetentionPolicy",
    "iam:PutRolePolicy", "iam:CreateInstanceProfile", "iam:AddRoleToInstanceProfile",
}  # fmt: skip
MACHINE_S_OWN = {"finetune", "serve", "stop", "down"}


@pytest.fixture(scope="module")
def actions() -> list[dict[str, Any]]:
    """The actions of a plan that has every step: its model is gated, it is fine-tuned and served."""
    made = gather.plan(MODEL, finetune={"method": "qlora"}, serve={"method": "bf16"}, max_hours=2.0)
    listed = replace(made, model=replace(made.model, gated=True)).as_json()["actions"]
    return list(listed)


def launch(account: Account) -> None:
    with contextlib.suppress(ModelpickError):
        provision.up(account, spec(job=MachineJob(kind="service")), PAYLOAD)


def out_of_order(aws: Aws, actions: list[dict[str, Any]], do: Callable[[], None]) -> list[str]:
    """What differs between the calls of `do` and the plan's actions: a step that makes none, or too early or late."""
    aws.calls(clear=True)
    do()
    calls = aws.calls()
    made, at, wrong = [name for name, _ in calls], 0, []
    listed = iter(STEPS)
    for row in actions:
        step = next(step for step in listed if step.action == row["action"])
        if step.key in MACHINE_S_OWN:
            continue
        try:
            at = made.index(CALLS[step.key], at) + 1
        except ValueError:
            wrong.append(step.key)
    mutating = {name for name, changes in calls if changes}
    return wrong + sorted(mutating - set(CALLS.values()) - ALSO)


def test_every_action_of_a_plan_is_carried_out_in_its_place(
    aws: Aws, account: Account, actions: list[dict[str, Any]]
) -> None:
    assert {step.key for step in STEPS} == set(CALLS) | MACHINE_S_OWN
    assert len(actions) == len(STEPS)
    assert out_of_order(aws, actions, lambda: launch(account)) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda steps: tuple(step for step in steps if "log group" not in step[0]), ["logs"]),
        (lambda steps: (*steps[1:7], steps[0], *steps[7:]), ["logs"]),
        (lambda steps: tuple(step for step in steps if "security" not in step[0]), ["security_group"]),
    ],
    ids=["a step is missing", "a step comes late", "another is missing"],
)
def test_a_step_that_is_missing_or_late_is_found(
    change: Callable[[Any], Any],
    found: list[str],
    aws: Aws,
    account: Account,
    actions: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The planted defects."""
    monkeypatch.setattr(resources, "STEPS", change(resources.STEPS))
    assert found[0] in out_of_order(aws, actions, lambda: launch(account))
