"""What a model_type determines that its config.json leaves out: biases, norms, module names. Pure.

Source of every row: the modeling code of that model_type in transformers 5.23.0 (or, where transformers has none, the
repository's own modeling file); tests/catalog compares the parameter counts that follow with real ones.
"""

from dataclasses import dataclass, replace
from typing import Literal

from modelpick.catalog.architecture.shape import Kind, Norm


@dataclass(frozen=True, slots=True)
class LayerNames:
    """Module names of the linear layers. One `qkv` name means a fused projection; likewise for gate and up."""

    qkv: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    output: str = "o_proj"
    up: tuple[str, ...] = ("gate_proj", "up_proj")
    down: str = "down_proj"


@dataclass(frozen=True, slots=True)
class Family:
    """Traits of a model_type. Flags are defaults: the config's own key wins where it exists."""

    kind: Kind = "decoder"
    names: LayerNames = LayerNames()
    gated: bool = True
    norm: Norm = "rms"
    norms: int = 2  # per layer
    norm_bias: bool = False  # LayerNorm has a bias as well as a weight
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
    hybrid: bool = False  # only some layers attend: a config that does not say which cannot be read
    head_gate: bool = False  # latent attention whose heads are gated by a projection of their own
    routed: bool = False  # always a mixture of experts: a config without their number cannot be read
    unfused_activation: bool = False  # gelu_new (transformers activations.py NewGELUActivation): not one kernel
    counted: bool = False  # tests/catalog checks its parameter counts exactly against published models
    # What only one or a few families do, each by the key of its own config.json.
    parallel_key: str = ""  # says whether attention and MLP read the same normed input (default: they do)
    new_decoder: bool = False  # falcon: `new_decoder_architecture` switches heads, norms and the parallel reading
    one_key_by: str = ""  # a true `multi_query` (the default) means one head of keys and values for all queries
    all_keys_unless: str = ""  # a false `multi_query_attention` means a head of keys and values for each query
    unrepeated_key: bool = (
        False  # its one key head is neither repeated nor passed to sdpa as grouped (modeling_falcon.py)
    )
    width_of_both: bool = False  # intermediate_size counts the gate and the up projection together (Qwen-1)
    shared_gate: bool = False  # the shared expert has a gate of its own
    score_correction: bool = False  # the router has an e_score_correction_bias
    expert_biases: bool = False  # the router and the experts have biases
    bias_in_each_layer: bool = False  # umt5: a relative bias in every layer, not one a stack
    mamba: Literal["", "1", "2", "with_attention"] = (
        ""  # all layers are Mamba of this version, or each layer has Mamba and attention
    )
    first_mamba: bool = False  # the recurrent layers of this hybrid are Mamba-1, with norms of its own
    one_part_layers: bool = False  # a layer is a mixer or an MLP, as `hybrid_override_pattern` says
    convolutions: bool = False  # layers that do not attend are short convolutions
    kimi_delta: bool = False  # layers that do not attend are Kimi Delta Attention
    ungated_norm: bool = False  # no norm after the state space, unless `mamba_rms_norm` says so
    bound_by_attention: bool = False  # a config that does not list its layers is read as all attention: an upper bound
    sees: bool = False  # has a vision tower, also where config.json does not describe it
    vocabulary: int | None = None  # the configuration class's default, where published configs leave it out


_LLAMA = Family()
_GPT_NAMES = LayerNames(("c_attn",), "c_proj", ("c_fc",), "c_proj")
_NEOX_NAMES = LayerNames(("query_key_value",), "dense", ("dense_h_to_4h",), "dense_4h_to_h")
_PHI3_NAMES = LayerNames(("qkv_proj",), "o_proj", ("gate_up_proj",), "down_proj")
_BERT_NAMES = LayerNames(("query", "key", "value"), "dense", ("dense",), "dense")
_T5_NAMES = LayerNames(("q", "k", "v"), "o", ("wi",), "wo")
_GLM_NAMES = LayerNames(("q_proj", "k_proj", "v_proj"), "o_proj", ("gate_up_proj",), "down_proj")

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
    "qwen3_next": replace(_QWEN3, routed=True, shared_gate=True, bound_by_attention=True),
    "qwen3_5": replace(_QWEN3, bound_by_attention=True),
    "qwen3_5_text": replace(_QWEN3, bound_by_attention=True),
    "qwen3_5_moe": replace(_QWEN3, routed=True, shared_gate=True, bound_by_attention=True),
    "qwen3_5_moe_text": replace(_QWEN3, routed=True, shared_gate=True, bound_by_attention=True),
    "gemma": replace(_GEMMA, counted=True),
    "paligemma": replace(_GEMMA, sees=True),
    "gemma2": replace(_GEMMA2, sdpa=False, counted=True),
    "gemma3": replace(_GEMMA3, sees=True),
    "gemma3_text": replace(_GEMMA3, counted=True),
    "gemma3n": replace(_GEMMA3, pattern=5, sees=True),
    "gemma3n_text": replace(_GEMMA3, pattern=5),
    "gemma4": replace(_GEMMA3, sees=True),
    "gemma4_text": _GEMMA3,
    "gemma4_unified": replace(_GEMMA3, sees=True),
    "gemma4_unified_text": _GEMMA3,
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
    "t5": Family(names=_T5_NAMES, tied=True, counted=True, kind="encoder-decoder"),
    "mt5": Family(names=_T5_NAMES, counted=True, kind="encoder-decoder"),
    "umt5": Family(names=_T5_NAMES, kind="encoder-decoder", bias_in_each_layer=True),
    "bert": replace(_BERT, counted=True, kind="encoder"),
    "roberta": replace(_ROBERTA, counted=True, kind="encoder"),
    "xlm-roberta": replace(_ROBERTA, counted=True, kind="encoder"),
    "camembert": replace(_ROBERTA, kind="encoder"),
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
    "granitemoehybrid": Family(bound_by_attention=True),
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
    "ernie4_5_moe": Family(tied=True, routed=True),
    "seed_oss": Family(qkv_bias=True),
    "apertus": Family(names=LayerNames(up=("up_proj",)), gated=False, qk_norm="head"),
    "arcee": Family(names=LayerNames(up=("up_proj",)), gated=False),
    "nemotron": Family(names=LayerNames(up=("up_proj",)), gated=False, norm="layer", norm_bias=True),
    "minimax_m2": Family(qk_norm="full", routed=True),
    "mimo": _QWEN2,
    "hunyuan_v1_dense": _QWEN3,
    "hunyuan_v1_moe": replace(_QWEN3, routed=True),
    "afmoe": Family(norms=4, qk_norm="head", window="pattern", pattern=4),
    "bitnet": Family(norms=4),
    "dbrx": Family(
        names=LayerNames(("Wqkv",), "out_proj", ("w1", "v1"), "w2"), norm="layer", routed=True, counted=True
    ),
    "bailing_hybrid": Family(hybrid=True, head_gate=True, routed=True, kimi_delta=True),
    "kimi_linear": Family(hybrid=True, routed=True),
    "solar": _LLAMA,
    "xverse": _LLAMA,
    "yi": _LLAMA,
    "aquila": _LLAMA,
    "llama4_text": Family(window="pattern", pattern=4),
    "mllama_text_model": _LLAMA,
    "jamba": Family(counted=True, first_mamba=True, bound_by_attention=True),
    "mamba": Family(tied=True, norms=1, counted=True, mamba="1"),
    "falcon_mamba": Family(tied=False, norms=1, mamba="1"),
    "mamba2": Family(norms=1, mamba="2"),
    "falcon_h1": Family(counted=True, mamba="with_attention", ungated_norm=True),
    "bamba": Family(bound_by_attention=True),
    "nemotron_h": Family(
        names=LayerNames(up=("up_proj",)), gated=False, norms=1, one_part_layers=True, bound_by_attention=True
    ),
    "lfm2": Family(
        qk_norm="head",
        tied=True,
        names=LayerNames(output="out_proj", up=("w1", "w3"), down="w2"),
        convolutions=True,
        bound_by_attention=True,
    ),
    "lfm2_moe": Family(
        qk_norm="head",
        tied=True,
        names=LayerNames(output="out_proj", up=("w1", "w3"), down="w2"),
        routed=True,
        convolutions=True,
        bound_by_attention=True,
    ),
}

# Positions taken off an encoder of an unknown family: none published pads more of them than RoBERTa.
PADDED_IF_UNKNOWN = _ROBERTA.padded_positions

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
