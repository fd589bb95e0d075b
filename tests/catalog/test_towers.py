"""The vision tower of a config.json, against the classes of transformers 5.23 built on torch's device "meta"."""

from typing import Any

import pytest

from modelpick.catalog import architecture
from modelpick.catalog.architecture.towers import tower
from modelpick.errors import CannotTellError
from modelpick.memory.estimate import estimate
from modelpick.workload import workload_from

QWEN = {"depth": 32, "in_channels": 3, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2}
# Of each family its vision_config, what else tells of images, the text's width, and the true parameters of everything
# outside the text model: Model.named_parameters() of its default configuration.
COUNTED: dict[str, tuple[dict[str, Any], dict[str, Any], int, int]] = {
    "qwen2_vl": (
        {**QWEN, "embed_dim": 1280, "hidden_size": 3584, "mlp_ratio": 4, "hidden_act": "quick_gelu"}, {}, 8192,
        1_505_280 + 629_678_080 + 44_575_744,
    ),
    "qwen2_5_vl": (
        {**QWEN, "hidden_size": 3584, "intermediate_size": 3420, "hidden_act": "silu", "out_hidden_size": 3584}, {},
        8192, 4_214_784 + 2_821_887_744 + 256_922_624,
    ),
    "qwen3_vl": (
        {**QWEN, "depth": 27, "patch_size": 16, "hidden_size": 1152, "intermediate_size": 4304, "out_hidden_size": 3584,
         "num_position_embeddings": 2304, "deepstack_visual_indexes": [8, 16, 24]}, {}, 4096,
        1_770_624 + 2_654_208 + 411_466_608 + 37_759_232 + 113_298_432,
    ),
    "gemma3": (
        {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "image_size": 224, "patch_size": 16,
         "vision_use_head": True}, {"mm_tokens_per_image": 256}, 2304,
        741_120 + 85_054_464 + 1536 + 7_087_104 + 1_769_472 + 768,
    ),
    "paligemma": (
        {"hidden_size": 1152, "intermediate_size": 4096, "num_hidden_layers": 27, "image_size": 224, "patch_size": 14,
         "vision_use_head": False}, {}, 2048,
        973_440 + 398_521_728 + 2304 + 2_361_344,
    ),
    "llava": (
        {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "image_size": 336, "patch_size": 14},
        {"image_seq_length": 576, "projector_hidden_act": "gelu"}, 4096,
        1_193_984 + 2048 + 302_309_376 + 2048 + 4_198_400 + 16_781_312,
    ),
    "mistral3": (
        {"model_type": "pixtral", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
         "image_size": 1540, "patch_size": 14}, {"spatial_merge_size": 2, "projector_hidden_act": "gelu"}, 5120,
        602_112 + 1024 + 402_702_336 + 1024 + 4_194_304 + 5_242_880 + 26_214_400,
    ),
    "idefics3": (
        {"hidden_size": 1152, "intermediate_size": 3072, "num_hidden_layers": 12, "image_size": 224, "patch_size": 32},
        {"scale_factor": 2}, 4096, 3_596_544 + 148_796_928 + 2304 + 18_874_368,
    ),
    "internvl": (
        {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "image_size": [448, 448],
         "patch_size": [14, 14]},
        {"downsample_ratio": 0.5, "image_seq_length": 256, "projector_hidden_act": "gelu"}, 4096,
        1_653_760 + 302_284_800 + 8192 + 16_781_312 + 16_781_312,
    ),
}  # fmt: skip
TEXT = {"model_type": "qwen2", "hidden_size": 2048, "num_hidden_layers": 4, "intermediate_size": 4096,
        "num_attention_heads": 16, "vocab_size": 32_000, "tie_word_embeddings": False}  # fmt: skip


@pytest.mark.parametrize("family", COUNTED)
def test_a_tower_is_counted_within_a_twentieth(family: str) -> None:
    vision, config, text, true = COUNTED[family]
    found = tower({**config, "vision_config": vision}, text)
    assert found is not None
    assert found.parameters == pytest.approx(true, rel=0.05)


@pytest.mark.parametrize(
    ("family", "tokens"),
    [("gemma3", 256), ("llava", 576), ("mistral3", 55**2), ("internvl", 256), ("paligemma", 256), ("qwen2_vl", 16_384)],
)
def test_an_image_is_as_many_tokens_as_its_processor_makes_at_most(family: str, tokens: int) -> None:
    vision, config, text, _ = COUNTED[family]
    found = tower({**config, "vision_config": vision}, text)
    assert found is not None
    assert found.tokens == tokens


def test_tiles_count_each() -> None:
    vision = COUNTED["llava"][0]
    pinpoints = [[336, 672], [672, 336], [672, 672], [1008, 336]]
    found = tower({"vision_config": vision, "image_seq_length": 576, "image_grid_pinpoints": pinpoints}, 4096)
    assert found is not None
    assert found.tokens == 5 * 576


def test_weights_include_the_tower_and_images_lengthen_the_prompt() -> None:
    vision = {**QWEN, "hidden_size": 1280, "intermediate_size": 3420, "hidden_act": "silu", "out_hidden_size": 2048}
    blind = architecture.read(TEXT)
    seeing = architecture.read({**TEXT, "model_type": "qwen2_5_vl", "vision_config": vision})
    asked = {"method": "bf16", "stack": "vllm", "batch": 1, "context": 1000, "generate": 0}
    assert seeing.tower is not None
    plain = estimate(seeing, workload_from(asked))
    added = plain.parts.weights - estimate(blind, workload_from(asked)).parts.weights
    assert added == pytest.approx(2 * seeing.tower.parameters)
    assert any("vision" in said for said in plain.assumptions)
    with_images = estimate(seeing, workload_from({**asked, "images": 2}))
    assert with_images.parts.kv_cache > 30 * plain.parts.kv_cache
    assert with_images.parts.activations > plain.parts.activations
    assert with_images.workload.context == 1000
    assert any("16,384 tokens" in said for said in with_images.assumptions)


def test_a_config_that_describes_no_tower_says_so() -> None:
    flat = architecture.read({**TEXT, "model_type": "qwen2_5_vl"})
    assert any("vision" in said for said in flat.assumptions)
    for shape in (flat, architecture.read(TEXT)):
        with pytest.raises(CannotTellError) as refused:
            estimate(shape, workload_from({"method": "bf16", "images": 1}))
        assert refused.value.code == "no_vision_tower"
