"""What training data demand: the data sets a card declares, or those a user's own fine-tuning file comes from. Pure."""

from collections.abc import Iterable

from modelpick.licensing.facts import Facts
from modelpick.licensing.outcome import Reason
from modelpick.licensing.policy import Policy


def weigh_datasets(names: Iterable[str], policy: Policy, facts: Facts) -> tuple[Reason, ...]:
    """One reason for each restriction of each data set known to have any; the policy says what it demands.

    `names` are Hub ids, or links to them, as a card or a fine-tuning file's declared sources give them. A data set that
    is not listed raises no question: absence from the list is not a statement about its license.
    """
    reasons = []
    for name in dict.fromkeys(_plain(name) for name in names):
        entry = next((entry for entry in facts.datasets if entry.matches(name)), None)
        for kind in entry.restrictions if entry else ():
            text = f"trained on {name}: {entry.terms}" if entry else ""
            demanded = getattr(policy.rules.training_data, kind)
            reasons.append(Reason(f"training_data_{kind}", text, entry.source if entry else "", demanded))
    return tuple(reasons)


def _plain(name: str) -> str:
    return name.strip().partition("/datasets/")[2] or name.strip()
