"""The settings of a gateway, which it reads as JSON from its standard input. The key is not among it. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from modelpick import schema
from modelpick.files import parse_json

KEY_VARIABLE = "MODELPICK_API_KEY"  # the gateway's environment
SOCKET = "gateway.sock"  # in the state folder, where it is started: a path of any depth would be too long
DRAIN_SECONDS = 30
# Bytes of JSON that a token of a prompt may take: a token of 16 spaces or so, each character escaped. Only what is
# longer in any case is left unread; what counts are tokens.
_BYTES_PER_TOKEN = 64
_ENVELOPE = 2**18  # tools, schemas and parameters
# Bytes of a request for embeddings or a ranking, whose texts are many prompts: what OpenAI's bound of 300,000 tokens in
# one request (openai 3.57, types/embedding_create_params.py) can take, rounded.
_MANY_TEXTS = 2**23

ServedTask = Literal["generate", "embed", "rank"]
"""What a server is started for: it writes text, makes vectors of it, or says how well passages answer a query."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """One server and how it is asked.

    `upstream` is `unix/FILE` or `host:port`. `models`: every name a client may use and the server's own for it; the
    first `listed` of them are shown. `tokens`: prompt and answer together, `prompt_tokens` at most of them the prompt.
    `at_once`: requests the server is given together (None: it queues by itself). `tokenizers`: of each of the server's
    names the folder with tokenizer and generation_config.json, where the server does not count tokens itself.
    `refused`: parameters that this model cannot do, and why. `streams_only`: whole answers would be wrong.
    """

    engine: str
    upstream: str
    models: Mapping[str, str]
    listed: tuple[str, ...]
    tokens: int
    prompt_tokens: int
    at_once: int | None = None
    socket: str = SOCKET
    own_metrics: bool = False
    streams_only: bool = False
    task: ServedTask = "generate"
    tokenizers: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def answer_tokens(self) -> int:
        """The answer's length where a request names none."""
        return max(self.tokens - self.prompt_tokens, 1)

    @property
    def longest_body(self) -> int:
        """Bytes of a request that are read."""
        one = _ENVELOPE + _BYTES_PER_TOKEN * self.tokens
        return one if self.task == "generate" else max(one, _MANY_TEXTS)

    def as_json(self) -> dict[str, Any]:
        """What the gateway reads."""
        written: dict[str, Any] = schema.to_json(self)
        return written


def settings_from(text: str) -> GatewaySettings:
    """The settings in JSON. Raises UsageError."""
    return schema.read(GatewaySettings, parse_json(text, where="stdin", code="bad_data"), "stdin", code="bad_data")


def settings_text(settings: GatewaySettings) -> str:
    """What `settings_from` reads."""
    return json.dumps(settings.as_json())
