"""The user's snapshots on disk: written whole or not at all, verified, switched by one rename, gone back to, pruned.

The order is what makes a kill harmless. Files go into a hidden folder and are synced; the folder is read back and
verified; it gets its name by a rename; then pointer.json is replaced. Until that last step the old snapshot is in
force, and what a killed update left is removed by the next one.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelpick import __version__, files
from modelpick.catalog import snapshot
from modelpick.catalog.snapshot import EMBEDDED, Facts, Manifest, Pointer
from modelpick.errors import UsageError
from modelpick.schema import IsoDate, to_json

KEPT = 5
"""Snapshots kept, the current one included: a month of weekly updates to go back to, in some 5 MB."""
CODE = "cannot_update"
"""The error code of what the file system refuses."""
JOURNAL = "journal.jsonl"

Step = Callable[[str], None]
"""Called before each step of the switch; tests end the process in it."""


@dataclass(frozen=True, slots=True)
class Content:
    """The files of a snapshot to be, and what its manifest says besides."""

    texts: Mapping[str, str]
    made_on: str
    sources: Mapping[str, Any]

    def manifest(self) -> Manifest:
        """The manifest that describes these files."""
        return Manifest(
            schema_version=snapshot.SCHEMA_VERSION,
            modelpick=__version__,
            made_on=IsoDate(self.made_on),
            as_of=snapshot.days_of(self.texts.__getitem__),
            rows={file: text.count("\n") for file, text in self.texts.items() if file.endswith(".jsonl")},
            files={file: hashlib.sha256(text.encode()).hexdigest() for file, text in self.texts.items()},
            sources=self.sources,
        )


@contextmanager
def changing() -> Iterator[Path]:
    """The folder of snapshots, for one process at a time, without the rests of a killed one.

    Raises UsageError: `no_home`, `update_running`, `cannot_update`.
    """
    root = snapshot.root_folder()
    if root is None:
        raise UsageError(
            "there is no home folder to keep snapshots in", fix="set HOME or XDG_DATA_HOME", code="no_home"
        )
    files.make_folder(root, code=CODE)
    with files.locked(root, code="update_running", fix="wait until the other update is done"):
        for rest in root.glob(".*.partial"):
            shutil.rmtree(rest, ignore_errors=True) if rest.is_dir() else rest.unlink(missing_ok=True)
        yield root


def put(root: Path, content: Content, *, verify: Callable[[Facts], None], step: Step = lambda name: None) -> Facts:
    """Makes `content` the current snapshot and returns it; the one that was current stays on disk.

    `verify` gets the snapshot as read back from the disk and raises for what may not count. Raises UsageError
    (code="cannot_update") for what the file system refuses, a full disk among it; the old snapshot is then in force.
    """
    manifest = content.manifest()
    target = root / manifest.name
    if not _is_whole(target, manifest):
        shutil.rmtree(target, ignore_errors=True)
        with files.new_folder(target, code=CODE) as partial:
            _fill(partial, content, manifest, step)
            step("verify")
            verify(_facts(partial))
            step("rename")
    step("sync")
    files.sync_folder(root)
    pointer = Pointer.read()
    order = (*(name for name in pointer.order if name != manifest.name), manifest.name)
    step("point")
    _point(root, Pointer(current=manifest.name, order=order[-KEPT:], held=False))
    step("prune")
    _prune(root)
    snapshot.forget()
    return _facts(target)


def go_back(root: Path) -> Facts:
    """The snapshot before the current one, or the embedded facts where there is none, is in force from now on."""
    pointer = Pointer.read()
    if pointer.current in (None, EMBEDDED):
        raise UsageError(
            "the embedded facts are in force: nothing lies before them", fix="see --check", code="no_snapshot"
        )
    earlier = pointer.order[: pointer.order.index(str(pointer.current))] if pointer.current in pointer.order else ()
    return use(root, earlier[-1] if earlier else EMBEDDED)


def use(root: Path, name: str) -> Facts:
    """The snapshot called `name` (its day is enough), or the embedded facts, is in force until the next update.

    Raises UsageError: `unknown_snapshot`, `bad_snapshot`.
    """
    facts = snapshot.embedded_facts() if name == EMBEDDED else snapshot.named(name)
    if facts.manifest is not None:
        for file in facts.manifest.files:
            facts.text(file)
    _point(root, replace(Pointer.read(), current=facts.name, held=True))
    snapshot.forget()
    return facts


def _fill(folder: Path, content: Content, manifest: Manifest, step: Step) -> None:
    for file, text in content.texts.items():
        step(f"write {file}")
        files.make_folder((folder / file).parent, code=CODE)
        files.write_atomically(folder / file, text, code=CODE)
    step("write manifest.json")
    files.write_atomically(folder / "manifest.json", json.dumps(to_json(manifest), indent=1) + "\n", code=CODE)
    for part in {(folder / file).parent for file in content.texts} | {folder}:
        files.sync_folder(part)


def _facts(folder: Path) -> Facts:
    manifest = snapshot.manifest_in(folder)
    return Facts("snapshot", manifest.name, folder, manifest)


def _is_whole(folder: Path, manifest: Manifest) -> bool:
    """Whether the very same snapshot lies there: a killed update renamed it and did not come to point to it."""
    try:
        return snapshot.manifest_in(folder).hash == manifest.hash and all(
            snapshot.verified(folder, manifest, file) is not None for file in manifest.files
        )
    except UsageError:
        return False


def _point(root: Path, pointer: Pointer) -> None:
    files.write_atomically(root / "pointer.json", json.dumps(to_json(pointer)) + "\n", code=CODE)


def _prune(root: Path) -> None:
    kept = {*Pointer.read().order, Pointer.read().current}
    for folder in snapshot.folders():
        if folder.name not in kept:
            shutil.rmtree(folder, ignore_errors=True)
