"""What a model_type determines that its config.json leaves out: biases, norms, module names. Pure.

Source of every row: the modeling code of that model_type in transformers 5.23.0 (or, where transformers has none, the
repository's own modeling file); tests/catalog compares the parameter counts that follow with real ones.
"""

from dataclasses import replace

from modelpick.catalog.architecture import extras, recurrent
from modelpick.catalog.architecture.encoder_families import ENCODERS
from modelpick.catalog.architecture.family import Family, LayerNames
from modelpick.catalog.architecture.hybrid_families import HYBRIDS
from modelpick.catalog.architecture.translator_families import TRANSLATORS

_LLAMA = Family()
_GPT_NAMES = LayerNames(("c_attn",), "c_proj", ("c_fc",), "c_proj")
_NEOX_NAMES = LayerNames(("query_key_value",), "dense", ("dense_h_to_4h",), "dense_4h_to_h")
_PHI3_NAMES = LayerNames(("qkv_proj",), "o_proj", ("gate_up_proj",), "down_proj")
_GLM_NAMES = LayerNames(("q_proj", "k_proj", "v_proj"), "o_proj", ("gate_up_proj",), "down_proj")

_BIASED = Family(
    gated=False, norm="layer", norm_bias=True, qkv_bias=True, output_bias=True, mlp_bias=True, width=4
)  # fmt: skip
_GPT2 = replace(_BIASED, names=_GPT_NAMES, tied=True, positions=0, rotary=False, unfused_activation=True)
_NEOX = replace(_BIASED, names=_NEOX_NAMES)
_QWEN2 = Family(qkv_bias=True)
_QWEN3 = Family(qk_norm="head")
_GEMMA = Family(tied=True)
_GEMMA2 = Family(tied=True, norms=4, window="even", caps_scores=True, caps_logits=True)
_GEMMA3 = Family(tied=True, norms=4, qk_norm="head", window="pattern", pattern=6, vocabulary=262_208)
_GEMMA4 = replace(_GEMMA3, dense_beside_experts=True, extra=extras.gemma4)
_OLMO2 = Family(qk_norm="full")
_COHERE = Family(norm="layer", norms=1, parallel=True, tied=True)
_GLM = Family(names=_GLM_NAMES, qkv_bias=True)
_PHI3 = Family(names=_PHI3_NAMES, window="all")

FAMILIES: dict[str, Family] = {
    **ENCODERS,
    **TRANSLATORS,
    **HYBRIDS,
    "llama": Family(counted=True),
    "mistral": Family(window="all", counted=True),
    "mistral3": Family(window="all", sees=True),  # its text part, where the config is flat
    "ministral": Family(window="all"),
    "ministral3": _LLAMA,
    "mistral4": _LLAMA,
    "mixtral": Family(window="all", routed=True, counted=True),
    "qwen": Family(
        names=LayerNames(("c_attn",), "c_proj", ("w2", "w1"), "c_proj"),
        qkv_bias=True,
        upcasts_logits=False,
        width_of_both=True,
    ),  # modeling_qwen.py: CrossEntropyLoss over lm_logits as they are
    "qwen2": replace(_QWEN2, counted=True),
    "qwen2_moe": replace(_QWEN2, routed=True, counted=True, shared_gate=True),
    "qwen2_vl": replace(_QWEN2, sees=True),
    "qwen2_vl_text": _QWEN2,
    "qwen2_5_vl": replace(_QWEN2, sees=True),
    "qwen2_5_vl_text": _QWEN2,
    "qwen3": replace(_QWEN3, counted=True),
    "qwen3_moe": replace(_QWEN3, routed=True, counted=True),
    "qwen3_vl_text": _QWEN3,
    "qwen3_vl_moe_text": _QWEN3,
    "gemma": replace(_GEMMA, counted=True),
    "paligemma": replace(_GEMMA, sees=True),
    "gemma2": replace(_GEMMA2, sdpa=False, counted=True),
    "gemma3": replace(_GEMMA3, sees=True),
    "gemma3_text": replace(_GEMMA3, counted=True),
    "gemma3n": replace(_GEMMA3, pattern=5, sees=True, extra=extras.gemma3n),
    "gemma3n_text": replace(_GEMMA3, pattern=5, extra=extras.gemma3n),
    "gemma4": replace(_GEMMA4, sees=True),
    "gemma4_text": _GEMMA4,
    "gemma4_unified": replace(_GEMMA4, sees=True),
    "gemma4_unified_text": _GEMMA4,
    "gpt2": replace(_GPT2, counted=True),
    "gpt_bigcode": replace(_GPT2, counted=True, one_key_by="multi_query"),
    "gpt_neo": replace(
        _GPT2,
        names=LayerNames(("q_proj", "k_proj", "v_proj"), "out_proj", ("c_fc",), "c_proj"),
        qkv_bias=False,
        window="even",
        sdpa=False,
        counted=True,
    ),
    "gptj": replace(
        _BIASED,
        names=LayerNames(("q_proj", "k_proj", "v_proj"), "out_proj", ("fc_in",), "fc_out"),
        norms=1,
        qkv_bias=False,
        output_bias=False,
        head_bias=True,
        parallel=True,
        unfused_activation=True,
        sdpa=False,
        counted=True,
    ),
    "gpt_neox": replace(_NEOX, counted=True, parallel_key="use_parallel_residual"),
    "bloom": replace(_NEOX, tied=True, embedding_norm=True, rotary=False, sdpa=False, counted=True),
    "falcon": replace(
        _NEOX,
        tied=True,
        qkv_bias=False,
        output_bias=False,
        mlp_bias=False,
        counted=True,
        new_decoder=True,
        one_key_by="multi_query",
        unrepeated_key=True,
        parallel_key="parallel_attn",
    ),
    "mpt": Family(
        names=LayerNames(("Wqkv",), "out_proj", ("up_proj",), "down_proj"),
        gated=False,
        norm="layer",
        tied=True,
        width=4,
        rotary=False,
        sdpa=False,
        counted=True,
    ),
    "opt": replace(
        _BIASED,
        names=LayerNames(("q_proj", "k_proj", "v_proj"), "out_proj", ("fc1",), "fc2"),
        tied=True,
        positions=2,
        counted=True,
    ),
    "phi": replace(
        _BIASED,
        names=LayerNames(("q_proj", "k_proj", "v_proj"), "dense", ("fc1",), "fc2"),
        norms=1,
        head_bias=True,
        parallel=True,
        unfused_activation=True,
        counted=True,
    ),
    "phi3": replace(_PHI3, counted=True),
    "phi4mm": _PHI3,
    "phimoe": Family(norm="layer", norm_bias=True, qkv_bias=True, output_bias=True, window="all", routed=True),
    "biogpt": replace(
        _BIASED, names=LayerNames(("q_proj", "k_proj", "v_proj"), "out_proj", ("fc1",), "fc2"), tied=True, positions=2
    ),
    "stablelm": Family(norm="layer", norm_bias=True),
    "starcoder2": replace(_BIASED, names=LayerNames(up=("c_fc",), down="c_proj"), tied=True, window="all"),
    "cohere": _COHERE,
    "cohere2": replace(_COHERE, window="pattern", pattern=4),
    "cohere2_moe": replace(_COHERE, window="pattern", pattern=4, routed=True),
    "olmo": Family(norm="layer", norm_weight=False),
    "olmo2": replace(_OLMO2, counted=True),
    "olmo3": replace(_OLMO2, window="pattern", pattern=4),
    "olmoe": replace(_OLMO2, routed=True),
    "flex_olmo": replace(_OLMO2, routed=True),
    "granite": Family(counted=True),
    "granitemoe": Family(routed=True),
    "granitemoeshared": Family(routed=True),
    "smollm3": Family(tied=True, counted=True),
    "exaone": Family(names=LayerNames(output="out_proj", up=("c_fc_0", "c_fc_1"), down="c_proj")),
    "exaone4": Family(qk_norm="head", window="pattern", pattern=4),
    "exaone_moe": Family(qk_norm="head", window="pattern", pattern=4),
    "deepseek": _LLAMA,
    "deepseek_v2": Family(counted=True),
    "deepseek_v3": Family(counted=True, score_correction=True),
    "deepseek_v32": _LLAMA,
    "kimi_k2": Family(routed=True, score_correction=True),
    "youtu": _LLAMA,
    "glm4_moe_lite": Family(routed=True),
    "glm_moe_dsa": _LLAMA,
    "minicpm3": _LLAMA,
    "gpt_oss": Family(
        qkv_bias=True,
        output_bias=True,
        sinks=True,
        window="even",
        routed=True,
        sdpa=False,
        counted=True,
        expert_biases=True,
    ),
    "internlm2": Family(names=LayerNames(("wqkv",), "wo", ("w1", "w3"), "w2")),
    "internlm3": _LLAMA,
    "baichuan": Family(names=LayerNames(qkv=("W_pack",))),
    "chatglm": Family(names=_NEOX_NAMES, qkv_bias=True, all_keys_unless="multi_query_attention"),
    "glm": _GLM,
    "glm4": replace(_GLM, norms=4),
    "glm4_moe": Family(qkv_bias=True, qk_norm="head", routed=True, score_correction=True),
    "glm4v": replace(_GLM, norms=4, sees=True),
    "glm4v_text": replace(_GLM, norms=4),
    "glm4v_moe_text": Family(qkv_bias=True),
    "minicpm": Family(tied=True),
    "ernie4_5": Family(tied=True),
    "ernie4_5_moe": Family(tied=True, routed=True, score_correction=True),
    "seed_oss": Family(qkv_bias=True),
    "apertus": Family(names=LayerNames(up=("up_proj",)), gated=False, qk_norm="head", extra=extras.xielu),
    "arcee": Family(names=LayerNames(up=("up_proj",)), gated=False),
    "nemotron": Family(names=LayerNames(up=("up_proj",)), gated=False, norm="layer", norm_bias=True),
    "minimax_m2": Family(qk_norm="full", routed=True),
    "mimo": _QWEN2,
    "hunyuan_v1_dense": _QWEN3,
    "hunyuan_v1_moe": replace(_QWEN3, routed=True, shared_experts=1),
    "afmoe": Family(norms=4, qk_norm="head", window="pattern", pattern=4, output_gate="full", score_correction=True),
    "bitnet": Family(norms=4, extra=extras.bitnet),
    "dbrx": Family(
        names=LayerNames(("Wqkv",), "out_proj", ("w1", "v1"), "w2"), norm="layer", routed=True, counted=True
    ),
    "solar": _LLAMA,
    "xverse": _LLAMA,
    "yi": _LLAMA,
    "aquila": _LLAMA,
    "cwm": _LLAMA,
    "helium": _LLAMA,
    "iquestcoder": _LLAMA,
    "hyperclovax": Family(norms=4, extra=extras.two_norms_unless("use_post_norm")),
    "jais2": replace(_BIASED, names=LayerNames(up=("up_proj",)), width=0),
    "laguna": Family(qk_norm="head", routed=True, output_gate="head", score_correction=True),
    "mellum": replace(_QWEN3, routed=True),
    "nanochat": Family(names=LayerNames(up=("fc1",), down="fc2"), gated=False, norm_weight=False, caps_logits=True),
    "xglm": replace(
        _BIASED, names=LayerNames(("q_proj", "k_proj", "v_proj"), "out_proj", ("fc1",), "fc2"), tied=True, rotary=False
    ),
    "codegen": replace(
        _BIASED,
        names=LayerNames(("qkv_proj",), "out_proj", ("fc_in",), "fc_out"),
        norms=1,
        qkv_bias=False,
        output_bias=False,
        head_bias=True,
        parallel=True,
        unfused_activation=True,
        sdpa=False,
    ),
    "openai-gpt": replace(_GPT2, sdpa=False, extra=extras.no_last_norm),
    "persimmon": replace(_NEOX, qk_norm="head"),
    "gpt_neox_japanese": replace(
        _NEOX,
        tied=True,
        qkv_bias=False,
        output_bias=False,
        mlp_bias=False,
        sdpa=False,
        extra=extras.last_bias,
    ),
    "doge": Family(qk_norm="head", extra=extras.doge),
    "diffllama": Family(extra=extras.diffllama),
    "vaultgemma": replace(_GEMMA2, norms=2, sdpa=False),
    "granite_swa": Family(sinks=True, tied=True, sdpa=False),
    "granitemoe_swa": Family(sinks=True, routed=True, sdpa=False),
    "hy_v3": replace(_QWEN3, routed=True),
    "mimo_v2_flash": Family(
        routed=True,
        sinks=True,
        sinks_in_windows=True,
        doubles_window_keys=True,
        sdpa=False,
        window="pattern",
        pattern=6,
    ),
    "solar_open": Family(routed=True, shared_experts=1),
    "dots1": Family(qk_norm="head", routed=True),
    "aria_text": Family(routed=True),
    "longcat_flash": Family(routed=True, plan=recurrent.longcat),
    "modernbert-decoder": Family(
        names=LayerNames(("q_proj", "k_proj", "v_proj"), "Wo", ("Wi",), "Wo"),
        norm="layer",
        tied=True,
        embedding_norm=True,
        window="pattern",
        pattern=3,
        extra=extras.modernbert_decoder,
    ),
    "qwen2_5_omni_text": _QWEN2,
    "qwen3_omni_moe_text": replace(_QWEN3, routed=True),
    "hunyuan_vl_text": _QWEN3,
    "paddleocr_vl_text": Family(tied=True),
    "voxtral_realtime_text": _LLAMA,
    "llama4_text": Family(window="pattern", pattern=4, qk_norm="bare", routed=True, shared_experts=1),
    "mllama_text_model": Family(extra=extras.mllama),
    "emu3_text_model": _LLAMA,
}

# What a row of the catalog with an unknown model_type is read as: the decoder that most published models follow.
STANDARD = _LLAMA


def standard_for(family: Family | None) -> Family:
    """STANDARD, with what is known of how a family's layers are built, where its config lacks what `family` needs."""
    if family is None:
        return STANDARD
    return replace(STANDARD, **{name: getattr(family, name) for name in _OF_LAYERS})


_OF_LAYERS = (
    "kind", "parallel_key", "new_decoder", "one_key_by", "all_keys_unless", "unrepeated_key", "width_of_both",
    "shared_gate", "score_correction", "expert_biases", "bias_in_each_layer", "mamba", "first_mamba",
    "one_part_layers", "convolutions", "kimi_delta", "ungated_norm", "bound_by_attention", "counted",
)  # fmt: skip
