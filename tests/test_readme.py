"""The README shows real output: every `$ modelpick ...` block is run, at 80 columns, and compared to the letter.

`...` alone on a line stands for lines left out.
"""

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Run, modelpick

__all__ = ["modelpick"]

_README = Path(__file__).resolve().parent.parent / "README.md"
_BLOCK = re.compile(r"```console\n\$ (modelpick [^\n]*)\n(.*?)```", re.DOTALL)
_PLAN = re.compile(
    r"modelpick([-/])[0-9a-f]{10}"
)  # follows from every fact: what it stands for is compared, not itself
_SHOWN = _BLOCK.findall(_README.read_text(encoding="utf-8"))


def _lines(text: str) -> list[str]:
    return [_PLAN.sub(r"modelpick\1ID", line.rstrip()) for line in text.splitlines()]


def test_the_readme_shows_the_main_commands() -> None:
    commands = {command.split()[1] for command, _ in _SHOWN}
    assert {"recommend", "license", "estimate"} <= commands


@pytest.mark.parametrize(("command", "shown"), _SHOWN, ids=[command for command, _ in _SHOWN])
def test_shown_output_is_real(modelpick: Run, monkeypatch: pytest.MonkeyPatch, command: str, shown: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    answer = modelpick(*shlex.split(command)[1:])
    printed = _lines(answer.out + answer.err)
    position = 0
    for part in re.split(r"^\.\.\.\n", shown, flags=re.MULTILINE):
        wanted = _lines(part)
        starts = range(position, len(printed) - len(wanted) + 1)
        found = next((start for start in starts if printed[start : start + len(wanted)] == wanted), None)
        assert found is not None, "\n".join(["not found in order:", *wanted, "printed:", *printed])
        position = found + len(wanted)


def test_the_quick_start_is_two_single_lines() -> None:
    lines = [line.strip() for line in _README.read_text(encoding="utf-8").splitlines() if line.startswith("    ")]
    commands = [line for line in lines if ".venv" in line]
    assert len(commands) == 2
    assert commands[0].endswith("modelpick recommend --commercial")
    assert commands[1].endswith("pytest")


_TOUR = _README.parent / "docs" / "tour.md"
_OFFLINE = ("recommend", "license", "probe", "plan")  # the others need an account: benchmarks/whole_way.py shows them


def test_the_tour_shows_what_is_printed_offline(modelpick: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other in one folder, since each uses what the one before it wrote."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = [(shlex.split(typed)[1:], text) for typed, text in _BLOCK.findall(_TOUR.read_text(encoding="utf-8"))]
    assert [words[0] for words, _ in shown if words[0] not in _OFFLINE] == [
        "up", "status", "connect", "chat", "bench", "status", "down",
    ]  # fmt: skip
    for words, text in shown:
        if words[0] in _OFFLINE:
            answer = modelpick(*words)
            assert _lines(answer.out + answer.err) == _lines(text)
        assert text.strip()
