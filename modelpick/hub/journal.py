"""What an interrupted update has read already: one line a repository, so that the next one does not ask again.

Lines are added and flushed as answers come. A config.json is a commit's, so a line counts for as long as the list names
that commit; a record that was asked for singly counts on the day it was read.
"""

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from modelpick import files
from modelpick.errors import UsageError

_CODE = "cannot_update"
_LARGEST = 1 << 30  # bytes; some thousand configs of 2 KB make 5 MB


class Journal:
    """The journal of one update. Use as a context manager. Raises UsageError(code="cannot_update") on a full disk."""

    def __init__(self, path: Path, day: str, endpoint: str) -> None:
        self._path, self._head = path, {"day": day, "endpoint": endpoint}
        self._configs: dict[str, tuple[str, Any]] = {}
        self._records: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._file: IO[str] | None = None

    def __enter__(self) -> "Journal":
        lines = self._lines()
        head = lines[0] if lines else {}
        for line in lines[1:] if head.get("endpoint") == self._head["endpoint"] else []:
            if "sha" in line:
                self._configs[line["id"]] = (line["sha"], line["config"])
            elif head.get("day") == self._head["day"]:
                self._records[line["id"]] = line["record"]
        kept = [self._head, *map(self._config_line, self._configs)]
        kept += [{"id": id, "record": record} for id, record in self._records.items()]
        files.write_atomically(self._path, "".join(json.dumps(line) + "\n" for line in kept), code=_CODE)
        self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def config(self, id: str, sha: str) -> tuple[bool, Any]:
        """Whether the config of this commit was read, and what it was (None: it has none)."""
        known = self._configs.get(id)
        return (True, known[1]) if known is not None and known[0] == sha else (False, None)

    def record(self, id: str) -> tuple[bool, Any]:
        """Whether this id was asked for singly today, and its record (None: the Hub has none)."""
        return id in self._records, self._records.get(id)

    def note_config(self, id: str, sha: str, config: Mapping[str, Any] | None) -> None:
        """Keeps a config that was read."""
        self._add({"id": id, "sha": sha, "config": config})

    def note_record(self, id: str, record: Mapping[str, Any] | None) -> None:
        """Keeps a record that was asked for singly."""
        self._add({"id": id, "record": record})

    def _config_line(self, id: str) -> dict[str, Any]:
        sha, config = self._configs[id]
        return {"id": id, "sha": sha, "config": config}

    def _add(self, line: Mapping[str, Any]) -> None:
        assert self._file is not None
        with self._lock:
            try:
                self._file.write(json.dumps(line) + "\n")
                self._file.flush()
            except OSError as error:
                why = "the disk is full" if files.is_disk_full(error) else str(error.strerror)
                fix = "make room on the disk, then re-run the command"
                raise UsageError(f"{self._path} cannot be written: {why}", fix=fix, code=_CODE) from error

    def _lines(self) -> list[dict[str, Any]]:
        """The lines that are whole; a kill may have cut the last one, and what is not ours is not read."""
        try:
            text = files.read_text(self._path, code=_CODE, largest=_LARGEST)
        except UsageError:
            return []
        lines: list[dict[str, Any]] = []
        for line in text.split("\n"):
            with suppress(ValueError, RecursionError):
                parsed = json.loads(line)
                if isinstance(parsed, dict) and (not lines or _is_entry(parsed)):
                    lines.append(parsed)
        return lines


def _is_entry(line: Mapping[str, Any]) -> bool:
    if not isinstance(line.get("id"), str):
        return False
    value = line.get("config", line.get("record"))
    return (isinstance(value, dict) or value is None) and ("record" in line or isinstance(line.get("sha"), str))
