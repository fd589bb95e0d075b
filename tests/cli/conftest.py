"""`modelpick("license", "tiiuae/falcon-7b", "--json")` runs the real program in this process."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from modelpick.cli.main import main


@dataclass(frozen=True)
class Answer:
    """What one run left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The `error` object on stderr."""
        return json.loads(self.err)["error"]


Run = Callable[..., Answer]


@pytest.fixture
def modelpick(capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs the program with the given words."""

    def run(*words: str) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(words)
        captured = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        assert "Traceback" not in captured.out + captured.err
        return Answer(code, captured.out, captured.err)

    return run
