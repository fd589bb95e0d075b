"""The real gateway of each engine, in a thread, before one upstream that keeps what it was sent."""

import contextlib
import http.client
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from modelpick.serving.gateway.config import GatewaySettings
from tests.serving.conftest import wait_for
from tests.stand_ins import upstream as stand_in

pytest.importorskip("uvicorn", reason="the extra serve is absent")
pytest.importorskip("transformers", reason="the extra train is absent")
from modelpick.serving.gateway.app import Gateway
from modelpick.serving.gateway.prompts import PromptTokens
from modelpick.serving.gateway.running import DrainingServer

KEY = "mp-0123456789abcdefghij"
ENGINES = ("vllm", "transformers", "llama.cpp")
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'developer' %}{{ raise_exception('no developer here') }}{% endif %}"
    "{{ m.role }}: {{ m.content }}\n{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}"
)
CHAT = {"model": "my-model", "messages": [{"role": "user", "content": "hello"}]}
TEXT = {"model": "my-model", "prompt": "hello"}
PATHS = {"chat": ("/v1/chat/completions", CHAT), "completions": ("/v1/completions", TEXT)}
# Of servers that are started to embed or to rank.
EMBEDDINGS = {"model": "my-model", "input": "hello"}
RERANK = {"model": "my-model", "query": "hello", "documents": ["a", "b"]}
SCORE = {"model": "my-model", "text_1": "hello", "text_2": ["a", "b"]}
POOLING = {
    "embeddings": ("/v1/embeddings", EMBEDDINGS), "rerank": ("/v1/rerank", RERANK), "score": ("/v1/score", SCORE),
}  # fmt: skip


class SocketClient(http.client.HTTPConnection):
    """http.client over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass
class RunningGateway:
    """A gateway, and how it is asked."""

    gateway: Gateway
    server: DrainingServer
    thread: threading.Thread
    settings: GatewaySettings

    def raw(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and bytes of one request."""
        client = SocketClient(self.settings.socket)
        try:
            with contextlib.suppress(BrokenPipeError):  # it answers a head without waiting for a body it will not read
                client.request(method, path, body, dict(headers or {}))
            reply = client.getresponse()
            return reply.status, reply.headers, reply.read()
        finally:
            client.close()

    def post(self, path: str, body: object, **headers: str) -> tuple[int, Any]:
        """Status and JSON (or text, of a stream) of a request with the key."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", **headers}
        status, told, raw = self.raw("POST", path, sent, given)
        return status, json.loads(raw) if told["Content-Type"] == "application/json" else raw.decode()

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of a request with the key."""
        status, _, raw = self.raw("GET", path, None, {"Authorization": f"Bearer {KEY}"})
        return status, json.loads(raw)

    def error(self, path: str, body: object, **headers: str) -> tuple[int, Any]:
        """Status and error object of a request that is refused."""
        status, told = self.post(path, body, **headers)
        assert set(told["error"]) == {"message", "type", "param", "code"}
        return status, told["error"]


@contextmanager
def running(settings: GatewaySettings, state: Path, prompts: PromptTokens | None = None) -> Iterator[RunningGateway]:
    """A gateway in a thread until the block ends."""
    settings = replace(settings, socket=str(state / "g.sock"))
    gateway = Gateway(settings, KEY, state, prompts)
    server = DrainingServer(gateway)
    thread = threading.Thread(target=server.run, daemon=True)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)  # client, gateway and server are threads of one process here
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield RunningGateway(gateway, server, thread, settings)
    finally:
        sys.setswitchinterval(interval)
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def upstream() -> Iterator[stand_in.Upstream]:
    with stand_in.serve() as server:
        yield server


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests import tiny_models

    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_models.tokenizer(chat_template=TEMPLATE).save_pretrained(folder)
    (folder / "generation_config.json").write_text('{"eos_token_id": 2, "do_sample": false}')
    return folder


def settings_of(engine: str, upstream: stand_in.Upstream, **changes: Any) -> GatewaySettings:
    values: dict[str, Any] = {"models": {"my-model": "served", "org/My-Model": "served"}, "listed": ("my-model",)}
    values |= {"tokens": 300, "prompt_tokens": 200 if engine == "transformers" else 299}
    return GatewaySettings(engine=engine, upstream=upstream.address, **values | changes)


Starting = Callable[..., RunningGateway]


@pytest.fixture(scope="module")
def gateways(
    upstream: stand_in.Upstream, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, RunningGateway]]:
    """One of each engine."""
    prompts = PromptTokens({"served": str(tokenizer_folder)})
    with ExitStack() as stack:
        yield {
            engine: stack.enter_context(
                running(
                    settings_of(engine, upstream, own_metrics=engine == "vllm"),
                    tmp_path_factory.mktemp("state"),
                    prompts if engine == "transformers" else None,
                )
            )
            for engine in ENGINES
        }


@pytest.fixture(scope="module")
def servers(
    gateways: dict[str, RunningGateway], upstream: stand_in.Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str], RunningGateway]]:
    """A gateway of each engine and each task that its server can be started for."""
    with ExitStack() as stack:
        started = {
            (engine, task): stack.enter_context(
                running(settings_of(engine, upstream, task=task), tmp_path_factory.mktemp("state"))
            )
            for engine in ("vllm", "llama.cpp")
            for task in ("embed", "rank")
        }
        yield {**{(engine, "generate"): gateway for engine, gateway in gateways.items()}, **started}


@pytest.fixture
def vllm(gateways: dict[str, RunningGateway]) -> RunningGateway:
    return gateways["vllm"]


@pytest.fixture
def transformers(gateways: dict[str, RunningGateway]) -> RunningGateway:
    return gateways["transformers"]
