"""A client of any OpenAI-compatible address: names of models, answers as they come. Standard library only. I/O."""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelpick.errors import RemoteError, UsageError, address, one_line
from modelpick.serving.machine import read_key

_LONGEST_BODY = 300  # characters of a server's error that are shown
_LONGEST_ANSWER = 64_000_000  # bytes of an answer that is not streamed
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A base URL such as http://127.0.0.1:8000/v1, and the key for it (None: it needs none)."""

    url: str
    key: str | None

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, key={'...' if self.key else None})"

    @property
    def exposed(self) -> bool:
        """Whether the key would cross a network unencrypted."""
        parts = urlsplit(self.url)
        return self.key is not None and parts.scheme == "http" and parts.hostname not in _LOOPBACK


@dataclass(frozen=True, slots=True)
class Asking:
    """One question and how it is sent. `plain`: by /completions, for servers and models without a chat template;
    `patience`: seconds that may be waited in all when the server says "later" (429, 503)."""

    messages: Sequence[Mapping[str, str]]
    max_tokens: int
    temperature: float = 0.0
    plain: bool = False
    stream: bool = True
    patience: float = 0.0
    timeout: float = 600.0  # the longest silence, in seconds

    def body(self, model: str, dialect: "Dialect | None" = None) -> dict[str, object]:
        """What is sent."""
        spoken = dialect or Dialect()
        asked: dict[str, object] = {"model": model, spoken.length: self.max_tokens}
        if spoken.temperature:
            asked["temperature"] = self.temperature
        if self.plain:
            asked["prompt"] = "\n".join(message["content"] for message in self.messages)
        else:
            asked["messages"] = list(self.messages)
        return asked | ({"stream": True, "stream_options": {"include_usage": True}} if self.stream else {})


@dataclass(slots=True)
class Dialect:
    """What a model takes, learned from what it refuses; kept from one question to the next.

    OpenAI's newer models refuse `max_tokens` ("Use 'max_completion_tokens' instead") and any temperature but their own:
    their error object names the parameter. Reported at github.com/decolua/9router/issues/560.
    """

    length: str = "max_tokens"
    temperature: bool = True

    def learn(self, parameter: str) -> bool:
        """Leaves out or renames the parameter that was refused; False where that was done before or cannot help."""
        if parameter == "max_tokens" and self.length == "max_tokens":
            self.length = "max_completion_tokens"
        elif parameter == "temperature" and self.temperature:
            self.temperature = False
        else:
            return False
        return True


class ParameterRefusedError(RemoteError):
    """The server takes no such parameter, or not with that value; `parameter` is its name."""

    def __init__(self, message: str, parameter: str, *, fix: str, code: str) -> None:
        super().__init__(message, fix=fix, code=code)
        self.parameter = parameter


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer, `seconds` after the request was sent. `thought`: what a reasoning model generates
    before it answers. `usage` comes with the last piece, if at all."""

    text: str
    seconds: float
    usage: Mapping[str, int] | None = None
    thought: str = ""
    ended: bool = False  # the server says why it stopped: nothing is missing


def endpoint(url: str, key_file: Path | None) -> Endpoint:
    """The endpoint of a URL; the key from a file, else from OPENAI_API_KEY, never from a flag. Raises UsageError."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UsageError(
            f"{address(url)} is not an http address", fix="give it like http://127.0.0.1:8000/v1", code="bad_endpoint"
        )
    if parts.username or parts.password:
        raise UsageError("the address contains a password", fix="use --key-file or OPENAI_API_KEY", code="bad_endpoint")
    if parts.query or parts.fragment:
        raise UsageError(f"{address(url)} has a query", fix="give the address up to /v1", code="bad_endpoint")
    key = read_key(key_file) if key_file is not None else (os.environ.get("OPENAI_API_KEY") or "").strip() or None
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise UsageError("OPENAI_API_KEY is not a usable key", fix="set it again, or use --key-file", code="bad_key")
    return Endpoint(url.rstrip("/"), key)


def models(at: Endpoint) -> tuple[str, ...]:
    """The names the server answers to. Raises RemoteError."""
    with _open(at, "/models", None, 30.0, 0.0) as answer:
        listed = _parsed(answer.read(_LONGEST_ANSWER), at).get("data")
    entries = listed if isinstance(listed, list) else []
    return tuple(str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry)


def pick_model(at: Endpoint, asked: str | None) -> str:
    """The model asked for, else the first the server names. Raises UsageError, RemoteError."""
    if asked is not None:
        return asked
    names = models(at)
    if not names:
        raise UsageError(f"{at.url} lists no models", fix="name one with --model", code="no_model")
    return names[0]


def answer(at: Endpoint, model: str, asking: Asking, dialect: Dialect | None = None) -> Generator[Piece, None, None]:
    """The answer, piece by piece as it arrives; whole, where the server does not stream or was not asked to.

    `dialect` remembers what the model refuses. Raises RemoteError, also for an answer that ends before the server said
    that it is over.
    """
    began = time.perf_counter()
    with _asked(at, model, asking, dialect or Dialect()) as reply:
        try:
            if "event-stream" in (reply.headers.get("Content-Type") or ""):
                yield from _streamed(reply, at, began)
            else:
                yield _piece(_parsed(reply.read(_LONGEST_ANSWER), at), time.perf_counter() - began)
        except (OSError, HTTPException) as error:
            raise _broke_off(at, str(error)) from None


def _asked(at: Endpoint, model: str, asking: Asking, dialect: Dialect) -> Any:
    """The reply, asked again without what the server says it does not take."""
    path = "/completions" if asking.plain else "/chat/completions"
    while True:
        try:
            return _open(at, path, asking.body(model, dialect), asking.timeout, asking.patience)
        except ParameterRefusedError as error:
            if not dialect.learn(error.parameter):
                raise


def _streamed(reply: Any, at: Endpoint, began: float) -> Iterator[Piece]:
    """Server-sent events: the `data` lines of https://html.spec.whatwg.org/multipage/server-sent-events.html."""
    over = False
    for line in reply:
        text = line.decode("utf-8", "replace").strip()
        if not text.startswith("data:"):
            continue  # comments keep the connection alive; event names are not needed
        data = text.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        piece = _piece(_parsed(data.encode(), at), time.perf_counter() - began)
        over = over or piece.ended
        yield piece
    if not over:
        raise _broke_off(at, "the end of the answer is missing")


def _piece(chunk: Mapping[str, object], seconds: float) -> Piece:
    if chunk.get("error"):
        raise RemoteError(
            f"the server failed: {_short(json.dumps(chunk))}", fix="see the server's log", code="endpoint_failed"
        )
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = choice.get("delta") or choice.get("message") or {}
    text = message.get("content") or choice.get("text") or ""
    thought = message.get("reasoning_content") or message.get("reasoning") or ""
    usage = chunk.get("usage")
    return Piece(
        str(text), seconds, usage if isinstance(usage, dict) else None, str(thought), bool(choice.get("finish_reason"))
    )


def _open(at: Endpoint, path: str, body: Mapping[str, object] | None, timeout: float, patience: float) -> Any:
    """The reply; on "later" (429, 503) it waits as long as the server says, within `patience`."""
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}
    if at.key:
        headers["Authorization"] = f"Bearer {at.key}"
    data = None if body is None else json.dumps(body).encode()
    while True:
        request = urllib.request.Request(at.url + path, data, headers)
        try:
            return _opener(at.url).open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            pause = _later(error)
            if pause is None or pause > patience:
                raise _refused(at, error, pause) from None
        except (OSError, HTTPException, ValueError) as error:
            raise _silent(at, error) from None
        patience -= pause
        time.sleep(pause)


def _later(error: urllib.error.HTTPError) -> float | None:
    """The seconds after which the server wants to be asked again (Retry-After, else 2), at least one; None: never."""
    if error.code not in (429, 503):
        return None
    delay = (error.headers.get("Retry-After") or "2").strip()
    return max(float(delay), 1.0) if delay.isdecimal() else 2.0  # a date is too rare to be read


def _refused(at: Endpoint, error: urllib.error.HTTPError, pause: float | None) -> RemoteError:
    text = error.read(4096).decode(errors="replace")
    reply = _short(text)
    if 300 <= error.code < 400:
        # Not followed: the key would go along to whatever address a server names.
        to = error.headers.get("Location") or "another address"
        return RemoteError(f"{at.url} redirects to {address(to)}", fix="give that address", code="endpoint_moved")
    if error.code in (401, 403):
        fix = "give the key's file with --key-file, or set OPENAI_API_KEY"
        return RemoteError(f"{at.url} rejects the key: {reply}", fix=fix, code="endpoint_refused")
    if pause is not None:
        fix = f"try again in {pause:.0f} s"
        code = "endpoint_busy" if error.code == 429 else "endpoint_loading"
        return RemoteError(f"{at.url} answers {error.code}: {reply}", fix=fix, code=code)
    fix = "check the address (up to /v1), --model and the length of the prompt; no chat template: --completions"
    if "template" in reply.lower():
        fix = "the model has no chat template: ask with --completions"
    message = f"{at.url} answers {error.code}: {reply}"
    parameter = _parameter(text) if error.code == 400 else None
    if parameter is not None:
        return ParameterRefusedError(message, parameter, fix=fix, code="endpoint_refused")
    return RemoteError(message, fix=fix, code="endpoint_refused")


def _parameter(text: str) -> str | None:
    """The parameter that an error object of OpenAI's form names (`error.param`)."""
    try:
        body = json.loads(text)
    except ValueError:
        return None
    error = body.get("error") if isinstance(body, dict) else None
    named = error.get("param") if isinstance(error, dict) else None
    return named if isinstance(named, str) else None


def _silent(at: Endpoint, error: Exception) -> RemoteError:
    reason = str(getattr(error, "reason", error)) or type(error).__name__
    fix = "check that the server runs"
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        fix = "name the authority that signed it: SSL_CERT_FILE=ca.pem"
    elif at.url.startswith("https") and "SSL" in reason:
        fix = "check whether it speaks https: http://..."
    return RemoteError(f"{at.url} does not answer: {reason}", fix=fix, code="endpoint_silent")


def _broke_off(at: Endpoint, why: str) -> RemoteError:
    return RemoteError(f"{at.url} broke off: {why}", fix="see the server's log", code="endpoint_broke_off")


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: it comes back as the error it is."""

    def redirect_request(self, *args: Any) -> None:
        return None


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Loopback is reached directly, everything else through the environment's proxies and SSL_CERT_FILE."""
    local = urlsplit(url).hostname in _LOOPBACK
    return urllib.request.build_opener(_Stay, *([urllib.request.ProxyHandler({})] if local else []))


def _parsed(data: bytes, at: Endpoint) -> dict[str, object]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        reply = _short(data[:4096].decode(errors="replace"))[:80]
        raise RemoteError(
            f"{at.url} does not speak the OpenAI protocol; it says: {reply}",
            fix="give the address that ends in /v1",
            code="not_openai",
        )
    return found


def _short(text: str) -> str:
    """What a server's error says, whichever of the usual forms it has, on one printable line."""
    try:
        found = json.loads(text)
        error = found.get("error")
        text = str((error.get("message") if isinstance(error, dict) else error) or found.get("detail") or text)
    except (ValueError, AttributeError):
        pass
    return one_line(" ".join(text.split()))[:_LONGEST_BODY] or "no details"
