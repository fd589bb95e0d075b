"""A local folder with a model's files -> Model. Reads names, texts, configs and headers of weights, never weights."""

import json
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from modelpick import files
from modelpick.catalog import card, headers, terms
from modelpick.catalog.model import Model
from modelpick.catalog.parts import NO_CONFIG, RepositoryParts, assembled
from modelpick.errors import UsageError

LARGEST_TEXT = 2_000_000  # bytes read of a card or a license; the longest license text in the collected ones is 62 kB
LARGEST_JSON = 4_000_000  # bytes of config.json, adapter_config.json; the longest configs on the Hub are some 400 kB
LARGEST_INDEX = 64_000_000  # bytes of model.safetensors.index.json: 100,000 tensors are 10 MB
GGUF_START = 1 << 18  # bytes of a GGUF file read for its general.* keys, which stand first
_SHA = re.compile(r"[0-9a-f]{40}")


def read_folder(path: Path) -> Model:
    """The model in a folder: card, terms, config.json, adapter_config.json, safetensors and GGUF headers.

    `Model.notes` says what a damaged card or header hides. Raises UsageError: `no_such_folder`, `no_model_here`
    (none of a model's files), `bad_json` (a config.json that is broken, not an object, or out of JSON's numbers).
    """
    names, notes = _listed(path)
    config = _json(path / "config.json") if "config.json" in names else None
    adapter = _json(path / "adapter_config.json") if "adapter_config.json" in names else None
    texts = _texts(path, names, notes)
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
            parameters_by_dtype=by_dtype,
            notes=tuple(notes),
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


def _listed(path: Path) -> tuple[tuple[str, ...], list[str]]:
    """Names of the folder's files, those in a folder of licenses included, and notes on links that are not followed."""
    try:
        names = [entry.name for entry in path.iterdir()]
        for name in tuple(names):
            if terms.kind_of(f"{name}/name") and (path / name).is_dir() and not (path / name).is_symlink():
                names += [f"{name}/{inner.name}" for inner in (path / name).iterdir()]
    except (OSError, ValueError) as error:
        why = "is not a folder" if path.is_file() else "is not there" if not path.exists() else "cannot be opened"
        raise UsageError(
            f"{path} {why}",
            fix="give the path of a folder with config.json, or a Hub id org/name",
            code="no_such_folder",
        ) from error
    kept = tuple(sorted(name for name in names if file_in(path, name) is not None))
    links = sorted(name for name in set(names) - set(kept) if (path / name).is_symlink() and not (path / name).is_dir())
    return kept, [f"{name} is a link that leaves the folder or is broken: not read" for name in links]


def _json(file: Path) -> dict[str, object]:
    fix = "give the folder of the model itself"
    data = files.read_bytes(file, code="bad_json", fix=fix, largest=LARGEST_JSON)
    return parse_json(data, str(file))


def _texts(path: Path, names: Iterable[str], notes: list[str]) -> dict[str, str]:
    texts = {}
    for name in names:
        if name.lower() == "readme.md" or terms.kind_of(name):
            if not terms.is_plain_text(name):
                notes.append(f"{name} is not plain text: not read")
                continue
            data = files.read_start(path / name, LARGEST_TEXT + 1, code="unreadable_file", fix="make it readable")
            if len(data) > LARGEST_TEXT:
                notes.append(f"{name} is longer than {LARGEST_TEXT:,} bytes: only its beginning was read")
            if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
                notes.append(f"{name} is not text: not read")
                continue
            texts[name], remarks = card.decode(data[:LARGEST_TEXT])
            notes += [f"{name}: {remark}" for remark in remarks]
    return texts


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
