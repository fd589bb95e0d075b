"""The parents that tags and `base_model` state in another form than a plain id, as `license` reads them."""

import json

from modelpick.catalog.card import base_models
from modelpick.catalog.model import Model, Unreadable
from modelpick.hub.claims import LOCAL_PATH
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.lineage import Ancestor, ancestry


def odd_parents(text: str, facts: LicenseFacts) -> list[tuple[str, str | None]]:
    """What a whole tag, or a text of `base_model` (JSON where it has another type), names, each with its problem.

    What cannot be read is the question that a path is.
    """
    unread: list[Unreadable] = []
    if text.lower().startswith("base_model:"):
        model = Model(id="-/-", origin="catalog", tags=(text,))
    else:
        model = Model(id="-/-", origin="catalog", base_models=base_models(_value(text), None, "card", unread))
    found: list[tuple[str, str | None]] = [(one.id.lower(), one.problem) for one in parents_of(model, facts)]
    return [*found, (text, LOCAL_PATH)] if unread else found


def parents_of(model: Model, facts: LicenseFacts) -> list[Ancestor]:
    """The direct parents as `licensing.lineage` reads them, each taken for found."""
    found = ancestry(model, lambda id: Model(id=id.partition("@")[0], origin="catalog"), facts)
    return [one for one in found if one.child == model.id]


def _value(text: str) -> object:
    if text[:1] not in ("[", "{"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
