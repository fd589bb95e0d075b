"""Where checkpoints are kept a second time: a folder on another disk, or a bucket."""

import shutil
from dataclasses import dataclass
from pathlib import Path

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


def store_for(address: str) -> Store:
    """The store an address means: `s3://bucket/prefix`, otherwise a folder."""
    if address.startswith("s3://"):
        from modelpick.aws.checkpoint_store import open_bucket

        return open_bucket(address)
    return FolderStore(Path(address))
