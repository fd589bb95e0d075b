"""The gateway's own client against servers that keep, end, break off or flood a connection: scripts on real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

pytest.importorskip("h11", reason="the extra serve is absent")
from modelpick.serving.gateway import upstream
from modelpick.serving.gateway.upstream import ModelServer, NotThereError, SilentError, TooLargeError

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[tuple[ModelServer, list[bytes]]]:
    """A server that runs `script` on each connection; what it gives lists the connections' first requests."""
    begun: list[bytes] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            begun.append(await reader.readuntil(b"\r\n\r\n"))
            await script(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    async with server:
        yield ModelServer(f"127.0.0.1:{server.sockets[0].getsockname()[1]}"), begun


async def asked(server: ModelServer, *, seconds: float = 20.0, most: int = 2**20) -> bytes:
    async with server.ask("POST", "/x", [(b"Host", b"localhost")], b"body", seconds=seconds) as reply:
        assert reply.status == 200
        return await reply.whole(most)


def says(*pieces: bytes, again: int = 1) -> Script:
    """Answers `again` requests with `pieces`, then ends the connection."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for turn in range(again):
            if turn:
                await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(4)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)

    return script


async def keeps_open(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.parametrize(
    "pieces",
    [
        (WHOLE,),
        tuple(WHOLE[place : place + 1] for place in range(len(WHOLE))),
        (CHUNKED, b"2\r\nye\r\n", b"1\r\ns\r\n0\r\n\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", WHOLE),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n", b"yes"),
        (b"HTTP/1.1 200 OK\r\n\r\nyes",),  # its end is the connection's
    ],
)
def test_an_answer_is_read_however_it_comes(pieces: tuple[bytes, ...]) -> None:
    async def run() -> None:
        async with scripted(says(*pieces)) as (server, _):
            assert await asked(server) == b"yes"

    asyncio.run(run())


def test_a_connection_is_used_again_until_the_server_ends_it() -> None:
    async def run() -> None:
        async with scripted(says(WHOLE, again=3)) as (server, begun):
            for turn in range(7):
                assert await asked(server) == b"yes"
                await asyncio.sleep(0.02)  # the end of the connection has come
                assert len(begun) == turn // 3 + 1

    asyncio.run(run())


def test_two_requests_at_once_never_share_a_connection() -> None:
    async def run() -> None:
        async with scripted(says(WHOLE)) as (server, begun):
            assert await asyncio.gather(*(asked(server) for _ in range(20))) == [b"yes"] * 20
            assert len(begun) == 20

    asyncio.run(run())


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ((), NotThereError),
        ((b"HTTP/1.1 200 OK\r\nContent-Len",), NotThereError),
        ((WHOLE[:-1],), NotThereError),
        ((CHUNKED, b"3\r\nye"), NotThereError),
        ((CHUNKED, b"zz\r\n"), NotThereError),
        ((b"SSH-2.0-OpenSSH\r\n\r\n",), NotThereError),
        ((b"HTTP/1.1 200 OK\r\nX: " + b"y" * 2**17,), NotThereError),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + b"y" * 9999,), TooLargeError),
    ],
)
def test_what_is_not_a_whole_answer_is_none(pieces: tuple[bytes, ...], error: type[Exception]) -> None:
    async def run() -> None:
        async with scripted(says(*pieces)) as (server, begun):
            for _ in range(2):  # and nothing of it is left for the next one
                with pytest.raises(error):
                    await asked(server, most=5000)
            assert len(begun) == 2

    asyncio.run(run())


def test_what_came_before_it_broke_off_is_not_lost() -> None:
    async def run() -> bytes:
        async with (
            scripted(says(CHUNKED + b"2\r\nye\r\n1\r\ns\r\nzz\r\n")) as (server, _),
            server.ask("POST", "/x", [(b"Host", b"localhost")], b"body", seconds=20.0) as reply,
        ):
            pieces = aiter(reply.pieces())
            came = await anext(pieces)
            with pytest.raises(NotThereError):
                await anext(pieces)
            return came

    assert asyncio.run(run()) == b"yes"


def test_what_a_server_says_unasked_is_no_answer_to_the_next_request() -> None:
    async def run() -> None:
        async with scripted(says(WHOLE + WHOLE.replace(b"yes", b"not"))) as (server, begun):
            assert [await asked(server) for _ in range(2)] == [b"yes", b"yes"]
            assert len(begun) == 2

    asyncio.run(run())


def test_silence_and_absence_are_two_errors() -> None:
    async def run() -> None:
        async with scripted(keeps_open) as (server, _):
            with pytest.raises(SilentError):
                await asked(server, seconds=0.05)
        with pytest.raises(NotThereError):
            await asked(server)
        with pytest.raises(NotThereError):
            await asked(ModelServer("unix/there-is-none.sock"))

    asyncio.run(run())


def test_an_answer_that_is_left_ends_at_the_server_and_what_nobody_takes_stays_there() -> None:
    sent = [0]
    ended = asyncio.Event()

    async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        try:
            while True:
                writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
                await writer.drain()
                sent[0] += 0x1000
        except OSError:
            ended.set()

    async def run() -> None:
        async with scripted(floods) as (server, _):
            async with server.ask("POST", "/x", [(b"Host", b"localhost")], b"body", seconds=20.0) as reply:
                assert await anext(aiter(reply.pieces()))
                before = -1
                while before != sent[0] and sent[0] < 2**26:  # until nothing moves any more
                    before = sent[0]
                    await asyncio.sleep(0.1)
                assert reply._connection._unread <= upstream._MOST_UNREAD + 2**18  # one read of asyncio's more
            await asyncio.wait_for(ended.wait(), 20)

    asyncio.run(run())


def test_an_idle_connection_is_ended_by_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "_KEPT_SECONDS", 0.05)
    gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(WHOLE)(reader, writer)
        await reader.read()
        gone.set()

    async def run() -> None:
        async with scripted(script) as (server, begun):
            assert await asked(server) == b"yes"
            await asyncio.wait_for(gone.wait(), 20)
            assert await asked(server) == b"yes"
            assert len(begun) == 2

    asyncio.run(run())
