"""What an older modelpick made is found by this one: names, tags, record and hash are as they were recorded then."""

import json
from typing import Any

import pytest

from modelpick.aws import inventory, provision, record, status, teardown
from modelpick.aws.account import Account
from modelpick.aws.names import ResourceNames
from modelpick.aws.spec import MachineJob
from modelpick.errors import ModelpickError
from tests.aws.conftest import PAYLOAD, spec
from tests.stand_ins.aws_account import Aws

NAMES = ResourceNames("demo", "123456789012", "us-east-1")
# Recorded with modelpick at commit 6d20494, of the spec below.
SHA256 = "f79733e5ba6eaa2f2aa6192e7f293d149f0963f352eb08ecb05205a0863451bc"
RECORD: dict[str, Any] = {
    "around_usd_per_hour": 0.02, "created_at": "2026-11-29T18:26:19Z", "deployment": "demo", "disk_gib": 100,
    "going_down": False, "hours": 2.0, "image": "ami-cf7042c020bba9d9e", "keep_results_days": 30,
    "market": "on-demand", "max_usd": 5.0, "model": "Qwen/Qwen3-8B", "owner": "ann", "plan_sha256": SHA256,
    "region": "us-east-1", "schema_version": 1, "usd_per_hour": {"g5.xlarge": 1.006, "g6.xlarge": 0.8048},
}  # fmt: skip
THINGS = [
    "action modelpick-demo-stop", "bucket modelpick-demo-123456789012-us-east-1", "group modelpick-demo",
    "log group /modelpick/demo", "parameter /modelpick/demo/api-key", "parameter /modelpick/demo/hub-token",
    "parameter /modelpick/demo/record", "profile modelpick-demo-us-east-1-guest",
    "role modelpick-demo-us-east-1-guest", "role modelpick-demo-us-east-1-switch", "schedule modelpick-demo",
    "security group modelpick-demo", "template modelpick-demo",
]  # fmt: skip
TAGS = {
    "Name": "modelpick demo", "cost-center": "42", "modelpick:deployment": "demo", "modelpick:owner": "ann",
    "modelpick:plan": "f79733e5ba6eaa2f",
}  # fmt: skip


def wanted() -> Any:
    return spec(job=MachineJob(("true",), kind="service"), tags={"cost-center": "42"})


def test_names_tags_and_hash_are_those_of_older_versions(aws: Aws, account: Account) -> None:
    provision.up(account, wanted(), PAYLOAD)
    assert [item for item in aws.state()["left"] if not item.startswith(("machine", "volume"))] == THINGS
    tags = {key: value for key, value in inventory.machines(account, "demo")[0].tags.items() if key[:4] != "aws:"}
    assert tags.pop("modelpick:expires")
    assert tags == TAGS
    assert wanted().sha256 == SHA256


def test_a_deployment_with_an_older_record_goes_on_and_comes_down(aws: Aws, account: Account) -> None:
    machine = provision.up(account, wanted(), PAYLOAD)
    began = record.read(account, NAMES)
    assert began is not None
    older = {**RECORD, "created_at": f"{began.created_at:%Y-%m-%dT%H:%M:%SZ}"}
    account.call("ssm", "put_parameter", Name=NAMES.record, Type="String", Value=json.dumps(older), Overwrite=True)
    held = record.read(account, NAMES)
    assert held is not None
    assert held.as_json() == older
    assert [(item.deployment, item.state, item.armed) for item in status.deployments(account)] == [
        ("demo", "running", True)
    ]
    assert provision.up(account, wanted(), PAYLOAD).instance_id == machine.instance_id
    assert provision.extend(account, "demo", 1.0, max_usd=20).armed
    assert len(teardown.down(account, "demo").runs) == 1
    assert aws.state()["left"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2}, {"hours": -1}, {"hours": "two"}, {"usd_per_hour": {}}, {"usd_per_hour": {"g5": "x"}},
        {"created_at": "yesterday"}, {"created_at": "2026-13-29T18:26:19Z"}, {"deployment": "../else"},
        {"market": "free"}, {"going_down": 1}, {"surprise": True}, {"image": None},
    ],
)  # fmt: skip
def test_a_record_of_another_shape_is_refused_and_can_be_taken_down(
    change: dict[str, Any], aws: Aws, account: Account
) -> None:
    text = json.dumps({**RECORD, **change})
    with pytest.raises(ModelpickError) as refused:
        record.parse(text)
    assert refused.value.code == "bad_record"
    assert "modelpick down" in refused.value.fix


def test_an_unreadable_record_keeps_nothing_from_being_taken_down(aws: Aws, account: Account) -> None:
    provision.up(account, wanted(), PAYLOAD)
    account.call("ssm", "put_parameter", Name=NAMES.record, Type="String", Value="[1]", Overwrite=True)
    assert [item.state for item in status.deployments(account)] == ["running"]
    teardown.down(account, "demo")
    assert aws.state()["left"] == []
