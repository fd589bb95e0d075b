"""What was read of a commit, kept on disk: a commit never changes, so a second look needs no file again.

One JSON file per endpoint, repository and commit under the user's cache folder (XDG_CACHE_HOME, ~/.cache, LOCALAPPDATA;
MODELPICK_CACHE outranks them). A damaged or foreign file is as good as none. Nothing behind a gate is kept.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1


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


def load(folder: Path | None, endpoint: str, id: str, sha: str) -> dict[str, Any] | None:
    """What `save` kept of this commit, or None."""
    if folder is None:
        return None
    try:
        kept = json.loads(_file(folder, endpoint, id, sha).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    key = {"schema_version": SCHEMA_VERSION, "endpoint": endpoint, "id": id, "sha": sha}
    if not isinstance(kept, dict) or any(kept.get(name) != value for name, value in key.items()):
        return None
    parts = kept.get("parts")
    return parts if isinstance(parts, dict) else None


def save(folder: Path | None, endpoint: str, id: str, sha: str, parts: dict[str, Any]) -> None:
    """Keeps `parts` (JSON) for this commit, whole or not at all; a folder that cannot be written is left alone."""
    if folder is None:
        return
    file = _file(folder, endpoint, id, sha)
    kept = {"schema_version": SCHEMA_VERSION, "endpoint": endpoint, "id": id, "sha": sha, "parts": parts}
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(kept, stream, separators=(",", ":"))
            os.replace(name, file)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


def _file(folder: Path, endpoint: str, id: str, sha: str) -> Path:
    """Short, the same on every file system, and not under the control of whoever names a repository."""
    return folder / hashlib.sha256(f"{endpoint}\n{id}\n{sha}".encode()).hexdigest()[:40]
