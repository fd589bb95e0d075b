"""The machine's side, really run: boot, job, spot notice, idle, limit, end. Results are home before it goes."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modelpick.aws import bundle, provision
from modelpick.aws.account import Account
from modelpick.aws.names import Names
from tests.aws_provision.conftest import spec
from tests.aws_provision.guest import Machine
from tests.stand_ins.aws_account import Aws

NAMES = Names("demo", "123456789012", "us-east-1")
needs_cli = pytest.mark.skipif(
    shutil.which("aws") is None, reason="needs the AWS CLI (pip install awscli, own environment)"
)
TRAINS = "mkdir -p results/run; cat data/train.jsonl > results/run/seen; echo step 1; echo done"
SAVES_WHEN_TOLD = (
    "trap 'echo saved > results/checkpoint; exit 0' TERM; mkdir -p results; touch ready; while true; do sleep 0.1; done"
)


def job(script: str, **more: Any) -> dict[str, Any]:
    """A job that is a shell script, without the training requirements."""
    return {"schema_version": 1, "command": ["bash", "-c", script], "kind": "job", "requirements": False, **more}


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

    def stage(self) -> dict[str, Any]:
        return dict(json.loads(self.read("progress/machine.json") or "{}"))


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
    assert one.stage()["stage"] == "ended"
    assert "exit code 0" in one.stage()["detail"]
    assert aws.state()["machines"] == []
    assert (one.machine.root / "opt/modelpick/venv/bin/modelpick").exists()
    logged = one.account.call("logs", "filter_log_events", logGroupName=NAMES.log_group)["events"]
    assert "step 1" in [event["message"] for event in logged]


@needs_cli
def test_a_spot_notice_saves_and_ends(ready: Any, aws: Aws) -> None:
    one = ready(SAVES_WHEN_TOLD)
    assert one.machine.boot().returncode == 0
    one.machine.wait_for("opt/modelpick/ready")
    one.machine.metadata.notice = True
    one.machine.wait_for_end()
    assert one.read("results/checkpoint") == "saved\n"
    assert one.stage()["detail"].startswith("spot interruption")
    assert aws.state()["machines"] == []


@needs_cli
def test_an_idle_service_ends(ready: Any, aws: Aws) -> None:
    one = ready("while true; do sleep 0.1; done", kind="service", idle_minutes=0.02)
    (one.machine.root / "utilization").write_text("0\n")
    assert one.machine.boot().returncode == 0
    one.machine.wait_for_end()
    assert "idle" in one.stage()["detail"]
    assert aws.state()["machines"] == []


@needs_cli
def test_the_limit_ends_it_in_time_for_its_results(ready: Any, aws: Aws) -> None:
    one = ready(SAVES_WHEN_TOLD)
    assert one.machine.boot().returncode == 0
    one.machine.wait_for("opt/modelpick/ready")
    soon = datetime.now(UTC) + timedelta(minutes=4)
    near = json.dumps({"schema_version": 1, "stop_at": f"{soon:%Y-%m-%dT%H:%M:%SZ}"})
    one.account.call("s3", "put_object", Bucket=NAMES.bucket, Key="bundle/limit.json", Body=near.encode())
    one.machine.wait_for_end()
    assert one.read("results/checkpoint") == "saved\n"
    assert one.stage()["detail"].startswith("the time limit")


@needs_cli
def test_without_a_working_driver_it_ends_and_says_so(ready: Any, aws: Aws) -> None:
    one = ready(TRAINS)
    (one.machine.root / "no-gpu").touch()
    one.machine.boot()
    one.machine.wait_for_end()
    assert "no working GPU driver" in one.stage()["detail"]
    assert aws.state()["machines"] == []


@needs_cli
def test_a_bundle_that_was_changed_is_not_run(ready: Any, aws: Aws) -> None:
    one = ready(TRAINS)
    listed = one.account.call("s3", "list_objects_v2", Bucket=NAMES.bucket, Prefix="bundle/")["Contents"]
    key = next(item["Key"] for item in listed if item["Key"].endswith(".tar.gz"))
    one.account.call("s3", "put_object", Bucket=NAMES.bucket, Key=key, Body=b"something else")
    assert one.machine.boot().returncode != 0
    assert "-P now" in one.machine.shutdowns()
    assert not (one.machine.root / "opt/modelpick/deploy").exists()
    assert aws.state()["machines"] == []


@needs_cli
def test_the_power_off_is_armed_before_anything_is_fetched(ready: Any) -> None:
    one = ready(TRAINS)
    one.machine.boot()
    assert one.machine.shutdowns()[0] == "-P +150"


def test_user_data_is_small_and_holds_no_secret() -> None:
    text = bundle.user_data(
        spec(name="a" * 20, region="ap-southeast-1"), Names("a" * 20, "123456789012", "ap-southeast-1"), "f" * 64
    )
    assert len(text.encode()) <= 4096
    assert "@" not in text
    assert "hf_" not in text


def test_the_same_inputs_give_the_same_bundle() -> None:
    assert bundle.build(job("true")) == bundle.build(job("true"))


@pytest.mark.skipif(shutil.which("cloud-init") is None, reason="needs cloud-init")
def test_cloud_init_accepts_the_user_data(tmp_path: Path) -> None:
    path = tmp_path / "user-data"
    path.write_text(bundle.user_data(spec(), NAMES, "f" * 64))
    run = subprocess.run(
        ["cloud-init", "schema", "--config-file", str(path)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_shellcheck_accepts_the_scripts(repository: Path, tmp_path: Path) -> None:
    import yaml

    document = yaml.safe_load(bundle.user_data(spec(), NAMES, "f" * 64))
    fetch = tmp_path / "fetch.sh"
    fetch.write_text(next(item["content"] for item in document["write_files"] if item["content"].startswith("#!")))
    scripts = [str(repository / "deploy/install.sh"), str(fetch)]
    run = subprocess.run(["shellcheck", "--exclude=SC1091", *scripts], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_units(repository: Path) -> None:
    units = [str(path) for path in sorted((repository / "deploy/units").glob("*.service"))]
    run = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    ours = [line for line in run.stderr.splitlines() if "modelpick" in line]
    assert ours == []
    assert units


def test_the_template_is_clean(tmp_path: Path) -> None:
    pytest.importorskip("cfnlint")
    from modelpick.aws import cloudformation

    path = tmp_path / "template.json"
    path.write_text(cloudformation.template_text(spec(kms_key="arn:aws:kms:us-east-1:123456789012:key/k")))
    words = [
        sys.executable,
        "-c",
        "import sys; from cfnlint.runner import main; sys.exit(main())",
        "--template",
        str(path),
        "--regions",
        "us-east-1",
    ]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_the_template_starts_only_behind_both_switches() -> None:
    from modelpick.aws import cloudformation

    resources = cloudformation.template(spec())["Resources"]
    assert resources["Group"]["Properties"]["DesiredCapacity"] == "0"
    assert set(resources["Start"]["DependsOn"]) == {"Stop", "Backstop"}
    assert resources["Start"]["Properties"]["DesiredCapacity"] == 1
