"""The trace runs the real transformers and peft code; the formulas are held to it, so that neither can rot alone."""

from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra train is absent")
from modelpick.catalog import architecture, index
from modelpick.errors import CannotTellError
from modelpick.memory.estimate import estimate_model
from modelpick.tracing.trace import Trace, trace
from modelpick.workload import Workload, workload_from

TINY: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 1000, "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False,
}  # fmt: skip


def traced(config: dict[str, Any] | None = None, **names: Any) -> Trace:
    return trace(config or TINY, workload_from(names))


def test_weights_are_counted_once_and_exactly() -> None:
    found = traced(method="bf16", context=16)
    linear = 2 * (256 * 256 * 2 + 256 * 128 * 2 + 3 * 256 * 512)
    assert found.parameters == linear + 2 * 1000 * 256 + 5 * 256
    assert found.parts["weights"] == pytest.approx(2 * found.parameters, rel=0.02)
    assert (
        traced({**TINY, "tie_word_embeddings": True}, method="bf16", context=16).parameters
        == found.parameters - 256_000
    )


def test_the_cache_is_what_the_formula_says() -> None:
    found = traced(method="bf16", context=512, generate=0, batch=1)
    assert found.parts["kv_cache"] == 2 * 2 * 2 * 64 * 512 * 2  # layers, k and v, heads, width, tokens, bytes


def test_the_cache_of_a_long_answer_is_there_at_its_end() -> None:
    found = traced(method="bf16", context=16, generate=5000, batch=1)
    assert found.peak_phase == "decode"
    assert found.parts["kv_cache"] == pytest.approx(2 * 2 * 2 * 64 * 5016 * 2, rel=0.01)


@pytest.mark.parametrize(("method", "bytes_each"), [("bf16", 2.0), ("int8", 1.0), ("nf4", 0.5 + 4 / 64)])
def test_quantized_layers_take_their_true_sizes(method: str, bytes_each: float) -> None:
    kept = 2 * (2 * 1000 * 256 + 5 * 256)
    linear = 2 * (256 * 256 * 2 + 256 * 128 * 2 + 3 * 256 * 512)
    assert traced(method=method, context=16).parts["weights"] == pytest.approx(kept + bytes_each * linear, rel=0.03)


def test_the_parts_sum_to_the_peak() -> None:
    for method in ("bf16", "lora", "lora-int8", "qlora", "full"):
        found = traced(method=method, context=128)
        assert sum(found.parts.values()) == found.allocated
        assert found.reserved >= found.allocated


def test_more_context_checkpointing_and_quantization_move_the_peak_the_right_way() -> None:
    short, long = traced(method="lora", context=256), traced(method="lora", context=1024)
    assert long.allocated > short.allocated
    assert traced(method="lora", context=1024, gradient_checkpointing=True).allocated < long.allocated
    assert (
        traced(method="qlora", context=256).parts["weights"] < traced(method="lora-int8", context=256).parts["weights"]
    )
    full = traced(method="full", context=16)
    assert full.parts["optimizer"] == pytest.approx(2 * full.parts["weights"], rel=0.05)


@pytest.mark.parametrize(
    "names",
    [
        {"method": "awq"},
        {"method": "bf16", "stack": "vllm"},
        {"method": "lora", "stack": "litgpt"},
        {"method": "lora", "stack_version": "4.42"},
        {"method": "lora", "stack": "transformers", "loss_chunking": True},
        {"method": "lora", "stack": "transformers", "compile": True},
        {"method": "full", "stack": "axolotl"},
        {"method": "full", "sharding": "zero2"},
        {"method": "bf16", "kv_cache_dtype": "int8"},
    ],
)
def test_code_that_is_not_what_runs_is_refused(names: dict[str, Any]) -> None:
    with pytest.raises(CannotTellError) as caught:
        traced(**names)
    assert caught.value.code == "not_traceable"


def test_layers_of_other_kernels_and_unknown_families_are_refused() -> None:
    for family, code in (("mixtral", "not_traceable"), ("mamba", "not_traceable"), ("nosuch", "unknown_architecture")):
        with pytest.raises(CannotTellError) as caught:
            traced({**TINY, "model_type": family, "architectures": None}, method="lora")
        assert caught.value.code == code, family


def test_an_encoder_is_trained_with_a_task_head_and_not_as_a_language_model() -> None:
    shape = {"model_type": "xlm-roberta", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
             "num_attention_heads": 4, "vocab_size": 1000, "max_position_embeddings": 66}  # fmt: skip
    found = traced(shape, method="lora", context=32, batch=2)
    adapters = 2 * 16 * (4 * (64 + 64) + 2 * (64 + 128))
    head = 64 * 64 + 64 + 2 * 64 + 2
    assert found.trainable_parameters == adapters + head


def test_one_sequence_needs_no_mask_and_padded_ones_do() -> None:
    padded, packed = (traced(method="lora", context=512, batch=2, packing=packing) for packing in (False, True))
    # In each of two layers: the mask in the compute type, and keys and values repeated from 2 heads to all 4.
    more = 2 * (2 * 512 * 512 * 2 + 2 * 2 * 512 * 2 * 64 * 2)
    assert padded.allocated - packed.allocated == pytest.approx(more, rel=0.3)
    assert 2 * traced(method="lora", context=512).parts["activations"] == pytest.approx(
        packed.parts["activations"], rel=0.02
    )


def test_eight_bit_layers_keep_their_inputs_in_spite_of_checkpointing() -> None:
    names = {"context": 1024, "gradient_checkpointing": True, "optimizer": "sgd"}
    eight, four = traced(method="lora-int8", **names), traced(method="qlora", **names)
    kept = 2 * 1024 * (3 * 256 + 512) * 2  # layers, tokens, inputs of attention, its output, the MLP and down; bytes
    assert eight.parts["activations"] - four.parts["activations"] == pytest.approx(kept, rel=0.5)


def test_gradients_of_a_micro_batch_stay_through_the_next() -> None:
    one, two = (
        traced(method="full", stack="transformers", context=1024, gradient_accumulation=number).parts
        for number in (1, 8)
    )
    assert one["gradients"] == 0
    assert two["gradients"] == pytest.approx(two["weights"], rel=0.02)


def test_autocast_follows_the_lists_of_the_torch_that_is_installed() -> None:
    """CUDA's lists are in a header of torch's; should they change, so must the trace."""
    import re
    from pathlib import Path

    import torch

    from modelpick.tracing.cuda_kernels import GIVE_FP32, IN_FP32

    header = (Path(torch.__file__).parent / "include/ATen/autocast_mode.h").read_text(encoding="utf-8")

    def listed(name: str) -> set[str]:
        body = re.search(rf"#define {name}\(_\)(.*?)\n\n", header, re.DOTALL)
        assert body is not None
        return set(re.findall(r"_\((\w+)", body[1]))

    images = {name for name in listed("AT_FORALL_FP32") if "upsample" in name}
    assert listed("AT_FORALL_FP32") - images == IN_FP32
    assert listed("AT_FORALL_FP32_SET_OPT_DTYPE") - {"linalg_vector_norm", "linalg_matrix_norm"} == GIVE_FP32


# Formula against trace of the real code, on shrunken copies of real architectures: the layers are cut to four so that
# CI takes seconds, the widths are the true ones. As `modelpick finetune` runs them (autocast; trl with its fused output
# matrix), and as loops of one's own do.
_RUN = {"autocast": True, "context": 512}
_TRL = {"stack": "trl", "stack_version": "1.16", "context": 512}
CASES = [
    ("huggyllama/llama-7b", {"method": "lora", "context": 512}),
    ("huggyllama/llama-7b", {"method": "bf16", "context": 2048}),
    ("huggyllama/llama-7b", {"method": "lora-int8", **_RUN}),
    ("huggyllama/llama-7b", {"method": "qlora", **_TRL, "batch": 2}),
    ("tiiuae/falcon-7b", {"method": "bf16", "context": 2048}),
    ("tiiuae/falcon-7b", {"method": "lora", **_RUN}),
    ("tiiuae/falcon-7b", {"method": "lora-int8", **_TRL}),
    ("tiiuae/falcon-7b", {"method": "lora-int8", **_TRL, "gradient_checkpointing": True}),
    ("tiiuae/falcon-rw-1b", {"method": "int8", "context": 2048}),
    ("openai-community/gpt2-medium", {"method": "int8", "context": 1024}),
    ("mosaicml/mpt-7b", {"method": "lora", **_TRL}),
    ("mosaicml/mpt-7b", {"method": "lora-int8", **_RUN}),
    ("google/flan-t5-base", {"method": "lora", **_RUN}),
    ("google/flan-t5-base", {"method": "lora-int8", **_RUN}),
    ("Qwen/Qwen3-4B", {"method": "lora", **_TRL}),
    # Each word that can be traced.
    ("huggyllama/llama-7b", {"method": "qlora", "stack": "transformers", "context": 512}),
    ("huggyllama/llama-7b", {"method": "qlora", "context": 1024, "stack": "transformers",
                             "gradient_checkpointing": True}),
    ("huggyllama/llama-7b", {"method": "qlora", "context": 512, "stack": "transformers", "autocast": False}),
    ("tiiuae/falcon-7b", {"method": "lora-int8", "context": 512, "stack": "transformers"}),
    ("huggyllama/llama-7b", {"method": "qlora", "context": 512}),
    ("google/flan-t5-base", {"method": "lora", "context": 512, "target_length": 128}),
    ("huggyllama/llama-7b", {"method": "lora", **_TRL, "activation_offload": True}),
    ("huggyllama/llama-7b", {"method": "full", "stack": "transformers", "context": 512, "optimizer": "sgd",
                             "optimizer_in_backward": True}),
    ("huggyllama/llama-7b", {"method": "prompt-tuning", "context": 512}),
]  # fmt: skip
# How far a formula may be below the trace, and above it: what it does not count is small, what it rounds up is less so.
BELOW, ABOVE = 0.03, 0.10
_LAYERS = ("num_hidden_layers", "n_layers", "num_layers", "num_decoder_layers")


@pytest.mark.parametrize(
    ("name", "names"), CASES, ids=[f"{name}-{'-'.join(map(str, n.values()))}" for name, n in CASES]
)
def test_the_formulas_agree_with_the_trace(name: str, names: dict[str, Any]) -> None:
    from dataclasses import replace

    model = index.load().find(name)
    assert model is not None
    assert model.config is not None
    config = {key: (4 if key in _LAYERS and value else value) for key, value in model.config.items()}
    work: Workload = workload_from({**names, "measure": "allocated"})
    found = trace(config, work)
    small = replace(model, config=config, parameters=found.parameters, parameters_exact=True)
    assert architecture.read(config)
    formula = estimate_model(small, work)
    assert 1 - BELOW <= formula.total / found.allocated <= 1 + ABOVE
