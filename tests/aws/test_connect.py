"""`connect`: the session plugin is given what the AWS CLI would give it, or an error says what is missing."""

import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelpick.aws import access, provision
from modelpick.aws.account import Account
from modelpick.errors import ModelpickError
from tests.aws.conftest import PAYLOAD, spec
from tests.aws.test_cli import Program
from tests.stand_ins.aws_account import Aws

SESSION = {
    "SessionId": "stand-in-0123",
    "TokenValue": "token-value",
    "StreamUrl": "wss://ssm.invalid/stand-in-0123",
}
_PLUGIN = """#!/usr/bin/env python3
import json, os, signal, sys, time
if sys.argv[1:] == ["--version"]:
    print("{version}")
    sys.exit(0)
signal.signal(signal.SIGINT, lambda *_: sys.exit({code}))
with open("{record}", "w") as file:
    json.dump({{"words": sys.argv, "session": os.environ.get("AWS_SSM_START_SESSION_RESPONSE")}}, file)
print("Starting session with SessionId: stand-in-0123")
time.sleep({seconds})
sys.exit({code})
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A session-manager-plugin first on PATH that writes down what it was started with."""

    def make(version: str = "1.2.707.0", code: int = 0, seconds: float = 0.0) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        record = tmp_path / "plugin.json"
        program = folder / "session-manager-plugin"
        program.write_text(_PLUGIN.format(version=version, record=record, code=code, seconds=seconds))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return record

    return make


def carried(held: access.Session, record: Path, *, interactive: bool = False) -> tuple[int, dict[str, Any]]:
    code = access.connect(held, interactive=interactive)
    return code, json.loads(record.read_text())


def test_a_port_as_the_aws_cli_would_forward_it(
    aws: Aws, account: Account, plugin: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    record = plugin()
    machine = provision.up(account, spec(), PAYLOAD)
    code, told = carried(access.session(account, "demo", port=8000, local_port=9000), record)
    _, session, region, verb, profile, request, endpoint = told["words"]
    assert (code, session, region, verb, profile, endpoint) == (
        0, "AWS_SSM_START_SESSION_RESPONSE", "us-east-1", "StartSession", "", aws.endpoint,
    )  # fmt: skip
    assert json.loads(told["session"]) == SESSION
    assert json.loads(request) == {
        "Target": machine.instance_id,
        "DocumentName": "AWS-StartPortForwardingSession",
        "Parameters": {"portNumber": ["8000"], "localPortNumber": ["9000"]},
    }
    assert capfd.readouterr().out == ""  # what the plugin says is not the answer


def test_a_shell_and_an_old_plugin_that_takes_the_session_as_an_argument(
    aws: Aws, account: Account, plugin: Any
) -> None:
    record = plugin(version="1.2.497.0", code=3)
    machine = provision.up(account, spec(), PAYLOAD)
    held = access.session(account, "demo", shell=True)
    assert "token-value" not in repr(held.environment)
    code, told = carried(held, record, interactive=True)
    assert code == 3
    assert json.loads(told["words"][1]) == SESSION
    assert json.loads(told["words"][5]) == {"Target": machine.instance_id}
    assert told["session"] is None


def test_what_is_missing_is_said_with_what_mends_it(
    aws: Aws, account: Account, plugin: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def code(name: str = "demo") -> str:
        with pytest.raises(ModelpickError) as refused:
            access.session(account, name)
        assert refused.value.fix
        return refused.value.code

    assert code() == "not_running"
    machine = provision.up(account, spec(), PAYLOAD)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        assert code() == "missing_program"
    plugin()
    aws.world(agent_online=False)
    assert code() == "agent_offline"
    account.call("ec2", "stop_instances", InstanceIds=[machine.instance_id])
    assert code() == "not_running"
    stopped = access.inventory.machines(account, "demo")[0]
    monkeypatch.setattr(access.inventory, "machines", lambda *_: [replace(stopped, state="pending")])
    assert code() == "not_in_service"


def test_the_whole_program_with_a_profile_until_ctrl_c(aws: Aws, account: Account, plugin: Any, tmp_path: Path) -> None:
    record = plugin(seconds=60.0)
    provision.up(account, spec(), PAYLOAD)
    config = tmp_path / "config"
    config.write_text("[profile work]\naws_access_key_id = stand-in\naws_secret_access_key = stand-in\n")
    program = Program(aws, tmp_path)
    program.environment |= {"PATH": os.environ["PATH"], "AWS_CONFIG_FILE": str(config)}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del program.environment[name]
    process = program.start("connect", "demo", "--profile", "work", "--json")
    assert process.stdout is not None
    answer = json.loads(process.stdout.readline())
    assert answer["address"] == "http://127.0.0.1:8000"
    while not (record.exists() and record.read_text().endswith("}")):
        assert process.poll() is None
        time.sleep(0.05)
    assert json.loads(record.read_text())["words"][4] == "work"
    for child in subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split():
        os.kill(int(child), signal.SIGINT)  # a terminal's Ctrl-C goes to both
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "token-value" not in err
