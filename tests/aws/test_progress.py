"""How far a machine is, told from its bucket; and the key to what it serves, from its SecureString alone."""

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modelpick.aws import access, progress, provision, record, teardown, templates
from modelpick.aws.account import Account
from modelpick.aws.names import ResourceNames
from modelpick.aws.spec import MachineJob
from modelpick.errors import ModelpickError
from tests.aws.conftest import PAYLOAD, spec
from tests.aws.test_cli import Program
from tests.stand_ins.aws_account import Aws

NAMES = ResourceNames("demo", "123456789012", "us-east-1")
SERVES = MachineJob(("true",), kind="service")
MACHINE, TRAINING, SERVING = "progress/machine.json", "results/run/progress.json", "results/serve/progress.json"


@pytest.fixture
def machine(aws: Aws, account: Account) -> provision.RunningMachine:
    return provision.up(account, spec(job=SERVES), PAYLOAD)


def put(account: Account, key: str, told: Any, *, ago: timedelta = timedelta(0)) -> None:
    """What the machine would put there, at a time of its own."""
    dated = {"at": f"{account.now() - ago:%Y-%m-%dT%H:%M:%SZ}"}
    body = json.dumps({**dated, "heartbeat_at": dated["at"], **told}) if isinstance(told, dict) else told
    account.call("s3", "put_object", Bucket=NAMES.bucket, Key=key, Body=body.encode())


def text(account: Account) -> str:
    return progress.read_progress(account, NAMES, record.read(account, NAMES)).text()


def test_each_stage_is_said_in_words(account: Account, machine: provision.RunningMachine) -> None:
    assert text(account) == "booting"
    put(account, MACHINE, {"stage": "packages", "detail": ""})
    assert text(account) == "installing packages"
    put(account, MACHINE, {"stage": "running", "detail": ""})
    put(account, TRAINING, {"state": "before", "step": 0})
    assert text(account) == "fine-tuning: measuring the model as it is"
    put(account, TRAINING, {"state": "training", "step": 0, "steps": None})
    assert text(account) == "fine-tuning: loading the model to train"
    put(account, TRAINING, {"state": "training", "step": 3, "steps": 12, "loss": 2.3456, "eta_seconds": 83.0})
    assert text(account) == "fine-tuning: step 3 of 12, loss 2.346, 1:23 left"
    put(account, SERVING, {"state": "ready", "models": ["base", "run"]})
    assert text(account) == "serving base, run"
    put(account, MACHINE, {"stage": "ended", "detail": "idle for 30 minutes"})
    assert text(account) == "ended: idle for 30 minutes"


def test_what_an_earlier_machine_left_does_not_count(account: Account, machine: provision.RunningMachine) -> None:
    put(account, MACHINE, {"stage": "running", "detail": ""})
    put(account, SERVING, {"state": "ready", "models": ["base"]}, ago=timedelta(hours=1))
    put(account, TRAINING, {"state": "done"}, ago=timedelta(hours=1))
    assert text(account) == "running"


@pytest.mark.parametrize("broken", ["", "{", "[]", "null", '{"state": 3}', '{"at": "yesterday", "stage": "ready"}'])
def test_a_half_written_report_is_no_report(broken: str, account: Account, machine: provision.RunningMachine) -> None:
    for key in (MACHINE, TRAINING, SERVING):
        put(account, key, broken)
    assert text(account) == "booting"


def test_following_ends_when_it_serves(account: Account, machine: provision.RunningMachine) -> None:
    told: list[str] = []
    put(account, MACHINE, {"stage": "running", "detail": ""})

    def report(said: str) -> None:
        told.append(said)
        put(account, SERVING, {"state": "ready", "models": ["base"]})

    assert progress.follow(account, "demo", report).ready
    assert told == ["running", "serving base"]


def test_following_ends_when_the_job_fails_with_its_last_words(
    account: Account, machine: provision.RunningMachine
) -> None:
    put(account, MACHINE, {"stage": "ended", "detail": "the job is over; exit code 1"})
    put(account, TRAINING, {"state": "failed", "error": {"message": "no room"}})
    put(account, "progress/job.log", "one\ntwo\n")
    with pytest.raises(ModelpickError) as failed:
        progress.follow(account, "demo", lambda _: None)
    assert failed.value.code == "job_failed"
    assert "two" in failed.value.message
    assert "modelpick down demo" in failed.value.fix


def test_a_machine_that_ends_before_it_served_has_failed(account: Account, machine: provision.RunningMachine) -> None:
    put(account, MACHINE, {"stage": "ended", "detail": "spot interruption"})
    put(account, TRAINING, {"state": "done"})
    assert progress.follow(account, "demo", lambda _: None).training is not None
    with pytest.raises(ModelpickError) as failed:
        progress.follow(account, "demo", lambda _: None, serves=True)
    assert failed.value.code == "job_failed"


def test_following_ends_when_the_machine_is_gone(aws: Aws, account: Account, machine: provision.RunningMachine) -> None:
    aws.power_off(machine.instance_id)
    with pytest.raises(ModelpickError) as gone:
        progress.follow(account, "demo", lambda _: None)
    assert gone.value.code == "machine_gone"


def test_following_outlives_a_lost_network_and_says_what_runs(
    aws: Aws, account: Account, machine: provision.RunningMachine
) -> None:
    put(account, MACHINE, {"stage": "running", "detail": ""})
    put(account, SERVING, {"state": "ready", "models": ["base"]})
    aws.fail("DescribeInstances", code="InternalError", status=500, times=7)
    assert progress.follow(account, "demo", lambda _: None).ready
    aws.fail("DescribeInstances", code="AccessDenied", status=403, times=99)
    with pytest.raises(ModelpickError) as denied:
        progress.follow(account, "demo", lambda _: None)
    assert denied.value.exit_code == 5
    assert "it stops by itself at" in denied.value.message


def test_the_key_is_made_once_and_goes_with_the_deployment(account: Account, machine: provision.RunningMachine) -> None:
    key = access.api_key(account, "demo")
    assert key is not None
    assert len(key) > 40
    held = account.call("ssm", "get_parameter", Name=NAMES.api_key)["Parameter"]
    assert held["Type"] == "SecureString"
    provision.up(account, spec(job=SERVES), PAYLOAD)
    assert access.api_key(account, "demo") == key
    teardown.down(account, "demo")
    assert access.api_key(account, "demo") is None


def test_what_serves_nothing_has_no_key(account: Account, aws: Aws) -> None:
    provision.up(account, spec(), PAYLOAD)
    assert account.find("ssm", "get_parameter", Name=NAMES.api_key) is None


def test_the_machine_may_read_its_two_secrets_and_no_other() -> None:
    statements = templates.guest_policy(NAMES, None)["Statement"]
    read = next(one for one in statements if one["Action"] == ["ssm:GetParameter"])
    assert read["Resource"] == [
        f"arn:aws:ssm:us-east-1:123456789012:parameter/modelpick/demo/{name}" for name in ("hub-token", "api-key")
    ]


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_connect_keeps_the_key_where_only_its_owner_reads(
    aws: Aws, account: Account, machine: provision.RunningMachine, tmp_path: Path
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("aws", "session-manager-plugin"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    person = Program(aws, tmp_path)
    person.environment["PATH"] = f"{programs}:{os.environ['PATH']}"
    (tmp_path / "key").write_text("an older one, open to all")
    told = person.json("connect", "demo", "--key-file", "key", "--local-port", "9000")
    assert (told["endpoint"], told["ready"]) == ("http://127.0.0.1:9000/v1", False)
    assert (tmp_path / "key").read_text().strip() == access.api_key(account, "demo")
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    code, out, err = person.run("connect", "demo")
    assert code == 0
    assert str(access.api_key(account, "demo")) not in out + err
    assert "demo does not serve yet: booting" in out
