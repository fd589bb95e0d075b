"""The vision tower that a config.json describes: its parameters, and the tokens that an image becomes. Pure.

A transformer over patches and a projection into the text's width: of 14 families in transformers 5.23, counted on
torch's device "meta", the parameters that follow are within 5 % (tests/catalog/test_towers.py).
"""

from collections.abc import Mapping, Sequence

from modelpick.catalog.architecture.fields import Config, integer
from modelpick.catalog.architecture.shape import Tower

_KEYS = ("vision_config", "vision_tower_config", "vit_config")
_TOLD = (
    "mm_tokens_per_image", "vision_soft_tokens_per_image", "image_seq_length", "num_image_tokens", "image_seq_len",
)  # fmt: skip
# Qwen2-VL's processor scales an image down to 12,845,056 pixels, which are 16,384 pieces of 28 x 28 (transformers
# image_processing_qwen2_vl.py); those of Qwen3-VL and GLM-4V come to no more.
_MOST_TOKENS = 16_384


def tower(config: Config, text_hidden: int) -> Tower | None:
    """The vision tower, or None where the config describes none. `text_hidden`: the width it projects into."""
    vision = next((part for key in _KEYS if isinstance(part := config.get(key), Mapping)), None)
    if vision is None:
        return None
    embedded = integer(vision, ("embed_dim",))
    hidden = embedded or integer(vision, ("hidden_size", "width"))
    depth = integer(vision, ("depth", "num_hidden_layers", "layers"), largest=10_000)
    if hidden is None or depth is None:
        return None
    depth += integer(vision, ("num_global_layers",), smallest=0) or 0
    out = integer(vision, ("out_hidden_size",)) or (integer(vision, ("hidden_size",)) if embedded else None)
    inner = integer(vision, ("intermediate_size",)) or int(4 * hidden)
    if vision.get("model_type") == "glm4v_vision" and out:  # its blocks are as wide as what it gives
        inner = out
    gated = vision.get("hidden_act") == "silu" or vision.get("model_type") == "pixtral"
    block = 4 * hidden**2 + (3 if gated else 2) * hidden * inner + 9 * hidden + inner
    patch = _side(vision, "patch_size") or 14
    pieces = 3 * patch**2 * (integer(vision, ("temporal_patch_size",)) or 1) * hidden
    image = _side(vision, "image_size")
    places = integer(vision, ("num_position_embeddings",)) or ((image // patch) ** 2 if image else 0)
    if vision.get("model_type") == "pixtral":  # rotary
        places = 0
    head = 4 * hidden**2 + 2 * hidden * inner if vision.get("vision_use_head") is True else 0
    merge = _merge(config, vision)
    parameters = depth * block + pieces + places * hidden + head
    parameters += _projector(config, vision, hidden, text_hidden, out, merge)
    return Tower(parameters, _image_tokens(config, vision, image, patch, merge), merge**2, hidden, inner, gated)


def _side(vision: Config, key: str) -> int | None:
    value = vision.get(key)
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        value = value[0]
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 100_000 else None


def _merge(config: Config, vision: Config) -> int:
    """Patches along a side that become one token."""
    for where, key in ((vision, "spatial_merge_size"), (config, "spatial_merge_size"), (config, "scale_factor")):
        size = where.get(key)
        if isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= 16:
            return size
    ratio = config.get("downsample_ratio")
    if isinstance(ratio, float) and 1 / 16 <= ratio < 1:
        return round(1 / ratio)
    return 1


def _projector(config: Config, vision: Config, hidden: int, text: int, out: int | None, merge: int) -> int:
    wide = hidden * merge**2
    if out is not None:  # Qwen's merger, once more for each level of its deep stack
        levels = vision.get("deepstack_visual_indexes")
        count = 1 + (len(levels) if isinstance(levels, Sequence) else 0)
        return count * (wide**2 + wide * out)
    if config.get("spatial_merge_size"):  # mistral3 merges patches first
        return wide * hidden + hidden * text + text**2
    return wide * text + (text**2 if config.get("projector_hidden_act") else 0)


def _image_tokens(config: Config, vision: Config, image: int | None, patch: int, merge: int) -> int:
    """The most tokens of one image: stated, or of its grid; with all tiles where an image is cut into tiles."""
    each = next((value for key in _TOLD if (value := integer(config, (key,))) is not None), None)
    each = each or integer(vision, ("default_output_length",))
    if each is None and (image is None or vision.get("temporal_patch_size") is not None):
        return _MOST_TOKENS
    if each is None:
        assert image is not None
        each = max((image // patch // merge) ** 2, 1)
    tiles = integer(config, ("max_dynamic_patch", "max_num_tiles"), smallest=0)
    grids = config.get("image_grid_pinpoints")
    if isinstance(grids, Sequence) and image:
        tiles = max((w // image * (h // image) for w, h in _pairs(grids)), default=0)
    return each * (1 + (tiles or 0))


def _pairs(grids: Sequence[object]) -> list[tuple[int, int]]:
    listed = [tuple(grid) for grid in grids if isinstance(grid, Sequence) and len(grid) == 2]
    return [(w, h) for w, h in listed if isinstance(w, int) and isinstance(h, int)]
