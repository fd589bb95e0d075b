"""The `modelpick` program: commands registered by name, errors turned into one sentence and an exit code.

Nothing heavy is imported here or at the top of a command file: `modelpick --help` must start at once.
"""

import os
import sys
from collections.abc import Sequence

import typer

from modelpick import __version__
from modelpick.cli import (
    catalog_command,
    doctor_command,
    estimate_command,
    license_command,
    offers_command,
    policy_command,
    recommend_command,
)
from modelpick.cli.output import report_error
from modelpick.errors import EXIT_INTERRUPTED, EXIT_USAGE, ModelpickError, UsageError, nearest

app = typer.Typer(
    name="modelpick",
    help="Which open language model may we use, does it fit a GPU we can rent, what does it cost?",
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"modelpick {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    pass


for _module in (
    recommend_command,
    license_command,
    estimate_command,
    offers_command,
    catalog_command,
    policy_command,
    doctor_command,
):
    _module.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with `arguments` (default: the process's own) and exit with the contracted code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _exit(_run(words))


def _run(words: list[str]) -> int:
    as_json = "--json" in words
    try:
        # Commands return nothing; a code other than 0 arrives as the value of typer.Exit.
        code = app(words, prog_name="modelpick", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except ModelpickError as error:
        return report_error(error, as_json=as_json)
    except typer.TyperException as error:
        if not words or isinstance(error, _no_arguments()):
            typer.echo(str(error))
            return EXIT_USAGE
        return report_error(_as_usage_error(error, words), as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return 0
    except Exception as error:  # a defect of ours: the traceback goes to a file, a sentence to the screen
        from modelpick.cli.crash import report_crash

        return report_crash(error, as_json=as_json)


def _no_arguments() -> type[Exception]:
    from typer._click.exceptions import NoArgsIsHelpError

    return NoArgsIsHelpError


def _as_usage_error(error: typer.TyperException, words: list[str]) -> UsageError:
    """Typer's own complaint (unknown command, missing value) in this program's form."""
    format_message = getattr(error, "format_message", lambda: str(error))
    message = " ".join(str(format_message()).split()).rstrip(".")
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "modelpick")
    guess = ""
    if "No such command" in message:
        message = message.split("Did you mean")[0].split("(")[0].strip().rstrip(".")
        guess = nearest(words[0], [info.name for info in app.registered_commands + app.registered_groups if info.name])
    elif "No such option" in message:
        options = [name for parameter in context.command.params for name in parameter.opts] if context else []
        message = message.split("(")[0].split("Did you mean")[0].strip().rstrip(".")
        guess = nearest(getattr(error, "option_name", ""), options)
    return UsageError(message[:1].lower() + message[1:], fix=guess or f"see {path} --help", code="usage")


def _silence_stdout() -> None:
    # The reader of the pipe is gone: without this the interpreter complains once more when it flushes at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit(code: int) -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
    raise SystemExit(code)


if __name__ == "__main__":
    main()
