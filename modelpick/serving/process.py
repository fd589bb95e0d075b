"""A program kept under watch: its log, its last lines, its end. I/O."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG, linux/prctl.h


@dataclass(slots=True)
class Child:
    """One program; `start` may be called again after its end. Everything it says goes to `log`."""

    words: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    feed: str | None = None  # written to its standard input, once
    leaves: Path | None = None  # a socket that a killed one leaves behind, in the next one's way
    _process: subprocess.Popen[bytes] | None = None
    _begun_at: int = field(default=0)

    def start(self) -> None:
        """Start it in a process group of its own; on Linux it ends when this process does, however that happens."""
        self._end_orphans()
        if self.leaves is not None:
            self.leaves.unlink(missing_ok=True)
        self.log.touch(mode=0o600)
        self._begun_at = self.log.stat().st_size
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                list(self.words),
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdin=subprocess.PIPE if self.feed is not None else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        if self.feed is not None and self._process.stdin is not None:
            try:
                self._process.stdin.write(self.feed.encode())
                self._process.stdin.close()
            except BrokenPipeError:
                pass  # it died at once: `code` tells

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self.code is None else None

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs; a signal's number is negative."""
        return None if self._process is None else self._process.poll()

    def last_lines(self, count: int = 12) -> list[str]:
        """The end of what it said since its last start."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(self._begun_at, self.log.stat().st_size - 65_536))
                text = log.read().decode(errors="replace")
        except OSError:
            return []
        # A progress bar redraws one line: what counts is how it ended.
        lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.splitlines()]
        return [line for line in lines if line.strip()][-count:]

    def stop(self, seconds: float) -> bool:
        """SIGTERM, and after `seconds` SIGKILL, to its whole group; whether it went by itself."""
        process = self._process
        if process is None:
            return True
        if process.poll() is None:
            self._signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            process.wait()
            return False
        finally:
            self._end_orphans()
        return True

    def _end_orphans(self) -> None:
        """What a dead one left of its group, a GPU's memory in its hands: vLLM's engine outlives a killed server."""
        if self._process is not None and self._process.poll() is not None and os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left of it
                os.killpg(self._process.pid, signal.SIGKILL)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            self._process.send_signal(number)


def _die_with_parent() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)
