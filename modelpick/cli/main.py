"""The `modelpick` program: commands registered by name, errors turned into one sentence and an exit code.

Nothing heavy is imported here or at the top of a command file: `modelpick --help` must start at once.
"""

import errno
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import typer

from modelpick import __version__
from modelpick.cli import output
from modelpick.cli.plain import PlainGroup
from modelpick.errors import (
    EXIT_CANNOT_TELL,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    ModelpickError,
    UsageError,
    first_line,
    nearest,
    printable,
    without_passwords,
)

# Name -> its one-line help. The command is the function of that name in commands/<name>.py, imported when it is
# named; a group is a file with SUBCOMMANDS. tests/cli/test_start_up.py holds these lines to the commands' own.
COMMANDS = {
    "recommend": "Rank the open models you may use that fit a GPU you can rent.",
    "license": "May you use a model? Verdict, evidence, ancestors, obligations.",
    "estimate": "GPU memory by part; the longest context and largest batch.",
    "audit": "Judge every model that a code base names, with file and line.",
    "offers": "List NVIDIA instance types with price, GPU and memory.",
    "cost": "Compare instances for one model: speed, time and cost.",
    "plan": "Show what would be created, how long it runs, what it costs.",
    "lock": "Freeze commits, texts, verdicts, obligations and the policy.",
    "verify": "Check that nothing has changed since the lock.",
    "up": "Launch what a plan describes.",
    "status": "Show deployments: state, cost so far, and when each stops.",
    "logs": "Show the job's log.",
    "connect": "Forward a port of the machine to this computer.",
    "extend": "Let a machine run longer.",
    "down": "Take a deployment down and verify that nothing bills.",
    "sweep": "Find what was left behind in any region, and take it down.",
    "catalog": "Look models up (show, info, diff), or audit the whole Hub.",
    "update": "Bring newer models, prices and scores; no account is needed.",
    "policy": "License policies: list, show, check, approve, reject.",
    "finetune": "Fine-tune a model on your examples; resumable and measured.",
    "merge": "Merge an adapter into its base: one ordinary model.",
    "export": "Export a model as GGUF, by llama.cpp's own converter.",
    "probe": "Score a model on 200 logic questions with known answers.",
    "data": "Training data: check, curate, pick the next to label.",
    "serve": "Serve a model or a tuned run over an OpenAI-compatible API.",
    "chat": "Talk to any OpenAI-compatible server.",
    "bench": "Measure a server's speed and latency, against the plan.",
    "doctor": "Check what is installed and configured, and how old facts are.",
}


def program(words: Sequence[str]) -> typer.Typer:
    """The program for one command line: the command that `words` name in full, all others by name and help only."""
    app = typer.Typer(
        name="modelpick",
        cls=PlainGroup,
        help="Which open language models may we use, do they fit a GPU we can rent, and what do they cost?",
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    app.callback()(_program)
    named = next((word for word in words if not word.startswith("-")), None)
    completing = any(name.endswith("_COMPLETE") for name in os.environ)
    for name, line in COMMANDS.items():
        if name == named or completing:
            register(app, name)
        else:
            app.command(name, help=line, add_help_option=False)(_not_named)
    return app


def register(app: typer.Typer, name: str) -> None:
    """Import the command `name`, or the group of commands, and add it to the program."""
    from modelpick.cli.options import command

    module = import_module(f"modelpick.cli.commands.{name}")
    if not hasattr(module, "SUBCOMMANDS"):
        command(app, name)(getattr(module, name))
        return
    group = typer.Typer(cls=PlainGroup, rich_markup_mode=None, no_args_is_help=True, help=COMMANDS[name])
    for subcommand, function in module.SUBCOMMANDS.items():
        command(group, subcommand)(function)
    app.add_typer(group, name=name)


def _not_named() -> None:
    """Never runs: a command that is named is registered in full."""


def _show_version(wanted: bool) -> None:
    if wanted:
        output.to_stdout(f"modelpick {__version__}\n")
        raise typer.Exit


def _program(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with `arguments` (default: the process's own) and exit with the contracted code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # A command makes some hundred thousand small objects that live until it ends: looking for garbage among them
    # every 700 costs a tenth of its time and finds nothing.
    gc.set_threshold(50_000, 20, 20)
    with output.guarded_streams():
        try:
            code = _run(words)
        except KeyboardInterrupt:  # while an error was being reported
            code = EXIT_INTERRUPTED
    if code == EXIT_INTERRUPTED:
        # CPython remembers a Ctrl-C that ended code made from a string, as dataclasses make their methods, and then
        # ends the process by the signal instead of by this code. Code from another string makes it forget.
        eval("None")
    raise SystemExit(code)


def _run(words: list[str]) -> int:
    as_json = "--json" in words
    try:
        # Commands return nothing; a code other than 0 arrives as the value of typer.Exit.
        code = program(words)(words, prog_name="modelpick", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except ModelpickError as error:
        return output.report_error(error, as_json=as_json)
    except typer.TyperException as error:
        if not words or isinstance(error, _no_arguments()):
            output.to_stdout(f"{error}\n")
            return EXIT_USAGE
        return output.report_error(_as_usage_error(error, words), as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        output.to_stderr("interrupted\n")
        return EXIT_INTERRUPTED
    except Exception as error:  # a defect of ours: the traceback goes to a file, a sentence to the screen
        return output.report_error(_too_long_a_name(error) or _defect(error), as_json=as_json)


def _too_long_a_name(error: Exception) -> UsageError | None:
    """The sentence for a file name that no file system has: before Python 3.14 even Path.is_file raises for it.

    Wherever the name came from, a flag, a settings file or a run file: it is looked at in many places.
    """
    if not isinstance(error, OSError) or error.errno != errno.ENAMETOOLONG:
        return None
    return UsageError(
        f"a file name is too long: {str(error.filename)[:60]}...", fix="name a file with a shorter name", code="no_file"
    )


class _DefectError(ModelpickError):
    # Nothing was answered, so nothing may be taken for a yes or a no.
    exit_code = EXIT_CANNOT_TELL


def _defect(error: Exception) -> ModelpickError:
    """What the user reads after a bug in modelpick: one sentence, and the file that holds the traceback."""
    import tempfile
    import traceback

    trace = "".join(traceback.format_exception(error))
    try:
        handle, path = tempfile.mkstemp(prefix="modelpick-", suffix=".log", text=True)
        with os.fdopen(handle, "w", encoding="utf-8") as log:
            log.write(f"modelpick {__version__}, Python {sys.version}\n")
            log.write(printable(without_passwords(trace), keep="\n"))
        where = f"report it with the log {path}"
    except OSError:
        where = "run it again where a log file can be written"
    message = f"modelpick itself failed ({type(error).__name__}: {first_line(error)})"
    return _DefectError(message, fix=where, code="defect")


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
        guess = nearest(words[0], COMMANDS)
    elif "No such option" in message:
        options = [name for parameter in context.command.params for name in parameter.opts] if context else []
        message = message.split("(")[0].split("Did you mean")[0].strip().rstrip(".")
        guess = nearest(getattr(error, "option_name", ""), options)
    return UsageError(message[:1].lower() + message[1:], fix=guess or f"see {path} --help", code="usage")
