"""The real Caddy before a stand-in server: key, allow-list, queue, errors, logs, drain."""

import json
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.serving.machine import free_port
from modelpick.serving.process import ManagedProcess
from modelpick.serving.proxy import KEY_VARIABLE, Guard, _beyond, configuration
from tests.serving.conftest import DIRECT, is_up, wait_for

KEY = "mp-0123456789abcdefghij"
Ask = Callable[..., tuple[int, Any]]


def guard_of(server: str, state: Path, **changes: Any) -> Guard:
    values = {"names": ("base", "tuned"), "tokens": 1000, "prompt_tokens": 800, "at_once": 4, **changes}
    return Guard("127.0.0.1", free_port("127.0.0.1"), server.removeprefix("http://"), state=state, **values)


@pytest.fixture
def run(caddy: str, tmp_path: Path) -> Iterator[Callable[[Guard], ManagedProcess]]:
    running: list[ManagedProcess] = []

    def begin(guard: Guard) -> ManagedProcess:
        text = json.dumps(configuration(guard))
        running.append(
            ManagedProcess([caddy, "run", "--config", "-"], {KEY_VARIABLE: KEY}, tmp_path, tmp_path / "proxy.log", text)
        )
        running[-1].start()
        wait_for(lambda: ask(guard, "/metrics", key=None)[0] == 200)
        return running[-1]

    yield begin
    for child in running:
        child.stop(0.1)


def ask(guard: Guard, path: str, body: Any = None, key: str | None = KEY, timeout: float = 60.0) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{guard.port}{path}", data, headers)
    try:
        with DIRECT.open(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_only_the_key_opens(run: Callable[[Guard], ManagedProcess], start: Callable[..., str], tmp_path: Path) -> None:
    guard = guard_of(start(), tmp_path)
    run(guard)
    body = {"model": "base", "prompt": "x", "max_tokens": 1}
    assert ask(guard, "/v1/completions", body)[0] == 200
    for wrong in (None, "mp-0123456789abcdefghi", KEY + "x", "*", "", "{env." + KEY_VARIABLE + "}"):
        code, said = ask(guard, "/v1/completions", body, key=wrong)
        assert code == 401
        assert json.loads(said)["error"]["code"] == "invalid_api_key"
    assert ask(guard, "/v1/models", key=None)[0] == 401
    assert [one["id"] for one in json.loads(ask(guard, "/v1/models")[1])["data"]] == ["base", "tuned"]


def test_only_what_is_served_reaches_the_server(
    run: Callable[[Guard], ManagedProcess], start: Callable[..., str], tmp_path: Path
) -> None:
    guard = guard_of(start(), tmp_path)
    run(guard)
    for name in ("other", "/etc", "base/../..", "base2", "./base", ""):
        code, said = ask(guard, "/v1/completions", {"model": name, "prompt": "x"})
        assert (code, json.loads(said)["error"]["code"]) == (404, "model_not_found")
    for path in ("/load_model", "/reset", "/v1/systemone", "/docs", "/"):
        assert ask(guard, path, {"model": "base"})[0] == 404
    (tmp_path / "license").mkdir()
    (tmp_path / "license" / "NOTICE").write_text("keep this")
    (tmp_path / "key").write_text(KEY)
    assert ask(guard, "/license/NOTICE") == (200, "keep this")
    assert ask(guard, "/license/NOTICE", key=None)[0] == 401
    for path in ("/license/../key", "/license/%2e%2e/key", "/key", "/license/..%2fkey"):
        assert KEY not in ask(guard, path)[1]


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "base", "prompt": "x", "model": "/etc"}',
        b'{"prompt": "x", "messages": [{"model": "base"}], "model": "/etc"}',
        b'{"m\\u006fdel": "/etc", "prompt": {"model": "base"}}',
        b'{"\\u006D\\u006f\\u0064\\u0065\\u006c": "/etc", "x": {"model":"base"}}',
        b'{"model": "base", "prompt": "x", "m\\u0061x_tokens": 100000}',
        b'{"model": "base", "prompt": "x", "max\\u005Ftokens": 100000}',
    ],
)
def test_no_second_name_is_smuggled_past(
    run: Callable[[Guard], ManagedProcess], start: Callable[..., str], tmp_path: Path, body: bytes
) -> None:
    guard = guard_of(start(), tmp_path)
    run(guard)
    code, said = ask(guard, "/v1/completions", body)
    assert (code, json.loads(said)["error"]["code"]) == (400, "ambiguous_model")
    for good in ('say "model": "x"', "letters \\u006d\\u0065", "é \n { } \\"):
        assert ask(guard, "/v1/completions", {"model": "base", "prompt": good})[0] == 200


def test_health_readiness_and_metrics_need_no_key(
    run: Callable[[Guard], ManagedProcess], start: Callable[..., str], tmp_path: Path
) -> None:
    guard = guard_of(start(), tmp_path)
    run(guard)
    assert ask(guard, "/health", key=None)[0] == 200
    assert ask(guard, "/ready", key=None)[0] == 503
    (tmp_path / "ready").touch()
    assert ask(guard, "/ready", key=None)[0] == 200
    assert re.search(r"^caddy_http_requests_total\{.*\} [1-9]", ask(guard, "/metrics", key=None)[1], re.MULTILINE)


def test_a_prompt_beyond_the_context_and_a_server_that_is_away(
    run: Callable[[Guard], ManagedProcess], start: Callable[..., str], tmp_path: Path
) -> None:
    guard = guard_of("127.0.0.1:9", tmp_path)
    run(guard)
    code, said = ask(guard, "/v1/completions", {"model": "base", "prompt": "x" * 20_000})
    assert (code, json.loads(said)["error"]["code"]) == (413, "context_length_exceeded")
    code, said = ask(guard, "/v1/completions", {"model": "base", "prompt": "x"})
    assert (code, json.loads(said)["error"]["code"]) == (503, "loading")
    assert ask(guard, "/health", key=None)[0] == 503


def test_a_thousand_requests_at_once_are_all_answered_a_few_at_a_time(
    run: Callable[[Guard], ManagedProcess], start: Callable[..., str], tmp_path: Path
) -> None:
    server = start()
    guard = guard_of(server, tmp_path, at_once=4)
    run(guard)
    codes: list[int] = []

    def one() -> None:
        codes.append(ask(guard, "/v1/completions", {"model": "base", "prompt": "x"}, timeout=120)[0])

    clients = [threading.Thread(target=one) for _ in range(1000)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert codes == [200] * 1000
    with DIRECT.open(f"{server}/most-at-work") as answer:
        assert json.load(answer)["most"] <= 4


def test_the_request_log_has_neither_contents_nor_keys(
    run: Callable[[Guard], ManagedProcess], start: Callable[..., str], tmp_path: Path
) -> None:
    guard = guard_of(start(), tmp_path)
    child = run(guard)
    ask(guard, "/v1/completions?secret=hidden", {"model": "base", "prompt": "hidden words"})
    child.stop(10)
    log = tmp_path / "requests.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert any(line["request"]["uri"] == "/v1/completions" and line["status"] == 200 for line in lines)
    text = log.read_text() + (tmp_path / "proxy.log").read_text()
    assert "hidden" not in text
    assert KEY not in text
    assert log.stat().st_mode & 0o077 == 0


def test_no_key_in_process_lists_nor_configuration(
    run: Callable[[Guard], ManagedProcess], start: Callable[..., str], tmp_path: Path
) -> None:
    guard = guard_of(start(), tmp_path)
    run(guard)
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "caddy run" in listed
    assert KEY not in listed
    assert KEY not in json.dumps(configuration(guard))


def test_an_answer_at_work_is_finished_when_it_is_told_to_stop(
    run: Callable[[Guard], ManagedProcess], start: Callable[..., str], tmp_path: Path
) -> None:
    guard = guard_of(start("--seconds", "1.5"), tmp_path)
    child = run(guard)
    codes: list[int] = []
    client = threading.Thread(
        target=lambda: codes.append(ask(guard, "/v1/completions", {"model": "base", "prompt": "x"})[0])
    )
    client.start()
    time.sleep(0.5)
    assert child.stop(20)
    client.join()
    assert codes == [200]
    with pytest.raises(OSError, match="refused"):
        is_up(f"http://127.0.0.1:{guard.port}/metrics")


def test_whole_answers_of_encoder_decoders_are_refused_since_they_would_be_cut(
    run: Callable[[Guard], ManagedProcess], start: Callable[..., str], tmp_path: Path
) -> None:
    guard = guard_of(start(), tmp_path, streams_only=True)
    run(guard)
    code, said = ask(guard, "/v1/completions", {"model": "base", "prompt": "x", "max_tokens": 1})
    assert (code, json.loads(said)["error"]["code"]) == (400, "stream_required")
    assert ask(guard, "/v1/completions", {"model": "base", "prompt": "x", "max_tokens": 1, "stream": True})[0] == 200


@given(st.integers(1, 10**7), st.integers(0, 10**9))
def test_the_pattern_of_larger_numbers_is_exact(most: int, asked: int) -> None:
    assert (re.match(_beyond(most), str(asked)) is not None) == (asked > most)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ('"max_tokens": 200', 200),
        ('"max_completion_tokens": 7, "max_tokens":null', 200),
        ('"max_tokens": 201', 400),
        ('"max_tokens" :\n1000', 400),
        ('"max_completion_tokens": 20000000000', 400),
        ('"max_tokens": 5, "max_tokens": 300', 400),
        ('"max_tokens": "300"', 400),
        ('"max_tokens": 3e9', 400),
        ('"max_tokens": 300.0', 400),
        ('"generation_config": "{\\"num_beams\\": 500}"', 400),
        ('"generation_config": null', 200),
        ('"stop": "\\"max_tokens\\": 9999"', 200),
        ('"tools": [{"function": {"parameters": {"properties": {"max_tokens": {"type": "integer"}}}}}]', 200),
    ],
)
def test_no_answer_is_longer_than_memory_was_counted_for(
    run: Callable[[Guard], ManagedProcess], start: Callable[..., str], tmp_path: Path, asked: str, code: int
) -> None:
    guard = guard_of(start(), tmp_path)
    run(guard)
    got, said = ask(guard, "/v1/completions", f'{{"model": "base", "prompt": "x", {asked}}}'.encode())
    assert got == code, said
    if code == 400:
        assert json.loads(said)["error"]["code"] in ("max_tokens_exceeded", "not_taken")


def test_a_server_that_counts_tokens_limits_answers_itself(tmp_path: Path) -> None:
    assert "max_tokens" in json.dumps(configuration(guard_of("http://127.0.0.1:9", tmp_path)))
    assert "max_tokens" not in json.dumps(configuration(guard_of("http://127.0.0.1:9", tmp_path, counts_tokens=True)))
