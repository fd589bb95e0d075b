"""The one door to the terminal: the answer on stdout (a screen or one JSON object), everything else on stderr.

Nothing else in the package writes to stdout or stderr (tests/cli/test_foreign_text.py holds it to that). What passes
here has its control and bidirectional characters written out, and rich's markup in it is text like any other.
"""

import io
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from modelpick.errors import (
    EXIT_CANNOT_TELL,
    EXIT_NO,
    EXIT_REMOTE,
    EXIT_USAGE,
    EXIT_YES,
    ModelpickError,
    UsageError,
    printable,
)

if TYPE_CHECKING:
    from rich.console import Console as Console
    from rich.text import Text

    from modelpick.catalog.snapshot import Kind
else:
    Console = Any  # so that a command can name what it draws on without loading rich

SCHEMA_VERSION = 1
VERDICT_EXIT = {"allow": EXIT_YES, "conditions": EXIT_YES, "review": EXIT_CANNOT_TELL, "deny": EXIT_NO}
"""The exit code of each license verdict."""
VERDICT_COLOUR = {"allow": "green", "conditions": "yellow", "review": "magenta", "deny": "red"}
"""The colour of each license verdict on a terminal; the word says it, too."""

_SEVERITY = (EXIT_REMOTE, EXIT_USAGE, EXIT_NO, EXIT_CANNOT_TELL, EXIT_YES)
# Characters that our screens draw beyond ASCII, and what replaces them where the encoding lacks them.
_PLAIN = str.maketrans(
    {
        "…": "~",
        "·": "-",
        "×": "x",
        "≤": "<=",
        "≥": ">=",
        "█": "#",
        "░": ".",
        "–": "-",
        "’": "'",
        "±": "+-",
        "→": "->",
        "§": "section ",
    }
)
_PIPED_WIDTH = 108  # a pipe has no columns: wide enough that no model id is cut
_NARROWEST, _WIDEST = 20, 1000  # columns that a screen is drawn for, whatever COLUMNS says
_BAR_AFTER = 1.0  # seconds of silence before a progress bar appears
_LINES = "\n\t"  # the control characters of our own layout


@dataclass(frozen=True, slots=True)
class Output:
    """Where and how one command answers."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False

    def answer(
        self, payload: Mapping[str, object], draw: Callable[[Console], None], *, stands_on: "Sequence[Kind]" = ()
    ) -> None:
        """Print the answer once: `payload` with its schema version under `--json`, else what `draw` draws.

        `stands_on` names the kinds of facts it rests on: their age is a last line and `facts` in the object, and a
        warning where they are old.
        """
        facts = facts_shown(stands_on) if stands_on else None
        if self.as_json:
            shown = {} if facts is None else {"facts": facts.as_json}
            answer_json({"schema_version": SCHEMA_VERSION, **shown, **payload})
            return
        if facts is None:
            _write(sys.stdout, _rendered(draw, sys.stdout))
            return

        def with_ages(console: Console) -> None:
            draw(console)
            console.print(f"\n{facts.line}", markup=False)
            for text in (facts.ignored, facts.warning):
                if text is not None:
                    console.print(f"warning: {text}", markup=False)

        _write(sys.stdout, _rendered(with_ages, sys.stdout))

    def note(self, text: str) -> None:
        """Print a remark that is not the answer; silent under `-q` and `--json`."""
        if not self.quiet and not self.as_json:
            to_stderr(text + "\n")

    def detail(self, text: str) -> None:
        """Print on stderr, with `-v` only."""
        if self.verbose or self.debug:
            to_stderr(text + "\n")


@dataclass(frozen=True, slots=True)
class FactsShown:
    """The facts in force as an answer shows them: a line with their ages, the JSON object, what to warn of."""

    line: str
    as_json: Mapping[str, object]
    warning: str | None
    ignored: str | None


def facts_shown(kinds: "Sequence[Kind]") -> FactsShown:
    """What an answer says of the `kinds` of facts that it rests on, as of today (settings.today)."""
    from modelpick.catalog import ages, snapshot
    from modelpick.settings import today

    facts, day = snapshot.in_force(), today()
    warning = ages.warning(facts.as_of, kinds, day)
    line = f"facts: {ages.ages(facts.as_of, kinds, day)}"
    return FactsShown(line, {**facts.as_json(), "warning": warning}, warning, facts.ignored)


def answer_json(document: Any, indent: int | None = None) -> None:
    """Print one JSON document on stdout, in ASCII: JSON's own escapes are all that a control character needs."""
    text = json.dumps(document, ensure_ascii=True, allow_nan=False, indent=indent)
    _write(sys.stdout, text.replace("\x7f", "\\u007f") + "\n")  # DEL is ASCII, so json leaves it as it is


def to_stdout(text: str) -> None:
    """Print a part of the answer as it comes, foreign text included; the caller writes the line breaks."""
    _write(sys.stdout, printable(text, keep=_LINES))


def to_stderr(text: str, *, redraw: bool = False) -> None:
    """Print on stderr; the caller writes the line breaks. `redraw` first returns to the start of the line."""
    _write(sys.stderr, ("\r" if redraw else "") + printable(text, keep=_LINES))


def report_error(error: ModelpickError, *, as_json: bool) -> int:
    """Print an error on stderr, as a sentence and its fix or as the contract's object; return its exit code."""
    if as_json:
        _write(sys.stderr, json.dumps({"error": error.as_json()}) + "\n")
    else:
        to_stderr(f"error: {error.message}\n  fix: {error.fix}\n")
    return error.exit_code


def worst(codes: Iterable[int]) -> int:
    """The exit code of several answers: the most severe of 4, 2, 1, 3, 0."""
    return min(codes, key=_SEVERITY.index, default=EXIT_YES)


def styled(*parts: str | tuple[str, str]) -> "Text":
    """One line of a screen from plain strings and (string, rich style) pairs; no markup is read in either."""
    from rich.text import Text

    pairs = ((part, "") if isinstance(part, str) else part for part in parts)
    return Text.assemble(*((printable(text, keep="\n"), style) for text, style in pairs))


def drawn(draw: Callable[[Console], None]) -> str:
    """What `draw` draws, as text for stderr: a screen to be seen before a question is asked."""
    return _rendered(draw, sys.stderr).rstrip("\n")


class Waiting:
    """A progress bar on stderr, on a terminal only and once a second has passed.

    `with Waiting(out) as show:` then `show("reading", 10, 100)`. Nothing appears under -q or --json.
    """

    def __init__(self, out: Output) -> None:
        self._shown = sys.stderr.isatty() and not out.quiet and not out.as_json
        self._began = time.monotonic()
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
        """Show how far a piece of work is; `total` is None where it is not known."""
        if not self._shown or time.monotonic() - self._began < _BAR_AFTER:
            return
        if self._bar is None:
            self._begin()
        self._bar.update(self._task, description=printable(what), total=total, completed=done)

    def _begin(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:,}", markup=False),
        )
        self._bar = Progress(*columns, console=progress_console(), transient=True)
        self._task = self._bar.add_task("", total=None)
        self._bar.start()


def progress_console() -> Console:
    """The console of a progress bar, on stderr. Its texts are the caller's to clean: bars redraw in place."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, emoji=False)


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Make stdout and stderr safe to write to for the length of a program, however the shell left them.

    A reader that has seen enough (`| head`) ends nothing: the command goes on to its own exit code. Any other failure
    to deliver the answer (a full disk, a closed stdout) raises UsageError, code `cannot_write`.
    """
    before = sys.stdout, sys.stderr
    # COLUMNS=² is a digit to str.isdigit, by which rich reads it, and no number to int.
    for name in ("COLUMNS", "LINES"):
        if not _is_size(os.environ.get(name, "1")):
            del os.environ[name]
    sys.stdout = _AnswerStream(before[0])
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  it lasts as long as the program
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _AnswerStream:
    """stdout whose failures are an error of this program, or nothing at all where the reader left."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._failure = "standard output is closed" if stream is None else None  # Python's None for `>&-`

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def write(self, text: str) -> int:
        return self._attempt(lambda stream: stream.write(text)) or 0

    def flush(self) -> None:
        self._attempt(lambda stream: stream.flush())

    def _attempt(self, act: Callable[[TextIO], Any]) -> Any:
        if self._failure is None and self._stream is not None:
            try:
                return act(self._stream)
            except BrokenPipeError:
                self._discard()
                return None
            except (OSError, ValueError) as error:
                self._discard()
                self._failure = getattr(error, "strerror", None) or str(error)
        # Said again at every attempt: typer tries its streams out, and takes no notice of what they say.
        raise UsageError(
            f"the answer cannot be written: {self._failure}", fix="redirect stdout to a file", code="cannot_write"
        )

    def _discard(self) -> None:
        """Send what is left to nowhere: the interpreter would complain once more when it flushes at its end."""
        assert self._stream is not None
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def _rendered(draw: Callable[[Console], None], stream: Any) -> str:
    """What `draw` draws, as text for `stream`: in colour only on a terminal, ASCII where its encoding asks for it."""
    terminal = bool(getattr(stream, "isatty", lambda: False)())
    buffer = io.StringIO()
    draw(_screen(buffer, terminal))
    lines = buffer.getvalue().splitlines()
    return "\n".join(line.rstrip() if not terminal else line for line in lines) + "\n" if lines else ""


def _screen(buffer: TextIO, terminal: bool) -> Console:
    """A console that reads no markup, and that writes out the control characters of everything it draws.

    Strings are cleaned before rich lays them out, so that columns fit; `styled` does that, too. What is drawn by other
    means is cleaned piece by piece at the end; the colours that rich adds itself stay.
    """
    from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
    from rich.segment import Segment
    from rich.text import Text

    class Screen(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(printable(text, keep="\n"), **options)

    @dataclass(frozen=True)
    class Cleaned:
        inside: ConsoleRenderable

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for segment in console.render(self.inside, options):
                yield segment if segment.control else Segment(printable(segment.text, keep="\n"), segment.style)

    class Hook(RenderHook):
        def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
            return [Cleaned(renderable) for renderable in renderables]

    screen = Screen(
        file=buffer, force_terminal=terminal, no_color=None if terminal else True, width=_width(terminal),
        markup=False, highlight=False, emoji=False, soft_wrap=False, legacy_windows=False,
    )  # fmt: skip
    screen.push_render_hook(Hook())
    return screen


def columns() -> int:
    """The columns that an answer on stdout is drawn for."""
    return _width(sys.stdout is not None and sys.stdout.isatty())


def _width(terminal: bool) -> int:
    columns = os.environ.get("COLUMNS", "")
    if not _is_size(columns):
        columns = str(shutil.get_terminal_size().columns if terminal else _PIPED_WIDTH)
    return min(max(int(columns), _NARROWEST), _WIDEST)


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text[:9]) > 0


def _write(stream: Any, text: str) -> None:
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower()
    if not encoding.startswith("utf"):
        text = text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
    if stream is sys.stdout:
        stream.write(text)
        stream.flush()
        return
    with suppress(OSError, ValueError):  # nobody is left to read it
        stream.write(text)
        stream.flush()
