"""Accounts as companies have them, and everything that can be wrong with one: a typed error and one mending command."""

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from modelpick.aws import inventory, kill_switches, preflight, provision, status, teardown
from modelpick.aws.account import Account
from modelpick.aws.names import ResourceNames, check_id, slug
from modelpick.errors import ModelpickError
from tests.aws import matrix
from tests.aws.conftest import PAYLOAD, PRICES, spec
from tests.stand_ins.aws_account import Aws

NAMES = ResourceNames("demo", "123456789012", "us-east-1")


def up(account: Account, **changes: Any) -> provision.RunningMachine:
    return provision.up(account, spec(**changes), PAYLOAD)


def refused(action: Callable[[], Any]) -> ModelpickError:
    with pytest.raises(ModelpickError) as caught:
        action()
    assert caught.value.fix
    return caught.value


def test_the_machine_runs_its_hours_and_not_longer(aws: Aws, account: Account) -> None:
    machine = up(account)
    assert machine.instance_type == "g5.xlarge"
    aws.advance(hours=1.9)
    assert len(aws.state()["machines"]) == 1
    aws.advance(hours=0.2)
    assert aws.state()["machines"] == []
    assert aws.state()["bill"]["machine"] == pytest.approx(2 * PRICES["g5.xlarge"], rel=0.01)
    assert sum(aws.state()["bill"].values()) <= machine.most_usd


def test_the_money_cap_is_the_time_limit(aws: Aws, account: Account) -> None:
    machine = up(account, max_usd=1.0, max_hours=10.0)
    aws.advance(hours=10)
    assert sum(aws.state()["bill"].values()) <= 1.0
    assert machine.most_usd == pytest.approx(1.0)


def test_the_backstop_stops_what_the_first_switch_does_not(aws: Aws, account: Account) -> None:
    up(account)
    account.call(
        "autoscaling",
        "delete_scheduled_action",
        AutoScalingGroupName=NAMES.group,
        ScheduledActionName=NAMES.scheduled_stop,
    )
    assert status.deployments(account)[0].unwatched
    aws.advance(hours=2.5)
    assert aws.state()["machines"] == []


def test_the_same_command_arms_again_what_somebody_took_away(aws: Aws, account: Account) -> None:
    up(account)
    aws.advance(hours=1)
    account.call("scheduler", "delete_schedule", Name=NAMES.group)
    assert matrix.faults(aws) != []
    machine = up(account)
    assert matrix.faults(aws) == []
    aws.advance(hours=1.1)
    assert aws.state()["machines"] == [], machine


def test_extend_moves_both_switches(aws: Aws, account: Account) -> None:
    before = up(account)
    held = provision.extend(account, "demo", 3.0, max_usd=10)
    assert held.stop_at == before.stop_at + timedelta(hours=3)
    aws.advance(hours=4.5)
    assert len(aws.state()["machines"]) == 1
    aws.advance(hours=1)
    assert aws.state()["machines"] == []


def test_extend_beyond_the_cap_asks_for_a_new_one(aws: Aws, account: Account) -> None:
    up(account)
    assert refused(lambda: provision.extend(account, "demo", 9.0)).code == "cap_too_small"
    assert refused(lambda: provision.extend(account, "nothing", 1.0)).code == "not_running"


def test_a_deployment_that_has_run_does_not_spend_its_cap_twice(aws: Aws, account: Account) -> None:
    up(account)
    aws.advance(hours=3)
    error = refused(lambda: up(account))
    assert (error.code, error.exit_code) == ("deployment_ended", 1)
    teardown.down(account, "demo")
    up(account)
    assert len(aws.state()["machines"]) == 1


def test_a_machine_that_ends_itself_is_not_replaced(aws: Aws, account: Account) -> None:
    machine = up(account)
    aws.power_off(machine.instance_id)
    aws.advance(seconds=600)
    assert aws.state()["machines"] == []
    assert refused(lambda: up(account)).code == "deployment_ended"


def test_two_at_once_make_one_machine(aws: Aws, server: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in server.environment.items():
        monkeypatch.setenv(key, value)
    said: list[Any] = []

    def run() -> None:
        account = Account("us-east-1", sleep=lambda seconds: None)
        try:
            said.append(provision.up(account, spec(), PAYLOAD).instance_id)
        except ModelpickError as error:
            said.append(error.code)

    runs = [threading.Thread(target=run) for _ in range(2)]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    assert len(aws.state()["machines"]) == 1
    assert aws.state()["launches"] == 1
    assert matrix.faults(aws) == []
    assert aws.state()["machines"][0] in said


def test_another_plan_under_the_same_name(aws: Aws, account: Account) -> None:
    up(account)
    error = refused(lambda: up(account, max_hours=1.0))
    assert error.code == "name_taken"
    assert len(aws.state()["machines"]) == 1


def test_quota_zero_names_the_request_for_more(aws: Aws, account: Account) -> None:
    aws.world(quotas={})
    error = refused(lambda: up(account))
    assert (error.code, error.exit_code) == ("quota", 4)
    assert "request-service-quota-increase --service-code ec2 --quota-code L-DB2E81BA --desired-value 4" in error.fix
    assert aws.state()["left"] == []


def test_quota_consumed_by_other_machines(aws: Aws, account: Account) -> None:
    aws.world(quotas={"L-DB2E81BA": 7.0})
    up(account)
    error = refused(lambda: up(account, name="second"))
    assert error.code == "quota"
    assert "in use" in error.message


def test_the_spot_quota_is_another_one(aws: Aws, account: Account) -> None:
    aws.world(quotas={"L-DB2E81BA": 64.0})
    assert refused(lambda: up(account, market="spot")).code == "quota"


def test_quota_that_only_the_launch_reveals(aws: Aws, account: Account) -> None:
    aws.world(launch_error="You have requested more vCPU capacity than your current vCPU limit of 0 allows")
    assert refused(lambda: up(account)).code == "quota"
    assert matrix.faults_after_limit(aws) == []


def test_no_capacity_anywhere_ends_at_zero(aws: Aws, account: Account) -> None:
    aws.no_capacity()
    error = refused(lambda: up(account))
    assert error.code == "no_capacity"
    assert "--wait" in error.fix
    aws.capacity()
    aws.advance(hours=1)
    assert aws.state()["machines"] == []


def test_another_zone_or_type_is_taken(aws: Aws, account: Account) -> None:
    aws.no_capacity(type="g5.xlarge")
    assert up(account).instance_type == "g6.xlarge"


def test_spot_then_on_demand(aws: Aws, account: Account) -> None:
    aws.no_capacity(market="spot")
    machine = up(account, market="spot-then-on-demand")
    assert aws.state()["machines"] == [machine.instance_id]


def test_a_late_machine_has_its_full_time(aws: Aws, account: Account) -> None:
    aws.no_capacity()
    waited = {"seconds": 0.0}
    slept = account.sleep

    def sleep(seconds: float) -> None:
        slept(seconds)
        waited["seconds"] += seconds
        if waited["seconds"] > 5 * 3600:
            aws.capacity()

    account.sleep = sleep
    try:
        machine = provision.up(account, spec(), PAYLOAD, wait=timedelta(hours=6))
    finally:
        account.sleep = slept
    assert machine.stop_at - account.now() > timedelta(hours=1.8)
    assert matrix.faults(aws) == []


def test_a_launch_that_can_never_work_shows_aws_s_words(aws: Aws, account: Account) -> None:
    aws.world(launch_error="Client.InvalidKMSKey.InvalidState: The KMS key provided is in an incorrect state")
    error = refused(lambda: up(account))
    assert error.code == "launch_failed"
    assert "InvalidKMSKey" in error.message


def test_wrong_account(aws: Aws, account: Account) -> None:
    error = refused(lambda: provision.up(account, spec(), PAYLOAD, expected_account="999999999999"))
    assert error.code == "wrong_account"
    assert aws.state()["left"] == []


def test_no_credentials(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    error = refused(lambda: Account("us-east-1").identity())
    assert (error.code, error.exit_code) == ("no_credentials", 4)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert refused(lambda: Account("us-east-1").identity()).code == "unknown_profile"


def test_no_default_vpc(aws: Aws, account: Account) -> None:
    for subnet in account.call("ec2", "describe_subnets")["Subnets"]:
        account.call("ec2", "delete_subnet", SubnetId=subnet["SubnetId"])
    assert refused(lambda: up(account)).code == "no_default_vpc"
    assert refused(lambda: up(account, subnet="subnet-0123")).code == "unknown_subnet"


def test_a_subnet_without_a_way_out(aws: Aws, account: Account) -> None:
    vpc = account.call("ec2", "create_vpc", CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    private = account.call("ec2", "create_subnet", VpcId=vpc, CidrBlock="10.9.1.0/24", AvailabilityZone="us-east-1a")
    error = refused(lambda: up(account, subnet=private["Subnet"]["SubnetId"]))
    assert error.code == "no_route_out"
    assert aws.state()["left"] == []


def test_a_private_subnet_with_a_nat_will_do_and_gives_no_public_address(aws: Aws, account: Account) -> None:
    vpc = account.call("ec2", "create_vpc", CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = account.call("ec2", "create_subnet", VpcId=vpc, CidrBlock="10.9.1.0/24", AvailabilityZone="us-east-1a")
    inside = subnet["Subnet"]["SubnetId"]
    nat = account.call("ec2", "create_nat_gateway", SubnetId=inside)["NatGateway"]["NatGatewayId"]
    wanted = [{"Name": "vpc-id", "Values": [vpc]}]
    table = account.call("ec2", "describe_route_tables", Filters=wanted)["RouteTables"][0]["RouteTableId"]
    account.call("ec2", "create_route", RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat)
    up(account, subnet=inside)
    versions = account.call(
        "ec2", "describe_launch_template_versions", LaunchTemplateName=NAMES.group, Versions=["$Latest"]
    )
    (card,) = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]["NetworkInterfaces"]
    assert card["AssociatePublicIpAddress"] is False


def test_a_zone_that_does_not_sell_it(aws: Aws, account: Account) -> None:
    found = account.call("ec2", "describe_subnets", Filters=[{"Name": "availability-zone", "Values": ["us-east-1e"]}])
    error = refused(lambda: up(account, subnet=found["Subnets"][0]["SubnetId"]))
    assert error.code == "not_offered"
    assert "us-east-1a" in error.fix


def test_a_permission_boundary_s_denial_keeps_aws_s_words(aws: Aws, account: Account) -> None:
    words = "no permissions boundary allows the iam:CreateRole action"
    aws.fail("CreateRole", code="AccessDenied", message=words, status=403, times=9)
    error = refused(lambda: up(account))
    assert error.code == "access_denied"
    assert words in error.message
    assert aws.state()["machines"] == []


def test_a_clock_wrong_by_an_hour(aws: Aws, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.world(offset=3600.0)
    own = Account("us-east-1")
    own._clients, own._session = account._clients, account._session
    assert refused(lambda: provision.up(own, spec(), PAYLOAD)).code == "clock_skew"
    aws.fail("GetCallerIdentity", code="SignatureDoesNotMatch", message="Signature expired", status=403)
    assert refused(account.identity).code == "clock_skew"


def test_a_role_that_is_not_seen_yet(aws: Aws, account: Account) -> None:
    aws.world(iam_settles_in=12.0)
    up(account)
    assert matrix.faults(aws) == []


@pytest.mark.parametrize(
    ("service", "operation", "words"),
    [
        ("autoscaling", "delete_auto_scaling_group", {"AutoScalingGroupName": NAMES.group, "ForceDelete": True}),
        ("scheduler", "delete_schedule", {"Name": NAMES.group}),
        ("ec2", "delete_launch_template", {"LaunchTemplateName": NAMES.group}),
        ("ssm", "delete_parameter", {"Name": NAMES.record}),
        ("logs", "delete_log_group", {"logGroupName": NAMES.log_group}),
        ("iam", "delete_role_policy", {"RoleName": NAMES.switch_role, "PolicyName": "switch"}),
    ],
)
def test_half_deleted_by_hand(service: str, operation: str, words: dict[str, Any], aws: Aws, account: Account) -> None:
    up(account)
    account.call(service, operation, **words)
    teardown.down(account, "demo")
    assert aws.state()["left"] == []
    teardown.down(account, "demo")


def test_a_machine_detached_by_hand_goes_too(aws: Aws, account: Account) -> None:
    machine = up(account)
    account.call(
        "autoscaling", "detach_instances", AutoScalingGroupName=NAMES.group, InstanceIds=[machine.instance_id],
        ShouldDecrementDesiredCapacity=True,
    )  # fmt: skip
    teardown.down(account, "demo")
    assert aws.state()["machines"] == []


def test_results_are_kept_with_an_expiry_and_data_is_not(aws: Aws, account: Account) -> None:
    up(account)
    for key in ("results/run/adapter.safetensors", "data/train.jsonl"):
        account.call("s3", "put_object", Bucket=NAMES.bucket, Key=key, Body=b"x" * 1000)
    aws.advance(hours=1)
    told = teardown.down(account, "demo").as_json()
    assert aws.state()["left"] == [f"bucket {NAMES.bucket}"]
    assert told["kept"]["objects"] == 1
    assert told["kept"]["expires_at"] is not None
    assert told["total_usd"] == pytest.approx(PRICES["g5.xlarge"] + 0.02, rel=0.05)
    assert told["items_usd"]["machine"] == pytest.approx(aws.state()["bill"]["machine"], rel=0.02)
    assert [item.state for item in status.deployments(account)] == ["kept"]
    teardown.down(account, "demo", keep=teardown.Retention(results=False))
    assert aws.state()["left"] == []


def test_the_hub_token_is_only_in_its_secure_string(aws: Aws, account: Account) -> None:
    up(account)
    held = account.call("ssm", "get_parameter", Name=NAMES.hub_token, WithDecryption=True)["Parameter"]
    assert (held["Type"], held["Value"]) == ("SecureString", "hf_secret")
    assert "hf_secret" not in repr(PAYLOAD)
    template = account.call(
        "ec2", "describe_launch_template_versions", LaunchTemplateName=NAMES.group, Versions=["$Latest"]
    )
    assert "hf_secret" not in str(template)


def test_nothing_comes_in_and_disks_are_encrypted(aws: Aws, account: Account) -> None:
    up(account)
    groups = account.call("ec2", "describe_security_groups", Filters=[{"Name": "group-name", "Values": [NAMES.group]}])
    assert groups["SecurityGroups"][0]["IpPermissions"] == []
    versions = account.call(
        "ec2", "describe_launch_template_versions", LaunchTemplateName=NAMES.group, Versions=["$Latest"]
    )
    data = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert all(disk["Ebs"]["Encrypted"] and disk["Ebs"]["DeleteOnTermination"] for disk in data["BlockDeviceMappings"])


def test_what_a_company_demands_is_on_everything(aws: Aws, account: Account) -> None:
    allowing = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    boundary = account.call("iam", "create_policy", PolicyName="edge", PolicyDocument=json.dumps(allowing))
    arn = boundary["Policy"]["Arn"]
    up(account, tags={"cost-center": "42"}, permission_boundary=arn)
    role = account.call("iam", "get_role", RoleName=NAMES.guest_role)["Role"]
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == arn
    assert {"Key": "cost-center", "Value": "42"} in role["Tags"]
    assert inventory.machines(account, "demo")[0].tags["cost-center"] == "42"


def test_sweep_finds_what_was_left_behind(aws: Aws, account: Account) -> None:
    aws.world(regions=["eu-central-1", "us-east-1"])
    up(account, name="lost")
    aws.advance(hours=4)
    up(account, name="running")
    assert [item.deployment for item in status.everywhere(account).deployments if status.is_orphan(item)] == ["lost"]


def test_doctor_names_each_thing_and_its_mending(aws: Aws, account: Account) -> None:
    candidates = spec().candidates
    wanted = preflight.PreflightRequest(candidates)
    assert {check.state for check in preflight.check(account, wanted)} == {"ok"}
    aws.world(quotas={}, denied=["iam:CreateRole"])
    found = {check.name: check for check in preflight.check(account, wanted)}
    assert found["quota"].state == "problem"
    assert "request-service-quota-increase" in str(found["quota"].fix)
    assert "iam:CreateRole" in found["permissions"].detail
    assert aws.state()["left"] == []


def test_a_machine_whose_switches_cannot_be_read_back_is_not_started(aws: Aws, account: Account) -> None:
    aws.fail("GetSchedule", code="AccessDenied", status=403, times=99)
    assert refused(lambda: up(account)).code == "access_denied"
    assert aws.state()["launches"] == 0


def test_suspended_scheduled_actions_are_no_switch(aws: Aws, account: Account) -> None:
    up(account)
    account.call(
        "autoscaling", "suspend_processes", AutoScalingGroupName=NAMES.group, ScalingProcesses=["ScheduledActions"]
    )
    held = kill_switches.read(account, NAMES)
    assert not held.armed
    assert "suspended" in held.problems[0]


@pytest.mark.parametrize("name", ["my box", "Demo", "-x", "", "a" * 21, "a--b", "ä"])
def test_a_name_that_cannot_be_one_suggests_one_that_can(name: str) -> None:
    error = refused(lambda: check_id(name))
    assert error.code == "bad_deployment_name"
    assert check_id(slug(name))


@pytest.mark.parametrize("cap", [0.0, -1.0, float("nan"), float("inf"), 0.05])
def test_caps_that_buy_nothing(cap: float) -> None:
    assert refused(lambda: spec(max_usd=cap)).code in ("bad_max_usd", "cap_too_small")
