"""The options that `bench`, `chat` and `probe` share: an OpenAI-compatible address, and how requests are sent."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from modelpick.cli.output import Output
from modelpick.serving import client
from modelpick.serving.client import Endpoint

KeyFile = Annotated[
    str | None, typer.Option("--key-file", metavar="FILE", help="File with the API key. Default: OPENAI_API_KEY.")
]


@dataclass(frozen=True)
class EndpointOptions:
    """A server, one of its models, and which of its two endpoints."""

    endpoint: Annotated[str, typer.Option("--endpoint", metavar="URL", help="Server address, up to /v1.")] = (
        "http://127.0.0.1:8000/v1"
    )
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Model name. Default: the first of the server.")
    ] = None
    key_file: KeyFile = None
    completions: Annotated[
        bool, typer.Option("--completions", help="Use /completions, for models without a chat template.")
    ] = False

    def at(self, out: Output) -> Endpoint:
        """The address with its key; warns where the key crosses a network unencrypted. Raises UsageError."""
        found = client.endpoint(self.endpoint, Path(self.key_file) if self.key_file else None)
        if found.exposed:
            out.note(f"{found.url} is not an https address: the key crosses the network unencrypted")
        return found
