"""The line before a server: so many at work, so many waiting, and 429 for the rest."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from modelpick.serving.gateway.refusal import Refused

MOST_WAITING = 1024
MOST_BYTES = 256 * 2**20  # of all requests that come in, wait or are at work
LONGEST_WAIT_SECONDS = 600.0  # a client of OpenAI's gives up then (its default timeout)


class WaitingLine:
    """`at_once` None: the server has a line of its own, and this one only counts."""

    def __init__(self, at_once: int | None) -> None:
        self._places = asyncio.Semaphore(at_once if at_once is not None else MOST_WAITING)
        self.waiting = self.at_work = self.bytes = 0

    @contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """What it gives counts bytes of one request, until the block ends. It raises Refused (429) beyond the bound."""
        held = 0

        def hold(more: int) -> None:
            nonlocal held
            held += more
            self.bytes += more
            if self.bytes > MOST_BYTES:
                raise _come_again(Connection="close")

        try:
            yield hold
        finally:
            self.bytes -= held

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place at the server, in the order of arrival. Raises Refused (429, 503)."""
        if self.waiting >= MOST_WAITING:
            raise _come_again()
        self.waiting += 1
        try:
            async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            retry = {"Retry-After": "30"}
            raise Refused(503, "the server is busy with other requests", "busy", headers=retry) from None
        finally:
            self.waiting -= 1
        self.at_work += 1
        try:
            yield
        finally:
            self.at_work -= 1
            self._places.release()


def _come_again(**headers: str) -> Refused:
    headers = {"Retry-After": "10", **headers}
    return Refused(429, "too many requests wait already", "too_many_requests", headers=headers)
