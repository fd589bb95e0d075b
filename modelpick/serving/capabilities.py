"""What a served model can be asked for: tools, reasoning, structured output; and the flags that it takes. Pure.

Which parser a family needs is data (offers/chat_parsers.py). What an engine does with each parameter of a request is
the gateway's table; this is about the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from modelpick.offers.chat_parsers import ChatFamily, ChatParsers, find, for_version, vllm_flags
from modelpick.planning.engines import EngineName
from modelpick.serving.gateway.config import ServedTask


@dataclass(frozen=True, slots=True)
class ChatModel:
    """What is known of a model. `names`: its id and its parents'. `template`: its own chat template, None where it
    is not at hand, empty where it has none; with `template_file` it is the user's, in that file. `vision`: it takes
    images. `response_template`: transformers can parse it.
    """

    model_type: str
    names: Sequence[str]
    template: str | None = None
    vision: bool = False
    response_template: bool = False
    template_file: str | None = None


@dataclass(frozen=True, slots=True)
class Abilities:
    """What works; `why` says, by the field's name, why the rest does not. `flags` belong to the server's command line.

    `tools`: the model may call them (`tool_choice` auto); `forced_tools`: it can be made to (required), `named_tools`:
    to call one that is named.
    `structured_output`: an answer by a JSON schema. `several`: `n` above 1.
    """

    flags: tuple[str, ...]
    chat: bool
    tools: bool
    forced_tools: bool
    named_tools: bool
    reasoning: bool
    structured_output: bool
    logprobs: bool
    several: bool
    images: bool
    embeddings: bool = False
    rerank: bool = False
    why: Mapping[str, str] = field(default_factory=dict)


def abilities(
    table: ChatParsers,
    engine: EngineName,
    model: ChatModel,
    *,
    version: str | None = None,
    examples: Sequence[str] = (),
) -> Abilities:
    """What `engine` (in `version`, None: the newest that is known) does with `model`.

    `examples`: paths of chat templates other than the model's own; the table asks for them by their file names.
    """
    if engine == "vllm":
        return _vllm(table, model, version, examples)
    generates = {"embeddings": f"{engine} is started to generate", "rerank": f"{engine} is started to generate"}
    if engine == "llama.cpp":
        # Without a template in the file it uses ChatML (common/chat.cpp), so it always chats. Tools that the template
        # does not know are left out of the prompt, and a function that is named is not forced: both seen to answer 200
        # without a call (llama.cpp of xllamacpp 2026.10.11549).
        unheard = _lacks_tools(model)
        why = {
            **generates,
            "images": "serve gives llama.cpp no projector (--mmproj)",
            "named_tools": unheard or "llama.cpp does not force a function that is named; use required",
            **({"tools": unheard, "forced_tools": unheard} if unheard else {}),
        }
        tools = unheard is None
        flags = (
            *table.llama_cpp.flags,
            *(("--chat-template-file", model.template_file) if model.template_file else ()),
        )
        return Abilities(flags, True, tools, tools, False, True, True, True, True, False, why=why)
    parsed = model.response_template or model.model_type in table.transformers.families
    unparsed = f"transformers serve has no parser for {model.model_type or 'this family'}"
    lacks = _lacks_tools(model)
    tools = parsed and lacks is None
    why = {
        **generates,
        "forced_tools": "transformers serve ignores tool_choice",
        "named_tools": "transformers serve ignores tool_choice",
        "structured_output": "transformers serve ignores response_format",
        "logprobs": "transformers serve ignores logprobs",
        "several": "transformers serve gives one answer",
        "images": "serve gives transformers serve texts only",
        **({} if parsed else {"tools": unparsed, "reasoning": unparsed}),
        **({"tools": lacks} if lacks and parsed else {}),
        **_no_chat(model),
    }
    return Abilities((), model.template != "", tools, False, False, parsed, False, False, False, False, why=why)


def pooling_abilities(engine: EngineName, task: ServedTask) -> Abilities:
    """What a server does that is started to embed or to rank: nothing else."""
    why = "it is started to make embeddings" if task == "embed" else "it is started to rank"
    nothing = ("chat", "tools", "forced_tools", "named_tools", "reasoning", "structured_output", "logprobs", "several")
    other = ("rerank",) if task == "embed" else ("embeddings",)
    return Abilities(
        _POOLING[engine][task], False, False, False, False, False, False, False, False, False,
        embeddings=task == "embed", rerank=task == "rank", why=dict.fromkeys((*nothing, "images", *other), why),
    )  # fmt: skip


# vLLM 0.32.0 config/model.py, --runner; llama.cpp tools/server/README.md.
_POOLING: Mapping[EngineName, Mapping[str, tuple[str, ...]]] = {
    "vllm": {"embed": ("--runner", "pooling"), "rank": ("--runner", "pooling")},
    "llama.cpp": {"embed": ("--embeddings",), "rank": ("--reranking",)},
    "transformers": {"embed": (), "rank": ()},
}


def _vllm(table: ChatParsers, model: ChatModel, version: str | None, examples: Sequence[str]) -> Abilities:
    known = find(table, model.model_type, model.names, model.template)
    row = for_version(table, known, version) if known else ChatFamily(source="")
    example = next((path for path in examples if row.template and path.rsplit("/", 1)[-1] == row.template), None)
    given = model.template_file or example
    why = dict.fromkeys(("embeddings", "rerank"), "vLLM is started to generate")
    if not model.vision:
        why["images"] = "the model takes texts only"
    lacks = None if (given and not model.template_file) or row.flags else _lacks_tools(model)
    if row.tool_parser is None:
        listed = known is not None and known.tool_parser is not None
        why["tools"] = f"vLLM {version} has no {known.tool_parser} parser" if listed and known else "no known parser"
    elif lacks is not None:
        where = f"; with --chat-template and vLLM's {row.template} it can" if row.template else ""
        why["tools"] = f"{lacks}{where}"
    if row.reasoning_parser is None:
        why["reasoning"] = "no known parser"
    tools = "tools" not in why
    if not tools:
        why["forced_tools"] = why["named_tools"] = why["tools"]
    flags = vllm_flags(row if tools else replace(row, tool_parser=None), None if model.template_file else given)
    flags += ("--chat-template", model.template_file) if model.template_file else ()
    chat = bool(model.template != "" or given or row.flags)
    why |= {} if chat else _no_chat(model)
    return Abilities(
        flags, chat, tools, tools, tools, row.reasoning_parser is not None, True, True, True, model.vision, why=why
    )


def _lacks_tools(model: ChatModel) -> str | None:
    """Why the model's own template cannot tell it of tools; None where it can, or is not at hand."""
    if model.template is None or "tools" in model.template:
        return None
    return "its chat template does not mention tools" if model.template else "it has no chat template"


def _no_chat(model: ChatModel) -> dict[str, str]:
    return {"chat": "it has no chat template"} if model.template == "" else {}
