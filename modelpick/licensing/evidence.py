"""What a verdict was made from, as hashes: so that an approval, a lock and an archive notice when it changes. Pure.

What counts is what can change a license: the fields of the card, the files of terms, what the gate asks to accept.
Not the commit: a publisher may correct a spelling.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping

from modelpick.catalog.model import Model
from modelpick.catalog.terms import kind_of
from modelpick.licensing.outcome import Reason
from modelpick.schema import to_json

GATE = "gate"
CARD = "card"
QUESTIONS = "questions"


def text_digest(text: str) -> str:
    """SHA-256 of a text; line ends do not matter, since a checkout may change them."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode("utf-8", "surrogatepass")).hexdigest()


def texts_of(model: Model) -> dict[str, str]:
    """The hash of every text that carries terms, by file name, and of what the gate asks to accept."""
    digests = {name: text_digest(text) for name, text in sorted(model.texts.items()) if kind_of(name) is not None}
    return digests | ({GATE: text_digest(model.gate_text)} if model.gate_text else {})


def card_of(model: Model) -> dict[str, object]:
    """The fields of a card that a verdict looks at, and the files that could not be read, as JSON."""
    names = ("license", "license_name", "license_link", "base_models", "datasets", "gated")
    fields = {name: getattr(model, name) for name in names}
    lists = {"base_models": [to_json(base) for base in model.base_models], "datasets": list(model.datasets)}
    return {**fields, **lists, "unread": sorted(unread.name for unread in model.unread)}


def digest_of(value: object) -> str:
    """SHA-256 of a value as JSON; what JSON has no form for counts as its text."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def digests_of(models: Iterable[Model], reasons: Iterable[Reason]) -> dict[str, str]:
    """One hash a model, of its card's fields and its texts, and one of the places that the questions rest on."""
    digests = {model.id: digest_of([card_of(model), texts_of(model)]) for model in models}
    asked = sorted({(reason.code, reason.evidence) for reason in reasons})
    return {**digests, QUESTIONS: digest_of(asked)}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> str | None:
    """What differs between two sets of such hashes, in words; None where nothing does."""
    texts = []
    for name in sorted({*before, *after} - {QUESTIONS}):
        if name not in before:
            texts.append(f"{name} was not among its ancestors")
        elif name not in after:
            texts.append(f"{name} is not among its ancestors any more")
        elif before[name] != after[name]:
            texts.append(f"the license evidence of {name} has changed")
    if not texts and before.get(QUESTIONS) != after.get(QUESTIONS):
        texts.append("its questions rest on other evidence now")
    return "; ".join(texts) or None
