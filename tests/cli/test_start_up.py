"""`modelpick --help` starts at once, and says what there is."""

import inspect
import re
import subprocess
import sys

import pytest
import typer

from modelpick.cli.main import COMMANDS, register
from tests.cli.conftest import Run

HEAVY = ("boto3", "huggingface_hub", "rich", "pydantic", "duckdb", "transformers", "torch")


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from modelpick.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "recommend" in run.stdout
    assert run.stdout.rstrip().endswith("loaded: []")


def test_options_of_text_load_no_validators() -> None:
    script = (
        "import sys\n"
        "from modelpick.cli.main import main\n"
        "for words in (['recommend', '--context', '8192'], ['offers', '--region', 'eu-west-1']):\n"
        "    try:\n        main(words)\n    except SystemExit:\n        pass\n"
        "print('loaded:', 'pydantic' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.rstrip().endswith("loaded: False")


def test_help_names_every_command_of_the_house(modelpick: Run) -> None:
    shown = modelpick("--help").out
    for name in ("recommend", "license", "estimate", "offers", "catalog", "policy", "doctor"):
        assert f"\n  {name}" in shown


def test_the_short_help_is_the_commands_own() -> None:
    for name, line in COMMANDS.items():
        app = typer.Typer()
        register(app, name)
        if app.registered_groups:
            own = app.registered_groups[0].typer_instance.info.help
        else:
            own = inspect.getdoc(app.registered_commands[0].callback)
        assert own is not None
        first_paragraph = " ".join(own.split("\n\n")[0].split())
        assert f"{first_paragraph} ".startswith(f"{line} "), name


@pytest.mark.parametrize("group", [[], ["catalog"], ["data"], ["policy"]])
def test_every_one_line_help_fits_80_columns_whole(modelpick: Run, group: list[str]) -> None:
    listed = modelpick(*group, "--help").out.partition("\nCommands:\n")[2].splitlines()
    assert len(listed) >= 2
    assert group or len(listed) == len(COMMANDS)
    for line in listed:
        assert re.fullmatch(r"  [a-z]+ +\S.*[^.]\.", line), line  # one line each, whole
        assert len(line) <= 80


def test_every_command_answers_in_json_and_shows_its_help(modelpick: Run) -> None:
    for words in (
        ["recommend"],
        ["license"],
        ["estimate"],
        ["offers"],
        ["catalog", "show"],
        ["policy", "list"],
        ["doctor"],
    ):
        answer = modelpick(*words, "--help")
        assert answer.code == 0
        assert "--json" in answer.out


def test_the_commands_of_this_program_never_load_torch() -> None:
    script = (
        "import sys\n"
        "from modelpick.cli.main import main\n"
        "for words in (['recommend', '--commercial'], ['estimate', 'tiiuae/falcon-7b', '--offline'], ['doctor']):\n"
        "    try:\n        main(words)\n    except SystemExit:\n        pass\n"
        "heavy = ('torch', 'transformers', 'bitsandbytes', 'peft', 'boto3')\n"
        "print('loaded:', [name for name in heavy if name in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.rstrip().endswith("loaded: []")


def test_version(modelpick: Run) -> None:
    from modelpick import __version__

    answer = modelpick("--version")
    assert (answer.code, answer.out) == (0, f"modelpick {__version__}\n")
