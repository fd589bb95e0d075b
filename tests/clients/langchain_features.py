"""The features of langchain-openai on an OpenAI address: python -m tests.clients.langchain_features ADDRESS MODEL < key

Prints JSON, one line a feature. Its environment is its own: benchmarks/client_features.py makes it.
"""

import asyncio
import dataclasses
import json
import sys
from typing import Any

from tests.clients.openai_features import ASKED, SCHEMA, TOOL
from tests.clients.outcome import effect, tried

QUESTION = str(ASKED[0]["content"])


def main(address: str, model: str, key: str, room: int) -> None:
    """Try each and print it."""
    from langchain_core.messages import HumanMessage
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

    def chat(tokens: int = 8, **more: Any) -> Any:
        settings = {"temperature": 0, "max_retries": 0, **more}
        return ChatOpenAI(base_url=address, api_key=key, model=model, max_tokens=tokens, **settings)

    def ends(message: Any) -> None:
        effect(message.response_metadata["finish_reason"] in ("stop", "length"), message)
        effect(message.usage_metadata["output_tokens"] > 0, message)

    def stream() -> None:
        chunks = list(chat(6, stream_usage=True).stream(QUESTION))
        effect(any(chunk.usage_metadata for chunk in chunks), chunks[-1])

    def required() -> None:
        message = chat(room).bind_tools([TOOL], tool_choice="required").invoke(QUESTION)
        effect(message.tool_calls or message.response_metadata["finish_reason"] == "length", message)

    def schema() -> None:
        asked = chat(room).with_structured_output({"title": "place", **SCHEMA}, method="json_schema")
        effect(asked.invoke(QUESTION)["city"] in ("Paris", "Oslo"), "another city")

    def several() -> None:
        answers = chat(4, n=2, temperature=1).generate([[HumanMessage(QUESTION)]]).generations[0]
        effect(len(answers) == 2, "one choice")

    features = {
        "chat": lambda: ends(chat().invoke(QUESTION)),
        "stream": stream,
        "batch": lambda: effect(len(chat(4).batch([QUESTION, "Hello."])) == 2, "fewer answers"),
        "n": several,
        "logprobs": lambda: effect(chat(4, logprobs=True).invoke(QUESTION).response_metadata.get("logprobs"), "none"),
        "json_schema": schema,
        "tool_choice_required": required,
        "async": lambda: ends(asyncio.run(chat(4).ainvoke(QUESTION))),
        "embeddings": lambda: effect(
            OpenAIEmbeddings(base_url=address, api_key=key, model=model, check_embedding_ctx_length=False)
            .embed_query("a"), "none",
        ),
    }  # fmt: skip
    for outcome in tried(features.items()):
        print(json.dumps(dataclasses.asdict(outcome)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.stdin.read().strip(), int((*sys.argv[3:], 64)[0]))
