"""Parameters of one family of encoders in addition to the common ones, read from transformers 5.23.0. Pure.

Each takes a config and its hidden size; rows of encoder_families.py name them.
"""

from modelpick.catalog.architecture import fields
from modelpick.catalog.architecture.family import Extra
from modelpick.catalog.architecture.fields import Config, flag, integer, needed


def deberta(config: Config, hidden: int) -> Extra:
    """Relative positions (modeling_deberta.py): an embedding, a key and a query of each layer."""
    if not flag(config, "relative_attention", False):
        return Extra(-hidden)  # keys have no bias: q_bias and v_bias stand for a fused one of three
    kinds = _position_kinds(config)
    layer = -hidden + ("c2p" in kinds) * hidden * hidden + ("p2c" in kinds) * (hidden * hidden + hidden)
    if flag(config, "talking_head", False):
        layer += 2 * needed(config, fields.HEADS) ** 2
    return Extra(layer, 2 * _distances(config) * hidden)


def deberta_v2(config: Config, hidden: int) -> Extra:
    """modeling_deberta_v2.py: an embedding of buckets of distances, a norm of it, a convolution."""
    layer = once = 0
    if flag(config, "relative_attention", False):
        buckets = config.get("position_buckets")
        bucketed = isinstance(buckets, int) and not isinstance(buckets, bool) and buckets > 0
        once = 2 * (needed(config, ("position_buckets",)) if bucketed else _distances(config)) * hidden
        if not flag(config, "share_att_key", False):
            kinds = _position_kinds(config)
            layer = (("c2p" in kinds) + ("p2c" in kinds)) * (hidden * hidden + hidden)
    if "layer_norm" in str(config.get("norm_rel_ebd") or "none").lower():
        once += 2 * hidden
    kernel = integer(config, ("conv_kernel_size",), smallest=0) or 0
    if kernel:
        once += hidden * (hidden // (integer(config, ("conv_groups",)) or 1)) * kernel + 3 * hidden
    return Extra(layer, once)


def _position_kinds(config: Config) -> list[str]:
    kinds = config.get("pos_att_type")
    if isinstance(kinds, str):
        return [kind.strip() for kind in kinds.lower().split("|")]
    return fields.names(config, "pos_att_type") or []


def _distances(config: Config) -> int:
    stated = integer(config, ("max_relative_positions",), smallest=-1) or -1
    return needed(config, fields.CONTEXT) if stated < 1 else stated


def convbert(config: Config, hidden: int) -> Extra:
    """modeling_convbert.py: a separable convolution over the keys, its kernel made of each query, a layer for values;
    grouped MLPs are not read."""
    if (integer(config, ("num_groups",)) or 1) != 1:
        raise fields.missing(fields.model_type(config), "num_groups above 1 makes its MLP one of groups")
    heads = max(needed(config, fields.HEADS) // (integer(config, ("head_ratio",)) or 1), 1)
    taps, inner = needed(config, ("conv_kernel_size",)), hidden // heads // 2 * heads
    separable = hidden * taps + hidden * inner + inner
    return Extra(separable + inner * heads * taps + heads * taps + hidden * inner + inner)


def xmod(config: Config, hidden: int) -> Extra:
    """modeling_xmod.py: an adapter of each language in each layer, and a norm of it."""
    narrow = hidden // needed(config, ("adapter_reduction_factor",))
    spoken = len(fields.names(config, "languages") or ["en_XX"])
    norm = 2 * hidden if flag(config, "adapter_layer_norm", False) else 0
    last = 2 * hidden if flag(config, "pre_norm", False) else 0
    return Extra(spoken * (2 * hidden * narrow + hidden + narrow) + norm, last)


def roformer(config: Config, hidden: int) -> Extra:
    """modeling_roformer.py: a table of rotations, which are a parameter that is not trained."""
    return Extra(0, needed(config, fields.CONTEXT) * (hidden // needed(config, fields.HEADS)))


def global_attention(config: Config, hidden: int) -> Extra:
    """Queries, keys and values of their own for tokens that see all (modeling_longformer.py, modeling_led.py)."""
    return Extra(3 * (hidden * hidden + hidden))


def no_first_norm(config: Config, hidden: int) -> Extra:
    """modeling_modernbert.py: the first layer's attention reads the embedding's norm, and has none of its own."""
    return Extra(0, -hidden * (1 + flag(config, "norm_bias", False)))


def buckets(config: Config, hidden: int) -> Extra:
    """modeling_mpnet.py: a bias of each head for each bucket of distances."""
    return Extra(0, (integer(config, ("relative_attention_num_buckets",)) or 32) * needed(config, fields.HEADS))


def nystromformer(config: Config, hidden: int) -> Extra:
    """A convolution of the values of each head."""
    return Extra((integer(config, ("conv_kernel_size",), smallest=0) or 0) * needed(config, fields.HEADS))


def layoutlm(config: Config, hidden: int) -> Extra:
    """Embeddings of the four sides of a word's box."""
    return Extra(0, 4 * (integer(config, ("max_2d_position_embeddings",)) or 1024) * hidden)


def ernie(config: Config, hidden: int) -> Extra:
    """Embeddings of tasks, where they are used."""
    tasks = integer(config, ("task_type_vocab_size",)) or 3
    return Extra(0, tasks * hidden if flag(config, "use_task_id", False) else 0)


def whisper(config: Config, hidden: int) -> Extra:
    """modeling_whisper.py: two convolutions over the spectrum."""
    if "classification" in str(config.get("architectures") or "").lower():
        raise fields.missing(fields.model_type(config), "its classifier is not counted")
    return Extra(0, 3 * hidden * needed(config, ("num_mel_bins",)) + 3 * hidden * hidden + 2 * hidden)


def speech_to_text(config: Config, hidden: int) -> Extra:
    """modeling_speech_to_text.py, Conv1dSubsampler: gated convolutions, each of half its channels."""
    taps = config.get("conv_kernel_sizes")
    if not isinstance(taps, list | tuple) or not taps or not all(type(tap) is int and 0 < tap < 1000 for tap in taps):
        raise fields.bad("conv_kernel_sizes", taps, "a list of sizes")
    features = needed(config, ("input_feat_per_channel",)) * (integer(config, ("input_channels",)) or 1)
    channels = needed(config, ("conv_channels",))
    made = 0
    for layer, tap in enumerate(taps):
        inputs = features if layer == 0 else channels // 2
        outputs = channels if layer < len(taps) - 1 else 2 * hidden
        made += inputs * outputs * tap + outputs
    return Extra(0, made)


def global_tokens(config: Config, hidden: int) -> Extra:
    """modeling_pegasus_x.py: global tokens, and a norm of them in each layer."""
    return Extra(2 * hidden, (integer(config, ("num_global_tokens",)) or 32) * hidden)


def no_prompts(config: Config, hidden: int) -> Extra:
    """Refuses prompts, which are not counted (modeling_mvp.py)."""
    if flag(config, "use_prompt", False):
        raise fields.missing(fields.model_type(config), "use_prompt is set, whose prompts are not counted")
    return Extra()
