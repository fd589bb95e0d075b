"""What turns sound into the hidden states that an encoder reads: convolutions over the waveform. Pure.

Read from transformers 5.23.0: modeling_wav2vec2.py, modeling_hubert.py, modeling_wavlm.py, modeling_data2vec_audio.py.
"""

from modelpick.catalog.architecture import fields
from modelpick.catalog.architecture.family import Extra
from modelpick.catalog.architecture.fields import Config, flag, integer, needed

FRAMES = "a token is a frame of sound: the convolutions make 50 of a second, so 1,500 tokens are half a minute"
_MOST_CHANNELS = 100_000


def front(config: Config, hidden: int, stacked: bool) -> int:
    """Parameters of the convolutions over the waveform, of the projection of what they give, and of the convolution
    that tells positions apart (`stacked`: of several), with its norm."""
    channels, taps = _sizes(config, "conv_dim"), _sizes(config, "conv_kernel")
    if len(channels) != len(taps):
        raise fields.bad("conv_kernel", f"{len(taps)} sizes", f"{len(channels)}, one for each of conv_dim")
    bias = flag(config, "conv_bias", False)
    inputs = [1, *channels[:-1]]
    made = sum(i * o * k + o * bias for i, o, k in zip(inputs, channels, taps, strict=True))
    every = config.get("feat_extract_norm") == "layer" or stacked
    made += 2 * sum(channels) if every else 2 * channels[0]
    last = channels[-1]
    made += 2 * last if flag(config, "feat_proj_layer_norm", True) else 0
    made += last * hidden + hidden
    masked = [config.get(key, default) for key, default in (("mask_time_prob", 0.05), ("mask_feature_prob", 0.0))]
    made += hidden if any(isinstance(share, int | float) and share > 0 for share in masked) else 0
    return made + _positions(config, hidden, stacked)


def _positions(config: Config, hidden: int, stacked: bool) -> int:
    if flag(config, "conv_pos_batch_norm", False) or flag(config, "add_adapter", False):
        raise fields.missing(fields.model_type(config), "conv_pos_batch_norm and add_adapter are not counted")
    groups = needed(config, ("num_conv_pos_embedding_groups",))
    if hidden % groups:
        raise fields.bad("num_conv_pos_embedding_groups", groups, f"a divisor of hidden_size {hidden}")
    one = hidden * (hidden // groups)
    if stacked:
        layers = needed(config, ("num_conv_pos_embeddings",))
        return layers * (one * needed(config, ("conv_pos_kernel_size",)) + hidden) + 2 * hidden
    taps = needed(config, ("num_conv_pos_embeddings",))
    return one * taps + taps + hidden + 2 * hidden  # its weight is a direction and a length for each tap


def width(config: Config) -> int:
    """Elements per frame while the first convolution's output is normed and activated: it, its norm, its activation."""
    steps = 1
    for stride in _sizes(config, "conv_stride")[1:]:
        steps *= stride
    return 3 * steps * _sizes(config, "conv_dim")[0]


def _sizes(config: Config, key: str) -> list[int]:
    sizes = config.get(key)
    if sizes is None:
        raise fields.missing(fields.model_type(config), f"config.json lacks {key}")
    if not isinstance(sizes, list | tuple) or not 0 < len(sizes) <= 32 or not all(map(_is_size, sizes)):
        raise fields.bad(key, sizes, "a list of sizes")
    return list(sizes)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_CHANNELS


def head(named: list[str], config: Config, hidden: int, vocabulary: int, *, quantizer: bool) -> tuple[int, int]:
    """Parameters of the head outside its output matrix, and that matrix."""
    if any(name.endswith("ForCTC") for name in named):
        return vocabulary, vocabulary * hidden
    if any("SequenceClassification" in name for name in named):
        narrow = needed(config, ("classifier_proj_size",))
        labels = config.get("id2label")
        classes = len(labels) if isinstance(labels, dict) and labels else integer(config, ("num_labels",)) or 2
        layers = needed(config, fields.LAYERS) + 1 if flag(config, "use_weighted_layer_sum", False) else 0
        return hidden * narrow + narrow + narrow * classes + classes + layers, 0
    if any("PreTraining" in name for name in named):
        if not quantizer:
            raise fields.missing(fields.model_type(config), "the head for its pre-training is not counted")
        return _quantizer(config, hidden), 0
    if any(name and not name.endswith("Model") for name in named):
        raise fields.missing(fields.model_type(config), f"the head of {named[0]} is not counted")
    return 0, 0


def _quantizer(config: Config, hidden: int) -> int:
    """modeling_wav2vec2.py, Wav2Vec2GumbelVectorQuantizer and its projections."""
    groups, each = needed(config, ("num_codevector_groups",)), needed(config, ("num_codevectors_per_group",))
    size, projected = needed(config, ("codevector_dim",)), needed(config, ("proj_codevector_dim",))
    last = _sizes(config, "conv_dim")[-1]
    vectors = groups * each * (size // groups)
    return vectors + (last + 1) * groups * each + (hidden + 1) * projected + (size + 1) * projected


def gated_positions(config: Config, hidden: int) -> Extra:
    """modeling_wavlm.py: gates of relative positions in each layer, and their embedding in the first."""
    heads = needed(config, fields.HEADS)
    return Extra(8 * (hidden // heads) + 8 + heads, (integer(config, ("num_buckets",)) or 320) * heads)


def adapter(config: Config, hidden: int) -> Extra:
    """modeling_wav2vec2.py, Wav2Vec2AttnAdapterLayer: a small layer for each language of MMS."""
    narrow = integer(config, ("adapter_attn_dim",))
    if not flag(config, "do_stable_layer_norm", False):
        return Extra()
    return Extra() if narrow is None else Extra(2 * hidden + 2 * hidden * narrow + narrow + hidden)
