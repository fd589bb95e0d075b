"""quantization_config, matrix by matrix: every format's bits, what is left alone, and foreign patterns."""

import fnmatch
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.catalog import architecture, index
from modelpick.catalog.architecture import Checkpoint, quantization
from modelpick.catalog.architecture.read import _SHAPES
from modelpick.errors import CannotTellError

DENSE: dict[str, Any] = {
    "model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 8,
    "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 32_000,
    "tie_word_embeddings": False, "max_position_embeddings": 4096,
}  # fmt: skip
EXPERTS = {
    **DENSE, "model_type": "deepseek_v3", "n_routed_experts": 16, "num_experts_per_tok": 2, "n_shared_experts": 1,
    "moe_intermediate_size": 512, "first_k_dense_replace": 2, "kv_lora_rank": 128, "q_lora_rank": 256,
    "qk_rope_head_dim": 32, "qk_nope_head_dim": 64, "v_head_dim": 64,
}  # fmt: skip
KIMI = {  # as Kimi-K2-Thinking has it
    "quant_method": "compressed-tensors", "format": "pack-quantized",
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
        "num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True}}},
    "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*"],
}  # fmt: skip


def checkpoint(quantization: dict[str, Any], config: dict[str, Any] = DENSE) -> Checkpoint:
    found = architecture.read({**config, "quantization_config": quantization}).checkpoint
    assert found is not None
    return found


def bits(quantization: dict[str, Any], name: str = "down_proj", config: dict[str, Any] = DENSE) -> float:
    """Bits a weight of a module over all its layers, 16 where it is left alone."""
    stored = next(one for one in checkpoint(quantization, config).stored if one.name == name)
    return stored.share * stored.bits + (1 - stored.share) * 16


def group(**weights: object) -> dict[str, Any]:
    return {"quant_method": "compressed-tensors", "config_groups": {"g": {"targets": ["Linear"], "weights": weights}}}


@pytest.mark.parametrize(
    ("quantization", "method", "expected"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq", 4 + 20 / 128),
        ({"quant_method": "awq", "bits": 4, "group_size": 64}, "awq", 4 + 20 / 64),
        ({"quant_method": "auto-round", "bits": 2, "group_size": 32}, "gptq", 2 + 18 / 32),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8", 8 + 32 / 16384),
        ({"quant_method": "fbgemm_fp8"}, "fp8", 8),
        ({"quant_method": "mxfp4"}, "mxfp4", 4.25),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes", 4.5),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes", 8),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4", 4.5),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8", 8),
        (group(num_bits=4, type="int", strategy="group", group_size=128), "compressed-tensors", 4 + 16 / 128),
        (
            group(num_bits=4, type="int", strategy="group", group_size=128, symmetric=False),
            "compressed-tensors",
            4 + 20 / 128,
        ),
        (group(num_bits=3, type="int", strategy="channel"), "compressed-tensors", 3.2),
        (group(num_bits=8, type="int", strategy="channel"), "compressed-tensors", 8),
        (group(num_bits=8, type="float", strategy="tensor"), "compressed-tensors", 8),
        (group(num_bits=4, type="float", strategy="tensor_group", group_size=16), "compressed-tensors", 4.5),
        (group(num_bits=4, type="float", strategy="group", group_size=32), "compressed-tensors", 4.25),
    ],
)
def test_bits_include_scales_and_zero_points(quantization: dict[str, Any], method: str, expected: float) -> None:
    assert checkpoint(quantization).method == method
    assert bits(quantization) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("pattern", "key", "left_alone"),
    [
        ("re:.*self_attn.*", "ignore", {"q_proj", "k_proj", "v_proj", "o_proj"}),
        ("model.layers.*.self_attn", "modules_to_not_convert", {"q_proj", "k_proj", "v_proj", "o_proj"}),
        ("*.down_proj", "exclude_modules", {"down_proj"}),
        ("down_proj", "modules_to_not_convert", {"down_proj"}),
        ("lm_head", "ignore", set()),
        ("re:.*(", "ignore", "everything"),  # not an expression: counted larger than it is
        ("re:(a+)+b", "ignore", "everything"),  # would take for ever on a name of its choice
    ],
)
def test_what_is_left_alone_stays_in_16_bits(pattern: str, key: str, left_alone: object) -> None:
    base = {"quant_method": "awq", "bits": 4, "group_size": 128}
    found = {one.name: one.share for one in checkpoint({**base, key: [pattern]}).stored}
    whole = set(found) if left_alone == "everything" else left_alone
    assert {name for name, share in found.items() if share == 0} == whole


def test_layers_named_one_by_one_count_by_their_share() -> None:
    """Llama-4-Scout-INT4 and modelopt list every module that stays."""
    listed = [f"model.layers.{layer}.mlp.down_proj" for layer in (0, 7)]
    assert bits({"quant_method": "fp8", "modules_to_not_convert": listed}) == pytest.approx((6 * 8 + 2 * 16) / 8)


def test_only_the_routed_experts_of_kimi_are_4_bits() -> None:
    stored = {one.name: one.share * one.bits for one in checkpoint(KIMI, EXPERTS).stored}
    assert {name for name, held in stored.items() if held} == {"experts"}
    assert stored["experts"] == 4.5


def test_experts_may_have_a_format_of_their_own() -> None:
    """DeepSeek-V4: fp8 in blocks, its experts in FP4; modelopt's mixed precision lists layers."""
    fp8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    mixed = {**EXPERTS, "expert_dtype": "fp4"}
    assert bits(fp8, "experts", mixed) == 4.25
    assert bits(fp8, "o_proj", mixed) == pytest.approx(8, rel=1e-3)
    listed = {f"model.layers.{i}.mlp.experts.0.up_proj": {"quant_algo": "NVFP4"} for i in range(8)}
    listed |= {f"model.layers.{i}.self_attn.o_proj": {"quant_algo": "FP8"} for i in range(8)}
    algorithms = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": listed}
    assert [bits(algorithms, name, EXPERTS) for name in ("experts", "o_proj", "q_a_proj")] == [4.5, 8, 16]


def test_mxfp4_holds_experts_alone() -> None:
    """vLLM quantization/mxfp4.py: linear layers are not implemented; gpt-oss's attention is bf16 in the file, too."""
    shares = {one.name: one.share for one in checkpoint({"quant_method": "mxfp4"}, EXPERTS).stored}
    assert {name for name, share in shares.items() if share} == {"experts"}


@pytest.mark.parametrize(
    "quantization",
    [
        {"quant_method": "guesswork"},
        {"quant_method": "modelopt", "quant_algo": "FP3"},
        {"quant_method": "compressed-tensors"},
        {"quant_method": "compressed-tensors", "config_groups": {"g": {"targets": ["Linear"]}}},
        {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": "four"}}}},
        [],
    ],
)
def test_what_is_not_known_is_not_guessed(quantization: Any) -> None:
    with pytest.raises(CannotTellError):
        architecture.read({**DENSE, "quantization_config": quantization})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(["gptq", "fp8", "compressed-tensors", "modelopt", "bitsandbytes", "mxfp4", "x"]),
    st.dictionaries(st.sampled_from(["bits", "ignore", "config_groups", "quant_algo", "dynamic", "group_size"]), _JSON),
)
def test_any_quantization_config_is_read_or_refused(method: str, rest: dict[str, Any]) -> None:
    try:
        found = checkpoint({**rest, "quant_method": method})
    except CannotTellError:
        return
    assert all(0 <= one.share <= 1 and one.bits >= 0 for one in found.stored)


PARTS = (
    "self_attn",
    "mlp",
    "q_proj",
    "experts",
    "0",
    "1",
    "11",
    "layers",
    "model",
    "up_proj",
    "*",
    "l*",
    "?_proj",
    "1?",
)


@given(
    st.lists(st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map(".".join), min_size=1, max_size=5),
    st.sampled_from((1, 11)),
    st.sampled_from(("self_attn.q_proj", "mlp.up_proj", "mlp.experts.0.up_proj")),
)
def test_names_match_as_dotted_parts_and_globs_of_a_module_or_what_it_is_in(
    names: list[str], layer: int, module: str
) -> None:
    path = f"model.layers.{layer}.{module}"

    def alone(name: str) -> bool:
        if "*" in name or "?" in name:
            above = [path.split(".")[:end] for end in range(1, path.count(".") + 2)]
            spelt = [".".join(one[start:]) for one in above for start in ((0, 1) if one[1:] else (0,))]
            return any(fnmatch.fnmatchcase(one, name) for one in spelt)
        return f".{name.removeprefix('model.')}." in f".{path}."

    assert quantization._any_of(names)(path) == any(map(alone, names))


def test_where_no_layer_is_named_one_stands_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the quantized models of the catalog: the same as when each layer is asked for."""
    copies = [
        model for id, model in index.load().models.items() if model.config and "quantization" in str(model.config)
    ]
    configs = [model.config for model in copies[::9] if model.config is not None]

    def stored() -> list[object]:
        _SHAPES.clear()  # else the second reading is the first one
        found: list[object] = []
        for config in configs:
            try:
                found.append(architecture.read(config).checkpoint)
            except CannotTellError as error:
                found.append(error.message)
        return found

    quick = stored()
    monkeypatch.setattr(quantization, "_alike", lambda names: False)
    assert stored() == quick
    assert sum(isinstance(one, Checkpoint) for one in quick) > 30
