"""Caddy's configuration for a server without a key of its own. Pure: the same inputs, the same JSON.

Caddy checks the key, passes only what an OpenAI client needs, queues what the server cannot handle yet, counts for
Prometheus, logs requests without contents, and drains on SIGTERM. https://caddyserver.com/docs/json/
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KEY_VARIABLE = "MODELPICK_API_KEY"  # Caddy's environment; its configuration only names it
DRAIN_SECONDS = 30
# Bytes of JSON a token of context may take: English and code have about 4 characters a token (OpenAI's help page "What
# are tokens"); half as much again for JSON's escapes. The servers behind the proxy do not count tokens themselves.
BYTES_PER_TOKEN = 6
_BYTES_AT_MOST = 64  # where the server counts: only against what no prompt can be
_ENVELOPE = 1024  # the rest of a request: names, roles, parameters
_ASKING = ("/v1/chat/completions", "/v1/completions")


@dataclass(frozen=True, slots=True)
class Guard:
    """What the proxy protects: `host:port` outside, `upstream` (as Caddy dials it) inside. `tokens`: the longest prompt
    and answer, `prompt_tokens` of them for the prompt. `at_once`: requests let through together; None: the server
    queues.
    """

    host: str
    port: int
    upstream: str
    names: tuple[str, ...]
    tokens: int
    prompt_tokens: int
    at_once: int | None
    state: Path  # holds `ready`, license/ and requests.jsonl
    streams_only: bool = False  # answers that are not streamed would be wrong: they are refused
    counts_tokens: bool = False  # the server refuses long prompts by their tokens
    own_metrics: bool = False  # the server's /metrics say more than the proxy's

    @property
    def answer_tokens(self) -> int:
        """The longest answer that memory was counted for."""
        return max(self.tokens - self.prompt_tokens, 1)

    @property
    def longest(self) -> int:
        """Bytes of a request that are read."""
        return _ENVELOPE + (_BYTES_AT_MOST if self.counts_tokens else BYTES_PER_TOKEN) * self.prompt_tokens


def configuration(guard: Guard) -> dict[str, object]:
    """Caddy's JSON. It contains no secret, and no admin endpoint is opened."""
    server = {
        "listen": [f"{guard.host}:{guard.port}"],
        "automatic_https": {"disable": True},
        "logs": {"default_logger_name": "requests"},
        "routes": _routes(guard),
        "errors": {"routes": [_answer_errors(guard)]},
    }
    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "WARN"}, "requests": _request_log(guard.state / "requests.jsonl")}},
        "apps": {"http": {"grace_period": f"{DRAIN_SECONDS}s", "metrics": {}, "servers": {"guard": server}}},
    }


def _routes(guard: Guard) -> list[dict[str, object]]:
    keyed = {"header": {"Authorization": [f"Bearer {{env.{KEY_VARIABLE}}}"]}}
    plain = {"handler": "reverse_proxy", "upstreams": [{"dial": guard.upstream}], "flush_interval": -1}  # as it comes
    looking = {**plain, "transport": {"protocol": "http", "dial_timeout": "5s"}}
    # Beyond this many, requests wait here instead of in the server's memory.
    most = {"max_conns_per_host": guard.at_once} if guard.at_once is not None else {}
    to_server = {**plain, "transport": {**looking["transport"], **most}}  # type: ignore[dict-item]
    ready = {"file": {"root": str(guard.state), "try_files": ["ready"]}}
    unlogged = {"handler": "vars", "log_skip": True}  # asked every few seconds, by programs
    return [
        _route([{"path": ["/health"]}], unlogged, looking),
        _route([{"path": ["/ready"], **ready}], unlogged, _json(200, {"status": "ready"})),
        _route([{"path": ["/ready"]}], unlogged, _json(503, {"status": "loading"})),
        _route([{"path": ["/metrics"]}], unlogged, looking if guard.own_metrics else {"handler": "metrics"}),
        _route(
            [{"not": [keyed]}],
            _json(401, _error("no valid API key", "invalid_api_key"), {"WWW-Authenticate": ["Bearer"]}),
        ),
        _route([{"path": ["/license", "/license/*"]}], _license_files(guard.state)),
        _route([{"path": ["/v1/models"], "method": ["GET"]}], _json(200, _models(guard.names))),
        _route(
            [{"path": list(_ASKING), "method": ["POST"]}],
            {"handler": "request_body", "max_size": guard.longest},
            {
                "handler": "subroute",
                "routes": [
                    *([_whole_answers_refused()] if guard.streams_only else []),
                    _ambiguous_refused(),
                    *([] if guard.counts_tokens else _long_answers_refused(guard.answer_tokens)),
                    _route([_names_one_of(guard.names)], to_server),
                    _route([], _json(404, _error(f"the models are {', '.join(guard.names)}", "model_not_found"))),
                ],
            },
        ),
        _route([], _json(404, _error("no such path", "not_found"))),
    ]


def _names_one_of(names: Sequence[str]) -> dict[str, object]:
    """Pass on requests for served models only: the server would load any model folder of this machine by its path."""
    listed = "|".join(re.escape(json.dumps(name)[1:-1]) for name in names)
    return {"vars_regexp": {"{http.request.body}": {"pattern": f'"model"\\s*:\\s*"(?:{listed})"'}}}


def _ambiguous_refused() -> dict[str, object]:
    """A body in which a reader of JSON could find other keys than the patterns here do: two models, or keys written
    with escapes. No client writes either: JSON needs no escape for a letter."""
    twice = '"model"\\s*:\\s*"[\\s\\S]*"model"\\s*:\\s*"'
    escaped = r"(?:^|[^\\])(?:\\\\)*\\u00(?:4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aA])"  # a letter, or _
    found = {"vars_regexp": {"{http.request.body}": {"pattern": f"{twice}|{escaped}"}}}
    return _route([found], _json(400, _error("the body names its model in two ways", "ambiguous_model")))


def _long_answers_refused(most: int) -> list[dict[str, object]]:
    """transformers 5.23 takes any number of new tokens from a request (cli/serving/utils.py, _build_generation_config),
    and a whole generation_config in addition: beams, copies, another cache. Without either it writes 1,024 tokens."""
    named = '"max_(?:completion_)?tokens"\\s*:\\s*'
    too_many = {"vars_regexp": {"{http.request.body}": {"pattern": f'{named}(?:"|\\d+[.eE]|{_beyond(most)})'}}}
    message = f"set max_tokens to a plain number, at most {most} (serve --generate)"
    own = {"vars_regexp": {"{http.request.body}": {"pattern": '"generation_config"\\s*:\\s*[^n\\s]'}}}
    return [
        _route([too_many], _json(400, _error(message, "max_tokens_exceeded"))),
        _route([own], _json(400, _error("this server does not accept generation_config in requests", "not_taken"))),
    ]


def _beyond(number: int) -> str:
    """A pattern for the digits of the whole numbers above `number`: more of them, or a larger one after the same ones.

    Without braces, which Caddy may take for placeholders.
    """
    digits, any_digit = str(number), "\\d"
    longer = "[1-9]" + any_digit * len(digits)
    larger = [
        f"{digits[:place]}[{int(digit) + 1}-9]" + any_digit * (len(digits) - place - 1)
        for place, digit in enumerate(digits)
        if digit != "9"
    ]
    return f"0*(?:{'|'.join([longer, *larger])})"


def _whole_answers_refused() -> dict[str, object]:
    """transformers 5.23 cuts the prompt's length off the front of every whole answer (cli/serving/utils.py,
    GenerateManager.generate_non_streaming), which is wrong where the answer does not begin with the prompt."""
    streamed = {"vars_regexp": {"{http.request.body}": {"pattern": '"stream"\\s*:\\s*true'}}}
    message = "this server answers correctly for encoder-decoder models only with stream=true"
    return _route([{"not": [streamed]}], _json(400, _error(message, "stream_required")))


def _license_files(state: Path) -> dict[str, object]:
    """license/ as files, and a list of them at /license/."""
    return {"handler": "file_server", "root": str(state), "browse": {}}


def _request_log(file: Path) -> dict[str, object]:
    """Who, when, which path, how long, how many bytes: never headers, never prompts or answers."""
    fields = {
        "request>headers": {"filter": "delete"},
        "resp_headers": {"filter": "delete"},
        "request>uri": {"filter": "regexp", "regexp": r"\?.*", "value": ""},
    }
    return {
        "writer": {"output": "file", "filename": str(file), "mode": "0600"},
        "encoder": {"format": "filter", "wrap": {"format": "json"}, "fields": fields},
        "include": ["http.log.access.requests"],
    }


def _answer_errors(guard: Guard) -> dict[str, object]:
    too_large = {"expression": "{http.error.status_code} == 413"}
    away = {"expression": "{http.error.status_code} in [502, 503, 504]"}
    long = f"the request is longer than the context of {guard.tokens} tokens allows"
    routes = [
        _route([too_large], _json(413, _error(long, "context_length_exceeded"))),
        _route(
            [away],
            _json(503, _error("the model server is not up: loading or restarting", "loading"), {"Retry-After": ["5"]}),
        ),
        _route(
            [],
            {
                **_json(500, _error("the request could not be handled", "failed")),
                "status_code": "{http.error.status_code}",
            },
        ),
    ]
    return {"handle": [{"handler": "subroute", "routes": routes}]}


def _route(match: Sequence[Mapping[str, object]], *handlers: Mapping[str, object]) -> dict[str, object]:
    return {**({"match": match} if match else {}), "handle": list(handlers), "terminal": True}


def _json(status: int, body: dict[str, object], headers: dict[str, list[str]] | None = None) -> dict[str, object]:
    """A fixed answer. Braces are Caddy's placeholders only where a name follows; JSON's are not."""
    return {
        "handler": "static_response",
        "status_code": status,
        "headers": {"Content-Type": ["application/json"], **(headers or {})},
        "body": json.dumps(body),
    }


def _error(message: str, code: str) -> dict[str, object]:
    """An error as OpenAI's clients read it."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _models(names: Sequence[str]) -> dict[str, object]:
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 0, "owned_by": "modelpick"} for name in names],
    }
