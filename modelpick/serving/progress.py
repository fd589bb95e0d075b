"""What a server tells of itself to whoever owns the machine (docs/job-contract.md): a small file, replaced whole."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from modelpick.errors import ModelpickError
from modelpick.files import make_folder, write_atomically

STATES = ("loading", "ready", "stopped", "failed")


class Progress:
    """Keeps `path` true (None: nobody asked): loading on entry, stopped or failed on exit."""

    def __init__(self, path: Path | None, models: Sequence[str], port: int) -> None:
        self._path = path
        self._fixed = {"models": list(models), "port": port}

    def __enter__(self) -> "Progress":
        self.state("loading")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.state("stopped")
        else:
            self.state("failed", error=error.as_json() if isinstance(error, ModelpickError) else None)

    def state(self, name: str, **more: Any) -> None:
        """Move to one of STATES. Raises UsageError when the file cannot be written."""
        if self._path is None:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        told = {"schema_version": 1, "state": name, **self._fixed, "at": now, **more}
        refused = {"code": "no_file", "fix": "name another with --progress"}
        make_folder(self._path.parent, **refused)
        write_atomically(self._path, json.dumps(told, indent=1) + "\n", **refused)
