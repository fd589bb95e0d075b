"""config.json -> Architecture: what memory, cost and speed need to know of a model's shape. Pure.

`read(config)` is the one reader for catalog rows, Hub repositories and local folders.
"""

from modelpick.catalog.architecture.read import longest_of, may_encode_or_hear, read, read_as_decoder
from modelpick.catalog.architecture.shape import (
    UNLIMITED,
    Architecture,
    Attention,
    Checkpoint,
    Experts,
    FeedForward,
    Kind,
    LayerGroup,
    Mixer,
    Projection,
    Stored,
    Tower,
)

__all__ = [
    "UNLIMITED",
    "Architecture",
    "Attention",
    "Checkpoint",
    "Experts",
    "FeedForward",
    "Kind",
    "LayerGroup",
    "Mixer",
    "Projection",
    "Stored",
    "Tower",
    "longest_of",
    "may_encode_or_hear",
    "read",
    "read_as_decoder",
]
