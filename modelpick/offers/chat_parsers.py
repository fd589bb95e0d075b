"""How a family writes tool calls and reasoning, and by which parsers vLLM reads them. Pure; the rows are data.

data/chat_parsers.toml is the one table; serve, plan and the gateway's refusals consult it through `find`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelpick import schema

# A copy in another number format writes as its original does: what its name adds, from the format on, says nothing.
_FORMAT = re.compile(r"[-_.](fp8|fp4|nvfp4|mxfp4|awq|gptq|gguf|bnb|[48]bit|int[48]|w[48]a\d+|bf16|qat|quantized)\b.*$")


@dataclass(frozen=True, slots=True)
class ChatFamily:
    """One row: where it applies (`families`, `ids`, `marker`, `without`), and what the family needs.

    `template`: a file of vLLM's examples by which it takes tools where its own template does not.
    """

    source: str
    families: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    marker: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    tool_parser: str | None = None
    reasoning_parser: str | None = None
    template: str | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VllmParsers:
    """The parser names that vLLM lists: name -> the first version with it and, if it is gone, the first without.

    `oldest` is the first version that `serve` can start, `read` the newest one whose lists were read.
    """

    oldest: str
    read: str
    source: str
    tool_parsers: Mapping[str, tuple[str, ...]]
    reasoning_parsers: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What one of the other engines does itself: `flags` of its command line, `families` (model_type) it parses."""

    source: str
    flags: tuple[str, ...] = ()
    families: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChatParsers:
    """The whole table."""

    vllm: VllmParsers
    llama_cpp: EngineFacts
    transformers: EngineFacts
    family: tuple[ChatFamily, ...]


def table_from(content: Mapping[str, Any]) -> ChatParsers:
    """The table as read from TOML. Raises UsageError for a missing, unknown or ill-typed key."""
    return schema.read(ChatParsers, content, "chat_parsers.toml", code="bad_table")


def find(table: ChatParsers, model_type: str, names: Sequence[str], template: str | None) -> ChatFamily | None:
    """The first row that applies to a model of `model_type` with these `names` (its id, then its parents').

    `template` is the model's own chat template; None where it is not at hand, and then no row is chosen by it.
    """
    plain = [_plain(name) for name in names]
    return next((row for row in table.family if _applies(row, model_type, plain, template)), None)


def _plain(name: str) -> str:
    """An id or a path as the patterns know it: in lower case, without revision and number format."""
    owner, slash, last = name.partition("@")[0].lower().rpartition("/")
    return f"{owner}{slash}{_FORMAT.sub('', last)}"


def _applies(row: ChatFamily, model_type: str, names: Sequence[str], template: str | None) -> bool:
    named = [name for name in names if any(re.search(pattern, name) for pattern in row.ids)]
    if (row.families and model_type not in row.families) or (row.ids and not named):
        return False
    if template is None:
        return bool(row.ids)
    # A template that comes from elsewhere is used in the row's place, so the own one may lack the marker.
    written = all(text in template for text in row.marker) and not any(text in template for text in row.without)
    return written or row.template is not None


def for_version(table: ChatParsers, row: ChatFamily, version: str | None) -> ChatFamily:
    """The row with only the parsers that vLLM `version` lists; None: the newest one whose lists were read."""
    listed = table.vllm
    asked = version or listed.read
    tool, reasoning = row.tool_parser, row.reasoning_parser
    return replace(
        row,
        tool_parser=tool if tool and lists(listed.tool_parsers, tool, asked) else None,
        reasoning_parser=reasoning if reasoning and lists(listed.reasoning_parsers, reasoning, asked) else None,
    )


def vllm_flags(row: ChatFamily, template: str | None = None) -> tuple[str, ...]:
    """vLLM's flags for the parsers of `row`; `template` is the file that stands in for the model's own template.

    So spelt since 0.9 (vllm/entrypoints/openai/cli_args.py and vllm/engine/arg_utils.py, 0.10.0 to 0.32.0).
    """
    tool, reasoning = row.tool_parser, row.reasoning_parser
    return (
        *row.flags,
        *(("--enable-auto-tool-choice", "--tool-call-parser", tool) if tool else ()),
        *(("--reasoning-parser", reasoning) if reasoning else ()),
        *(("--chat-template", template) if template and tool else ()),
    )


def lists(names: Mapping[str, tuple[str, ...]], name: str, version: str) -> bool:
    """Whether vLLM `version` has the parser `name`."""
    span = names.get(name, ())
    return bool(span) and before(span[0], version) and not (len(span) > 1 and before(span[1], version))


def before(one: str, other: str) -> bool:
    """Whether version `one` is `other` or an older one, by the numbers they begin with."""
    return _numbers(one) <= _numbers(other)


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
