"""Up, warm, started again after a crash, drained before the end: with real processes."""

import json
import os
import signal
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelpick.serving.diagnose import diagnose
from modelpick.serving.machine import free_port
from modelpick.serving.process import ManagedProcess, ServerDiedError, Supervisor
from tests.serving.conftest import DIRECT, PROGRAM, is_up, wait_for


class Running:
    """A watched stand-in server in a thread of its own, and everything it told."""

    def __init__(self, folder: Path, *words: str) -> None:
        port = free_port("127.0.0.1")
        self.address = f"http://127.0.0.1:{port}"
        self.told: list[str] = []
        self.raised: list[BaseException] = []
        self.ready = threading.Event()
        line = [sys.executable, str(PROGRAM), "--port", str(port), *words]
        self.child = ManagedProcess(line, {}, folder, folder / "server.log")
        self.watch = Supervisor(
            self.child,
            (),
            f"{self.address}/v1",
            f"{self.address}/health",
            ("a", "b"),
            "k",
            folder / "ready",
            self.told.append,
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.watch.run(self.ready.set)
        except BaseException as error:
            self.raised.append(error)

    def end(self) -> None:
        self.watch.stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Running]]:
    made: list[Running] = []
    yield made
    for one in made:
        one.end()


def post(address: str, body: object) -> None:
    request = urllib.request.Request(f"{address}/v1/completions", json.dumps(body).encode())
    with DIRECT.open(request, timeout=30) as answer:
        answer.read()


def test_ready_only_when_every_model_has_answered(servers: list[Running], tmp_path: Path) -> None:
    servers.append(one := Running(tmp_path))
    assert one.ready.wait(60)
    assert (tmp_path / "ready").exists()
    assert is_up(f"{one.address}/health")
    one.end()
    assert not (tmp_path / "ready").exists()
    assert one.child.code is not None
    assert one.raised == []


def test_a_crash_is_reported_with_its_cause_and_restarted(servers: list[Running], tmp_path: Path) -> None:
    servers.append(one := Running(tmp_path))
    assert one.ready.wait(60)
    first = one.child.pid
    with pytest.raises(OSError):  # noqa: PT011  the connection breaks one way or another
        post(one.address, {"prompt": "die"})
    wait_for(lambda: "the server is up again" in one.told)
    assert any("ran out of memory" in line for line in one.told)
    assert one.child.pid not in (None, first)
    post(one.address, {"prompt": "hello", "max_tokens": 1})


def test_a_server_that_keeps_dying_is_given_up(
    servers: list[Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelpick.serving.process._MOST_CRASHES", 1)
    servers.append(one := Running(tmp_path))
    assert one.ready.wait(60)
    with pytest.raises(OSError):  # noqa: PT011
        post(one.address, {"prompt": "die"})
    wait_for(lambda: "the server is up again" in one.told)
    with pytest.raises(OSError):  # noqa: PT011
        post(one.address, {"prompt": "die"})
    wait_for(lambda: bool(one.raised))
    assert isinstance(one.raised[0], ServerDiedError)
    assert "2 times" in one.raised[0].message


def test_a_server_that_dies_while_loading_shows_its_last_lines(servers: list[Running], tmp_path: Path) -> None:
    servers.append(one := Running(tmp_path, "--dies", "torch.OutOfMemoryError: CUDA out of memory."))
    wait_for(lambda: bool(one.raised))
    error = one.raised[0]
    assert isinstance(error, ServerDiedError)
    assert (error.code, error.exit_code) == ("server_died", 1)
    assert "torch.OutOfMemoryError" in error.message
    assert "exit 3" in error.message
    assert "--context" in error.fix
    assert not one.ready.is_set()


def test_what_is_being_answered_is_finished(servers: list[Running], tmp_path: Path) -> None:
    servers.append(one := Running(tmp_path, "--seconds", "0.2"))
    assert one.ready.wait(60)
    one.end()
    assert one.child.code == -15


@pytest.mark.parametrize(
    ("line", "code", "cause"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried", 1, "GPU ran out of memory"),
        ("ValueError: No available memory for the cache blocks.", 1, "cache"),
        ("OSError: [Errno 98] address already in use", 1, "port"),
        ("ModuleNotFoundError: No module named 'uvicorn'", 1, "missing"),
        ("safetensors_rust.SafetensorError: Error while deserializing header", 1, "damaged"),
        ("", -9, "it was killed"),
        ("something new", 1, "not known"),
    ],
)
def test_the_likely_cause(line: str, code: int, cause: str) -> None:
    told, fix = diagnose([line], code)
    assert cause in told
    assert fix


def test_what_a_killed_server_leaves_behind_is_ended_before_the_next(tmp_path: Path) -> None:
    """vLLM's engine outlives its killed server, and holds the GPU's memory that the next one needs."""
    script = (
        "import subprocess, sys, time\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    child = ManagedProcess([sys.executable, "-c", script], {}, tmp_path, tmp_path / "log")

    def kill() -> int:
        wait_for(lambda: bool(child.last_lines(1)))
        (engine,) = (int(line) for line in child.last_lines(1))
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        wait_for(lambda: child.code is not None)
        assert is_there(engine)
        return engine

    child.start()
    first = kill()
    child.start()
    wait_for(lambda: not is_there(first))
    second = kill()
    assert child.stop(1)
    wait_for(lambda: not is_there(second))


def is_there(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    script = (
        "import sys, time; from pathlib import Path; from modelpick.serving.process import ManagedProcess\n"
        f"words = [sys.executable, {str(PROGRAM)!r}, '--port', '{port}']\n"
        "ManagedProcess(words, {}, Path('.'), Path('log')).start()\n"
        "time.sleep(60)\n"
    )
    parent = ManagedProcess([sys.executable, "-c", script], {}, tmp_path, tmp_path / "parent.log")
    parent.start()
    wait_for(lambda: is_up(f"http://127.0.0.1:{port}/health"))
    assert parent._process is not None
    parent._process.kill()

    def gone() -> bool:
        try:
            return not is_up(f"http://127.0.0.1:{port}/health")
        except OSError:
            return True

    wait_for(gone)


def test_a_server_inherits_no_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = (
        *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("OPENAI_API_KEY", "VLLM_API_KEY", "MLFLOW_TRACKING_PASSWORD", "GITHUB_TOKEN", "HTTPS_PROXY", "DATABASE_URL"),
    )
    for name in secrets:
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    script = "import json, os; print(json.dumps(dict(os.environ)), flush=True)"
    child = ManagedProcess([sys.executable, "-c", script], {"VLLM_API_KEY": "its own"}, tmp_path, tmp_path / "log")
    child.start()
    wait_for(lambda: child.code is not None)
    (line,) = child.last_lines(1)
    given = json.loads(line)
    assert "hunter2" not in line
    assert {given["PATH"], given["CUDA_VISIBLE_DEVICES"], given["VLLM_API_KEY"]} == {os.environ["PATH"], "1", "its own"}
