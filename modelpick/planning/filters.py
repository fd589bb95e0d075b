"""What a recommendation is asked for, and the gates that a model passes before it is placed. Pure.

Each gate says why it stops a model, or None. What it cannot know stops the model too: nothing is guessed upward. What
nobody states is not a "no": the sentence says "not stated".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from modelpick.catalog.architecture import may_encode_or_hear
from modelpick.catalog.languages import code_of, codes_of
from modelpick.catalog.model import Capability, Model
from modelpick.catalog.size import named_parameters, said_parameters
from modelpick.errors import CannotTellError, UsageError, nearest
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.verdict import Judgement
from modelpick.memory.estimate import architecture_of
from modelpick.offers.instance import Families
from modelpick.offers.price import BillingRates, Offer
from modelpick.planning.cost import HOURS_PER_MONTH, disk_gb
from modelpick.planning.load import LoadLimits
from modelpick.planning.rejection import Cause
from modelpick.workload import Workload

SortKey = Literal["quality", "cost", "value", "speed", "memory", "downloads"]
SORT_KEYS: tuple[SortKey, ...] = get_args(SortKey)
USE_CASES: tuple[Capability, ...] = get_args(Capability)
GPU_COUNTS = (1, 2, 4, 8)
"""GPUs of one machine that are tried where any number will do: what clouds rent."""
_NOTHING_USD = 1e-9  # an hour: no machine costs so little
FINDERS: tuple[Capability, ...] = ("embedding", "rerank")
"""Use cases of search: such a model writes no text, and is ranked among its like."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What the user asked for besides the workload. Parameters are counts, prices US dollars, `min_score` points.

    `use_case` None: whatever answers in text. `publishers` are organisations on the Hub. A model's size is what its
    name says (catalog.size). `limits`: how a server must answer each request under the whole load.
    """

    use_case: Capability | None = None
    strict: bool = False  # only `allow`, not `conditions`
    languages: tuple[str, ...] = ()
    publishers: tuple[str, ...] = ()
    min_parameters: int | None = None
    max_parameters: int | None = None
    min_score: float | None = None
    families: Families = field(default_factory=lambda: Families(gpu_class="G"))
    instances: tuple[str, ...] = ()
    any_gpus: bool = False  # any number of GPUs of one machine, in place of the workload's
    own: Offer | None = None  # a card of one's own, in place of all that is rented (offers.own)
    max_usd_per_hour: float | None = None
    max_usd_per_month: float | None = None
    limits: LoadLimits = field(default_factory=LoadLimits)
    sort: SortKey = "quality"

    def most_per_hour(self, rates: BillingRates) -> float | None:
        """The most dollars an hour that both budgets leave for an instance that is always on."""
        by_month = None
        if self.max_usd_per_month is not None:
            fixed = disk_gb(0.0) * rates.gp3_usd_per_gb_month + HOURS_PER_MONTH * rates.public_ipv4_usd_per_hour
            by_month = max((self.max_usd_per_month - fixed) / HOURS_PER_MONTH, _NOTHING_USD)
        return min((most for most in (self.max_usd_per_hour, by_month) if most is not None), default=None)

    def offered(self, offers: Iterable[Offer], gpus: int) -> list[Offer]:
        """The offers that are left: one's own card, the named types, or those of the families with exactly the GPUs
        asked for."""
        if self.own is not None:
            return [self.own] if gpus <= self.own.instance.gpu_count else []
        if self.instances:
            return [offer for offer in offers if offer.instance.name in self.instances]
        return [
            offer for offer in offers if self.families.admit(offer.instance) and offer.instance.gpu_count == gpus
        ]  # fmt: skip


def check_publishers(asked: Iterable[str], ids: Iterable[str]) -> None:
    """Raises UsageError for an organisation that has none of the models `ids`, with the nearest that has."""
    known: dict[str, str] = {}
    for id in ids if asked else ():
        publisher = id.partition("/")[0]
        known.setdefault(publisher.lower(), publisher)
    for one in asked:
        if one.lower() not in known:
            fix = nearest(one, known.values()) or "give an organisation on the Hub, such as mistralai"
            raise UsageError(f"the catalog has no model of {one!r}", fix=fix, code="unknown_publisher")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A model left out: a stable code and one sentence; `cause` is that of the search, where that left it out."""

    model: str
    code: str
    reason: str
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Relaxation:
    """A filter as it is typed, how many models pass without it alone, and the nearest change that lets one pass."""

    filter: str
    passes: int
    nearest: str | None

    def as_json(self) -> dict[str, object]:
        """One element of `emptied_by` in `recommend --json`."""
        return {"filter": self.filter, "passes_without": self.passes, "nearest": self.nearest}


def not_asked_for(model: Model, filters: Filters) -> LeftOut | None:
    """Why a model is not one that the user asked for: by publisher, languages, size and score."""
    return _of_another_publisher(model, filters) or _language(model, filters) or _size(model, filters) or _score(
        model, filters
    )  # fmt: skip


def _of_another_publisher(model: Model, filters: Filters) -> LeftOut | None:
    publisher = model.id.partition("/")[0]
    if not filters.publishers or publisher.lower() in {one.lower() for one in filters.publishers}:
        return None
    return LeftOut(model.id, "publisher", f"it is published by {publisher}")


def _language(model: Model, filters: Filters) -> LeftOut | None:
    if not filters.languages:
        return None
    by = languages_named(model, filters.languages)
    missing = [language for language in filters.languages if language not in by]
    if not missing:
        return None
    if not model.languages:
        return LeftOut(model.id, "languages_unknown", _languages_unknown(model))
    return LeftOut(model.id, "language", f"its card does not name {', '.join(missing)}")


def languages_named(model: Model, asked: Sequence[str]) -> Mapping[str, Literal["card", "others"]]:
    """Who names each of the languages asked for: the card, else others. What nobody names is absent."""
    card, others = codes_of(model.languages), codes_of(model.languages_elsewhere)
    found: dict[str, Literal["card", "others"]] = {}
    for language in asked:
        code = code_of(language) or language
        if code in card or language in model.languages:
            found[language] = "card"
        elif code in others:
            found[language] = "others"
    return found


def _languages_unknown(model: Model) -> str:
    why = "its card names no languages" if model.card_read else "its card was not read, so its languages are not known"
    others = ", ".join(model.languages_elsewhere[:8])
    return f"{why}; others name {others}" if others else why


def _size(model: Model, filters: Filters) -> LeftOut | None:
    low, high = filters.min_parameters, filters.max_parameters
    if low is None and high is None:
        return None
    size = said_parameters(model)
    if size is None:
        return LeftOut(model.id, "parameters_unknown", "its number of parameters is unknown")
    named = named_parameters(model)
    billions = f"{size / 1e9:g} B by its name" if named is not None else f"{(model.parameters or 0) / 1e9:.2f} B"
    if low is not None and size < low:
        return LeftOut(model.id, "too_small", f"{billions} parameters")
    if high is not None and size > high:
        return LeftOut(model.id, "too_large", f"{billions} parameters")
    return None


def _score(model: Model, filters: Filters) -> LeftOut | None:
    if filters.min_score is None:
        return None
    if model.quality is None:
        return LeftOut(model.id, "score_unknown", "no board and no maker scores it")
    if model.quality.score < filters.min_score:
        return LeftOut(model.id, "score_too_low", f"its score is {model.quality.score:.0f}")
    return None


# What a model does whose capabilities name the use case, as the end of "not stated whether it ...".
_DOES: Mapping[Capability, str] = {
    "chat": "is tuned to chat", "code": "is trained for code", "reasoning": "writes its reasoning",
    "tools": "calls tools", "vision": "reads images", "embedding": "turns text into vectors",
    "rerank": "ranks passages", "base": "is a base model",
}  # fmt: skip


def of_another_kind(model: Model, workload: Workload, use_case: Capability | None = None) -> LeftOut | None:
    """Why a model is of another kind than was asked for; a quantized copy is its original again, which has the score.

    What writes no text answers nobody. Base models are asked about later (base_model), after the license.
    """
    if use_case in FINDERS:
        return _no_finder(model, use_case) or _quantized(model)
    for capability in FINDERS:
        if capability in model.capabilities:
            return LeftOut(model.id, "not_generative", f"it {_DOES[capability]}; it does not generate text")
    if workload.task == "serve" and not model.generates:
        return LeftOut(model.id, "not_generative", "it fills masks and classifies; it does not generate text")
    if workload.task == "serve" and _encodes_or_hears(model):
        return LeftOut(model.id, "not_generative", "it encodes, or writes down what it hears; it answers no text")
    return _quantized(model) or _not_of_use(model, use_case)


def _no_finder(model: Model, use_case: Capability) -> LeftOut | None:
    if use_case in model.capabilities:
        return None
    other = next((one for one in FINDERS if one in model.capabilities), None)
    if other is not None:
        return LeftOut(model.id, "other_use", f"it {_DOES[other]}")
    return LeftOut(
        model.id, "other_use" if model.capabilities else "use_unknown", f"not stated whether it {_DOES[use_case]}"
    )


def _not_of_use(model: Model, use_case: Capability | None) -> LeftOut | None:
    base = "base" in model.capabilities
    if use_case == "base":
        if base:
            return None
        tuned = "chat" in model.capabilities
        reason = "it is tuned to chat" if tuned else f"not stated whether it {_DOES[use_case]}"
        return LeftOut(model.id, "other_use" if tuned else "use_unknown", reason)
    if use_case is None or use_case in model.capabilities or base:
        return None
    return LeftOut(model.id, "use_unknown", f"not stated whether it {_DOES[use_case]}")


def base_model(model: Model, workload: Workload, use_case: Capability | None = None) -> LeftOut | None:
    """A base model follows no instructions: it is ranked where base models are asked for (`--for base`), and to
    fine-tune where no use case is named. That its license denies it is the better reason, and asked first."""
    wanted = use_case == "base" or (use_case is None and workload.task == "finetune")
    if wanted or "base" not in model.capabilities:
        return None
    return LeftOut(model.id, "base_model", "a base model: it continues text and follows no instructions")


def _quantized(model: Model) -> LeftOut | None:
    if model.quantization is None:
        return None
    return LeftOut(model.id, "quantized_copy", f"a quantized copy of {model.original}, which is ranked itself")


def _encodes_or_hears(model: Model) -> bool:
    """Whether its config.json describes an encoder, or one that hears (Whisper), whatever its page says."""
    try:
        if model.config is None or (model.gguf is None and not may_encode_or_hear(model.config)):
            return False  # without reading it whole
        shape = architecture_of(model)
    except CannotTellError:
        return False
    return shape.kind == "encoder" or shape.heard is not None


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
