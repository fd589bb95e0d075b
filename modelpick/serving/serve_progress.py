"""The progress file of `modelpick serve`, for whoever started it and waits. I/O."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from modelpick.errors import ModelpickError
from modelpick.files import make_folder, write_atomically

STATES = ("loading", "ready", "stopped", "failed")


class ServeProgress:
    """Keeps the progress file `path` (None: no file) up to date: loading on entry, stopped or failed on exit."""

    def __init__(self, path: Path | None, models: Sequence[str], port: int) -> None:
        self._path = path
        self._fixed = {"models": list(models), "port": port}

    def __enter__(self) -> "ServeProgress":
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
        content = {"schema_version": 1, "state": name, **self._fixed, "at": now, **more}
        code, fix = "no_file", "name another with --progress"
        make_folder(self._path.parent, code=code, fix=fix)
        write_atomically(self._path, json.dumps(content, indent=1) + "\n", code=code, fix=fix)
