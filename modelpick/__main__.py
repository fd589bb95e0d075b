"""Where the program starts: `python -m modelpick`, and the script `modelpick`."""

# Not signal, which first imports enum: Ctrl-C could hit that.
import _signal  # type: ignore[import-not-found]
import os

_INTERRUPTED = 130  # errors.EXIT_INTERRUPTED, which is not imported yet


def main() -> None:
    """Run the program, and let Ctrl-C end it with the contracted code from the first instant on.

    Importing the program takes a few tenths of a second, in which Python's own handler would show a traceback. Nothing
    has been done by then, and nothing is left to do after the program's end. Where SIGINT is ignored at the start (a
    background job of a shell, some CI runners), it stays ignored.
    """
    heard = _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
    if heard:
        _signal.signal(_signal.SIGINT, _leave)
    from modelpick.cli.main import main as run

    try:
        if heard:
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        _leave()
    finally:
        if heard:
            _signal.signal(_signal.SIGINT, _leave)


def _leave(*_: object) -> None:
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
