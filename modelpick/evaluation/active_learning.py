"""`modelpick data next`: read a pool, ask the current model how sure it is, pick."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelpick.datasets import read
from modelpick.datasets.curate import fresh, pick_next, spread_out
from modelpick.datasets.duplicates import OnProgress
from modelpick.datasets.examples import Example
from modelpick.errors import UsageError
from modelpick.extras import require, require_train
from modelpick.loading import adapters, environment, load
from modelpick.loading.environment import silence_libraries
from modelpick.loading.load import Loaded
from modelpick.loading.tokenize import prompt_text


@dataclass(frozen=True, slots=True)
class Picked:
    """What to label next, the model's uncertainty of each, and how many were considered."""

    rows: tuple[tuple[Example, float], ...]
    pool: int
    fresh: int  # of the pool: new questions, each once
    asked: int  # of the fresh: those that the model was asked about

    def as_json(self) -> dict[str, object]:
        """The report of `data next --json`."""
        rows = [{"line": example.line, "uncertainty": round(unsure, 4)} for example, unsure in self.rows]
        return {"picked": rows, "pool": self.pool, "fresh": self.fresh, "asked": self.asked}


def next_to_label(
    pool: Path,
    model: str,
    wanted: int,
    *,
    adapter: str | None = None,
    seen: Path | None = None,
    ask: int = 2000,
    columns: Mapping[str, str] | None = None,
    on_progress: OnProgress | None = None,
) -> Picked:
    """The `wanted` members of an unlabelled pool to label next.

    The model is asked about at most `ask` of them (at least `wanted`), spread out over the pool: asking takes
    the time. Raises UsageError for a pool with bad lines or nothing new, or for a model that cannot be loaded.
    """
    require_train()
    require("data", "sklearn")

    data = read.read(pool, labelled=False, columns=columns, on_progress=on_progress)
    if data.errors:
        first = data.errors[0]
        raise UsageError(f"{pool}, line {first.line}: {first.text}", fix="fix or delete that line", code="bad_data")
    known = read.read(seen, labelled=False, columns=columns, on_progress=on_progress).wholes if seen else ()
    new = fresh(data.wholes, known)
    if not new:
        raise UsageError(
            f"everything in {pool} has already been asked", fix="give a pool with new questions", code="nothing_new"
        )
    shortlist = spread_out(new, known, max(ask, wanted), on_progress)
    with silence_libraries():
        options = load.LoadOptions()
        loaded = adapters.load_adapter(model, Path(adapter), options) if adapter else load.load(model, options)
        environment.place(loaded.model)
        unsure = uncertainties(loaded, shortlist, on_progress=on_progress)
    rows = pick_next(shortlist, known, unsure, wanted, on_progress)
    return Picked(tuple(rows), len(data.wholes), len(new), len(shortlist))


_ANSWER_TOKENS = 16  # the opening of an answer shows whether the model knows where it is going


def uncertainties(
    loaded: Loaded, pool: Sequence[Example], batch: int = 8, on_progress: OnProgress | None = None
) -> list[float]:
    """Between 0 (sure) and 1 for each example, in order.

    Encoders: the entropy of the class distribution over its maximum (Shannon). Others: one minus the geometric mean
    probability of the tokens of the model's own greedy answer (least confidence, Lewis & Gale 1994, by length).
    """
    import torch

    model: Any = loaded.model
    tokenizer: Any = loaded.tokenizer
    was_training, side = model.training, tokenizer.padding_side
    model.eval()
    tokenizer.padding_side = "left" if loaded.kind == "decoder" else "right"
    prompts = [prompt_text(example, tokenizer, loaded.kind) for example in pool]
    found = [0.0] * len(prompts)
    by_length = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))  # so that little is padded
    try:
        with torch.inference_mode():
            for start in range(0, len(prompts), batch):
                if on_progress:
                    on_progress("asking the model", start, len(prompts))
                numbers = by_length[start : start + batch]
                inputs = tokenizer(
                    [prompts[number] for number in numbers],
                    return_tensors="pt",
                    padding=True,
                    truncation=True,
                    max_length=1024,
                )
                inputs.pop("token_type_ids", None)
                inputs = inputs.to(next(model.parameters()).device)
                unsure = (
                    _entropies(model, inputs) if loaded.kind == "encoder" else _hesitations(model, tokenizer, inputs)
                )
                for number, value in zip(numbers, unsure, strict=True):
                    found[number] = value
    finally:
        model.train(was_training)
        tokenizer.padding_side = side
    return found


def _entropies(model: Any, inputs: Any) -> list[float]:
    shares = model(**inputs).logits.float().softmax(-1)
    entropies = -(shares * shares.clamp(min=1e-12).log()).sum(-1) / math.log(shares.shape[-1])
    return [float(value) for value in entropies]


def _hesitations(model: Any, tokenizer: Any, inputs: Any) -> list[float]:
    made = model.generate(
        **inputs, max_new_tokens=_ANSWER_TOKENS, do_sample=False, temperature=None, top_p=None, top_k=None,
        pad_token_id=tokenizer.pad_token_id, output_scores=True, return_dict_in_generate=True,
    )  # fmt: skip
    scores = model.compute_transition_scores(made.sequences, made.scores, normalize_logits=True)
    tokens = made.sequences[:, -scores.shape[1] :]
    # After its end an answer is padded; a pad token that is also the end token counts once.
    ended = (tokens == tokenizer.eos_token_id).cumsum(-1)
    counted = (ended - (tokens == tokenizer.eos_token_id).long()) == 0
    means = (scores * counted).sum(-1) / counted.sum(-1).clamp(min=1)
    return [1 - math.exp(float(mean)) for mean in means]
