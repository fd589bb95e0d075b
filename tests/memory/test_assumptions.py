"""Every sentence of the table of assumptions is said for some case, and only of the tasks it is about."""

from collections.abc import Iterator
from itertools import product

import pytest

from modelpick.catalog import index
from modelpick.errors import ModelpickError
from modelpick.memory import assumptions
from modelpick.memory.assumptions import EstimatedCase, assumptions_of
from modelpick.memory.estimate import architecture_of
from modelpick.memory.stack_words import settled
from modelpick.memory.stacks import stack_of
from modelpick.memory.weights import scheme_for
from modelpick.workload import Workload, workload_from

SETUPS: tuple[dict[str, object], ...] = (
    {}, {"stack": "vllm", "stack_version": "0.28"}, {"gradient_checkpointing": True},
    {"gradient_checkpointing": True, "stack": "litgpt"}, {"gpus": 2, "sharding": "fsdp"},
    {"gpus": 2, "sharding": "fsdp", "gradient_checkpointing": True}, {"gpus": 2, "sharding": "zero3"}, {"stack": "trl"},
    {"stack": "transformers"}, {"stack": "axolotl"}, {"stack": "unsloth"}, {"stack": "transformers", "compile": True},
    {"stack": "litgpt", "stack_version": "9.9"}, {"stack": "trl", "activation_offload": True},
    {"n_cpu_moe": 2}, {"cpu_offload_gb": 4.0},
)  # fmt: skip
METHODS = ("bf16", "int8", "nf4", "gguf", "awq", "mxfp4", "full", "lora", "lora-int8", "qlora", "prompt-tuning")
MODELS = (
    "Qwen/Qwen3-8B", "Qwen/Qwen3-30B-A3B", "tiiuae/falcon-7b", "google/flan-t5-base", "google-bert/bert-base-cased",
    "state-spaces/mamba-2.8b-hf", "Qwen/Qwen3.5-0.8B",
)  # fmt: skip


def workloads() -> Iterator[Workload]:
    for method, setup in product(METHODS, SETUPS):
        try:
            yield settled(workload_from({"method": method, **setup}))
        except ModelpickError:
            continue  # the options contradict each other


def test_every_row_is_said_for_some_model_and_set_up() -> None:
    said: set[tuple[str, str]] = set()
    for name, workload in product(MODELS, workloads()):
        architecture, stack = architecture_of(index.load().models[name]), stack_of(workload)
        scheme = scheme_for(workload.method, architecture.checkpoint, stack.double_quantization)
        case = EstimatedCase(architecture, workload, scheme, stack)
        said |= {(workload.task, text) for applies, text in assumptions._ROWS_OF[workload.task] if applies(case)}
        assert not [sentence for sentence in assumptions_of(case) if "{" in sentence]
    for tasks, _, text in assumptions._ROWS:
        assert {task for task, sentence in said if sentence == text} & set(tasks), text


@pytest.mark.parametrize(
    ("version", "sentence"), [("0.28", "vllm 0.28 is assumed to"), ("99", "vllm 99 is newer than"), (None, None)]
)
def test_a_version_that_no_rule_knows_is_named(version: str | None, sentence: str | None) -> None:
    architecture = architecture_of(index.load().models["Qwen/Qwen3-8B"])
    workload = workload_from({"method": "bf16", "stack": "vllm", "stack_version": version})
    answer = assumptions_of(EstimatedCase(architecture, workload, None, stack_of(workload)))
    assert [text for text in answer if sentence and text.startswith(sentence)] == answer[: bool(sentence)]
