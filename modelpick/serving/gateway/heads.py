"""A request without its body: method, path, and the headers that decide something. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelpick.serving.gateway.refusal import Refused

_LOCAL = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class Head:
    """`headers`: names in lower case, with every value that came."""

    method: str
    path: str
    headers: Mapping[str, tuple[str, ...]]

    def only(self, name: str) -> str:
        """The header's one value; empty where it is absent or stands more than once."""
        values = self.headers.get(name, ())
        return values[0] if len(values) == 1 else ""

    @property
    def length(self) -> int | None:
        """Bytes of the body, where the client says."""
        said = self.only("content-length")
        return int(said) if said.isascii() and said.isdigit() else None

    def require_method(self, method: str) -> None:
        """Raises Refused (405)."""
        if self.method != method:
            message = f"{self.path[:100]} takes {method} only"
            raise Refused(405, message, "method_not_allowed", headers={"Allow": method})

    def require_local_and_empty(self) -> None:
        """For paths without a key: asked for by this machine's own names, with GET and without a body.

        A page in a browser can have any name point to 127.0.0.1, and so ask; the Host header then has that name.
        """
        name = self.only("host")
        name = name[: name.index("]") + 1] if name.startswith("[") and "]" in name else name.partition(":")[0]
        if name.lower() not in _LOCAL:
            raise Refused(403, "ask for it as localhost", "foreign_host", headers={"Connection": "close"})
        self.require_method("GET")
        if self.length not in (None, 0) or "transfer-encoding" in self.headers:
            raise Refused(400, "this path takes no body", "invalid_value", headers={"Connection": "close"})

    def require_json(self) -> None:
        """Raises Refused (415) for a body of another type, character set or coding."""
        kind, *options = [part.strip().lower() for part in self.only("content-type").split(";")]
        if kind != "application/json" or any(
            option.replace('"', "") not in ("charset=utf-8", "charset=utf8", "") for option in options
        ):
            raise Refused(415, "send application/json in UTF-8", "unsupported_media_type")
        if any(value.strip().lower() != "identity" for value in self.headers.get("content-encoding", ())):
            raise Refused(415, "send the body as it is, not compressed", "unsupported_content_encoding")


def head_of(scope: Mapping[str, Any]) -> Head:
    """The head of an ASGI request."""
    found: dict[str, tuple[str, ...]] = {}
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        found[name] = (*found.get(name, ()), raw_value.decode("latin-1"))
    return Head(scope["method"], scope["path"], found)
