"""One parser: what passes is what a strict JSON parser reads, whatever comes."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelpick.serving.gateway import body
from modelpick.serving.gateway.refusal import Refused

pydantic_core = pytest.importorskip("pydantic_core", reason="the extra serve is absent")

KEYS = st.sampled_from(["model", "max_tokens", "messages", "generation_config", "a", "m\u006fdel", ""])
PARTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """JSON with something done to its bytes: escapes, a key again, another encoding, pieces cut out and put in."""
    text = json.dumps(draw(st.dictionaries(KEYS, PARTS, max_size=4)), ensure_ascii=draw(st.booleans()))
    raw = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"])), "surrogatepass")
    places = draw(st.lists(st.integers(0, len(raw)), max_size=3))
    pieces = st.sampled_from(
        [b'"model":"/evil",', b"\\u006d", b"NaN", b"1e999", b"[" * 70, b"\xff", b"\x00", b",", b"}"]
    )
    for place in places:
        raw = raw[:place] + draw(pieces) + raw[place:]
    return raw


@settings(max_examples=150, deadline=None)
@given(spoiled() | st.binary(max_size=40))
@example(b'{"model": "a", "m\\u006fdel": "/evil"}')
@example(b'{"a": 1e400}')
@example(b'{"a": -0.0, "b": 9223372036854775808}')
@example('{"a": "\ud800"}'.encode("utf-8", "surrogatepass"))
def test_what_passes_is_what_a_strict_parser_reads(raw: bytes) -> None:
    read = parsed(raw)
    if read is None:
        return
    written = body.write(read)
    strict = pydantic_core.from_json(raw, allow_inf_nan=False)  # the parser of the servers behind: jiter
    assert same(strict, read)
    assert body.write(body.parse(written)) == written


def parsed(raw: bytes) -> Any:
    """What passes; None for what is refused."""
    with contextlib.suppress(Refused):
        read = body.parse(raw)
        body.write(read)
        return read
    return None


def same(one: Any, other: Any) -> bool:
    """Equal in value and in type: 1 is neither true nor 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[]", b'"x"', b"1", b"null", b"{", b'{"a":1}{"b":2}', b'{"a":1,"a":2}', b'{"a":{"b":1,"b":1}}',
        b'{"a":"\\ud83d"}', b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":1e999}', b'{"a":99999999999999999999}',
        b'\xef\xbb\xbf{"a":1}', '{"a":1}'.encode("utf-16"), b'{"a":"\xff"}', b"{'a':1}", b'{"a":01}', b'{"a":1,}',
        b'{"a":' + b"[" * 65 + b"]" * 65 + b"}", b"[" * 100_000, b'{"a":' * 100_000, b'{"a":' + b"9" * 10_000 + b"}",
    ],
    ids=lambda raw: raw[:20],
)  # fmt: skip
def test_what_two_readers_could_read_differently_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused) as caught:
        body.write(body.parse(raw))
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_depth_is_counted_from_the_request_itself() -> None:
    assert body.parse(b'{"a":' + b"[" * 63 + b"]" * 63 + b"}")
