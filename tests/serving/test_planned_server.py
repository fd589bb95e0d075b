"""What a plan was priced with is what its machine starts: the words of the job, read by `serve`, sized on that GPU."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelpick.aws.from_plan import job_of
from modelpick.catalog import index
from modelpick.errors import UsageError
from modelpick.memory.estimate import GIB, architecture_of
from modelpick.offers import embedded
from modelpick.planning import gather
from modelpick.planning.fit import vllm_share
from modelpick.planning.launchable import SERVED, flagless_problem
from modelpick.planning.plan_file import Plan
from modelpick.serving import command, prediction, server
from modelpick.serving.bench import Level, Timed
from modelpick.serving.command import Served
from modelpick.serving.engines import ENGINES
from modelpick.serving.machine import LocalGpu, LocalMachine
from modelpick.serving.sizing import Sizing, size
from modelpick.workload import workload_from
from tests.cli.conftest import Run

SETUPS: dict[str, tuple[str, dict[str, Any]]] = {
    "what place finds": ("Qwen/Qwen3-8B", {}),
    "16 bits": ("Qwen/Qwen3-8B", {"method": "bf16"}),
    "fp8 made at load": ("Qwen/Qwen3-8B", {"method": "fp8"}),
    "4 bits made at load": ("Qwen/Qwen3-8B", {"method": "nf4"}),
    "8 bits in transformers": ("Qwen/Qwen3-8B", {"method": "int8"}),
    "a format of its own": ("openai/gpt-oss-20b", {}),
    "a mixture": ("mistralai/Mixtral-8x7B-v0.1", {"method": "nf4"}),
    "four GPUs": ("Qwen/Qwen2.5-72B", {"method": "bf16", "gpus": 4}),
    "fp16": ("Qwen/Qwen3-4B", {"method": "bf16", "dtype": "fp16"}),
    "another load": ("Qwen/Qwen3-4B", {"context": 9_000, "generate": 100, "batch": 3}),
    "a small cache": ("Qwen/Qwen3-4B", {"kv_cache_dtype": "fp8"}),
    "a share of the GPU": ("Qwen/Qwen3-4B", {"method": "bf16", "gpu_memory_utilization": 0.8}),
    "a model of 2,048 tokens": ("EleutherAI/pythia-1b", {}),
    "an encoder-decoder": ("google/flan-t5-base", {}),
}


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    return {what: gather.plan(name, serve=dict(options)) for what, (name, options) in SETUPS.items()}


def requested(words: list[str], modelpick: Run, monkeypatch: pytest.MonkeyPatch) -> server.ServeRequest:
    """What `serve` understands of a job's words, before anything is looked up."""
    found: list[server.ServeRequest] = []

    def prepare(request: server.ServeRequest) -> server.Launch:
        found.append(request)
        raise UsageError("that is all", fix="none", code="seen")

    monkeypatch.setattr(server, "prepare", prepare)
    assert modelpick(*words).code == 2
    return found[0]


def started(plan: Plan, request: server.ServeRequest, folder: Path) -> tuple[Sizing, dict[str, str]]:
    """The sizing and the flags of the server, on the first candidate's GPU with nothing else on it."""
    model = index.load().models[plan.model.id]
    (folder / "config.json").write_text(json.dumps(model.config or {}))
    kind = embedded.instance(plan.instance_type)
    usable = kind.usable_memory_gib
    here = LocalMachine(LocalGpu(kind.gpu.name, usable, usable, float(kind.gpu.compute_capability)), (), kind.ram_gib)
    workload, asked = server._workload(request, folder, here, "generate")
    assert request.engine is not None
    engine = ENGINES[request.engine]
    sized = size(architecture_of(model), workload, engine, here, parameters=model.parameters, asked=asked)
    served = Served("m", folder, format=server._checkpoint_method(folder))
    words = command.words(engine, served, sized, host="127.0.0.1", port=1, gpu=True, key_file=folder / "key")
    return sized, dict(itertools.pairwise(words))


@pytest.mark.parametrize("what", SETUPS)
def test_the_server_that_is_started_is_the_one_that_was_priced(
    what: str, plans: dict[str, Plan], modelpick: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = plans[what]
    planned = plan.serve
    assert planned is not None
    asked = SETUPS[what][0]
    assert plan.model.copy_of == (None if plan.model.id == asked else asked)
    job = job_of(plan, idle_minutes=5)
    assert job.vllm == (planned.stack == "vllm")
    assert job.command[0] == "modelpick"
    sized, flags = started(plan, requested(list(job.command[1:]), modelpick, monkeypatch), tmp_path)
    share = planned.gpu_memory_utilization
    of_the_machine = {"gpu_memory_utilization": share, "measure": planned.measure}  # its free memory; the estimate's
    assert sized.estimate is not None
    assert replace(sized.estimate.workload, batch=sized.concurrency, **of_the_machine) == planned
    if planned.stack != "vllm":
        return
    assert flags["--max-model-len"] == str(planned.context + planned.generate)
    assert flags["--max-num-seqs"] == str(planned.batch)
    assert flags["--dtype"] == {"bf16": "bfloat16", "fp16": "float16"}[planned.dtype]
    assert flags.get("--tensor-parallel-size", "1") == str(planned.gpus)
    assert flags.get("--kv-cache-dtype", "auto") == planned.kv_cache_dtype
    usable = embedded.instance(plan.instance_type).usable_memory_gib
    assert flags["--gpu-memory-utilization"] == f"{vllm_share(usable, usable, share):.2f}"
    quantized = (index.load().models[plan.model.id].config or {}).get("quantization_config") is not None
    at_load = {"nf4": "bitsandbytes", "fp8": None if quantized else "fp8"}.get(planned.method)
    assert flags.get("--quantization") == at_load
    assert sized.estimate.total / GIB == pytest.approx(plan.memory["serve"].total_gib, rel=1e-4)


@pytest.mark.parametrize("what", SETUPS)
def test_a_benchmark_compares_with_the_speed_that_was_planned(
    what: str, plans: dict[str, Plan], tmp_path: Path
) -> None:
    plan = plans[what]
    (tmp_path / "plan.json").write_bytes(plan.to_bytes())
    foreseen = prediction.read(tmp_path / "plan.json")
    work, said = foreseen.workload, plan.candidates[0].serving
    assert said is not None
    answers = (Timed(0.1, 1.0, max(work.generate, 1), work.context, counted=True),)
    level = Level(work.batch, 1.0, answers, ())
    assert foreseen.serving(level).generated.tokens_per_s == pytest.approx(said.generate.tokens_per_s, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("Qwen/Qwen3-4B", {"finetune": {"stack": "axolotl"}}, "not_trained"),
        ("Qwen/Qwen3-4B", {"finetune": {"stack": "trl"}}, "not_trained"),
        ("Qwen/Qwen3-4B", {"finetune": {"method": "qlora", "gpus": 4}}, "several_gpus"),
        ("Qwen/Qwen3-4B", {"finetune": {"compile": True}}, "not_started"),
        ("Qwen/Qwen3-4B", {"finetune": {"packing": True}}, "not_started"),
        ("Qwen/Qwen3-4B", {"serve": {"stack": "sglang"}}, "engine_cannot"),
        ("Qwen/Qwen3-4B", {"serve": {"method": "bf16", "attention": "eager"}}, "not_started"),
        ("Qwen/Qwen3-4B", {"serve": {"cpu_offload_gb": 4.0}}, "not_started"),
        ("Qwen/Qwen3-4B", {"serve": {"stack": "vllm", "stack_version": "0.11"}}, "not_started"),
        ("Qwen/Qwen3-4B", {"serve": {"method": "int8", "gpus": 4}}, None),
    ],
)
def test_what_the_machine_would_not_run_is_refused_before_it_is_planned(
    name: str, options: dict[str, Any], code: str | None
) -> None:
    with pytest.raises(Exception) as refused:  # noqa: PT011
        gather.plan(name, **options)
    assert code in (None, getattr(refused.value, "code", "")), refused.value


def test_every_setting_of_a_server_is_told_to_the_machine_or_refused() -> None:
    """A new field of Workload is one or the other, without anybody thinking of it."""
    others = {
        "stack_version": "0.11", "attention": "eager", "gguf_level": "Q8_0", "n_gpu_layers": 4, "n_cpu_moe": 1,
        "cpu_offload_gb": 1.0, "images": 1, "double_quantization": True,
    }  # fmt: skip
    usual = workload_from({"method": "bf16", "stack": "vllm"})
    assert flagless_problem(usual) is None
    assert not set(others) & set(SERVED)
    for name, value in others.items():
        problem = flagless_problem(replace(usual, **{name: value}))
        assert problem is not None, name
