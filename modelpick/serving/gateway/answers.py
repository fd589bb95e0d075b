"""A server's answer as a client of OpenAI's expects it: the model's name as asked, errors in one form. Pure."""

import json
import re
from collections.abc import Collection, Sequence
from typing import Any

from modelpick.serving.gateway.refusal import Refused

_ENCODE = json.JSONEncoder(ensure_ascii=False).encode  # made once: json.dumps makes one for each chunk
_MUST = re.compile(r"\b(\w+) must\b")
_LARGEST_EVENT = 8 * 2**20  # bytes of one event of a stream
# How the servers say that a prompt is too long: vLLM 0.32 (renderers/params.py), llama.cpp (server-context.cpp).
_TOO_LONG = (
    "maximum context length", "exceed_context_size_error", "exceeds the available context size",
    "is too large to process",
)  # fmt: skip


def whole_answer(raw: bytes, asked: str, stops: Sequence[str] = ()) -> bytes:
    """A whole answer with the model's name as asked; cut at a stop text that the server leaves in. Raises Refused."""
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise Refused(502, "the model server's answer cannot be read", "bad_answer")
    if content.get("model") == asked and not stops:
        return raw
    content["model"] = asked
    for choice in content.get("choices") or []:
        holder = choice.get("message") or choice
        name = "content" if "message" in choice else "text"
        if isinstance(holder.get(name), str):
            holder[name] = _cut(holder[name], stops)[0]
    return _ENCODE(content).encode("utf-8", "replace")


def failure(status: int, raw: bytes, asked: Collection[str] = ()) -> Refused:
    """A server's error, in OpenAI's form: FastAPI's `detail`, llama.cpp's and vLLM's `error`, or a bare text.

    `asked`: the request's parameters. Where the server names none, the one of which its message says what it must be
    is meant (vLLM: "n must be 1 when using greedy sampling").
    """
    try:
        content: Any = json.loads(raw)
    except (ValueError, RecursionError):
        content = None
    content = content if isinstance(content, dict) else {}
    error = content.get("error", content.get("detail"))
    told: dict[str, Any] = error if isinstance(error, dict) else {"message": error}
    message = told.get("message") if isinstance(told.get("message"), str) else None
    must = next((name for name in _MUST.findall(message or "") if name in asked), None)
    param = _text(told.get("param")) or must
    if any(sign in f"{message} {told.get('type')}" for sign in _TOO_LONG):
        return Refused(400, str(message), "context_length_exceeded", param)
    if status >= 500:
        # What a server says of its own failure may hold paths and contents: its log has it.
        return Refused(status if status == 503 else 500, "the model server failed on this request", "server_error")
    status = 400 if status == 422 else status
    return Refused(status, message or "the model server refused the request", "invalid_value", param)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """The text before the first stop text, and whether there was one."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


class StreamedAnswer:
    """Server-sent events, rewritten as they come (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    Each chunk names the model as asked. Text that may be the beginning of a stop text is held back until it is known.
    The end is always said: `[DONE]` after an answer, an error after one that broke off.
    """

    def __init__(self, asked: str, stops: Sequence[str] = ()) -> None:
        self._asked, self._stops = asked, tuple(stops)
        self._unread = b""
        self._held = ""
        self._last: dict[str, Any] = {}
        self._stopped = False
        self._finished = False
        self.over = self.broken = False

    def feed(self, piece: bytes) -> bytes:
        """The events that are complete now; none after the end. Once it is `broken` nothing more is to be read."""
        if self.over:
            return b""
        self._unread += piece.replace(b"\r", b"")  # lines end in CR LF or LF; within JSON a CR is escaped
        *events, self._unread = self._unread.split(b"\n\n")
        if len(self._unread) > _LARGEST_EVENT:
            return self._broken()
        return b"".join(self._event(event) for event in events if not self.over)

    def close(self) -> bytes:
        """What is said when the server says no more."""
        if self.over:
            return b""
        if not self._finished:
            return self._broken()
        self.over = True
        return b"data: [DONE]\n\n"

    def _event(self, event: bytes) -> bytes:
        data = b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
        if not data:
            return b": \n\n"  # a comment that keeps the connection alive
        if data == b"[DONE]":
            self.over = True
            return b"data: [DONE]\n\n"
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            chunk = None
        if not isinstance(chunk, dict) or "error" in chunk:
            return self._broken()
        named, chunk["model"] = chunk.get("model"), self._asked
        return self._chunk(chunk, data if named == self._asked else None)

    def _chunk(self, chunk: dict[str, Any], as_it_came: bytes | None) -> bytes:
        choices = chunk.get("choices") or []
        ended = any(choice.get("finish_reason") for choice in choices)
        self._finished = self._finished or ended
        if not self._stops:
            return b"data: " + as_it_came + b"\n\n" if as_it_came is not None else _event_of(chunk)
        before = b""
        for choice in choices:
            holder, name = (choice["delta"], "content") if isinstance(choice.get("delta"), dict) else (choice, "text")
            if isinstance(holder.get(name), str):
                holder[name] = self._released(holder[name])
        if ended and self._held:  # what was held back was no stop text after all
            before = _event_of(_with_text(self._last, self._held))
            self._held = ""
        if choices and not ended:
            self._last = chunk
        return before + _event_of(chunk)

    def _released(self, text: str) -> str:
        if self._stopped:
            return ""
        text, self._stopped = _cut(self._held + text, self._stops)
        keep = 0 if self._stopped else max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :] if keep else ""
        return text[: len(text) - keep] if keep else text

    def _broken(self) -> bytes:
        self.over = self.broken = True
        error = Refused(500, "the model server broke off its answer", "server_error").as_json()
        return f"data: {json.dumps(error)}\n\n".encode()


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if stop.startswith(text[-size:])), 0)


def _with_text(chunk: dict[str, Any], text: str) -> dict[str, Any]:
    """A copy of `chunk` that says `text`."""
    copy: dict[str, Any] = json.loads(json.dumps(chunk))
    for choice in copy["choices"]:
        holder, name = (choice["delta"], "content") if isinstance(choice.get("delta"), dict) else (choice, "text")
        holder[name] = text
    return copy


def _event_of(chunk: dict[str, Any]) -> bytes:
    return b"data: " + _ENCODE(chunk).encode("utf-8", "replace") + b"\n\n"
