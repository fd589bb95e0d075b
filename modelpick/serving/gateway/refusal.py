"""An answer that is an error, in the form that OpenAI's clients read. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

_LONGEST = 500  # characters of a message; a client's own text may be part of it


@dataclass(slots=True)
class Refused(Exception):
    """A request that is not passed on, or failed behind. `param` names what of it is wrong."""

    status: int
    message: str
    code: str
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """OpenAI's error object (API reference, "Error codes")."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(self.status, kind)
        message = self.message if len(self.message) <= _LONGEST else self.message[:_LONGEST] + "..."
        return {"error": {"message": message, "type": kind, "param": self.param, "code": self.code}}


def bad(param: str | None, message: str, code: str = "invalid_value") -> Refused:
    """A request with a wrong value."""
    return Refused(400, message, code, param)


def too_long(limit: int, message: str, param: str) -> Refused:
    """More tokens than there is room for. The message says the limit, as OpenAI's does."""
    said = f"this model's longest context is {limit} tokens here; {message}"
    return Refused(400, said, "context_length_exceeded", param)
