"""Asks one model server: HTTP/1.1 by h11, on connections that are kept. I/O.

A general client (httpcore2) took half of the gateway's time: its pool, its layers of streams, and a timer and a write
for each part of a message (benchmarks/serve_gateway.py). Here a request is one write, and what has come is one piece.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11

CONNECT_SECONDS = 5.0
# An idle connection is closed before uvicorn's five seconds and llama-server's are over.
_KEPT_SECONDS = 3.0
_MOST_KEPT = 64
_LARGEST_HEAD = 2**16  # bytes of an answer's head, or of the line before a piece
_MOST_UNREAD = 2**16  # bytes that have come and nobody has taken: more is left in the socket


class NotThereError(Exception):
    """The server takes no connection, ended one, or does not speak HTTP."""


class SilentError(Exception):
    """The server said nothing for too long."""


class TooLargeError(Exception):
    """The answer is longer than its reader takes."""


class ServerReply:
    """An answer whose head has come. `pieces` and `whole` raise NotThereError and SilentError."""

    def __init__(self, status: int, connection: "_Connection", seconds: float) -> None:
        self.status, self._connection, self._seconds = status, connection, seconds

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body: each time all of it that has come."""
        while piece := await self._connection.piece(self._seconds):
            yield piece

    async def whole(self, most: int) -> bytes:
        """All of the body. Raises TooLargeError beyond `most` bytes."""
        pieces, size = [], 0
        async for piece in self.pieces():
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise TooLargeError
        return b"".join(pieces)


class ModelServer:
    """The server at `named`, which is `unix/FILE` or `host:port`."""

    def __init__(self, named: str) -> None:
        self._socket = named.removeprefix("unix/") if named.startswith("unix/") else None
        self._host, _, port = named.rpartition(":")
        self._port = int(port) if self._socket is None else 0
        self._kept: list[_Connection] = []

    @asynccontextmanager
    async def ask(
        self, method: str, path: str, headers: list[tuple[bytes, bytes]], content: bytes = b"", *, seconds: float
    ) -> AsyncIterator[ServerReply]:
        """The answer, for as long as the block lasts; what is left of it then is not read, and the server hears so.

        `seconds`: of silence, then SilentError. Raises NotThereError.
        """
        connection = self._free() or await self._connect()
        try:
            status = await connection.asked(method, path, headers, content, seconds)
            yield ServerReply(status, connection, seconds)
        finally:
            if len(self._kept) < _MOST_KEPT and connection.free_again():
                self._kept.append(connection)
            else:
                connection.close()

    def _free(self) -> "_Connection | None":
        while self._kept:  # the one used last: the others grow old
            connection = self._kept.pop()
            if connection.taken_again():
                return connection
        return None

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if self._socket is not None:
                    _, made = await loop.create_unix_connection(_Connection, self._socket)
                else:
                    _, made = await loop.create_connection(_Connection, self._host, self._port)
        except OSError:  # TimeoutError is one
            raise NotThereError from None
        return made


class _Connection(asyncio.Protocol):
    """One connection: a request, its answer, and again."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEAD)
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        self._kept_until: asyncio.TimerHandle | None = None
        self._unread = 0
        self._paused = self._ended = self._over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        self._http.receive_data(data)
        self._unread += len(data)
        if self._unread > _MOST_UNREAD and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio's."""
        if not self._ended:
            self._ended = True
            self._http.receive_data(b"")
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def asked(
        self, method: str, path: str, headers: list[tuple[bytes, bytes]], content: bytes, seconds: float
    ) -> int:
        """Sends a request; the status of its answer."""
        if content:
            headers = [*headers, (b"Content-Length", b"%d" % len(content))]
        self._over = False
        parts = [self._http.send(h11.Request(method=method, target=path, headers=headers))]
        parts += [self._http.send(h11.Data(data=content))] if content else []
        parts += [self._http.send(h11.EndOfMessage())]
        self._transport.write(b"".join(part for part in parts if part))
        while True:
            event = await self._event(seconds)
            if isinstance(event, h11.Response):
                return event.status_code
            if not isinstance(event, h11.InformationalResponse):
                raise NotThereError

    async def piece(self, seconds: float) -> bytes:
        """All of the body that has come, at least a byte; nothing at its end."""
        parts: list[bytes] = []
        event = await self._event(seconds)
        while isinstance(event, h11.Data):
            parts.append(bytes(event.data))
            try:
                event = self._next()
            except NotThereError:  # the next call says so: what came before it is not lost
                break
        return b"".join(parts)

    async def _event(self, seconds: float) -> object:
        """The next part of the answer. Raises NotThereError where the server broke off."""
        while True:
            event = self._next()
            if event is not h11.NEED_DATA:
                return event
            if self._ended:
                raise NotThereError
            self._unread = 0
            if self._paused:
                self._paused = False
                self._transport.resume_reading()
            await self._more(seconds)

    def _next(self) -> object:
        """The next part that has come whole; h11.EndOfMessage from the end on."""
        if self._over:
            return h11.EndOfMessage
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError:
            raise NotThereError from None
        self._over = isinstance(event, h11.EndOfMessage)
        return event

    async def _more(self, seconds: float) -> None:
        self._waiting = self._loop.create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._waiting
        except TimeoutError:
            raise SilentError from None
        finally:
            self._waiting = None

    def free_again(self) -> bool:
        """Whether another request can follow: the answer has come to its end, and the server keeps the connection."""
        if self._ended or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._kept_until = self._loop.call_later(_KEPT_SECONDS, self.close)
        return True

    def taken_again(self) -> bool:
        """Takes it for a request; false where the server has ended it, or said what nobody asked."""
        if self._kept_until is not None:
            self._kept_until.cancel()
        if self._ended or self._transport.is_closing() or self._http.trailing_data[0]:
            self.close()
            return False
        return True

    def close(self) -> None:
        """Ends it, and what the server is still saying."""
        self._transport.abort()
