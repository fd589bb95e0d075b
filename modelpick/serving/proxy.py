"""Caddy's configuration in front of the gateway. Pure: the same inputs, the same JSON.

Caddy is the one that listens: it ends connections whose headers do not come, refuses heads that are too large, reads
HTTP once and writes it anew (so the gateway never sees two lengths in one request) and logs requests without contents.
What a request asks is decided behind it, in `serving.gateway`. https://caddyserver.com/docs/json/
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DRAIN_SECONDS = 5  # the gateway has let the answers finish before Caddy is told to stop
_HEAD_SECONDS = 10  # in which a request's line and headers must have come
_IDLE_SECONDS = 120
_UPSTREAM_IDLE_SECONDS = 60  # shorter than the gateway keeps an idle connection
_LARGEST_HEAD = 2**15  # bytes of a request's line and headers


@dataclass(frozen=True, slots=True)
class Guard:
    """`host:port` outside, `upstream` (as Caddy dials it) inside. `log`: where one line a request is written."""

    host: str
    port: int
    upstream: str
    log: Path


def configuration(guard: Guard) -> dict[str, object]:
    """Caddy's JSON. It contains no secret, and no admin endpoint is opened."""
    server = {
        "listen": [f"{guard.host}:{guard.port}"],
        "automatic_https": {"disable": True},
        "protocols": ["h1"],  # and no h2c, which would be a second grammar
        "read_header_timeout": f"{_HEAD_SECONDS}s",
        "idle_timeout": f"{_IDLE_SECONDS}s",
        "max_header_bytes": _LARGEST_HEAD,
        "logs": {"default_logger_name": "requests"},
        "routes": _routes(guard),
        "errors": {"routes": [_route([], _json(503, _LOADING, {"Retry-After": ["5"]}))]},
    }
    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "WARN"}, "requests": _request_log(guard.log)}},
        "apps": {"http": {"grace_period": f"{DRAIN_SECONDS}s", "servers": {"guard": server}}},
    }


def _routes(guard: Guard) -> list[dict[str, object]]:
    idle = {"keep_alive": {"idle_timeout": f"{_UPSTREAM_IDLE_SECONDS}s", "max_idle_conns_per_host": 256}}
    gateway = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": guard.upstream}],
        "flush_interval": -1,  # as it comes
        "transport": {"protocol": "http", "dial_timeout": "5s", "compression": False, **idle},
    }
    # What is refused may not have been read to its end: nothing of it may be taken for a next request.
    refused = {"require": {"status_code": [4]}, "set": {"Connection": ["close"]}, "deferred": True}
    closing = {"handler": "headers", "response": refused}
    unlogged = {"handler": "vars", "log_skip": True}  # asked every few seconds, by programs
    return [
        _route([{"path": ["/health", "/ready", "/metrics"]}], unlogged, closing, gateway),
        _route([], closing, gateway),
    ]


# In the form of OpenAI's errors.
_LOADING: dict[str, object] = {
    "error": {
        "message": "the model server is not up: loading or restarting",
        "type": "server_error",
        "param": None,
        "code": "loading",
    }
}


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
