"""Checkpoints that are either whole or not there: a folder counts once its marker, written last, lists its files.

The same rule holds for a remote copy: the marker goes up last, and comes down first.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelpick import files
from modelpick.errors import ModelpickError, UsageError
from modelpick.files import write_atomically

MARKER = "complete.json"
_PREFIX = "checkpoint-"
# A full disk through libraries that turn errno into text (safetensors, torch's zip writer, glibc's strerror).
_CANNOT_GROW_WORDS = ("no space left", "quota exceeded", "file too large", "file write failed", "unexpected pos")


class Store(Protocol):
    """A second place where checkpoints are kept (a bucket, another disk)."""

    def put(self, file: Path, name: str) -> None:
        """Copy a file there under `name`."""
        ...

    def get(self, name: str, file: Path) -> None:
        """Copy `name` from there to a file."""
        ...

    def names(self) -> list[str]:
        """Everything there."""
        ...

    def delete(self, name: str) -> None:
        """Remove one."""
        ...


def seal(folder: Path) -> None:
    """Declare a checkpoint whole: flush every file to the disk, then write the marker by rename."""
    sizes: dict[str, int] = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MARKER):
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())
        sizes[file.relative_to(folder).as_posix()] = file.stat().st_size
    write_atomically(folder / MARKER, json.dumps({"schema_version": 1, "files": sizes}, indent=1))


def is_whole(folder: Path) -> bool:
    """Whether the marker is there and every file it lists has its size."""
    try:
        return all((folder / name).stat().st_size == size for name, size in _sizes(folder).items())
    except (UsageError, OSError, KeyError, TypeError, AttributeError):
        return False


def _sizes(checkpoint: Path) -> dict[str, int]:
    """Bytes of every file of a checkpoint, as its marker lists them."""
    sizes: dict[str, int] = files.read_json(checkpoint / MARKER, code="broken_checkpoint")["files"]
    return sizes


def step_of(folder: Path) -> int:
    """The step a checkpoint folder is of, -1 for any other folder."""
    number = folder.name.removeprefix(_PREFIX)
    return int(number) if folder.name.startswith(_PREFIX) and number.isdigit() else -1


def of_step(folder: Path, step: int) -> Path:
    """The folder of the checkpoint of a step, whether it is there or not."""
    return folder / f"{_PREFIX}{step}"


def best_step(checkpoint: Path) -> int | None:
    """The step whose loss was the best when a checkpoint was written (transformers' trainer_state.json); None where
    none was evaluated."""
    try:
        state = files.read_json(checkpoint / "trainer_state.json", code="broken_checkpoint")
        return int(state["best_global_step"]) if state.get("best_global_step") else None
    except (UsageError, TypeError, ValueError, AttributeError):
        return None


def newest(folder: Path) -> Path | None:
    """The whole checkpoint with the highest step."""
    if not folder.is_dir():
        return None
    whole = [path for path in folder.iterdir() if step_of(path) >= 0 and is_whole(path)]
    return max(whole, key=step_of, default=None)


def remove_partial(folder: Path) -> None:
    """Remove checkpoint folders that were being written when the process died."""
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        if step_of(path) >= 0 and not is_whole(path):
            shutil.rmtree(path, ignore_errors=True)


def keep_newest(folder: Path, count: int = 2) -> None:
    """Remove all but the newest whole checkpoints, and the best one that the newest knows of. Two stay: one to resume
    from if the other is found damaged. One, while the next is written: a disk has to hold two and the best at most."""
    whole = sorted((path for path in folder.iterdir() if step_of(path) >= 0 and is_whole(path)), key=step_of)
    best = best_step(whole[-1]) if whole else None
    for path in whole[:-count]:
        if step_of(path) != best:
            shutil.rmtree(path, ignore_errors=True)


def upload(checkpoint: Path, store: Store) -> None:
    """Copy a whole checkpoint to `store`, marker last, then drop older ones there, but for the best."""
    for name in [*_sizes(checkpoint), MARKER]:
        store.put(checkpoint / name, f"{checkpoint.name}/{name}")
    best = best_step(checkpoint)
    for name in store.names():
        step = step_of(Path(name.split("/")[0]))
        if 0 <= step < step_of(checkpoint) and step != best:
            store.delete(name)


def download_newest(folder: Path, store: Store) -> Path | None:
    """Bring the newest whole checkpoint of `store` to `folder`, unless a newer or equal one is there already; and the
    best one that it knows of."""
    found = _download_newest(folder, store)
    best = best_step(found) if found else None
    if best is not None and not is_whole(of_step(folder, best)):
        _download(of_step(folder, best), store.names(), store)
    return found


def _download_newest(folder: Path, store: Store) -> Path | None:
    names = store.names()
    steps = [step_of(Path(name.split("/")[0])) for name in names if name.endswith(f"/{MARKER}")]
    here = newest(folder)
    if not steps or (here is not None and step_of(here) >= max(steps)):
        return here
    target = of_step(folder, max(steps))
    _download(target, names, store)
    return target if is_whole(target) else here


def _download(target: Path, names: list[str], store: Store) -> None:
    """Bring one checkpoint, its marker last."""
    for name in sorted((n for n in names if n.startswith(f"{target.name}/")), key=lambda n: n.endswith(f"/{MARKER}")):
        file = target.parent / name
        file.parent.mkdir(parents=True, exist_ok=True)
        store.get(name, file)


def is_disk_full(error: BaseException) -> bool:
    """Whether a failed write failed for lack of room, whatever words the library uses."""
    if files.is_disk_full(error):
        return True
    return any(words in str(error).lower() for words in _CANNOT_GROW_WORDS)


@dataclass(frozen=True, slots=True)
class FolderStore:
    """A folder, such as a mounted share."""

    folder: Path

    def put(self, file: Path, name: str) -> None:
        """Copy a file there under `name`; readers never see a part of it."""
        target = self.folder / name
        files.make_folder(target.parent)
        files.copy_file(file, target)

    def get(self, name: str, file: Path) -> None:
        """Copy `name` from there to a file."""
        files.copy_file(self.folder / name, file)

    def names(self) -> list[str]:
        """Everything there."""
        whole = (path for path in self.folder.rglob("*") if path.is_file() and not path.name.endswith(".partial"))
        return sorted(path.relative_to(self.folder).as_posix() for path in whole)

    def delete(self, name: str) -> None:
        """Remove one."""
        (self.folder / name).unlink(missing_ok=True)


def open_folder(address: str) -> Store:
    """The folder an address names. Raises UsageError for a bucket, which needs `aws.checkpoint_store.open_store`."""
    if address.startswith("s3://"):
        raise UsageError(f"{address} is a bucket", fix="pass open_store=checkpoint_store.open_store", code="bad_store")
    return FolderStore(Path(address))


class TrainingStoppedError(ModelpickError):
    """Training could not go on; the last good state is kept. Codes: loss_not_finite, disk_full, out_of_memory."""


def last_good(folder: Path) -> str:
    """The newest whole checkpoint in words: its folder, or that there is none."""
    return str(newest(folder) or "the start")


def disk_full(folder: Path) -> TrainingStoppedError:
    """The error for a write that failed for lack of room; `folder` is that of the checkpoints."""
    return TrainingStoppedError(
        f"the disk of {folder} is full; the last good state is {last_good(folder)}",
        fix=f"free some space, then re-run the command, with --resume if {folder.parent / 'run.json'} exists",
        code="disk_full",
    )


@contextmanager
def disk_full_as_error(folder: Path) -> Iterator[None]:
    """Turn a write that fails for lack of room into TrainingStoppedError(code="disk_full")."""
    try:
        yield
    except TrainingStoppedError:
        raise
    except Exception as error:
        if files.is_disk_full(error) or (not isinstance(error, ModelpickError) and is_disk_full(error)):
            raise disk_full(folder) from None
        raise
