"""The turns of a chat, from the shapes that OpenAI, ShareGPT, LLaMA-Factory and Axolotl write them in. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from modelpick.datasets.examples import BadExampleError, Role, ToolCall, Turn, is_absent

# OpenAI's developer turn is what system was (API reference, chat completions): templates know one of them.
ROLES: Mapping[str, Role] = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "chatgpt": "assistant",
    "function_call": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "ipython": "tool",
}  # fmt: skip
# Whether a turn is learned: OpenAI's weight, what Axolotl's message_field_training is set to, ms-swift's loss.
FLAGS = ("weight", "train", "training", "train_on_turn", "trainable", "loss")
REASONING = ("reasoning_content", "reasoning", "thinking")
MEANING = frozenset(
    {"role", "from", "content", "value", *FLAGS, *REASONING, "tool_calls", "function_call", "tool_call_id", "name"}
)
MEDIA = "images, sound and video cannot be learned: modelpick trains text models on text"
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("image", "images", "image_url", "video", "videos", "audio", "audios"), MEDIA),
    "train_detail": "parts of an answer cannot be left out of the loss: flag whole turns with train: false",
    "loss_mask": "a mask over tokens fits one tokenizer only: flag whole turns with train or weight",
    "mask": "flag turns that are not learned with train: false or weight: 0",
    "refusal": "write what the assistant says into content",
    "prefix": "an answer that begins with given text is not supported: put that text into the question",
    "logprobs": "distillation from logprobs is not supported",
}  # fmt: skip


def turns_of(raw: object, ignored: set[str], where: str) -> list[Turn]:
    """The turns of a list of messages. Raises BadExampleError for what is not one.

    `ignored` gets the keys that are not read, as `where[].key`.
    """
    if not isinstance(raw, list) or not raw:
        raise BadExampleError("bad_chat", f"{where} is not a list of turns")
    turns = [turn_of(part, ignored, where) for part in raw]
    asked = False
    for turn in turns:
        if turn.role == "assistant" and turn.learned and not asked:
            raise BadExampleError("bad_chat", "an answer comes before any question")
        asked = asked or turn.role in ("user", "tool")
    return turns


def turn_of(part: Any, ignored: set[str], where: str) -> Turn:
    """One turn; a bare text in the place of an answer is the assistant's. Raises BadExampleError."""
    if not isinstance(part, Mapping):
        raise BadExampleError("bad_chat", "a turn is not an object with role and content")
    if len(part) == 2:
        plain = _plain(part)
        if plain is not None:
            return plain
    part = {key: value for key, value in part.items() if value is not None}
    refuse(part, REFUSED)
    ignored.update(f"{where}[].{key}" for key in part if key not in MEANING and key not in REFUSED)
    written = str(one_of(part, ("role", "from")))
    role = ROLES.get(written.lower())
    if role is None:
        raise BadExampleError("bad_chat", f"unknown role {written!r}")
    calls = _calls(part, written)
    content = "" if written == "function_call" else _content(one_of(part, ("content", "value")), role, bool(calls))
    reasoning = one_of(part, REASONING)
    if not isinstance(reasoning, str | None):
        raise BadExampleError("not_text", f"the {role}'s reasoning is a {type(reasoning).__name__}, not text")
    if role != "assistant" and (calls or reasoning):
        raise BadExampleError("bad_chat", f"the {role} calls tools or reasons, which only the assistant does")
    name = part.get("name")
    if not isinstance(name, str | None):
        raise BadExampleError("bad_chat", f"a name is a {type(name).__name__}, not text")
    call_id = part.get("tool_call_id")
    if role != "tool":  # OpenAI's participant names: few templates have a place for them
        ignored.update(f"{where}[].{key}" for key in ("name", "tool_call_id") if part.get(key))
        name = call_id = None
    return Turn(role, content, _learned(part, role), reasoning or None, calls, name, str(call_id) if call_id else None)


def _plain(part: Mapping[str, Any]) -> Turn | None:
    """A turn of a role and a text alone, which most are; None for any other."""
    written, content = (
        (part.get("role"), part.get("content")) if "role" in part else (part.get("from"), part.get("value"))
    )
    if not isinstance(content, str) or not isinstance(written, str) or written == "function_call":
        return None
    role = ROLES.get(written.lower())
    return Turn(role, content) if role is not None else None


def one_of(record: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The value under the one of `names` that is there. Raises BadExampleError when two are, and differ."""
    found = [name for name in names if record.get(name) is not None]
    if len(found) > 1 and any(record[name] != record[found[0]] for name in found[1:]):
        raise BadExampleError("two_meanings", f"{found[0]} and {found[1]} say the same thing twice, and differ")
    return record[found[0]] if found else None


def refuse(record: Mapping[str, object], reasons: Mapping[str, str]) -> None:
    """Raise BadExampleError(code="not_supported") for a key that would change what is learned and is not supported."""
    for key in reasons.keys() & record.keys():
        if not is_absent(record[key]):
            code = "media" if reasons[key] is MEDIA else "not_supported"
            raise BadExampleError(code, f"{key}: {reasons[key]}")


def _content(content: Any, role: str, called: bool) -> str:
    if isinstance(content, list):
        kinds = [part.get("type") if isinstance(part, Mapping) else type(part).__name__ for part in content]
        other = next((kind for kind in kinds if kind != "text"), None)
        if other is not None:
            raise BadExampleError("media" if other != "str" else "bad_chat", f"a part of type {other}: {MEDIA}")
        # The parts of OpenAI's form, when all are text.
        return "".join(str(part.get("text", "")) for part in content)
    if content is None and called:
        return ""
    if not isinstance(content, str):
        raise BadExampleError("bad_chat", f"the {role}'s content is not text")
    return content


def _learned(part: Mapping[str, object], role: str) -> bool:
    given = {flag: _flag(flag, part[flag]) for flag in FLAGS if flag in part}
    if len(set(given.values())) > 1:
        raise BadExampleError("two_meanings", f"{' and '.join(given)} disagree on whether a turn is learned")
    value = next(iter(given.values()), True)
    if given and value and role != "assistant":
        raise BadExampleError("not_supported", f"{next(iter(given))} on a turn of the {role}: only answers are learned")
    return value


def _flag(name: str, value: object) -> bool:
    if value in (0, 1) and isinstance(value, bool | int | float):
        return bool(value)
    raise BadExampleError("not_supported", f"{name} is {value!r}; a turn is learned (1, true) or not (0, false)")


def _calls(part: Mapping[str, Any], written: str) -> tuple[ToolCall, ...]:
    """The tool calls of a turn: OpenAI's tool_calls or its older function_call, or a ShareGPT turn that is one."""
    if written == "function_call":
        raw = _json(one_of(part, ("content", "value")), "function_call")
        return tuple(map(_call, raw if isinstance(raw, list) else [raw]))
    raw = part.get("tool_calls")
    if not is_absent(raw):
        if not isinstance(raw, list):
            raise BadExampleError("bad_tool_call", "tool_calls is not a list")
        return tuple(map(_call, raw))
    older = part.get("function_call")
    return () if is_absent(older) else (_call(older),)


def _call(raw: Any) -> ToolCall:
    outer = raw if isinstance(raw, Mapping) else {}
    function = outer.get("function", outer)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise BadExampleError("bad_tool_call", "a tool call has no function name")
    arguments = _json(function.get("arguments", function.get("parameters", {})), f"the arguments of {function['name']}")
    if not isinstance(arguments, Mapping):
        raise BadExampleError("bad_tool_call", f"the arguments of {function['name']} are not an object")
    id = outer.get("id")
    return ToolCall(function["name"], json.dumps(arguments, ensure_ascii=False), id if isinstance(id, str) else None)


def _json(value: Any, what: str) -> Any:
    """A value, or what its JSON text says. Raises BadExampleError."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value or "{}")
    except (ValueError, RecursionError):
        raise BadExampleError("bad_tool_call", f"{what}: text that is not JSON") from None


def tools_of(raw: Any) -> tuple[str, ...]:
    """The JSON text of each tool offered: of a list, or of LLaMA-Factory's JSON text of one. Raises BadExampleError."""
    if is_absent(raw):
        return ()
    raw = _json(raw, "tools")
    if not isinstance(raw, list):
        raise BadExampleError("bad_tools", "tools is not a list of functions")
    return tuple(_tool(tool) for tool in raw)


def _tool(tool: Any) -> str:
    outer = tool if isinstance(tool, Mapping) else {}
    function = outer.get("function", outer)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise BadExampleError("bad_tools", "a tool has no function with a name")
    return json.dumps({"type": "function", "function": function}, ensure_ascii=False)


def tool_names(tools: tuple[str, ...]) -> Iterator[str]:
    """The names of the tools offered."""
    for tool in tools:
        yield json.loads(tool)["function"]["name"]
