"""The short cards of data/statements_*.jsonl, and what a model with such a card comes to."""

import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelpick.catalog.model import Model
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Verdict, judge

DATA = Path(__file__).parent / "data"
TABLES = {path.stem.removeprefix("statements_"): path for path in sorted(DATA.glob("statements_?.jsonl"))}


@dataclass(frozen=True, slots=True)
class StatementCard:
    """A card's body with its label: `restricts` or `harmless`, as far as the weights are concerned.

    `about`: what the statement in it is about. `kind`: how it is written. `why`: the reason for the label.
    """

    id: str
    language: str
    kind: str
    about: str
    label: str
    text: str
    why: str

    @property
    def restricts(self) -> bool:
        """Whether the text restricts the use of the weights."""
        return self.label == "restricts"


def cards(table: str) -> Iterator[StatementCard]:
    """The cards of one table."""
    for line in TABLES[table].read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield StatementCard(**{name: row[name] for name in StatementCard.__dataclass_fields__})


def asked(card: StatementCard, policy: Policy, facts: LicenseFacts) -> bool:
    """Whether a model with this card, tagged apache-2.0, comes to anything but `allow`."""
    text = f"---\nlicense: apache-2.0\n---\n{card.text}"
    model = Model(
        id="acme/a-model", origin="hub", revision="0" * 40, license="apache-2.0", texts={"README.md": text}
    )  # fmt: skip
    today = datetime.date(2026, 11, 29)
    return judge(model, policy, facts, lambda id: None, today).verdict is not Verdict.ALLOW
