"""Which facts are in force: those embedded in the package, or a newer snapshot of the same files. No network.

A snapshot is a folder DATE-HASH of all data files (`FILES`) with a manifest.json. It comes from `modelpick update`
(in the user's data folder, where pointer.json says which one is current) or from the package modelpick-data. It is used
where it is of this version's form and no fact in it is older than the embedded ones; `Facts.ignored` says why one is
not. Every file is checked against the manifest's hash when it is read.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, cast

from modelpick import __version__, files, settings
from modelpick.errors import UsageError
from modelpick.schema import IsoDate, read

SCHEMA_VERSION = 1
KINDS = ("models", "prices", "scores")
FILES = (
    "catalog/models.jsonl",
    "offers/auxiliary.json",
    "offers/gpus.json",
    "offers/instances.jsonl",
    "offers/manifest.json",
    "offers/price_history.json",
    "offers/prices.jsonl",
    "offers/regions.json",
)
"""The data files of a snapshot, as ROOM/NAME; embedded they lie in modelpick/ROOM/data/NAME."""
EMBEDDED, NEWEST = "embedded", "newest"
PACKAGE = "modelpick_data"
"""The module of the published package of facts: a folder of one snapshot."""
_CODE = "bad_snapshot"
_FIX = f"go back with `modelpick update --back`, or set {settings.DATA_VARIABLE}={EMBEDDED}"

Kind = Literal["models", "prices", "scores"]
FactsSource = Literal["embedded", "snapshot", "package"]
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What lies in a snapshot: the version that made it and when, the newest day of each kind, a hash for each file."""

    schema_version: int
    modelpick: str
    made_on: IsoDate
    as_of: Mapping[str, str]
    rows: Mapping[str, int]
    files: Mapping[str, str]
    sources: Mapping[str, Any] = field(default_factory=dict)
    ignores_unknown = True  # a later version may say more

    @property
    def hash(self) -> str:
        """The sha256 of all files, by name."""
        return hash_of(self.files)

    @property
    def name(self) -> str:
        """The folder's name: the day and the first twelve digits of the hash."""
        return f"{self.made_on}-{self.hash[:12]}"


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts in force. `ignored`: why a snapshot that is there is not used; None where none was passed over."""

    source: FactsSource
    name: str
    folder: Path | None
    manifest: Manifest | None
    ignored: str | None = None

    @property
    def hash(self) -> str:
        """The sha256 of all data files in force."""
        return _embedded_hash() if self.manifest is None else self.manifest.hash

    @property
    def as_of(self) -> Mapping[str, str]:
        """Kind -> the newest day of its facts, as ISO text; a month where a source gives no day."""
        return _embedded_days() if self.manifest is None else self.manifest.as_of

    def text(self, file: str) -> str:
        """One of `FILES`. Raises UsageError(code="bad_snapshot") where it is not what the manifest says."""
        if self.folder is None or self.manifest is None:
            return _embedded(file)
        return verified(self.folder, self.manifest, file)

    def as_json(self) -> dict[str, object]:
        """The object `facts` of every answer."""
        days = {f"{kind}_as_of": self.as_of.get(kind) for kind in KINDS}
        return {"source": self.source, "name": self.name, "hash": self.hash, **days}


def in_force() -> Facts:
    """The facts that this process answers from; settled once for an environment and a working folder.

    Raises UsageError: `unknown_snapshot` for one that the settings name and that is not there, `bad_snapshot` for one
    that is damaged or, where it is named, of another form; and what `settings.load` raises.
    """
    names = (settings.DATA_VARIABLE, "XDG_DATA_HOME", "LOCALAPPDATA", "XDG_CONFIG_HOME", "APPDATA", "HOME")
    return _settled(tuple(os.environ.get(name) for name in names), _working_folder())


def _working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed: no settings lie in it
        return ""


def forget() -> None:
    """Settle anew which facts are in force: after an update."""
    _settled.cache_clear()


def per_facts(function: Callable[P, R]) -> Callable[P, R]:
    """As functools.cache, but kept apart for each facts in force."""

    kept: dict[str, Callable[P, R]] = {}

    @wraps(function)
    def call(*args: P.args, **named: P.kwargs) -> R:
        name = in_force().name
        if name not in kept:
            kept[name] = cast(Callable[P, R], cache(function))
        return kept[name](*args, **named)

    return call


@cache
def _settled(environment: tuple[str | None, ...], folder: str) -> Facts:
    wanted = settings.load().data.use
    if wanted == EMBEDDED:
        return embedded_facts()
    if wanted != NEWEST:
        return named(wanted)
    pointer = Pointer.read()
    ignored: str | None = None
    if pointer.held and pointer.current == EMBEDDED:
        return embedded_facts()
    found: list[Facts] = []
    for source, place in (("snapshot", pointer.folder), ("package", _installed())):
        if place is None:
            continue
        manifest = manifest_in(place)
        why = unusable(manifest)
        if why is None:
            found.append(Facts("package" if source == "package" else "snapshot", manifest.name, place, manifest))
            if pointer.held:
                break
        else:
            ignored = ignored or f"the {source} {manifest.name} is not used: {why}"
    if not found:
        return embedded_facts(ignored)
    return max(found, key=lambda facts: facts.manifest.made_on if facts.manifest else "")  # the user's own on a tie


def embedded_facts(ignored: str | None = None) -> Facts:
    """The facts in the package itself."""
    return Facts("embedded", EMBEDDED, None, None, ignored)


def named(wanted: str) -> Facts:
    """The user's snapshot whose name begins with `wanted`. Raises UsageError: `unknown_snapshot`, `bad_snapshot`."""
    root = root_folder()
    matches = sorted(path for path in root.glob(f"{_plain(wanted)}*") if path.is_dir()) if root else []
    if len(matches) != 1:
        known = ", ".join(path.name for path in folders()) or "none"
        raise UsageError(
            f"{len(matches) or 'no'} snapshots are called {wanted!r}; there are: {known}",
            fix=f"name one of them, {NEWEST} or {EMBEDDED} in {settings.DATA_VARIABLE} or `[data] use`",
            code="unknown_snapshot",
        )
    manifest = manifest_in(matches[0])
    why = unusable(manifest, older=True)
    if why is not None:
        raise UsageError(f"the snapshot {manifest.name} cannot be used: {why}", fix=_FIX, code=_CODE)
    return Facts("snapshot", manifest.name, matches[0], manifest)


def _plain(name: str) -> str:
    return re.sub(r"[^0-9a-z-]", "?", name)


# The user's snapshots -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which snapshot of the user's is current, and which there are, the oldest first. One small file, replaced whole.

    `held`: the user went back to it, so a newer package does not take its place until the next update.
    """

    current: str | None = None
    order: tuple[str, ...] = ()
    held: bool = False
    ignores_unknown = True

    @property
    def folder(self) -> Path | None:
        """The current snapshot's folder; None where there is none."""
        root = root_folder()
        return None if root is None or self.current in (None, EMBEDDED) else root / str(self.current)

    @staticmethod
    def read() -> "Pointer":
        """The pointer in the user's data folder. Raises UsageError(code="bad_snapshot") for a damaged one."""
        root = root_folder()
        path = None if root is None else root / "pointer.json"
        if path is None or not os.path.lexists(path):
            return Pointer()
        pointer = read(Pointer, files.read_json(path, code=_CODE, fix=f"delete {path}"), str(path), _CODE)
        for name in (pointer.current, *pointer.order):
            if name not in (None, EMBEDDED) and re.fullmatch(r"\d{4}-\d\d-\d\d-[0-9a-f]{12}", name or "") is None:
                raise UsageError(f"{path} names no snapshot: {name!r}", fix=f"delete {path}", code=_CODE)
        return pointer


def root_folder() -> Path | None:
    """The folder of the user's snapshots; None where there is no home folder."""
    return files.user_data("snapshots", variable="MODELPICK_SNAPSHOTS")


def folders() -> list[Path]:
    """The folders of the user's snapshots, by name."""
    root = root_folder()
    return sorted(path for path in root.glob("????-??-??-*") if path.is_dir()) if root and root.is_dir() else []


def _installed() -> Path | None:
    """The folder of the package modelpick-data, where it is installed."""
    spec = find_spec(PACKAGE)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def called(name: str) -> Facts:
    """The embedded facts, those in force (`newest`), or a snapshot by its name. Raises as `named` does."""
    return embedded_facts() if name == EMBEDDED else in_force() if name == NEWEST else named(name)


def before(facts: Facts) -> Facts:
    """The facts that were in force before these: the user's snapshot before this one, else the embedded ones."""
    order = Pointer.read().order
    earlier = order[: order.index(facts.name)] if facts.name in order else ()
    return named(earlier[-1]) if earlier else embedded_facts()


# One snapshot ----------------------------------------------------------------------------------------------------


def manifest_in(folder: Path) -> Manifest:
    """The manifest of a snapshot. Raises UsageError(code="bad_snapshot") for a missing or damaged one."""
    path = folder / "manifest.json"
    return manifest_from(files.read_json(path, code=_CODE, fix=_FIX), str(path))


def manifest_from(content: object, where: str) -> Manifest:
    """A manifest as parsed. Raises UsageError(code="bad_snapshot") for what is none."""
    manifest = read(Manifest, content, where, _CODE)
    if set(manifest.files) < set(FILES) or any(
        re.fullmatch("[0-9a-f]{64}", sha) is None for sha in manifest.files.values()
    ):
        raise UsageError(f"{where} does not list every data file with its hash", fix=_FIX, code=_CODE)
    days = [manifest.as_of.get(kind, "") for kind in KINDS]
    if any(re.fullmatch(r"\d{4}-\d\d(-\d\d)?", day) is None for day in days):
        raise UsageError(f"{where} does not date models, prices and scores", fix=_FIX, code=_CODE)
    return manifest


def verified(folder: Path, manifest: Manifest, file: str) -> str:
    """The text of a snapshot's file. Raises UsageError(code="bad_snapshot") where its hash is not the manifest's."""
    content = files.read_bytes(folder / file, code=_CODE, fix=_FIX)
    if hashlib.sha256(content).hexdigest() != manifest.files[file]:
        raise UsageError(f"{folder / file} is damaged: its hash is not the one in its manifest", fix=_FIX, code=_CODE)
    return content.decode("utf-8")


def unusable(manifest: Manifest, *, older: bool = False) -> str | None:
    """Why this version of modelpick does not use a snapshot; None where it does. `older`: old facts are asked for."""
    if manifest.schema_version != SCHEMA_VERSION:
        return f"its form is {manifest.schema_version}, this version reads {SCHEMA_VERSION}; run `modelpick update`"
    if _version(manifest.modelpick) < _version(__version__):
        return f"modelpick {manifest.modelpick} made it, this is {__version__}; run `modelpick update`"
    for kind, day in _embedded_days().items():
        if manifest.as_of[kind] < day and not older:
            return f"its {kind} are of {manifest.as_of[kind]}, the embedded ones of {day}; run `modelpick update`"
    return None


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def hash_of(listed: Mapping[str, str]) -> str:
    """The sha256 that names a set of files: of `NAME HASH` lines in the order of the names."""
    return hashlib.sha256("".join(f"{name} {listed[name]}\n" for name in sorted(listed)).encode()).hexdigest()


def days_of(text: Callable[[str], str]) -> dict[str, str]:
    """The newest day of each kind, as the data files state it; `text` reads one of `FILES`."""
    header = json.loads(text("catalog/models.jsonl").partition("\n")[0])
    boards = [row["as_of"] for row in header["boards"].values() if row["as_of"]]
    return {
        "models": header["as_of"],
        "prices": json.loads(text("offers/manifest.json"))["prices_as_of"],
        "scores": max(boards, default="0000-00"),
    }


def _embedded(file: str) -> str:
    room, _, name = file.partition("/")
    return files.read_text(files.data_file(room, name), code="broken_installation")


@cache
def _embedded_hash() -> str:
    return hash_of({file: hashlib.sha256(_embedded(file).encode()).hexdigest() for file in FILES})


@cache
def _embedded_days() -> Mapping[str, str]:
    return days_of(_embedded)
