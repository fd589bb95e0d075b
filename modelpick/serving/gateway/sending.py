"""From a checked request to what the server behind is sent: its own name of the model, within the memory counted."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from modelpick.serving.gateway.config import GatewaySettings
from modelpick.serving.gateway.refusal import Refused, bad, too_long

_ANSWER = ("max_completion_tokens", "max_tokens")  # the first one counts


class CountsPrompts(Protocol):
    """What is asked of the model's tokenizer; `prompts.PromptTokens` is the real one."""

    @property
    def sampling(self) -> Mapping[str, Mapping[str, Any]]: ...
    def of_messages(self, model: str, messages: list[dict[str, Any]], body: Mapping[str, Any]) -> int: ...
    def of_text(self, model: str, text: str) -> int: ...
    def text_of(self, model: str, tokens: list[int]) -> str: ...
    def vocabulary(self, model: str) -> int: ...


def to_server(body: Mapping[str, Any], settings: GatewaySettings, prompts: CountsPrompts | None) -> dict[str, Any]:
    """The body for the server. Raises Refused: 404 for a model that is not served, 400 for what does not fit."""
    served = settings.models.get(body["model"])
    if served is None:
        names = ", ".join(settings.listed)
        raise Refused(404, f"there is no such model here: the models are {names}", "model_not_found", "model")
    sent = {**body, "model": served}
    if settings.streams_only and not sent.get("stream"):
        # transformers 5.23 cuts the prompt's length off the front of every whole answer (cli/serving/utils.py,
        # generate_non_streaming), which is wrong where the answer does not begin with the prompt.
        message = "this server answers correctly for encoder-decoder models only with stream=true"
        raise bad("stream", message, "stream_required")
    for name in _ANSWER:
        if sent.get(name, 0) > settings.tokens:
            raise too_long(settings.tokens, f"{name} asks for {sent[name]:,}", name)
    if prompts is not None:
        return _to_transformers(sent, served, settings, prompts)
    return sent


def _to_transformers(
    body: dict[str, Any], model: str, settings: GatewaySettings, prompts: CountsPrompts
) -> dict[str, Any]:
    """transformers 5.23 counts nothing, samples only where the model's own settings say so, and takes one text."""
    if "messages" in body:
        body["messages"] = [{key: part for key, part in turn.items() if part is not None} for turn in body["messages"]]
        length = prompts.of_messages(model, body["messages"], body)
        param = "messages"
    else:
        body["prompt"] = _one_text(body["prompt"], model, prompts)
        length, param = prompts.of_text(model, body["prompt"]), "prompt"
    body["max_tokens"] = _room(body, length, param, settings)
    body.pop("max_completion_tokens", None)
    body.pop("stream_options", None)  # a stream's last chunk has the usage in any case
    if body.get("temperature") != 0 and ("temperature" in body or body.get("top_p", 1) < 1):
        # Without do_sample temperature and top_p do nothing; it can be asked for only with a whole configuration.
        own = {"top_k": 0, **prompts.sampling.get(model, {}), "do_sample": True}
        body["generation_config"] = json.dumps({**own, "max_new_tokens": body["max_tokens"]})
    if "logit_bias" in body:
        body["logit_bias"] = _float_biases(body["logit_bias"], prompts.vocabulary(model))
    return body


def _room(body: Mapping[str, Any], length: int, param: str, settings: GatewaySettings) -> int:
    """Tokens for the answer: those asked for, else the number that memory was counted for, within what is left."""
    if length > settings.prompt_tokens:
        said = f"the prompt has {length:,} tokens, and {settings.prompt_tokens:,} is the most"
        raise too_long(settings.tokens, said, param)
    left = settings.tokens - length
    asked = next(((name, body[name]) for name in _ANSWER if name in body), None)
    if asked is not None and asked[1] > left:
        said = f"the prompt has {length:,} tokens, and {asked[0]} asks for {asked[1]:,} more"
        raise too_long(settings.tokens, said, asked[0])
    return int(asked[1]) if asked is not None else min(settings.answer_tokens, left)


def _one_text(prompt: object, model: str, prompts: CountsPrompts) -> str:
    """A prompt of text or tokens, alone or as a list of one."""
    if isinstance(prompt, list) and len(prompt) == 1 and not isinstance(prompt[0], int):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and all(isinstance(token, int) for token in prompt):
        return prompts.text_of(model, prompt)
    raise bad("prompt", "this server takes one prompt a request", "unsupported_parameter")


def _float_biases(biases: Mapping[str, float], vocabulary: int) -> dict[str, float]:
    """transformers takes floats only, and fails on a token that the model does not have (logits_process.py,
    SequenceBiasLogitsProcessor)."""
    for token in biases:
        if int(token) >= vocabulary:
            raise bad(f"logit_bias.{token}", f"logit_bias has a token beyond the model's {vocabulary:,}")
    return {token: float(bias) for token, bias in biases.items()}
