"""The trace runs the real transformers and peft code; the formulas are held to it, so that neither can rot alone."""

from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra train is absent")
from modelpick.catalog import architecture, index
from modelpick.errors import CannotTellError
from modelpick.memory.estimate import estimate_model
from modelpick.memory.trace import Trace, trace
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
    found = traced(method="bf16", context=512)
    assert found.parts["kv_cache"] == 2 * 2 * 2 * 64 * 512 * 2  # layers, k and v, heads, width, tokens, bytes


def test_the_cache_of_a_long_answer_is_there_at_its_end() -> None:
    found = traced(method="bf16", context=16, generate=5000)
    assert found.peak_phase == "decode"
    assert found.parts["kv_cache"] == pytest.approx(2 * 2 * 2 * 64 * 5016 * 2, rel=0.01)


@pytest.mark.parametrize(("method", "bytes_each"), [("bf16", 2.0), ("int8", 1.0), ("nf4", 0.5 + 1 / 64)])
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


def test_what_cannot_be_traced_says_so() -> None:
    with pytest.raises(CannotTellError):
        traced(method="awq")
    with pytest.raises(CannotTellError):
        traced({"model_type": "nosuch"}, method="bf16")
    for family, name in (("mixtral", None), ("mamba", None), ("xlm-roberta", ["XLMRobertaForMaskedLM"])):
        with pytest.raises(CannotTellError) as caught:
            traced({**TINY, "model_type": family, "architectures": name}, method="lora")
        assert caught.value.code == "not_traceable", family


# Formula against trace of the real code, on shrunken copies of real architectures: the layers are cut to two so that CI
# takes seconds, the widths are the true ones. The band is the formulas' own claim, not the traces'.
CASES = [
    ("huggyllama/llama-7b", {"method": "lora", "context": 512}),
    ("huggyllama/llama-7b", {"method": "bf16", "context": 2048}),
    ("tiiuae/falcon-7b", {"method": "lora", "context": 512}),
    ("mosaicml/mpt-7b", {"method": "lora", "context": 512}),
    ("google/flan-t5-base", {"method": "lora", "context": 512}),
    ("huggyllama/llama-7b", {"method": "lora-int8", "context": 512}),
    ("huggyllama/llama-7b", {"method": "qlora", "context": 512}),
    ("tiiuae/falcon-7b", {"method": "lora-int8", "context": 512}),
    ("mosaicml/mpt-7b", {"method": "lora-int8", "context": 512}),
]
# How far a formula may be from the trace: a tenth at most, and where it is nearer, that is held too.
BANDS = {"huggyllama/llama-7b": 0.02, "google/flan-t5-base": 0.10}
_LAYERS = ("num_hidden_layers", "n_layers", "num_layers", "num_decoder_layers")


@pytest.mark.parametrize(("name", "names"), CASES, ids=[f"{name}-{names['method']}" for name, names in CASES])
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
    assert formula.total == pytest.approx(found.allocated, rel=BANDS.get(name, 0.08))
