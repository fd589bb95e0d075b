"""A program as a supervised child: its log, its end, its restart after a crash, its drain. I/O."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelpick.errors import ModelpickError
from modelpick.serving.diagnose import diagnose, relevant_lines
from modelpick.serving.gateway.config import DRAIN_SECONDS, ServedTask

# Where programs, libraries and temporary files are, the language, and what tunes the libraries below a server.
_INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LIBRARY_PATH", "CPATH", "CC", "CXX", "PYTHONPATH", "VIRTUAL_ENV",
    "CONDA_PREFIX", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "USERPROFILE",
)  # fmt: skip
_INHERITED_PREFIXES = (
    "LC_", "CUDA_", "NVIDIA_", "NCCL_", "VLLM_", "TORCH", "PYTORCH_", "TRITON_", "OMP_", "MKL_", "OPENBLAS_", "GGML_",
    "LLAMA_",
)  # fmt: skip
_SECRET = re.compile("TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY", re.IGNORECASE)
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG, linux/prctl.h
_LOAD_SECONDS = 3600.0  # a 70B model from a slow disk; a server that dies earlier is noticed at once
_POLL_SECONDS = 0.25
_LOOK_SECONDS = 0.5  # between two looks at a server that loads
_MOST_CRASHES, _WITHIN_SECONDS = 5, 600.0  # with more restarts than this, another one only hides the problem
_LINES = 400  # of its end that are looked through for the cause
# The least that a model can be asked for.
_LEAST: Mapping[ServedTask, tuple[str, Mapping[str, object]]] = {
    "generate": ("completions", {"prompt": "a", "max_tokens": 1, "stream": True}),
    "embed": ("embeddings", {"input": "a"}),
    "rank": ("rerank", {"query": "a", "documents": ["a"]}),
}
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is never behind a company's proxy


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of this process that a server is started with: what it needs to run, and no credential.

    A model server handles other people's requests and files. It needs neither the Hub's token, since all is on disk,
    nor the account's keys; a variable whose name suggests a secret is left out even where its prefix is allowed.
    """
    return {
        name: value
        for name, value in environment.items()
        if (name in _INHERITED or name.startswith(_INHERITED_PREFIXES)) and not _SECRET.search(name)
    }


@dataclass(slots=True)
class ManagedProcess:
    """One program; `start` may be called again after its end. Its output goes to `log`."""

    words: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    feed: str | None = None  # written to its standard input, once
    leaves: Path | None = None  # a socket that a killed program leaves behind would block the next one
    _process: subprocess.Popen[bytes] | None = None
    _begun_at: int = field(default=0)

    def start(self) -> None:
        """Start it in a process group of its own; on Linux it ends when this process does, however that happens."""
        self._end_orphans()
        if self.leaves is not None:
            self.leaves.unlink(missing_ok=True)
        self.log.touch(mode=0o600)
        self._begun_at = self.log.stat().st_size
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                list(self.words),
                cwd=self.folder,
                env={**inherited(os.environ), **self.environment},
                stdin=subprocess.PIPE if self.feed is not None else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        if self.feed is not None and self._process.stdin is not None:
            try:
                self._process.stdin.write(self.feed.encode())
                self._process.stdin.close()
            except BrokenPipeError:
                pass  # it died at once: see `code`

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self.code is None else None

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs; a signal's number is negative."""
        return None if self._process is None else self._process.poll()

    def last_lines(self, count: int = 12) -> list[str]:
        """The last lines of its output since its last start."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(self._begun_at, self.log.stat().st_size - 65_536))
                text = log.read().decode(errors="replace")
        except OSError:
            return []
        # A progress bar redraws one line: what counts is how it ended.
        lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.splitlines()]
        return [line for line in lines if line.strip()][-count:]

    def stop(self, seconds: float) -> bool:
        """Send SIGTERM, and SIGKILL after `seconds`, to its whole group. Returns whether it ended by itself."""
        process = self._process
        if process is None:
            return True
        if process.poll() is None:
            self._signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            process.wait()
            return False
        finally:
            self._end_orphans()
        return True

    def _end_orphans(self) -> None:
        """End what is left of a dead program's group: vLLM's engine outlives a killed server and keeps GPU memory."""
        if self._process is not None and self._process.poll() is not None and os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):  # its group is empty
                os.killpg(self._process.pid, signal.SIGKILL)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            self._process.send_signal(number)


def _die_with_parent() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)


class ServerDiedError(ModelpickError):
    """The model server ended by itself, and starting it again would not help."""


@dataclass(slots=True)
class Supervisor:
    """One server, with what stands before it: the gateway, then the proxy, in the order in which they are stopped.

    `address` is where clients ask, `health` the server's own; `ready` is the file that says that every model answers.
    """

    server: ManagedProcess
    before: Sequence[ManagedProcess]
    address: str
    health: str
    names: tuple[str, ...]
    key: str
    ready: Path
    tell: Callable[[str], None]
    task: ServedTask = "generate"
    stop: threading.Event = field(default_factory=threading.Event)
    _crashes: list[float] = field(default_factory=list)

    def run(self, when_ready: Callable[[], None]) -> None:
        """Serve until `stop` is set, then drain. `when_ready` is called once, when every model has answered.

        Raises ServerDiedError when the server dies while loading, or again and again.
        """
        self.ready.unlink(missing_ok=True)
        try:
            for program in self.before:
                program.start()
            self._load()
            if not self.stop.is_set():
                when_ready()
            while not self.stop.wait(_POLL_SECONDS):
                self._restart()
        finally:
            self.drain()

    def drain(self) -> None:
        """Accept no new requests, finish the current ones (30 s at most), then end everything."""
        self.ready.unlink(missing_ok=True)
        # The gateway finishes what is at work and answers 503 meanwhile; what is before it has nothing left to do then.
        for program in self.before:
            if not program.stop(DRAIN_SECONDS + 5):
                self.tell(f"{program.log.stem} had to be killed: some requests were cut off")
        # uvicorn (vLLM, transformers) and llama-server finish their answers on SIGTERM.
        if not self.server.stop(10 if self.before else DRAIN_SECONDS):
            self.tell("the server had to be killed")

    def _load(self, *, again: bool = False) -> None:
        """Start the server and wait until it answers; a death is counted, not raised, when it had been up before."""
        self.server.start()
        began = reported = time.monotonic()
        while not self.stop.is_set():
            if self.server.code is not None:
                if again:
                    return
                raise self._died("while loading")
            self._check_before()
            if self._healthy() and self._answers():
                self.ready.touch(mode=0o600)
                return
            now = time.monotonic()
            if now - began > _LOAD_SECONDS:
                raise ServerDiedError(
                    f"the server is not up after {_LOAD_SECONDS / 60:.0f} minutes",
                    fix=f"see {self.server.log}",
                    code="server_silent",
                )
            if now - reported > 15:
                reported = now
                last = self.server.last_lines(1)
                self.tell(f"loading, {now - began:.0f} s: {last[0][:100] if last else 'no output yet'}")
            self.stop.wait(_LOOK_SECONDS)

    def _restart(self) -> None:
        """Start again what ended; give up on a server that keeps dying."""
        self._check_before()
        code = self.server.code
        if code is None:
            return
        self.ready.unlink(missing_ok=True)
        now = time.monotonic()
        self._crashes = [at for at in self._crashes if now - at < _WITHIN_SECONDS] + [now]
        if len(self._crashes) > _MOST_CRASHES:
            raise self._died(f"{len(self._crashes)} times within {_WITHIN_SECONDS / 60:.0f} minutes")
        pause = 2.0 ** (len(self._crashes) - 1)
        cause, _ = diagnose(self.server.last_lines(_LINES), code)
        self.tell(f"the server ended ({_ended(code)}; {cause}); it starts again in {pause:.0f} s")
        if not self.stop.wait(pause):
            self._load(again=True)
            if self.server.code is None:
                self.tell("the server is up again")

    def _check_before(self) -> None:
        """Start again what ended before the server; what ends while the server loads has no other way to go well."""
        for program in self.before:
            if program.code is None:
                continue
            name = program.log.stem
            if not self.ready.exists():
                lines = " / ".join(program.last_lines(3))
                raise ServerDiedError(f"the {name} ended: {lines}", fix=f"see {program.log}", code=f"{name}_died")
            self.tell(f"the {name} ended; it starts again")
            program.start()
            self.stop.wait(1.0)

    def _healthy(self) -> bool:
        try:
            with _DIRECT.open(self.health, timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, ValueError):
            return False

    def _answers(self) -> bool:
        """Whether every model answers through the address that clients use: it is loaded then."""
        path, asking = _LEAST[self.task]
        for name in self.names:
            body = json.dumps({"model": name, **asking}).encode()
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
            request = urllib.request.Request(f"{self.address}/{path}", body, headers)
            try:
                with _DIRECT.open(request, timeout=_LOAD_SECONDS) as answer:
                    reply = answer.read(4096)
                if b'{"error"' in reply:
                    raise self._fails(name, reply)
            except urllib.error.HTTPError as error:
                if error.code == 503 or self.server.code is not None:
                    return False  # the gateway is up before the server
                raise self._fails(name, error.read(300)) from None
            except (OSError, ValueError):
                return False
        return True

    def _fails(self, name: str, reply: bytes) -> ServerDiedError:
        last = " / ".join(self.server.last_lines(3))
        return ServerDiedError(
            f"{name} does not answer: {reply[:300].decode(errors='replace').strip()}; {last}",
            fix=f"see {self.server.log}",
            code="model_fails",
        )

    def _died(self, when: str) -> ServerDiedError:
        lines = self.server.last_lines(_LINES)
        cause, fix = diagnose(lines, self.server.code)
        shown = "\n    ".join(line[:300] for line in relevant_lines(lines))
        return ServerDiedError(
            f"the server died {when} ({_ended(self.server.code)}): {cause}. Its last lines:\n    {shown}",
            fix=f"{fix} ({self.server.log})",
            code="server_died",
        )


def _ended(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit {code}"
