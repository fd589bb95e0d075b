"""uvicorn around a gateway: its limits, and the way it stops. I/O."""

import time
from types import FrameType

import uvicorn

from modelpick.serving.gateway.app import Gateway
from modelpick.serving.gateway.config import DRAIN_SECONDS

_KEEP_ALIVE_SECONDS = 90  # longer than Caddy keeps an idle connection: it never writes into one that is being closed
_LARGEST_HEAD = 2**16


class DrainingServer(uvicorn.Server):
    """uvicorn, but a signal lets what is at work finish first: meanwhile new requests are answered with 503."""

    def __init__(self, gateway: Gateway) -> None:
        config = uvicorn.Config(
            gateway, uds=gateway.settings.socket, http="h11", ws="none", loop="asyncio", lifespan="off",
            log_config=None, access_log=False, server_header=False, date_header=False, proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=_LARGEST_HEAD, backlog=2048,
        )  # fmt: skip
        super().__init__(config)
        self._gateway = gateway
        self._until = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT; a second one changes nothing."""
        if not self._gateway.draining:
            self._gateway.draining, self._until = True, time.monotonic() + DRAIN_SECONDS

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether it is time to go."""
        if self._gateway.draining and (not self._gateway.unfinished or time.monotonic() > self._until):
            self.should_exit = True
        return await super().on_tick(counter)
