"""Examples of other things, mixed into the training data so that the model keeps what it knew."""

import random
from dataclasses import replace
from pathlib import Path

from modelpick.datasets.read import read_for_training
from modelpick.datasets.split import Data, asked_key
from modelpick.errors import UsageError
from modelpick.files import data_file

GENERAL = "general"  # the small set of everyday questions that ships


def with_replay(data: Data, mix: str, share: float, seed: int) -> Data:
    """The data with examples of `mix` (a file, or "general") among those to train on, drawn by `seed`.

    They make up `share` of what is trained on, or as much of it as there are. What asks a question that is held out or
    evaluated stays out. Raises UsageError for a file that cannot be trained on, code="wrong_form" for labels, and
    code="nothing_to_replay" where nothing is left.
    """
    file = data_file("datasets", "replay.jsonl") if mix == GENERAL else Path(mix)
    other = read_for_training(file)
    if "classification" in {other.form, *(example.form for example in data.train[:1])}:
        raise UsageError(
            "labels are learned without replay: a classifier gives no other answers that it could lose",
            fix="leave out --mix",
            code="wrong_form",
        )
    asked = {asked_key(example) for example in (*data.train, *data.validation, *data.held_out)}
    free = [example for example in other.examples if asked_key(example) not in asked]
    if not free:
        raise UsageError(
            f"every question of {mix} is in the data too", fix="name another file with --mix", code="nothing_to_replay"
        )
    wanted = max(1, round(share / (1 - share) * len(data.train)))
    drawn = random.Random(seed).sample(free, min(wanted, len(free)))
    sources = tuple(sorted({*data.sources, *(example.source for example in drawn if example.source)}))
    return replace(data, train=(*data.train, *drawn), replayed=len(drawn), mix_sha256=other.sha256, sources=sources)
