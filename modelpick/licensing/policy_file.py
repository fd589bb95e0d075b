"""A policy as one file: with what it inherits, and with the company's facts of the settings. Pure."""

import json
from collections.abc import Iterator, Mapping

from modelpick.errors import printable_json
from modelpick.licensing.policy import Policy
from modelpick.schema import to_json


def text_of(policy: Policy) -> str:
    """The policy in TOML: read again, it has the same hash and gives the same verdicts.

    What is not known (None) is left out, as it is in a policy that somebody writes.
    """
    head = f"# The policy {policy.name} with all that it inherits and the company's facts, as modelpick used it.\n"
    return printable_json(head + "\n".join(_table(to_json(policy), "")) + "\n", toml=True)


def _table(table: Mapping[str, object], path: str) -> Iterator[str]:
    """Values first, then the tables within: TOML has no way back to an outer table."""
    for key, value in table.items():
        if value is not None and not isinstance(value, Mapping):
            yield f"{_quoted(key)} = {_value(value)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            inner = f"{path}.{_quoted(key)}" if path else _quoted(key)
            yield f"\n[{inner}]"
            yield from _table(value, inner)


def _quoted(key: str) -> str:
    return key if key.replace("_", "").isalnum() and key.isascii() else json.dumps(key, ensure_ascii=False)


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        entries = (f"{_quoted(key)} = {_value(inner)}" for key, inner in value.items() if inner is not None)
        return f"{{{', '.join(entries)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)  # JSON's texts, numbers and truth values are TOML's
