"""The traits of decoders whose layers recur, all or some of them: state spaces, delta rules, convolutions. Pure.

Source of every row: see families.py.
"""

from dataclasses import replace

from modelpick.catalog.architecture import extras, recurrent
from modelpick.catalog.architecture.family import Family, LayerNames

_PLAIN = "what its recurrent layers keep for a backward pass is not counted"
_QWEN3 = Family(qk_norm="head")
_QWEN3_5 = replace(_QWEN3, bound_by_attention=True, output_gate="fused")

HYBRIDS: dict[str, Family] = {
    "qwen3_next": replace(_QWEN3_5, routed=True, shared_gate=True),
    "qwen3_5": _QWEN3_5,
    "qwen3_5_text": _QWEN3_5,
    "qwen3_5_moe": replace(_QWEN3_5, routed=True, shared_gate=True),
    "qwen3_5_moe_text": replace(_QWEN3_5, routed=True, shared_gate=True),
    "granitemoehybrid": Family(bound_by_attention=True),
    "bailing_hybrid": Family(hybrid=True, head_gate=True, routed=True, kimi_delta=True),
    "kimi_linear": Family(hybrid=True, routed=True, kimi_delta=True, low_rank_gates=True),
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
        adjusts_width=True,
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
    "lfm3": Family(
        qk_norm="head", norms=4, tied=True, names=LayerNames(up=("w1", "w3"), down="w2"), convolutions=True,
        output_gate="head", hybrid=True, extra=extras.two_norms_unless("use_sandwich_norm"),
    ),
    "minimax": Family(routed=True, hybrid=True, lightning=True, untrained=_PLAIN),
    "olmo_hybrid": Family(qk_norm="full", hybrid=True),
    "rwkv": Family(norm="layer", norm_bias=True, rotary=False, hybrid=True, plan=recurrent.rwkv, untrained=_PLAIN),
    "xlstm": Family(rotary=False, hybrid=True, plan=recurrent.xlstm, untrained=_PLAIN),
    "recurrent_gemma": Family(
        tied=True, hybrid=True, caps_logits=True, plan=recurrent.recurrent_gemma, untrained=_PLAIN
    ),
    "zamba": Family(tied=True, hybrid=True, plan=recurrent.zamba, untrained=_PLAIN),
    "zamba2": Family(tied=True, hybrid=True, plan=recurrent.zamba2, untrained=_PLAIN),
}  # fmt: skip
