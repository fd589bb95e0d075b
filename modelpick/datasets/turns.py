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
# What programs write for "as usual": it changes nothing, and is no reason to refuse.
USUAL: Mapping[str, tuple[object, ...]] = {
    "prefix": (False,), "logprobs": (False,), "mask": (False,), "mask_history": (False,), "weight": (1,),
    "sample_weight": (1,), "function_call": ("auto",), "margin": (0,),
}  # fmt: skip


def turns_of(raw: object, ignored: set[str], where: str) -> list[Turn]:
    """The turns of a list of messages. Raises BadExampleError for what is not one.

    `ignored` gets the keys that are not read, as `where[].key`.
    """
    raw = listed(raw)
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
    written = str(one_of(part, ("role", "from")) or "")
    role = ROLES.get(written.lower())
    if role is None:
        keys = ", ".join(sorted(map(str, part))[:4])
        raise BadExampleError("bad_chat", f"unknown role {written!r}" if written else f"a turn of {keys} has no role")
    unread: set[str] = set()
    calls = _calls(part, written, unread)
    spoken = one_of(part, ("content", "value"))
    content = "" if written == "function_call" else _content(spoken, role, bool(calls), unread)
    ignored.update(f"{where}[].{key}" for key in unread)
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
    for key in sorted(reasons.keys() & record.keys()):
        if not is_absent(record[key]) and record[key] not in USUAL.get(key, ()):
            code = "media" if reasons[key] is MEDIA else "not_supported"
            raise BadExampleError(code, f"{key}: {reasons[key]}")


def listed(value: Any) -> Any:
    """A list, or what its JSON text says: tables of text have no other way to hold a list."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _content(content: Any, role: str, called: bool, unread: set[str]) -> str:
    if isinstance(content, list):
        return "".join(_part(part, unread) for part in content)
    if content is None and called:
        return ""
    if not isinstance(content, str):
        raise BadExampleError("bad_chat", f"the {role}'s content is not text")
    return content


# Bedrock's parts have no type, those of OpenAI's responses a longer one.
_TEXT_PARTS = (None, "text", "input_text", "output_text")
_MEDIA_PARTS = ("image", "video", "audio", "file", "document")


def _part(part: Any, unread: set[str]) -> str:
    """The text of one part of a content. `unread` gets its keys that are not read."""
    if not isinstance(part, Mapping):
        raise BadExampleError("bad_chat", f"a part of a content is a {type(part).__name__}, not an object with text")
    part = {key: value for key, value in part.items() if not is_absent(value) or key == "text"}
    kind, text = part.get("type"), part.get("text")
    shown = str(kind or ", ".join(sorted(map(str, part))) or "nothing")
    if any(word in shown for word in _MEDIA_PARTS):
        raise BadExampleError("media", f"a part of type {shown}: {MEDIA}")
    if kind not in _TEXT_PARTS:
        raise BadExampleError("not_supported", f"a part of type {shown}: only parts of text are learned")
    if not isinstance(text, str):
        raise BadExampleError("not_text", f"a part of {shown} without its text")
    unread.update(f"content[].{key}" for key in part if key not in ("type", "text"))
    return text


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


def _calls(part: Mapping[str, Any], written: str, unread: set[str]) -> tuple[ToolCall, ...]:
    """The tool calls of a turn: OpenAI's tool_calls or its older function_call, or a ShareGPT turn that is one."""
    several, older = part.get("tool_calls"), part.get("function_call")
    said = [name for name in ("tool_calls", "function_call") if not is_absent(part.get(name))]
    if written == "function_call":
        if said:
            raise BadExampleError("two_meanings", f"a function_call turn with {said[0]}: leave one")
        raw = _json(one_of(part, ("content", "value")), "function_call")
        return tuple(_call(call, unread) for call in (raw if isinstance(raw, list) else [raw]))
    if len(said) == 2:
        raise BadExampleError("two_meanings", "tool_calls and function_call in one turn: leave one")
    if is_absent(several):
        return () if is_absent(older) else (_call(older, unread),)
    several = listed(several)
    if not isinstance(several, list):
        raise BadExampleError("bad_tool_call", "tool_calls is not a list")
    return tuple(_call(call, unread) for call in several)


_OF_A_CALL = ("id", "type", "index", "function", "name", "arguments", "parameters")


def _call(raw: Any, unread: set[str]) -> ToolCall:
    outer = raw if isinstance(raw, Mapping) else {}
    function = outer.get("function", outer)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise BadExampleError("bad_tool_call", "a tool call has no function name")
    given = one_of(function, ("arguments", "parameters"))
    others = {str(key) for call in (outer, function) for key in call if key not in _OF_A_CALL}
    if given is None and others:
        named = ", ".join(sorted(others))
        raise BadExampleError("bad_tool_call", f"the call of {function['name']} has {named}, and no arguments")
    unread.update(f"tool_calls[].{key}" for key in others)
    arguments = _json({} if given is None else given, f"the arguments of {function['name']}")
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
    if "parameters" not in function and "input_schema" in function:  # Anthropic's name for them
        function = {"parameters" if key == "input_schema" else key: value for key, value in function.items()}
    return json.dumps({"type": "function", "function": function}, ensure_ascii=False)


def tool_names(tools: tuple[str, ...]) -> Iterator[str]:
    """The names of the tools offered."""
    for tool in tools:
        yield json.loads(tool)["function"]["name"]
