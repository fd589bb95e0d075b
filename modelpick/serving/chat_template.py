"""A chat template that the user names: read, and tried on conversations before a server is started with it. I/O."""

import datetime
import json
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from modelpick import files
from modelpick.errors import UsageError, first_line

FILE = "chat_template.jinja"  # its copy in the state folder, where the servers are started
_LARGEST = 2**20  # bytes; the longest of a known model has some 20 kB
_ASKED = "how is the weather in Oslo"
_TOOL = {
    "type": "function",
    "function": {
        "name": "look_out_of_window",
        "description": "what is seen",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def read(path: Path) -> str:
    """The template in a file that parses, shows what a user says, and shows tools where it mentions them.

    Raises UsageError: `no_template` where it cannot be read, `bad_template` where a server would fail on it.
    """
    text = files.read_text(path, code="no_template", fix="name a file with --chat-template", largest=_LARGEST)
    try:
        template = _environment().from_string(text)
        plain = template.render(**_variables([{"role": "user", "content": _ASKED}]))
    except Exception as error:  # jinja2's own errors, and whatever an expression of the template raises
        raise _bad(path, f"it fails on a plain question: {first_line(error)}") from None
    if _ASKED not in plain:
        raise _bad(path, "what the user asks is not in its prompt")
    if "tools" in text:
        _require_tools(path, template)
    return text


def _require_tools(path: Path, template: Any) -> None:
    """Arguments come as an object (vLLM, transformers) or as their text, which some templates want."""
    problem = ""
    for arguments in ({"city": "Oslo"}, '{"city": "Oslo"}'):
        call: dict[str, Any] = {"id": "abc123DEF", "type": "function"}
        call |= {"function": {"name": "look_out_of_window", "arguments": arguments}}
        turns: list[dict[str, Any]] = [
            {"role": "user", "content": _ASKED},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "abc123DEF", "name": "look_out_of_window", "content": "it snows there"},
        ]
        try:
            first = template.render(**_variables(turns[:1], tools=[_TOOL]))
            whole = template.render(**_variables(turns, tools=[_TOOL]))
        except Exception as error:  # as in `read`
            problem = f"it fails on a conversation with a tool: {first_line(error)}"
            continue
        missing = "look_out_of_window" not in first or "it snows there" not in whole
        problem = "a tool or its answer is not in its prompt" if missing else ""
        if not problem:
            return
    raise _bad(path, problem)


def _bad(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{path} is not a usable chat template: {why}",
        fix="take the file that the model's maker or vLLM's examples give for it",
        code="bad_template",
    )


def _variables(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "messages": messages,
        "tools": tools,
        "add_generation_prompt": True,
        "bos_token": "<s>",
        "eos_token": "</s>",
    }


class _Generation(Extension):
    """`{% generation %}`, which marks the model's own words for training and shows nothing."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """What is between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    """As transformers 5.23 renders one (utils/chat_template_utils.py, _compile_jinja_template); vLLM renders by it."""
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    made.filters["tojson"] = _json
    made.globals["raise_exception"] = _raise
    made.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return made


def _json(value: object, ensure_ascii: bool = False, **how: Any) -> str:
    """Without the escapes of HTML, which jinja2's own puts in."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **how)


def _raise(message: str) -> NoReturn:
    raise ValueError(message)
