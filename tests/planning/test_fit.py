"""Fit is per GPU at the upper bound; the solver's answer fits and the next one does not."""

from dataclasses import replace

import pytest

from modelpick.memory.estimate import GIB
from modelpick.offers.instance import Gpu, InstanceType
from modelpick.planning import fit
from modelpick.planning.smallest_change import least_change
from modelpick.workload import Workload, workload_from
from tests.memory.shapes import LLAMA_7B


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


def on(workload: Workload, where: InstanceType = A10G) -> fit.Fit:
    return fit.fits(fit.on_device(LLAMA_7B, workload), where)


def test_lora_over_8_bit_weights_of_a_7b_model_fits_an_a10g_and_full_fine_tuning_does_not() -> None:
    assert on(workload_from({"method": "lora-int8"}))
    refused = on(workload_from({"method": "full"}))
    assert not refused
    assert "22.4" in refused.reason


def test_memories_of_several_gpus_are_never_added_up() -> None:
    big = workload_from({"method": "bf16", "context": 40_000})
    assert on(big, FOUR_A10G).fits == on(big, A10G).fits is False
    sharded = replace(big, gpus=4, sharding="tensor-parallel")
    assert on(sharded, FOUR_A10G)
    assert "asked for" in on(sharded, A10G).reason


def test_a_gpu_without_the_dtype_does_not_fit() -> None:
    assert "bf16" in on(workload_from({"method": "nf4"}), T4).reason
    assert on(workload_from({"method": "nf4", "dtype": "fp16"}), T4)
    assert "fp8" in on(workload_from({"method": "fp8"}), A10G).reason
    assert on(workload_from({"method": "fp8"}), H100)


def test_vllm_may_use_only_its_share_of_the_card() -> None:
    tight = workload_from({"method": "bf16", "stack": "vllm", "gpu_memory_utilization": 0.6})
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
    found = least_change(LLAMA_7B, workload, A10G)
    assert found is not None
    assert found.items() >= change.items()
    assert on(replace(workload, **found))  # type: ignore[arg-type]


def test_shorter_sequences_are_the_last_resort() -> None:
    found = least_change(LLAMA_7B, workload_from({"method": "lora", "context": 100_000}), A10G)
    assert found is not None
    assert found["method"] == "qlora"
    assert 0 < found["context"] < 100_000


def test_nothing_fits_where_the_weights_do_not() -> None:
    assert fit.longest_context(LLAMA_7B, workload_from({"method": "bf16", "dtype": "fp32"}), A10G) is None


def test_free_memory_is_counted_at_the_upper_bound() -> None:
    device = fit.on_device(LLAMA_7B, workload_from({}))
    assert fit.fits(device, A10G).free_gib == pytest.approx(22.35 - device.high / GIB)
