"""Laws of the estimate: parts sum to the peak, more never needs less, weights shrink by method, shards are shares."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from modelpick.catalog import architecture as shapes
from modelpick.catalog import index
from modelpick.catalog.architecture import Checkpoint
from modelpick.catalog.model import Model
from modelpick.errors import CannotTellError, UsageError
from modelpick.memory.estimate import GIB, estimate, estimate_model
from modelpick.memory.parts import PARTS
from modelpick.memory.stacks import STACKS
from modelpick.memory.tensor_parallel import split_problem
from modelpick.workload import FINETUNE_METHODS, SERVE_METHODS, Workload, workload_from
from tests.memory.shapes import ALL, GEMMA_2B, LLAMA_7B, MIXTRAL, T5_BASE, XLM_R

SHAPES = st.sampled_from(sorted(ALL))


@st.composite
def workloads(draw: st.DrawFn, gpus: bool = False) -> Workload:
    """Any workload that the names can describe."""
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
        names["packing"] = draw(st.booleans())
        names["gradient_accumulation"] = draw(st.sampled_from([1, 8]))
        if names["method"] != "full":
            names["lora_dropout"] = draw(st.sampled_from([0.0, 0.1]))
            names["lora_rank"] = draw(st.integers(1, 256))
    if names["method"] == "prompt-tuning":
        names["stack"] = draw(st.sampled_from(["auto", "transformers", "trl", "axolotl", "llama-factory"]))
        names.pop("lora_dropout")
        names.pop("lora_rank")
    if gpus:
        if names["stack"] in ("modelpick", "unsloth") and names["method"] not in SERVE_METHODS:
            names["stack"] = "transformers"  # these train on one GPU
        names["gpus"] = draw(st.sampled_from([2, 3, 4, 8]))
        kinds = ["tensor-parallel", "zero3", "fsdp"] + ["zero2"] * (names["method"] in FINETUNE_METHODS)
        names["sharding"] = draw(st.sampled_from(kinds))
    try:
        return workload_from(names)
    except UsageError:  # words that contradict each other, as a cache in fp8 and a stack without one
        reject()


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
    """Of what is shared, under any sharding; and of the whole, but for adapters under FSDP, which were measured to."""
    assume(split_problem(ALL[shape], workload) is None)
    alone = estimate(ALL[shape], replace(workload, gpus=1, sharding="none")).parts
    shared = estimate(ALL[shape], workload)
    if not _adapters_under_fsdp(workload):
        assert shared.total <= (alone.total) * (1 + 1e-9)
    if workload.sharding == "fsdp" and workload.method == "full":
        return  # mixed precision: shards in fp32
    if workload.sharding in ("tensor-parallel", "fsdp"):
        assert shared.parts.weights <= alone.weights * (1 + 1e-9)
        assert shared.parts.optimizer <= alone.optimizer * (1 + 1e-9)
        assert shared.parts.adapter <= alone.adapter * (1 + 1e-9)


def _adapters_under_fsdp(workload: Workload) -> bool:
    return workload.is_lora and workload.sharding == "fsdp"


@given(SHAPES, workloads(gpus=True))
def test_more_cards_never_hold_more_each(shape: str, workload: Workload) -> None:
    two, sixteen = (replace(workload, gpus=n) for n in (2, 16))
    assume(split_problem(ALL[shape], sixteen) is None)
    few, many = (estimate(ALL[shape], cards).total for cards in (two, sixteen))
    assert many <= few * (1 + 1e-9)


def test_litgpt_under_fsdp_holds_the_whole_model_beside_its_shard() -> None:
    """Llama 2 7B with LoRA on two GPUs peaks at 20.66 GiB (litgpt's tutorial on memory), on one at 19.84."""
    model = index.load().find("meta-llama/Llama-2-7b-hf")
    assert model is not None
    told = {"task": "finetune", "method": "lora", "context": 1304, "stack": "litgpt", "measure": "allocated",
            "gradient_checkpointing": True, "gpus": 2, "sharding": "fsdp", "lora_rank": 8,
            "lora_targets": "q,v"}  # fmt: skip
    assert estimate_model(model, workload_from(told)).total / 2**30 == pytest.approx(20.66, rel=0.03)


def test_deepspeed_holds_fp32_masters_and_a_bucket_of_gradients() -> None:
    """Qwen 1.8B fully fine-tuned on one A100: 43.5 GB; over 4-bit weights with rank 64: 5.8 GB (its README)."""
    model = index.load().find("Qwen/Qwen-1_8B")
    assert model is not None
    told = {"task": "finetune", "context": 256, "gradient_checkpointing": True, "gradient_accumulation": 8}
    full = estimate_model(model, workload_from(told | {"method": "full", "sharding": "zero2"}))
    assert full.parts.optimizer == 12 * full.trainable_parameters
    assert full.total / 1e9 == pytest.approx(43.5, rel=0.10)
    qlora = {"method": "qlora", "sharding": "zero2", "lora_rank": 64, "dtype": "fp16"}
    assert estimate_model(model, workload_from(told | qlora)).total / 1e9 == pytest.approx(5.8, rel=0.06)


def test_checkpointing_does_not_free_the_inputs_of_8_bit_layers() -> None:
    """bitsandbytes keeps them as attributes of the node, which only a graph's death frees; traced: 23.5 kB a token and
    layer on TinyLlama, whose qkv, output, MLP and down projections read 2048, 2048, 2048 and 5632 channels."""
    model = index.load().find("TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T")
    assert model is not None
    told = {"method": "lora-int8", "context": 2048, "gradient_checkpointing": True, "measure": "allocated",
            "kbit_prepared": False}  # fmt: skip
    kept, freed = (
        estimate_model(model, workload_from(told | {"stack": stack})).parts.activations
        for stack in ("transformers", "llama-factory")
    )
    assert kept - freed == 22 * 2048 * 2 * (3 * 2048 + 5632)


def test_litgpt_keeps_the_4_bit_inputs_of_the_batch_before() -> None:
    """Traced: 15.17 GiB when both batches have 512 tokens; its README says 15.12 (16.24 GB) for its own data."""
    model = index.load().find("TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T")
    assert model is not None
    told = {"method": "qlora", "context": 512, "batch": 8, "stack": "litgpt", "measure": "allocated", "packing": True,
            "lora_rank": 32, "lora_targets": "query,key,value,projection,mlp,head"}  # fmt: skip
    assert estimate_model(model, workload_from(told)).total / GIB == pytest.approx(15.17, rel=0.02)


def test_adapters_under_fsdp_keep_a_hidden_state_a_layer_more_than_alone() -> None:
    """Mistral 7B, LoRA, 8 x 4096 tokens, Liger's loss: 32.39 GB alone, 34.11 GB on each of two (fms-acceleration)."""
    model = index.load().find("mistralai/Mistral-7B-v0.1")
    assert model is not None
    told = {"method": "lora", "context": 4096, "batch": 8, "gradient_checkpointing": True, "attention": "flash",
            "packing": True, "loss_chunking": True, "lora_dropout": 0.1, "measure": "allocated",
            "stack": "transformers", "lora_targets": "q_proj,k_proj,v_proj,o_proj"}  # fmt: skip
    alone, each = (
        estimate_model(model, workload_from(told | more)).total / 1e9 for more in ({}, {"gpus": 2, "sharding": "fsdp"})
    )
    assert alone == pytest.approx(32.39, rel=0.03)
    assert each == pytest.approx(34.11, rel=0.03)


def test_full_fine_tuning_is_ten_bytes_a_parameter_at_the_step() -> None:
    """72.43 GB for Mistral 7B in bf16 with AdamW, on any batch that does not outgrow it (fms-acceleration)."""
    model = index.load().find("mistralai/Mistral-7B-v0.1")
    assert model is not None
    told = {"method": "full", "context": 4096, "batch": 4, "gradient_checkpointing": True, "measure": "allocated"}
    assert estimate_model(model, workload_from(told)).total / 1e9 == pytest.approx(72.43, rel=0.001)


def test_older_transformers_takes_more_and_says_so_by_its_version() -> None:
    """Qwen2 0.5B Instruct, prompts of 6144 tokens: 6.42 GiB under 4.42 (docs of QwenLM/Qwen2.5)."""
    model = index.load().find("Qwen/Qwen2-0.5B-Instruct")
    assert model is not None
    told = {
        "method": "bf16",
        "context": 6144,
        "generate": 2048,
        "batch": 1,
        "attention": "flash",
        "measure": "allocated",
    }
    new, old = (estimate_model(model, workload_from(told | more)).total for more in ({}, {"stack_version": "4.42"}))
    assert old / GIB == pytest.approx(6.42, rel=0.03)
    assert new < old / 2


def test_gradients_stay_when_several_batches_make_a_step() -> None:
    long = {"method": "full", "context": 8192}
    once, twice = (estimate(LLAMA_7B, workload_from(long | {"gradient_accumulation": n})) for n in (1, 2))
    assert once.parts.gradients == 0
    assert twice.parts.gradients == 2 * LLAMA_7B.parameters


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
    found = estimate(LLAMA_7B, workload_from({"method": "bf16", "context": 1000, "generate": 24, "batch": 1}))
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
    """Gemma 2 caps its scores: transformers and litgpt run it eagerly, vLLM does not."""
    asked = workload_from({"method": "bf16", "context": 8192, "attention": "sdpa"})
    eager = estimate(GEMMA_2B, replace(asked, attention="eager"))
    found = estimate(GEMMA_2B, asked)
    assert found.parts == eager.parts
    assert any("eager" in said for said in found.assumptions)
    assert estimate(GEMMA_2B, replace(asked, stack="vllm")).total < found.total


def test_an_encoder_keeps_no_cache_and_an_encoder_decoder_keeps_its_prompt() -> None:
    assert estimate(XLM_R, workload_from({"method": "bf16", "context": 512})).parts.kv_cache == 0
    short, long = (
        estimate(T5_BASE, workload_from({"method": "bf16", "context": n, "generate": 16, "batch": 1}))
        for n in (64, 512)
    )
    assert long.parts.kv_cache - short.parts.kv_cache == 2 * 12 * 768 * 2 * (512 - 64)


def test_causal_masks_that_a_repository_holds_are_no_parameters() -> None:
    """pythia-160m holds twelve masks of 2048 x 2048; without them its rows count as its class does."""
    counts = {name: estimate_model(index.load().models[name], Workload()) for name in MASKED}
    assert {name: found.parameters for name, found in counts.items()} == MASKED
    assert all("masks" in found.parameters_source for found in counts.values())


MASKED = {"EleutherAI/pythia-160m": 162_322_944, "openai-community/gpt2": 124_439_808}


WHISPER = {
    "model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], "vocab_size": 51865, "d_model": 384,
    "num_mel_bins": 80, "encoder_layers": 4, "encoder_attention_heads": 6, "encoder_ffn_dim": 1536, "decoder_layers": 4,
    "decoder_attention_heads": 6, "decoder_ffn_dim": 1536, "max_source_positions": 1500, "max_target_positions": 448,
}  # fmt: skip


def test_whisper_hears_half_a_minute_whatever_is_asked() -> None:
    shape = shapes.read(WHISPER)
    alone = {"method": "bf16", "generate": 0, "batch": 1}
    short, long = (estimate(shape, workload_from({**alone, "context": n})) for n in (1, 448))
    per_token = 2 * 4 * 384 * 2  # keys and values of four layers
    assert short.parts.kv_cache == per_token * (1500 + 1)
    assert long.parts.kv_cache == per_token * (1500 + 448)
    assert shape.longest == 448


RWKV = {
    "model_type": "rwkv", "vocab_size": 50277, "hidden_size": 512, "attention_hidden_size": 512, "num_hidden_layers": 6,
    "intermediate_size": 2048, "context_length": 1024, "tie_word_embeddings": False,
}  # fmt: skip


def test_a_state_does_not_grow_and_training_it_is_not_told() -> None:
    shape = shapes.read(RWKV)
    short, long = (estimate(shape, workload_from({"method": "bf16", "context": n, "batch": 1})) for n in (1, 4096))
    assert short.parts.kv_cache == long.parts.kv_cache == 6 * 512 * (3 * 4 + 2 * 2)
    with pytest.raises(CannotTellError, match="recurrent layers"):
        estimate(shape, workload_from({"task": "finetune", "method": "lora"}))


def test_layers_that_share_weights_hold_them_once_and_save_for_each() -> None:
    albert = {
        "model_type": "albert", "vocab_size": 30000, "embedding_size": 128, "hidden_size": 768, "num_hidden_layers": 12,
        "num_hidden_groups": 1, "inner_group_num": 1, "num_attention_heads": 12, "intermediate_size": 3072,
        "max_position_embeddings": 512, "type_vocab_size": 2,
    }  # fmt: skip
    tuned = workload_from({"task": "finetune", "method": "full", "context": 512})
    one, twelve = (estimate(shapes.read({**albert, "num_hidden_layers": n}), tuned) for n in (1, 12))
    assert one.parameters == twelve.parameters
    assert one.parts.weights == twelve.parts.weights
    assert twelve.parts.activations > 5 * one.parts.activations


def test_an_encoder_is_trained_as_a_classifier_and_not_over_its_vocabulary() -> None:
    tuned = workload_from({"task": "finetune", "method": "full", "context": 512, "batch": 8})
    few, many = (estimate(replace(XLM_R, vocabulary=words), tuned, 560_000_000) for words in (1000, 250_000))
    assert few.parts.activations == many.parts.activations


def test_a_tower_of_sound_is_refused_where_nothing_tells_its_size() -> None:
    heard = {"d_model": 1280, "encoder_layers": 32}
    nested = {"model_type": "qwen2_audio", "text_config": LLAMA_TEXT, "audio_config": heard}
    with pytest.raises(CannotTellError, match="audio_config"):
        estimate(shapes.read(nested), Workload())
    assert estimate(shapes.read(nested), Workload(), 8_000_000_000).parameters == 8_000_000_000


LLAMA_TEXT = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "vocab_size": 32000, "tie_word_embeddings": False,
}  # fmt: skip


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


@pytest.mark.parametrize("method", FINETUNE_METHODS)
@pytest.mark.parametrize(
    "id",
    [
        "allenai/Olmo-Hybrid-7B",  # its model_type is not read
        "Qwen/Qwen3-Next-80B-A3B-Instruct",  # nobody tells which layers attend
        "tiiuae/Falcon-H1-0.5B-Base",  # nor how large its state-space part is
    ],
)
def test_what_guessed_layers_keep_for_a_backward_pass_is_not_told(id: str, method: str) -> None:
    """An upper bound for serving is none for training: recurrent layers keep more than attention does."""
    model = index.load().models[id]
    assert estimate_model(model, workload_from({"task": "serve", "method": "bf16"})).total > 0
    with pytest.raises(CannotTellError) as caught:
        estimate_model(model, workload_from({"task": "finetune", "method": method}))
    assert caught.value.code == "unknown_architecture"
    assert caught.value.fix


def test_vllm_offloads_weights_to_ram() -> None:
    """--cpu-offload-gb is GiB of each GPU's weights (model_executor/models/utils.py, maybe_offload_to_cpu)."""
    asked = {"method": "bf16", "cpu_offload_gb": 4.0}
    offloaded = estimate(LLAMA_7B, workload_from(asked))
    assert offloaded.workload.stack == "vllm"
    whole = estimate(LLAMA_7B, workload_from({"method": "bf16", "stack": "vllm"}))
    assert whole.parts.weights - offloaded.parts.weights == 4 * GIB
    assert estimate(LLAMA_7B, workload_from({**asked, "cpu_offload_gb": 400.0})).parts.weights == 0


@pytest.mark.parametrize(
    ("stack", "dtype", "share"),
    [("vllm", "fp8", 1 / 2), ("vllm", "int8", (1 + 4 / 128) / 2), ("transformers", "int4", (0.5 + 4 / 64) / 2)],
)
def test_a_quantized_cache_has_scales(stack: str, dtype: str, share: float) -> None:
    plain, quantized = (
        estimate(LLAMA_7B, workload_from({"method": "bf16", "stack": stack, "kv_cache_dtype": each})).parts.kv_cache
        for each in ("auto", dtype)
    )
    assert quantized == pytest.approx(share * plain)


def test_older_transformers_hold_a_growing_cache_twice() -> None:
    """Before DynamicCache (4.36) every step returned a new tuple of all layers while the caller held the old one."""
    asked = {"method": "bf16", "stack": "transformers", "context": 1, "generate": 30_000, "measure": "allocated"}
    old, new = (estimate(LLAMA_7B, workload_from({**asked, "stack_version": v})) for v in ("4.35", "4.36"))
    assert old.total - new.total == pytest.approx(new.parts.kv_cache * 31 / 32)


def test_a_gguf_file_weighs_what_llama_cpp_publishes() -> None:
    """llama.cpp tools/quantize/README.md: Llama-3.1-8B in Q4_K_M is 4.58 GiB."""
    found = estimate_model(index.load().models["meta-llama/Llama-3.1-8B"], workload_from({"method": "gguf"}))
    assert found.parts.weights / GIB == pytest.approx(4.58, abs=0.006)
