"""Laws of the speed model: nothing beats the roof, more work takes longer, intervals hold the likely value."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpick.catalog.architecture import read
from modelpick.offers import embedded
from modelpick.speed import calibration, roofline
from modelpick.speed import speed as timing
from modelpick.speed.hardware import hardware_of
from modelpick.speed.shape import SpeedShape, shape_of
from modelpick.speed.training import TrainingJob, training_tokens_per_second
from modelpick.workload import workload_from

LLAMA_2_7B = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32000, "tie_word_embeddings": False,
}  # fmt: skip
MIXTRAL = {
    "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000, "num_local_experts": 8,
    "num_experts_per_tok": 2, "tie_word_embeddings": False,
}  # fmt: skip
KINDS = st.sampled_from(sorted(embedded.instances()))
METHODS = st.sampled_from(["bf16", "int8", "nf4", "gptq", "awq", "fp8", "mxfp4", "gguf"])


@pytest.fixture(scope="module")
def llama() -> SpeedShape:
    return shape_of(read(LLAMA_2_7B))


def test_a_shape_counts_what_a_token_is_multiplied_with(llama: SpeedShape) -> None:
    """6.74 B parameters less the embedding table of 131 M."""
    assert llama.active_weights == pytest.approx(6.607e9, rel=1e-3)
    assert llama.cache_per_token == 2 * 32 * 4096
    mixtral = shape_of(read(MIXTRAL))
    assert mixtral.active_weights == pytest.approx(12.75e9, rel=1e-2)
    assert mixtral.bytes_read("bf16", 1) < 0.3 * mixtral.bytes_read("bf16", 256)


def test_one_sequence_in_16_bits_on_an_a10g_is_read_at_the_memory_bandwidth(llama: SpeedShape) -> None:
    """13.2 GB of weights over 600 GB/s: at most 45 tokens/s; vLLM reaches most of it."""
    on = hardware_of(embedded.instances()["g5.xlarge"])
    assert roofline.decode_roof(llama, on, "bf16", 1, 0) == pytest.approx(45.4, rel=0.01)
    by = calibration.serving("vllm", "bf16").constants
    assert 30 < roofline.decode_tokens_per_second(llama, on, by, "bf16", 1, 128, 128) < 45


def test_eager_int8_is_slower_than_16_bits(llama: SpeedShape) -> None:
    """LLM.int8 saves memory, not time: 6.9 against 34 tokens/s on an A100 (premAI-io/benchmarks)."""
    on = hardware_of(embedded.instances()["p4de.24xlarge"])
    slow, fast = (
        roofline.decode_tokens_per_second(
            llama, on, calibration.serving("transformers", method).constants, method, 1, 12, 512
        )
        for method in ("int8", "bf16")
    )
    assert slow < fast / 2


@settings(max_examples=150, deadline=None)
@given(
    KINDS,
    METHODS,
    st.sampled_from(["vllm", "transformers"]),
    st.integers(1, 512),
    st.integers(1, 100_000),
    st.integers(1, 9999),
)
def test_no_prediction_beats_the_roof(name: str, method: str, stack: str, batch: int, prompt: int, new: int) -> None:
    kind = embedded.instances()[name]
    workload = workload_from({"method": method, "stack": stack, "batch": batch, "context": prompt, "generate": new})
    speed = timing.serving_speed(shape_of(read(LLAMA_2_7B)), kind, calibration.serving(stack, method), workload)
    rate = speed.generated
    assert 0 < rate.low <= rate.tokens_per_s <= rate.high <= rate.roof * (1 + 1e-9)
    assert 0 < speed.prompt.low <= speed.prompt.tokens_per_s <= speed.prompt.high <= speed.prompt.roof * (1 + 1e-9)
    assert 0 <= speed.prompt_share <= 1


@settings(max_examples=100, deadline=None)
@given(
    KINDS,
    st.sampled_from(["full", "lora", "lora-int8", "qlora"]),
    st.integers(1, 64),
    st.integers(16, 8192),
    st.booleans(),
)
def test_training_stays_below_the_datasheet(name: str, method: str, batch: int, length: int, again: bool) -> None:
    kind = embedded.instances()[name]
    workload = workload_from({"method": method, "batch": batch, "context": length, "gradient_checkpointing": again})
    shape = shape_of(read(LLAMA_2_7B))
    rate = timing.training_speed(shape, kind, calibration.training("trl", method), workload)
    assert 0 < rate.low <= rate.tokens_per_s <= rate.high <= rate.roof
    flops = shape.active_weights * (6 if method == "full" else 4) * rate.high
    assert flops <= kind.gpu.fp16_tflops * kind.gpu_fraction * 1e12 * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 256), st.integers(1, 32_000))
def test_a_step_takes_longer_with_more_sequences_and_more_context(batch: int, context: int) -> None:
    shape = shape_of(read(LLAMA_2_7B))
    on = hardware_of(embedded.instances()["g6e.xlarge"])
    by = calibration.serving("vllm", "bf16").constants
    one = roofline.step_seconds(shape, on, by, "bf16", batch, context)
    assert roofline.step_seconds(shape, on, by, "bf16", batch + 1, context) > one
    assert roofline.step_seconds(shape, on, by, "bf16", batch, context + 100) > one


def test_recomputing_activations_and_training_all_weights_cost_time(llama: SpeedShape) -> None:
    on = hardware_of(embedded.instances()["g6e.xlarge"])
    by = calibration.training("trl", "lora").constants
    job = TrainingJob("lora", batch=8, length=2048, checkpointing=False)
    plain = training_tokens_per_second(llama, on, by, job)
    assert training_tokens_per_second(llama, on, by, replace(job, checkpointing=True)) < plain
    assert training_tokens_per_second(llama, on, by, replace(job, method="full")) < plain
    assert training_tokens_per_second(llama, on, by, replace(job, method="qlora")) < plain


def test_an_unmeasured_gpu_gets_a_wider_interval() -> None:
    by = calibration.serving("transformers", "bf16")
    assert "A100-80GB" in by.gpus
    assert by.spread("batch1", "A10G") > by.spread("batch1", "A100-80GB")
    assert by.standing("A10G", "A100-80GB").endswith("none of them on A10G")


def test_int8_training_says_that_nobody_published_it_counted() -> None:
    assert "no measurement of this stack is published" in calibration.training("trl", "lora-int8").standing("A10G")
