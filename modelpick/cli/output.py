"""How a command speaks: the answer on stdout (a drawn screen or one JSON object), everything else on stderr."""

import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelpick.errors import ModelpickError

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA_VERSION = 1
# What our screens draw beyond ASCII, and what stands for it where the encoding has nothing better.
_PLAIN = str.maketrans(
    {"…": "~", "·": "-", "×": "x", "≤": "<=", "≥": ">=", "█": "#", "░": ".", "–": "-", "’": "'", "±": "+-", "→": "->"}
)
_PIPED_WIDTH = 100  # a pipe has no columns: wide enough that no model id is cut


@dataclass(frozen=True, slots=True)
class Output:
    """Where and how one command answers."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False

    def answer(self, payload: Mapping[str, Any], draw: Callable[["Console"], None]) -> None:
        """Print the answer once: `payload` with its schema version under `--json`, else what `draw` draws."""
        if self.as_json:
            text = json.dumps({"schema_version": SCHEMA_VERSION, **payload}, ensure_ascii=True, allow_nan=False) + "\n"
        else:
            text = _rendered(draw, sys.stdout)
        _write(sys.stdout, text)

    def note(self, text: str) -> None:
        """Something worth knowing that is not the answer; silent under `-q` and `--json`."""
        if not self.quiet and not self.as_json:
            _write(sys.stderr, text + "\n")

    def detail(self, text: str) -> None:
        """Shown on stderr with `-v` only."""
        if self.verbose or self.debug:
            _write(sys.stderr, text + "\n")


def report_error(error: ModelpickError, *, as_json: bool) -> int:
    """Print an error on stderr, as a sentence and its fix or as the contract's object; return its exit code."""
    if as_json:
        _write(sys.stderr, json.dumps({"error": error.as_json()}) + "\n")
    else:
        _write(sys.stderr, f"error: {error.message}\n  fix: {error.fix}\n")
    return error.exit_code


def drawn(draw: Callable[["Console"], None]) -> str:
    """What `draw` draws, as text for stderr: a screen to be seen before a question is asked."""
    return _rendered(draw, sys.stderr).rstrip("\n")


def _rendered(draw: Callable[["Console"], None], stream: Any) -> str:
    """What `draw` draws, as text for `stream`: in colour only on a terminal, ASCII where its encoding asks for it."""
    from rich.console import Console

    terminal = bool(getattr(stream, "isatty", lambda: False)())
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdigit() and int(columns) > 0 else (None if terminal else _PIPED_WIDTH)
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        force_terminal=terminal,
        no_color=None if terminal else True,
        width=width or _terminal_width(),
        highlight=False,
        emoji=False,
        soft_wrap=False,
        legacy_windows=False,
    )
    draw(console)
    lines = buffer.getvalue().splitlines()
    return "\n".join(line.rstrip() if not terminal else line for line in lines) + "\n" if lines else ""


def _terminal_width() -> int:
    import shutil

    return max(shutil.get_terminal_size().columns, 20)


def _write(stream: Any, text: str) -> None:
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower()
    if not encoding.startswith("utf"):
        text = text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # The reader has seen enough (`| head`). The command goes on to its own exit code; without this the
        # interpreter would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
