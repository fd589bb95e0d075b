"""A code base as the models it names and where: files in, one entry per model out. I/O only to read the files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelpick.audit import rules as patterns
from modelpick.audit.hits import AuditHit, Hits, Unresolved
from modelpick.audit.names import ModelName, Namer
from modelpick.audit.readers import lines, markdown, notebook, pairs, python, shell, yaml
from modelpick.audit.readers.interface import Reader
from modelpick.audit.walk import Skipped, SourceFile, files, read_text
from modelpick.errors import printable

_READERS: Mapping[str, Reader] = {
    "python": python.read,
    "notebook": notebook.read,
    "yaml": yaml.read,
    "pairs": pairs.read,
    "shell": shell.read,
    "lines": lines.read,
    "markdown": lambda text, rules: markdown.read(text, rules, _READERS),
}
_STRENGTH = {"argument": 3, "url": 2, "named": 1, "anywhere": 0}


@dataclass(frozen=True, slots=True)
class Location:
    """Where a model is named; `how` is the evidence for it, `written` the id as it stands there."""

    path: str
    line: int
    column: int
    how: str
    written: str
    cell: int | None = None

    def as_json(self) -> dict[str, object]:
        """One element of `locations`; `cell` only in notebooks."""
        cell = {} if self.cell is None else {"cell": self.cell}
        return {
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "how": self.how,
            "written": self.written,
            **cell,
        }


@dataclass(frozen=True, slots=True)
class RuntimeChoice:
    """A place where the model is chosen at run time."""

    path: str
    line: int
    column: int
    text: str

    def as_json(self) -> dict[str, object]:
        """One element of `unresolved`."""
        return {"path": self.path, "line": self.line, "column": self.column, "text": self.text}


@dataclass(slots=True)
class Scan:
    """What was found: models with their locations, in the order of the files; what could not be determined or read."""

    models: dict[ModelName, list[Location]] = field(default_factory=dict)
    unresolved: list[RuntimeChoice] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    files: int = 0


def scan(
    paths: Sequence[str], known: Callable[[str], str | None], *, exclude: Sequence[str] = (), docs: bool = False
) -> Scan:
    """Read every file below `paths`. `known` gives the catalog's spelling of an id, or None.

    Raises UsageError for a path that cannot be looked at; what cannot be read below one is listed in `skipped`.
    """
    rules = patterns.load()
    result = Scan()
    roots = [Path(path).expanduser() for path in paths]
    for item in files(paths, rules, exclude=exclude, docs=docs):
        text = item if isinstance(item, Skipped) else read_text(item, rules)
        if isinstance(text, Skipped):
            result.skipped.append(text)
        elif isinstance(item, SourceFile):
            result.files += 1
            namer = Namer(rules, known, _is_path_near([item.path.parent, Path(), *roots]))
            _add(result, item, _READERS[item.kind](text, rules), namer, known)
    return result


def _add(result: Scan, file: SourceFile, found: Hits, namer: Namer, known: Callable[[str], str | None]) -> None:
    open_places: list[Unresolved] = []
    for name, candidate in _named(found, namer, open_places):
        canonical = ModelName(known(name.id) or name.id, name.revision)
        location = Location(
            file.shown,
            candidate.line,
            candidate.column,
            candidate.how,
            printable(candidate.text.strip()),
            candidate.cell,
        )
        result.models.setdefault(canonical, []).append(location)
    result.unresolved += [
        RuntimeChoice(file.shown, one.line, one.column, printable(one.text)) for one in dict.fromkeys(open_places)
    ]


def _named(found: Hits, namer: Namer, open_places: list[Unresolved]) -> list[tuple[ModelName, AuditHit]]:
    """The candidates that are models: at one place only the best evidence counts, each (model, revision) once."""
    by_place: dict[tuple[int, int, str], list[tuple[ModelName, AuditHit]]] = {}
    for candidate in found:
        if isinstance(candidate, Unresolved):
            open_places.append(candidate)
        elif (name := namer.model(candidate)) is not None:
            by_place.setdefault((candidate.line, candidate.column, name.id), []).append((name, candidate))
    kept: list[tuple[ModelName, AuditHit]] = []
    for _, rivals in sorted(by_place.items()):
        kept += dict(_best(rivals)).items()
    return kept


def _best(rivals: Iterable[tuple[ModelName, AuditHit]]) -> list[tuple[ModelName, AuditHit]]:
    """The strongest evidence on one place; a call that takes a model outranks the assignment that names it."""
    everything = list(rivals)
    strongest = max(_STRENGTH[candidate.place] for _, candidate in everything)
    best = [(name, candidate) for name, candidate in everything if _STRENGTH[candidate.place] == strongest]
    pinned = [(name, candidate) for name, candidate in best if name.revision is not None]
    return best if strongest == _STRENGTH["argument"] else pinned or best


def _is_path_near(folders: Iterable[Path]) -> Callable[[str], bool]:
    """Whether a text is a path that exists below one of the folders: then it is a folder of files, not an id."""
    near = [folder.parent if folder.is_file() else folder for folder in dict.fromkeys(folders)]

    def exists(text: str) -> bool:
        try:
            return any((folder / text).exists() for folder in near)
        except (OSError, ValueError):
            return False

    return exists
