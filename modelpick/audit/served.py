"""Names that services and libraries have for models, as the repositories with the terms of the same weights.

The names are data/served_names.toml, each with the page that says so. Pure but for `load`, which reads that file once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from modelpick.files import data_file, read_toml


@dataclass(frozen=True, slots=True)
class Registry:
    """One service's names. `calls`: the only places (`AuditHit.how`) where its names count, if they are common words;
    `organisation`: where every name that such a call takes lives on the Hub."""

    name: str
    source: str
    names: Mapping[str, str]
    prefixes: tuple[str, ...] = ()
    calls: frozenset[str] = frozenset()
    organisation: str | None = None

    def repository(self, text: str, how: str) -> str | None:
        """The repository that `text` stands for at a place called `how`; None where this service has no such name."""
        low = text.lower()
        prefixed = next((prefix for prefix in self.prefixes if low.startswith(prefix)), "")
        name, tag = low[len(prefixed) :], low.partition(":")[2]
        if how in self.calls and self.organisation and "/" not in text and ":" not in text:
            return f"{self.organisation}/{text}"
        # A common word (mistral, base) counts where this very service is asked; a name with a tag or a dot anywhere.
        if not (prefixed or how in self.calls or tag or "." in name or "/" in name) or (self.calls and how in _PLAIN):
            return None
        title = name.partition(":")[0]
        for written in (name, f"{title}:{tag.partition('-')[0]}", title if tag in ("", "latest") else name):
            if written in self.names:
                return self.names[written]
        return None


_PLAIN = frozenset({"string", "word"})


@cache
def load() -> tuple[Registry, ...]:
    """The registries that come with modelpick."""
    table: dict[str, Any] = read_toml(data_file("audit", "served_names.toml"), code="bad_patterns")
    rows: list[dict[str, Any]] = table["registry"]
    return tuple(
        Registry(
            name=row["name"],
            source=row["source"],
            names=row.get("names", {}),
            prefixes=tuple(row.get("prefixes", ())),
            calls=frozenset(row.get("calls", ())),
            organisation=row.get("organisation"),
        )
        for row in rows
    )


def repository(text: str, how: str) -> str | None:
    """The repository that a service's name stands for; None where none is known."""
    found = (registry.repository(text, how) for registry in load())
    return next((id for id in found if id is not None), None)
