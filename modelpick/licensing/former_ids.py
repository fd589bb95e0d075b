"""A renamed repository is judged under every id it had: what is known of one of them is of its weights. Pure.

A new name hides no family, no curated fact, no rule and no rejection. Nothing that opens something is taken over: a
contract or an approval counts for the id that it names.
"""

from collections.abc import Iterator
from dataclasses import replace

from modelpick.catalog.model import Model
from modelpick.licensing.facts import LicenseFacts


def former_ids(model: Model, facts: LicenseFacts) -> tuple[str, ...]:
    """The ids a repository had, as far as the look-up, the catalog and known_models tell."""
    ids = {id.lower(): id for id in (*model.former_ids, *facts.curations.former(model.id))}
    for id in tuple(ids.values()):
        ids |= {old.lower(): old for old in facts.curations.former(id) if old.lower() not in ids}
    return tuple(id for lower, id in ids.items() if lower != model.id.lower())


def under_every_id(model: Model, facts: LicenseFacts) -> Iterator[Model]:
    """The model, then as it was under each id it had."""
    yield model
    for id in former_ids(model, facts):
        yield replace(model, id=id, former_ids=())
