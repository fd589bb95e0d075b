"""What a client asks of the gateway, and what the server behind it gets: names, limits, errors, streams."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelpick.serving.gateway import sending
from modelpick.serving.gateway.answers import StreamedAnswer, failure
from modelpick.serving.gateway.refusal import Refused
from tests.serving.gateway.conftest import CHAT, ENGINES, KEY, PATHS, POOLING, TEXT, RunningGateway
from tests.stand_ins.upstream import Upstream

COMPLETIONS, CHATS = PATHS["completions"][0], PATHS["chat"][0]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["my-model", "org/My-Model"])
def test_the_answer_names_the_model_as_it_was_asked(
    gateways: dict[str, RunningGateway], upstream: Upstream, engine: str, name: str
) -> None:
    gateway = gateways[engine]
    for path, body in PATHS.values():
        status, told = gateway.post(path, {**body, "model": name})
        assert (status, told["model"]) == (200, name)
        assert upstream.last()["model"] == "served"
        status, told = gateway.post(path, {**body, "model": name, "stream": True})
        events = [line.removeprefix("data: ") for line in told.splitlines() if line]
        assert events.pop() == "[DONE]"
        assert {json.loads(event)["model"] for event in events} == {name}
    assert [one["id"] for one in gateway.get("/v1/models")[1]["data"]] == ["my-model"]
    for asked in (name, name.replace("/", "%2F")):
        assert gateway.get(f"/v1/models/{asked}")[1]["id"] == name


def test_a_server_answers_for_its_own_task_alone(
    servers: dict[tuple[str, str], RunningGateway], upstream: Upstream
) -> None:
    """A chat model makes no embeddings; llama.cpp's reranker would answer with memory that nobody wrote."""
    tasks = {"chat": "generate", "completions": "generate", "embeddings": "embed", "rerank": "rank", "score": "rank"}
    for (engine, task), gateway in servers.items():
        for endpoint, (path, body) in {**PATHS, **POOLING}.items():
            before = len(upstream.records)
            status, told = gateway.post(path, {**body, "model": "org/My-Model"})
            if tasks[endpoint] != task or (endpoint, engine) == ("score", "llama.cpp"):
                assert (status, told["error"]["code"]) == (404, "not_found")
                assert path in told["error"]["message"]
                assert len(upstream.records) == before
            else:
                assert (status, told["model"], upstream.last()["model"]) == (200, "org/My-Model", "served")


def test_a_batch_of_texts_may_be_larger_than_one_prompt(
    servers: dict[tuple[str, str], RunningGateway], upstream: Upstream
) -> None:
    texts = ["x" * 1000] * 1000
    assert servers["vllm", "embed"].post("/v1/embeddings", {"model": "my-model", "input": texts})[0] == 200
    assert upstream.last()["input"] == texts
    status, error = servers["vllm", "embed"].error(
        "/v1/embeddings", {"model": "my-model", "input": ["x" * 9000] * 1000}
    )
    assert (status, error["code"], error["param"]) == (400, "context_length_exceeded", "input")
    status, error = servers["llama.cpp", "rank"].error("/v1/rerank", {**POOLING["rerank"][1], "query": "physical"})
    assert (status, error["code"]) == (400, "context_length_exceeded")


def test_another_model_is_404_in_openais_form(vllm: RunningGateway, upstream: Upstream) -> None:
    before = len(upstream.records)
    for name in ("other", "/etc", "served", "my-model/../x", "my-model@main", "", "MY-MODEL"):
        status, error = vllm.error(CHATS, {**CHAT, "model": name})
        assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")
        assert vllm.get(f"/v1/models/{name}")[0] == 404
    assert len(upstream.records) == before


def test_only_the_key_opens_in_any_case_of_bearer(vllm: RunningGateway) -> None:
    body, kind = json.dumps(CHAT).encode(), {"Content-Type": "application/json"}
    for good in (f"Bearer {KEY}", f"bearer {KEY}", f"BEARER  {KEY}"):
        assert vllm.raw("POST", CHATS, body, {**kind, "Authorization": good})[0] == 200
    wrong = [
        "",
        KEY,
        "Bearer",
        "Bearer ",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Basic {KEY}",
        "Bearer *",
        "Bearer é",
    ]
    for header in wrong:
        for method, path in (("POST", CHATS), ("GET", "/v1/models"), ("GET", "/license/"), ("GET", "/docs")):
            status, told, raw = vllm.raw(method, path, body, {**kind, "Authorization": header})
            assert (status, json.loads(raw)["error"]["code"]) == (401, "invalid_api_key")
            assert told["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", CHATS, 405), ("PUT", CHATS, 405), ("POST", "/v1/models", 405), ("POST", "/v1/responses", 404),
        ("POST", "/v1/embeddings", 404), ("POST", "/v1/rerank", 404), ("POST", "/invocations", 404),
        ("POST", "/load_model", 404), ("GET", "/", 404), ("GET", "/v1/chat/completions/", 404), ("TRACE", "/x", 404),
    ],
)  # fmt: skip
def test_everything_else_is_refused_in_openais_form(
    vllm: RunningGateway, upstream: Upstream, method: str, path: str, status: int
) -> None:
    before = len(upstream.records)
    got, told, raw = vllm.raw(method, path, b"{}", {"Authorization": f"Bearer {KEY}", "Content-Type": "text/plain"})
    assert got == status
    assert set(json.loads(raw)["error"]) == {"message", "type", "param", "code"}
    assert ("Allow" in told) == (status == 405)
    assert len(upstream.records) == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": ""},
        {"Content-Type": "application/json; charset=utf-16"}, {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Encoding": "gzip"}, {"Content-Encoding": "identity, br"},
    ],
    ids=str,
)  # fmt: skip
def test_a_body_of_another_type_or_coding_is_415(vllm: RunningGateway, headers: dict[str, str]) -> None:
    assert vllm.error(CHATS, CHAT, **headers)[0] == 415
    good = {"Content-Type": 'application/json; charset="UTF-8"', "Content-Encoding": "identity"}
    assert vllm.post(CHATS, CHAT, **good)[0] == 200


def test_only_what_was_checked_is_passed_on(vllm: RunningGateway, upstream: Upstream) -> None:
    raw = b' {"model" : "my-model", "m\\u0065ssages": '
    raw += b'[{"role": "user", "content": "\\u0068i \\"model\\": \\"/evil\\""}],\n'
    raw += b'"metadata": {"model": "/evil", "generation_config": "{}"}, "top_p": null, "max_tokens": 7}'
    assert vllm.post(CHATS, raw, **{"X-Evil": "1", "Cookie": "a=b", "Expect": ""})[0] == 200
    path, headers, got = upstream.records[-1]
    assert path == CHATS
    assert got == (
        b'{"model":"served","messages":[{"role":"user","content":"hi \\"model\\": \\"/evil\\""}],'
        b'"metadata":{"model":"/evil","generation_config":"{}"},"max_tokens":7}'
    )
    assert {name.lower() for name in headers} == {
        "host", "authorization", "accept-encoding", "content-type", "content-length",
    }  # fmt: skip


def test_a_body_that_no_context_could_hold_is_not_read(vllm: RunningGateway, upstream: Upstream) -> None:
    before = len(upstream.records)
    status, error = vllm.error(CHATS, {**CHAT, "messages": [{"role": "user", "content": "x" * 400_000}]})
    assert (status, error["code"], error["param"]) == (400, "context_length_exceeded", "messages")
    assert "300 tokens" in error["message"]
    status, error = vllm.error(CHATS, {**CHAT, "stop": ["a"] * 1_000_000})
    assert (status, len(upstream.records)) == (400, before)


# --- tokens, where the server does not count them


def test_prompt_and_answer_are_bounded_in_tokens(transformers: RunningGateway, upstream: Upstream) -> None:
    hellos = "hello " * 150  # more characters than tokens
    count = transformers.gateway._prompts.of_text("served", hellos)  # type: ignore[union-attr]
    status, error = transformers.error(COMPLETIONS, {**TEXT, "prompt": hellos})
    assert (status, error["code"], error["param"]) == (400, "context_length_exceeded", "prompt")
    assert f"{count:,} tokens" in error["message"]
    assert "300" in error["message"]
    few = "hi"
    fits = 300 - transformers.gateway._prompts.of_text("served", few)  # type: ignore[union-attr]
    for name in ("max_tokens",):
        assert transformers.post(COMPLETIONS, {**TEXT, "prompt": few, name: fits})[0] == 200
        assert upstream.last()["max_tokens"] == fits
        status, error = transformers.error(COMPLETIONS, {**TEXT, "prompt": few, name: fits + 1})
        assert (status, error["code"], error["param"]) == (400, "context_length_exceeded", name)
    assert transformers.post(COMPLETIONS, {**TEXT, "prompt": few})[0] == 200
    assert upstream.last()["max_tokens"] == 100  # what memory was counted for, not the server's 1,024


def test_tools_count_as_part_of_the_prompt(transformers: RunningGateway) -> None:
    tools = [{"type": "function", "function": {"name": f"f{n}", "description": "x" * 50}} for n in range(40)]
    status, error = transformers.error(CHATS, {**CHAT, "tools": tools})
    assert (status, error["code"]) == (400, "context_length_exceeded")


def test_what_the_models_template_refuses_is_400(transformers: RunningGateway) -> None:
    status, error = transformers.error(CHATS, {**CHAT, "messages": [{"role": "developer", "content": "x"}]})
    assert (status, error["param"]) == (400, "messages")
    assert "no developer here" in error["message"]


def test_token_prompts_are_exactly_those_tokens(transformers: RunningGateway, upstream: Upstream) -> None:
    tokenizer = transformers.gateway._prompts._tokenizers["served"]  # type: ignore[union-attr]
    tokens = tokenizer("one two")["input_ids"]
    for prompt in (tokens, [tokens], ["one two"], "one two"):
        assert transformers.post(COMPLETIONS, {**TEXT, "prompt": prompt})[0] == 200
        assert upstream.last()["prompt"] == "one two"
    for prompt in (["a", "b"], [[1], [2]], [len(tokenizer)], [[]], [-1], ["a", 1], [True]):
        assert transformers.error(COMPLETIONS, {**TEXT, "prompt": prompt})[1]["param"].startswith("prompt")


def test_a_temperature_is_honoured_also_where_the_models_own_settings_are_greedy(
    transformers: RunningGateway, upstream: Upstream
) -> None:
    assert transformers.post(CHATS, {**CHAT, "temperature": 0.7, "max_tokens": 5})[0] == 200
    got = upstream.last()
    own = json.loads(got["generation_config"])
    assert own == {"top_k": 0, "eos_token_id": 2, "do_sample": True, "max_new_tokens": 5}
    for greedy in ({"temperature": 0}, {}, {"temperature": 0.0, "top_p": 0.5}, {"top_p": 1}):
        transformers.post(CHATS, {**CHAT, **greedy})
        assert "generation_config" not in upstream.last()


def test_biases_are_floats_of_tokens_that_there_are(transformers: RunningGateway, upstream: Upstream) -> None:
    assert transformers.post(CHATS, {**CHAT, "logit_bias": {"5": 3}})[0] == 200
    assert '"logit_bias":{"5":3.0}' in upstream.records[-1][2].decode()
    assert transformers.error(CHATS, {**CHAT, "logit_bias": {"999999": 3}})[1]["param"] == "logit_bias.999999"


# --- what comes back


def test_a_stop_text_that_the_server_leaves_in_is_cut_off(transformers: RunningGateway, vllm: RunningGateway) -> None:
    for path, body in PATHS.values():
        choice = transformers.post(path, {**body, "stop": "STOP"})[1]["choices"][0]
        assert (choice.get("message", {}).get("content") or choice.get("text")) == "yes "
        told = transformers.post(path, {**body, "stop": ["STOP", "never"], "stream": True})[1]
        assert streamed_text(told) == "yes "
        told = transformers.post(path, {**body, "stop": ["S!"], "stream": True})[1]
        assert streamed_text(told) == "yes STOP and no S"  # what was held back comes after all
    assert (
        "STOP" in vllm.post(CHATS, {**CHAT, "stop": "STOP"})[1]["choices"][0]["message"]["content"]
    )  # not its server's way


def streamed_text(events: str) -> str:
    chunks = [json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: {")]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return "".join(choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_stream_is_the_same_however_it_is_cut(cut: int) -> None:
    texts = ["a ST", "", "S", "TO", "x STO", "P more"]
    events = [json.dumps({"model": "m", "choices": [{"index": 0, "text": text}]}) for text in texts]
    events.append(json.dumps({"model": "m", "choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}))
    raw = "".join(f"data: {event}\r\n\r\n" for event in events).encode()
    answer = StreamedAnswer("asked", ["STOP"])
    out = b"".join(answer.feed(raw[place : place + cut]) for place in range(0, len(raw), cut)) + answer.close()
    assert streamed_text(out.decode()) == "a STSTOx "
    assert out.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("prompt", "status", "code"),
    [
        ("die", 503, "loading"), ("fail", 500, "server_error"), ("detail", 400, "invalid_value"),
        ("greedy", 400, "invalid_value"), ("long", 400, "context_length_exceeded"), ("garbage", 502, "bad_answer"),
    ],
)  # fmt: skip
def test_a_server_that_fails_is_told_in_openais_form(vllm: RunningGateway, prompt: str, status: int, code: str) -> None:
    body = json.dumps({**TEXT, "prompt": prompt}).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    got, told, raw = vllm.raw("POST", COMPLETIONS, body, headers)
    assert (got, json.loads(raw)["error"]["code"]) == (status, code)
    assert ("Retry-After" in told) == (status == 503)
    assert b"/home/somebody" not in raw


@pytest.mark.parametrize("prompt", ["cut", "garbage-later"])
def test_a_stream_that_breaks_off_ends_with_an_error(vllm: RunningGateway, prompt: str) -> None:
    status, told = vllm.post(COMPLETIONS, {**TEXT, "prompt": prompt, "stream": True})
    events = told.strip().split("\n\n")
    assert status == 200
    assert json.loads(events[-1][6:])["error"]["code"] == "server_error"
    assert "[DONE]" not in told


def test_encoder_decoders_answer_streams_only(vllm: RunningGateway) -> None:
    from dataclasses import replace

    settings = replace(vllm.settings, streams_only=True)
    with pytest.raises(Refused) as caught:
        sending.to_server({**TEXT}, settings, None)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, "stream", "stream_required")
    assert sending.to_server({**TEXT, "stream": True}, settings, None)["stream"] is True


# --- files and figures


def test_terms_are_regular_files_of_the_folder(vllm: RunningGateway, tmp_path: Path) -> None:
    folder = Path(vllm.settings.socket).parent / "license"
    (folder / "LICENSES").mkdir(parents=True)
    (folder / "NOTICE").write_text("keep this")
    (folder / "LICENSES" / "MIT.txt").write_text("mit")
    (tmp_path / "credentials").write_text("secret words")
    (folder / "LICENSE").symlink_to(tmp_path / "credentials")
    (folder / "env").symlink_to("/proc/self/environ")
    (folder / "linked").symlink_to(tmp_path, target_is_directory=True)
    assert vllm.get("/license/")[1] == {"files": ["LICENSES/MIT.txt", "NOTICE"]}
    key = {"Authorization": f"Bearer {KEY}"}
    assert vllm.raw("GET", "/license/NOTICE", None, key)[2] == b"keep this"
    assert vllm.raw("GET", "/license/LICENSES/MIT.txt", None, key)[2] == b"mit"
    paths = ("LICENSE", "env", "linked/credentials", "../key", "%2e%2e/key", "LICENSES", "/etc/passwd", "NOTICE/", "")
    for path in paths[:-1]:
        status, _, raw = vllm.raw("GET", f"/license/{path}", None, key)
        assert (status, b"secret" in raw) == (404, False), path
    assert vllm.raw("GET", "/license/NOTICE")[0] == 401


def test_health_and_metrics_answer_this_machine_only_and_take_nothing(vllm: RunningGateway, upstream: Upstream) -> None:
    before = len(upstream.records)
    for host in ("127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000"):
        assert vllm.raw("GET", "/health", None, {"Host": host})[0] == 200
    for path in ("/health", "/metrics", "/ready"):
        for host in ("evil.example", "127.0.0.1.evil.example:8000", "10.0.0.1", "", "localhost.evil", "[::2]"):
            assert vllm.raw("GET", path, None, {"Host": host})[0] == 403
        assert vllm.raw("POST", path, b"x" * 100)[0] == 405
        assert vllm.raw("GET", path, b"x" * 100)[0] == 400
        assert vllm.raw("GET", path, None, {"Transfer-Encoding": "chunked"})[0] == 400
    assert len(upstream.records) == before
    assert vllm.raw("GET", "/ready")[0] == 503
    (Path(vllm.settings.socket).parent / "ready").touch()
    assert vllm.raw("GET", "/ready")[0] == 200
    assert vllm.post(CHATS, CHAT)[0] == 200
    figures = vllm.raw("GET", "/metrics")[2].decode()
    assert 'modelpick_requests_total{path="/v1/chat/completions",status="200"}' in figures
    assert "modelpick_requests_waiting 0" in figures
    assert figures.endswith("up 1\n")  # the server's own


def test_no_log_holds_a_prompt_or_the_key(
    gateways: dict[str, RunningGateway], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: Any) -> Any:
        raise ValueError(f"hidden words {given}")

    monkeypatch.setattr("modelpick.serving.gateway.sending.to_server", fails)
    body = {**CHAT, "messages": [{"role": "user", "content": "hidden words"}]}
    status, error = gateways["vllm"].error(CHATS, body)
    assert (status, error["code"]) == (500, "server_error")
    assert "ValueError in fails" in caplog.text
    assert "hidden" not in caplog.text + json.dumps(error)
    assert KEY not in caplog.text


def test_a_servers_own_refusal_names_the_parameter(vllm: RunningGateway) -> None:
    body = {**TEXT, "prompt": "greedy", "n": 2, "temperature": 0}
    assert vllm.error(COMPLETIONS, body)[1]["param"] == "n"
    assert vllm.error(COMPLETIONS, {**TEXT, "prompt": "greedy"})[1]["param"] is None
    told = {"message": "Model 'm' does not do it; dimensions must be unset (received dimensions=8).", "code": 400}
    for asked, param in ((("model", "input", "dimensions"), "dimensions"), (("model", "input"), None)):
        assert failure(400, json.dumps({"error": told}).encode(), asked).param == param
