"""One feature of a client, tried: it works, it is refused by the name of what asked for it, or the test fails."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

Word = Literal["works", "refused", "absent", "ignored", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`refused`: 400 that names the parameter, which is `detail`. `absent`: the engine has no such path. `ignored`: 200
    without the effect. `failed`: anything else."""

    feature: str
    word: Word
    detail: str = ""


class IgnoredError(AssertionError):
    """The server answered 200, and what was asked for is not in the answer."""


def effect(true: bool, what: object) -> None:
    """The answer must show what was asked for."""
    if not true:
        raise IgnoredError(str(what)[:200])


def tried(features: Iterable[tuple[str, Callable[[], Any]]]) -> list[Outcome]:
    """Each feature's outcome. Errors of OpenAI's client are known by their `status_code` and `body`."""
    return [_one(name, act) for name, act in features]


def _one(name: str, act: Callable[[], Any]) -> Outcome:
    try:
        act()
    except IgnoredError as error:
        return Outcome(name, "ignored", str(error))
    except Exception as error:
        status, param = getattr(error, "status_code", None), _param(error)
        if status == 404 and param in (None, ""):
            return Outcome(name, "absent")
        if status == 400 and param:
            return Outcome(name, "refused", param)
        return Outcome(name, "failed", f"{type(error).__name__}: {error}"[:300])
    return Outcome(name, "works")


def _param(error: Exception) -> str | None:
    """The parameter that an error names, in OpenAI's error object."""
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else {}
    param = getattr(error, "param", None) or (inner.get("param") if isinstance(inner, dict) else None)
    return str(param) if param else None
