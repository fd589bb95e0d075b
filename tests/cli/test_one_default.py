"""What nobody names is the same for every command: the load of a server, the tokens and epochs of a job."""

from typing import Any

import pytest

from modelpick.catalog import index
from modelpick.memory.estimate import architecture_of
from modelpick.planning.recipe import EPOCHS, RunSettings
from modelpick.serving.engines import ENGINES
from modelpick.serving.machine import LocalGpu, LocalMachine
from modelpick.serving.sizing import ASKED, size
from modelpick.workload import workload_from
from tests.cli.conftest import Run

# Limits of 40,960 tokens, of 2,048 (less than the default load), and of 8,192.
MODELS = ("Qwen/Qwen3-8B", "EleutherAI/pythia-1b", "HuggingFaceTB/SmolLM2-135M-Instruct")
LOADS: dict[str, dict[str, int]] = {
    "nothing named": {},
    "a prompt": {"context": 1_000},
    "an answer": {"generate": 100},
    "a prompt that leaves less than the default answer": {"context": 1_900},
    "requests": {"batch": 3},
}


def expected(limit: int, named: dict[str, int]) -> tuple[int, int, int]:
    """8 x (3,584 + 512); with a context named, 512 new tokens or what the model's limit leaves."""
    if "context" in named:
        context = named["context"]
        generate = named.get("generate", min(512, limit - context))
    else:
        generate = named.get("generate", min(512, limit // 2))
        context = min(3_584, limit - generate)
    return context, generate, named.get("batch", 8)


def load_of(workload: dict[str, Any]) -> tuple[int, int, int]:
    return workload["context"], workload["generate"], workload["batch"]


@pytest.mark.parametrize("named", LOADS.values(), ids=LOADS)
@pytest.mark.parametrize("name", MODELS)
def test_every_command_takes_one_load(modelpick: Run, name: str, named: dict[str, int]) -> None:
    model = index.load().models[name]
    shape = architecture_of(model)
    assert shape.longest is not None
    wanted = expected(shape.longest, named)
    flags = [word for key, value in named.items() for word in (f"--{key}", str(value))]
    for words in (("estimate", name), ("cost", name)):
        assert load_of(modelpick(*words, *flags, "--offline", "--json").json["workload"]) == wanted, words
    plan = modelpick("plan", name, "--serve", *flags, "--offline", "--json").json
    assert load_of(plan["workloads"]["serve"]) == wanted
    workload = workload_from({"task": "serve", "method": "bf16", **named})
    sizing = size(
        shape, workload, ENGINES["vllm"], LocalMachine(LocalGpu("G", 140.0, 139.0, 9.0), (), None),
        asked=[key for key in ASKED if key in named],
    )  # fmt: skip
    assert load_of({**sizing.workload.as_json(), "batch": sizing.concurrency}) == wanted


def test_what_is_recommended_is_what_cost_and_plan_take(modelpick: Run) -> None:
    """The same engine, weights (published copies among them), dtype and instance, where nothing is named."""
    rows = modelpick("recommend", "--limit", "8", "--json").json["recommendations"]
    assert len(rows) == 8
    for row in rows:
        wanted = {**row["setup"], "instance_type": row["offer"]["instance_type"]}
        plan = modelpick("plan", row["model"], "--serve", "--offline", "--json").json
        served = plan["workloads"]["serve"]
        assert wanted == {
            "engine": served["stack"], "method": served["method"], "dtype": served["dtype"], "gpus": served["gpus"],
            "sharding": served["sharding"], "repository": plan["model"]["id"], "instance_type": plan["instance_type"],
        }  # fmt: skip
        priced = modelpick("cost", row["model"], "--offline", "--json").json["rows"][0]
        assert wanted == {**priced["setup"], "instance_type": priced["offer"]["instance_type"]}


def test_every_command_counts_one_job(modelpick: Run) -> None:
    """1,000 examples of 750 tokens, as often as `finetune` reads them, where no data file tells."""
    words = ("Qwen/Qwen3-8B", "--method", "lora-int8", "--offline", "--json")
    cost, plan = modelpick("cost", *words).json, modelpick("plan", *words).json
    assert "1,000 examples of 750 tokens, 3 epochs" in cost["job"]
    assert "data: no file given, 1,000 examples of 750 tokens assumed" in plan["unchecked"]
    assert plan["hyperparameters"]["epochs"] == EPOCHS == RunSettings("m", "d", "o").epochs
    (row,) = (row for row in cost["rows"] if row["offer"]["instance_type"] == plan["instance_type"])
    assert row["job"]["likely_usd"] == pytest.approx(plan["cost"]["likely_usd"], rel=1e-4)
    ranked = modelpick("recommend", "--limit", "1", "--json").json["recommendations"][0]["finetune"]["cost"]
    assert (ranked["examples"], ranked["tokens_per_example"], ranked["epochs"]) == (1_000, 750, EPOCHS)


@pytest.mark.parametrize("named", LOADS.values(), ids=LOADS)
def test_a_ranking_is_for_that_load_too(modelpick: Run, named: dict[str, int]) -> None:
    flags = [word for key, value in named.items() if key != "generate" for word in (f"--{key}", str(value))]
    found = modelpick("recommend", *flags, "--limit", "1", "--json").json["workload"]
    assert load_of(found) == (named.get("context", 3_584), 512, named.get("batch", 8))
