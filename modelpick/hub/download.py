"""One file from a web address or a path, in pieces, within a limit of bytes and time. No credentials are sent.

Proxies and certificates are those of huggingface_hub's session, as for the Hub. Plain http is believed of this machine
only: what comes over it elsewhere can be changed on the way.
"""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from modelpick import files
from modelpick.catalog.hub_client import transport_errors
from modelpick.errors import RemoteError, UsageError, address, first_line

PIECE = 1 << 20  # bytes
SECONDS = 900.0  # in all: 400 MB, AWS's largest regional list, at 0.5 MB a second
SILENCE = 30.0  # seconds without a byte
_HERE = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Download:
    """What answers: pieces of the content, read once, and the headers in lower case (of a file: its time).

    `unchanged`: it is what the `etag` stands for that was given, and there are no pieces.
    """

    pieces: Iterator[bytes]
    headers: Mapping[str, str]
    unchanged: bool = False

    @property
    def day(self) -> str | None:
        """The day of the content, ISO, as the server states it; None where it does not."""
        try:
            return parsedate_to_datetime(self.headers["last-modified"]).date().isoformat()
        except (KeyError, ValueError):
            return None


@contextmanager
def opened(where: str, *, largest: int, code: str, etag: str | None = None) -> Iterator[Download]:
    """The content of `where`: an https address, an http one of this machine, a file:// address or a path.

    Raises RemoteError(code=code) where nothing answers, something else than the content does, or it is larger than
    `largest` bytes; UsageError(code=code) for an address of another kind and for a file that cannot be read.
    """
    parts = urlsplit(where)
    if parts.scheme in ("", "file") or re.match(r"[A-Za-z]:[\\/]", where):
        path = Path(unquote(parts.path) if parts.scheme == "file" else where)
        body = files.read_bytes(path, code=code, largest=largest)
        changed = formatdate(path.stat().st_mtime, usegmt=True)
        yield Download(iter((body,)), {"last-modified": changed})
        return
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _HERE):
        raise UsageError(
            f"{address(where)} is not an address that can be trusted", fix="give an https address, or a file", code=code
        )
    import httpx2
    from huggingface_hub import get_session

    timeout = httpx2.Timeout(SILENCE, connect=10.0)
    asked = {"user-agent": "modelpick"} | ({"if-none-match": etag} if etag else {})
    try:
        with get_session().stream("GET", where, timeout=timeout, headers=asked) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            if response.status_code == 304 and etag:
                yield Download(iter(()), headers, unchanged=True)
                return
            if response.status_code != 200:
                raise RemoteError(
                    f"{address(where)} answers with {response.status_code}", fix="check the address", code=code
                )
            if urlsplit(str(response.url)).scheme != parts.scheme:
                raise RemoteError(f"{address(where)} leads out of {parts.scheme}", fix="check the address", code=code)
            yield Download(_limited(response.iter_bytes(PIECE), where, largest, code), headers)
    except transport_errors() as error:
        raise RemoteError(
            f"{address(where)} does not answer to the end: {first_line(error)}", fix="try again later", code=code
        ) from error


def content(where: str, *, largest: int, code: str) -> bytes:
    """The whole content of `where`. Raises as `opened` does."""
    with opened(where, largest=largest, code=code) as answer:
        return b"".join(answer.pieces)


def _limited(pieces: Iterator[bytes], where: str, largest: int, code: str) -> Iterator[bytes]:
    size, ends = 0, time.monotonic() + SECONDS
    for piece in pieces:
        size += len(piece)
        if size > largest:
            raise RemoteError(f"{address(where)} is larger than {largest:,} bytes", fix="check the address", code=code)
        if time.monotonic() > ends:
            raise RemoteError(f"{address(where)} is too slow", fix="try again later", code=code)
        yield piece
