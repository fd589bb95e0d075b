"""A plan is data: same inputs, same bytes; nothing is paid before what stops it; every no has a way out."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpick.catalog import index
from modelpick.errors import ModelpickError, UsageError
from modelpick.memory.estimate import estimate_model
from modelpick.offers import embedded
from modelpick.planning import gather
from modelpick.planning.choose import Device, choose
from modelpick.planning.plan_file import load
from modelpick.planning.recipe import as_trained
from modelpick.planning.rejection import NoPlan
from modelpick.planning.request import Caps

MODEL = "Qwen/Qwen3-8B"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"prompt": "why " * 50, "answer": "so " * 80}) + "\n" for _ in range(2000)))
    return path


def refused(**options: Any) -> ModelpickError:
    with pytest.raises(ModelpickError) as caught:
        gather.plan(**{"name": MODEL, **options})
    assert caught.value.fix
    return caught.value


def test_the_same_inputs_give_the_same_bytes(data: Path) -> None:
    one, two = (gather.plan(MODEL, finetune={"method": "qlora"}, data=data).to_bytes() for _ in range(2))
    assert one == two
    other = gather.plan(MODEL, finetune={"method": "qlora"}, data=data, epochs=2).to_bytes()
    assert other != one
    assert json.loads(other)["id"] != json.loads(one)["id"]


def test_bytes_do_not_depend_on_the_process(data: Path) -> None:
    program = (
        "import sys, pathlib; from modelpick.planning import gather;"
        f"sys.stdout.buffer.write(gather.plan({MODEL!r}, data=pathlib.Path({str(data)!r})).to_bytes())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(runs) == 1
    assert json.loads(runs.pop())["kind"] == "modelpick-plan"


def test_a_plan_needs_no_network_and_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: object, **__: object) -> None:
        raise AssertionError("a plan opened a connection")

    monkeypatch.setattr(socket.socket, "connect", no)
    assert gather.plan(MODEL, serve={"method": "int8"}).as_json()["zones"] is None


def test_a_plan_loads_no_cloud_and_no_training_library() -> None:
    program = (
        f"import sys; from modelpick.planning import gather; gather.plan({MODEL!r});"
        "sys.exit(any(name in sys.modules for name in ('boto3', 'botocore', 'torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_plan_says_everything_that_is_signed(data: Path) -> None:
    made = gather.plan(MODEL, finetune={"method": "qlora"}, data=data)
    content = made.as_json()
    assert content["schema_version"] == 1
    assert content["model"]["id"] == MODEL
    assert content["model"]["revision"] is None
    assert "commit of the model" in content["unchecked"]
    assert content["license"]["verdict"] == "allow"
    assert len(content["policy"]["sha256"]) == 64
    assert content["hyperparameters"]["lora_alpha"] == 32
    assert content["data"]["rows"] == 2000
    assert content["hyperparameters"]["optimizer_steps"] == 2000 * 3 / 16
    assert content["memory"]["finetune"]["headroom_gib"] > 0
    assert content["candidates"][0]["offer"]["instance_type"] == content["instance_type"]
    assert content["disk_gb"] > content["download_gb"]
    assert 0 < content["cost"]["low_usd"] <= content["cost"]["likely_usd"] <= content["cost"]["high_usd"]
    assert content["cost"]["high_usd"] <= content["max_usd"]
    assert content["time"]["high_hours"] <= content["max_hours"]
    assert content["sources"]
    assert [one["likely_usd"] for one in (c["cost"] for c in content["candidates"])] == sorted(
        c["cost"]["likely_usd"] for c in content["candidates"]
    )


def test_nothing_is_paid_before_what_stops_it_is_armed_and_read_back() -> None:
    content = gather.plan(MODEL, serve={"method": "int8"}, max_hours=3).as_json()
    order = [one["action"] for one in content["actions"]]
    paid = [one["action"] for one in content["actions"] if one["usd"] > 0]
    assert paid == ["start"]
    assert (
        order.index("arm_stop") < order.index("arm_delete") < order.index("read_back_switches") < order.index("start")
    )
    assert order[-1] == "down"
    assert [one["step"] for one in content["actions"]] == list(range(1, len(order) + 1))
    assert content["stop"][0] == {
        "switch": "scheduled action: the group goes to 0",
        "held_by": "AWS",
        "after_hours": 3.0,
    }
    assert content["stop"][1]["after_hours"] > 3
    for one in content["actions"]:
        created = one["creates"]
        assert created is None or made_for(content["id"], created), created


def made_for(name: str, created: str) -> bool:
    paths = f"/{name.replace('-', '/', 1)}"  # parameters and logs: /modelpick/<the rest>
    return name in created or created.startswith(paths) or created == "one instance"


def test_the_money_cap_is_the_time_limit() -> None:
    content = gather.plan(MODEL, serve={"method": "int8"}, max_usd=5.0).as_json()
    assert content["max_usd"] == 5.0
    for one in content["candidates"]:
        assert one["max_hours"] * one["cost"]["usd_per_hour"] <= 5.0 * (1 + 1e-5)
    both = gather.plan(MODEL, serve={"method": "int8"}, max_usd=5.0, max_hours=1.0).as_json()
    assert both["max_hours"] == 1.0


def test_serving_takes_the_cheapest_hour_that_holds_it_whatever_the_cap() -> None:
    """A cap in dollars is spent on any instance: the cheapest one lasts longest."""
    for caps in ({}, {"max_usd": 20.0}, {"max_hours": 5.0}):
        content = gather.plan(MODEL, serve={"method": "int8"}, **caps).as_json()
        hourly = [one["cost"]["usd_per_hour"] for one in content["candidates"]]
        assert hourly == sorted(hourly)
        assert content["instance_type"] == "g6.xlarge"


def test_a_spot_plan_is_capped_as_if_the_price_rose_to_on_demand() -> None:
    """The spot sample is $0.4591, on demand it is $1.006: $5 buy at most 4.8 hours, whatever the spot price becomes."""
    content = gather.plan(MODEL, serve={"method": "int8"}, max_usd=5.0, market="spot", instance="g5.xlarge").as_json()
    assert content["cost"]["usd_per_hour"] < 0.5
    assert content["max_hours"] == pytest.approx(5.0 / 1.02, rel=0.01)
    assert any("rise" in one for one in content["assumptions"])


@pytest.mark.parametrize(
    ("options", "code", "exit_code"),
    [
        ({"name": "huggyllama/llama-7b"}, "license_denied", 1),
        ({"serve": {"stack": "vllm", "method": "int8"}}, "vllm_int8_dense", 1),
        ({"name": "google/flan-t5-base", "serve": {"stack": "vllm", "method": "bf16"}}, "vllm_no_encoder_decoder", 1),
        ({"name": "FacebookAI/xlm-roberta-large", "serve": {}}, "encoder_does_not_generate", 1),
        ({"instance": "g4dn.12xlarge", "finetune": {"method": "qlora"}}, "bf16_not_native", 1),
        ({"finetune": {"method": "full"}, "instance": "g5.xlarge"}, "does_not_fit", 1),
        ({"max_usd": 0.05}, "cap_too_small", 1),
        ({"max_hours": 0.01}, "cap_too_small", 1),
        ({"serve": {}, "max_hours": 0.05}, "cap_too_small", 1),
        ({"region": "ap-southeast-6"}, "no_price", 3),
        ({"region": "eu-wst-1"}, "unknown_region", 2),
        ({"instance": "g5.xlrge"}, "unknown_instance", 2),
        ({"max_usd": 0.0}, "bad_max_usd", 2),
        ({"max_usd": float("nan")}, "bad_max_usd", 2),
        ({"max_hours": -1.0}, "bad_max_hours", 2),
        ({"max_hours": float("inf")}, "bad_max_hours", 2),
        ({"epochs": 0.0}, "bad_epochs", 2),
        ({"data": Path("none.jsonl")}, "no_data_file", 2),
        ({"finetune": {"gpus": 4}, "serve": {"gpus": 1}}, "contradiction", 2),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(options: dict[str, Any], code: str, exit_code: int) -> None:
    error = refused(**options)
    assert (error.code, error.exit_code) == (code, exit_code)


def test_the_cap_that_a_refusal_names_is_enough(data: Path) -> None:
    error = refused(data=data, max_usd=0.02)
    usd = float(error.fix.split()[1])
    assert gather.plan(MODEL, data=data, max_usd=usd).as_json()["max_usd"] == usd


def test_a_region_that_the_license_excludes_is_refused() -> None:
    """Llama 4 is not licensed in the European Union; the same plan in the US is not refused for it."""
    error = refused(name="meta-llama/Llama-4-Scout-17B-16E-Instruct", region="eu-central-1", family="any")
    assert error.code == "region_excluded"
    assert "--region" in error.fix


def test_no_machine_is_paid_for_that_would_refuse_the_context() -> None:
    """Asked for: refused here. Not asked for: as much as the model knows, for training and for serving."""
    for task in ({"finetune": {"method": "lora", "context": 4096}}, {"serve": {"context": 4096}}):
        error = refused(name="EleutherAI/pythia-1b", family="any", **task)
        assert error.code == "context_too_long"
        assert "--context 2048" in error.fix
    falcon = gather.plan("tiiuae/falcon-7b", finetune={"method": "qlora"}, serve={"method": "nf4"}).as_json()
    assert falcon["workloads"]["finetune"]["context"] == 1024
    assert falcon["workloads"]["serve"]["context"] + falcon["workloads"]["serve"]["generate"] == 2048
    encoder = gather.plan("FacebookAI/xlm-roberta-large", finetune={"method": "lora"}).as_json()
    assert encoder["workloads"]["finetune"]["context"] == 512


def test_a_plan_file_is_read_back_and_one_that_was_changed_is_not(data: Path) -> None:
    made = gather.plan(MODEL, data=data)
    text = made.to_bytes().decode()
    assert load(text) == made
    changed = {
        "plan_changed": text.replace('"max_hours": ', '"max_hours": 9', 1),
        "plan_version": text.replace('"schema_version": 1', '"schema_version": 0', 1),
        "bad_plan": text[:100],
    }
    for code, wrong in changed.items():
        with pytest.raises(UsageError) as caught:
            load(wrong)
        assert caught.value.code == code
    without = json.loads(text)
    without["stop"] = []
    with pytest.raises(UsageError):
        load(json.dumps(without))
    for wrong in ("[]", "{}", "null", '{"kind": "modelpick-plan", "schema_version": 1}'):
        with pytest.raises(UsageError):
            load(wrong)


@settings(max_examples=25, deadline=None)
@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(allow_nan=True, allow_infinity=True))
def test_no_plan_ever_costs_more_than_its_cap(usd: float, hours: float) -> None:
    content = None
    with contextlib.suppress(NoPlan, UsageError):
        content = gather.plan(MODEL, serve={"method": "int8"}, max_usd=usd, max_hours=hours).as_json()
    if content is None:
        return
    assert content["max_usd"] <= usd * (1 + 1e-5)
    assert content["max_hours"] <= hours * (1 + 1e-5)
    assert content["max_hours"] * content["cost"]["usd_per_hour"] <= usd * (1 + 1e-4)


@pytest.mark.parametrize(("name", "most"), [("max_usd", 1_000_000), ("max_hours", 8_760)])
def test_no_plan_is_written_that_would_not_be_read(name: str, most: float) -> None:
    """A cap at the bound of a plan file is carried out, one beyond it is refused here."""
    made = gather.plan(MODEL, serve={"method": "bf16"}, **{name: most})
    assert load(made.to_bytes().decode()).id == made.id
    with pytest.raises(UsageError) as refused:
        gather.plan(MODEL, serve={"method": "bf16"}, **{name: most * 1.01})
    assert refused.value.code == f"bad_{name}"
    assert f"{most:,}" in refused.value.fix


def test_caps_are_numbers_above_zero() -> None:
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError):
            Caps(max_usd=wrong)


def test_the_micro_batch_is_the_one_that_fine_tuning_would_take_on_each_gpu(data: Path) -> None:
    """The rule of `finetune`, over the same estimate: what is priced fits, and the next larger way does not."""
    content = gather.plan(MODEL, finetune={"method": "qlora"}, data=data, family="any", max_hours=200.0).as_json()
    assert content["chosen"] == ["batch", "gradient_accumulation", "gradient_checkpointing"]
    assert content["workloads"]["finetune"]["batch"] == content["candidates"][0]["finetune"]["batch"]
    model, seen = index.load().models[MODEL], set()
    for row in content["candidates"]:
        kind, told = embedded.instance(row["offer"]["instance_type"]), row["finetune"]
        settings = choose(
            {"model": "m", "data": "d", "output": "o", "method": "qlora", "context": 1024},
            Device("cuda", kind.gpu.name, kind.usable_memory_gib * 2**30, "bf16"),
            lambda workload: estimate_model(model, as_trained(workload, "decoder", gpu=True)).high,
            longest=900, examples=2000, parameters=None, limit=None,
        ).settings  # fmt: skip
        assert told == {
            "batch": settings.batch,
            "gradient_accumulation": settings.gradient_accumulation,
            "gradient_checkpointing": settings.gradient_checkpointing,
        }
        seen.add(told["batch"])
    assert len(seen) > 1


def test_what_is_said_is_not_chosen() -> None:
    said = gather.plan(MODEL, finetune={"method": "qlora", "batch": 1, "gradient_checkpointing": True}).as_json()
    assert said["chosen"] == ["gradient_accumulation"]
    assert all(row["finetune"]["batch"] == 1 for row in said["candidates"])
    assert all(row["finetune"]["gradient_checkpointing"] for row in said["candidates"])
    assert said["hyperparameters"]["gradient_accumulation"] == 16


def test_a_server_has_no_end_of_its_own_and_a_time_that_is_no_interval(data: Path) -> None:
    served = gather.plan(MODEL, serve={"method": "int8"}, max_hours=2.0).as_json()["time"]
    assert served == {"low_hours": 2.0, "likely_hours": 2.0, "high_hours": 2.0, "until_limit": True, "job": None}
    both = gather.plan(
        MODEL, finetune={"method": "qlora"}, serve={"method": "int8"}, data=data, max_hours=2.0
    ).as_json()["time"]
    assert (both["low_hours"], both["likely_hours"], both["until_limit"]) == (2.0, 2.0, True)
    assert both["job"]["likely_hours"] < 2.0


def test_a_plan_says_by_which_flags_its_server_reads_calls_and_thoughts() -> None:
    """The same ones that `serve` starts on the machine, whose vLLM is one whose parsers were read."""
    said = "\n".join(gather.plan(MODEL, serve={"method": "bf16"}).assumptions)
    assert "vLLM starts with --enable-auto-tool-choice --tool-call-parser hermes --reasoning-parser qwen3" in said
    unknown = "\n".join(gather.plan("01-ai/Yi-1.5-6B-Chat", serve={"method": "bf16"}).assumptions)
    assert "no parser is known" in unknown
    assert "--tool-call-parser" not in unknown
    pinned = (Path(__file__).parents[2] / "deploy" / "requirements-vllm.in").read_text()
    assert f"vllm=={embedded.load_chat_parsers().vllm.read}\n" in pinned
