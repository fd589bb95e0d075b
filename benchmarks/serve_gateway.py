"""What the gateway costs: python benchmarks/serve_gateway.py [--requests 400] [--clients 16]

A stand-in server that answers at once (uvicorn, h11, a process of its own) is asked directly, through the gateway, and
through Caddy and the gateway, as `modelpick serve` has them: one request after another on one connection, whole and
streamed, taking turns so that other work on the machine falls on all alike; then by many clients at once. Printed: the
quickest (what it takes when nothing else runs), the median and the 99th percentile of the wait, requests a second, and
the CPU time of the processes on the way. With --tokens a tokenizer's folder, the prompt's tokens are
counted too, as before `transformers serve`.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpcore2

from modelpick.serving import front
from modelpick.serving.gateway.config import GatewaySettings
from modelpick.serving.machine import free_port, new_key
from modelpick.serving.process import ManagedProcess

CHUNKS = 32
SHARES = (0.0, 0.5, 0.99)
TEXT = "The quick brown fox jumps over the lazy dog. " * 20
MESSAGES = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": TEXT}]
BODY: dict[str, object] = {"model": "m", "messages": MESSAGES, "max_tokens": 64, "temperature": 0.5, "stop": ["END"]}


async def stand_in(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application that answers at once: whole, or in CHUNKS events."""
    raw = b""
    while scope["type"] == "http":
        event = await receive()
        raw += event.get("body", b"")
        if not event.get("more_body"):
            break
    streamed = b'"stream":' in raw.replace(b" ", b"")
    kind = b"text/event-stream" if streamed else b"application/json"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    choice: dict[str, object] = {"index": 0, "delta": {"content": " word"}, "finish_reason": None}
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    for number in range(CHUNKS if streamed else 0):
        choice["finish_reason"] = "stop" if number == CHUNKS - 1 else None
        event = {"type": "http.response.body", "body": f"data: {json.dumps(chunk)}\n\n".encode(), "more_body": True}
        await send(event)
    message = {"role": "assistant", "content": "word " * CHUNKS}
    whole = {"id": "1", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n" if streamed else json.dumps(whole).encode()})


def main() -> None:
    """Start everything, measure, print, stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=400, help="of each kind, one after another")
    parser.add_argument("--clients", type=int, default=16, help="at once")
    parser.add_argument("--tokens", type=Path, help="a folder with a tokenizer: prompts are counted")
    parser.add_argument("--stand-in", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stand_in:
        import uvicorn

        uvicorn.run(stand_in, host="127.0.0.1", port=options.stand_in, log_level="error", http="h11", loop="asyncio")
        return
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(options, Path(folder)))


async def measure(options: argparse.Namespace, state: Path) -> None:
    """All routes, and their figures."""
    key, server_port, port = new_key(), free_port("127.0.0.1"), free_port("127.0.0.1")
    words = [sys.executable, str(Path(__file__).resolve()), "--stand-in", str(server_port)]
    server = subprocess.Popen(words)
    settings = GatewaySettings(
        "transformers" if options.tokens else "vllm", f"127.0.0.1:{server_port}", {"m": "m"}, ("m",), 4096, 4000,
        tokenizers={"m": str(options.tokens)} if options.tokens else {},
    )  # fmt: skip
    gateway, caddy = front.gateway(settings, key, state), front.caddy("127.0.0.1", port, state)
    for program in (gateway, caddy):
        program.start()
        as_urgent_as_this(program.pid)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    routes = {
        "the server itself": Route(f"http://127.0.0.1:{server_port}", headers, programs=(server,)),
        "gateway": Route("http://localhost", headers, socket=str(state / settings.socket), programs=(gateway,)),
        "Caddy and gateway": Route(f"http://127.0.0.1:{port}", headers, programs=(gateway, caddy)),
    }
    try:
        for route in routes.values():
            await route.ready()
        for streamed in (False, True):
            await one_after_another(routes, streamed, options.requests)
        for name, route in routes.items():
            rate = await at_once(route, options.clients, options.requests * 4)
            print(f"{options.clients} at once  {name:18}  {rate:7.0f} requests a second")
    finally:
        for program in (caddy, gateway):
            program.stop(5)
        server.terminate()
        server.wait()


def as_urgent_as_this(pid: int | None) -> None:
    """Gives a program in a session of its own the priority of this one's (autogroups: sched(7)), where there is one."""
    with contextlib.suppress(OSError):
        own = Path("/proc/self/autogroup").read_text(encoding="ascii").split()[-1]
        Path(f"/proc/{pid}/autogroup").write_text(own, encoding="ascii")


class Route:
    """A way to the server. `programs`: what is on it, whose CPU time is counted."""

    def __init__(
        self, address: str, headers: Mapping[str, str], *, socket: str | None = None,
        programs: tuple[ManagedProcess | subprocess.Popen[bytes], ...] = (),
    ) -> None:  # fmt: skip
        self.pool = httpcore2.AsyncConnectionPool(uds=socket)
        self.url, self.headers, self.programs = f"{address}/v1/chat/completions", headers, programs

    async def ask(self, streamed: bool) -> tuple[float, float]:
        """Seconds to the first byte and to the last."""
        content = json.dumps({**BODY, **({"stream": True} if streamed else {})}).encode()
        began = time.perf_counter()
        first = 0.0
        async with self.pool.stream("POST", self.url, headers=list(self.headers.items()), content=content) as reply:
            if reply.status != 200:
                raise SystemExit(f"{self.url}: {reply.status} {(await reply.aread()).decode()}")
            async for _ in reply.aiter_stream():
                first = first or time.perf_counter() - began
        return first, time.perf_counter() - began

    async def ready(self) -> None:
        """Until it answers."""
        for _ in range(600):
            try:
                await self.ask(False)
                return
            except (httpcore2.NetworkError, SystemExit):
                await asyncio.sleep(0.1)
        raise SystemExit(f"{self.url} does not answer")

    def cpu(self) -> float:
        """Seconds of CPU time that its programs took so far (proc_pid_stat(5): utime and stime)."""
        found = 0
        for program in self.programs:
            fields = Path(f"/proc/{program.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            found += int(fields[11]) + int(fields[12])
        return found / os.sysconf("SC_CLK_TCK")


async def one_after_another(routes: Mapping[str, Route], streamed: bool, count: int) -> None:
    """Each route in turn, `count` times."""
    waits: dict[str, list[tuple[float, float]]] = {name: [] for name in routes}
    cpu = dict.fromkeys(routes, 0.0)
    for _ in range(count):
        for name, route in routes.items():
            before = route.cpu()
            waits[name].append(await route.ask(streamed))
            cpu[name] += route.cpu() - before
    kind = f"a stream of {CHUNKS}" if streamed else "a whole answer"
    bare = [at(sorted(last for _, last in waits["the server itself"]), share) for share in SHARES]
    for name, pairs in waits.items():
        first, last = (sorted(column) for column in zip(*pairs, strict=True))
        found = [at(last, share) for share in SHARES]
        shown = [
            f"{share:.0%} {ms(found[place])} (+{ms(found[place] - bare[place])})"
            if share
            else f"quickest {ms(found[place])} (+{ms(found[place] - bare[place])})"
            for place, share in enumerate(SHARES)
        ]
        print(
            f"{kind:14}  {name:18}  {', '.join(shown)}; first byte at the median {ms(statistics.median(first))}; "
            f"CPU {ms(cpu[name] / count)} a request"
        )


def at(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie."""
    return ordered[int(len(ordered) * share)]


async def at_once(route: Route, clients: int, count: int) -> float:
    """Requests a second of `clients` that ask one after another."""

    async def client() -> None:
        for _ in range(count // clients):
            await route.ask(False)

    asking: Callable[[], Awaitable[None]] = client
    began = time.perf_counter()
    await asyncio.gather(*(asking() for _ in range(clients)))
    return count // clients * clients / (time.perf_counter() - began)


def ms(seconds: float) -> str:
    """In milliseconds."""
    return f"{seconds * 1000:.2f} ms"


if __name__ == "__main__":
    main()
