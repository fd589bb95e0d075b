"""What clients ask of a model that embeds or ranks: python -m tests.clients.pooling_features ADDRESS MODEL < key

OpenAI's own package; ranking has no method there, and is asked by its address. Prints JSON, one line a feature.
"""

import asyncio
import dataclasses
import json
import sys
from collections.abc import Callable
from typing import Any

from tests.clients.outcome import Outcome, effect, tried

TEXTS = ["the weather in Paris", "a goose", "the weather in Paris"]


class PoolingFeatures:
    """One client on one model."""

    def __init__(self, address: str, key: str, model: str) -> None:
        import openai

        self.openai, self.model = openai, model
        self.client = openai.OpenAI(base_url=address, api_key=key, max_retries=0, timeout=600)
        self.later = openai.AsyncOpenAI(base_url=address, api_key=key, max_retries=0, timeout=600)

    def all(self) -> list[tuple[str, Callable[[], Any]]]:
        """Name and act of each."""
        return [(name.removeprefix("try_"), getattr(self, name)) for name in dir(self) if name.startswith("try_")]

    def vectors(self, given: Any, **more: Any) -> list[list[float]]:
        """One for each text, in their order."""
        answer = self.client.embeddings.create(model=self.model, input=given, **more)
        effect(answer.model == self.model and [one.index for one in answer.data] == [*range(len(answer.data))], answer)
        return [one.embedding for one in answer.data]

    def rank(self, documents: Any, **more: Any) -> list[tuple[int, float]]:
        """Places and scores, the best first."""
        body = {"model": self.model, "query": TEXTS[0], "documents": documents, **more}
        answer: Any = self.client.post("/rerank", body=body, cast_to=object)
        effect(answer["model"] == self.model, answer)
        return [(one["index"], one["relevance_score"]) for one in answer["results"]]

    def try_embeddings(self) -> None:
        one, other, again = self.vectors(TEXTS)
        effect(close(one, again) and not close(one, other), "texts and vectors do not go together")
        effect(any(one) and all(abs(number) <= 1.001 for number in one), one[:5])

    def try_embeddings_float(self) -> None:
        effect(close(self.vectors("a", encoding_format="float")[0], self.vectors("a")[0]), "another vector")

    def try_embeddings_tokens(self) -> None:
        one, other = self.vectors([[40, 41, 42], [43]])
        effect(not close(one, other) and close(self.vectors([40, 41, 42])[0], one), "another vector")

    def try_embeddings_dimensions(self) -> None:
        effect(len(self.vectors("a", dimensions=8)[0]) == 8, "the whole vector")

    def try_embeddings_async(self) -> None:
        async def several() -> list[Any]:
            return await asyncio.gather(*(self.later.embeddings.create(model=self.model, input=t) for t in TEXTS))

        effect(close(*(answer.data[0].embedding for answer in asyncio.run(several())[::2])), "another vector")

    def try_embeddings_usage(self) -> None:
        used = self.client.embeddings.create(model=self.model, input=TEXTS).usage
        effect(used.prompt_tokens >= len(TEXTS) and used.total_tokens == used.prompt_tokens, used)

    def try_embeddings_too_long_refused(self) -> None:
        self.too_long(lambda: self.vectors(["a", "one two three " * 4000]))

    def try_rerank(self) -> None:
        ranked = self.rank(TEXTS)
        effect(sorted(place for place, _ in ranked) == [0, 1, 2], ranked)
        effect(ranked == sorted(ranked, key=lambda one: -one[1]), ranked)
        scores = dict(ranked)
        effect(abs(scores[0] - scores[2]) < 1e-3, "the same text has two scores")

    def try_rerank_top_n(self) -> None:
        effect(self.rank(TEXTS, top_n=1) == self.rank(TEXTS)[:1], "not the best one")

    def try_rerank_too_long_refused(self) -> None:
        self.too_long(lambda: self.rank(["a", "one two three " * 4000]))

    def try_score(self) -> None:
        body = {"model": self.model, "text_1": TEXTS[0], "text_2": TEXTS}
        answer: Any = self.client.post("/score", body=body, cast_to=object)
        effect(len(answer["data"]) == 3, answer)

    def try_chat(self) -> None:
        asked = [{"role": "user", "content": "a"}]
        effect(self.client.chat.completions.create(model=self.model, messages=asked).choices, "none")  # type: ignore[arg-type]

    def too_long(self, act: Callable[[], Any]) -> None:
        """Must be refused, and say so."""
        try:
            act()
        except self.openai.BadRequestError as error:
            effect(error.code == "context_length_exceeded", error)
        else:
            effect(False, "accepted")


def close(one: list[float], other: list[float]) -> bool:
    """Whether two vectors are the same but for rounding: batches are added up in another order."""
    return len(one) == len(other) and all(abs(a - b) < 2e-2 for a, b in zip(one, other, strict=True))


def outcomes(address: str, key: str, model: str) -> dict[str, Outcome]:
    """Every feature's outcome."""
    return {outcome.feature: outcome for outcome in tried(PoolingFeatures(address, key, model).all())}


if __name__ == "__main__":
    for outcome in outcomes(sys.argv[1], sys.stdin.read().strip(), sys.argv[2]).values():
        print(json.dumps(dataclasses.asdict(outcome)), flush=True)
