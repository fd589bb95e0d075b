"""What few cards state next to the usual fields: the texts of a gate, fields that nobody can read or has misspelt.

Which rows have such fields the database tells by the names of their keys. What they say is read by the functions that
`license` calls: parents and data sets go where all others are, the rest into the row's own claim.
"""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelpick.catalog import card
from modelpick.catalog.hub_record import API
from modelpick.hub.ancestry import numbered
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.license_text import read_text
from modelpick.licensing.statements.reading import read_statements

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

GATE = "extra_gated_"
"""How the fields begin that say what a gate asks for."""
_IN_THE_CLAIM = ("license", "license_name", "license_link")  # whatever their type


def add_rare_cards(connection: "DuckDBPyConnection", facts: LicenseFacts) -> None:
    """rare(row, rest): the fields of a card that its claim keeps, as JSON. Adds to tag(row, tag) and base(row, parent)
    what such fields name. Takes odd_card(row, id, bases, card) away."""
    kept: dict[int, str] = {}
    parents: list[tuple[int, str]] = []
    data: list[tuple[int, str]] = []
    gates: dict[object, bool] = {}
    found = connection.execute("SELECT row, id, bases, card FROM odd_card")
    while rows := found.fetchmany(2000):
        for row, id, bases, text in rows:
            stated = _loaded(text)
            if not isinstance(stated, Mapping) or not isinstance(id, str):
                continue
            said = card.facts(card.Card(stated, ""), API)
            parents += [(row, base.id) for base in said.base_models]
            data += [(row, f"dataset:{name}".replace("\n", " ")) for name in said.datasets]
            names = (id, *(base for base in bases if base), *(base.id for base in said.base_models))
            rest = _rest(stated, said, _tells(said.gate_text, names, facts, gates))
            if rest:
                kept[row] = json.dumps(rest, sort_keys=True)
    numbered(connection, "rare", {"row INTEGER": list(kept), "rest VARCHAR": list(kept.values())})
    for name, column, more in (("base", "parent", parents), ("tag", "tag", data)):
        rows_of, texts = [row for row, _ in more], [text for _, text in more]
        numbered(connection, "more", {"row INTEGER": rows_of, f"{column} VARCHAR": texts})
        connection.execute(f"INSERT INTO {name} SELECT DISTINCT row, {column} FROM more ANTI JOIN {name} "
                           f"USING (row, {column})")  # fmt: skip
    connection.execute("DROP TABLE more")
    connection.execute("DROP TABLE odd_card")


def states_a_gate(rest: str | None) -> bool:
    """Whether what a claim keeps of its card (JSON) is of a gate that says something."""
    return rest is not None and any(key.startswith(GATE) for key in json.loads(rest))


def _loaded(text: str) -> Any:
    try:
        return card.without_surrogates(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _rest(stated: Mapping[str, object], said: card.CardFacts, gate: bool) -> dict[str, object]:
    unread = {each.field for each in said.unreadable}.difference(_IN_THE_CLAIM)
    return {key: value for key, value in stated.items() if key in unread or (gate and key.startswith(GATE))}


def _tells(gate: str | None, names: tuple[str, ...], facts: LicenseFacts, known: dict[object, bool]) -> bool:
    """Whether a gate's text says anything of terms; most ask for an address. Each text is read once for names alike:
    those words of the names that the text has too."""
    if gate is None:
        return False
    lower = gate.lower()
    key = (gate, frozenset(word for word in re.findall(r"[a-z]+|\d+", " ".join(names).lower()) if word in lower))
    if key not in known:
        readings = read_text(gate, facts.fingerprints, facts.licenses, whole_file=False)
        names_one = any(reading.licenses for reading in readings)
        known[key] = bool(names_one or read_statements(gate, facts.words, facts.licenses, names))
    return known[key]
