"""A checkpoint's own format is the default; what nobody can hold is refused; kernels may hold more than the file."""

from dataclasses import replace

import pytest

from modelpick.catalog import architecture, index
from modelpick.catalog.architecture import Architecture, Checkpoint
from modelpick.errors import UsageError
from modelpick.memory.estimate import GIB, estimate, estimate_model
from modelpick.memory.formats import own_method
from modelpick.workload import CHECKPOINT_METHODS, workload_from
from tests.catalog.test_quantization import EXPERTS, KIMI
from tests.memory.shapes import ALL, LLAMA_7B, MIXTRAL

OWN = [Checkpoint(method, 8 if method == "fp8" else 4, 0) for method in CHECKPOINT_METHODS if method != "gguf"]
OWN += [Checkpoint("bitsandbytes", bits, 0) for bits in (4, 8)]


def packed(own: Checkpoint, shape: Architecture = LLAMA_7B) -> Architecture:
    return replace(shape, checkpoint=own)


@pytest.mark.parametrize("own", OWN, ids=lambda own: f"{own.method}-{own.bits}")
def test_without_a_method_a_checkpoint_is_held_as_it_is(own: Checkpoint) -> None:
    plain = estimate(LLAMA_7B, workload_from({}))
    found = estimate(packed(own), workload_from({}))
    assert plain.workload.method == "bf16"
    assert found.workload.method == own_method(own)
    assert found.parts.weights < plain.parts.weights


@pytest.mark.parametrize("method", ["int8", "nf4", "lora-int8", "qlora"])
@pytest.mark.parametrize("own", OWN, ids=lambda own: f"{own.method}-{own.bits}")
def test_nothing_is_quantized_twice(own: Checkpoint, method: str) -> None:
    """bitsandbytes over fp8 or mxfp4 is a run nobody can make; over its own bits, or adapters over gptq, it is one."""
    possible = (own.method == "bitsandbytes" and own.bits == (4 if method in ("nf4", "qlora") else 8)) or (
        own.method in ("gptq", "awq") and method == "qlora"
    )
    if possible:
        assert estimate(packed(own), workload_from({"method": method})).total > 0
        return
    with pytest.raises(UsageError) as refused:
        estimate(packed(own), workload_from({"method": method}))
    assert refused.value.code == "already_quantized"
    assert own.method in refused.value.message
    assert method in refused.value.message


def test_servers_do_not_rebuild_16_bits_of_a_quantized_checkpoint() -> None:
    fp8 = packed(OWN[2])
    with pytest.raises(UsageError):
        estimate(fp8, workload_from({"method": "bf16", "stack": "vllm"}))
    rebuilt = estimate(fp8, workload_from({"method": "bf16", "stack": "transformers"}))
    assert rebuilt.parts.weights == estimate(LLAMA_7B, workload_from({"method": "bf16"})).parts.weights


@pytest.mark.parametrize(
    ("model", "stack", "gib", "within"),
    [
        ("openai/gpt-oss-120b", "vllm", 65.97, 0.005),  # vLLM issue 23278: "Model loading took 65.9651 GiB"
        ("openai/gpt-oss-20b", "vllm", 13.7, 0.03),
        ("moonshotai/Kimi-K2-Thinking", "vllm", 554, 0.02),  # a file of 594 GB
        ("openai/gpt-oss-20b", "transformers", 38.9, 0.01),  # without triton kernels it is rebuilt in bf16
    ],
)
def test_weights_as_kernels_hold_them(model: str, stack: str, gib: float, within: float) -> None:
    found = estimate_model(index.load().models[model], workload_from({"stack": stack}))
    assert found.parts.weights / GIB == pytest.approx(gib, rel=within)


def test_only_odd_sizes_are_padded() -> None:
    mxfp4 = Checkpoint("mxfp4", 4, 0)
    even = packed(mxfp4, MIXTRAL)  # 4096 x 14336
    stacks = [estimate(even, workload_from({"stack": stack})).parts.weights for stack in ("vllm", "llama-factory")]
    assert stacks[0] == pytest.approx(stacks[1])
    odd = architecture.read({**EXPERTS, "moe_intermediate_size": 500, "quantization_config": {"quant_method": "mxfp4"}})
    padded, file = (estimate(odd, workload_from({"stack": stack})).parts.weights for stack in ("vllm", "llama-factory"))
    assert padded > file


@pytest.mark.parametrize("stack", ["vllm", "sglang"])
def test_heads_fewer_than_gpus_are_repeated(stack: str) -> None:
    """8 KV heads on 16 GPUs: each GPU holds a whole head of keys and values, an eighth of the matrices."""
    few = architecture.read(
        {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
         "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000, "tie_word_embeddings": False}
    )  # fmt: skip
    eight, sixteen = (
        estimate(few, workload_from({"method": "bf16", "stack": stack, "gpus": n})).parts.weights for n in (8, 16)
    )
    keys_and_values = 2 * 32 * 4096 * 1024
    assert 16 * sixteen - 8 * eight == pytest.approx(2 * keys_and_values + 8 * 2 * 65 * 4096, rel=1e-6)


def test_the_vocabulary_is_padded_to_64_and_to_the_gpus() -> None:
    odd = replace(LLAMA_7B, vocabulary=32_001, embedding_parameters=32_001 * 4096, head_parameters=32_001 * 4096)
    weights = [
        estimate(odd, workload_from({"method": "bf16", "stack": stack})).parts.weights for stack in ("vllm", "tgi")
    ]
    assert weights[0] - weights[1] == pytest.approx(2 * 63 * 4096 * 2)


def test_latent_attention_keeps_its_absorbed_halves() -> None:
    """vLLM v1/attention/backends/mla/common.py: W_UV and W_UK_T, in the compute type, beside kv_b_proj."""
    held = {
        stack: estimate(ALL["deepseek"], workload_from({"method": "bf16", "stack": stack})).parts.weights
        for stack in ("vllm", "transformers")
    }
    assert held["vllm"] - held["transformers"] == 27 * 512 * 16 * (128 + 128) * 2


def test_what_is_left_alone_counts_in_16_bits() -> None:
    own = architecture.read({**EXPERTS, "quantization_config": KIMI})
    everything = architecture.read({**EXPERTS, "quantization_config": {**KIMI, "ignore": []}})
    assert own.checkpoint is not None
    alone, whole = (estimate(shape, workload_from({})).parts.weights for shape in (own, everything))
    assert alone - whole == pytest.approx(own.linear_weights * (2 - 4.5 / 8))
