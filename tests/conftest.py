"""Every test runs without network beyond loopback, without the user's settings, tokens or home."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# Before any test imports torch: a tiny model gains nothing from threads, and threads of several workers wait for each
# other on cores that others use.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.stand_ins.hub import Hub

# A property is about the answer, not the time: on busy cores a single example may take a second.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

# No test reads a developer's snapshot. `make data-check` runs the tests of the data on those of the folder it names.
_OTHERS = os.environ.get("MODELPICK_TEST_SNAPSHOTS")
_FACTS = {"MODELPICK_SNAPSHOTS": _OTHERS, "MODELPICK_DATA": "newest"} if _OTHERS else {"MODELPICK_DATA": "embedded"}

# The day that ages are counted to, so that a screen is the same on every day: 2026-11-30, as in scripts/fill_readme.py.
_TODAY = "1796040000"

_LOOPBACK = ("127.", "::1", "localhost")
_real_connect = socket.socket.connect


def _connect_on_loopback_only(self: socket.socket, address: object) -> None:
    host = address[0] if isinstance(address, tuple) else None
    if host is not None and not str(host).startswith(_LOOPBACK):
        raise AssertionError(f"a test opened a connection to {host}")
    _real_connect(self, address)  # type: ignore[arg-type]


def pytest_configure() -> None:
    """Modules that load the catalog while they are imported read the embedded one, whatever this user has.

    Where SIGINT is ignored at the start (under nohup, in some CI runners), children would inherit that, and a test's
    Ctrl-C would never reach them.
    """
    os.environ |= _FACTS
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setattr(socket.socket, "connect", _connect_on_loopback_only)
    for name in list(os.environ):
        if name.startswith(("MODELPICK_", "AWS_", "HF_", "HUGGING")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("HF_HOME", str(home / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there: a dead Hub, at once
    for name, value in _FACTS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", _TODAY)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(home)


@pytest.fixture
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty Hub on loopback, which HF_ENDPOINT names for the length of the test."""
    with Hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """In continuous integration everything is installed, so a skip hides something: say which."""
    for report in terminalreporter.stats.get("skipped", []) if os.environ.get("CI") else []:
        terminalreporter.write_line(f"skipped where nothing may be: {report.nodeid} {report.longrepr}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped") and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
