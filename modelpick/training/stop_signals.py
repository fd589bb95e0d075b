"""Signals become a request to stop, in every state of a run, and each is acknowledged on stderr."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from modelpick.errors import EXIT_INTERRUPTED, ModelpickError
from modelpick.files import tell_at_once


class StoppedEarlyError(ModelpickError):
    """A signal ended the run outside of its steps. Nothing is lost: what was written is whole."""

    exit_code = EXIT_INTERRUPTED


class StopSignals:
    """SIGTERM (a spot notice, a systemd stop) and Ctrl-C, heard while `heard` is entered.

    Within `finishing_steps` the first one sets `stop`, which the loop obeys after its step, with a checkpoint; a second
    Ctrl-C ends at once. Everywhere else there is nothing to finish: KeyboardInterrupt is raised where the work is.
    """

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self._in_steps = False

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Hear the signals. In another thread than the main one, where none arrive, nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        heard = [number for number in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._obey) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def finishing_steps(self) -> Iterator[None]:
        """A step that has begun is finished, and its checkpoint written, before the run ends."""
        self._in_steps = True
        try:
            yield
        finally:
            self._in_steps = False

    def _obey(self, number: int, frame: object) -> None:
        name = signal.Signals(number).name
        again = number == signal.SIGINT and self.stop.is_set()
        if self._in_steps and not again:
            if not self.stop.is_set():
                tell_at_once(f"{name}: finishing this step and its checkpoint; then exit code {EXIT_INTERRUPTED}")
            self.stop.set()
            return
        tell_at_once(f"{name}: stopping now; exit code {EXIT_INTERRUPTED}")
        self.stop.set()
        raise KeyboardInterrupt


@contextmanager
def stopped_as_error(state: Callable[[], str], fix: Callable[[], str]) -> Iterator[None]:
    """Turn the end by a signal into StoppedEarlyError: in which `state` of the run, and what continues it."""
    try:
        yield
    except KeyboardInterrupt:
        raise StoppedEarlyError(f"stopped in the state {state()!r}", fix=fix(), code="interrupted") from None
