"""A row that does not tell its windows says so, and counts every layer with all tokens."""

from typing import Any

import pytest

from modelpick.catalog import architecture, index
from modelpick.catalog.architecture.families import FAMILIES
from modelpick.catalog.architecture.mixers import UNKNOWN_WINDOWS, WINDOWS
from modelpick.errors import CannotTellError
from modelpick.memory.estimate import architecture_of, estimate
from modelpick.workload import workload_from

GEMMA4: dict[str, Any] = {  # google/gemma-4-31B-it, as its config.json has it
    "model_type": "gemma4_text", "hidden_size": 5376, "num_hidden_layers": 60, "intermediate_size": 21504,
    "num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 256, "global_head_dim": 512,
    "num_global_key_value_heads": 4, "vocab_size": 262144, "max_position_embeddings": 262144, "sliding_window": 1024,
    "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 10,
}  # fmt: skip


def test_every_row_of_a_windowed_family_tells_its_windows_or_says_that_it_does_not() -> None:
    silent = 0
    for model in index.load().models.values():
        config = model.config or {}
        text = config.get("text_config") or config
        assert isinstance(text, dict)
        family = FAMILIES.get(str(text.get("model_type")))
        if family is None or not family.window or any(key in text for key in WINDOWS):
            continue
        try:
            shape = architecture_of(model)
        except CannotTellError:
            continue
        silent += 1
        assert UNKNOWN_WINDOWS in shape.assumptions, model.id
        assert all(run.attention is None or run.attention.window is None for run in shape.layers)
    assert silent > 80


@pytest.mark.parametrize("stack", ["transformers", "vllm"])
def test_windows_take_a_tenth_of_what_is_counted_without_them(stack: str) -> None:
    work = workload_from({"method": "bf16", "batch": 1, "context": 32_768, "stack": stack})
    bare = {key: value for key, value in GEMMA4.items() if key not in ("sliding_window", "layer_types")}
    told, silent = (estimate(architecture.read(config), work) for config in (GEMMA4, bare))
    assert told.parts.kv_cache / 2**30 == pytest.approx(3.3, abs=0.05)
    assert silent.parts.kv_cache >= 9 * told.parts.kv_cache
    assert UNKNOWN_WINDOWS in silent.assumptions
    assert UNKNOWN_WINDOWS not in told.assumptions


def test_no_window_is_not_an_unknown_one() -> None:
    mistral: dict[str, Any] = {
        "model_type": "mistral", "hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32768, "sliding_window": None,
    }  # fmt: skip
    assert UNKNOWN_WINDOWS not in architecture.read(mistral).assumptions
    del mistral["sliding_window"]
    assert UNKNOWN_WINDOWS in architecture.read(mistral).assumptions


def test_layers_are_read_under_the_names_that_transformers_5_saves() -> None:
    """remap_legacy_layer_types: a mamba layer is saved as linear attention, DeepSeek's sparse one as indexed."""
    deepseek = {"model_type": "deepseek_v32", "hidden_size": 1024, "num_hidden_layers": 4, "intermediate_size": 2048,
                "num_attention_heads": 16, "kv_lora_rank": 128, "q_lora_rank": 256, "qk_rope_head_dim": 32,
                "qk_nope_head_dim": 64, "v_head_dim": 64, "vocab_size": 1000, "index_n_heads": 8,
                "index_head_dim": 64}  # fmt: skip
    saved = architecture.read({**deepseek, "layer_types": ["indexed_attention"] * 4})
    assert saved == architecture.read(deepseek)
    assert saved.layers[0].attention is not None
    assert saved.layers[0].attention.indexed == 64
    granite = {"model_type": "granitemoehybrid", "hidden_size": 1024, "num_hidden_layers": 4,
               "intermediate_size": 2048, "num_attention_heads": 16, "vocab_size": 1000, "mamba_n_heads": 32,
               "mamba_d_head": 64, "mamba_d_state": 128}  # fmt: skip
    old, new = (
        architecture.read({**granite, "layer_types": [word, word, word, "full_attention"]})
        for word in ("mamba", "linear_attention")
    )
    assert old == new
