"""Holds the terms of the data sets that a model was trained on against it. Pure."""

from collections.abc import Iterable, Iterator, Sequence

from modelpick.catalog.card import hub_id
from modelpick.catalog.model import Model
from modelpick.catalog.parents import data_in_files
from modelpick.licensing.conditions import Assessment
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.outcome import Reason, join
from modelpick.licensing.overrides import Curation
from modelpick.licensing.policy import Policy


def assess_training_data(
    model: Model, curations: Sequence[Curation], policy: Policy, facts: LicenseFacts
) -> Iterator[Assessment]:
    """One assessment of all the data sets that the card, its files and its text name, and that curations add."""
    names = (*model.datasets, *data_in_files(model), *(name for entry in curations for name in entry.datasets))
    text = next((text for name, text in model.texts.items() if name.lower() == "readme.md"), None)
    if text:
        names += tuple(id for id, _ in facts.relation_words.data(text))
    if names and (reasons := restricted_data_reasons(names, policy, facts)):
        yield Assessment(join(reason.verdict for reason in reasons), reasons)


def restricted_data_reasons(names: Iterable[str], policy: Policy, facts: LicenseFacts) -> tuple[Reason, ...]:
    """One reason for each restriction of each data set known to have one; the policy says what it demands.

    `names` are Hub ids, or links to them, as a card gives them. A data set that is not listed raises no question:
    absence from the list is not a statement about its license.
    """
    reasons = []
    for name in dict.fromkeys(hub_id(name).removeprefix("datasets/") for name in names):
        entry = next((entry for entry in facts.datasets if entry.matches(name)), None)
        for kind in entry.restrictions if entry else ():
            text = f"trained on {name}: {entry.terms}" if entry else ""
            demanded = getattr(policy.rules.training_data, kind)
            reasons.append(Reason(f"training_data_{kind}", text, entry.source if entry else "", demanded))
    return tuple(reasons)
