"""What is left open is chosen by memory: nothing that does not fit, nothing more costly than needed."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.errors import UsageError
from modelpick.planning.choose import Device, DoesNotFitError, TuningChoice, choose
from modelpick.training.job_file import planned_from
from modelpick.workload import Workload

GIB = 2**30
BASE = {"model": "m", "data": "d", "output": "o"}


def high(workload: Workload) -> float:
    """A plain stand-in for the estimate: weights by method, activations by batch and context."""
    weights = {"full": 64, "lora": 14, "lora-int8": 8, "qlora": 5}[workload.method]
    activations = workload.batch * workload.context / 1024 * (1 if workload.gradient_checkpointing else 3)
    return (weights + activations) * GIB


def chosen(
    usable_gib: float, longest: int = 1000, examples: int = 400, limit: int | None = 4096, **given: Any
) -> TuningChoice:
    device = Device("cuda", "a card", usable_gib * GIB, "bf16")
    return choose(
        {**BASE, **given}, device, high, longest=longest, examples=examples, parameters=7_000_000_000, limit=limit
    )


def test_a_large_card_takes_lora_at_the_largest_useful_batch() -> None:
    settings = chosen(80).settings
    assert (settings.method, settings.batch, settings.gradient_accumulation) == ("lora", 8, 2)
    assert not settings.gradient_checkpointing
    assert (settings.learning_rate, settings.lora_alpha, settings.dtype) == (2e-4, 32, "bf16")


def test_checkpointing_comes_before_quantization_and_8_bits_before_4() -> None:
    assert chosen(16).settings.gradient_checkpointing
    assert chosen(16).settings.method == "lora"
    assert chosen(12).settings.method == "lora-int8"
    assert chosen(7).settings.method == "qlora"


def test_what_does_not_fit_is_refused_with_what_it_would_need() -> None:
    with pytest.raises(DoesNotFitError, match=r"6\.0 GiB at the least"):
        chosen(5)
    with pytest.raises(DoesNotFitError):
        chosen(24, method="full")


def test_what_is_said_stays() -> None:
    settings = chosen(
        80, method="qlora", batch=3, gradient_accumulation=5, learning_rate=1e-5, lora_rank=8, context=77
    ).settings
    assert (settings.method, settings.batch, settings.gradient_accumulation, settings.context) == ("qlora", 3, 5, 77)
    assert (settings.learning_rate, settings.lora_rank, settings.lora_alpha) == (1e-5, 8, 16)


def test_the_context_follows_the_longest_example_within_the_models_limit() -> None:
    assert chosen(80, longest=1000).settings.context == 1024
    assert chosen(200, longest=9000).settings.context == 4096


def test_full_fine_tuning_takes_a_tenth_of_the_rate() -> None:
    assert chosen(200, method="full").settings.learning_rate == pytest.approx(2e-5)


@given(st.floats(5.5, 100), st.integers(1, 3000), st.integers(10, 2000))
def test_whatever_is_chosen_fits_and_learns_from_a_sixteenth_at_most(
    usable: float, longest: int, examples: int
) -> None:
    try:
        choice = chosen(usable, longest=longest, examples=examples)
    except DoesNotFitError:
        return
    assert choice.high_bytes <= usable * GIB
    assert choice.high_bytes == high(choice.settings.workload())
    assert choice.settings.effective_batch == min(16, examples)
    assert choice.settings.save_steps >= 1


PLANNED = (
    {"usable_gib": 22.4, "method": "qlora", "batch": 2, "gradient_accumulation": 8, "gradient_checkpointing": True},
    {"usable_gib": 44.7, "method": "qlora", "batch": 8, "gradient_accumulation": 2, "gradient_checkpointing": False},
)


def planned_on(usable_gib: float, kind: str = "cuda", **given: Any) -> TuningChoice:
    device = Device(kind, "a card", usable_gib * GIB, "bf16")
    return choose(
        {**BASE, "method": "qlora", **given}, device, high, longest=1000, examples=400, parameters=None, limit=4096,
        planned=PLANNED,
    )  # fmt: skip


def test_what_a_plan_settled_for_such_a_gpu_is_what_runs() -> None:
    """A process sees a few percent less free memory than the card is sold with."""
    for usable, batch, checkpointing in ((21.8, 2, True), (44.7, 8, False), (43.5, 8, False)):
        settings = planned_on(usable).settings
        assert (settings.batch, settings.gradient_checkpointing) == (batch, checkpointing)
        assert settings.effective_batch == 16
    assert planned_on(21.8, batch=4).settings.batch == 4  # what is said still stays


@pytest.mark.parametrize(("usable", "kind"), [(16.0, "cuda"), (33.0, "cuda"), (80.0, "cuda"), (22.4, "cpu")])
def test_another_device_than_planned_for_is_chosen_for_anew(usable: float, kind: str) -> None:
    """Half a card that another process fills, a larger one, or none: by the rule, and it says so."""
    choice = planned_on(usable, kind)
    assert choice.high_bytes <= usable * GIB
    assert any("the plan was not made for this GPU" in reason for reason in choice.reasons)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"schema_version": 2, "gpus": []}',
        '{"schema_version": 1, "gpus": [{"batch": 4}]}',
        '{"schema_version": 1, "gpus": [{"usable_gib": -1, "batch": 4}]}',
        '{"schema_version": 1, "gpus": [{"usable_gib": 22.4, "batch": 0}]}',
        '{"schema_version": 1, "gpus": [{"usable_gib": 22.4, "batches": 4}]}',
        '{"schema_version": 1, "gpus": [{"usable_gib": 22.4, "trust_remote_code": true}]}',
    ],
)
def test_a_broken_file_of_what_was_planned_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "planned.json"
    file.write_text(content)
    with pytest.raises(UsageError):
        planned_from(str(file))
    with pytest.raises(UsageError):
        planned_from(str(tmp_path / "absent.json"))
