"""Somebody at a terminal: modelpick in processes of its own, and what was typed and shown."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from tests.stand_ins.aws_account import Aws

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 1500  # of any one wait, also where the cores are shared; on two quiet ones the whole takes a few minutes


class User:
    """One user, at home in `home`, with the account's credentials and with `programs` on the path."""

    def __init__(self, aws: Aws, home: Path, programs: Path, **more: str) -> None:
        self.home = home
        self.transcript: list[tuple[str, str]] = []  # what was typed as a person, what it showed
        self.environment = {
            **aws.environment, "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(home), "PYTHONPATH": str(ROOT),
            "COLUMNS": "80", "HF_HUB_OFFLINE": "1", **more,
        }  # fmt: skip

    def start(self, *words: str, **more: str) -> "subprocess.Popen[str]":
        """Start a command; its output is piped."""
        process: subprocess.Popen[str] = self._start(words, subprocess.PIPE, subprocess.PIPE, more)
        return process

    def json(self, *words: str, code: int = 0, **more: str) -> dict[str, Any]:
        """A program's way: the answer of `--json`."""
        process = self.start(*words, "--json", **more)
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == code, f"{words}: {out} {err}"
        return dict(json.loads(out or err))

    def first_answer(self, *words: str, **more: str) -> dict[str, Any]:
        """The answer of a command that runs on after it, which is then interrupted."""
        process = self.start(*words, "--json", **more)
        line = process.stdout.readline() if process.stdout else ""
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=SECONDS)
        assert line, f"{words}: {err}"
        return dict(json.loads(line))

    def types(self, *words: str, code: int = 0, **more: str) -> str:
        """A person's way: what the screen shows, both streams as they come. Kept in the transcript."""
        return self.begins(*words, **more).ends(code)

    def begins(self, *words: str, **more: str) -> "Screen":
        """A command that a person looks at while it runs."""
        path = self.home.parent / f"screen-{len(self.transcript)}"
        with path.open("w") as file:
            process = self._start(words, file, subprocess.STDOUT, more)
        self.transcript.append((f"modelpick {' '.join(map(_typed, words))}", ""))
        return Screen(self, len(self.transcript) - 1, process, path)

    def _start(self, words: tuple[str, ...], out: int | IO[str], err: int, more: dict[str, str]) -> Any:
        words = tuple(str(self.home / word[2:]) if word.startswith("~/") else word for word in words)  # as a shell does
        return subprocess.Popen(
            [sys.executable, "-m", "modelpick", *words], cwd=self.home, env={**self.environment, **more}, text=True,
            stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
        )  # fmt: skip


def _typed(word: str) -> str:
    return f'"{word}"' if " " in word else word


class Screen:
    """A running command and what it has shown so far."""

    def __init__(self, user: User, index: int, process: "subprocess.Popen[str]", path: Path) -> None:
        self.process, self._user, self._index, self._path = process, user, index, path

    @property
    def typed(self) -> str:
        """The command."""
        return self._user.transcript[self._index][0]

    @property
    def text(self) -> str:
        """What it shows."""
        return self._path.read_text()

    def interrupt(self) -> None:
        """Ctrl-C: the terminal tells every process of the command."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ends(self, code: int = 0) -> str:
        """Wait for its end; what it showed."""
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise AssertionError(self.text) from None
        self._user.transcript[self._index] = (self.typed, self.text)
        assert self.process.returncode == code, f"{self.typed}: {self.process.returncode}\n{self.text}"
        return self.text
