"""A code base as the models it names and where: files in, one entry per model out. I/O only to read the files."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelpick.audit import rules as patterns
from modelpick.audit.hits import AuditHit, Hits, Unresolved
from modelpick.audit.names import KnownNames, ModelName, Namer
from modelpick.audit.readers import (
    comments,
    lines,
    markdown,
    modelfile,
    notebook,
    pairs,
    python,
    shell,
    templates,
    yaml,
)
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
    "modelfile": modelfile.read,
    "markdown": lambda text, rules: markdown.read(text, rules, _READERS),
    **{f"{style} code": lines.in_style(style) for style in comments.STYLES},
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
    certain: bool = True  # False: only the looks of the string say that it is a model

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
    data_sets: dict[str, list[Location]] = field(default_factory=dict)
    ignored: list[Location] = field(default_factory=list)  # by a comment on their line
    unresolved: list[RuntimeChoice] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    files: int = 0


def scan(paths: Sequence[str], known: KnownNames, *, exclude: Sequence[str] = (), docs: bool = False) -> Scan:
    """Read every file below `paths`.

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
            _add(result, _Read(item, text), _read(item.kind, text, rules), namer, known)
    _drop_named_data(result)
    return result


def _drop_named_data(result: Scan) -> None:
    """What only looks like a model, and is loaded as data elsewhere in the same code base, is data."""
    for name in [name for name in result.models if name.id in result.data_sets]:
        certain = [place for place in result.models[name] if place.certain]
        if certain:
            result.models[name] = certain
        else:
            del result.models[name]


def _read(kind: str, text: str, rules: patterns.Rules) -> Hits:
    inner = kind.removesuffix(" template")
    if inner != kind and inner != "yaml":  # YAML is looked at for tags whatever the file is called
        return templates.read(text, rules, _READERS[inner])
    return _READERS[inner](text, rules)


_IGNORE = re.compile(r"modelpick:[ \t]*ignore\b")


@dataclass(slots=True)
class _Read:
    """A file that was read, and the lines that a comment takes out: `# modelpick: ignore`, on the line or above it."""

    file: SourceFile
    text: str
    _ignored: frozenset[int] | None = None

    def ignores(self, line: int) -> bool:
        if self._ignored is None:
            taken: set[int] = set()
            for match in _IGNORE.finditer(self.text):
                number = self.text.count("\n", 0, match.start()) + 1
                before = self.text[self.text.rfind("\n", 0, match.start()) + 1 : match.start()]
                alone = not any(sign.isalnum() for sign in before)
                taken.add(number + 1 if alone else number)
            self._ignored = frozenset(taken)
        return line in self._ignored

    def location(self, candidate: AuditHit) -> Location:
        written = printable(candidate.text.strip())
        return Location(
            self.file.shown, candidate.line, candidate.column, candidate.how, written, candidate.cell,
            certain=candidate.place != "anywhere",
        )  # fmt: skip


def _add(result: Scan, read: _Read, found: Hits, namer: Namer, known: KnownNames) -> None:
    open_places: list[Unresolved] = []
    candidates: list[AuditHit] = []
    for hit in found:
        if isinstance(hit, Unresolved):
            open_places.append(hit)
        else:
            candidates.append(hit)
    for name, candidate in _named(candidates, namer):
        location = read.location(candidate)
        if read.ignores(candidate.line):
            result.ignored.append(location)
            continue
        canonical = ModelName(known.model(name.id) or name.id, name.revision)
        result.models.setdefault(canonical, []).append(location)
    data = {(hit.line, hit.column, id): hit for hit in candidates if (id := namer.data_set(hit)) is not None}
    for (line, _, id), hit in sorted(data.items()):
        if read.ignores(line):
            result.ignored.append(read.location(hit))
        else:
            result.data_sets.setdefault(id, []).append(read.location(hit))
    result.unresolved += [
        RuntimeChoice(read.file.shown, one.line, one.column, printable(one.text)) for one in dict.fromkeys(open_places)
    ]


def _named(found: Iterable[AuditHit], namer: Namer) -> list[tuple[ModelName, AuditHit]]:
    """The candidates that are models: at one place only the best evidence counts, each (model, revision) once."""
    by_place: dict[tuple[int, int, str], list[tuple[ModelName, AuditHit]]] = {}
    for candidate in found:
        if (name := namer.model(candidate)) is not None:
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
