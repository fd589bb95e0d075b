"""Repositories made to mislead, by kind, each with its harmless twin: what benchmarks/license_adversary.py runs.

A module of this package holds kinds that belong together; `KINDS` below lists the modules. A kind is a function that
yields cases:

    @kind("a LICENSE with a NUL byte", "what is not plain text was not read")
    def nul_byte() -> Iterator[Case]:
        yield misleading("acme/nul", "license: mit", {"LICENSE": b"CC-BY-NC-4.0\\0"})
        yield harmless("acme/plain", "license: mit", {"LICENSE": MIT})

A misleading repository has to come to `review` or `deny` (or to what `expect` says), its twin to `allow` or
`conditions`. Each kind has at least one of both: a rule that asks about everything is no rule. The first repository of
a case is judged, the others are its ancestors or whatever else the Hub has. A case of one repository is judged as a
local folder too; `only="hub"` or `only="folder"` says where one exists in one place alone.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Place = Literal["hub", "folder"]
_MODULES = ("unread", "near_copies", "stated_names", "ancestors")
_ASKED = frozenset({"review", "deny"})
_LET_BY = frozenset({"allow", "conditions"})


@dataclass(frozen=True)
class Repository:
    """One repository of the stand-in Hub: `told` are the other arguments of `tests.stand_ins.hub.Hub.add`.

    `faults` are what the Hub does wrong for it: (trouble, file name). `links` are links of a local folder. `wrong_hub`
    sets attributes of the stand-in itself, which then holds this case alone.
    """

    id: str
    card: str | None = None
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    faults: tuple[tuple[Any, str], ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    wrong_hub: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One question: repositories, of which the first is judged, and the verdicts that are right for it."""

    repositories: tuple[Repository, ...]
    misleads: bool
    expected: frozenset[str]
    only: Place | None = None

    @property
    def places(self) -> tuple[Place, ...]:
        """Where it is judged."""
        if self.only:
            return (self.only,)
        first = self.repositories[0]
        alike = not first.faults and not first.wrong_hub and "base_model" not in first.told
        plain = len(self.repositories) == 1 and alike
        return ("hub", "folder") if plain and not first.told.get("gated") else ("hub",)


@dataclass(frozen=True)
class Kind:
    """One way to mislead, and why it is a question."""

    name: str
    why: str
    cases: Callable[[], Iterator[Case]]


_kinds: dict[str, Kind] = {}


def kind(name: str, why: str) -> Callable[[Callable[[], Iterator[Case]]], Callable[[], Iterator[Case]]]:
    """Registers a function that yields cases as a kind."""

    def register(cases: Callable[[], Iterator[Case]]) -> Callable[[], Iterator[Case]]:
        assert name not in _kinds, f"two kinds are called {name}"
        _kinds[name] = Kind(name, why, cases)
        return cases

    return register


def all_kinds() -> tuple[Kind, ...]:
    """Every kind, in the order of the modules."""
    for module in _MODULES:
        importlib.import_module(f"{__name__}.{module}")
    return tuple(_kinds.values())


def misleading(
    id: str,
    card: str | None = None,
    files: Mapping[str, str | bytes] | None = None,
    *others: Repository,
    expect: str | None = None,
    only: Place | None = None,
    faults: tuple[tuple[Any, str], ...] = (),
    links: Mapping[str, str] | None = None,
    wrong_hub: Mapping[str, Any] | None = None,
    **told: Any,
) -> Case:
    """A repository that looks freer than it is. `expect`: the one right verdict, where it is not "review or deny"."""
    asked = Repository(id, card, files or {}, told, faults, links or {}, wrong_hub or {})
    return Case((asked, *others), True, frozenset({expect}) if expect else _ASKED, only)


def harmless(
    id: str,
    card: str | None = None,
    files: Mapping[str, str | bytes] | None = None,
    *others: Repository,
    expect: str | None = None,
    only: Place | None = None,
    faults: tuple[tuple[Any, str], ...] = (),
    links: Mapping[str, str] | None = None,
    wrong_hub: Mapping[str, Any] | None = None,
    **told: Any,
) -> Case:
    """The twin that may be used. `expect`: the one right verdict, where it is not "allow or conditions"."""
    asked = Repository(id, card, files or {}, told, faults, links or {}, wrong_hub or {})
    return Case((asked, *others), False, frozenset({expect}) if expect else _LET_BY, only)
