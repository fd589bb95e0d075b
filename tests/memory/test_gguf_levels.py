"""GGUF levels weigh what llama.cpp publishes; what is not on the GPU does not count there; buffers are what it logs."""

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.catalog import index
from modelpick.errors import UsageError
from modelpick.memory.estimate import GIB, architecture_of, estimate, estimate_model
from modelpick.memory.gguf_levels import TYPE_BITS, file_bytes
from modelpick.workload import GgufLevel, workload_from
from tests.memory.shapes import ALL, LLAMA_7B, MIXTRAL

# GiB of Llama-3.1-8B: llama.cpp tools/quantize/README.md, its table of all levels.
PUBLISHED = {
    "IQ1_S": 1.87, "IQ1_M": 2.01, "IQ2_XXS": 2.23, "IQ2_XS": 2.42, "IQ2_S": 2.56, "IQ2_M": 2.74, "IQ3_XXS": 3.04,
    "IQ3_XS": 3.27, "IQ3_S": 3.42, "IQ3_M": 3.52, "IQ4_XS": 4.17, "IQ4_NL": 4.38, "Q2_K_S": 2.78, "Q2_K": 2.95,
    "Q3_K_S": 3.41, "Q3_K_M": 3.74, "Q3_K_L": 4.02, "Q4_K_S": 4.36, "Q4_K_M": 4.58, "Q5_K_S": 5.21, "Q5_K_M": 5.33,
    "Q6_K": 6.14, "Q8_0": 7.95, "F16": 14.96,
}  # fmt: skip
LEVELS = tuple(level for level in get_args(get_args(get_args(GgufLevel)[0])[0]))


@pytest.mark.parametrize(("level", "gib"), PUBLISHED.items())
def test_a_level_weighs_what_is_published(level: str, gib: float) -> None:
    llama = architecture_of(index.load().models["meta-llama/Llama-3.1-8B"])
    assert file_bytes(llama, level).total / GIB == pytest.approx(gib, abs=0.008)


@pytest.mark.parametrize(
    ("model", "level", "gib"),
    [
        ("Qwen/Qwen3-30B-A3B", "Q4_K_M", 17.28),  # llama.cpp issue 14235: "file size = 17.28 GiB (4.86 BPW)"
        ("openai/gpt-oss-120b", "MXFP4_MOE", 59.02),  # llama.cpp issue 15253: "file size = 59.02 GiB (4.34 BPW)"
    ],
)
def test_experts_weigh_what_files_log(model: str, level: str, gib: float) -> None:
    found = estimate_model(index.load().models[model], workload_from({"gguf_level": level}))
    assert found.parts.weights / GIB == pytest.approx(gib, abs=0.01)


@given(st.sampled_from(sorted(ALL)), st.sampled_from(sorted(PUBLISHED)))
def test_every_level_of_every_shape_lies_between_its_smallest_type_and_16_bits(shape: str, level: str) -> None:
    """But for what is never quantized, which is fp32."""
    own = ALL[shape]
    made, whole = file_bytes(own, level).total, file_bytes(own, "F16").total
    assert min(TYPE_BITS.values()) / 16 * whole <= made <= whole


def test_layers_left_in_ram_take_their_cache_along() -> None:
    everything = estimate(LLAMA_7B, workload_from({"gguf_level": "Q4_K_M", "n_gpu_layers": 33}))
    half = estimate(LLAMA_7B, workload_from({"gguf_level": "Q4_K_M", "n_gpu_layers": 16}))
    none = estimate(LLAMA_7B, workload_from({"gguf_level": "Q4_K_M", "n_gpu_layers": 0}))
    assert half.parts.kv_cache == everything.parts.kv_cache / 2
    assert 0.4 < half.parts.weights / everything.parts.weights < 0.5  # the output matrix is the 33rd layer
    assert none.parts.weights == none.parts.kv_cache == 0
    assert any("RAM" in said for said in half.assumptions)


@given(st.sampled_from(["llama", "mixtral", "deepseek", "gemma2"]), st.integers(0, 40), st.integers(0, 40))
def test_more_layers_on_the_gpu_never_take_less(shape: str, layers: int, experts: int) -> None:
    asked = workload_from({"gguf_level": "Q4_K_M", "n_gpu_layers": layers, "n_cpu_moe": experts})
    less = estimate(ALL[shape], asked).parts
    more = estimate(ALL[shape], replace(asked, n_gpu_layers=layers + 1)).parts
    assert more.weights >= less.weights >= 0
    assert more.kv_cache >= less.kv_cache
    assert estimate(ALL[shape], replace(asked, n_cpu_moe=experts + 1)).parts.weights <= less.weights


def test_experts_in_ram_leave_attention_on_the_gpu() -> None:
    asked = {"gguf_level": "Q4_K_M"}
    whole = estimate(MIXTRAL, workload_from(asked)).parts
    alone = estimate(MIXTRAL, workload_from({**asked, "n_cpu_moe": 32})).parts
    assert whole.weights - alone.weights == pytest.approx(file_bytes(MIXTRAL, "Q4_K_M").experts)
    assert alone.kv_cache == whole.kv_cache


def test_the_compute_buffer_holds_logits_of_a_batch_or_scores() -> None:
    """llama.cpp logs 258.5 MiB for Llama 3 8B with flash attention (250.5 of logits, 8 of hidden states), and scores of
    32 heads, 512 tokens and 8,192 cells without it: 512 MiB and what the layer holds."""
    llama = index.load().models["meta-llama/Llama-3.1-8B"]
    asked = workload_from({"gguf_level": "Q4_K_M", "context": 8192})
    flash, eager = (
        estimate_model(llama, replace(asked, attention=how)).parts.activations / 2**20 for how in ("sdpa", "eager")
    )
    assert flash == pytest.approx(258.5 + 8, abs=1)  # and its mask
    assert 560 <= eager <= 680
    old = estimate_model(llama, replace(asked, stack_version="4000")).parts.activations / 2**20
    assert old == pytest.approx(eager)


@pytest.mark.parametrize(("dtype", "share"), [("q8_0", 34 / 64), ("q4_0", 18 / 64), ("q5_1", 24 / 64)])
def test_a_quantized_cache_takes_ggmls_blocks(dtype: str, share: float) -> None:
    asked = {"gguf_level": "Q4_K_M", "context": 4096}
    plain = estimate(LLAMA_7B, workload_from(asked)).parts.kv_cache
    assert estimate(LLAMA_7B, workload_from({**asked, "kv_cache_dtype": dtype})).parts.kv_cache == plain * share


def test_levels_belong_to_llama_cpp() -> None:
    assert workload_from({"gguf_level": "Q8_0"}).stack == "llama.cpp"
    for other in ("vllm", "transformers", "sglang"):
        with pytest.raises(UsageError) as refused:
            workload_from({"gguf_level": "Q8_0", "stack": other})
        assert other in refused.value.message
        assert "gguf_level Q8_0" in refused.value.message
