"""`modelpick chat`: talk to any OpenAI-compatible address."""

import sys
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from modelpick.cli.endpoint_options import EndpointOptions
from modelpick.cli.options import whole_number
from modelpick.cli.output import Output, to_stderr, to_stdout
from modelpick.errors import RemoteError, UsageError
from modelpick.serving import client
from modelpick.serving.client import Asking, Endpoint


@dataclass(slots=True)
class _ChatAnswer:
    """An answer: its text, what was thought before it, the usage as the server counts it, the seconds it took."""

    text: str = ""
    thought: str = ""
    usage: dict[str, object] | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Talk:
    """With whom, and how it is asked."""

    at: Endpoint
    model: str
    way: Asking
    think: bool


def chat(
    out: Output,
    *,
    server: EndpointOptions,
    message: Annotated[
        str | None,
        typer.Option(
            "--message", "-m", metavar="TEXT", help="Ask one question. Default: a conversation, or piped input."
        ),
    ] = None,
    system: Annotated[str | None, typer.Option("--system", metavar="TEXT", help="System prompt.")] = None,
    max_tokens: Annotated[str, typer.Option("--max-tokens", metavar="N", help="Most tokens in an answer.")] = "512",
    temperature: Annotated[
        str,
        typer.Option("--temperature", metavar="X", help="Sampling temperature; 0 always takes the likeliest token."),
    ] = "0",
    stream: Annotated[
        bool, typer.Option("--stream/--no-stream", help="Print tokens as they arrive, or the whole answer.")
    ] = True,
    think: Annotated[bool, typer.Option("--think", help="Show a reasoning model's thoughts on stderr.")] = False,
) -> None:
    """Talk to any OpenAI-compatible server. An empty line or Ctrl-D ends the conversation."""
    at = server.at(out)
    longest = whole_number("--max-tokens", max_tokens, largest=10_000_000) or 1
    way = client.Asking((), longest, _temperature(temperature), plain=server.completions, stream=stream)
    name = client.pick_model(at, server.model)
    talk = _Talk(at, name, way, think)
    turns = [{"role": "system", "content": system}] if system else []
    if message is None and sys.stdin.isatty():
        if out.as_json:
            raise UsageError("--json answers one question", fix="give it with --message", code="usage")
        _converse(out, talk, turns)
        return
    asked = message if message is not None else sys.stdin.read()
    if not asked.strip():
        raise UsageError("there is no question", fix="give --message, or pipe it in", code="usage")
    turns.append({"role": "user", "content": asked})
    answer = _ask(talk, turns, shown=not out.as_json)
    if out.as_json:
        payload: dict[str, object] = {
            "endpoint": at.url, "model": name, "answer": answer.text, "reasoning": answer.thought or None,
            "usage": answer.usage, "seconds": answer.seconds, "assumptions": [], "sources": [],
        }  # fmt: skip
        out.answer(payload, lambda console: None)


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 2:
        raise UsageError(f"--temperature is {text!r}", fix="give a number from 0 to 2", code="bad_number")
    return value


def _converse(out: Output, talk: _Talk, turns: list[dict[str, str]]) -> None:
    out.note(f"{talk.model} at {talk.at.url}")
    while True:
        try:
            asked = input("> ")
        except EOFError:
            return
        if not asked.strip():
            return
        turns.append({"role": "user", "content": asked})
        try:
            answer = _ask(talk, turns, shown=True)
        except RemoteError as error:  # the conversation so far is kept
            turns.pop()
            out.note(f"{error.message}; {error.fix}")
            continue
        turns.append({"role": "assistant", "content": answer.text})


def _ask(talk: _Talk, turns: list[dict[str, str]], *, shown: bool) -> _ChatAnswer:
    """The whole answer; shown as it comes."""
    answer, open_line = _ChatAnswer(), False
    try:
        for piece in client.answer(talk.at, talk.model, replace(talk.way, messages=turns)):
            answer.text += piece.text
            answer.thought += piece.thought
            answer.seconds = piece.seconds
            answer.usage = dict(piece.usage) if piece.usage else answer.usage
            if shown and talk.think and piece.thought:
                to_stderr(piece.thought)
            if shown and piece.text:
                to_stdout(piece.text)
                open_line = True
    finally:
        if open_line:
            to_stdout("\n")
    if not answer.text.strip():
        thought = ": its thoughts used up all tokens" if answer.thought else ""
        raise RemoteError(f"{talk.model} gave an empty answer{thought}", fix="raise --max-tokens", code="empty_answer")
    return answer
