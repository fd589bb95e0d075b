"""Where the program starts: `python -m modelpick`, and the script `modelpick`."""

# Not signal, which first imports enum: Ctrl-C could hit that.
import _signal  # type: ignore[import-not-found]
import os

_INTERRUPTED = 130  # errors.EXIT_INTERRUPTED, which is not imported yet


_HEARD = ((_signal.SIGINT, _signal.default_int_handler), (_signal.SIGTERM, _signal.SIG_DFL))


def main() -> None:
    """Run the program, and let Ctrl-C and SIGTERM end it with the contracted code from the first instant on.

    Importing the program takes a few tenths of a second, in which Python's own handler would show a traceback. Nothing
    has been done by then, and nothing is left to do after the program's end. A signal that is ignored at the start (a
    background job of a shell, some CI runners) stays ignored. What needs longer to end (a training step, a server's
    answers in hand, a machine that bills) hears the signals itself while it runs.
    """
    heard = [number for number, usual in _HEARD if _signal.getsignal(number) == usual]
    for number in heard:
        _signal.signal(number, _leave)
    from modelpick.cli.main import main as run

    try:
        for number in heard:
            _signal.signal(number, _signal.default_int_handler if number == _signal.SIGINT else _end)
        run()
    except KeyboardInterrupt:
        _leave()
    finally:
        for number in heard:
            _signal.signal(number, _leave)


def _end(*_: object) -> None:
    """SIGTERM ends a command as Ctrl-C does."""
    try:
        os.write(2, b"SIGTERM: stopping now; exit code 130\n")
    finally:
        raise KeyboardInterrupt


def _leave(*_: object) -> None:
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
