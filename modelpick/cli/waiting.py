"""A bar on stderr while a command computes: on a terminal only, and only once it has taken more than a moment."""

import sys
import time
from types import TracebackType
from typing import Any

from modelpick.cli.output import Output

_A_MOMENT = 1.0  # seconds that nobody minds waiting in silence


class Waiting:
    """`with Waiting(out) as tell:` then `tell("reading", 10, 100)`; nothing under -q, --json or without a terminal."""

    def __init__(self, out: Output) -> None:
        self._shown = sys.stderr.isatty() and not out.quiet and not out.as_json
        self._begun = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Say how far a piece of work is; `total` is None where nobody knows."""
        if not self._shown or time.monotonic() - self._begun < _A_MOMENT:
            return
        if self._bar is None:
            self._begin()
        self._bar.update(self._task, description=what, total=total, completed=done)

    def _begin(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.completed:,}"))
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=None)
        self._bar.start()
