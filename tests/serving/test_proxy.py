"""The real Caddy before a real gateway: raw bytes on a socket, as no client library would send them."""

import json
import re
import socket
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelpick.serving.machine import free_port, program
from modelpick.serving.process import ManagedProcess
from modelpick.serving.proxy import Guard, configuration
from tests.serving.conftest import wait_for
from tests.serving.gateway.conftest import KEY, TEXT, RunningGateway, running, settings_of
from tests.stand_ins import upstream as stand_in
from tests.stand_ins.upstream import Upstream

HEAD = f"Host: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
BODY = json.dumps(TEXT)
EVIL = json.dumps({**TEXT, "model": "/evil"})


@dataclass
class Front:
    """Caddy on a port, its gateway and the server behind."""

    port: int
    folder: Path
    child: ManagedProcess
    gateway: RunningGateway
    upstream: Upstream

    def send(self, pieces: Iterable[bytes], seconds: float = 30.0) -> bytes:
        """All that comes back until the connection ends or is silent. A half-closed one would count as gone."""
        told = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as client:
            try:
                for piece in pieces:
                    client.sendall(piece)
            except OSError:
                pass  # it has heard enough
            client.settimeout(2)
            try:
                while piece := client.recv(65536):
                    told += piece
                    client.settimeout(0.3)
            except OSError:
                pass
        return told

    def statuses(self, *pieces: bytes) -> list[int]:
        return [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3})", self.send(pieces))]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    caddy = program("caddy")
    if caddy is None:
        pytest.skip("Caddy is absent")
    folder, port = tmp_path_factory.mktemp("front"), free_port("127.0.0.1")
    with stand_in.serve() as upstream, running(settings_of("vllm", upstream), folder) as gateway:
        guard = Guard("127.0.0.1", port, f"unix/{gateway.settings.socket}", folder / "requests.jsonl")
        child = ManagedProcess(
            [caddy, "run", "--config", "-"], {}, folder, folder / "proxy.log", json.dumps(configuration(guard))
        )
        child.start()
        try:
            made = Front(port, folder, child, gateway, upstream)
            wait_for(lambda: made.statuses(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n") == [200])
            yield made
        finally:
            child.stop(5)


def post(body: str = BODY, head: str = "", path: str = "/v1/completions") -> bytes:
    length = "" if "Transfer-Encoding" in head or "Content-Length" in head else f"Content-Length: {len(body)}\r\n"
    return f"POST {path} HTTP/1.1\r\n{HEAD}{length}{head}\r\n{body}".encode()


def test_an_ordinary_request_passes(front: Front) -> None:
    assert front.statuses(post(head="Connection: close\r\n")) == [200]
    assert front.statuses(post(), post()) == [200, 200]


@pytest.mark.parametrize(
    ("head", "body"),
    [
        # A second request in what one of two readers takes for the first one's body.
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", f"{len(BODY):x}\r\n{BODY}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", f"0\r\n\r\n{EVIL}"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", f"{len(BODY):x}\r\n{BODY}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: xchunked\r\n", f"{len(BODY):x}\r\n{BODY}\r\n0\r\n\r\n"),
        ("Transfer-Encoding : chunked\r\n", f"{len(BODY):x}\r\n{BODY}\r\n0\r\n\r\n"),
        (f"Content-Length: {len(BODY)}\r\nContent-Length: 4\r\n", BODY),
        (f"Content-Length: +{len(BODY)}\r\n", BODY),
        (f"Content-Length: {len(BODY)}, {len(BODY)}\r\n", BODY),
        ("Content-Length: -1\r\n", BODY),
        ("Transfer-Encoding: chunked\r\n", f"{len(BODY):x};evil\n{BODY}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", f"ffffffffffffffffff\r\n{BODY}"),
    ],
)
def test_no_second_request_is_smuggled(front: Front, head: str, body: str) -> None:
    before = len(front.upstream.records)
    codes = front.statuses(post(body, head))
    new = front.upstream.records[before:]
    assert [json.loads(raw) for _, _, raw in new] in ([], [{**TEXT, "model": "served"}])
    assert codes.count(200) == len(new)


def test_h2c_and_upgrades_are_no_way_in(front: Front) -> None:
    before = len(front.upstream.records)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
    assert 200 not in front.statuses(preface)
    told = front.send(
        [post(head="Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings, close\r\nHTTP2-Settings: AAMAAABk\r\n")]
    )
    assert b" 101 " not in told
    told = front.send(
        [b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n"]
    )
    assert b" 401 " in told
    assert len(front.upstream.records) - before <= 1


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        ("GET http://evil.example/health HTTP/1.1", {403}),
        ("GET http://localhost/health HTTP/1.1", {200}),
        ("GET //evil.example/health HTTP/1.1", {401, 403, 404}),
        ("GET /health/../metrics HTTP/1.1", {401, 404}),
        ("GET /%68ealth HTTP/1.1", {200}),
        ("CONNECT 127.0.0.1:22 HTTP/1.1", {400, 401, 404, 405}),
        ("OPTIONS * HTTP/1.1", {200, 401, 404, 405}),
        ("GET /health HTTP/0.9", {400, 505}),
        ("GET /v1/models", {400}),
        ("GET /" + "a" * 100_000 + " HTTP/1.1", {431, 414, 400}),
    ],
)  # fmt: skip
def test_unusual_targets_reach_nothing_they_should_not(front: Front, line: str, codes: set[int]) -> None:
    host = "evil.example" if "evil" in line else "localhost"
    before = len(front.upstream.records)
    told = front.statuses(f"{line}\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert set(told) <= codes
    assert told
    assert len(front.upstream.records) == before


def test_ten_thousand_headers_are_refused(front: Front) -> None:
    many = "".join(f"X-{number}: y\r\n" for number in range(10_000))
    assert 200 not in front.statuses(post(head=many))
    twice = f"POST /v1/completions HTTP/1.1\r\n{HEAD}Authorization: Bearer {KEY}\r\nContent-Length: {len(BODY)}\r\n"
    assert front.statuses(f"{twice}Connection: close\r\n\r\n{BODY}".encode()) == [401]


def test_a_hundred_megabytes_in_pieces_of_one_byte_are_not_read_to_the_end(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelpick.serving.gateway.app.DISCARDED_BYTES", 2**19)
    before = len(front.upstream.records)
    sent = [0]

    def pieces() -> Iterator[bytes]:
        yield post("", "Transfer-Encoding: chunked\r\n")
        for _ in range(10_000):
            sent[0] += 10_000
            yield b"1\r\nx\r\n" * 10_000

    told = front.send(pieces())
    assert re.findall(rb"HTTP/1\.1 (\d+)", told) in ([b"400"], [])
    assert sent[0] < 10**7
    assert len(front.upstream.records) == before
    wait_for(lambda: front.gateway.gateway.line.bytes == 0)


def test_the_request_log_has_neither_contents_nor_keys(front: Front) -> None:
    hidden = json.dumps({**TEXT, "prompt": "hidden words"})
    assert front.statuses(post(hidden, "Connection: close\r\n", "/v1/completions?secret=hidden")) == [200]
    log = front.folder / "requests.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert any(line["request"]["uri"] == "/v1/completions" and line["status"] == 200 for line in lines)
    text = log.read_text() + (front.folder / "proxy.log").read_text()
    assert "hidden" not in text
    assert KEY not in text
    assert log.stat().st_mode & 0o077 == 0


def test_nothing_secret_is_in_process_lists_or_the_configuration(front: Front) -> None:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "caddy run" in listed
    assert KEY not in listed


def test_heads_that_do_not_come_and_heads_without_end_have_limits(tmp_path: Path) -> None:
    told = json.dumps(configuration(Guard("127.0.0.1", 1, "unix/x", tmp_path / "log")))
    for limit in (
        '"read_header_timeout": "10s"',
        '"max_header_bytes": 32768',
        '"protocols": ["h1"]',
        '"disabled": true',
    ):
        assert limit in told
