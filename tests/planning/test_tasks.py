"""What a plan that fine-tunes and serves gives each of its two tasks."""

import pytest

from modelpick.planning.workloads import tasks


@pytest.mark.parametrize("stack", ["vllm", "transformers", "llama.cpp"])
def test_a_stack_that_serves_is_the_servers(stack: str) -> None:
    tuned, served = tasks({"method": "lora", "stack": stack, "stack_version": "1"}, data=True, serve=True)
    assert tuned is not None
    assert served is not None
    assert not {"stack", "stack_version"} & set(tuned)
    assert (served["stack"], served["stack_version"]) == (stack, "1")


def test_any_other_stack_is_the_trainings() -> None:
    tuned, served = tasks({"method": "lora", "stack": "modelpick"}, data=True, serve=True)
    assert tuned is not None
    assert served is not None
    assert tuned["stack"] == "modelpick"
    assert "stack" not in served


@pytest.mark.parametrize(("data", "serve", "method"), [(True, False, "lora"), (False, True, "bf16")])
def test_one_task_alone_keeps_whatever_was_named(data: bool, serve: bool, method: str) -> None:
    tuned, served = tasks({"method": method, "stack": "transformers"}, data=data, serve=serve)
    assert [task["stack"] for task in (tuned, served) if task is not None] == ["transformers"]
