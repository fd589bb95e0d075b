"""What a config.json leaves out: a mixture is never taken for the small dense model that its config describes."""

import re
from dataclasses import replace

import pytest

from modelpick.catalog import index
from modelpick.catalog.model import Model
from modelpick.errors import CannotTellError, ModelpickError
from modelpick.memory.estimate import architecture_of, estimate_model
from modelpick.speed.shape import shape_of
from modelpick.workload import workload_from

MIXTURE = re.compile(r"\d(?:\.\d+)?B-A\d|A\d+(?:\.\d+)?B|a\d+m\b|moe|ling-|hunyuan-a|gpt-oss", re.IGNORECASE)
ERNIE = {
    "model_type": "ernie4_5_moe", "num_hidden_layers": 28, "hidden_size": 2560, "intermediate_size": 1536,
    "num_attention_heads": 20, "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 103424,
}  # fmt: skip


@pytest.fixture(scope="module")
def any_model() -> Model:
    return index.load().models["Qwen/Qwen3-8B"]


def test_no_mixture_of_the_catalog_is_read_as_a_small_dense_model() -> None:
    models, told = index.load().models, 0
    for name in models:
        if not MIXTURE.search(name):
            continue
        model = models[name]
        try:
            shape = architecture_of(model)
        except ModelpickError:
            continue
        if model.parameters is not None and not any(group.experts for group in shape.layers):
            assert shape.parameters >= 0.2 * model.parameters, name
        told += 1
    assert told > 100


def test_experts_that_are_not_told_are_counted_as_dense_and_it_is_said(any_model: Model) -> None:
    """ERNIE-4.5-21B-A3B without its experts' keys describes 1.3 of 21.9 billion parameters."""
    model = replace(any_model, id="o/ERNIE-4.5-21B-A3B", config=ERNIE, parameters=21_948_655_808)
    shape = architecture_of(model)
    assert shape.parameters == pytest.approx(21_948_655_808, rel=0.01)
    assert shape_of(shape).active_weights > 0.95 * 21.6e9  # no token is promised to pass only some of them
    estimate = estimate_model(model, workload_from({"task": "serve"}))
    assert any("upper bound of memory and time" in said for said in estimate.assumptions)
    with pytest.raises(CannotTellError):
        estimate_model(model, workload_from({"task": "finetune", "method": "lora"}))


@pytest.mark.parametrize("family", ["granitemoe", "kimi_linear", "nemotron_h", "qwen3_omni_moe", None])
def test_a_mixture_by_name_alone_is_not_guessed(any_model: Model, family: str | None) -> None:
    config = {**ERNIE, "model_type": family}
    with pytest.raises(CannotTellError):
        architecture_of(replace(any_model, id="o/New-120B-A12B", config=config, parameters=None))


def test_a_matrix_is_tied_where_the_count_leaves_no_room_for_two() -> None:
    models = index.load().models
    assert architecture_of(models["Qwen/Qwen3.5-2B"]).tied
    assert not architecture_of(models["Qwen/Qwen3.5-9B"]).tied
    stated = models["Qwen/Qwen3.5-2B"]
    assert not architecture_of(replace(stated, config={**(stated.config or {}), "tie_word_embeddings": False})).tied


def test_an_encoder_of_another_count_is_not_exact_and_never_a_decoder() -> None:
    models, encoders = index.load().models, 0
    for name in models:
        model = models[name]
        if (model.config or {}).get("model_type") not in ("bert", "roberta", "xlm-roberta", "modernbert"):
            continue
        try:
            shape = architecture_of(model)
        except ModelpickError:
            continue
        assert shape.kind == "encoder", name
        if model.parameters is not None and shape.exact:
            assert shape.parameters == pytest.approx(model.parameters, rel=0.02), name
        encoders += 1
    assert encoders > 30
