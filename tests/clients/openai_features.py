"""The features of OpenAI's own package, one by one: python -m tests.clients.openai_features ADDRESS MODEL < key

Every one must have its effect or be refused with a 400 that names the parameter. Prints JSON, one line a feature.
"""

import asyncio
import dataclasses
import json
import sys
from collections.abc import Callable
from typing import Any

from tests.clients.outcome import Outcome, effect, tried

ASKED = [{"role": "user", "content": "What is the weather in Paris?"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "the weather", "parameters": SCHEMA}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}
# The smallest picture: one pixel, as a GIF.
PICTURE = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


class Features:
    """One client on one model. `room`: tokens of an answer that must end by itself."""

    def __init__(self, address: str, key: str, model: str, room: int = 64) -> None:
        import openai

        self.openai, self.model, self.room = openai, model, room
        self.client = openai.OpenAI(base_url=address, api_key=key, max_retries=0, timeout=600)
        self.later = openai.AsyncOpenAI(base_url=address, api_key=key, max_retries=0, timeout=600)

    def all(self) -> list[tuple[str, Callable[[], Any]]]:
        """Name and act of each."""
        return [(name.removeprefix("try_"), getattr(self, name)) for name in dir(self) if name.startswith("try_")]

    def chat(self, tokens: int = 8, messages: Any = None, **more: Any) -> Any:
        """A chat completion at temperature 0."""
        settings = {"temperature": 0, "max_tokens": tokens, **more}
        return self.client.chat.completions.create(model=self.model, messages=messages or ASKED, **settings)

    def text(self, **more: Any) -> str:
        return self.chat(**more).choices[0].message.content or ""

    def try_chat(self) -> None:
        answer = self.chat()
        effect(answer.choices[0].finish_reason in ("stop", "length"), answer)
        effect(answer.model == self.model, answer.model)

    def try_usage(self) -> None:
        used = self.chat(6).usage
        effect(used is not None and used.prompt_tokens > 4 and 1 <= used.completion_tokens <= 6, used)
        effect(used.total_tokens == used.prompt_tokens + used.completion_tokens, used)

    def try_max_tokens(self) -> None:
        short, long = self.chat(2), self.chat(12)
        effect(short.usage.completion_tokens <= 2 and long.usage.completion_tokens > 2, (short.usage, long.usage))
        effect(short.choices[0].finish_reason == "length", short)

    def try_max_completion_tokens(self) -> None:
        answer = self.client.chat.completions.create(model=self.model, messages=ASKED, max_completion_tokens=2)
        effect(answer.usage.completion_tokens <= 2, answer.usage)

    def try_stream(self) -> None:
        asked = self.client.chat.completions.with_streaming_response.create(
            model=self.model, messages=ASKED, max_tokens=6, stream=True
        )
        with asked as answer:
            lines = [line for line in answer.iter_lines() if line.startswith("data:")]
        effect(lines[-1].removeprefix("data:").strip() == "[DONE]" and len(lines) > 2, lines[-1])

    def try_stream_usage(self) -> None:
        chunks = list(self.chat(6, stream=True, stream_options={"include_usage": True}))
        effect(chunks[-1].usage is not None and chunks[-1].usage.completion_tokens > 0, chunks[-1])
        effect(all(chunk.model == self.model for chunk in chunks), chunks[0].model)

    def try_n(self) -> None:
        answer = self.chat(4, n=2, temperature=1)
        effect(sorted(choice.index for choice in answer.choices) == [0, 1], answer)

    def try_n_usage(self) -> None:
        answer = self.chat(4, n=2, temperature=1)
        if all(choice.finish_reason == "length" for choice in answer.choices):
            effect(answer.usage.completion_tokens == 8, answer.usage)

    def try_logprobs(self) -> None:
        found = self.chat(4, logprobs=True, top_logprobs=2).choices[0].logprobs
        effect(found is not None and found.content and len(found.content[0].top_logprobs) == 2, found)

    def try_stop(self) -> None:
        text = self.text(tokens=16)
        mark = next((sign for sign in text[2:] if sign.isprintable() and sign.isascii() and sign != " "), None)
        mark = mark or next(sign for sign in text[1:] if sign.isprintable())
        answer = self.chat(16, stop=[mark])
        effect(mark not in (answer.choices[0].message.content or ""), answer)
        effect(answer.choices[0].finish_reason == "stop", answer)

    def try_seed(self) -> None:
        texts = {self.text(tokens=12, temperature=1, seed=7) for _ in range(3)}
        effect(len(texts) == 1, texts)

    def try_logit_bias(self) -> None:
        plain = self.text(tokens=3)
        effect(self.text(tokens=3, logit_bias={"40": 100}) != plain, plain)

    def try_json_schema(self) -> None:
        text = self.text(tokens=self.room, response_format=FORMAT)
        effect(text.strip().startswith("{") and json.loads(text)["city"] in ("Paris", "Oslo"), text)

    def try_json_object(self) -> None:
        answer = self.chat(self.room, response_format={"type": "json_object"}).choices[0]
        effect((answer.message.content or "").strip()[:1] == "{", answer)
        if answer.finish_reason == "stop":
            json.loads(answer.message.content)

    def try_tools(self) -> None:
        with_tools, without = self.chat(4, tools=[TOOL]), self.chat(4)
        effect(with_tools.usage.prompt_tokens > without.usage.prompt_tokens, "the model was not told of the tool")

    def try_tool_choice_required(self) -> None:
        self.called(self.chat(self.room, tools=[TOOL], tool_choice="required"))

    def try_tool_choice_named(self) -> None:
        named = {"type": "function", "function": {"name": "get_weather"}}
        self.called(self.chat(self.room, tools=[TOOL], tool_choice=named))

    def called(self, answer: Any) -> None:
        """A call, or an answer that was cut off before it: never one that ended without."""
        choice = answer.choices[0]
        calls = choice.message.tool_calls or []
        effect(calls or choice.finish_reason == "length", answer)
        effect(all(call.function.name == "get_weather" for call in calls), answer)
        if calls and choice.finish_reason != "length":
            effect(json.loads(calls[0].function.arguments)["city"] in ("Paris", "Oslo"), answer)

    def try_tool_choice_without_tools(self) -> None:
        self.called(self.chat(8, tool_choice="required"))
        effect(False, "it has no tools")

    def try_tool_choice_none(self) -> None:
        effect(not self.chat(8, tools=[TOOL], tool_choice="none").choices[0].message.tool_calls, "it called")

    def try_tool_answer(self) -> None:
        call = {"id": "call_123456", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
        told = [*ASKED, {"role": "assistant", "tool_calls": [call]}]
        told = [*told, {"role": "tool", "tool_call_id": "call_123456", "content": "It rains in Paris today."}]
        grown = self.chat(4, told, tools=[TOOL]).usage.prompt_tokens
        effect(grown > self.chat(4, tools=[TOOL]).usage.prompt_tokens, "the model was not told of the answer")

    def try_image(self) -> None:
        part = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
        seen = self.chat(4, [{"role": "user", "content": part}]).usage.prompt_tokens
        effect(seen > self.chat(4, [{"role": "user", "content": "What is it?"}]).usage.prompt_tokens, "not seen")

    def try_text_parts(self) -> None:
        parts = [{"type": "text", "text": ASKED[0]["content"]}]
        effect(self.text(messages=[{"role": "user", "content": parts}]) == self.text(), "another answer")

    def try_completions(self) -> None:
        answer = self.client.completions.create(model=self.model, prompt="one two", max_tokens=4, temperature=0)
        effect(answer.usage.completion_tokens <= 4 and answer.model == self.model, answer)

    def try_completions_tokens(self) -> None:
        answer = self.client.completions.create(model=self.model, prompt=[40, 41, 42], max_tokens=4, temperature=0)
        effect(answer.usage.prompt_tokens in (3, 4), answer.usage)

    def try_completions_echo(self) -> None:
        answer = self.client.completions.create(model=self.model, prompt="one two", max_tokens=2, echo=True)
        effect("one two" in answer.choices[0].text, answer)

    def try_embeddings(self) -> None:
        effect(self.client.embeddings.create(model=self.model, input="a").data[0].embedding, "none")

    def try_models(self) -> None:
        effect(self.model in [model.id for model in self.client.models.list()], "not listed")
        effect(self.client.models.retrieve(self.model).id == self.model, "another")

    def try_async(self) -> None:
        async def several() -> list[Any]:
            ask = self.later.chat.completions.create
            return await asyncio.gather(*(ask(model=self.model, messages=ASKED, max_tokens=4) for _ in range(3)))

        effect(len(asyncio.run(several())) == 3, "fewer answers")

    def try_unknown_parameter_refused(self) -> None:
        try:
            self.chat(4, extra_body={"no_such_setting": 3})
        except self.openai.BadRequestError as error:
            effect("no_such_setting" in str(error), error)
        else:
            effect(False, "accepted")

    def try_too_long_refused(self) -> None:
        try:
            self.chat(4, [{"role": "user", "content": "one two three " * 4000}])
        except self.openai.APIStatusError as error:
            effect(error.status_code == 400, error)
        else:
            effect(False, "accepted")

    def try_another_model_refused(self) -> None:
        try:
            self.client.chat.completions.create(model="gpt-4", messages=ASKED)
        except self.openai.NotFoundError:
            return
        effect(False, "answered")


def outcomes(address: str, key: str, model: str, room: int = 64) -> list[Outcome]:
    """Of every feature."""
    return tried(Features(address, key, model, room).all())


if __name__ == "__main__":
    for outcome in outcomes(sys.argv[1], sys.stdin.read().strip(), sys.argv[2], int((*sys.argv[3:], 64)[0])):
        print(json.dumps(dataclasses.asdict(outcome)))
