"""Laws of the estimate: parts sum to the peak, more never needs less, weights shrink by method, shards are shares."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.catalog.architecture import Checkpoint
from modelpick.catalog.model import Model
from modelpick.errors import CannotTellError, UsageError
from modelpick.memory.estimate import GIB, PARTS, estimate, estimate_model
from modelpick.memory.stacks import STACKS
from modelpick.workload import FINETUNE_METHODS, SERVE_METHODS, Workload, workload_from
from tests.memory.shapes import ALL, GEMMA_2B, LLAMA_7B, MIXTRAL, T5_BASE, XLM_R

SHAPES = st.sampled_from(sorted(ALL))


@st.composite
def workloads(draw: st.DrawFn, gpus: bool = False) -> Workload:
    """Any workload that design.md's names can describe."""
    names: dict[str, Any] = {
        "method": draw(st.sampled_from(SERVE_METHODS + FINETUNE_METHODS)),
        "context": draw(st.integers(1, 40_000)),
        "batch": draw(st.integers(1, 64)),
        "dtype": draw(st.sampled_from(["bf16", "fp16", "fp32"])),
        "attention": draw(st.sampled_from(["eager", "sdpa", "flash"])),
        "stack": draw(st.sampled_from(sorted(STACKS))),
        "measure": draw(st.sampled_from(["allocated", "reserved", "device"])),
    }
    if names["method"] in SERVE_METHODS:
        names["generate"] = draw(st.integers(0, 4096))
        names["kv_cache_dtype"] = draw(st.sampled_from(["auto", "fp8", "int8", "int4"]))
    else:
        names["optimizer"] = draw(st.sampled_from(["adamw", "adamw-fused", "adamw-8bit", "paged-adamw-8bit", "sgd"]))
        names["gradient_checkpointing"] = draw(st.booleans())
        if names["method"] != "full":
            names["lora_rank"] = draw(st.integers(1, 256))
    if gpus:
        names["gpus"] = draw(st.sampled_from([2, 3, 4, 8]))
        names["sharding"] = draw(st.sampled_from(["tensor-parallel", "zero3", "fsdp"]))
    return workload_from(names)


@given(SHAPES, workloads())
def test_parts_are_never_negative_and_sum_to_the_total(shape: str, workload: Workload) -> None:
    found = estimate(ALL[shape], workload)
    parts = [getattr(found.parts, name) for name in PARTS]
    assert min(parts) >= 0
    assert sum(parts) == pytest.approx(found.total)
    assert 0 < found.low <= found.total <= found.high


@given(SHAPES, workloads(), st.integers(1, 5000))
def test_more_context_batch_or_rank_never_needs_less(shape: str, workload: Workload, more: int) -> None:
    before = estimate(ALL[shape], workload)
    for bigger in (
        replace(workload, context=workload.context + more),
        replace(workload, batch=workload.batch + more % 7 + 1),
        replace(workload, lora_rank=workload.lora_rank + more % 64 + 1),
        replace(workload, generate=workload.generate + more) if workload.task == "serve" else workload,
    ):
        after = estimate(ALL[shape], bigger)
        assert after.total >= before.total * (1 - 1e-9)
        assert after.high >= before.high * (1 - 1e-9)


@given(SHAPES, workloads())
def test_weights_shrink_from_bf16_to_int8_to_nf4(shape: str, workload: Workload) -> None:
    weights = [
        estimate(ALL[shape], replace(workload, task="serve", method=method, dtype="bf16")).parts.weights
        for method in ("nf4", "int8", "bf16")
    ]
    assert weights == sorted(weights)


@given(SHAPES, workloads(gpus=True))
def test_sharding_never_increases_a_cards_share(shape: str, workload: Workload) -> None:
    alone = estimate(ALL[shape], replace(workload, gpus=1, sharding="none"))
    shared = estimate(ALL[shape], workload)
    assert shared.total <= alone.total * (1 + 1e-9)


@given(SHAPES, workloads())
def test_allocated_is_below_reserved_is_below_device(shape: str, workload: Workload) -> None:
    totals = [estimate(ALL[shape], replace(workload, measure=m)).total for m in ("allocated", "reserved", "device")]
    assert totals == sorted(totals)
    assert estimate(ALL[shape], replace(workload, measure="allocated")).parts.runtime == 0


@given(SHAPES, workloads())
def test_checkpointing_never_needs_more(shape: str, workload: Workload) -> None:
    if workload.task == "finetune":
        without = estimate(ALL[shape], replace(workload, gradient_checkpointing=False))
        assert estimate(ALL[shape], replace(workload, gradient_checkpointing=True)).total <= without.total * (1 + 1e-9)


def test_the_cache_of_llama_2_7b_is_half_a_mebibyte_a_token() -> None:
    found = estimate(LLAMA_7B, workload_from({"method": "bf16", "context": 1000, "generate": 24}))
    assert found.kv_bytes_per_token == 2**19
    assert found.parts.kv_cache == 1024 * 2**19


def test_weights_in_bf16_are_two_bytes_a_parameter() -> None:
    found = estimate(LLAMA_7B, workload_from({"method": "bf16"}), 6_738_415_616)
    assert found.parts.weights == 2 * 6_738_415_616
    assert found.parameters_source == "repository"


def test_a_count_of_packed_elements_is_not_taken_for_parameters() -> None:
    packed = replace(LLAMA_7B, checkpoint=None)
    assert estimate(packed, Workload(), 6_738_415_616).parameters == 6_738_415_616
    packed = replace(LLAMA_7B, checkpoint=Checkpoint("gptq", 4, 128))
    found = estimate(packed, Workload(), 1_200_000_000)
    assert found.parameters == 6_738_415_616
    assert "packs" in found.parameters_source


def test_transformers_leaves_fused_experts_in_bf16_and_says_so() -> None:
    found = estimate(MIXTRAL, workload_from({"method": "nf4"}))
    assert found.parts.weights > 80 * GIB
    assert any("experts" in said for said in found.assumptions)
    assert estimate(MIXTRAL, workload_from({"method": "nf4", "stack": "vllm"})).parts.weights < 30 * GIB


def test_sdpa_is_eager_where_transformers_has_no_sdpa_path() -> None:
    """Gemma 2 caps its scores: transformers runs it eagerly, vLLM and litgpt do not."""
    asked = workload_from({"method": "bf16", "context": 8192, "attention": "sdpa"})
    eager = estimate(GEMMA_2B, replace(asked, attention="eager"))
    found = estimate(GEMMA_2B, asked)
    assert found.parts == eager.parts
    assert any("eager" in said for said in found.assumptions)
    assert estimate(GEMMA_2B, replace(asked, stack="litgpt")).total < found.total


def test_an_encoder_keeps_no_cache_and_an_encoder_decoder_keeps_its_prompt() -> None:
    assert estimate(XLM_R, workload_from({"method": "bf16", "context": 512})).parts.kv_cache == 0
    short, long = (
        estimate(T5_BASE, workload_from({"method": "bf16", "context": n, "generate": 16})) for n in (64, 512)
    )
    assert long.parts.kv_cache - short.parts.kv_cache == 2 * 12 * 768 * 2 * (512 - 64)


def test_lora_targets_a_model_lacks_are_named() -> None:
    with pytest.raises(UsageError, match="nonsense"):
        estimate(LLAMA_7B, workload_from({"method": "lora", "lora_targets": "nonsense"}))


@pytest.mark.parametrize(
    ("targets", "trainable"),
    [
        ("q_proj,v_proj", 32 * 8 * 4 * 4096),
        ("query,value", 32 * 8 * 4 * 4096),  # another family's words for the same matrices
        ("all-linear", 32 * 8 * (4 * 8192 + 3 * (4096 + 11008))),
    ],
)
def test_trainable_parameters_are_rank_times_inputs_plus_outputs(targets: str, trainable: int) -> None:
    found = estimate(LLAMA_7B, workload_from({"method": "lora", "lora_rank": 8, "lora_targets": targets}))
    assert found.trainable_parameters == trainable


def test_a_model_without_a_readable_config_cannot_be_told() -> None:
    with pytest.raises(CannotTellError):
        estimate_model(Model("a/b", "hub"), Workload())
    with pytest.raises(CannotTellError):
        estimate_model(Model("a/b", "hub", config={"model_type": "brand_new"}, parameters=7), Workload())


def test_every_part_is_explained() -> None:
    found = estimate(LLAMA_7B, workload_from({"method": "qlora"}))
    assert [row["part"] for row in found.explain()] == list(PARTS)
    assert found.as_json()["parts_gib"]["weights"] == pytest.approx(found.parts.weights / GIB)
