"""The features of litellm on an OpenAI address: python -m tests.clients.litellm_features ADDRESS MODEL < key

Prints JSON, one line a feature. Its environment is its own: benchmarks/client_features.py makes it.
"""

import asyncio
import dataclasses
import json
import os
import sys
from typing import Any

from tests.clients.openai_features import ASKED, FORMAT, TOOL
from tests.clients.outcome import effect, tried

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it fetches a list of prices


def main(address: str, model: str, key: str, room: int) -> None:
    """Try each and print it."""
    import litellm

    litellm.suppress_debug_info = True
    at: dict[str, Any] = {"model": f"openai/{model}", "api_base": address, "api_key": key, "num_retries": 0}

    def chat(tokens: int = 8, **more: Any) -> Any:
        return litellm.completion(messages=ASKED, max_tokens=tokens, **{"temperature": 0, **at, **more})

    def stream() -> None:
        chunks = list(chat(6, stream=True, stream_options={"include_usage": True}))
        effect(any(getattr(chunk, "usage", None) for chunk in chunks), chunks[-1])

    def required() -> None:
        choice = chat(room, tools=[TOOL], tool_choice="required").choices[0]
        effect(choice.message.tool_calls or choice.finish_reason == "length", choice)

    def schema() -> None:
        text = chat(room, response_format=FORMAT).choices[0].message.content
        effect(json.loads(text)["city"] in ("Paris", "Oslo"), text)

    def later() -> None:
        effect(asyncio.run(litellm.acompletion(messages=ASKED, max_tokens=4, **at)).choices, "none")

    def plain() -> None:
        asked = {**at, "model": f"text-completion-openai/{model}"}
        effect(litellm.text_completion(prompt="one two", max_tokens=4, **asked).choices[0].finish_reason, "no end")

    features = {
        "chat": lambda: effect(chat().choices[0].finish_reason in ("stop", "length"), "no end"),
        "stream": stream,
        "n": lambda: effect(len(chat(4, n=2, temperature=1).choices) == 2, "one choice"),
        "logprobs": lambda: effect(chat(4, logprobs=True).choices[0].logprobs, "none"),
        "json_schema": schema,
        "tool_choice_required": required,
        "async": later,
        "completions": plain,
        "embeddings": lambda: effect(litellm.embedding(input=["a"], **at).data, "none"),
    }  # fmt: skip
    for outcome in tried(features.items()):
        print(json.dumps(dataclasses.asdict(outcome)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.stdin.read().strip(), int((*sys.argv[3:], 64)[0]))
