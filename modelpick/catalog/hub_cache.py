"""What was read of a commit, kept on disk: a commit never changes, so a second look needs no file again.

One JSON file per endpoint, repository and commit under the user's cache folder (XDG_CACHE_HOME, ~/.cache, LOCALAPPDATA;
MODELPICK_CACHE takes precedence). A damaged or foreign file is as good as none. Nothing behind a gate is kept. What was
not looked at for KEPT_DAYS goes, and beyond LARGEST the longest unused (`trim`).
"""

import contextlib
import hashlib
import json
import os
import re
import time
from pathlib import Path

from modelpick.errors import UsageError
from modelpick.files import make_folder, read_json, write_atomically

SCHEMA_VERSION = 2  # 1 did not say what was not read, and had no merge recipes
KEPT_DAYS = 90
LARGEST = 256 * 2**20  # bytes: about a thousand commits of the longest cards there are, ten thousand ordinary ones
_BEING_WRITTEN = re.compile(r"\.new-.*|\.[0-9a-f]{40}\..*\.partial")  # here and by earlier versions
_OVER_A_DAY = 86_400.0  # nobody writes one for that long: its writer died


_NAME = re.compile("[0-9a-f]{40}")


def default_folder() -> Path | None:
    """Where look-ups are kept, or None where this user has no folder for such."""
    if own := os.environ.get("MODELPICK_CACHE"):
        return Path(own) / "hub"
    if base := os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA"):
        return Path(base) / "modelpick" / "hub"
    try:
        return Path.home() / ".cache" / "modelpick" / "hub"
    except RuntimeError:  # no HOME and no user database
        return None


def load(folder: Path | None, endpoint: str, id: str, sha: str) -> dict[str, object] | None:
    """What `save` kept of this commit, or None."""
    if folder is None:
        return None
    file = _file(folder, endpoint, id, sha)
    try:
        kept = read_json(file, code="bad_cache")
    except UsageError:
        return None
    key = {"schema_version": SCHEMA_VERSION, "endpoint": endpoint, "id": id, "sha": sha}
    if not isinstance(kept, dict) or any(kept.get(name) != value for name, value in key.items()):
        return None
    with contextlib.suppress(OSError):
        os.utime(file)  # last used now: `trim` goes by it
    parts = kept.get("parts")
    return parts if isinstance(parts, dict) else None


def save(folder: Path | None, endpoint: str, id: str, sha: str, parts: dict[str, object]) -> None:
    """Keeps `parts` (JSON) for this commit, whole or not at all; a folder that cannot be written is left alone."""
    if folder is None:
        return
    file = _file(folder, endpoint, id, sha)
    kept = {"schema_version": SCHEMA_VERSION, "endpoint": endpoint, "id": id, "sha": sha, "parts": parts}
    with contextlib.suppress(UsageError):
        make_folder(file.parent)
        write_atomically(file, json.dumps(kept, separators=(",", ":")))


def trim(folder: Path | None, *, days: float = KEPT_DAYS, largest: int = LARGEST) -> None:
    """Removes what was not used for `days`, then the longest unused until `largest` bytes are left.

    Safe while other processes run: a file is whole or gone, and one that is removed while needed is fetched again.
    Other programs' files are left alone.
    """
    if folder is None:
        return
    found: list[tuple[float, int, str]] = []
    now = time.time()
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            ours = _NAME.fullmatch(entry.name) is not None
            if not ours and _BEING_WRITTEN.fullmatch(entry.name) is None:
                continue
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                age = now - status.st_mtime
                if age > (days * 86_400 if ours else _OVER_A_DAY):
                    os.unlink(entry.path)
                elif ours:
                    found.append((status.st_mtime, status.st_size, entry.path))
    left = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if left <= largest:
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
        left -= size


def _file(folder: Path, endpoint: str, id: str, sha: str) -> Path:
    """Short (see _NAME), the same on every file system, and not under the control of whoever names a repository."""
    return folder / hashlib.sha256(f"{endpoint}\n{id}\n{sha}".encode()).hexdigest()[:40]
