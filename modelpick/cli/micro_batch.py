"""The micro-batch chosen for a GPU, in a table's cell."""

from collections.abc import Mapping
from typing import Any

RECOMPUTED = "batch: sequences at a time; r: activations are recomputed, else it would not fit"


def micro_batch(chosen: Mapping[str, Any]) -> str:
    """Sequences at a time, marked where activations are recomputed. `chosen` has a workload's names."""
    return f"{chosen['batch']}{'r' if chosen['gradient_checkpointing'] else ''}"
