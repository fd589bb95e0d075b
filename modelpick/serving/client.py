"""A client of any OpenAI-compatible address: names of models, streamed answers. Standard library only. I/O."""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelpick.errors import RemoteError, UsageError
from modelpick.serving.key import read_key

_LONGEST_BODY = 300  # characters of a server's error that are shown


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A base URL such as http://127.0.0.1:8000/v1, and the key for it (None: it wants none)."""

    url: str
    key: str | None

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, key={'...' if self.key else None})"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a streamed answer, `seconds` after the request was sent. `usage` comes with the last one, if at all."""

    text: str
    seconds: float
    usage: Mapping[str, int] | None = None


def endpoint(url: str, key_file: Path | None) -> Endpoint:
    """The endpoint of a URL; the key from a file, else from OPENAI_API_KEY, never from a flag. Raises UsageError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url} is no http address", fix="give it like http://127.0.0.1:8000/v1", code="bad_endpoint")
    if parts.username or parts.password:
        raise UsageError("the address carries a password", fix="use --key-file or OPENAI_API_KEY", code="bad_endpoint")
    key = read_key(key_file) if key_file is not None else os.environ.get("OPENAI_API_KEY") or None
    return Endpoint(url.rstrip("/"), key)


def models(at: Endpoint) -> tuple[str, ...]:
    """The names the server answers to. Raises RemoteError."""
    with _open(at, "/models", None, 30.0) as answer:
        listed = _parsed(answer.read(), at).get("data")
    return tuple(str(one["id"]) for one in listed or () if isinstance(one, dict) and "id" in one)


def pick_model(at: Endpoint, asked: str | None) -> str:
    """The model asked for, else the first the server names. Raises UsageError, RemoteError."""
    if asked is not None:
        return asked
    names = models(at)
    if not names:
        raise UsageError(f"{at.url} names no models", fix="name one with --model", code="no_model")
    return names[0]


def stream_chat(
    at: Endpoint,
    model: str,
    messages: Sequence[Mapping[str, str]],
    *,
    max_tokens: int,
    temperature: float = 0.0,
    timeout: float = 600.0,
) -> Iterator[Piece]:
    """The answer, piece by piece as it arrives. `timeout` is the longest silence, in seconds. Raises RemoteError."""
    body = {
        "model": model,
        "messages": list(messages),
        "max_tokens": max_tokens,
        "temperature": temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began = time.perf_counter()
    with _open(at, "/chat/completions", body, timeout) as answer:
        try:
            for line in answer:
                text = line.decode("utf-8", "replace").strip()
                if not text.startswith("data:"):
                    continue
                data = text.removeprefix("data:").strip()
                if data == "[DONE]":
                    return
                yield _piece(_parsed(data.encode(), at), time.perf_counter() - began)
        except (OSError, HTTPException) as error:
            raise RemoteError(
                f"{at.url} broke off: {error}", fix="see the server's log", code="endpoint_broke_off"
            ) from None


def _piece(chunk: Mapping[str, Any], seconds: float) -> Piece:
    if "error" in chunk:
        raise RemoteError(
            f"the server failed: {_short(str(chunk['error']))}", fix="see the server's log", code="endpoint_failed"
        )
    choices = chunk.get("choices") or [{}]
    text = (choices[0].get("delta") or {}).get("content") or ""
    usage = chunk.get("usage")
    return Piece(str(text), seconds, usage if isinstance(usage, dict) else None)


def _open(at: Endpoint, path: str, body: Mapping[str, Any] | None, timeout: float) -> Any:
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}
    if at.key:
        headers["Authorization"] = f"Bearer {at.key}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(at.url + path, data, headers)
    try:
        return _opener(at.url).open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        said = _short(error.read(4096).decode(errors="replace"))
        if error.code in (401, 403):
            fix = "give the key's file with --key-file, or set OPENAI_API_KEY"
            raise RemoteError(f"{at.url} refuses the key: {said}", fix=fix, code="endpoint_refused") from None
        fix = "wait until it is ready" if error.code == 503 else "check --model and the length of the prompt"
        raise RemoteError(f"{at.url} answers {error.code}: {said}", fix=fix, code="endpoint_refused") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise RemoteError(
            f"{at.url} gives no answer: {reason}", fix="check that the server runs", code="endpoint_silent"
        ) from None


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Loopback is asked directly, everything else as the environment's proxies say."""
    local = urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")
    return urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))


def _parsed(data: bytes, at: Endpoint) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RemoteError(
            f"{at.url} does not speak the OpenAI protocol", fix="give the address that ends in /v1", code="not_openai"
        )
    return found


def _short(text: str) -> str:
    try:
        found = json.loads(text)
        text = str(found.get("error", {}).get("message") or found.get("detail") or text)
    except (ValueError, AttributeError):
        pass
    return " ".join(text.split())[:_LONGEST_BODY] or "nothing more said"
