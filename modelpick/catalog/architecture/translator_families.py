"""The traits of encoder-decoders: T5 and its kin, BART and its kin, and those that hear (Whisper). Pure.

Source of every row: the modeling code of that model_type in transformers 5.23.0; tests/catalog/test_families.py counts
each on torch's device "meta".
"""

from dataclasses import dataclass, replace

from modelpick.catalog.architecture import encoder_extras as extras
from modelpick.catalog.architecture.family import Family, LayerNames
from modelpick.catalog.architecture.shape import Kind, Norm


@dataclass(frozen=True, slots=True)
class TranslatorFamily(Family):
    """Traits of an encoder-decoder of BART's kind."""

    kind: Kind = "encoder-decoder"
    norm: Norm = "layer"
    key_bias: bool = True
    last_norm: bool = False  # a norm after the last layer of both stacks
    normed_embedding: bool = True  # a norm of the embedding, in both stacks
    heard: bool = False  # the encoder reads sound, always so much of it
    two_vocabularies: bool = False  # under keys of their own
    halves_only: bool = False  # of a model of speech and text, only the halves for text are read
    positions_of: tuple[str, str] = ("max_position_embeddings", "max_position_embeddings")  # encoder's, decoder's


_T5_NAMES = LayerNames(("q", "k", "v"), "o", ("wi",), "wo")
_T5 = Family(names=_T5_NAMES, tied=True, kind="encoder-decoder", rotary=False)
_BART = TranslatorFamily(
    names=LayerNames(("q_proj", "k_proj", "v_proj"), "out_proj", ("fc1",), "fc2"), gated=False, norm_bias=True,
    qkv_bias=True, output_bias=True, mlp_bias=True, tied=True, positions=2, rotary=False,
)  # fmt: skip
_MARIAN = replace(_BART, positions=0, normed_embedding=False)
_NLLB = replace(_BART, positions=None, normed_embedding=False, last_norm=True)

TRANSLATORS: dict[str, Family] = {
    "t5": replace(_T5, counted=True),
    "mt5": replace(_T5, tied=False, counted=True),
    "umt5": replace(_T5, tied=False, bias_in_each_layer=True),
    "longt5": _T5,
    "switch_transformers": _T5,
    "bart": _BART,
    "plbart": _BART,
    "mvp": replace(_BART, extra=extras.no_prompts),
    "mbart": replace(_BART, last_norm=True),
    "led": replace(
        _BART, positions=0, extra=extras.global_attention,
        positions_of=("max_encoder_position_embeddings", "max_decoder_position_embeddings"),
    ),
    "blenderbot-small": replace(_BART, positions=0),
    "marian": _MARIAN,
    "fsmt": replace(_MARIAN, positions=2, tied=False, two_vocabularies=True),
    "pegasus": replace(_MARIAN, last_norm=True),
    "blenderbot": replace(_MARIAN, last_norm=True),
    "bigbird_pegasus": replace(_BART, positions=0, qkv_bias=False, output_bias=False, key_bias=False),
    "pegasus_x": replace(_NLLB, qkv_bias=False, output_bias=False, key_bias=False, extra=extras.global_tokens),
    "m2m_100": _NLLB,
    "nllb-moe": _NLLB,
    "seamless_m4t": replace(_NLLB, halves_only=True),
    "seamless_m4t_v2": replace(_NLLB, halves_only=True),
    "whisper": replace(
        _NLLB, positions=0, key_bias=False, heard=True, extra=extras.whisper,
        positions_of=("max_source_positions", "max_target_positions"),
    ),
    "speech_to_text": replace(_NLLB, heard=True, extra=extras.speech_to_text),
}  # fmt: skip
