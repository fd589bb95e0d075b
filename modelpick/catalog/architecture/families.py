"""What a model_type settles that its config.json leaves out: biases, norms, module names. Pure.

Source of every row: the modeling code of that model_type in transformers 5.23.0 (or, where transformers has none, the
repository's own modeling file); parameter counts that follow are held against real ones in tests/catalog.
"""

from dataclasses import dataclass, replace
from typing import Literal

from modelpick.catalog.architecture.shape import Norm


@dataclass(frozen=True, slots=True)
class Names:
    """Module names of the linear layers. One `qkv` name means a fused projection; likewise for gate and up."""

    qkv: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    output: str = "o_proj"
    up: tuple[str, ...] = ("gate_proj", "up_proj")
    down: str = "down_proj"


@dataclass(frozen=True, slots=True)
class Family:
    """Traits of a model_type. Flags are defaults: the config's own key wins where it exists."""

    names: Names = Names()
    gated: bool = True
    norm: Norm = "rms"
    norms: int = 2  # per layer
    norm_bias: bool = False  # LayerNorm keeps a bias beside its weight
    norm_weight: bool = True
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: Literal["", "head", "full"] = ""  # a norm over each head, or over all of them
    tied: bool = False
    head_bias: bool = False
    parallel: bool = False
    positions: int | None = None  # learned position embeddings: rows beyond the context; None: none learned
    padded_positions: int = 0  # of those, rows that no token takes: RoBERTa counts on from the padding index
    window: Literal["", "all", "even", "pattern"] = ""  # which layers `sliding_window` binds, without layer_types
    pattern: int = 0  # every n-th layer is global, the others are local
    width: float = 0  # MLP width over hidden size, where the config leaves it out
    sinks: bool = False  # one learned attention sink per head
    embedding_norm: bool = False
    rotary: bool = True
    sdpa: bool = True  # its transformers class has a path through scaled_dot_product_attention
    caps_scores: bool = False  # attn_logit_softcapping is set by default
    caps_logits: bool = False  # final_logit_softcapping is set by default
    upcasts_logits: bool = True  # transformers loss_utils.py does; a repository's own modeling file may not
    hybrid: bool = False  # only some layers attend: a config that does not tell which cannot be read
    head_gate: bool = False  # latent attention whose heads are gated by a projection of their own
    routed: bool = False  # always a mixture of experts: a config without their number cannot be read
    unfused_activation: bool = False  # gelu_new (transformers activations.py NewGELUActivation): not one kernel
    vocabulary: int | None = None  # the configuration class's default, where published configs leave it out


_LLAMA = Family()
_GPT_NAMES = Names(("c_attn",), "c_proj", ("c_fc",), "c_proj")
_NEOX_NAMES = Names(("query_key_value",), "dense", ("dense_h_to_4h",), "dense_4h_to_h")
_PHI3_NAMES = Names(("qkv_proj",), "o_proj", ("gate_up_proj",), "down_proj")
_BERT_NAMES = Names(("query", "key", "value"), "dense", ("dense",), "dense")
_T5_NAMES = Names(("q", "k", "v"), "o", ("wi",), "wo")
_GLM_NAMES = Names(("q_proj", "k_proj", "v_proj"), "o_proj", ("gate_up_proj",), "down_proj")

_BIASED = Family(
    gated=False, norm="layer", norm_bias=True, qkv_bias=True, output_bias=True, mlp_bias=True, width=4
)  # fmt: skip
_GPT2 = replace(_BIASED, names=_GPT_NAMES, tied=True, positions=0, rotary=False, unfused_activation=True)
_NEOX = replace(_BIASED, names=_NEOX_NAMES)
_BERT = replace(_BIASED, names=_BERT_NAMES, tied=True, positions=0)
_ROBERTA = replace(_BERT, padded_positions=2)  # modeling_roberta.py create_position_ids_from_input_ids
_QWEN2 = Family(qkv_bias=True)
_QWEN3 = Family(qk_norm="head")
_GEMMA = Family(tied=True)
_GEMMA2 = Family(tied=True, norms=4, window="even", caps_scores=True, caps_logits=True)
_GEMMA3 = Family(tied=True, norms=4, qk_norm="head", window="pattern", pattern=6, vocabulary=262_208)
_OLMO2 = Family(qk_norm="full")
_COHERE = Family(norm="layer", norms=1, parallel=True, tied=True)
_GLM = Family(names=_GLM_NAMES, qkv_bias=True)
_PHI3 = Family(names=_PHI3_NAMES, window="all")

FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "mistral": Family(window="all"),
    "mistral3": Family(window="all"),  # its text part, where that is told flat
    "ministral": Family(window="all"),
    "ministral3": _LLAMA,
    "mistral4": _LLAMA,
    "mixtral": Family(window="all"),
    "qwen": Family(
        names=Names(("c_attn",), "c_proj", ("w2", "w1"), "c_proj"), qkv_bias=True, upcasts_logits=False
    ),  # modeling_qwen.py: CrossEntropyLoss over lm_logits as they are
    "qwen2": _QWEN2,
    "qwen2_moe": _QWEN2,
    "qwen2_vl": _QWEN2,
    "qwen2_vl_text": _QWEN2,
    "qwen2_5_vl": _QWEN2,
    "qwen2_5_vl_text": _QWEN2,
    "qwen3": _QWEN3,
    "qwen3_moe": _QWEN3,
    "qwen3_vl_text": _QWEN3,
    "qwen3_vl_moe_text": _QWEN3,
    "qwen3_next": _QWEN3,
    "qwen3_5": _QWEN3,
    "qwen3_5_text": _QWEN3,
    "qwen3_5_moe": _QWEN3,
    "qwen3_5_moe_text": _QWEN3,
    "gemma": _GEMMA,
    "paligemma": _GEMMA,
    "gemma2": _GEMMA2,
    "gemma3": _GEMMA3,
    "gemma3_text": _GEMMA3,
    "gemma3n": replace(_GEMMA3, pattern=5),
    "gemma3n_text": replace(_GEMMA3, pattern=5),
    "gemma4": _GEMMA3,
    "gemma4_text": _GEMMA3,
    "gemma4_unified": _GEMMA3,
    "gemma4_unified_text": _GEMMA3,
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2,
    "gpt_neo": replace(
        _GPT2,
        names=Names(("q_proj", "k_proj", "v_proj"), "out_proj", ("c_fc",), "c_proj"),
        qkv_bias=False,
        window="even",
    ),
    "gptj": replace(
        _BIASED,
        names=Names(("q_proj", "k_proj", "v_proj"), "out_proj", ("fc_in",), "fc_out"),
        norms=1,
        qkv_bias=False,
        output_bias=False,
        head_bias=True,
        parallel=True,
        unfused_activation=True,
    ),
    "gpt_neox": _NEOX,
    "bloom": replace(_NEOX, tied=True, embedding_norm=True, rotary=False),
    "falcon": replace(_NEOX, tied=True, qkv_bias=False, output_bias=False, mlp_bias=False),
    "mpt": Family(
        names=Names(("Wqkv",), "out_proj", ("up_proj",), "down_proj"),
        gated=False,
        norm="layer",
        tied=True,
        width=4,
        rotary=False,
    ),
    "opt": replace(
        _BIASED, names=Names(("q_proj", "k_proj", "v_proj"), "out_proj", ("fc1",), "fc2"), tied=True, positions=2
    ),
    "phi": replace(
        _BIASED,
        names=Names(("q_proj", "k_proj", "v_proj"), "dense", ("fc1",), "fc2"),
        norms=1,
        head_bias=True,
        parallel=True,
        unfused_activation=True,
    ),
    "phi3": _PHI3,
    "phi4mm": _PHI3,
    "phimoe": Family(norm="layer", norm_bias=True, qkv_bias=True, output_bias=True, window="all"),
    "biogpt": replace(
        _BIASED, names=Names(("q_proj", "k_proj", "v_proj"), "out_proj", ("fc1",), "fc2"), tied=True, positions=2
    ),
    "t5": Family(names=_T5_NAMES, tied=True),
    "mt5": Family(names=_T5_NAMES),
    "umt5": Family(names=_T5_NAMES),
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "stablelm": Family(norm="layer", norm_bias=True),
    "starcoder2": replace(_BIASED, names=Names(up=("c_fc",), down="c_proj"), tied=True, window="all"),
    "cohere": _COHERE,
    "cohere2": replace(_COHERE, window="pattern", pattern=4),
    "cohere2_moe": replace(_COHERE, window="pattern", pattern=4),
    "olmo": Family(norm="layer", norm_weight=False),
    "olmo2": _OLMO2,
    "olmo3": replace(_OLMO2, window="pattern", pattern=4),
    "olmoe": _OLMO2,
    "flex_olmo": _OLMO2,
    "granite": _LLAMA,
    "granitemoe": _LLAMA,
    "granitemoeshared": _LLAMA,
    "granitemoehybrid": _LLAMA,
    "smollm3": Family(tied=True),
    "exaone": Family(names=Names(output="out_proj", up=("c_fc_0", "c_fc_1"), down="c_proj")),
    "exaone4": Family(qk_norm="head", window="pattern", pattern=4),
    "exaone_moe": Family(qk_norm="head", window="pattern", pattern=4),
    "deepseek": _LLAMA,
    "deepseek_v2": _LLAMA,
    "deepseek_v3": _LLAMA,
    "deepseek_v32": _LLAMA,
    "kimi_k2": _LLAMA,
    "youtu": _LLAMA,
    "glm4_moe_lite": _LLAMA,
    "glm_moe_dsa": _LLAMA,
    "minicpm3": _LLAMA,
    "gpt_oss": Family(qkv_bias=True, output_bias=True, sinks=True, window="even"),
    "internlm2": Family(names=Names(("wqkv",), "wo", ("w1", "w3"), "w2")),
    "internlm3": _LLAMA,
    "baichuan": Family(names=Names(qkv=("W_pack",))),
    "chatglm": Family(names=_NEOX_NAMES, qkv_bias=True),
    "glm": _GLM,
    "glm4": replace(_GLM, norms=4),
    "glm4_moe": Family(qkv_bias=True, qk_norm="head"),
    "glm4v": replace(_GLM, norms=4),
    "glm4v_text": replace(_GLM, norms=4),
    "glm4v_moe_text": Family(qkv_bias=True),
    "minicpm": Family(tied=True),
    "ernie4_5": Family(tied=True),
    "ernie4_5_moe": Family(tied=True),
    "seed_oss": Family(qkv_bias=True),
    "apertus": Family(names=Names(up=("up_proj",)), gated=False, qk_norm="head"),
    "arcee": Family(names=Names(up=("up_proj",)), gated=False),
    "nemotron": Family(names=Names(up=("up_proj",)), gated=False, norm="layer", norm_bias=True),
    "minimax_m2": Family(qk_norm="full"),
    "mimo": _QWEN2,
    "hunyuan_v1_dense": _QWEN3,
    "hunyuan_v1_moe": _QWEN3,
    "afmoe": Family(norms=4, qk_norm="head", window="pattern", pattern=4),
    "bitnet": Family(norms=4),
    "dbrx": Family(names=Names(("Wqkv",), "out_proj", ("w1", "v1"), "w2"), norm="layer"),
    "bailing_hybrid": Family(hybrid=True, head_gate=True),
    "kimi_linear": Family(hybrid=True),
    "solar": _LLAMA,
    "xverse": _LLAMA,
    "yi": _LLAMA,
    "aquila": _LLAMA,
    "llama4_text": Family(window="pattern", pattern=4),
    "mllama_text_model": _LLAMA,
    "jamba": _LLAMA,
    "mamba": Family(tied=True, norms=1),
    "falcon_mamba": Family(tied=False, norms=1),
    "mamba2": Family(norms=1),
    "falcon_h1": _LLAMA,
    "bamba": _LLAMA,
    "nemotron_h": Family(names=Names(up=("up_proj",)), gated=False, norms=1),
    "lfm2": Family(qk_norm="head", tied=True, names=Names(output="out_proj", up=("w1", "w3"), down="w2")),
    "lfm2_moe": Family(qk_norm="head", tied=True, names=Names(output="out_proj", up=("w1", "w3"), down="w2")),
}

_ROUTED = (
    "mixtral", "qwen2_moe", "qwen3_moe", "qwen3_next", "qwen3_5_moe", "qwen3_5_moe_text", "gpt_oss", "phimoe", "olmoe",
    "flex_olmo", "granitemoe", "granitemoeshared", "glm4_moe", "glm4_moe_lite", "ernie4_5_moe", "hunyuan_v1_moe",
    "minimax_m2", "cohere2_moe", "lfm2_moe", "kimi_k2", "dbrx", "bailing_hybrid", "kimi_linear",
)  # fmt: skip
FAMILIES.update({name: replace(FAMILIES[name], routed=True) for name in _ROUTED})

_EAGER_ONLY = ("gemma2", "gpt_neo", "gptj", "bloom", "mpt", "gpt_oss")  # _supports_sdpa is False
FAMILIES.update({name: replace(FAMILIES[name], sdpa=False) for name in _EAGER_ONLY})

# The families whose parameter counts are held, to the last parameter, against published models in tests/catalog.
COUNTED = frozenset(
    {
        "bert",
        "bloom",
        "dbrx",
        "deepseek_v2",
        "deepseek_v3",
        "falcon",
        "falcon_h1",
        "gemma",
        "gemma2",
        "gemma3_text",
        "gpt2",
        "gpt_bigcode",
        "gpt_neo",
        "gpt_neox",
        "gpt_oss",
        "gptj",
        "granite",
        "jamba",
        "llama",
        "mamba",
        "mistral",
        "mixtral",
        "mpt",
        "mt5",
        "olmo2",
        "opt",
        "phi",
        "phi3",
        "qwen2",
        "qwen2_moe",
        "qwen3",
        "qwen3_moe",
        "roberta",
        "smollm3",
        "t5",
        "xlm-roberta",
    }
)

# What a row of the catalog with an unknown model_type is read as: the decoder that most published models follow.
STANDARD = _LLAMA
