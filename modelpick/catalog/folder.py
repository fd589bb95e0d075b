"""A local folder with a model's files -> Model. Reads names, texts, configs and headers of weights, never weights."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from modelpick.catalog import card, headers
from modelpick.catalog.model import Model
from modelpick.catalog.parts import NO_CONFIG, Parts, assembled
from modelpick.errors import UsageError

# Names of files that carry terms, as seen on the Hub: LICENSE-MODEL, LICENCE.txt, gemma_license.md, USE_POLICY.md, ...
TERMS_FILE = re.compile(
    r"(.*[ _-])?(licen[cs]e|copying|notice|eula|third[ _-]?party"
    r"|(use|usage|acceptable[ _-]?use)[ _-]?policy|terms([ _-]of[ _-]use)?)([ ._-].*)?",
    re.IGNORECASE,
)
_NO_TEXT = (".py", ".json", ".bin", ".safetensors", ".png", ".jpg", ".jpeg", ".svg", ".pdf", ".gguf", ".pt")
LARGEST_TEXT = 2_000_000  # bytes read of a card or a license; the longest license text in the collected ones is 62 kB
LARGEST_JSON = 4_000_000  # bytes of config.json, adapter_config.json; the longest configs on the Hub are some 400 kB
LARGEST_INDEX = 64_000_000  # bytes of model.safetensors.index.json: 100,000 tensors are 10 MB
GGUF_START = 1 << 18  # bytes of a GGUF file read for its general.* keys, which stand first
_SHA = re.compile(r"[0-9a-f]{40}")


def is_terms(name: str) -> bool:
    """Whether a file of this name carries terms (license, notice, use policy) as text."""
    return "/" not in name and not name.lower().endswith(_NO_TEXT) and TERMS_FILE.fullmatch(name) is not None


def read_folder(path: Path) -> Model:
    """The model in a folder: card, terms, config.json, adapter_config.json, safetensors and GGUF headers.

    What a damaged card or header hides is said in `Model.notes`. Raises UsageError: `no_such_folder`, `no_model_here`
    (none of a model's files), `bad_json` (a config.json that is broken, not an object, or out of JSON's numbers).
    """
    names = _names(path)
    notes: list[str] = []
    config = _json(path / "config.json") if "config.json" in names else None
    adapter = _json(path / "adapter_config.json") if "adapter_config.json" in names else None
    texts = _texts(path, names, notes)
    ggufs = [name for name in names if name.lower().endswith(".gguf")]
    weights = [name for name in names if name.endswith(".safetensors")]
    if config is None and adapter is None and not texts and not ggufs and not weights:
        raise UsageError(
            f"{_shown(path)} holds none of a model's files",
            fix="give a folder with config.json (and README.md, LICENSE), or a Hub id org/name",
            code="no_model_here",
        )
    if config is None:
        notes.append(NO_CONFIG)
    gguf = _gguf(path, ggufs, notes)
    by_dtype = _counts(path, names, notes)
    sha = path.resolve().name
    return assembled(
        Parts(
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


def parse_json(data: bytes, where: str) -> dict[str, Any]:
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
    raise UsageError(f"{where} is not readable: {problem}", fix=f"mend {where}, or download it again", code="bad_json")


def _names(path: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(entry.name for entry in path.iterdir() if entry.is_file()))
    except (OSError, ValueError) as error:
        why = "is not a folder" if path.is_file() else "is not there" if not path.exists() else "cannot be opened"
        raise UsageError(
            f"{_shown(path)} {why}",
            fix="give the path of a folder with config.json, or a Hub id org/name",
            code="no_such_folder",
        ) from error


def _json(file: Path) -> dict[str, Any]:
    return parse_json(_bytes(file, LARGEST_JSON + 1, whole=LARGEST_JSON), _shown(file))


def _bytes(file: Path, size: int, whole: int | None = None) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(size)
    except OSError as error:
        raise UsageError(f"{_shown(file)} cannot be read", fix="make it readable", code="unreadable_file") from error
    if whole is not None and len(data) > whole:
        raise UsageError(
            f"{_shown(file)} is larger than {whole:,} bytes", fix="give the folder of the model itself", code="bad_json"
        )
    return data


def _texts(path: Path, names: Iterable[str], notes: list[str]) -> dict[str, str]:
    texts = {}
    for name in names:
        if name.lower() == "readme.md" or is_terms(name):
            data = _bytes(path / name, LARGEST_TEXT + 1)
            if len(data) > LARGEST_TEXT:
                notes.append(f"{name} is longer than {LARGEST_TEXT:,} bytes: only its beginning was read")
            if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
                notes.append(f"{name} is no text: not read")
                continue
            texts[name], remarks = card.decode(data[:LARGEST_TEXT])
            notes += [f"{name}: {remark}" for remark in remarks]
    return texts


def _counts(path: Path, names: tuple[str, ...], notes: list[str]) -> dict[str, int]:
    index = None
    if "model.safetensors.index.json" in names:
        try:
            data = _bytes(path / "model.safetensors.index.json", LARGEST_INDEX)
            index = parse_json(data, "model.safetensors.index.json")
        except UsageError as error:
            notes.append(f"{error.message}: parameters not counted")
            return {}
    files = headers.weight_files(names, index)
    if absent := [name for name in files if name not in names]:
        notes.append(f"{len(absent)} of {len(files)} weight files are not here: parameters not counted")
        return {}
    counts = []
    for name in files:
        try:
            with (path / name).open("rb") as stream:
                length = headers.safetensors_header_length(stream.read(8))
                counts.append(headers.parameters_by_dtype(stream.read(length)))
        except (OSError, ValueError) as error:
            notes.append(f"{name}: {error}: parameters not counted")
            return {}
    return headers.added(counts)


def _gguf(path: Path, names: list[str], notes: list[str]) -> dict[str, Any] | None:
    if not names:
        return None
    try:
        return headers.gguf_general(_bytes(path / names[0], GGUF_START))
    except (ValueError, UsageError) as error:
        notes.append(f"{names[0]}: {error}")
        return None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _shown(path: Path) -> str:
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")
