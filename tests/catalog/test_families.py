"""Every family of the pinned transformers is told, or refused by name: parameters as torch's device "meta" counts them.

A family is a model_type whose class writes or reads text or speech. Of each the default configuration is saved as
JSON, read here, and its class built without memory. Either both counts are equal, or the answer says how near it is (a
tower of images), or it refuses and names the family. Buffers (masks, tables, running means) are no parameters.
"""

import json
import re
import warnings
from typing import Any

import pytest

from modelpick.catalog import architecture
from modelpick.catalog.architecture.families import FAMILIES
from modelpick.errors import CannotTellError
from modelpick.memory.estimate import estimate
from modelpick.workload import workload_from

torch = pytest.importorskip("torch", reason="the extra train is absent")
transformers = pytest.importorskip("transformers", reason="the extra train is absent")
auto = transformers.models.auto.modeling_auto
KINDS = (
    "IMAGE_TEXT_TO_TEXT", "MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ", "CAUSAL_LM", "CTC", "TEXT_ENCODING",
)  # fmt: skip
CLASSES: dict[str, str] = {}
for kind in KINDS:
    for model_type, name in getattr(auto, f"MODEL_FOR_{kind}_MAPPING_NAMES").items():
        CLASSES.setdefault(model_type, name if isinstance(name, str) else name[0])

# Default configurations that their own class refuses: with these values it does not.
COMPLETED: dict[str, dict[str, Any]] = {
    "dots1": {"n_routed_experts": 8, "n_shared_experts": 2, "num_experts_per_tok": 2, "first_k_dense_replace": 1},
    "glm4_moe": {"head_dim": 128, "use_qk_norm": True},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128, "num_experts": 8, "moe_topk": 2},
    "ministral": {"head_dim": 128},
    "nemotron": {"head_dim": 128},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 16},
}
# What a company meets: none of these may be refused.
TOLD = {
    "bert", "roberta", "xlm-roberta", "camembert", "modernbert", "deberta", "deberta-v2", "albert", "distilbert",
    "electra", "mpnet", "eurobert", "nomic_bert", "gte", "jina_embeddings_v3", "clip_text_model", "qwen3",
    "whisper", "bart", "mbart", "plbart", "marian", "m2m_100", "nllb-moe", "pegasus", "pegasus_x", "blenderbot",
    "led", "bigbird_pegasus", "fsmt", "t5", "mt5", "umt5", "longt5", "switch_transformers", "speech_to_text",
    "wav2vec2", "hubert", "wavlm", "unispeech", "data2vec-audio", "seamless_m4t", "seamless_m4t_v2", "rwkv",
    "xlstm", "zamba", "zamba2", "recurrent_gemma", "lfm2", "lfm2_moe", "gemma3n_text", "gemma4_text", "gemma4",
    "dots1", "longcat_flash", "minimax", "solar_open", "llama4_text", "llama4", "qwen2_5_vl", "deepseek_v32",
    "glm_moe_dsa", "kimi_linear", "nemotron_h", "bamba", "mllama", "olmo_hybrid", "mimo_v2_flash", "glm4_moe",
    "ministral", "hunyuan_v1_moe",
}  # fmt: skip


def saved(model_type: str, name: str, **values: Any) -> tuple[Any, dict[str, Any]]:
    """A default configuration, and its JSON as transformers saves it."""
    config = transformers.models.auto.configuration_auto.CONFIG_MAPPING[model_type](**values)
    return config, {**json.loads(config.to_json_string()), "architectures": [name]}


def counted(config: Any, name: str) -> int:
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        model = getattr(transformers, name)(config)
    return sum(parameter.numel() for parameter in model.parameters())


def outcome(
    model_type: str, name: str, **values: Any
) -> CannotTellError | tuple[architecture.Architecture, int] | None:
    """The refusal, or what is told with the true count; None where the class does not build its own configuration."""
    try:
        config, told = saved(model_type, name, **values)
    except Exception:  # transformers refuses its own default
        return None
    try:
        shape = architecture.read(told)
        estimate(shape, workload_from({"task": "serve", "method": "bf16", "context": 128}))
    except CannotTellError as refused:
        return refused
    try:
        return shape, counted(config, name)
    except (ImportError, AttributeError, TypeError, KeyError, ValueError, AssertionError):
        return None


@pytest.mark.parametrize("model_type", sorted(CLASSES))
def test_a_family_is_counted_as_the_meta_device_does_or_refused_by_name(model_type: str) -> None:
    found = outcome(model_type, CLASSES[model_type], **COMPLETED.get(model_type, {}))
    assert model_type not in TOLD or isinstance(found, tuple), found
    if isinstance(found, CannotTellError):
        assert found.code in ("unknown_architecture", "bad_config")
        assert re.search(r"'[\w.-]+'|config\.json", found.message)
    elif found is not None:
        shape, true = found
        assert shape.parameters == pytest.approx(true, rel=0.05 if shape.tower else 0.001)
        assert not shape.tower or any("within about 5 %" in said for said in shape.assumptions)


HEADS = ("SEQUENCE_CLASSIFICATION", "TOKEN_CLASSIFICATION")


@pytest.mark.parametrize("model_type", sorted(name for name, family in FAMILIES.items() if family.kind == "encoder"))
def test_an_encoder_is_counted_with_the_head_that_its_repository_has(model_type: str) -> None:
    """Without a head (embeddings), and as a classifier of two and of seven classes (rerankers have one)."""
    base = auto.MODEL_MAPPING_NAMES.get(model_type)
    names = [] if base is None else [base if isinstance(base, str) else base[0]]
    names += [found for kind in HEADS if (found := getattr(auto, f"MODEL_FOR_{kind}_MAPPING_NAMES").get(model_type))]
    short = {"num_hidden_layers": 2} if model_type != "longformer" else {}  # which lists a window for each layer
    for labels, name in zip((2, 7, 3), names, strict=False):
        config, told = saved(model_type, name, num_labels=labels, **short)
        told["id2label"] = {str(label): "" for label in range(labels)}
        assert architecture.read(told).parameters == counted(config, name), name


def test_the_families_of_a_company_are_all_there() -> None:
    assert CLASSES.keys() >= TOLD


BROKEN = (None, -1, 0, "64", 10**30, [], [1, None], {}, True, float("nan"))


@pytest.mark.parametrize("model_type", sorted(TOLD))
def test_a_config_with_a_missing_or_absurd_field_is_read_or_refused_by_name(model_type: str) -> None:
    """Each key in turn is left out, and holds each of BROKEN; a nested table's keys as well."""
    _, told = saved(model_type, CLASSES[model_type], **COMPLETED.get(model_type, {}))
    parts = [key for key, value in told.items() if isinstance(value, dict)]
    places = [((), key) for key in told] + [((part,), key) for part in parts for key in told[part]]
    for n, (where, key) in enumerate(places):
        for value in ("left out", BROKEN[n % len(BROKEN)], BROKEN[(n + 5) % len(BROKEN)]):
            config = json.loads(json.dumps(told))
            inner = config
            for part in where:
                inner = inner[part]
            inner.pop(key) if value == "left out" else inner.update({key: value})
            try:
                answer: object = architecture.read(config).parameters
            except CannotTellError as refused:
                answer = refused.code
            known = answer in ("unknown_architecture", "bad_config")
            assert known or (isinstance(answer, int) and answer > 0), (key, value)


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("deberta", {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False}),
    (
        "deberta-v2",
        {
            "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 256, "share_att_key": True,
            "norm_rel_ebd": "layer_norm", "position_biased_input": False, "conv_kernel_size": 3,
        },
    ),
    ("deberta-v2", {"relative_attention": True, "pos_att_type": "p2c|c2p", "share_att_key": False}),
    ("marian", {"share_encoder_decoder_embeddings": False, "vocab_size": 60000, "decoder_vocab_size": 70000}),
    (
        "wav2vec2",
        {"feat_extract_norm": "layer", "conv_bias": True, "adapter_attn_dim": 16, "do_stable_layer_norm": True},
    ),
    ("longt5", {"encoder_attention_type": "transient-global"}),
    ("t5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "num_decoder_layers": 3}),
    ("albert", {"num_hidden_groups": 3}),
    ("zamba2", {"num_mem_blocks": 2, "use_shared_attention_adapter": True}),
    ("gemma4_text", {"num_kv_shared_layers": 10, "use_double_wide_mlp": True}),
    ("gemma4_text", {"enable_moe_block": True, "num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 704}),
    ("gemma4_text", {"attention_k_eq_v": True, "hidden_size_per_layer_input": 0}),
    ("lfm2", {"layer_types": ["conv", "full_attention"] * 16, "conv_bias": True}),
    ("nemotron_h", {"moe_latent_size": 1024}),
    ("rwkv", {"attention_hidden_size": 2048, "num_hidden_layers": 3}),
    ("xlstm", {"num_hidden_layers": 3, "qk_dim_factor": 0.25}),
    ("recurrent_gemma", {"num_key_value_heads": 1, "lru_width": 2560}),
    ("modernbert", {"norm_bias": True, "attention_bias": True, "mlp_bias": True}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model_type", "values"), VARIANTS, ids=[f"{name}-{n}" for n, (name, _) in enumerate(VARIANTS)]
)
def test_what_a_config_may_change_of_a_family_is_counted(model_type: str, values: dict[str, Any]) -> None:
    name = CLASSES[model_type]
    config, told = saved(model_type, name, **values)
    assert architecture.read(told).parameters == counted(config, name)
