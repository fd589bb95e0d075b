"""Keeps server and proxy running: up, warm, restarted after a crash, drained before the end. I/O."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from modelpick.errors import ModelpickError
from modelpick.serving.diagnose import likely_cause, telling
from modelpick.serving.process import Child
from modelpick.serving.proxy import DRAIN_SECONDS

_LOAD_SECONDS = 3600.0  # a 70B model from a slow disk; a server that dies earlier is noticed at once
_POLL_SECONDS = 0.25
_LOOK_SECONDS = 0.5  # between two looks at a server that loads
_MOST_CRASHES, _WITHIN_SECONDS = 5, 600.0  # beyond this a restart only hides what is wrong
_LINES = 400  # of its end that are looked through for the cause
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is never behind a company's proxy


class ServerDiedError(ModelpickError):
    """The model server ended by itself, and starting it again would not help."""


@dataclass(slots=True)
class Watch:
    """One server, with the proxy before it where it needs one.

    `address` is where clients ask, `health` the server's own; `ready` is the file that says that every model answers.
    """

    server: Child
    proxy: Child | None
    address: str
    health: str
    names: tuple[str, ...]
    key: str
    ready: Path
    tell: Callable[[str], None]
    stop: threading.Event = field(default_factory=threading.Event)
    _crashes: list[float] = field(default_factory=list)

    def run(self, when_ready: Callable[[], None]) -> None:
        """Serve until `stop` is set, then drain. `when_ready` is called once, when every model has answered.

        Raises ServerDiedError when the server dies while loading, or again and again.
        """
        self.ready.unlink(missing_ok=True)
        try:
            if self.proxy is not None:
                self.proxy.start()
            self._load()
            if not self.stop.is_set():
                when_ready()
            while not self.stop.wait(_POLL_SECONDS):
                self._mend()
        finally:
            self.drain()

    def drain(self) -> None:
        """No new requests, those at work are finished (30 s at most), then everything ends."""
        self.ready.unlink(missing_ok=True)
        if self.proxy is not None and not self.proxy.stop(DRAIN_SECONDS + 5):
            self.tell("the proxy had to be killed: some requests were cut off")
        # uvicorn (vLLM, transformers) and llama-server finish what they answer when told SIGTERM.
        if not self.server.stop(DRAIN_SECONDS if self.proxy is None else 10):
            self.tell("the server had to be killed")

    def _load(self, *, again: bool = False) -> None:
        """Start the server and wait until it answers; a death is counted, not raised, when it had been up before."""
        self.server.start()
        began = told = time.monotonic()
        while not self.stop.is_set():
            if self.server.code is not None:
                if again:
                    return
                raise self._died("while loading")
            self._check_proxy()
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
            if now - told > 15:
                told = now
                last = self.server.last_lines(1)
                self.tell(f"loading, {now - began:.0f} s: {last[0][:100] if last else 'nothing said yet'}")
            self.stop.wait(_LOOK_SECONDS)

    def _mend(self) -> None:
        """Start again what ended; give up on a server that keeps dying."""
        self._check_proxy()
        code = self.server.code
        if code is None:
            return
        self.ready.unlink(missing_ok=True)
        now = time.monotonic()
        self._crashes = [at for at in self._crashes if now - at < _WITHIN_SECONDS] + [now]
        if len(self._crashes) > _MOST_CRASHES:
            raise self._died(f"{len(self._crashes)} times within {_WITHIN_SECONDS / 60:.0f} minutes")
        pause = 2.0 ** (len(self._crashes) - 1)
        cause, _ = likely_cause(self.server.last_lines(_LINES), code)
        self.tell(f"the server ended ({_ended(code)}; {cause}); it starts again in {pause:.0f} s")
        if not self.stop.wait(pause):
            self._load(again=True)
            if self.server.code is None:
                self.tell("the server is up again")

    def _check_proxy(self) -> None:
        if self.proxy is None or self.proxy.code is None:
            return
        if not self.ready.exists():
            lines = " / ".join(self.proxy.last_lines(3))
            raise ServerDiedError(f"the proxy ended: {lines}", fix=f"see {self.proxy.log}", code="proxy_died")
        self.tell("the proxy ended; it starts again")
        self.proxy.start()
        self.stop.wait(1.0)

    def _healthy(self) -> bool:
        try:
            with _DIRECT.open(self.health, timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, ValueError):
            return False

    def _answers(self) -> bool:
        """Whether every model gives a token through the address that clients use: it is loaded then."""
        for name in self.names:
            body = json.dumps({"model": name, "prompt": "a", "max_tokens": 1, "stream": True}).encode()
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
            request = urllib.request.Request(f"{self.address}/completions", body, headers)
            try:
                with _DIRECT.open(request, timeout=_LOAD_SECONDS) as answer:
                    said = answer.read(4096)
                if b'{"error"' in said:
                    raise self._fails(name, said)
            except urllib.error.HTTPError as error:
                if error.code == 503 or self.server.code is not None:
                    return False  # the proxy is up before the server
                raise self._fails(name, error.read(300)) from None
            except (OSError, ValueError):
                return False
        return True

    def _fails(self, name: str, said: bytes) -> ServerDiedError:
        last = " / ".join(self.server.last_lines(3))
        return ServerDiedError(
            f"{name} does not answer: {said[:300].decode(errors='replace').strip()}; {last}",
            fix=f"see {self.server.log}",
            code="model_fails",
        )

    def _died(self, when: str) -> ServerDiedError:
        lines = self.server.last_lines(_LINES)
        cause, fix = likely_cause(lines, self.server.code)
        shown = "\n    ".join(line[:300] for line in telling(lines))
        return ServerDiedError(
            f"the server died {when} ({_ended(self.server.code)}): {cause}. Its last lines:\n    {shown}",
            fix=f"{fix} ({self.server.log})",
            code="server_died",
        )


def _ended(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit {code}"
