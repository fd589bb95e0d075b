"""The ASGI application between clients and a model server: it decides what passes, and changes nothing else. I/O."""

import asyncio
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from modelpick import files
from modelpick.errors import ModelpickError
from modelpick.serving.gateway import body, parameters, sending
from modelpick.serving.gateway.answers import StreamedAnswer, failure, whole_answer
from modelpick.serving.gateway.config import GatewaySettings
from modelpick.serving.gateway.counts import RequestCounts
from modelpick.serving.gateway.heads import Head, head_of
from modelpick.serving.gateway.parameters import RequestRules
from modelpick.serving.gateway.refusal import Refused, too_long
from modelpick.serving.gateway.upstream import ModelServer, NotThereError, ServerReply, SilentError, TooLargeError
from modelpick.serving.gateway.waiting import WaitingLine

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_READ = ("/v1/models/", "/license/")  # what is there to be read
BODY_SECONDS = 30.0  # in which a whole request must have come
DISCARDED_BYTES = 16 * 2**20  # of a request that is too long: read, so that its client hears why, and not kept
WRITE_SECONDS = 60.0  # in which a client must take a piece of its answer
ANSWER_SECONDS = 3600.0  # of silence: a server may load its model at the first request
_LARGEST_ANSWER = 64 * 2**20  # bytes of an answer that is not streamed
_LARGEST_LICENSE = 16 * 2**20
_LOADING = "the model server is not up: loading or restarting"
_DOES = {"generate": "generates text", "embed": "makes embeddings", "rank": "ranks documents"}
_log = logging.getLogger("modelpick.gateway")


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class Gateway:
    """One server's gateway. `draining`: requests at work are finished, new ones get 503."""

    def __init__(self, settings: GatewaySettings, key: str, state: Path, prompts: sending.CountsPrompts | None) -> None:
        self.settings, self._key, self._state, self._prompts = settings, key.encode(), state, prompts
        self.draining = False
        self.line = WaitingLine(settings.at_once)
        self.counts = RequestCounts()
        self._rules = {
            path: parameters.rules(settings.engine, endpoint.name, settings.refused)
            for path, endpoint in parameters.endpoints().items()
        }
        self._server = ModelServer(settings.upstream)
        self._headers = [
            (b"Host", b"localhost"), (b"Authorization", b"Bearer " + self._key), (b"Accept-Encoding", b"identity"),
        ]  # fmt: skip

    @property
    def unfinished(self) -> int:
        """Requests whose body has come and whose answer has not gone."""
        return self.line.at_work + self.line.waiting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3 (https://asgi.readthedocs.io/en/latest/specs/www.html)."""
        if scope["type"] != "http":
            return
        answer = _Answer(send)
        with self.counts.one(scope["path"] if scope["path"] in self._rules else "other") as counted:
            try:
                await self._route(head_of(scope), receive, answer)
            except Refused as refusal:
                await answer.refuse(refusal)
            except (ClientGone, OSError, TimeoutError):
                answer.status = 499  # nginx's number for a client that closed its connection
            except Exception as error:
                # Neither its text nor its values: they may be a client's.
                place = error.__traceback__
                while place is not None and place.tb_next is not None:
                    place = place.tb_next
                where = f"{place.tb_frame.f_code.co_name}:{place.tb_lineno}" if place is not None else "?"
                _log.error("a request failed: %s in %s", type(error).__name__, where)
                await answer.refuse(Refused(500, "the request could not be handled", "server_error"))
            counted(answer.status)

    async def _route(self, head: Head, receive: Receive, answer: "_Answer") -> None:
        if head.path in ("/health", "/ready", "/metrics"):
            head.require_local_and_empty()
            return await self._watched(head.path, answer)
        self._require_key(head)
        if head.path in self._rules:
            head.require_method("POST")
            return await self._asked(head, receive, answer)
        if not f"{head.path}/".startswith(_READ):
            raise Refused(404, "there is no such path here", "not_found")
        head.require_method("GET")
        if head.path == "/v1/models":
            listed = [_model(name) for name in self.settings.listed]
            return await answer.json(200, {"object": "list", "data": listed})
        if head.path.startswith("/v1/models"):
            name = head.path.removeprefix("/v1/models/")
            if name not in self.settings.models:
                raise Refused(404, "there is no such model here", "model_not_found", "model")
            return await answer.json(200, _model(name))
        if head.path in ("/license", "/license/"):
            return await answer.json(200, {"files": sorted(self._license_files())})
        return await self._license(head.path.removeprefix("/license/"), answer)

    def _require_key(self, head: Head) -> None:
        scheme, _, key = head.only("authorization").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(key.strip().encode("latin-1"), self._key):
            raise Refused(401, "no valid API key", "invalid_api_key", headers={"WWW-Authenticate": "Bearer"})

    async def _watched(self, path: str, answer: "_Answer") -> None:
        if path == "/ready":
            ready = (self._state / "ready").is_file() and not self.draining
            return await answer.json(200 if ready else 503, {"status": "ready" if ready else "loading"})
        if path == "/health":
            up = not self.draining and (await self._look("/health"))[0] == 200
            return await answer.json(200 if up else 503, {"status": "ok" if up else "loading"})
        own = self.counts.text(self.line)
        theirs = (await self._look("/metrics"))[1] if self.settings.own_metrics else b""
        return await answer.whole(200, own.encode() + theirs, "text/plain; version=0.0.4; charset=utf-8")

    async def _look(self, path: str) -> tuple[int, bytes]:
        """What the server says at `path`; (503, nothing) where it says nothing."""
        try:
            async with self._server.ask("GET", path, self._headers, seconds=5.0) as reply:
                return reply.status, await reply.whole(2**22)
        except (NotThereError, SilentError, TooLargeError):
            return 503, b""

    async def _asked(self, head: Head, receive: Receive, answer: "_Answer") -> None:
        rules = self._rules[head.path]
        if self.settings.engine not in rules.endpoint.engines or rules.endpoint.task != self.settings.task:
            raise Refused(404, f"this server has no {head.path}: it {_DOES[self.settings.task]}", "not_found")
        head.require_json()
        with self.line.holding() as hold:
            raw = await self._body(head, receive, hold, rules.endpoint.required[-1])
            if self.draining:
                raise Refused(503, "the server is stopping", "stopping", headers={"Retry-After": "5"})
            await _while_connected(receive, self._answered(head.path, raw, rules, answer))

    async def _body(self, head: Head, receive: Receive, hold: Callable[[int], None], whole: str) -> bytes:
        """The whole request, unless it is too long or too slow; `whole` is the parameter that makes it long."""
        longest = self.settings.longest_body
        pieces: list[bytes] = []
        size, more = 0, (head.length or 0) <= DISCARDED_BYTES
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more and size <= DISCARDED_BYTES:
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        raise ClientGone
                    size += len(event.get("body", b""))
                    more = event.get("more_body", False)
                    if size <= longest:
                        pieces.append(event.get("body", b""))
                        hold(len(pieces[-1]))
        except TimeoutError:
            message = f"the request had not come after {BODY_SECONDS:.0f} s"
            raise Refused(408, message, "request_timeout", headers={"Connection": "close"}) from None
        if more or size > longest or (head.length or 0) > longest:
            refusal = too_long(self.settings.tokens, f"the request has more than {longest:,} bytes", whole)
            refusal.headers = {"Connection": "close"}
            raise refusal
        return b"".join(pieces)

    async def _answered(self, path: str, raw: bytes, rules: RequestRules, answer: "_Answer") -> None:
        asked = rules.check(body.parse(raw))
        # A long prompt takes a while to tokenize: the others' answers go on meanwhile.
        sent = await asyncio.to_thread(self._to_server, asked) if len(raw) > 2**14 else self._to_server(asked)
        try:
            async with self.line.place(), self._upstream(path, sent) as reply:
                await self._forwarded(reply, asked, answer)
        except SilentError:
            raise Refused(504, "the model server did not answer in time", "timeout") from None
        except TooLargeError:
            raise Refused(502, "the model server's answer is too long", "bad_answer") from None
        except NotThereError:
            raise _with_retry(Refused(503, _LOADING, "loading")) from None

    def _upstream(self, path: str, sent: bytes) -> AbstractAsyncContextManager[ServerReply]:
        headers = [*self._headers, (b"Content-Type", b"application/json")]
        return self._server.ask("POST", path, headers, sent, seconds=ANSWER_SECONDS)

    async def _forwarded(self, reply: ServerReply, asked: Mapping[str, Any], answer: "_Answer") -> None:
        stops = _stops(asked) if self._prompts is not None else ()  # transformers leaves a stop text in the answer
        if reply.status != 200:
            raise _with_retry(failure(reply.status, await reply.whole(2**20), asked))
        if asked.get("stream"):
            await self._streamed(reply, StreamedAnswer(asked["model"], stops), answer)
        else:
            whole = whole_answer(await reply.whole(_LARGEST_ANSWER), asked["model"], stops)
            await answer.whole(200, whole, "application/json")

    def _to_server(self, asked: Mapping[str, Any]) -> bytes:
        return body.write(sending.to_server(asked, self.settings, self._prompts))

    async def _streamed(self, reply: ServerReply, events: StreamedAnswer, answer: "_Answer") -> None:
        await answer.begin(200, "text/event-stream; charset=utf-8", {"Cache-Control": "no-cache"})
        try:
            async for piece in reply.pieces():
                if said := events.feed(piece):
                    await answer.more(said)
                if events.broken:
                    break  # else to the server's own end, after which its connection can be used again
        except (NotThereError, SilentError):
            pass  # `close` tells the client, as there is no status to send any more
        await answer.more(events.close(), last=True)

    def _license_files(self) -> dict[str, Path]:
        """Regular files of the folder, by their names in it; links are not followed (rglob follows none)."""
        folder = self._state / "license"
        found = (path for path in folder.rglob("*") if not path.is_symlink() and path.is_file())
        return {path.relative_to(folder).as_posix(): path for path in found}

    async def _license(self, name: str, answer: "_Answer") -> None:
        path = self._license_files().get(name)
        if path is None:
            raise Refused(404, "there is no such file here", "not_found")
        try:
            content = files.read_bytes(path, code="no_license", largest=_LARGEST_LICENSE)
        except ModelpickError:
            raise Refused(404, "the file cannot be read", "not_found") from None
        await answer.whole(200, content, "text/plain; charset=utf-8")


class _Answer:
    """One answer on its way. A client that takes nothing for a minute is let go of, and the server with it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def begin(self, status: int, kind: str, headers: Mapping[str, str], length: int | None = None) -> None:
        """The status and the headers."""
        self.status = status
        told = {"Content-Type": kind, "X-Content-Type-Options": "nosniff", **headers}
        told |= {} if length is None else {"Content-Length": str(length)}
        encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in told.items()]
        await self._say({"type": "http.response.start", "status": status, "headers": encoded})

    async def more(self, piece: bytes, *, last: bool = False) -> None:
        """A piece of the answer."""
        await self._say({"type": "http.response.body", "body": piece, "more_body": not last})

    async def whole(self, status: int, content: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        """All of it."""
        await self.begin(status, kind, headers or {}, len(content))
        await self.more(content, last=True)

    async def json(self, status: int, content: object, headers: Mapping[str, str] | None = None) -> None:
        """All of it, as JSON."""
        await self.whole(status, json.dumps(content).encode(), "application/json", headers)

    async def refuse(self, refusal: Refused) -> None:
        """An error, where the answer has not begun."""
        if not self.status:
            await self.json(refusal.status, refusal.as_json(), refusal.headers)

    async def _say(self, event: MutableMapping[str, Any]) -> None:
        async with asyncio.timeout(WRITE_SECONDS):
            await self._send(event)


async def _while_connected(receive: Receive, work: Awaitable[None]) -> None:
    """Do `work` as long as the client is there; when it goes, the work is cancelled, and the server's with it."""
    working = asyncio.current_task()
    assert working is not None
    watching = asyncio.ensure_future(_gone(receive))
    done = left = False

    def leave(_: object) -> None:
        nonlocal left
        if not done:
            left = True
            working.cancel()

    watching.add_done_callback(leave)
    try:
        await work
    except asyncio.CancelledError:
        if left and working.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        done = True
        watching.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _with_retry(refusal: Refused) -> Refused:
    if refusal.status in (429, 503):
        refusal.headers = {"Retry-After": "5"}
    return refusal


def _stops(asked: Mapping[str, Any]) -> list[str]:
    stop = asked.get("stop", [])
    return [stop] if isinstance(stop, str) else stop


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "modelpick"}
