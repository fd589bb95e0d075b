"""The `modelpick` program: commands registered by name, errors turned into one sentence and an exit code.

Nothing heavy is imported here or at the top of a command file: `modelpick --help` must start at once.
"""

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import typer

from modelpick import __version__
from modelpick.cli.output import report_error
from modelpick.errors import EXIT_INTERRUPTED, EXIT_USAGE, ModelpickError, UsageError, nearest

# Name -> what `--help` says of it. The command itself lives in commands/<name>.py and is imported when it is named;
# tests/cli/test_start_up.py holds these lines to the commands' own.
COMMANDS = {
    "recommend": "Which open models we may use, that fit a GPU we can rent, at what price.",
    "license": "May we use it? The verdict with its evidence, ancestors and obligations.",
    "estimate": "GPU memory by part; the longest context and the largest batch that fit.",
    "audit": "The models a code base names, each judged once, with file and line.",
    "offers": "Every NVIDIA instance type with its price, GPU and memory per GPU.",
    "cost": "Instances side by side: speed, time and cost, and what the next cheaper or faster one changes.",
    "plan": "What would be created, how long it takes, what it costs, what stops it.",
    "lock": "Freeze revisions, license hashes and verdicts.",
    "verify": "Fail on any drift from the lock: commit, license text, verdict, ancestry, policy.",
    "up": "Make the machine of a plan: everything free first, then what stops it, then the one call that costs money.",
    "status": "Every deployment of the region: state, machine, hours, dollars so far, when it stops.",
    "logs": "What the job said.",
    "connect": "A port of the machine on this computer, through Session Manager: nothing is opened on the machine.",
    "extend": "Let a machine run longer. Its switches are at no instant off.",
    "down": "Take a deployment down: paid things first, verified gone, with a receipt. Results stay until they expire.",
    "sweep": "Find what was left behind in every region, and take it down. Results are kept.",
    "catalog": "The embedded catalog: show, info.",
    "policy": "License policies: list, show, check, approve.",
    "finetune": "Fine-tune a model on your examples; resumable, checked, measured before and after.",
    "probe": "Hundreds of arguments with known answers: how often is the model right, with intervals.",
    "data": "Training data: check, curate, pick the next to label.",
    "serve": "An OpenAI-compatible server for a model or a tuned run, on loopback, with an API key.",
    "chat": "Talk to any OpenAI-compatible address.",
    "bench": "Tokens/s, first-token and inter-token latency at several concurrencies, against the plan.",
    "doctor": "What is installed and configured, and how old the embedded facts are.",
}


def program(words: Sequence[str]) -> typer.Typer:
    """The program for one command line: the command that `words` name in full, all others by name and help only."""
    app = typer.Typer(
        name="modelpick",
        help="Which open language model may we use, does it fit a GPU we can rent, what does it cost?",
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
            import_module(f"modelpick.cli.commands.{name}").register(app)
        else:
            app.command(name, help=line, add_help_option=False)(_not_named)
    return app


def _not_named() -> None:
    """Never runs: a command that is named is registered in full."""


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"modelpick {__version__}")
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
    raise SystemExit(_run(words))


def _run(words: list[str]) -> int:
    as_json = "--json" in words
    try:
        # Commands return nothing; a code other than 0 arrives as the value of typer.Exit.
        code = program(words)(words, prog_name="modelpick", standalone_mode=False)
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
        guess = nearest(words[0], COMMANDS)
    elif "No such option" in message:
        options = [name for parameter in context.command.params for name in parameter.opts] if context else []
        message = message.split("(")[0].split("Did you mean")[0].strip().rstrip(".")
        guess = nearest(getattr(error, "option_name", ""), options)
    return UsageError(message[:1].lower() + message[1:], fix=guess or f"see {path} --help", code="usage")


if __name__ == "__main__":
    main()
