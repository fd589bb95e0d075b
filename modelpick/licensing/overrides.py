"""Curated facts about particular repositories and families, and decisions that people took. Pure.

The files are policies/known_models.toml, families.toml, restricted_datasets.toml and approvals.toml.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from modelpick.schema import IsoDate


@dataclass(frozen=True, slots=True)
class Curation:
    """A curated fact about one repository, with its reason, source and date."""

    id: str
    because: str
    source: str
    date: IsoDate
    revision: str | None = None  # only at this commit
    license: str | None = None  # a license id: what the weights are under, where the card does not say it
    bases: tuple[str, ...] = ()  # undeclared ancestors
    datasets: tuple[str, ...] = ()  # undeclared training data
    renamed_to: str | None = None
    gone: bool = False  # deleted, but its name lives on in cards
    disputed: bool = False  # a person has to look, whatever the tag says
    independent: bool = False  # weights of its own: its name and shape imply no ancestor


class Curations:
    """The entries by id, ignoring case. Immutable once made."""

    __slots__ = ("_by_id", "_former")

    def __init__(self, entries: Iterable[Curation]) -> None:
        self._by_id: dict[str, tuple[Curation, ...]] = {}
        self._former: dict[str, tuple[str, ...]] = {}
        for entry in entries:
            key = entry.id.lower()
            self._by_id[key] = (*self._by_id.get(key, ()), entry)
            if entry.renamed_to is not None:
                now = entry.renamed_to.lower()
                self._former[now] = (*self._former.get(now, ()), entry.id)

    def about(self, id: str, revision: str | None = None) -> tuple[Curation, ...]:
        """What is known of this repository at this commit."""
        entries = self._by_id.get(id.lower(), ())
        return tuple(entry for entry in entries if entry.revision in (None, revision)) if entries else ()

    def former(self, id: str) -> tuple[str, ...]:
        """The ids that a repository had, the newest first."""
        ids = [id]
        for known in ids:
            seen = {one.lower() for one in ids}
            ids += [old for old in self._former.get(known.lower(), ()) if old.lower() not in seen]
        return tuple(ids[1:])

    def canonical(self, id: str) -> str:
        """The id a renamed repository has today; of a chain of renames, the last."""
        for _ in range(len(self._by_id)):
            target = next((entry.renamed_to for entry in self.about(id) if entry.renamed_to), None)
            if target is None:
                return id
            id = target
        return id

    def __iter__(self) -> Iterator[Curation]:
        return (entry for entries in self._by_id.values() for entry in entries)

    def __len__(self) -> int:
        return len(self._by_id)


@dataclass(frozen=True, slots=True)
class ConfigSignature:
    """Values of config.json that, together, only weights of one family have."""

    model_type: str
    vocab_size: int | None = None
    hidden_size: int | None = None
    intermediate_size: int | None = None
    num_hidden_layers: int | None = None

    def values(self) -> tuple[tuple[str, int], ...]:
        """The keys of config.json, apart from model_type, that have to agree, with their values."""
        named = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
        return tuple((key, value) for key in named if (value := getattr(self, key)) is not None)


@dataclass(frozen=True, slots=True)
class WeightFamily:
    """Base models that a repository's name or config implies. `license` binds them (None: one of `licenses`; with
    `licenses`: at least).

    `owners` are the organisations whose own tag is believed. Names are regular expressions searched in the repository's
    name, ignoring case; `but_not` are parts of a name that would match and mean something else.
    """

    name: str
    root: str
    because: str
    source: str
    date: IsoDate
    license: str | None = None
    licenses: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    words: tuple[str, ...] = ()  # one of them stands in every name that `names` match; none given: the root
    names: tuple[str, ...] = ()
    but_not: tuple[str, ...] = ()
    shapes: tuple[ConfigSignature, ...] = ()


@dataclass(frozen=True, slots=True)
class InferredAncestor:
    """A family that a repository's name or config implies, and what it was inferred from."""

    family: WeightFamily
    inferred_from: str
    by_shape: bool = False  # by its config.json alone


class WeightFamilies:
    """Finds the families a name or a config implies. Of one root (all the Llamas) the first that matches counts."""

    __slots__ = ("_all", "_roots", "_shapes", "_words")

    def __init__(self, families: Iterable[WeightFamily]) -> None:
        self._all = tuple(families)
        self._roots: dict[str, list[tuple[WeightFamily, re.Pattern[str], re.Pattern[str] | None]]] = {}
        self._shapes: dict[str, list[tuple[WeightFamily, tuple[tuple[str, int], ...]]]] = {}
        for family in self._all:
            if family.names:
                entry = (family, re.compile("|".join(family.names), re.I), _any_of(family.but_not))
                self._roots.setdefault(family.root, []).append(entry)
            for shape in family.shapes:
                self._shapes.setdefault(shape.model_type, []).append((family, shape.values()))
        # Looking for plain words first is ten times faster than trying every pattern on every name.
        self._words = tuple(
            (word, root)
            for root, entries in self._roots.items()
            for word in {word for family, _, _ in entries for word in family.words or (root,)}
        )

    def __iter__(self) -> Iterator[WeightFamily]:
        return iter(self._all)

    def of(self, id: str, config: Mapping[str, object] | None) -> tuple[InferredAncestor, ...]:
        """What the repository's name implies, and for a root the name does not give, what its config implies."""
        name = id.rsplit("/", 1)[-1]
        implied: dict[str, InferredAncestor] = {}
        lowered = name.lower()
        for root in {root: None for word, root in self._words if word in lowered}:
            for family, pattern, but_not in self._roots[root]:
                if pattern.search(but_not.sub("", name) if but_not else name):
                    implied[root] = InferredAncestor(family, f"the name {name}")
                    break
        config = config or {}
        for family, values in self._shapes.get(str(config.get("model_type")), ()):
            if family.root not in implied and all(config.get(key) == value for key, value in values):
                implied[family.root] = InferredAncestor(
                    family, f"the shape of its config.json ({config['model_type']})", by_shape=True
                )
        return tuple(implied.values())


def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(patterns), re.I) if patterns else None


Restriction = Literal["non_commercial", "output_restricted", "academic_only", "unspecified"]


@dataclass(frozen=True, slots=True)
class RestrictedDataset:
    """A data set whose terms are known, and reach the models trained on it. `id` may contain *, case does not matter.

    `restrictions` are those of its terms; none: they restrict nothing.
    """

    id: str
    terms: str
    source: str
    date: IsoDate
    restrictions: tuple[Restriction, ...]  # the keys of [rules.training_data]

    def matches(self, dataset: str) -> bool:
        """Whether a data set's id, as a card wrote it, is this one."""
        return _is_data_set(dataset, self.id)


@dataclass(frozen=True, slots=True)
class DerivedDataset:
    """A data set that was made from others, whose terms reach it. `id` as in RestrictedDataset."""

    id: str
    made_from: tuple[str, ...]
    because: str
    source: str
    date: IsoDate

    def matches(self, dataset: str) -> bool:
        """Whether a data set's id, as a card wrote it, is this one."""
        return _is_data_set(dataset, self.id)


def _is_data_set(dataset: str, id: str) -> bool:
    """Whether two ids mean one data set. Where one of them names no publisher, the names alone are compared."""
    dataset, id = dataset.strip().lower(), id.lower()
    name = id.rpartition("/")[2]
    if "/" not in dataset and name != "*":
        id = name
    elif "/" not in id:
        dataset = dataset.rpartition("/")[2]
    return fnmatchcase(dataset, id)


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's decision until a day: `conditions` approves a `review` at one commit, `deny` rejects a model.

    `evidence`: the hashes of what was looked at (evidence.py); an approval ends where they change.
    """

    model: str
    revision: str
    by: str
    because: str
    until: IsoDate
    on: IsoDate
    policy: str
    overrides: tuple[str, ...] = ()  # the reason codes that were weighed; others arising later are not covered
    licenses: tuple[str, ...] = field(default=())  # the license ids found at that time
    evidence: Mapping[str, str] = field(default_factory=dict)
    verdict: Literal["conditions", "deny"] = "conditions"
    product: str | None = None  # the one product it was given for; None: all of them
