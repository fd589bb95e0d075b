"""The catalog: every model that is known without a network, each fact with its source.

Built by scripts/build_catalog.py. One header line (sources, renames), then one line a model; a line is parsed when its
model is asked for, so looking up one model does not cost reading all.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from modelpick.catalog import snapshot
from modelpick.catalog.model import BaseModel, Conflict, Model, Quality, Unreadable
from modelpick.errors import UsageError, nearest
from modelpick.files import read_text

SCHEMA_VERSION = 1
_FILE = "catalog/models.jsonl"
_ID_STARTS = len('{"id":"')


class _Rows(Mapping[str, Model]):
    """Lines of the file by id, each parsed at its first use. `renames`: former id or organisation -> the present."""

    def __init__(self, lines: Mapping[str, str], renames: Mapping[str, str]) -> None:
        self._lines = lines
        self._former: dict[str, list[str]] = {}
        for old, new in renames.items():
            self._former.setdefault(new.lower(), []).append(old)
        self._models: dict[str, Model] = {}
        self._copies: dict[str, list[Model]] | None = None

    def __getitem__(self, id: str) -> Model:
        model = self._models.get(id)
        if model is None:
            model = self._models[id] = replace(model_from(json.loads(self._lines[id])), former_ids=self._former_of(id))
        return model

    def _former_of(self, id: str) -> tuple[str, ...]:
        """The ids that a repository had, through every rename that is known."""
        ids = [id]
        for known in ids:
            organisation, slash, name = known.partition("/")
            olds = [f"{old}{name}" for old in self._former.get(f"{organisation}{slash}".lower(), ())]
            seen = {one.lower() for one in ids}
            ids += [old for old in (*self._former.get(known.lower(), ()), *olds) if old.lower() not in seen]
        return tuple(ids[1:])

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def copies(self, canonical: Callable[[str], str | None]) -> Mapping[str, list[Model]]:
        """The quantized copies by the original's present id. Lines of other models are not parsed."""
        if self._copies is None:
            self._copies = {}
            for model in (self[id] for id, line in self._lines.items() if '"quantization":' in line):
                if model.original is not None:
                    self._copies.setdefault(canonical(model.original) or model.original, []).append(model)
        return self._copies


class _Sources(Mapping[str, str]):
    """Field name -> source key of one row, spelt out only when somebody asks."""

    __slots__ = ("_row", "_spelt")

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row = row
        self._spelt: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        if self._spelt is None:
            fields = [name for name in self._row if name not in _NO_FACT]
            for owner in ("config", "capabilities"):
                fields += [f"{owner}.{key}" for key in self._row.get(owner, ())]
            self._spelt = dict.fromkeys(fields, self._row.get("source", "citation")) | self._row.get("sources", {})
        return self._spelt

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


@dataclass(frozen=True, slots=True)
class CatalogSource:
    """What a source key stands for: a title (file, page, package with its version), and days as ISO text."""

    title: str
    as_of: str | None  # the day of the data itself, where it is known
    read_on: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """Models by canonical id, with the sources their facts name and the renames that are known."""

    models: _Rows
    as_of: str
    downloads_as_of: str
    sources: Mapping[str, CatalogSource]
    boards: Mapping[str, CatalogSource]  # the boards that `Quality.sources` names
    renames: Mapping[str, str]
    left_out: Mapping[str, int]  # why repositories of the sources were not taken up -> how many
    _by_lower: Mapping[str, str] = field(repr=False)
    facts: str = "embedded"  # or snapshot, package: catalog.snapshot.FactsSource

    def find(self, id: str) -> Model | None:
        """The model of this id, in any letter case and under a former name; None where the catalog has none."""
        canonical = self.canonical(id)
        return None if canonical is None else self.models[canonical]

    def canonical(self, id: str) -> str | None:
        """The catalog's spelling of an id, or None."""
        lower = id.strip().lower()
        for _ in range(len(self.renames) + 1):
            if lower in self._by_lower:
                return self._by_lower[lower]
            if (now := self._renamed(lower)) == lower:
                return None
            lower = now
        return None

    def copies_of(self, id: str) -> tuple[Model, ...]:
        """The quantized copies of a model, by its present or a former id."""
        return tuple(self.models.copies(self.canonical).get(self.canonical(id) or id, ()))

    def nearest(self, id: str) -> str:
        """The clause `did you mean a or b?` for an id that is not here; empty when nothing is near."""
        name = id.rsplit("/", 1)[-1].lower()
        same_name = [known for known in self.models if known.rsplit("/", 1)[-1].lower() == name]
        if same_name:
            return f"did you mean {' or '.join(same_name[:3])}?"
        if "/" not in id:
            by_name = {known.rsplit("/", 1)[-1].lower(): known for known in self.models}
            close = get_close_matches(name, by_name, n=3, cutoff=0.6)
            return f"did you mean {' or '.join(by_name[short] for short in close)}?" if close else ""
        return nearest(id, self.models)

    def source(self, key: str) -> CatalogSource:
        """What a source key of `Model.sources` means. `same shape as X` and `derived: ...` are kinds of their own; keys
        may be joined by `; `; any other text that is not a key is a citation in full.
        """
        if key in self.sources:
            return self.sources[key]
        several = [self.sources[one] for one in key.split("; ") if one in self.sources]
        if len(several) == key.count("; ") + 1:
            titles = "; ".join(one.title for one in several)
            return CatalogSource(title=titles, as_of=None, read_on=min(one.read_on for one in several))
        for kind in ("same shape as", "quantization of", "derived"):
            if key.startswith(kind):
                return self.sources[kind]
        return CatalogSource(title=key, as_of=None, read_on=self.sources["citation"].read_on)

    def _renamed(self, lower: str) -> str:
        if lower in self.renames:
            return self.renames[lower].lower()
        organisation, slash, name = lower.partition("/")
        return f"{self.renames.get(organisation + slash, organisation + slash).lower()}{name}"


def load(path: Path | None = None) -> Catalog:
    """The catalog in force (catalog.snapshot), or another file of the same schema.

    Raises UsageError(code="bad_catalog") when the file is missing, damaged or of another schema version.
    """
    return _in_force() if path is None else _in_file(path)


@snapshot.per_facts
def _in_force() -> Catalog:
    facts = snapshot.in_force()
    try:
        found = catalog_from(facts.text(_FILE), (facts.folder or Path()) / _FILE)
        return replace(found, facts=facts.source)
    except UsageError as error:
        raise _bad(Path(_FILE), error.message) if error.code == "broken_installation" else error from error


@cache
def _in_file(path: Path) -> Catalog:
    try:
        return catalog_from(read_text(path, code="bad_catalog"), path)
    except UsageError as error:
        raise error if "is damaged" in error.message else _bad(path, error.message) from error


def catalog_from(text: str, path: Path) -> Catalog:
    """The catalog that a file's text is; `path` names it in errors. Raises UsageError(code="bad_catalog")."""
    try:
        first, *rows = text.splitlines()
        header = json.loads(first)
        if header["schema_version"] != SCHEMA_VERSION:
            raise _bad(path, f"schema_version is {header['schema_version']}, this modelpick reads {SCHEMA_VERSION}")
        lines = {row[_ID_STARTS : row.index('"', _ID_STARTS)]: row for row in rows}
        if len(lines) != header["models"] or len(rows) != header["models"]:
            raise _bad(path, f"it says {header['models']} models and contains {len(rows)}")
        return Catalog(
            models=_Rows(lines, header["renames"]),
            as_of=header["as_of"],
            downloads_as_of=header["downloads_as_of"],
            sources={key: CatalogSource(**row) for key, row in header["sources"].items()},
            boards={key: CatalogSource(**row, read_on=header["as_of"]) for key, row in header["boards"].items()},
            left_out=header.get("left_out", {}),
            renames={old.lower(): new for old, new in header["renames"].items()},
            _by_lower={id.lower(): id for id in lines},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _bad(path, f"it cannot be read ({type(error).__name__})") from error


def model_from(row: Mapping[str, Any]) -> Model:
    """A Model from one row of the file (see scripts/build_catalog.py for the schema)."""
    config = row.get("config")
    return Model(
        id=row["id"],
        origin="catalog",
        config=config,
        parameters=row.get("parameters"),
        parameters_exact=row.get("parameters_exact", False),
        active_parameters=row.get("active_parameters"),
        context=row.get("context"),
        trained_context=row.get("trained_context"),
        dimension=row.get("dimension"),
        capabilities=tuple(row.get("capabilities", ())),
        quantization=row.get("quantization"),
        weights=row.get("weights"),
        license=row.get("license"),
        license_name=row.get("license_name"),
        license_link=row.get("license_link"),
        base_models=tuple(BaseModel(id, relation) for id, relation in row.get("base_models", ())),
        datasets=tuple(row.get("datasets", ())),
        tags=tuple(row.get("tags", ())),
        gated=row.get("gated"),
        languages=tuple(row.get("languages", ())),
        languages_elsewhere=tuple(row.get("languages_elsewhere", ())),
        card_read=row.get("card_read", False),
        pipeline_tag=row.get("pipeline_tag"),
        library=row.get("library"),
        downloads=row.get("downloads"),
        likes=row.get("likes"),
        release_date=row.get("release_date"),
        quality=_quality_from(row.get("quality")),
        quality_by_use={use: _quality_of(values) for use, values in row.get("quality_by_use", {}).items()},
        gate_text=row.get("gate_text"),
        unreadable=tuple(Unreadable(*one) for one in row.get("unreadable", ())),
        sources=_Sources(row),
        conflicts=tuple(Conflict(*conflict) for conflict in row.get("conflicts", ())),
        notes=tuple(row.get("notes", ())),
    )


def _quality_from(values: list[Any] | None) -> Quality | None:
    return None if values is None else _quality_of(values)


def _quality_of(values: list[Any]) -> Quality:
    score, low, high, status, boards, as_of = values
    return Quality(score, low, high, status, tuple(boards), as_of)


_NO_FACT = frozenset(
    (
        "id",
        "config",
        "capabilities",
        "quality",
        "quality_by_use",
        "source",
        "sources",
        "conflicts",
        "notes",
        "parameters_exact",
        "card_read",
    )
)


def _bad(path: Path, what: str) -> UsageError:
    return UsageError(
        f"the catalog {path.name} is damaged: {what}",
        fix="reinstall modelpick, or build the file again with scripts/build_catalog.py",
        code="bad_catalog",
    )
