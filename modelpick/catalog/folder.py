"""A local folder with a model's files -> Model. Reads names, texts, configs and headers of weights, never weights."""

import json
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from modelpick import files
from modelpick.catalog import card, gguf_table, headers, parents, spdx_document, terms, text_file
from modelpick.catalog.model import Model, Unread
from modelpick.catalog.parts import NO_CONFIG, RepositoryParts, assembled
from modelpick.errors import UsageError

LARGEST_TEXT = 2_000_000  # bytes read of a card or a license; the longest license text in the collected ones is 62 kB
LARGEST_DOCUMENT = 8_000_000  # bytes read of a PDF or a word processor's file of terms
MOST_FILES = 50_000  # whose names are looked at, sub-folders included
LARGEST_JSON = 4_000_000  # bytes of config.json, adapter_config.json; the longest configs on the Hub are some 400 kB
LARGEST_INDEX = 64_000_000  # bytes of model.safetensors.index.json: 100,000 tensors are 10 MB
LARGEST_GGUF_TABLE = 1 << 27  # bytes: the vocabulary stands before the tensors, some 10 MB of it
GGUF_START = 1 << 18  # bytes of a GGUF file read for its general.* keys, which stand first
_NOT_THE_MODELS = frozenset({".git", ".cache", "__pycache__"})  # git's, huggingface_hub's and Python's own folders
_SHA = re.compile(r"[0-9a-f]{40}")


def read_folder(path: Path) -> Model:
    """The model in a folder: card, terms, config.json, adapter_config.json, safetensors and GGUF headers.

    `Model.notes` says what a damaged card or header hides. Raises UsageError: `no_such_folder`, `no_model_here`
    (none of a model's files), `bad_json` (a config.json that is broken, not an object, or out of JSON's numbers).
    """
    names, unread = _listed(path)
    notes: list[str] = []
    config = _json(path / "config.json") if "config.json" in names else None
    adapter = _json(path / "adapter_config.json") if "adapter_config.json" in names else None
    texts, not_whole = _texts(path, names, notes)
    ggufs = [name for name in names if name.lower().endswith(".gguf")]
    weights = [name for name in names if name.endswith(".safetensors")]
    if config is None and adapter is None and not texts and not ggufs and not weights:
        raise UsageError(
            f"{path} contains none of a model's files",
            fix="give a folder with config.json (and README.md, LICENSE), or a Hub id org/name",
            code="no_model_here",
        )
    if config is None:
        notes.append(NO_CONFIG)
    gguf = _gguf(path, ggufs, notes)
    table, problem = _gguf_table(path, ggufs) if config is None else (None, None)
    by_dtype = _counts(path, names, notes)
    sha = path.resolve().name
    return assembled(
        RepositoryParts(
            id=str(path),
            origin="folder",
            revision=sha if _SHA.fullmatch(sha) and path.resolve().parent.name == "snapshots" else None,
            files=names,
            texts=texts,
            config=config,
            adapter_config=adapter,
            gguf=gguf,
            gguf_table=table,
            gguf_problem=problem,
            parameters_by_dtype=by_dtype,
            notes=tuple(notes),
            unread=(*unread, *not_whole),
        )
    )


def parse_json(data: bytes, where: str) -> dict[str, object]:
    """A JSON object of finite numbers. Raises UsageError(code="bad_json") naming the file and the line."""
    text, _ = card.decode(data.removeprefix(b"\xef\xbb\xbf"))
    problem = "it is not a JSON object"
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        if isinstance(value, dict):
            return card.without_surrogates(value) if "\\ud" in text.lower() else value
    except json.JSONDecodeError as error:
        problem = f"{error.msg} at line {error.lineno}"
    except (ValueError, RecursionError) as error:
        problem = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:120]
    raise UsageError(f"{where} cannot be read: {problem}", fix=f"fix {where}, or download it again", code="bad_json")


def file_in(folder: Path, name: str) -> Path | None:
    """The regular file that `name` means within a model folder, links resolved; None for a link that leaves the folder.

    None too for what is not a regular file (a folder, a device, a FIFO), is not there, or is a link to itself. In a
    snapshot of huggingface_hub's cache the files are links into `blobs` of the same repository, which belong to it.
    """
    try:
        root = folder.resolve(strict=True)
        if root.parent.name == "snapshots" and (root.parent.parent / "blobs").is_dir():
            root = root.parent.parent
        file = (folder / name).resolve(strict=True)
        return file if file.is_relative_to(root) and stat.S_ISREG(file.stat().st_mode) else None
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop of links, before Python 3.13
        return None


def terms_in(folder: Path) -> tuple[str, ...]:
    """Names of a model folder's files of terms (`catalog.terms`), relative to it, in order. () for no folder."""
    try:
        return tuple(name for name in _listed(folder)[0] if terms.kind_of(name))
    except UsageError:
        return ()


def copy_terms(folder: Path, target: Path) -> tuple[str, ...]:
    """Copy a model folder's files of terms into `target`; returns their names. A file of the same name is replaced.

    Raises UsageError: `cannot_write` where `target` cannot be made, `cannot_copy` where a file cannot be copied.
    """
    copied = []
    for name in terms_in(folder):
        source = file_in(folder, name)
        if source is None or source == (target / name).resolve():
            continue
        files.make_folder((target / name).parent)
        files.copy_file(source, target / name)
        copied.append(name)
    return tuple(copied)


def _listed(path: Path) -> tuple[tuple[str, ...], list[Unread]]:
    """Names of the folder's files, with those that carry terms in its sub-folders, and what of the terms is not a file
    that could be read: a link that leaves the folder or is broken, a pipe, a folder behind a link.
    """
    try:
        names = {entry.name for entry in path.iterdir()}
        deeper, too_many = _deeper(path)
    except (OSError, ValueError) as error:
        why = "is not a folder" if path.is_file() else "is not there" if not path.exists() else "cannot be opened"
        raise UsageError(
            f"{path} {why}",
            fix="give the path of a folder with config.json, or a Hub id org/name",
            code="no_such_folder",
        ) from error
    kept = tuple(sorted(name for name in names | deeper if file_in(path, name) is not None))
    unread = [Unread("a sub-folder", f"more than {MOST_FILES:,} files: not all were looked at")] if too_many else []
    for name in sorted((names | deeper) - set(kept)):
        carries = terms.hints_at_terms(name) or terms.hints_at_terms(f"{name}/name") or name.lower() == "readme.md"
        if (path / name).is_symlink() and carries:
            unread.append(Unread(name, "it is a link that leaves the folder or is broken"))
        elif not (path / name).is_dir() and carries:
            unread.append(Unread(name, "it is not a regular file"))
    return kept, unread


def _deeper(path: Path) -> tuple[set[str], bool]:
    """Names in sub-folders that carry terms, or may; and whether there were too many files to look at them all.

    Links to folders are not followed, and a link called LICENSES is such a name itself (`_listed` asks about it).
    """
    found: set[str] = set()
    seen = 0
    for folder, folders, inside in os.walk(path):
        within = Path(folder).relative_to(path).as_posix()
        folders[:] = sorted(name for name in folders if name not in _NOT_THE_MODELS)
        seen += len(inside)
        if seen > MOST_FILES:
            return found, True
        if within != ".":
            names = (f"{within}/{name}" for name in [*inside, *folders])
            found |= {name for name in names if terms.hints_at_terms(name) and not (path / name).is_dir()}
    return found, False


def _json(file: Path) -> dict[str, object]:
    fix = "give the folder of the model itself"
    data = files.read_bytes(file, code="bad_json", fix=fix, largest=LARGEST_JSON)
    return parse_json(data, str(file))


def is_read(name: str) -> bool:
    """Whether a file's text is read: the card, recipes, SPDX documents, terms, and documents that may hold some."""
    return (
        name.lower() == "readme.md"
        or terms.kind_of(name) is not None
        or terms.is_document(name)
        or parents.is_recipe(name)
        or spdx_document.is_spdx(name)
    )


def longest_read(name: str) -> int:
    """How many bytes of a file are read at most."""
    return LARGEST_DOCUMENT if name.lower().endswith((".pdf", ".docx", ".odt")) else LARGEST_TEXT


def text_of(name: str, data: bytes, whole: bool, notes: list[str]) -> tuple[str | None, Unread | None]:
    """The text of a file and what of it was not read, which is only a note where its name does not hint at terms."""
    found = text_file.read(name, data, whole=whole)
    if found.note:
        notes.append(f"{name}: {found.note}")
    if found.unread is None:
        return found.text, None
    if name.lower() == "readme.md" or terms.hints_at_terms(name):
        return found.text, Unread(name, found.unread)
    notes.append(f"{name} was not wholly read: {found.unread}")
    return found.text, None


def _texts(path: Path, names: Iterable[str], notes: list[str]) -> tuple[dict[str, str], list[Unread]]:
    texts, not_whole = {}, []
    for name in filter(is_read, names):
        largest = longest_read(name)
        data = files.read_start(path / name, largest + 1, code="unreadable_file", fix="make it readable")
        text, unread = text_of(name, data[:largest], len(data) <= largest, notes)
        if text is not None:
            texts[name] = text
        if unread is not None:
            not_whole.append(unread)
    return texts, not_whole


def _counts(path: Path, names: tuple[str, ...], notes: list[str]) -> dict[str, int]:
    index = None
    if "model.safetensors.index.json" in names:
        try:
            data = files.read_bytes(path / "model.safetensors.index.json", code="bad_json", largest=LARGEST_INDEX)
            index = parse_json(data, "model.safetensors.index.json")
        except UsageError as error:
            notes.append(f"{error.message}: parameters not counted")
            return {}
    shards = headers.weight_files(names, index)
    if absent := [name for name in shards if name not in names]:
        notes.append(f"{len(absent)} of {len(shards)} weight files are missing: parameters not counted")
        return {}
    counts = []
    for name in shards:
        try:
            length = headers.safetensors_header_length(files.read_start(path / name, 8, code="unreadable_file"))
            header = files.read_start(path / name, 8 + length, code="unreadable_file")[8:]
            counts.append(headers.parameters_by_dtype(header))
        except (UsageError, ValueError) as error:
            notes.append(f"{name}: {error}: parameters not counted")
            return {}
    return headers.added(counts)


def _gguf_table(path: Path, names: list[str]) -> tuple[gguf_table.GgufTable | None, str | None]:
    """The table of the folder's one GGUF file, or why it cannot be believed; of several, none."""
    return gguf_table_of(path / names[0]) if len(names) == 1 else (None, None)


def gguf_table_of(file: Path) -> tuple[gguf_table.GgufTable | None, str | None]:
    """The table of tensors of a GGUF file, or why it cannot be believed."""
    size = file.stat().st_size
    for step in (1 << 20, 1 << 23, LARGEST_GGUF_TABLE):
        try:
            table = gguf_table.read(files.read_start(file, step, code="unreadable_file"))
        except gguf_table.NotWholeError:
            if step < size:
                continue
            return None, f"{file.name} ends before its table of tensors does"
        except ValueError as error:
            return None, f"{file.name}: {error}"
        if table.end > size:
            return None, f"{file.name} has {size:,} bytes, and its table describes {table.end:,}"
        return table, None
    return None, f"{file.name}: its table of tensors is larger than {LARGEST_GGUF_TABLE:,} bytes"


def _gguf(path: Path, names: list[str], notes: list[str]) -> dict[str, object] | None:
    if not names:
        return None
    try:
        return headers.gguf_general(files.read_start(path / names[0], GGUF_START, code="unreadable_file"))
    except (ValueError, UsageError) as error:
        notes.append(f"{names[0]}: {error}")
        return None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")
