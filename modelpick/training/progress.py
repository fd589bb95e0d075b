"""What a run tells while it runs: progress.json for programs (docs/job-contract.md), a line or a bar for people."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from modelpick.errors import EXIT_INTERRUPTED, UsageError
from modelpick.files import write_atomically
from modelpick.training import metrics

HEARTBEAT_SECONDS = 10.0
STATES = ("preparing", "before", "training", "after", "saving", "done", "interrupted", "failed")
Screen = Callable[[Mapping[str, Any]], None]


class Progress:
    """Keeps progress.json fresh: on every event, and by a heartbeat between events.

    `heartbeat_at` proves that the process lives, `progressed_at` that it gets on. Dollars are those of this process.
    """

    def __init__(self, folder: Path, screen: Screen, usd_per_hour: float | None = None) -> None:
        self._folder = folder
        self._screen = screen
        self._usd_per_hour = usd_per_hour
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._started = time.monotonic()
        self._training_from: tuple[float, int, int] = (self._started, 0, 0)  # (when, step, tokens)
        self._now: dict[str, Any] = {"schema_version": 1, "state": "preparing", "step": 0, "steps": None}
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "Progress":
        self.tell({"event": "state", "state": "preparing"})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if error is not None:
            self._now["error"] = getattr(error, "as_json", lambda: {"code": "defect", "message": str(error)[:300]})()
            interrupted = getattr(error, "exit_code", None) == EXIT_INTERRUPTED
            self.tell({"event": "state", "state": "interrupted" if interrupted else "failed"})

    def state(self, name: str) -> None:
        """Move to one of STATES."""
        self.tell({"event": "state", "state": name})

    def tell(self, event: Mapping[str, Any]) -> None:
        """Take an event of the training loop: keep it, write it, show it."""
        with self._lock:
            kind = event["event"]
            if kind == "state":
                self._now["state"] = event["state"]
            elif kind == "start":
                self._training_from = (time.monotonic(), event["step"], event["tokens"])
                self._now |= {"state": "training", "step": event["step"], "steps": event["steps"]}
            elif kind == "checkpoint":
                self._now["checkpoint_step"] = event["step"]
            elif kind == "progress":
                self._take(event)
            self._now["progressed_at"] = _utc_now()
            self._write()
            shown = {**event, **{key: self._now.get(key) for key in ("tokens_per_second", "eta_seconds", "usd_so_far")}}
        self._screen(shown)

    def _take(self, event: Mapping[str, Any]) -> None:
        now, step, tokens = time.monotonic(), event["step"], event["tokens"]
        when, first_step, first_tokens = self._training_from
        spent, done = now - when, step - first_step
        self._now |= {"step": step, "steps": event["steps"], "tokens": tokens}
        if done > 0 and spent > 0:
            self._now["tokens_per_second"] = round((tokens - first_tokens) / spent, 1)
            self._now["eta_seconds"] = round(spent / done * (event["steps"] - step), 1)
        kept = {key: value for key, value in event.items() if key != "event"}
        if "loss" in kept:
            self._now["loss"] = kept["loss"]
            metrics.append(self._folder / "metrics.jsonl", {"at": _utc_now(), **kept})

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            with self._lock:
                self._write()

    def _write(self) -> None:
        self._now["heartbeat_at"] = _utc_now()
        if self._usd_per_hour is not None:
            self._now["usd_so_far"] = round((time.monotonic() - self._started) / 3600 * self._usd_per_hour, 4)
        with suppress(UsageError):  # a full disk must not end the run before training itself reports it
            write_atomically(self._folder / "progress.json", json.dumps(self._now, indent=1) + "\n")


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
