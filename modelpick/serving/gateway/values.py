"""The shapes of what a request's parameters hold, each refused by the name of the part that is wrong. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from modelpick.serving.gateway import json_schema
from modelpick.serving.gateway.refusal import bad

Kind = Literal[
    "any", "biases", "boolean", "encoding", "inputs", "integer", "integers", "logprobs", "messages", "number", "object",
    "prompt", "response_format", "stream_options", "text", "texts", "tool_choice", "tools",
]  # fmt: skip
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_FORMATS = ("text", "json_object", "json_schema")
_MOST_BIASES = 300  # vLLM 0.32 takes that many at most with a GPU (v1/sample/logits_processor); OpenAI says no number
_MOST_ITEMS = 100_000  # of a list of tokens or texts: more are no prompt


def require(kind: Kind, name: str, value: object, *, count: int | None = None, longest: int | None = None) -> None:
    """Raises Refused unless `value` has the shape `kind`; `count` bounds a list, `longest` each text."""
    if kind == "any":
        return
    if kind == "texts":
        _texts(name, value, count or _MOST_ITEMS, longest)
    elif kind == "inputs":
        _prompt(name, value, count or _MOST_ITEMS)
    elif kind == "tools":
        _tools(name, value, count or _MOST_ITEMS)
    else:
        _SHAPES[kind](name, value)


def _of(kind: type | tuple[type, ...], name: str, value: object, wanted: str) -> Any:
    """`value`, which must be a `kind`; a boolean is not a number."""
    numeric = kind is int or kind == (int, float)
    if not isinstance(value, kind) or (numeric and isinstance(value, bool)):
        raise bad(name, f"{name} must be {wanted}", "invalid_type")
    return value


def _boolean(name: str, value: object) -> None:
    _of(bool, name, value, "true or false")


def _integer(name: str, value: object) -> None:
    _of(int, name, value, "a whole number")


def _number(name: str, value: object) -> None:
    _of((int, float), name, value, "a number")


def _text(name: str, value: object) -> None:
    _of(str, name, value, "a text")


def _object(name: str, value: object) -> None:
    _of(dict, name, value, "an object")


def _list(name: str, value: object, most: int) -> list[Any]:
    listed: list[Any] = _of(list, name, value, "a list")
    if not listed:
        raise bad(name, f"{name} is empty", "empty_array")
    if len(listed) > most:
        raise bad(name, f"{name} has {len(listed):,} entries, and {most:,} are allowed", "array_above_max_length")
    return listed


def _texts(name: str, value: object, count: int, longest: int | None) -> None:
    """One text or a list of them, none of them empty."""
    listed = [value] if isinstance(value, str) else _list(name, value, count)
    for place, text in enumerate(listed):
        where = name if isinstance(value, str) else f"{name}[{place}]"
        _of(str, where, text, "a text")
        if not text:
            raise bad(where, f"{where} is empty", "empty_string")
        if longest is not None and len(text) > longest:
            raise bad(where, f"{where} has more than {longest} characters", "string_above_max_length")


def _integers(name: str, value: object) -> None:
    for place, token in enumerate(_list(name, value, _MOST_ITEMS)):
        _token(f"{name}[{place}]", token)


def _token(name: str, value: object) -> None:
    if _of(int, name, value, "a token's number") < 0:
        raise bad(name, f"{name} must not be negative")


def _logprobs(name: str, value: object) -> None:
    """true in chat, a number of alternatives in completions (at most 5, OpenAI's API reference)."""
    if value is not True and _of(int, name, value, "true or a whole number") not in range(6):
        raise bad(name, f"{name} must be from 0 to 5")


def _biases(name: str, value: object) -> None:
    biases: dict[str, object] = _of(dict, name, value, "an object of token numbers and biases")
    if len(biases) > _MOST_BIASES:
        raise bad(name, f"{name} has more than {_MOST_BIASES} tokens", "object_above_max_properties")
    for token, bias in biases.items():
        if not (token.isascii() and token.isdigit() and len(token) < 10):
            raise bad(name, f"{name} has a key that is not a token's number")
        _number(f"{name}.{token}", bias)


def _stream_options(name: str, value: object) -> None:
    options: dict[str, object] = _of(dict, name, value, "an object")
    for key, asked in options.items():
        if key != "include_usage":
            raise bad(f"{name}.{key}", f"unknown parameter: {name}.{key}", "unknown_parameter")
        _boolean(f"{name}.{key}", asked)


def _encoding(name: str, value: object) -> None:
    if value not in ("float", "base64"):
        raise bad(name, f"{name} must be float or base64")


def _prompt(name: str, value: object, most: int = _MOST_ITEMS) -> None:
    """A text, tokens, or a list of either, of `most` at most."""
    if isinstance(value, str):
        return
    one = isinstance(value, list) and bool(value) and isinstance(value[0], int)
    listed = _list(name, value, _MOST_ITEMS if one else most)
    for place, part in enumerate(listed):
        where = f"{name}[{place}]"
        if isinstance(part, list) and isinstance(listed[0], list):
            _integers(where, part)
        elif isinstance(listed[0], str):
            _of(str, where, part, "a text, as the first is")
        else:
            _token(where, part)


def _messages(name: str, value: object) -> None:
    for place, message in enumerate(_list(name, value, _MOST_ITEMS)):
        _message(f"{name}[{place}]", message)


def _message(where: str, message: object) -> None:
    turn: dict[str, object] = _of(dict, where, message, "an object")
    if _of(str, f"{where}.role", turn.get("role"), "a text") not in ROLES:
        raise bad(f"{where}.role", f"{where}.role must be one of {', '.join(ROLES)}")
    calls = turn.get("tool_calls")
    if calls is not None:
        for number, call in enumerate(_list(f"{where}.tool_calls", calls, _MOST_ITEMS)):
            _call(f"{where}.tool_calls[{number}]", call)
    content = turn.get("content")
    if isinstance(content, list):
        for number, part in enumerate(_list(f"{where}.content", content, _MOST_ITEMS)):
            _part(f"{where}.content[{number}]", part)
    elif content is not None or calls is None:
        _of(str, f"{where}.content", content, "a text or a list of parts")


def _part(where: str, part: object) -> None:
    """Text only: no server here is sized for pictures or sound, and each would fetch what an address in them names."""
    if _of(dict, where, part, "an object").get("type") != "text":
        raise bad(
            f"{where}.type", f"{where}.type must be text: this server reads nothing else", "unsupported_parameter"
        )
    _text(f"{where}.text", part.get("text") if isinstance(part, dict) else None)


def _call(where: str, call: object) -> None:
    """A function that was called; its arguments are JSON in a text (some clients send the object)."""
    function = _of(dict, where, call, "an object").get("function")
    named: dict[str, object] = _of(dict, f"{where}.function", function, "an object")
    _text(f"{where}.function.name", named.get("name"))
    arguments = named.get("arguments")
    _of((str, dict), f"{where}.function.arguments", arguments, "a text of JSON")
    if isinstance(arguments, str) and not json_schema.is_object_text(arguments):
        raise bad(f"{where}.function.arguments", f"{where}.function.arguments is not a JSON object")


def _tools(name: str, value: object, count: int) -> None:
    for place, tool in enumerate(_list(name, value, count)):
        where = f"{name}[{place}]"
        if _of(dict, where, tool, "an object").get("type") != "function":
            raise bad(f"{where}.type", f"{where}.type must be function")
        function: Mapping[str, object] = _of(dict, f"{where}.function", tool.get("function"), "an object")
        _text(f"{where}.function.name", function.get("name"))
        if function.get("parameters") is not None:
            json_schema.require_bounded(f"{where}.function.parameters", function["parameters"])


def _tool_choice(name: str, value: object) -> None:
    if value in ("none", "required"):
        return
    choice: dict[str, object] = _of(dict, name, value, "none, auto, required or an object")
    function: dict[str, object] = _of(dict, f"{name}.function", choice.get("function"), "an object")
    _text(f"{name}.function.name", function.get("name"))


def _response_format(name: str, value: object) -> None:
    form: dict[str, object] = _of(dict, name, value, "an object")
    if form.get("type") not in _FORMATS:
        raise bad(f"{name}.type", f"{name}.type must be one of {', '.join(_FORMATS)}")
    if form["type"] == "json_schema":
        described: dict[str, object] = _of(dict, f"{name}.json_schema", form.get("json_schema"), "an object")
        json_schema.require_bounded(f"{name}.json_schema.schema", described.get("schema"))


_SHAPES: Mapping[str, Callable[[str, object], None]] = {
    "biases": _biases,
    "boolean": _boolean,
    "encoding": _encoding,
    "integer": _integer,
    "integers": _integers,
    "logprobs": _logprobs,
    "messages": _messages,
    "number": _number,
    "object": _object,
    "prompt": _prompt,
    "response_format": _response_format,
    "stream_options": _stream_options,
    "text": _text,
    "tool_choice": _tool_choice,
}
