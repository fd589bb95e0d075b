"""Parameters of one family in addition to the common ones, read from transformers 5.23.0.

Each takes a config and its hidden size; rows of the families name them. Pure.
"""

from collections.abc import Callable

from modelpick.catalog.architecture import fields
from modelpick.catalog.architecture.family import Extra
from modelpick.catalog.architecture.fields import Config, flag, integer, needed


def gemma4(config: Config, hidden: int) -> Extra:
    """modeling_gemma4.py: an embedding of each token for each layer, its projection, a gate and a norm in each."""
    narrow = integer(config, ("hidden_size_per_layer_input",), smallest=0) or 0
    if not narrow:
        return Extra()
    depth = needed(config, fields.LAYERS, largest=fields.LARGEST["layers"])
    rows = integer(config, ("vocab_size_per_layer_input",), largest=fields.LARGEST["vocabulary"])
    rows = rows or needed(config, fields.VOCABULARY, largest=fields.LARGEST["vocabulary"])
    return Extra(2 * hidden * narrow + hidden, depth * narrow * hidden + narrow, rows * depth * narrow)


def gemma3n(config: Config, hidden: int) -> Extra:
    """modeling_gemma3n.py: as gemma 4; several streams of the residual, and a low-rank layer next to attention."""
    # the configuration class's defaults, where a row of the catalog lacks them
    streams, rank = integer(config, ("altup_num_inputs",)) or 4, integer(config, ("laurel_rank",)) or 64
    # a scale and a norm of the router's input; the router; corrections, and predictions of each stream by each
    streamed = 2 * hidden + streams * hidden + streams**2 + streams**3
    layer = streamed + 2 * hidden * rank + hidden
    own = gemma4({"hidden_size_per_layer_input": 256, **config}, hidden)
    return Extra(own.layer + layer, own.once + 2 * (streams - 1) * hidden**2, own.embedding)


def doge(config: Config, hidden: int) -> Extra:
    if flag(config, "is_moe", False):
        raise fields.missing(fields.model_type(config), "is_moe is set, whose experts are not read")
    heads = integer(config, fields.KV_HEADS) or needed(config, fields.HEADS)
    size = integer(config, ("head_dim",)) or hidden // needed(config, fields.HEADS)
    return Extra(2 * hidden + heads + heads * heads * size)


def diffllama(config: Config, hidden: int) -> Extra:
    return Extra(4 * (integer(config, ("head_dim",)) or hidden // needed(config, fields.HEADS)))


def modernbert_decoder(config: Config, hidden: int) -> Extra:
    """The first layer's attention has no norm of its own; a layer and a norm stand before the output matrix."""
    vocabulary = needed(config, fields.VOCABULARY, largest=fields.LARGEST["vocabulary"])
    bias = vocabulary if flag(config, "decoder_bias", True) else 0
    return Extra(once=hidden * hidden + bias)


def mllama(config: Config, hidden: int) -> Extra:
    """Rows of the embedding for the image's token."""
    return Extra(embedding=8 * hidden)


def xielu(config: Config, hidden: int) -> Extra:
    """Two numbers of an activation that is learned (modeling_apertus.py)."""
    return Extra(2)


def bitnet(config: Config, hidden: int) -> Extra:
    """The norm before the down projection is as wide as the MLP."""
    return Extra(needed(config, fields.WIDTH) - hidden)


def two_norms_unless(key: str) -> Callable[[Config, int], Extra]:
    """Of a family of four norms a layer: a config whose `key` is false has two."""
    return lambda config, hidden: Extra(0 if flag(config, key, True) else -2 * hidden)


def no_last_norm(config: Config, hidden: int) -> Extra:
    """Norms come after attention and MLP, and none at the end (modeling_openai.py)."""
    return Extra(once=-2 * hidden)


def last_bias(config: Config, hidden: int) -> Extra:
    """The last layer alone has a bias of its output (modeling_gpt_neox_japanese.py)."""
    return Extra(once=hidden)
