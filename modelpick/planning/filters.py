"""What a recommendation is asked for, and the gates that a model passes before it is placed. Pure.

Each gate says why it stops a model, or None. What it cannot know stops the model too: nothing is guessed upward.
"""

from dataclasses import dataclass, field
from typing import Literal

from modelpick.catalog.model import Model
from modelpick.errors import CannotTellError
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.verdict import Judgement
from modelpick.memory.estimate import architecture_of
from modelpick.offers.instance import Families
from modelpick.planning.rejection import Cause
from modelpick.workload import Workload

SortKey = Literal["quality", "cost", "memory", "downloads"]
SORT_KEYS: tuple[SortKey, ...] = ("quality", "cost", "memory", "downloads")


@dataclass(frozen=True, slots=True)
class Filters:
    """What the user asked for besides the workload. Parameters are counts, prices USD per hour."""

    strict: bool = False  # only `allow`, not `conditions`
    languages: tuple[str, ...] = ()
    min_parameters: int | None = None
    max_parameters: int | None = None
    families: Families = field(default_factory=lambda: Families(gpu_class="G"))
    instance: str | None = None
    max_usd_per_hour: float | None = None
    sort: SortKey = "quality"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A model left out: a stable code and one sentence; `cause` is that of the search, where that left it out."""

    model: str
    code: str
    reason: str
    cause: Cause | None = None


def not_asked_for(model: Model, filters: Filters) -> LeftOut | None:
    """Why a model is not one that the user asked for, by languages and size."""
    if filters.languages:
        if not model.languages:
            return LeftOut(model.id, "languages_unknown", _languages_unknown(model))
        missing = [language for language in filters.languages if language not in model.languages]
        if missing:
            return LeftOut(model.id, "language", f"its card does not name {', '.join(missing)}")
    low, high = filters.min_parameters, filters.max_parameters
    if low is None and high is None:
        return None
    if model.parameters is None:
        return LeftOut(model.id, "parameters_unknown", "its number of parameters is unknown")
    billions = f"{model.parameters / 1e9:.2f} B parameters"
    if low is not None and model.parameters < low:
        return LeftOut(model.id, "too_small", billions)
    if high is not None and model.parameters > high:
        return LeftOut(model.id, "too_large", billions)
    return None


def _languages_unknown(model: Model) -> str:
    why = "its card names no languages" if model.card_read else "its card was not read, so its languages are not known"
    others = ", ".join(model.languages_elsewhere[:8])
    return f"{why}; others name {others}" if others else why


def _encodes_or_hears(model: Model) -> bool:
    """Whether its config.json describes an encoder, or one that hears (Whisper), whatever its page says."""
    try:
        shape = architecture_of(model) if model.config is not None else None
    except CannotTellError:
        return False
    return shape is not None and (shape.kind == "encoder" or shape.heard is not None)


def of_another_kind(model: Model, workload: Workload) -> LeftOut | None:
    """What writes no text answers nobody; and a quantized copy is its original again, which has the score."""
    for capability, what in (("embedding", "turns text into vectors"), ("rerank", "ranks passages")):
        if capability in model.capabilities:
            return LeftOut(model.id, "not_generative", f"it {what}; it does not generate text")
    if workload.task == "serve" and not model.generates:
        return LeftOut(model.id, "not_generative", "it fills masks and classifies; it does not generate text")
    if workload.task == "serve" and _encodes_or_hears(model):
        return LeftOut(model.id, "not_generative", "it encodes, or writes down what it hears; it answers no text")
    if model.quantization is not None:
        return LeftOut(model.id, "quantized_copy", f"a quantized copy of {model.original}, which is ranked itself")
    return None


def not_licensed(judgement: Judgement, filters: Filters) -> LeftOut | None:
    """Why its verdict leaves a model out: deny and review always, conditions where only `allow` is wanted."""
    if judgement.verdict is Verdict.DENY or judgement.verdict is Verdict.REVIEW:
        return LeftOut(judgement.model, f"license_{judgement.verdict.value}", _because(judgement))
    if judgement.verdict is Verdict.CONDITIONS and filters.strict:
        return LeftOut(judgement.model, "license_conditions", _because(judgement))
    return None


def _because(judgement: Judgement) -> str:
    decisive = [reason.text for reason in judgement.reasons]
    return decisive[0] if decisive else f"license verdict: {judgement.verdict.value}"
