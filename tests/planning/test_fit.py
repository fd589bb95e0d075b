"""Fit is per GPU at the upper bound; the solver's answer fits and the next one does not."""

from dataclasses import replace
from typing import Any

import pytest

from modelpick.catalog.architecture import Architecture
from modelpick.memory.estimate import GIB
from modelpick.offers.instance import Gpu, InstanceType
from modelpick.planning import fit
from modelpick.workload import Workload, workload_from
from tests.memory.shapes import GEMMA_2B, LLAMA_7B, MAMBA, MIXTRAL
from tests.memory.test_pages import HYBRID


def instance(name: str, gpu: str, usable: float, count: int = 1, bf16: bool = True, fp8: bool = False) -> InstanceType:
    card = Gpu(
        name=gpu, architecture="x", compute_capability="8.6", memory_usable_gib=usable,
        bandwidth_gbs=600, fp16_tflops=70, gemm_fp16_tflops=None,
        gemm_bf16_tflops=None, bf16=bf16, fp8=fp8,
    )  # fmt: skip
    return InstanceType(
        name=name, gpu=card, gpu_count=count, gpu_fraction=1.0, usable_memory_gib=usable, vcpus=4, ram_gib=16,
        nvme_gb=250, network_gbps=2.5, cpu="x86_64", gpu_link="pcie", spot=True,
        source="test",
    )  # fmt: skip


A10G = instance("g5.xlarge", "A10G", 22.35)
FOUR_A10G = instance("g5.12xlarge", "A10G", 22.35, count=4)
T4 = instance("g4dn.xlarge", "T4", 14.75, bf16=False)
H100 = instance("p5.4xlarge", "H100-80GB", 79.6, fp8=True)


def smallest_change(workload: Workload) -> dict[str, Any] | None:
    return fit.smallest_change(
        workload, lambda changed: bool(on(changed)), lambda changed: fit.longest_context(LLAMA_7B, changed, A10G)
    )


def on(workload: Workload, where: InstanceType = A10G) -> fit.Fit:
    return fit.fits(fit.on_device(LLAMA_7B, workload), where)


def test_lora_over_8_bit_weights_of_a_7b_model_fits_an_a10g_and_full_fine_tuning_does_not() -> None:
    assert on(workload_from({"method": "lora-int8"}))
    refused = on(workload_from({"method": "full"}))
    assert not refused
    assert "22.4" in refused.reason


def test_memories_of_several_gpus_are_never_added_up() -> None:
    big = workload_from({"method": "bf16", "context": 40_000, "batch": 1})
    assert on(big, FOUR_A10G).fits == on(big, A10G).fits is False
    sharded = replace(big, gpus=4, sharding="tensor-parallel")
    assert on(sharded, FOUR_A10G)
    assert "4 are requested" in on(sharded, A10G).reason


def test_a_gpu_without_the_dtype_lacks_it_however_much_memory_it_has() -> None:
    assert fit.lacking_dtype(workload_from({"method": "nf4"}), T4) == "bf16"
    assert fit.lacking_dtype(workload_from({"method": "nf4", "dtype": "fp16"}), T4) is None
    assert fit.lacking_dtype(workload_from({"method": "fp8"}), A10G) == "fp8"
    assert fit.lacking_dtype(workload_from({"method": "bf16", "kv_cache_dtype": "fp8"}), A10G) == "fp8"
    assert fit.lacking_dtype(workload_from({"method": "fp8"}), H100) is None


def test_vllm_may_use_only_its_share_of_the_card() -> None:
    tight = workload_from({"method": "bf16", "batch": 1, "stack": "vllm", "gpu_memory_utilization": 0.6})
    assert not on(tight)
    assert on(replace(tight, gpu_memory_utilization=0.95))


@pytest.mark.parametrize(("solve", "name"), [(fit.longest_context, "context"), (fit.largest_batch, "batch")])
def test_the_solver_stops_at_the_last_workload_that_fits(solve: object, name: str) -> None:
    workload = workload_from({"method": "int8", "context": 1000})
    found = solve(LLAMA_7B, workload, A10G)  # type: ignore[operator]
    assert on(replace(workload, **{name: found}))
    if not (name == "context" and found == LLAMA_7B.context):
        assert not on(replace(workload, **{name: found + 1}))


def test_the_largest_rank_fits_and_one_more_does_not() -> None:
    workload = workload_from({"method": "qlora", "context": 512})
    found = fit.largest_rank(LLAMA_7B, workload, A10G)
    assert found is not None
    assert on(replace(workload, lora_rank=found))
    assert not on(replace(workload, lora_rank=found + 1))


@pytest.mark.parametrize(
    ("names", "change"),
    [
        ({"method": "qlora"}, {}),
        ({"method": "lora", "context": 1024}, {"gradient_checkpointing": True}),
        ({"method": "lora", "context": 8192}, {"gradient_checkpointing": True}),
        ({"method": "lora", "context": 20_000}, {"method": "qlora"}),
        ({"method": "full", "context": 512}, {"method": "lora"}),
        ({"method": "qlora", "context": 512, "batch": 64}, {"batch": 1, "gradient_accumulation": 64}),
    ],
)
def test_the_least_change_to_a_recipe_makes_it_fit(names: dict[str, object], change: dict[str, object]) -> None:
    workload = workload_from(names)
    found = smallest_change(workload)
    assert found is not None
    assert found.items() >= change.items()
    assert on(replace(workload, **found))  # type: ignore[arg-type]


def test_shorter_sequences_are_the_last_resort() -> None:
    found = smallest_change(workload_from({"method": "lora", "context": 100_000}))
    assert found is not None
    assert found["method"] == "qlora"
    assert 0 < found["context"] < 100_000


def test_nothing_fits_where_the_weights_do_not() -> None:
    assert fit.longest_context(LLAMA_7B, workload_from({"method": "bf16", "dtype": "fp32"}), A10G) is None


def test_free_memory_is_counted_at_the_upper_bound() -> None:
    device = fit.on_device(LLAMA_7B, workload_from({}))
    assert fit.fits(device, A10G).free_gib == pytest.approx(22.35 - device.high / GIB)


def test_a_larger_share_of_the_card_leaves_more_cache() -> None:
    tight = workload_from({"method": "bf16", "stack": "vllm", "context": 2048, "gpu_memory_utilization": 0.8})
    some, more = (fit.kv_cache_capacity(LLAMA_7B, replace(tight, gpu_memory_utilization=u), A10G) for u in (0.8, 0.95))
    assert 0 < some.gib < more.gib < 22.35
    assert some.sequences <= more.sequences
    assert more.tokens is not None
    assert more.sequences <= more.tokens / 2048


def test_shorter_contexts_admit_more_sequences() -> None:
    work = workload_from({"method": "int8", "stack": "vllm", "context": 4096})
    long, short = (fit.kv_cache_capacity(LLAMA_7B, replace(work, context=n), A10G).sequences for n in (4096, 512))
    assert 0 < long < short


def test_cards_that_share_kv_heads_have_room_for_more_tokens_and_for_no_fewer_than_the_sequences_hold() -> None:
    work = workload_from({"method": "bf16", "stack": "vllm", "context": 2048, "gpus": 4})
    room = fit.kv_cache_capacity(LLAMA_7B, work, FOUR_A10G)
    alone = fit.kv_cache_capacity(LLAMA_7B, replace(work, gpus=1, sharding="none"), A10G)
    assert room.tokens is not None
    assert alone.tokens is not None
    assert room.tokens > 4 * alone.tokens
    assert room.sequences * 2048 <= room.tokens


@pytest.mark.parametrize("shape", [GEMMA_2B, LLAMA_7B, MIXTRAL, HYBRID])
@pytest.mark.parametrize("context", [100, 4000, 8000])
def test_tokens_and_sequences_of_the_room_are_one_figure(shape: Architecture, context: int) -> None:
    """Windows and states, too: as many tokens as whole sequences of this length have, and less than one more."""
    work = workload_from({"method": "nf4", "stack": "vllm", "context": context, "generate": 96})
    room = fit.kv_cache_capacity(shape, work, FOUR_A10G)
    assert room.tokens is not None
    assert room.tokens // (context + 96) == room.sequences


def test_a_model_without_growing_cache_has_room_for_no_number_of_tokens() -> None:
    assert fit.kv_cache_capacity(MAMBA, workload_from({"method": "bf16", "stack": "vllm"}), A10G).tokens is None
