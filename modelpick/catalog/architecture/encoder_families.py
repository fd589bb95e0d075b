"""The traits of encoders: of text, and of sound (one CTC head over the states of each 20 ms). Pure.

Source of every row: the modeling code of that model_type in transformers 5.23.0; tests/catalog/test_families.py counts
each on torch's device "meta".
"""

from dataclasses import dataclass, replace

from modelpick.catalog.architecture import encoder_extras as extras
from modelpick.catalog.architecture import sound
from modelpick.catalog.architecture.family import Family, LayerNames
from modelpick.catalog.architecture.shape import Kind, Norm


@dataclass(frozen=True, slots=True)
class EncoderFamily(Family):
    """Traits of an encoder. Its embedding may be narrower than its layers, and be projected."""

    kind: Kind = "encoder"
    norm: Norm = "layer"
    types: int = 2  # token types, where the config does not say; 0: none
    narrow: str = ""  # the key of the embedding's own width
    narrow_bias: bool = True  # of its projection
    norms_narrow: bool = True  # the embedding's norm comes before that projection
    last_norm: bool = False  # a norm after the last layer
    down_bias: bool = True
    pooled: bool = True  # the class without a head has a pooler
    always_pooled: bool = False  # so does the class with a masked-language head
    transforms: bool = True  # the masked-language head has a layer and a norm before the output matrix
    transform_bias: bool = True
    head_bias: bool = True
    wide_head: str = ""  # the key of the output matrix's own width
    classifies_by_head: bool = False  # a classifier goes through the masked-language head's layer and norm
    deepens: bool = True  # a classifier has a layer before its output, unless there is a pooler in any case
    deepens_pooled: bool = False  # or also then
    sound: bool = False  # reads sound by convolutions
    stacked_positions: bool = False  # several convolutions tell positions apart, and all that read sound are normed
    counts_quantizer: bool = False  # its head for pre-training is read


_BERT = EncoderFamily(
    names=LayerNames(("query", "key", "value"), "dense", ("dense",), "dense"), gated=False, norm_bias=True,
    qkv_bias=True, output_bias=True, mlp_bias=True, tied=True, positions=0, embedding_norm=True, rotary=False,
)  # fmt: skip
_ROBERTA = replace(_BERT, padded_positions=2)  # modeling_roberta.py create_position_ids_from_input_ids
_ROTARY = replace(_BERT, positions=None, rotary=True, names=LayerNames(up=("fc1",), down="fc2"))
_LLAMA_LIKE = EncoderFamily(
    norm="rms", tied=False, types=0, down_bias=False, pooled=False, transforms=False, head_bias=False,
)  # fmt: skip
_SOUND = replace(
    _BERT, names=LayerNames(output="out_proj", up=("intermediate_dense",), down="output_dense"), positions=None,
    types=0, sound=True, tied=False,
    untrained="what convolutions over the waveform keep for a backward pass is not counted",
)  # fmt: skip

ENCODERS: dict[str, Family] = {
    "bert": replace(_BERT, counted=True),
    "roberta": replace(_ROBERTA, counted=True),
    "xlm-roberta": replace(_ROBERTA, counted=True),
    "camembert": _ROBERTA,
    "data2vec-text": _ROBERTA,
    "ibert": _ROBERTA,
    "xmod": replace(_ROBERTA, extra=extras.xmod),
    "longformer": replace(_ROBERTA, extra=extras.global_attention),
    "roberta-prelayernorm": replace(_ROBERTA, embedding_norm=True, last_norm=True),
    "xlm-roberta-xl": replace(_ROBERTA, embedding_norm=False, last_norm=True),
    "ernie": replace(_BERT, extra=extras.ernie),
    "megatron-bert": replace(_BERT, embedding_norm=False, last_norm=True),
    "nystromformer": replace(_BERT, positions=2, pooled=False, unfused_activation=True, extra=extras.nystromformer),
    "mra": replace(_BERT, positions=2, pooled=False, types=1),
    "yoso": replace(_BERT, positions=2, pooled=False, types=1),
    "big_bird": replace(_BERT, always_pooled=True, deepens_pooled=True, unfused_activation=True),
    "layoutlm": replace(_BERT, always_pooled=True, extra=extras.layoutlm),
    "albert": replace(_BERT, narrow="embedding_size", unfused_activation=True),
    "electra": replace(_BERT, narrow="embedding_size", pooled=False),
    "convbert": replace(_BERT, narrow="embedding_size", pooled=False, extra=extras.convbert),
    "rembert": replace(_BERT, narrow="input_embedding_size", wide_head="output_embedding_size", tied=False),
    "roformer": replace(_BERT, narrow="embedding_size", positions=None, pooled=False, extra=extras.roformer),
    "distilbert": replace(
        _BERT, names=LayerNames(("q_lin", "k_lin", "v_lin"), "out_lin", ("lin1",), "lin2"), types=0, pooled=False
    ),
    "mpnet": replace(
        _BERT, names=LayerNames(("q", "k", "v"), "o", ("dense",), "dense"), types=0, padded_positions=2,
        score_bias="shared", extra=extras.buckets,
    ),
    "deberta": replace(
        _BERT, names=LayerNames(("in_proj",), "dense", ("dense",), "dense"), types=0, pooled=False,
        narrow="embedding_size", narrow_bias=False, norms_narrow=False, sdpa=False, extra=extras.deberta,
    ),
    "deberta-v2": replace(
        _BERT, names=LayerNames(("query_proj", "key_proj", "value_proj"), "dense", ("dense",), "dense"), types=0,
        pooled=False, narrow="embedding_size", narrow_bias=False, norms_narrow=False, sdpa=False,
        extra=extras.deberta_v2,
    ),
    "modernbert": EncoderFamily(
        names=LayerNames(("Wqkv",), "Wo", ("Wi",), "Wo"), tied=True, types=0, embedding_norm=True, last_norm=True,
        down_bias=False, pooled=False, transform_bias=False, classifies_by_head=True,
        extra=extras.no_first_norm,
    ),
    "eurobert": replace(_LLAMA_LIKE, last_norm=True),
    "nomic_bert": replace(
        _ROTARY, names=LayerNames(), gated=True, pooled=False, qkv_bias=False, output_bias=False, mlp_bias=False,
        down_bias=False,
    ),
    "gte": replace(_ROTARY, names=LayerNames(), gated=True, pooled=False, mlp_bias=False, types=1),
    "jina_embeddings_v3": replace(_ROTARY, types=1),
    "clip_text_model": replace(
        _BERT, names=LayerNames(output="out_proj", up=("fc1",), down="fc2"), types=0, embedding_norm=False,
        last_norm=True, pooled=False,
    ),
    "wav2vec2": replace(_SOUND, extra=sound.adapter, counts_quantizer=True),
    "hubert": _SOUND,
    "unispeech": _SOUND,
    "unispeech-sat": _SOUND,
    "wavlm": replace(_SOUND, score_bias="shared", extra=sound.gated_positions),
    "data2vec-audio": replace(_SOUND, stacked_positions=True),
}  # fmt: skip

# Positions taken off an encoder of an unknown family: none published pads more of them than RoBERTa.
PADDED_IF_UNKNOWN = _ROBERTA.padded_positions
