"""What the caller may do: the printed policy is enough and nothing more, and what denies is named before it is met."""

import json
from typing import Any

import pytest

from modelpick.aws import (
    access,
    guardrails,
    iam,
    kill_switches,
    live_prices,
    preflight,
    provision,
    status,
    teardown,
)
from modelpick.aws.account import Account
from modelpick.aws.names import ResourceNames
from modelpick.errors import ModelpickError
from tests.aws import matrix
from tests.aws.conftest import PAYLOAD, spec
from tests.stand_ins.aws_account import Aws

NAMES = ResourceNames("demo", "123456789012", "us-east-1")
# Called by the session plugin, not by us.
BY_OTHERS = {"OwnSessions ssm:ResumeSession", "OwnSessions ssm:TerminateSession"}
LINKED = "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
FULL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def make_boundary(account: Account, document: dict[str, Any]) -> str:
    made = account.call("iam", "create_policy", PolicyName="edge", PolicyDocument=json.dumps(document))
    return str(made["Policy"]["Arn"])


def make_key(account: Account, *, lent: bool = True) -> str:
    root = {"AWS": "arn:aws:iam::123456789012:root"}
    statement = {"Sid": "x", "Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    made = account.call("kms", "create_key", Policy=policy, KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]
    if lent:
        account.call("kms", "create_grant", KeyId=made["KeyId"], GranteePrincipal=LINKED, Operations=["Decrypt"])
    return str(made["Arn"])


def refused(action: Any) -> ModelpickError:
    with pytest.raises(ModelpickError) as caught:
        action()
    return caught.value


def test_the_printed_policy_suffices_and_holds_nothing_spare(
    aws: Aws, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole life of a company's deployment by a caller who has this policy and no other right."""
    key, edge = make_key(account), make_boundary(account, FULL)
    policy = iam.operator_policy("123456789012", kms_key=key)
    aws.world(policy=policy)
    aws.no_capacity(type="g5.xlarge")
    wanted = spec(kms_key=key, permission_boundary=edge, tags={"cost-center": "42"})
    today, _ = live_prices.reprice(wanted, discounts={}, make=account.client_in)
    assert {item.name: item.state for item in preflight.check(account, preflight.PreflightRequest(wanted.candidates))}
    machine = provision.up(account, today, PAYLOAD)
    provision.extend(account, "demo", 1.0, max_usd=20)
    assert status.deployments(account)[0].armed
    [item for item in status.everywhere(account).deployments if status.is_orphan(item)]
    list(access.log_lines(account, "demo"))
    monkeypatch.setattr(access, "_plugin_version", lambda: (2,))
    access.session(account, "demo")
    account.call("s3", "put_object", Bucket=NAMES.bucket, Key="results/x", Body=b"x")
    aws.world(policy=None)  # somebody else takes the machine out of its group, and leaves a disk behind
    account.call(
        "autoscaling", "detach_instances", AutoScalingGroupName=NAMES.group, InstanceIds=[machine.instance_id],
        ShouldDecrementDesiredCapacity=True,
    )  # fmt: skip
    tags = [{"ResourceType": "volume", "Tags": [{"Key": "modelpick:deployment", "Value": "demo"}]}]
    account.call("ec2", "create_volume", AvailabilityZone="us-east-1a", Size=1, TagSpecifications=tags)
    aws.world(policy=policy)
    teardown.down(account, "demo")
    teardown.down(account, "demo", keep=teardown.Retention(results=False))
    assert aws.state()["machines"] == []
    allowed = {
        f"{statement['Sid']} {action}"
        for statement in policy["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    assert allowed - set(aws.state()["permissions_used"]) - BY_OTHERS == set()


@pytest.mark.parametrize("taken", ["scheduler:CreateSchedule", "iam:PassRole", "ssm:PutParameter"])
def test_without_one_action_nothing_is_made(taken: str, aws: Aws, account: Account) -> None:
    """The stand-in holds callers to their policy: it would notice one that does not suffice."""
    policy = json.loads(json.dumps(iam.operator_policy("123456789012")))
    for statement in policy["Statement"]:
        if taken in statement["Action"]:
            statement["Action"] = [one for one in statement["Action"] if one != taken and statement["Action"] != taken]
    aws.world(policy=policy)
    error = refused(lambda: provision.up(account, spec(), PAYLOAD))
    assert error.code == "access_denied"
    assert taken in error.message
    assert aws.state()["launches"] == 0


def test_what_would_be_denied_is_said_at_once_and_by_whom(aws: Aws, account: Account) -> None:
    aws.world(denied=["iam:CreateRole", "scheduler:CreateSchedule"], denied_by_organization=["ec2:CreateTags"])
    error = refused(lambda: provision.up(account, spec(), PAYLOAD))
    assert error.code == "access_denied"
    for word in ("iam:CreateRole", "scheduler:CreateSchedule", "service control policy denies ec2:CreateTags"):
        assert word in error.message
    assert aws.state()["left"] == []


def test_a_tag_that_the_company_demands_is_asked_for(aws: Aws, account: Account) -> None:
    aws.world(needed_context={"ec2:RunInstances": ["aws:RequestTag/cost-center"]})
    wanted = preflight.PreflightRequest(spec().candidates)
    found = {item.name: item for item in preflight.check(account, wanted)}["permissions"]
    assert (found.state, found.fix) == ("unknown", "add --tag cost-center=...")
    given = preflight.PreflightRequest(spec().candidates, tags={"cost-center": "42"})
    assert {item.name: item for item in preflight.check(account, given)}["permissions"].state == "ok"


def test_a_boundary_that_keeps_the_backstop_from_acting_is_refused(aws: Aws, account: Account) -> None:
    """With it the second switch would never fire: nothing may start, and nothing is made."""
    tight = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": "*"}]}
    arn = make_boundary(account, tight)
    error = refused(lambda: provision.up(account, spec(permission_boundary=arn), PAYLOAD))
    assert error.code == "boundary_denies"
    assert "autoscaling:DeleteAutoScalingGroup" in error.message
    assert "autoscaling:DeleteAutoScalingGroup" in error.fix
    missing = refused(lambda: guardrails.check_boundary(account, NAMES, f"{arn}-other", None))
    assert missing.code == "unknown_boundary"
    assert aws.state()["launches"] == 0


def test_a_boundary_put_on_the_backstop_s_role_later_unarms_it(aws: Aws, account: Account) -> None:
    provision.up(account, spec(), PAYLOAD)
    tight = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": "*"}]}
    arn = make_boundary(account, tight)
    account.call("iam", "put_role_permissions_boundary", RoleName=NAMES.switch_role, PermissionsBoundary=arn)
    held = kill_switches.read(account, NAMES)
    assert not held.armed
    assert "denies the forced delete autoscaling:DeleteAutoScalingGroup" in held.problems[0]
    aws.fail("SimulateCustomPolicy", code="AccessDenied", status=403, times=9)
    assert "is not known" in kill_switches.read(account, NAMES).problems[0]
    assert status.deployments(account)[0].unwatched


def test_a_key_that_could_encrypt_no_machine_is_refused(aws: Aws, account: Account) -> None:
    good = make_key(account)
    assert provision.up(account, spec("good", kms_key=good), PAYLOAD)
    own = make_key(account, lent=False)
    error = refused(lambda: provision.up(account, spec(kms_key=own), PAYLOAD))
    assert error.code == "key_not_lent"
    assert error.fix.startswith("aws kms create-grant --region us-east-1 --key-id arn:aws:kms:")
    account.call("kms", "disable_key", KeyId=own.rpartition("/")[2])
    assert refused(lambda: provision.up(account, spec(kms_key=own), PAYLOAD)).code == "key_disabled"
    absent = own[:-4] + "0000"
    assert refused(lambda: provision.up(account, spec(kms_key=absent), PAYLOAD)).code == "unknown_key"
    assert matrix.faults(aws) == []
