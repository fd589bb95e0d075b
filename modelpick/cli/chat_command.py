"""`modelpick chat`: talk to any OpenAI-compatible address."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelpick.cli.options import command, whole_number
from modelpick.cli.output import Output
from modelpick.errors import UsageError

if TYPE_CHECKING:
    from modelpick.serving.client import Endpoint


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(app, "chat")(chat)


def chat(
    out: Output,
    endpoint: Annotated[
        str, typer.Option("--endpoint", metavar="URL", help="The address, up to /v1.")
    ] = "http://127.0.0.1:8000/v1",
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Default: the first that the server names.")
    ] = None,
    message: Annotated[
        str | None,
        typer.Option(
            "--message", "-m", metavar="TEXT", help="Ask this, and end. Default: a conversation, or what is piped in."
        ),
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help="What the model is told first.")
    ] = None,
    key_file: Annotated[
        str | None, typer.Option("--key-file", metavar="FILE", help="Holds the API key. Default: OPENAI_API_KEY.")
    ] = None,
    max_tokens: Annotated[str, typer.Option("--max-tokens", metavar="N", help="The longest answer.")] = "512",
    temperature: Annotated[str, typer.Option("--temperature", metavar="X", help="0: always the likeliest word.")] = "0",
) -> None:
    """Talk to any OpenAI-compatible address. An empty line or Ctrl-D ends the conversation."""
    from modelpick.serving import client

    at = client.endpoint(endpoint, Path(key_file) if key_file else None)
    longest = whole_number("--max-tokens", max_tokens, largest=10_000_000) or 1
    warmth = _temperature(temperature)
    name = client.pick_model(at, model)
    turns = [{"role": "system", "content": system}] if system else []
    if message is None and sys.stdin.isatty():
        if out.as_json:
            raise UsageError("--json answers one question", fix="give it with --message", code="usage")
        _converse(out, at, name, turns, longest, warmth)
        return
    asked = message if message is not None else sys.stdin.read()
    if not asked.strip():
        raise UsageError("nothing is asked", fix="give --message, or pipe it in", code="usage")
    turns.append({"role": "user", "content": asked})
    text, usage, seconds = _ask(at, name, turns, longest, warmth, shown=not out.as_json)
    if out.as_json:
        payload: dict[str, Any] = {
            "endpoint": at.url, "model": name, "answer": text, "usage": usage, "seconds": seconds,
            "assumptions": [], "sources": [],
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


def _converse(out: Output, at: "Endpoint", name: str, turns: list[dict[str, str]], longest: int, warmth: float) -> None:
    out.note(f"{name} at {at.url}")
    while True:
        try:
            asked = input("> ")
        except EOFError:
            return
        if not asked.strip():
            return
        turns.append({"role": "user", "content": asked})
        text, _, _ = _ask(at, name, turns, longest, warmth, shown=True)
        turns.append({"role": "assistant", "content": text})


def _ask(
    at: "Endpoint", name: str, turns: list[dict[str, str]], longest: int, warmth: float, *, shown: bool
) -> tuple[str, dict[str, Any] | None, float]:
    """The whole answer, its usage as the server counts it, and the seconds it took; shown as it comes."""
    from modelpick.serving import client

    pieces, usage, seconds = [], None, 0.0
    for piece in client.stream_chat(at, name, turns, max_tokens=longest, temperature=warmth):
        pieces.append(piece.text)
        seconds = piece.seconds
        usage = dict(piece.usage) if piece.usage else usage
        if shown and piece.text:
            sys.stdout.write(_printable(piece.text))
            sys.stdout.flush()
    if shown:
        sys.stdout.write("\n")
    return "".join(pieces), usage, seconds


def _printable(text: str) -> str:
    """A model's words without control characters: an answer must not steer the terminal."""
    encoding = sys.stdout.encoding or "utf-8"
    kept = "".join(sign for sign in text if sign in "\n\t" or sign.isprintable())
    return kept.encode(encoding, "replace").decode(encoding)
