"""A row of the dump as the Model that `license` judges, and which rows are judged alike.

A claim is everything of a row that a judgement looks at; a context is what it looks at of the ancestors. Both are kept
as one example, and the example is judged by the functions that `license` calls: no rule stands here a second time.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from modelpick.catalog.derived import derivation
from modelpick.catalog.hub_record import merged
from modelpick.catalog.model import BaseModel, Model
from modelpick.catalog.parts import RepositoryParts
from modelpick.licensing.assessed_model import modality_of, organisation_of
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.identify import Known, Unknown, identify, licenses_in
from modelpick.licensing.license import License
from modelpick.licensing.lineage import Ancestor
from modelpick.licensing.model_evidence import has_prefix

MISSING, LOCAL_PATH, CYCLE, TOO_DEEP = "missing_ancestor", "local_path_parent", "cycle", "too_deep"
"""The problems of an ancestor without a row in the dump, by the codes of their reasons."""
PSEUDO = {-1: LOCAL_PATH, -2: CYCLE, -3: TOO_DEEP}
"""Nodes of the graph of parents that stand for no repository."""


@dataclass(frozen=True, slots=True)
class HubClaim:
    """One claim by an example: its id, the other columns of its row, and the problem where it is an ancestor alone."""

    id: str
    tags: tuple[str, ...] = ()
    license: str | None = None  # JSON, as are the next two
    license_name: str | None = None
    license_link: str | None = None
    gated: str | None = None
    pipeline_tag: str | None = None
    library: str | None = None
    rest: str | None = None  # JSON of what else of the card counts (rare_cards.py); then no other row has this claim
    problem: str | None = None

    def model(self, id: str | None = None, bases: Sequence[str] = (), revision: str | None = None) -> Model:
        """The claim as a Model, or that of another row with the same claim."""
        if id is None and not bases and revision is None:
            return _example(self)
        return self._model(id, bases, revision)

    def _model(self, id: str | None, bases: Sequence[str], revision: str | None) -> Model:
        fields = {"license": self.license, "license_name": self.license_name, "license_link": self.license_link}
        card = json.loads(self.rest) if self.rest is not None else {}
        card |= {name: json.loads(value) for name, value in fields.items() if value is not None}
        record = {
            "id": id or self.id, "tags": list(self.tags), "cardData": card, "gated": self.gated,
            "pipeline_tag": self.pipeline_tag, "library_name": self.library,
        }  # fmt: skip
        return replace(model_of(record, revision), base_models=tuple(BaseModel(base) for base in bases))


@lru_cache(maxsize=100_000)
def _example(claim: HubClaim) -> Model:
    """A claim is looked at to tell it apart, and again when it is judged."""
    return claim._model(None, (), None)


def model_of(record: Mapping[str, Any], revision: str | None = None) -> Model:
    """The Model of a record of the Hub of which no file was read: it stands on the Hub's tags, as the catalog's do."""
    id, gated = str(record["id"]), record.get("gated")
    words: dict[object, bool] = {"true": True, "false": False}
    parts = RepositoryParts(id, "hub", revision, (), {}, None, None, None, {}, ())
    return replace(merged(parts, {**record, "gated": words.get(gated, gated)}, asked=id), origin="catalog")


@dataclass(frozen=True, slots=True)
class _Traits:
    """What contexts are reduced by: of a claim as a subject, and as an ancestor of others."""

    roots: frozenset[str]  # of the families that its name implies
    shown: frozenset[str]  # of those, the ones with a license of their own
    kind: tuple[str, str, str | None]  # its owner, its families, its problem
    is_found: bool
    has_open_name: bool  # whether who its ancestors are may tell which license its claim means
    alone: object  # equal where claims without parents are judged alike
    with_parents: object  # the same of claims with parents, where what a name says of being made is no question


@dataclass(frozen=True, slots=True)
class _Told:
    """What a set of ancestors can tell: to every claim, by families' roots, by kinds; each with a claim that does."""

    always: frozenset[object]
    roots: frozenset[str]
    kinds: frozenset[object]
    examples: Mapping[object, int]


class Contexts:
    """Numbers each pair of a claim and a context once. What a claim does not look at is left out of its context."""

    def __init__(self, claims: Sequence[HubClaim], facts: LicenseFacts) -> None:
        self._claims, self._facts = claims, facts
        self._owners = owners_that_matter(facts)
        self._scoped = [one.id for one in facts.licenses.licenses if one.limits.territory_scope == "multimodal"]
        self._traits: dict[int, _Traits] = {}
        self._numbers: dict[object, int] = {}
        self._sets: dict[frozenset[int], _Told] = {}
        self._subject_classes: dict[object, int] = {}
        self._ancestor_classes: dict[object, int] = {}
        self._context_classes: dict[object, int] = {}
        self.judged: list[tuple[int, tuple[int, ...]]] = []  # the claim, and claims that are examples of its context

    def subject_class(self, claim: int) -> tuple[int, bool]:
        """A number that claims share which every context is reduced alike for, and whether kinds of ancestors tell it
        anything."""
        own, is_problem = self.traits(claim), self._claims[claim].problem is not None
        key = (is_problem, own.roots, own.has_open_name, own.with_parents, own.alone)
        return self._subject_classes.setdefault(key, len(self._subject_classes)), own.has_open_name

    def ancestor_class(self, claim: int) -> int:
        """A number that claims share which tell the same to what descends from them."""
        own = self.traits(claim)
        return self._ancestor_classes.setdefault((own.is_found, own.shown, own.kind), len(self._ancestor_classes))

    def context_classes(self, ancestors: Iterable[int]) -> tuple[int, int]:
        """Two numbers that sets of ancestors share: all that they tell, and what they tell where kinds do not count."""
        told = self._told(frozenset(ancestors))
        whole, of_roots = (told.always, told.roots, told.kinds), (told.always, told.roots)
        numbers = self._context_classes
        return numbers.setdefault(whole, len(numbers)), numbers.setdefault(of_roots, len(numbers))

    def number(self, claim: int, ancestors: Iterable[int]) -> int:
        """The number of a claim under ancestors of these claims."""
        if self._claims[claim].problem is not None:
            ancestors = ()
        own, told = self.traits(claim), self._told(frozenset(ancestors))
        key = frozenset((*told.always, *(own.roots & told.roots), *(told.kinds if own.has_open_name else ())))
        asked = (own.with_parents if key else own.alone, key)
        if asked not in self._numbers:
            self._numbers[asked] = len(self.judged)
            self.judged.append((claim, tuple(sorted({told.examples[one] for one in key}))))
        return self._numbers[asked]

    def _told(self, ancestors: frozenset[int]) -> _Told:
        """Of a set of claims once, however many rows have it above them."""
        found = self._sets.get(ancestors)
        if found is None:
            examples: dict[object, int] = {}
            always, roots, kinds = set[object](), set[str](), set[object]()
            for other in sorted(ancestors):
                trait = self.traits(other)
                here = ("any", "found") if trait.is_found else ("any",)
                for one in (*here, *trait.shown, trait.kind):
                    examples.setdefault(one, other)
                always.update(here)
                roots.update(trait.shown)
                kinds.add(trait.kind)
            found = self._sets[ancestors] = _Told(frozenset(always), frozenset(roots), frozenset(kinds), examples)
        return found

    def traits(self, claim: int) -> _Traits:
        found = self._traits.get(claim)
        if found is None:
            found = self._traits[claim] = self._traits_of(self._claims[claim])
        return found

    def _traits_of(self, claim: HubClaim) -> _Traits:
        if claim.problem not in (None, MISSING):
            nothing: frozenset[str] = frozenset()
            return _Traits(nothing, nothing, ("", "", claim.problem), False, False, claim.problem, claim.problem)
        implied = self._facts.families.of(claim.id, None)
        owner = organisation_of(claim.id)
        names = "+".join(one.family.name for one in implied)
        kind = (owner if owner in self._owners else "", names, claim.problem)
        model = claim.model()
        licenses = self._licenses_of(model)
        bound = {one.id for one in licenses} | {one.family.license for one in implied}
        is_rare = claim.rest is not None
        scoped = any(id in bound for id in self._scoped) or bool(claim.license_link) or is_rare
        name = claim.id.rpartition("/")[2].lower()
        prefixes = tuple(has_prefix(name, prefix) for prefix in prefixes_of(self._facts))
        is_special = bool(self._facts.curations.about(claim.id)) or bool(claim.license_link) or is_rare
        known = claim.id.lower() if is_special else None
        fields = (claim.license, claim.license_name, claim.license_link, claim.gated, claim.rest)
        tags = tuple(tag for tag in claim.tags if ":" in tag)
        with_parents = (kind, tags, fields, modality_of(model) if scoped else None, prefixes, known)
        made = derivation(model, claim.id)
        alone = (made and made.kind == "merge", self._facts.name_matches.of(claim.id) is not None)
        return _Traits(
            frozenset(one.family.root for one in implied),
            frozenset(one.family.root for one in implied if one.family.license is not None),
            kind,
            claim.problem is None,
            claim.problem is None and (is_rare or self._is_open(model)),
            (with_parents, alone),
            with_parents,
        )

    def _licenses_of(self, model: Model) -> set[License]:
        """Every license that a claim's fields may mean, to whomever they belong."""
        index = self._facts.licenses
        found: set[License] = set()
        for text in _texts(model):
            found.update(licenses_in(identify(text, None, (), index)), index.by_name(text), index.mentioned(text))
        return found

    def _is_open(self, model: Model) -> bool:
        index = self._facts.licenses
        texts = _texts(model)
        claims = [identify(text, None, (), index) for text in texts]
        plain = all(isinstance(one, Unknown) or (isinstance(one, Known) and len(one.candidates) == 1) for one in claims)
        return not plain or any(index.by_name(text) for text in texts)


def _texts(model: Model) -> list[str]:
    """Every text of a claim that may name a license."""
    values = model.license if isinstance(model.license, list) else [model.license]
    texts = [value for value in (*values, model.license_name) if isinstance(value, str)]
    return [*texts, *(tag.partition(":")[2] for tag in model.tags if tag[:1] in "lL")]


def examples_of(claims: Sequence[HubClaim], judged: tuple[int, tuple[int, ...]]) -> tuple[Model, tuple[Ancestor, ...]]:
    """The model, and the ancestors that stand for its context."""
    subject = claims[judged[0]].model()
    ancestors = []
    for number in judged[1]:
        claim = claims[number]
        found = Model(id=claim.id, origin="catalog") if claim.problem is None else None
        ancestors.append(Ancestor(claim.id, subject.id, "unknown", found, claim.problem))  # type: ignore[arg-type]
    return subject, tuple(ancestors)


def owners_that_matter(facts: LicenseFacts) -> frozenset[str]:
    """The organisations (lower case) whose word counts for more than anybody's: of named licenses and of families."""
    owners = {owner.lower() for one in facts.licenses.licenses if one.named for owner in one.named.by}
    return frozenset(owners | {owner.lower() for family in facts.families for owner in family.owners})


def prefixes_of(facts: LicenseFacts) -> tuple[str, ...]:
    """The prefixes that some license asks the names of derived models to begin with."""
    if "name_prefixes" not in facts.memo:
        asked = {one.owes.name_prefix for one in facts.licenses.licenses if one.owes.name_prefix}
        facts.memo["name_prefixes"] = tuple(sorted(asked))
    prefixes: tuple[str, ...] = facts.memo["name_prefixes"]
    return prefixes
