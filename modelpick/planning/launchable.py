"""What a machine of `up` can run: the one rule behind `plan`'s refusals and the commands of a job. Pure.

A plan promises memory, speed and price of a workload. What the machine's own commands have no flag for would be
priced and not run, so it is refused before anything is planned.
"""

from collections.abc import Mapping

from modelpick.errors import UsageError
from modelpick.planning.choose import TUNABLE
from modelpick.planning.engines import EngineName, engine_of
from modelpick.planning.recipe import SHARED
from modelpick.schema import settings_of
from modelpick.workload import Task, Workload, workload_from

# The settings that `modelpick serve` takes by flags of the same name; `batch` is its --concurrency.
SERVED: tuple[str, ...] = (
    "method", "context", "generate", "batch", "gpus", "dtype", "kv_cache_dtype", "gpu_memory_utilization"
)  # fmt: skip
# What the machine gets installed (deploy/): llama.cpp would have to be compiled there.
ON_THE_MACHINE: tuple[EngineName, ...] = ("vllm", "transformers")
# What follows from the others, is chosen for each GPU, or says only how memory is counted.
_SETTLED = ("task", "stack", "sharding", "measure", "loss_chunking", *TUNABLE)
_BY_FLAG: Mapping[Task, tuple[str, ...]] = {"serve": SERVED, "finetune": SHARED}


def launch_problem(workload: Workload) -> UsageError | None:
    """Why a machine starts no such server and no such training; None where it does, or the engine is not settled."""
    return _of_a_training(workload) if workload.task == "finetune" else _of_a_server(workload)


def _of_a_training(workload: Workload) -> UsageError | None:
    if workload.gpus > 1:
        return UsageError(
            f"a machine's own command fine-tunes on one GPU, not on {workload.gpus}",
            fix="make the plan for one GPU, with a smaller --method or a larger --instance",
            code="several_gpus",
        )
    if workload.stack not in ("auto", "modelpick"):
        return UsageError(
            f"a machine fine-tunes by modelpick's own loop, not by {workload.stack}: that is estimated only",
            fix="leave out --stack; `modelpick estimate` and `modelpick cost` tell what other software takes",
            code="not_trained",
        )
    return None


def _of_a_server(workload: Workload) -> UsageError | None:
    engine = engine_of(workload)
    if engine is None and workload.stack != "auto":
        return UsageError(
            f"the plan serves with {workload.stack}, which modelpick does not start",
            fix="make the plan without --stack, or with --stack vllm",
            code="engine_cannot",
        )
    if engine is not None and engine not in ON_THE_MACHINE:
        return UsageError(
            f"a machine of `modelpick up` has vLLM and transformers, not {engine}",
            fix="name the model's repository with safetensors, or run `modelpick serve` where llama-server is",
            code="engine_absent",
        )
    if engine is not None and engine != "vllm" and workload.gpus > 1:
        return UsageError(
            f"{engine} runs on one GPU only", fix="use --stack vllm, or leave out --gpus", code="engine_cannot"
        )
    return None


def flagless_problem(workload: Workload) -> UsageError | None:
    """The error for a setting that was named and has no flag of the machine's command, which would run without it."""
    usual = workload_from({"task": workload.task, "method": workload.method})
    known = (*_SETTLED, *_BY_FLAG[workload.task])
    for setting in settings_of(Workload):
        name = setting.name
        if name not in known and getattr(workload, name) != getattr(usual, name):
            return UsageError(
                f"the machine's command has no flag for {name.replace('_', ' ')} {getattr(workload, name)}, "
                "and would run without it",
                fix=f"leave out {name}: `modelpick estimate` tells what it changes",
                code="not_started",
            )
    return None
