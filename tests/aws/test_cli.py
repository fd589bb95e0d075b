"""The commands in processes of their own, and killed there: the same guarantee through the whole program."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelpick.aws.account import Account
from tests.aws import matrix
from tests.cli.conftest import Run
from tests.stand_ins.aws_account import Aws
from tests.stand_ins.hub import Hub

ROOT = Path(__file__).resolve().parents[2]
UP = ("up", "Qwen/Qwen3-8B", "--offline", "--name", "box", "--yes", "--max-hours", "2", "--instance", "g6e.xlarge")


class Program:
    """modelpick, talking to one stand-in account: in this process, and in one of its own where that is the point."""

    def __init__(self, aws: Aws, home: Path, here: Run | None = None) -> None:
        self.environment = {
            **aws.environment,
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "100",
        }
        self.home, self._here = home, here

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "modelpick", *words], env=self.environment, cwd=self.home, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def process(self, *words: str) -> tuple[int, str, str]:
        """Run in a process of its own, to its end."""
        process = self.start(*words)
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in err
        return process.returncode, out, err

    def run(self, *words: str) -> tuple[int, str, str]:
        """Run in this process, where there is a way: its start is not the point."""
        if self._here is None:
            return self.process(*words)
        answer = self._here(*words)
        return answer.code, answer.out, answer.err

    def json(self, *words: str) -> dict[str, Any]:
        code, out, err = self.run(*words, "--json")
        assert code == 0, err
        return dict(json.loads(out))


@pytest.fixture
def program(aws: Aws, account: Account, tmp_path: Path, modelpick: Run, monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.chdir(tmp_path)
    return Program(aws, tmp_path, modelpick)


def test_a_whole_life(program: Program, aws: Aws) -> None:
    code, _, err = program.process(*[word for word in UP if word != "--yes"])
    assert code == 2
    assert "--yes" in err
    assert aws.state()["left"] == []
    code, out, err = program.process(*UP, "--json")
    assert code == 0, err
    machine = json.loads(out)
    assert machine["instance_type"] == "g6e.xlarge"
    assert program.json(*UP)["instance_id"] == machine["instance_id"]
    told = program.json("status")["deployments"]
    assert [(item["deployment"], item["state"], item["armed"]) for item in told] == [("box", "running", True)]
    assert program.json("extend", "box", "--hours", "1", "--max-usd", "20")["stop_at"] > machine["stop_at"]
    assert program.json("logs", "box")["lines"] == []
    receipt = program.json("down", "box")["receipts"][0]
    assert (receipt["machines"], receipt["kept"]) == (1, None)
    assert aws.state()["left"] == []


RARER = pytest.mark.kill_matrix


@pytest.mark.parametrize(
    ("call", "when"),
    [
        (1, "after"), (20, "after"), (23, "before"), (23, "after"),
        pytest.param(9, "before", marks=RARER), pytest.param(22, "after", marks=RARER),
    ],
)  # fmt: skip
def test_up_killed(call: int, when: str, program: Program, aws: Aws) -> None:
    _killed(program, aws, UP, call, when)
    assert matrix.faults(aws) == []
    assert matrix.faults_after_limit(aws) == []
    program.json(*UP)
    assert len(aws.state()["machines"]) == 1
    assert matrix.faults(aws) == []


@pytest.mark.parametrize(
    ("call", "when"),
    [(1, "after"), (6, "after"), pytest.param(3, "before", marks=RARER), pytest.param(14, "after", marks=RARER)],
)
def test_down_killed(call: int, when: str, program: Program, aws: Aws) -> None:
    program.json(*UP)
    _killed(program, aws, ("down", "box"), call, when)
    assert matrix.faults(aws) == []
    program.json("down", "box")
    assert aws.state()["left"] == []


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that has the model: without --offline `up` wants its terms read."""
    with Hub() as stand_in:
        stand_in.add("Qwen/Qwen3-8B", card="license: apache-2.0", files={"LICENSE": (ROOT / "LICENSE").read_text()})
        monkeypatch.setenv("HF_ENDPOINT", stand_in.url)
        yield stand_in


def test_nothing_is_paid_for_a_model_of_which_only_a_tag_is_known(program: Program, aws: Aws) -> None:
    """The Hub does not answer, and nobody said --offline."""
    code, _, err = program.run(*(word for word in UP if word != "--offline"), "--json")
    assert code == 1
    assert json.loads(err)["error"]["code"] == "needs_review"
    assert "were not read" in err
    assert aws.state()["left"] == []


def test_a_price_that_cannot_be_believed_stops_it_before_anything_is_made(program: Program, aws: Aws, hub: Hub) -> None:
    aws.world(usd_per_hour={"g6e.xlarge": 18.61})
    asking = [word for word in UP if word != "--offline"]
    code, _, err = program.run(*asking, "--json")
    assert code == 3
    assert json.loads(err)["error"]["code"] == "price_not_believed"
    assert aws.state()["left"] == []
    aws.world(usd_per_hour={"g6e.xlarge": 1.9})
    machine = program.json(*asking)
    assert machine["usd_per_hour"] > 1.9
    aws.world(usd_per_hour={"g6e.xlarge": 18.61})  # what was begun goes on at the price that it noted
    assert program.json(*asking)["instance_id"] == machine["instance_id"]


def test_what_was_left_behind_is_swept(program: Program, aws: Aws) -> None:
    _killed(program, aws, UP, 12, "after")
    found = program.json("sweep", "--yes")
    assert [item["deployment"] for item in found["receipts"]] == ["box"]
    assert found["unseen_regions"] == {}
    assert aws.state()["left"] == []


def test_status_says_where_it_looked_and_where_it_could_not(program: Program, aws: Aws) -> None:
    """A region that denies hides nothing, is named on the screen, and makes the answer no "nothing runs" (exit 4)."""
    aws.world(regions=["eu-central-1", "us-east-1"])
    program.json(*UP)
    here = program.json("status")
    assert (here["regions"], here["unseen_regions"]) == (["us-east-1"], {})
    code, out, _ = program.run("status", "--region", "eu-central-1")
    assert code == 0
    assert "in eu-central-1 only; in all regions: modelpick status --all-regions" in out
    everywhere = program.json("status", "--all-regions")
    assert everywhere["regions"] == ["eu-central-1", "us-east-1"]
    assert [item["deployment"] for item in everywhere["deployments"]] == ["box"]
    aws.fail("DescribeInstances", code="UnauthorizedOperation", status=403, region="eu-central-1")
    code, out, err = program.run("status", "--all-regions")
    assert code == 4
    assert "box" in out
    assert "NOT SEARCHED: eu-central-1: AWS denies ec2:DescribeInstances" in out
    assert "eu-central-1" in err
    _, _, err = program.run("down", "box", "--region", "eu-central-1")  # the wrong one
    assert "there is no deployment box in eu-central-1; it has: none" in err
    assert "modelpick status --all-regions" in err
    assert len(aws.state()["machines"]) == 1


def test_something_unwatched_outranks_a_region_that_could_not_be_seen(program: Program, aws: Aws) -> None:
    aws.world(regions=["eu-central-1", "us-east-1"])
    machine = program.json(*UP)
    aws.fail("DescribeInstances", code="UnauthorizedOperation", status=403, region="eu-central-1")
    _ended_by_hand(aws, program, machine)
    code, out, _ = program.run("status", "--all-regions")
    assert code == 5
    assert "NOT SAFE: box" in out
    assert "NOT SEARCHED: eu-central-1" in out


def _ended_by_hand(aws: Aws, program: Program, machine: dict[str, Any]) -> None:
    """Somebody takes the first switch away in the console."""
    boto3 = pytest.importorskip("boto3")
    scaling = boto3.client(
        "autoscaling", region_name="us-east-1", endpoint_url=aws.endpoint, aws_access_key_id="x",
        aws_secret_access_key="x",
    )  # fmt: skip
    scaling.delete_scheduled_action(
        AutoScalingGroupName=f"modelpick-{machine['deployment']}", ScheduledActionName="modelpick-box-stop"
    )


def test_an_interrupt_says_what_runs(program: Program, aws: Aws) -> None:
    aws.no_capacity()
    process = program.start(*UP)
    _until_it_waits(process, aws)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "modelpick down box" in err
    assert matrix.faults(aws) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("answer", "machines"), [("d", 0), ("l", 0), ("c", 1)])
def test_ctrl_c_asks_what_to_do(answer: str, machines: int, program: Program, aws: Aws) -> None:
    """At a terminal: continue, take it down, or leave it. Whatever is said, nothing runs unwatched."""
    import pty

    aws.no_capacity()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "modelpick", *UP], env=program.environment, cwd=program.home, stdin=theirs,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(theirs)
    _until_it_waits(process, aws)
    process.send_signal(signal.SIGINT)
    if answer == "c":
        aws.capacity()
        aws.advance(seconds=90)
    os.write(ours, f"{answer}\n".encode())
    _, err = process.communicate(timeout=120)
    os.close(ours)
    assert process.returncode == (0 if answer == "c" else 130), err
    assert "a machine of box may be on its way; it stops by itself at" in err
    assert len(aws.state()["machines"]) == machines
    assert matrix.faults(aws) == []
    assert (aws.state()["left"] == []) == (answer == "d")


def test_an_address_with_a_password_is_printed_without_it(
    program: Program, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://ann:s3cr3t-word@127.0.0.1:9/?token=s3cr3t-word")
    for words in (["status"], ["down", "box"], ["logs", "box"], ["doctor", "--aws"], list(UP)):
        for flags in ([], ["--json"]):
            code, out, err = program.run(*words, *flags)
            assert code != 0
            assert "s3cr3t" not in out + err, words


def test_what_the_job_says_does_not_steer_the_terminal(program: Program, aws: Aws, account: Account) -> None:
    program.json(*UP)
    group = {"logGroupName": "/modelpick/box", "logStreamName": "job"}
    account.call("logs", "create_log_stream", **group)
    said = "step 1\x1b]0;owned\x07 \u202egnp.exe\u2066"
    stamp = int(account.now().timestamp() * 1000)
    account.call("logs", "put_log_events", **group, logEvents=[{"timestamp": stamp, "message": said}])
    code, out, _ = program.run("logs", "box")
    assert code == 0
    assert "step 1" in out
    assert not set(out) & {"\x1b", "\x07", "\u202e", "\u2066"}
    assert program.json("logs", "box")["lines"] == [said]  # for programs, as it was said


def test_the_policy_is_printed_and_fits(program: Program) -> None:
    code, out, _ = program.run("doctor", "--aws", "--iam-policy")
    assert code == 0
    document = json.loads(out)
    assert document["Version"] == "2012-10-17"
    assert len(json.dumps(document, separators=(",", ":"))) <= 6144  # a managed policy's limit (IAM quotas)


def _until_it_waits(process: "subprocess.Popen[str]", aws: Aws) -> None:
    """Until the paid call was made and the wait for capacity has begun."""
    paid = ("autoscaling:UpdateAutoScalingGroup", True)
    while paid not in (calls := aws.calls()) or "Activities" not in "".join(
        name for name, _ in calls[calls.index(paid) :]
    ):
        assert process.poll() is None
        time.sleep(0.05)


def _killed(program: Program, aws: Aws, words: tuple[str, ...], call: int, when: str) -> None:
    process = program.start(*words)
    aws.kill(process.pid, call=call, when=when)
    process.communicate(timeout=120)
    aws.forgive()
    assert process.returncode == -signal.SIGKILL
