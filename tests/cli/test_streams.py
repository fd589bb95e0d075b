"""However the shell leaves the program's streams, signals and terminal: a contracted exit code, never a traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelpick import __main__ as start
from modelpick.errors import EXIT_INTERRUPTED

QUICK = ("--version",), ("--help",), ("offers",), ("offers", "--json"), ("nonsense",)


@pytest.fixture
def environment(repository: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(repository)}


def shell(line: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A line of sh in which `modelpick` is this program."""
    text = f'modelpick() {{ "{sys.executable}" -m modelpick "$@"; }}; {line}'
    return subprocess.run(["sh", "-c", text], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("to", [">&-", ">/dev/full"])
@pytest.mark.parametrize("words", QUICK, ids=" ".join)
def test_an_answer_that_cannot_be_written_is_said(words: tuple[str, ...], to: str, environment: dict[str, str]) -> None:
    ended = shell(f"modelpick {' '.join(words)} {to}", environment)
    assert ended.returncode == 2
    assert ended.stderr.count("error") == 1
    assert "itself failed" not in ended.stderr
    if words != ("nonsense",):
        assert "the answer cannot be written" in ended.stderr


@pytest.mark.parametrize("words", ["--help", "offers", "offers --json", "catalog show"])
def test_a_reader_that_has_seen_enough_ends_nothing(words: str, environment: dict[str, str]) -> None:
    ended = shell(f"{{ modelpick {words}; echo code $? >&2; }} | head -1", environment)
    assert ended.stderr == "code 0\n"


@pytest.mark.parametrize("words", ["offers", "nonsense"])
def test_nobody_listens_on_stderr(words: str, environment: dict[str, str]) -> None:
    ended = shell(f"modelpick {words} 2>&-", environment)
    assert ended.returncode == (0 if words == "offers" else 2)
    assert ended.stderr == ""


@pytest.mark.parametrize("columns", ["²", "0", "-5", "100000", "9" * 40, "", "eighty"])
def test_any_columns(columns: str, environment: dict[str, str]) -> None:
    for words in ("--help", "offers --help", "catalog info"):
        ended = shell(f"modelpick {words}", {**environment, "COLUMNS": columns, "LINES": columns})
        assert (ended.returncode, ended.stderr) == (0, "")
        assert max(map(len, ended.stdout.splitlines())) <= 1000


@pytest.mark.parametrize("locale", [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}])
def test_an_ascii_terminal(locale: dict[str, str], environment: dict[str, str]) -> None:
    for words in ("--help", "catalog show tiiuae/falcon-7b", "estimate tiiuae/falcon-7b --offline", "nonsensé"):
        ended = shell(f"modelpick {words}", {**environment, **locale})
        assert ended.returncode in (0, 2)
        assert (ended.stdout + ended.stderr).isascii()


def test_a_home_that_nobody_can_write_to(environment: dict[str, str]) -> None:
    nowhere = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HF_HOME"), "/proc/nowhere")
    for words in ("recommend --limit 1", "license tiiuae/falcon-7b --offline", "doctor", "policy list"):
        ended = shell(f"modelpick {words}", {**environment, **nowhere})
        assert (ended.returncode, ended.stderr) == (0, ""), words


def _interrupted(after: float, environment: dict[str, str], *, ignored: bool = False) -> tuple[int, str]:
    """The exit code and stderr of a command that is sent SIGINT `after` seconds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "modelpick", "recommend", "--all"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # What pytest was started with is not what is tested: under nohup SIGINT is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL) and None,
    )
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    return process.returncode, err


def test_ctrl_c_ends_it_at_any_instant(environment: dict[str, str]) -> None:
    """Before the interpreter has read the first line of ours, it is Python's own start that ends (-2, or its site)."""
    outcomes = [_interrupted(step * 0.03, environment) for step in range(20)]
    for code, err in outcomes:
        assert "modelpick" not in err, err  # no line of ours in a traceback
        if "Traceback" not in err:
            assert code in (EXIT_INTERRUPTED, -signal.SIGINT, 0)
            assert err in ("", "interrupted\n")
    assert sum(code == EXIT_INTERRUPTED for code, _ in outcomes) >= 8


def test_ctrl_c_stays_ignored_where_it_was(environment: dict[str, str]) -> None:
    for after in (0.1, 0.3, 0.6):
        assert _interrupted(after, environment, ignored=True) == (0, "")


def test_the_entry_ends_with_the_contracted_code() -> None:
    assert start._INTERRUPTED == EXIT_INTERRUPTED
