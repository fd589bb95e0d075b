"""How unsure a model is of its answer to each member of an unlabelled pool."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelpick.datasets.examples import Example
from modelpick.datasets.similarity import Tell

if TYPE_CHECKING:
    from modelpick.loading.load import Loaded

_ANSWER_TOKENS = 16  # the opening of an answer shows whether the model knows where it is going


def uncertainties(loaded: "Loaded", pool: Sequence[Example], batch: int = 8, tell: Tell | None = None) -> list[float]:
    """Between 0 (sure) and 1 for each example, in order.

    Encoders: the entropy of the class distribution over its maximum (Shannon). Others: one minus the geometric mean
    probability of the tokens of the model's own greedy answer (least confidence, Lewis & Gale 1994, by length).
    """
    import torch

    from modelpick.loading.tokenize import prompt_text

    model: Any = loaded.model
    tokenizer: Any = loaded.tokenizer
    was_training, side = model.training, tokenizer.padding_side
    model.eval()
    tokenizer.padding_side = "left" if loaded.kind == "causal" else "right"
    prompts = [prompt_text(example, tokenizer, loaded.kind) for example in pool]
    found = [0.0] * len(prompts)
    by_length = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))  # so that little is padded
    try:
        with torch.inference_mode():
            for start in range(0, len(prompts), batch):
                if tell:
                    tell("asking the model", start, len(prompts))
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
