"""What a config.json says of single layers: widths, heads, whose keys they read. Pure."""

from collections.abc import Mapping

from modelpick.catalog.architecture import fields
from modelpick.catalog.architecture.fields import Config, integer

Own = tuple[tuple[str, object], ...]  # keys and values that replace the config's own, in order of the keys
SHARES_KEYS = "_shares_keys"  # set for a layer that reads the keys and values of an earlier one
# Keys that may hold a list with a value for each layer, and the key that each stands for.
_LISTS = {
    "intermediate_size": "intermediate_size",  # gemma 3n
    "num_attention_heads_per_layer": "num_attention_heads",
    "num_key_value_heads": "num_key_value_heads",
}


def of_layers(config: Config, depth: int) -> list[Own]:
    """For each layer what is its own: of lists with a value for each, of `per_layer_config` (as transformers 5 saves
    it), and of `num_kv_shared_layers`, the last so many, which read an earlier layer's keys and values.

    Raises CannotTellError (bad_config) for a list of another length.
    """
    own: list[dict[str, object]] = [{} for _ in range(depth)]
    for key, meant in _LISTS.items():
        values = config.get(key)
        if isinstance(values, list | tuple):
            if len(values) != depth:
                raise fields.bad(key, f"{len(values)} entries", f"{depth}, one per layer")
            for layer, value in zip(own, values, strict=True):
                layer[meant] = value
    stated = config.get("per_layer_config")
    if stated is not None:
        if not isinstance(stated, Mapping):
            raise fields.bad("per_layer_config", stated, "a table of layers")
        for name, values in stated.items():
            if not str(name).isdecimal() or int(name) >= depth or not isinstance(values, Mapping):
                raise fields.bad("per_layer_config", name, f"a layer below {depth}")
            own[int(name)] |= {str(key): value for key, value in values.items()}
    shared = integer(config, ("num_kv_shared_layers",), smallest=0) or 0
    for layer in own[max(depth - shared, 0) :]:
        layer[SHARES_KEYS] = True
    return [_ordered(layer) for layer in own]


def _ordered(own: dict[str, object]) -> Own:
    for key, value in own.items():
        if not isinstance(value, int | float | str | None):
            raise fields.bad(key, value, "a number")
    return tuple(sorted(own.items()))
