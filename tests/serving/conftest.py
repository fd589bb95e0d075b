"""A model server that is a real process, and the real Caddy before it."""

import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelpick.serving.machine import free_port, program
from tests.cli.conftest import modelpick  # noqa: F401
from tests.stand_ins import model_server

PROGRAM = Path(model_server.__file__)
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def wait_for(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Until `true()`, or the test fails; errors of connecting count as not yet."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if true():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:.0f} s")


def is_up(url: str) -> bool:
    with DIRECT.open(url, timeout=5) as answer:
        return bool(answer.status == 200)


@pytest.fixture
def caddy() -> str:
    """The program, from the extra `serve` or the system."""
    found = program("caddy")
    if found is None:
        pytest.skip("Caddy is absent")
    return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """`start("--seconds", "0.1")` runs a stand-in model server and gives its address."""
    running = []

    def begin(*words: str) -> str:
        port = free_port("127.0.0.1")
        log = (tmp_path / f"server-{port}.log").open("wb")
        running.append(
            subprocess.Popen([sys.executable, str(PROGRAM), "--port", str(port), *words], stdout=log, stderr=log)
        )
        wait_for(lambda: is_up(f"http://127.0.0.1:{port}/health"))
        return f"http://127.0.0.1:{port}"

    yield begin
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def fake_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """`fake_nvidia_smi(gpus, apps)`: a program of that name which answers both queries."""

    def make(gpus: str, apps: str) -> None:
        folder = tmp_path / "driver"
        folder.mkdir()
        script = folder / "nvidia-smi"
        script.write_text(f"#!/bin/sh\ncase \"$1\" in *query-gpu*) printf '{gpus}';; *) printf '{apps}';; esac\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        assert shutil.which("nvidia-smi") == str(script)

    return make
