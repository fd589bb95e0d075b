"""Short examples of a micro-batch share rows, and none of them sees another.

A micro-batch is padded to its longest example. Here the others are put one after another into rows of that width (first
fit, the longest first): never more rows, never wider ones, so it takes at most what the memory estimate allows for, and
a step has the examples that it would have anyway. Loss and gradients are those of the padded batch.

What keeps examples apart is `position_ids` that start again, from which transformers makes a block-diagonal mask
(masking_utils.find_packed_sequence_indices, 5.23). Not every model reads them (state-space layers, ALiBi, models of
their own code), so each is tried before it is trained: `keeps_apart`. Others get batches of like lengths.

torch is imported here at the top: import this module late.
"""

from collections.abc import Sequence
from typing import Any

import torch

from modelpick.loading.tokenize import IGNORED, EncodedRow

# Of what a leak changes. Kernels round differently for other shapes, and LLM.int8 treats a column by all of a batch.
_APART = 0.01
_TRIED = 8  # tokens of each of the two examples that a model is tried on


def rows_of(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Which examples share a row of `width` tokens: first-fit decreasing (Johnson 1973), the first of equals first."""
    rows: list[list[int]] = []
    free: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda number: (-lengths[number], number)):
        place = next((place for place, room in enumerate(free) if room >= lengths[number]), None)
        if place is None:
            rows.append([])
            free.append(width)
            place = len(rows) - 1
        rows[place].append(number)
        free[place] -= lengths[number]
    return rows


class PackingCollator:
    """Makes a micro-batch of encoded examples, packed where that saves a row, else padded."""

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, features: Sequence[EncodedRow]) -> dict[str, Any]:
        """`input_ids` and `labels`, each (rows, width), with `position_ids` where packed, else `attention_mask`."""
        width = max(len(feature["input_ids"]) for feature in features)
        rows = rows_of([len(feature["input_ids"]) for feature in features], width)
        packed = len(rows) < len(features)
        if not packed:
            rows = [[number] for number in range(len(features))]
        made: dict[str, list[list[int]]] = {"input_ids": [], "labels": [], "position_ids": [], "attention_mask": []}
        for row in rows:
            ids: list[int] = []
            labels: list[int] = []
            positions: list[int] = []
            for number in row:
                own = features[number]["input_ids"]
                ids += own
                labels += [IGNORED, *features[number]["labels"][1:]]  # nothing precedes it that would predict it
                positions += range(len(own))
            rest = width - len(ids)
            made["input_ids"].append(ids + [self._pad] * rest)
            made["labels"].append(labels + [IGNORED] * rest)
            made["position_ids"].append([*positions, *range(rest)])
            made["attention_mask"].append([1] * len(ids) + [0] * rest)
        del made["attention_mask" if packed else "position_ids"]
        return {name: torch.tensor(value) for name, value in made.items()}


def keeps_apart(model: Any) -> bool:
    """Whether examples in one row do not see each other in this model: tried, since no list of families would last.

    The second of two examples must have the logits it has alone, whatever the first says. What it has where positions
    do not start again is the measure of a leak.
    """
    device = next(model.parameters()).device
    vocabulary = model.get_input_embeddings().weight.shape[0]
    one, other, second = ([(seed + 7 * place) % (vocabulary - 1) + 1 for place in range(_TRIED)] for seed in (1, 3, 5))
    alone = list(range(_TRIED))

    def logits(ids: list[int], positions: list[int]) -> Any:
        # Two rows, as a micro-batch has: flash attention of transformers 5.23 reads the positions of a single row only.
        inputs = torch.tensor([ids, ids[::-1]], device=device)
        placed = torch.tensor([positions, positions], device=device)
        return model(input_ids=inputs, position_ids=placed, use_cache=False).logits[0, -_TRIED:].float()

    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            expected = logits(second, alone)
            packed, changed = (logits([*first, *second], alone + alone) for first in (one, other))
            leaked = logits([*one, *second], list(range(2 * _TRIED)))
    except (TypeError, ValueError, RuntimeError, NotImplementedError):  # no position_ids, or none that start again
        return False
    finally:
        model.train(was_training)
    leak = float((leaked - expected).abs().max())
    apart = max(float((packed - expected).abs().max()), float((packed - changed).abs().max()))
    return leak > 0 and apart <= _APART * leak
