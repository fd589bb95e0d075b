"""The machine's side, really run: boot, job, spot notice, idle, limit, end. Results are home before it goes."""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modelpick.aws import bundle, provision
from modelpick.aws.account import Account
from modelpick.aws.names import ResourceNames
from modelpick.aws.spec import MachineJob
from tests.aws.conftest import spec
from tests.aws.guest import NVIDIA_SMI, QUICK_AWS, QUICK_PYTHON, Machine, systemd_says
from tests.stand_ins.aws_account import Aws

NAMES = ResourceNames("demo", "123456789012", "us-east-1")
needs_cli = pytest.mark.skipif(
    shutil.which("aws") is None, reason="needs the AWS CLI (pip install awscli, own environment)"
)
WATCHDOG = "modelpick-watchdog.service"
TRAINS = "mkdir -p results/run; cp data/train.jsonl results/run/seen; env > results/run/environment; echo step 1"
SAVES_SLOWLY = """
import pathlib, signal, sys, time
def save(*_):
    time.sleep(2)
    folder = pathlib.Path("results/checkpoint-1"); folder.mkdir(parents=True)
    (folder / "state").write_text("saved"); (folder / "complete.json").write_text("{}")
    sys.exit(130)
signal.signal(signal.SIGTERM, save)
pathlib.Path("ready").touch()
while True: time.sleep(0.1)
"""
SERVES = """
timeout 3 sh -c 'while :; do :; done'
state=$HOME/.local/state/modelpick/serve-8000; mkdir -p "$state" results; touch "$state/ready"
for n in $(seq $REQUESTS); do
  sleep 2; echo '{"request":{"uri":"/v1/chat/completions"}}' >>"$state/requests.jsonl"; echo $n >results/asked
  echo '{"request":{"uri":"/ready"}}' >>"$state/requests.jsonl"
done
while true; do echo '{"request":{"uri":"/v1/models"}}' >>"$state/requests.jsonl"; sleep 1; done
"""


def job(script: str, **more: Any) -> MachineJob:
    """A job that is a shell script, without the training requirements."""
    return MachineJob(**{"command": ("bash", "-c", script), "requirements": False, **more})


class Ready:
    """A deployment that is up in the account, and its machine, not booted yet."""

    def __init__(
        self, root: Path, aws: Aws, account: Account, tmp: Path, script: str, real_venv: bool = False, **more: Any
    ) -> None:
        self.aws, self.account = aws, account
        wanted = spec(job=job(script, **more))
        data = tmp / "train.jsonl"
        data.write_text('{"prompt": "a", "completion": "b"}\n')
        provision.up(account, wanted, bundle.payload(wanted, NAMES, data={"train.jsonl": data}, hub_token="hf_secret"))
        self.machine = Machine(root, aws, wanted, NAMES, real_venv=real_venv)

    def read(self, key: str) -> str | None:
        found = self.account.find("s3", "get_object", Bucket=NAMES.bucket, Key=key)
        return found["Body"].read().decode() if found else None

    def extend_to(self, when: datetime) -> None:
        body = json.dumps({"schema_version": 1, "stop_at": f"{when:%Y-%m-%dT%H:%M:%SZ}"}).encode()
        self.account.call("s3", "put_object", Bucket=NAMES.bucket, Key="bundle/limit.json", Body=body)

    def stage(self) -> dict[str, Any]:
        return dict(json.loads(self.read("progress/machine.json") or "{}"))


class Quick:
    """A machine whose `aws` is a program over a folder: for what happens on the machine, not in the account."""

    def __init__(self, root: Path, script: str, **more: Any) -> None:
        self.machine = Machine(root, Aws("http://127.0.0.1:9"), spec(job=job(script, **more)), NAMES)
        self.machine.program("aws", QUICK_AWS)
        (root / "s3" / "data").mkdir()
        (root / "s3" / "data" / "train.jsonl").touch()

    def read(self, key: str) -> str | None:
        path = self.machine.root / "s3" / key
        return path.read_text() if path.exists() else None

    def extend_to(self, when: datetime) -> None:
        (self.machine.root / "s3/bundle/limit.json").write_text(json.dumps({"stop_at": f"{when:%Y-%m-%dT%H:%M:%SZ}"}))

    def stage(self) -> dict[str, Any]:
        return dict(json.loads(self.read("progress/machine.json") or "{}"))

    @property
    def asked(self) -> str:
        return (self.machine.root / "asked").read_text()


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Any]:
    made: list[Quick] = []

    def make(script: str, **more: Any) -> Quick:
        made.append(Quick(tmp_path / "root", script, **more))
        return made[-1]

    yield make
    for one in made:
        one.machine.off()


@pytest.fixture
def ready(aws: Aws, account: Account, tmp_path: Path) -> Iterator[Any]:
    made: list[Machine] = []

    def make(script: str, **more: Any) -> Ready:
        found = Ready(tmp_path / "root", aws, account, tmp_path, script, **more)
        made.append(found.machine)
        return found

    yield make
    for machine in made:
        machine.off()


@needs_cli
def test_a_job_runs_and_the_machine_goes_with_its_results_home(ready: Any, aws: Aws) -> None:
    one = ready(TRAINS, real_venv=True)
    booted = one.machine.boot()
    assert booted.returncode == 0, booted.stderr
    one.machine.wait_for_end()
    assert one.read("results/run/seen") == '{"prompt": "a", "completion": "b"}\n'
    assert one.read("data/train.jsonl") is None
    assert "step 1" in (one.read("progress/job.log") or "")
    assert "installing the packages" in (one.read("progress/boot.log") or "")
    assert one.stage()["stage"] == "ended"
    assert "exit code 0" in one.stage()["detail"]
    assert aws.state()["machines"] == []
    assert (one.machine.root / "opt/modelpick/venv/bin/modelpick").exists()
    logged = one.account.call("logs", "filter_log_events", logGroupName=NAMES.log_group)["events"]
    assert {"step 1", "starting the job"} <= {event["message"] for event in logged}
    measured = one.account.call("cloudwatch", "list_metrics", Namespace="modelpick")["Metrics"]
    assert {"GpuUtilization", "GpuMemoryUsed"} <= {metric["MetricName"] for metric in measured}
    # The first thing of all, moved behind the real limit later; and the job saw no key and no secret but its token.
    assert one.machine.timers()[0] == "modelpick-off.timer 120min"
    assert len(one.machine.timers()) > 1
    environment = one.read("results/run/environment") or ""
    assert "HF_TOKEN=hf_secret" in environment
    assert "SECRET" not in environment
    kept = [path for path in one.machine.root.rglob("*") if path.is_file() and "results" not in path.parts]
    assert not [path for path in kept if b"hf_secret" in path.read_bytes()]


@needs_cli
def test_a_spot_notice_saves_what_a_shell_left_behind(ready: Any, aws: Aws) -> None:
    """The shell of `finetune && serve` dies of SIGTERM at once; what it runs must not be killed while it saves."""
    one = ready(f"{sys.executable} -c '{SAVES_SLOWLY}' && true")
    assert one.machine.boot().returncode == 0
    one.machine.wait_for("opt/modelpick/ready")
    one.machine.metadata.notice = True
    one.machine.wait_for_end()
    assert one.read("results/checkpoint-1/state") == "saved"
    assert one.read("results/checkpoint-1/complete.json") == "{}"
    assert one.stage()["detail"].startswith("spot interruption")
    assert aws.state()["machines"] == []


def test_a_service_ends_when_nobody_asks_it(quick: Any) -> None:
    """Until it is up it works by loading; then only what is asked of it counts, and looks at it are nothing asked."""
    one = quick(SERVES, kind="service", idle_minutes=0.15, environment={"REQUESTS": "5"})
    (one.machine.root / "utilization").write_text("0\n")
    assert one.machine.boot().returncode == 0
    one.machine.wait_for_end()
    assert "idle" in one.stage()["detail"]
    assert one.read("results/asked") == "5\n"  # not before the last one was answered
    assert "--desired-capacity 0" in one.asked


def test_the_limit_ends_it_in_time_and_a_dead_watchdog_comes_back(quick: Any) -> None:
    one = quick(f"exec {sys.executable} -c '{SAVES_SLOWLY}'")
    one.machine.environment["STAND_IN_HASTE"] = "20"  # WatchdogSec of five minutes: 15 seconds
    assert one.machine.boot().returncode == 0
    one.machine.wait_for("opt/modelpick/ready")
    first = systemd_says(one.machine.root, WATCHDOG)["pid"]
    os.kill(int(str(first)), signal.SIGSTOP)  # it hangs: silent, not dead
    one.extend_to(datetime.now(UTC) + timedelta(minutes=4))
    one.machine.wait_for_end()
    assert systemd_says(one.machine.root, WATCHDOG)["pid"] != first
    assert one.read("results/checkpoint-1/state") == "saved"
    assert one.stage()["detail"].startswith("the time limit")
    # 4 minutes and 30 behind them, counted from the boot of the computer this runs on
    minutes = int(one.machine.timers()[-2].split()[1].removesuffix("min")) - time.monotonic() / 60
    assert 30 < minutes < 36


def test_a_reboot_goes_on_with_the_job_and_keeps_what_is_newer(quick: Any) -> None:
    lives = "mkdir -p results; echo $MODELPICK_VLLM >> results/lives; test $(wc -l < results/lives) = 2 || sleep 600"
    one = quick(lives, vllm=True, keep_data=True)
    assert one.machine.boot().returncode == 0
    one.machine.wait_for("opt/modelpick/results/lives")
    one.machine.kill()
    (one.machine.root / "s3/results").mkdir(exist_ok=True)
    (one.machine.root / "s3/results/lives").write_text("older\n")  # the bucket is a minute behind the disk
    one.machine.reboot()
    one.machine.wait_for_end()
    assert one.machine.timers().count("modelpick-off.timer 120min") == 2
    vllm = f"{one.machine.root}/opt/modelpick/scratch/vllm/bin/vllm\n"
    assert one.read("results/lives") == vllm * 2
    assert one.read("data/train.jsonl") is not None
    assert "exit code 0" in one.stage()["detail"]


def test_a_watchdog_that_cannot_live_is_followed_by_the_plain_end(quick: Any) -> None:
    one = quick(f"exec {sys.executable} -c '{SAVES_SLOWLY}'")
    assert one.machine.boot().returncode == 0
    one.machine.wait_for("opt/modelpick/ready")
    (one.machine.root / "opt/modelpick/deploy/guest/observe.py").write_text("broken(")
    os.kill(int(str(systemd_says(one.machine.root, WATCHDOG)["pid"])), signal.SIGKILL)
    one.machine.wait_for_end(how="poweroff")
    assert one.read("results/checkpoint-1/state") == "saved"
    assert one.read("data/train.jsonl") is None
    assert one.stage()["stage"] == "failed"
    assert one.stage()["detail"].startswith(WATCHDOG)
    assert "--desired-capacity 0" in one.asked


@needs_cli
def test_a_machine_without_a_gpu_ends_and_says_why(ready: Any, aws: Aws) -> None:
    one = ready(TRAINS)
    (one.machine.root / "no-gpu").touch()
    one.machine.boot(wait=False)
    one.machine.wait_for_end(how="poweroff")
    assert one.stage()["stage"] == "failed"
    assert one.stage()["detail"] == "modelpick-setup.service: no working GPU driver"
    assert one.read("data/train.jsonl") is None
    assert "no working GPU driver" in (one.read("progress/boot.log") or "")
    assert aws.state()["machines"] == []
    group = one.account.call("autoscaling", "describe_auto_scaling_groups", AutoScalingGroupNames=[NAMES.group])
    suspended = {item["ProcessName"] for item in group["AutoScalingGroups"][0]["SuspendedProcesses"]}
    assert {"Launch", "ReplaceUnhealthy"} <= suspended


REFUSES = "words=()", "[[ $* != *{}* ]] || exit 1; words=()"
FAILURES: dict[str, tuple[str, str]] = {  # what set-up says -> the program that fails it, and how
    "driver 570.86.15 is too old": ("nvidia-smi", NVIDIA_SMI.replace('$(cat "$MODELPICK_ROOT/driver")', "570.86.15")),
    "no working GPU driver": ("nvidia-smi", "#!/bin/bash\nexit 9\n"),
    "installing the packages": ("python3", QUICK_PYTHON.replace("\\n' >", "\\nexit 1' >")),
    "fetching the bundle": ("aws", QUICK_AWS.replace(REFUSES[0], REFUSES[1].format("bundle/"))),
    "checking the bundle": ("aws", QUICK_AWS.replace('else cp "$from"', "else cp /bin/true")),
    "unpacking the bundle": ("tar", "#!/bin/bash\necho 'Cannot write: No space left on device' >&2; exit 2\n"),
    "": ("aws", "#!/bin/bash\nexit 127\n"),  # no AWS CLI, no network: nobody hears it, and still
}


@pytest.mark.parametrize("said", FAILURES)
def test_whatever_set_up_fails_of_the_group_goes_to_zero_and_the_power_off(quick: Any, said: str) -> None:
    one = quick("touch began", requirements=True)
    one.machine.program(*FAILURES[said])
    one.machine.boot(wait=False)
    one.machine.wait_for_end(how="poweroff")
    assert one.machine.timers()[0] == "modelpick-off.timer 120min"
    assert not (one.machine.root / "opt/modelpick/began").exists()
    if said:
        assert said in one.stage()["detail"]
        assert one.asked.index("suspend-processes") < one.asked.index("--desired-capacity 0")
        assert one.read("data/train.jsonl") is None


def test_a_job_whose_earlier_results_cannot_be_fetched_does_not_begin_anew(quick: Any) -> None:
    one = quick("touch began")
    one.machine.program("aws", QUICK_AWS.replace(REFUSES[0], REFUSES[1].format('"errors s3://"*/results/')))
    one.machine.boot()
    one.machine.wait_for_end()
    assert "results/ could not be fetched" in (one.read("progress/job.log") or "")
    assert "exit code 4" in one.stage()["detail"]
    assert not (one.machine.root / "opt/modelpick/began").exists()
