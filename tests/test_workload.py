"""The one way a workload is described: flags, `--cases` lines and plan files all pass here."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.errors import UsageError
from modelpick.workload import FINETUNE_METHODS, SERVE_METHODS, Workload, workload_from


def test_nothing_given_is_the_default_serving_workload() -> None:
    assert workload_from({}) == Workload(task="serve", method="auto", context=3_584, generate=512, batch=8)


def test_a_server_s_load_is_no_load_of_a_training() -> None:
    assert workload_from({"context": 8_192}) == Workload(context=8_192, generate=512, batch=8)
    tuned = workload_from({"task": "finetune"})
    assert (tuned.context, tuned.generate, tuned.batch) == (1_024, 0, 1)


def test_the_task_follows_from_the_method() -> None:
    lora = workload_from({"method": "lora"})
    assert (lora.task, lora.context, lora.lora_rank) == ("finetune", 1024, 16)


@pytest.mark.parametrize("method", SERVE_METHODS + FINETUNE_METHODS)
def test_every_method_of_the_vocabulary_is_accepted(method: str) -> None:
    assert workload_from({"method": method}).method == method


@pytest.mark.parametrize(
    ("names", "code", "hint"),
    [
        ({"method": "lora8"}, "unknown_method", "lora"),
        ({"contxt": 4096}, "unknown_option", "context"),
        ({"stack": "vlm"}, "unknown_stack", "vllm"),
        ({"context": 0}, "bad_context", "whole number"),
        ({"context": -1}, "bad_context", "whole number"),
        ({"context": math.nan}, "bad_context", "whole number"),
        ({"context": math.inf}, "bad_context", "whole number"),
        ({"context": 10**30}, "bad_context", "whole number"),
        ({"context": 2.5}, "bad_context", "whole number"),
        ({"context": "4096"}, "bad_context", "number"),
        ({"batch": True}, "bad_batch", "number"),
        ({"gpu_memory_utilization": 1.5}, "bad_gpu_memory_utilization", "above 0 and at most 1"),
        ({"method": "full", "lora_rank": 8}, "contradiction", "lora_rank"),
        ({"method": "lora", "generate": 10}, "contradiction", "generate"),
        ({"task": "serve", "optimizer": "sgd"}, "contradiction", "optimizer"),
        ({"task": "serve", "method": "qlora"}, "contradiction", "bf16"),
        ({"sharding": "zero3"}, "contradiction", "gpus"),
        ({"sharding": "zero2", "gpus": 2}, "contradiction", "zero3"),
        ({"gradient_accumulation": 8}, "contradiction", "gradient_accumulation"),
        ({"stack_version": "new"}, "bad_stack_version", "4.42"),
        ({"method": "lora", "lora_dropout": 1}, "bad_lora_dropout", "from 0 to below 1"),
        ({"method": "full", "lora_dropout": 0.1}, "contradiction", "lora_dropout"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_way_out(names: dict[str, object], code: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        workload_from(names)
    assert caught.value.code == code
    assert hint in caught.value.message + caught.value.fix


def test_several_gpus_always_have_a_stated_sharding() -> None:
    assert workload_from({"gpus": 4}).sharding == "tensor-parallel"
    assert workload_from({"gpus": 4, "method": "full"}).sharding == "zero3"


_KEYS = st.text(max_size=12) | st.sampled_from(["context", "method", "batch"])
_VALUES = st.none() | st.integers() | st.floats() | st.text() | st.booleans()


@given(st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_any_mapping_gives_a_workload_or_a_usage_error(names: dict[str, object]) -> None:
    try:
        workload = workload_from(names)
    except UsageError:
        return
    assert workload.context >= 1
    assert workload_from(workload_names(workload)) == workload


def workload_names(workload: Workload) -> dict[str, object]:
    """The names a workload was given, without those that have no meaning for its task."""
    finetune_only = {
        "optimizer", "gradient_checkpointing", "gradient_accumulation", "packing", "loss_chunking", "lora_rank",
        "lora_targets", "lora_dropout", "objective",
    }  # fmt: skip
    serve_only = {"generate", "kv_cache_dtype", "gpu_memory_utilization"}
    skip = finetune_only if workload.task == "serve" else serve_only
    if workload.method == "full":
        skip = skip | {"lora_rank", "lora_targets", "lora_dropout"}
    return {key: value for key, value in workload.as_json().items() if key not in skip}
