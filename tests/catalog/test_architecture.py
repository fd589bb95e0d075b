"""Reading config.json: exact parameter counts, caches as the families keep them, typed errors for broken configs.

`architectures.jsonl` holds for 122 published models the config keys that matter and the parameter count of the model
class in transformers 5.23.0 built from them (T5 1.1 and OPT-350m: of the published checkpoint, whose output matrix and
final norm that version handles differently; DeepSeek-V3: with its router's correction bias; Gemma 3: its text tower).
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.catalog import architecture
from modelpick.catalog.architecture import families
from modelpick.catalog.architecture.families import FAMILIES
from modelpick.errors import CannotTellError
from modelpick.memory import kv_cache
from modelpick.memory.estimate import estimate
from modelpick.workload import workload_from

ROWS = [json.loads(line) for line in (Path(__file__).parent / "data" / "architectures.jsonl").read_text().splitlines()]
CONFIGS: dict[str, dict[str, Any]] = {row["model"]: row["config"] for row in ROWS}
LLAMA = CONFIGS["meta-llama/Llama-2-7b-hf"]


def changed(**keys: Any) -> dict[str, Any]:
    return {**LLAMA, **keys}


@pytest.mark.parametrize("row", ROWS, ids=[row["model"] for row in ROWS])
def test_parameters_follow_exactly_from_the_config(row: dict[str, Any]) -> None:
    assert architecture.read(row["config"]).parameters == row["parameters"]


@pytest.mark.parametrize(
    ("model", "elements"),
    [
        ("tiiuae/falcon-7b", 2 * 32 * 1 * 64),  # multi-query: one KV head, not 71
        ("tiiuae/falcon-40b", 2 * 60 * 8 * 64),
        ("tiiuae/falcon-rw-1b", 2 * 24 * 32 * 64),
        ("bigscience/bloom", 2 * 70 * 112 * 128),
        ("bigcode/octocoder", 2 * 40 * 1 * 128),
        ("mosaicml/mpt-7b", 2 * 32 * 32 * 128),
        ("meta-llama/Meta-Llama-3-8B", 2 * 32 * 8 * 128),
        ("google/gemma-2b", 2 * 18 * 1 * 256),
        ("databricks/dbrx-base", 2 * 40 * 8 * 128),  # its attention and its experts are told in tables of their own
        ("ai21labs/AI21-Jamba-Mini-1.5", 2 * 4 * 8 * 128),  # 4 of 32 layers attend
        ("state-spaces/mamba-2.8b-hf", 0),
        ("FacebookAI/xlm-roberta-large", 0),
    ],
)
def test_cache_grows_by_the_kv_heads_a_family_really_has(model: str, elements: int) -> None:
    assert kv_cache.bytes_per_token(architecture.read(CONFIGS[model]), 1.0) == elements


def test_latent_attention_caches_its_latent_or_all_heads_by_stack() -> None:
    """DeepSeek-V3: vLLM keeps 512 + 64 elements a layer, transformers 128 heads of 192 and 128."""
    shape = architecture.read(CONFIGS["deepseek-ai/DeepSeek-V3"])
    assert kv_cache.bytes_per_token(shape, 1.0, latent=True) == 61 * (512 + 64)
    assert kv_cache.bytes_per_token(shape, 1.0, latent=False) == 61 * 128 * (192 + 128)


def test_windows_bind_only_the_local_layers() -> None:
    gemma = architecture.read(CONFIGS["google/gemma-2-9b"])
    assert {(run.count, run.attention.window) for run in gemma.layers if run.attention} == {(21, 4096), (21, None)}
    gemma3 = architecture.read(CONFIGS["google/gemma-3-1b-pt"])
    assert {(run.count, run.attention.window) for run in gemma3.layers if run.attention} == {(22, 512), (4, None)}


def test_a_count_is_called_exact_only_where_this_table_holds_it() -> None:
    shapes = [architecture.read(row["config"]) for row in ROWS]
    assert {shape.model_type for shape in shapes} == {name for name, family in FAMILIES.items() if family.counted}
    assert not architecture.read(changed(model_type="seed_oss")).exact


def test_null_kv_heads_mean_all_heads() -> None:
    assert architecture.read(changed(num_key_value_heads=None)) == architecture.read(LLAMA)


def test_a_text_tower_is_found_inside_its_model() -> None:
    nested = {"model_type": "llava", "text_config": dict(LLAMA)}
    found = architecture.read(nested)
    assert found.layers == architecture.read(LLAMA).layers
    assert not found.exact
    assert found.assumptions


def test_absent_tied_flag_is_the_familys_habit() -> None:
    gemma = {key: value for key, value in CONFIGS["google/gemma-7b"].items() if key != "tie_word_embeddings"}
    llama = {key: value for key, value in LLAMA.items() if key != "tie_word_embeddings"}
    assert architecture.read(gemma).tied
    assert not architecture.read(llama).tied


@pytest.mark.parametrize(
    ("config", "code", "names"),
    [
        ({}, "unknown_architecture", "config.json"),
        ({"hidden_size": 8}, "unknown_architecture", "model_type"),
        (changed(model_type="brand_new"), "unknown_architecture", "brand_new"),
        (changed(hidden_size=None), "unknown_architecture", "hidden_size"),
        (changed(intermediate_size=None), "unknown_architecture", "intermediate_size"),
        (changed(model_type="mixtral"), "unknown_architecture", "num_experts"),
        (changed(hidden_size="4096"), "bad_config", "hidden_size"),
        (changed(num_attention_heads=0), "bad_config", "num_attention_heads"),
        (changed(num_attention_heads=-1), "bad_config", "num_attention_heads"),
        (changed(num_attention_heads=33, num_key_value_heads=None), "bad_config", "num_attention_heads"),
        (changed(num_key_value_heads=5), "bad_config", "num_key_value_heads"),
        (changed(num_hidden_layers=10**30), "bad_config", "num_hidden_layers"),
        (changed(num_hidden_layers=True), "bad_config", "num_hidden_layers"),
        (changed(vocab_size=float("nan")), "bad_config", "vocab_size"),
        (changed(tie_word_embeddings="yes"), "bad_config", "tie_word_embeddings"),
        (changed(layer_types=["full_attention"]), "bad_config", "layer_types"),
        (changed(layer_types=["warp_drive"] * 32), "unknown_architecture", "warp_drive"),
        (changed(quantization_config={"quant_method": "qbert"}), "unknown_architecture", "qbert"),
        (changed(quantization_config="int8"), "bad_config", "quantization_config"),
        ({"text_config": {"text_config": {"text_config": {"text_config": LLAMA}}}}, "bad_config", "text_config"),
    ],
)
def test_what_cannot_be_read_is_named(config: dict[str, Any], code: str, names: str) -> None:
    with pytest.raises(CannotTellError) as told:
        architecture.read(config)
    assert told.value.code == code
    assert names in told.value.message
    assert told.value.fix


_JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**31), 10**31), st.floats(), st.text(max_size=5),
    st.lists(st.integers(), max_size=3), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@given(model=st.sampled_from(sorted(CONFIGS)), data=st.data())
def test_a_config_with_a_broken_key_is_read_or_refused_with_a_typed_error(model: str, data: st.DataObject) -> None:
    """Whatever a key holds, the reader answers with a positive count or says what it cannot tell."""
    config = dict(CONFIGS[model])
    key = data.draw(st.sampled_from(sorted(config)))
    config[key] = data.draw(_JUNK)
    try:
        found: object = architecture.read(config).parameters
    except CannotTellError as refused:
        found = refused.code
    assert found in ("unknown_architecture", "bad_config") or (isinstance(found, int) and found > 0)


def test_an_unknown_row_of_the_catalog_is_read_as_a_decoder_that_says_so() -> None:
    config = {key: value for key, value in LLAMA.items() if key != "intermediate_size"}
    found = architecture.read_as_decoder({**config, "model_type": "brand_new"}, 6_738_415_616)
    assert any("brand_new" in said for said in found.assumptions)
    assert found.parameters == pytest.approx(6_738_415_616, rel=0.01)
    assert kv_cache.bytes_per_token(found, 1.0) == kv_cache.bytes_per_token(architecture.read(LLAMA), 1.0)


# inclusionAI/Ling-3.0-flash by the names of its configuration class (transformers 5.23.0): five layers of Kimi Delta
# Attention, then one of latent attention.
LING = {
    "model_type": "bailing_hybrid", "vocab_size": 157184, "hidden_size": 2560, "intermediate_size": 6144,
    "moe_intermediate_size": 768, "num_hidden_layers": 42, "num_attention_heads": 32, "num_key_value_heads": 32,
    "head_dim": 128, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "v_head_dim": 128, "qk_nope_head_dim": 128,
    "num_experts": 512, "num_experts_per_tok": 8, "num_shared_experts": 1, "first_k_dense_replace": 2,
    "model_max_length": 262144, "short_conv_kernel_size": 4, "layer_group_size": 6, "num_nextn_predict_layers": 1,
    "tie_word_embeddings": False,
}  # fmt: skip


def test_a_hybrid_of_delta_and_latent_attention() -> None:
    """Its class holds 124,414,191,072 parameters; the repository's module of predicted tokens comes on top of them."""
    shape = architecture.read(LING)
    assert shape.parameters == 124_414_191_072
    assert not shape.exact
    assert shape.context == 262_144
    assert sum(run.count for run in shape.layers if run.attention) == 7
    assert kv_cache.bytes_per_token(shape, 1.0) == 7 * 32 * (192 + 128)
    assert kv_cache.bytes_per_token(shape, 1.0, latent=True) == 7 * (512 + 64)
    states = kv_cache.cache_bytes(shape, 1, 1, 2.0) - kv_cache.bytes_per_token(shape, 2.0)
    assert states == 35 * (32 * 128 * 128 * 4 + 3 * 4096 * 4 * 2)
    saved = {**LING, "head_dim": 64, "linear_head_dim": 128, "linear_num_heads": 32}  # as transformers writes it
    assert architecture.read(saved) == shape


@pytest.mark.parametrize("lacking", ["layer_group_size", "short_conv_kernel_size", "num_experts"])
def test_a_hybrid_that_does_not_tell_its_layers_is_not_guessed(lacking: str) -> None:
    """Ling 2.5 bears the same model_type and has other layers."""
    with pytest.raises(CannotTellError) as caught:
        architecture.read({name: value for name, value in LING.items() if name != lacking})
    assert caught.value.code == "unknown_architecture"


def test_a_picture_model_is_its_text_tower_however_its_config_is_laid_out() -> None:
    """GLM-4.1V: its text tower's class holds 8,779,522,048 parameters without the output matrix."""
    text = {
        "vocab_size": 151552, "hidden_size": 4096, "intermediate_size": 13696, "num_hidden_layers": 40,
        "num_attention_heads": 32, "num_key_value_heads": 2, "tie_word_embeddings": False,
    }  # fmt: skip
    nested = architecture.read({"model_type": "glm4v", "text_config": {**text, "model_type": "glm4v_text"}})
    flat = architecture.read({"model_type": "glm4v", **text})
    for shape in (nested, flat):
        assert shape.parameters - shape.head_parameters == 8_779_522_048
        assert kv_cache.bytes_per_token(shape, 1.0) == 2 * 40 * 2 * 128
        assert not shape.exact


def test_a_t5_is_read_to_the_positions_its_config_states_and_no_further() -> None:
    """Its positions are relative: what it does not state stays unknown."""
    flan = CONFIGS["google/flan-t5-base"]
    assert architecture.read(flan).context is None
    assert architecture.read({**flan, "n_positions": 512}).context == 512


def test_a_hybrid_of_unknown_layers_is_bounded_where_its_parameters_are_known() -> None:
    """As the catalog holds Ling 3.0 tiny: every layer caches, and holds what a delta rule does without its kernel."""
    row = {
        "model_type": "bailing_hybrid", "num_hidden_layers": 24, "hidden_size": 1536, "intermediate_size": 4608,
        "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 128, "vocab_size": 157184,
        "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 512,
    }  # fmt: skip
    bound = architecture.read_as_decoder(row, 7_893_392_800)
    told = architecture.read({**row, **{key: LING[key] for key in (
        "kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "short_conv_kernel_size",
        "layer_group_size", "first_k_dense_replace", "num_shared_experts",
    )}})  # fmt: skip
    for workload in ({"method": "int8"}, {"method": "lora"}, {"method": "bf16", "stack": "vllm"}):
        asked = workload_from(workload)
        assert estimate(bound, asked, 7_893_392_800).total >= estimate(told, asked, 7_893_392_800).total
    assert "upper bound" in bound.assumptions[-1]
    plain = architecture.read_as_decoder({**row, "model_type": "never_heard_of"}, 7_893_392_800)
    assert all(run.mixer is None for run in plain.layers)


def test_a_family_is_told_by_its_row_alone() -> None:
    """Whoever adds a family edits a table of families: no other module asks for a model_type by name."""
    also_norms_and_mixers = {"t5", "mamba", "mamba2"}
    for file in Path(families.__file__).parent.glob("*.py"):
        if not file.name.endswith("families.py"):
            words = re.findall(r'"([a-z][a-z0-9_-]*)"', file.read_text(encoding="utf-8"))
            assert set(words) & (FAMILIES.keys() - also_norms_and_mixers) == set(), file.name
