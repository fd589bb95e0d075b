"""What learning from comparisons takes: both sides of a pair at once, and the base's own pass on top."""

from typing import Any

import pytest

from modelpick.memory.estimate import estimate
from modelpick.workload import Workload, workload_from
from tests.memory.shapes import GEMMA_2B, LLAMA_7B


def total(shape: Any, **changes: Any) -> float:
    names: dict[str, Any] = {"task": "finetune", "method": "lora", "context": 1024, "batch": 2, "measure": "allocated"}
    work: Workload = workload_from({**names, **changes})
    return estimate(shape, work).total


@pytest.mark.parametrize("shape", [LLAMA_7B, GEMMA_2B], ids=["llama", "gemma"])
@pytest.mark.parametrize("method", ["lora", "lora-int8", "qlora"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_pair_is_two_sequences_and_the_base_speaks_at_the_peak(shape: Any, method: str, checkpointing: bool) -> None:
    common = {"method": method, "gradient_checkpointing": checkpointing, "loss_chunking": False}
    both_sides = total(shape, batch=4, **common)
    pairs = total(shape, objective="dpo", **common)
    assert both_sides <= pairs <= 1.2 * both_sides  # the base's pass is a layer at work, not a second model
    thumbs, plain = total(shape, objective="kto", **common), total(shape, **common)
    assert plain <= thumbs <= 1.2 * plain
    assert thumbs < pairs
