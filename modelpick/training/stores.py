"""Where checkpoints are kept a second time: a folder on another disk, or a bucket."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from modelpick.errors import UsageError
from modelpick.training.checkpoints import Store


@dataclass(frozen=True, slots=True)
class FolderStore:
    """A folder, such as a mounted share."""

    folder: Path

    def put(self, file: Path, name: str) -> None:
        """Copy a file there under `name`; readers never see a part of it."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        shutil.copyfile(file, partial)
        partial.replace(target)

    def get(self, name: str, file: Path) -> None:
        """Copy `name` from there to a file."""
        shutil.copyfile(self.folder / name, file)

    def names(self) -> list[str]:
        """Everything there."""
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())

    def delete(self, name: str) -> None:
        """Remove one."""
        (self.folder / name).unlink(missing_ok=True)


def open_folder(address: str) -> Store:
    """The folder an address names. Raises UsageError for a bucket, which needs `aws.checkpoint_store.open_store`."""
    if address.startswith("s3://"):
        raise UsageError(f"{address} is a bucket", fix="pass open_store=checkpoint_store.open_store", code="bad_store")
    return FolderStore(Path(address))
