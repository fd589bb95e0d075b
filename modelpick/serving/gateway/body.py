"""Bytes of a request become one JSON object, or are refused; and are written anew for the server behind. Pure.

What two readers could read differently does not pass: another encoding, a key twice, NaN, a number that does not fit.
RFC 8259 leaves each of these to the reader (sections 4, 6 and 8).
"""

import json
import math
from typing import Any, NoReturn

from modelpick.serving.gateway.refusal import Refused, bad

DEEPEST = 64  # levels of lists and objects; a JSON schema of OpenAI's has 10 at most, within a few of the request's own
_LARGEST_INTEGER = 2**63 - 1  # what a reader without large integers holds
_LONGEST_NUMBER = 64  # digits


class _Ambiguous(ValueError):
    """Two readers could read it differently; the message says why."""


def parse(raw: bytes) -> dict[str, Any]:
    """The object in a request's body. Raises Refused (400) saying what is wrong with it."""
    try:
        content = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_without_twins,
            parse_constant=_not_json,
            parse_int=_integer,
            parse_float=_float,
        )
        _require_shallow(content)
    except UnicodeDecodeError:
        raise _invalid("it is not UTF-8") from None
    except RecursionError:
        raise _invalid(f"it is nested more than {DEEPEST} levels deep") from None
    except _Ambiguous as error:
        raise _invalid(str(error)) from None
    except json.JSONDecodeError as error:
        raise _invalid(f"{error.msg} at character {error.pos}") from None
    if not isinstance(content, dict):
        raise _invalid("it is not a JSON object")
    return content


def write(content: Any) -> bytes:
    """JSON as it is passed on: UTF-8, no spaces. Raises Refused for text that UTF-8 cannot hold (half a surrogate)."""
    try:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError:
        raise _invalid("a text has half of a surrogate pair") from None


def _invalid(why: str) -> Refused:
    return bad(None, f"the body cannot be read as JSON: {why}", "invalid_json")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Ambiguous("an object has the same key twice")
    return found


def _not_json(word: str) -> NoReturn:
    raise _Ambiguous(f"{word} is not a number of JSON")


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER or abs(int(digits)) > _LARGEST_INTEGER:
        raise _Ambiguous("a whole number is beyond 64 bits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if len(digits) > _LONGEST_NUMBER or not math.isfinite(value):
        raise _Ambiguous("a number has too many digits or is too large")
    return value


def _require_shallow(content: object) -> None:
    """Level by level, without recursion."""
    level = [content]
    for _ in range(DEEPEST + 1):
        inside = [child for part in level if isinstance(part, dict) for child in part.values()]
        inside += [child for part in level if isinstance(part, list) for child in part]
        level = [part for part in inside if isinstance(part, dict | list)]
        if not level:
            return
    raise RecursionError
