"""Many at once, slow ones, ones that go away, and the end: nothing is lost, nothing is held."""

import asyncio
import json
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from modelpick.serving.gateway import app, waiting
from tests.serving.conftest import wait_for
from tests.serving.gateway.conftest import CHAT, KEY, PATHS, TEXT, RunningGateway, SocketClient, running, settings_of
from tests.stand_ins.upstream import FLOOD, Upstream

COMPLETIONS = PATHS["completions"][0]


def request_bytes(body: object, *, path: str = COMPLETIONS, close: bool = True) -> bytes:
    raw = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
    )
    head += f"Content-Length: {len(raw)}\r\n{'Connection: close' if close else 'X: y'}\r\n\r\n"
    return head.encode() + raw


async def answers_of(path: str, count: int, body: object) -> list[bytes]:
    """Heads of `count` requests at once, each on a connection of its own."""

    async def one() -> bytes:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(request_bytes(body))
        told = await reader.read()
        writer.close()
        return told.partition(b"\r\n\r\n")[0]

    return await asyncio.gather(*(one() for _ in range(count)))


def statuses(heads: list[bytes]) -> dict[int, int]:
    codes = [int(head.split()[1]) for head in heads]
    return {code: codes.count(code) for code in set(codes)}


def test_a_thousand_at_once_are_all_answered_a_few_at_a_time(upstream: Upstream, tmp_path: Path) -> None:
    upstream.most_at_work = 0
    with running(settings_of("vllm", upstream, at_once=4), tmp_path) as gateway:
        heads = asyncio.run(answers_of(gateway.settings.socket, 1000, TEXT))
    assert statuses(heads) == {200: 1000}
    assert upstream.most_at_work <= 4


def test_beyond_the_line_they_are_told_to_come_again(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MOST_WAITING", 3)
    with running(settings_of("vllm", upstream, at_once=1), tmp_path) as gateway:
        heads = asyncio.run(answers_of(gateway.settings.socket, 20, {**TEXT, "prompt": "slow"}))
    told = statuses(heads)
    assert set(told) == {200, 429}
    assert told[200] == 4
    assert all(b"retry-after: 10" in head for head in heads if b" 429 " in head)


def test_all_that_is_held_is_bounded_too(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_BYTES", 1000)
    with running(settings_of("vllm", upstream), tmp_path) as gateway:
        assert gateway.post(COMPLETIONS, {**TEXT, "prompt": "x" * 2000})[0] == 429
        assert gateway.post(COMPLETIONS, TEXT)[0] == 200
        wait_for(lambda: gateway.gateway.line.bytes == 0)


def test_a_body_that_does_not_come_is_given_up(vllm: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "BODY_SECONDS", 0.3)
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(vllm.settings.socket)
        slow.settimeout(20)
        slow.sendall(request_bytes(CHAT)[:-10])
        assert b" 408 " in slow.recv(1000)
        while slow.recv(1000):
            pass  # and the connection ends


@pytest.mark.parametrize("goes", [True, False])
def test_the_server_is_let_go_when_nobody_reads_its_answer(
    vllm: RunningGateway, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, goes: bool
) -> None:
    """A client that goes away, and one that stays and reads nothing: both end the answer at the server."""
    monkeypatch.setattr(app, "WRITE_SECONDS", 30.0 if goes else 0.5)
    before, flooded = upstream.hung_up, upstream.flooded
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(vllm.settings.socket)
        client.sendall(request_bytes({**TEXT, "prompt": "flood", "stream": True}))
        assert client.recv(100)
        if goes:
            client.close()
        wait_for(lambda: upstream.hung_up > before)
        wait_for(lambda: vllm.gateway.unfinished == 0)
    # What nobody reads is not gathered here: the sockets' own buffers are all there is.
    assert goes or upstream.flooded - flooded < 2000 * len(FLOOD)


def test_who_goes_while_waiting_leaves_the_line(upstream: Upstream, tmp_path: Path) -> None:
    with running(settings_of("vllm", upstream, at_once=1), tmp_path) as gateway:
        first = threading.Thread(target=gateway.post, args=(COMPLETIONS, {**TEXT, "prompt": "slow"}))
        first.start()
        wait_for(lambda: upstream.at_work == 1)
        before = len(upstream.records)
        with socket.socket(socket.AF_UNIX) as second:
            second.connect(gateway.settings.socket)
            second.sendall(request_bytes(TEXT))
            wait_for(lambda: gateway.gateway.line.waiting == 1)
        wait_for(lambda: gateway.gateway.line.waiting == 0)
        first.join()
        assert len(upstream.records) == before


def test_answers_at_work_are_finished_and_new_requests_told_so(upstream: Upstream, tmp_path: Path) -> None:
    told: list[Any] = []
    with running(settings_of("vllm", upstream), tmp_path) as gateway:
        keeps = SocketClient(gateway.settings.socket)
        keeps.connect()
        with socket.socket(socket.AF_UNIX) as slow:  # its body never comes: the end does not wait for it
            slow.connect(gateway.settings.socket)
            slow.sendall(request_bytes(TEXT)[:-5])
            at_work = threading.Thread(
                target=lambda: told.append(gateway.post(COMPLETIONS, {**TEXT, "prompt": "slow 2.5"}))
            )
            at_work.start()
            wait_for(lambda: gateway.gateway.line.at_work == 1)
            gateway.server.handle_exit(signal.SIGTERM, None)
            headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
            keeps.request("POST", COMPLETIONS, json.dumps(TEXT), headers)
            reply = keeps.getresponse()
            assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
            keeps.close()
            began = time.monotonic()
            at_work.join()
            gateway.thread.join(10)
            assert not gateway.thread.is_alive()
            assert time.monotonic() - began < app.BODY_SECONDS
    assert told[0][0] == 200


def test_an_answer_that_outlasts_the_drain_is_cut_off(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelpick.serving.gateway.running.DRAIN_SECONDS", 0.2)
    with running(settings_of("vllm", upstream), tmp_path) as gateway, socket.socket(socket.AF_UNIX) as client:
        client.connect(gateway.settings.socket)
        client.sendall(request_bytes({**TEXT, "prompt": "flood", "stream": True}))
        assert client.recv(100)
        gateway.server.handle_exit(signal.SIGTERM, None)
        gateway.thread.join(10)
        assert not gateway.thread.is_alive()
