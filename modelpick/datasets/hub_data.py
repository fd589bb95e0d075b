"""A data set of the Hub by its id (`org/name@revision:split`), whose license is judged by its card."""

import re
from pathlib import Path

from modelpick.catalog import lookup
from modelpick.datasets.records import SUFFIXES
from modelpick.errors import UsageError

_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+?))?(?::(?P<split>[\w.-]+))?")
_CACHED = re.compile(r"datasets--([^/\\]+?)--([^/\\]+)[/\\]snapshots[/\\]")
_NO_DATA = (
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
    "state.json",
)  # notes of the library datasets


def local(name: str, *, offline: bool = False) -> Path:
    """The file that `name` is: a path as it is, a data set's id by the file of its split in the cache.

    Raises RemoteError (code "gated" where its terms were not accepted), and UsageError(code="no_such_split") for a
    split that is not one file.
    """
    path, known = Path(name).expanduser(), _ID.fullmatch(name)
    if known is None or path.exists() or path.parent.is_dir() or path.suffix.lower() in SUFFIXES:
        return path
    id, revision, split = known["id"], known["revision"], known["split"]
    if offline:
        raise UsageError(
            f"{name} is not a file, and --offline asks no Hub for a data set",
            fix="give the file, or leave out --offline",
            code="no_data_file",
        )
    files = lookup.listed(f"datasets/{id}", revision)
    if not files:  # why not is huggingface_hub's to say: gated, absent, no network
        return lookup.download_data(id, revision, [], offline=False) / "README.md"
    file = _file_of(name, files, split)
    return lookup.download_data(id, revision, [file]) / file


def _file_of(name: str, files: list[str], split: str | None) -> str:
    """The one data file of a split; of a data set with a single file that one."""
    data = [file for file in files if Path(file).suffix.lower() in SUFFIXES and Path(file).name not in _NO_DATA]
    wanted = split or "train"
    found = [file for file in data if wanted.lower() in re.split(r"[^a-z0-9]+", file.lower())]
    if not found and split is None:
        found = data
    if len(found) == 1:
        return found[0]
    shown = ", ".join(sorted(found or data)[:3]) or "no JSON, CSV or Parquet"
    raise UsageError(
        f"the split {wanted} of {name} is not one file: {shown}",
        fix="name another split as ORG/NAME:SPLIT, or fetch its files and give their folder",
        code="no_such_split",
    )


def source_of(path: Path) -> tuple[str, ...]:
    """The data set that a file in the Hub's cache belongs to, as a declared source; () for any other file."""
    found = _CACHED.search(str(path))
    return (f"{found[1]}/{found[2]}",) if found else ()
