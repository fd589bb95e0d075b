"""Counts a prompt's tokens with the model's own tokenizer and chat template, for a server that does not count. I/O."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelpick import files
from modelpick.errors import ModelpickError, first_line
from modelpick.serving.gateway.refusal import bad

# Of a model without generation_config.json transformers takes these from config.json
# (generation/configuration_utils.py, GenerationConfig.from_model_config).
_TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


class PromptTokens:
    """The tokenizers and sampling defaults of the served names."""

    def __init__(self, folders: Mapping[str, str]) -> None:
        from transformers import AutoTokenizer

        self._tokenizers: dict[str, Any] = {
            name: AutoTokenizer.from_pretrained(folder, local_files_only=True) for name, folder in folders.items()
        }
        self.sampling: Mapping[str, Mapping[str, Any]] = {
            name: _sampling_defaults(Path(folder)) for name, folder in folders.items()
        }

    def of_messages(self, model: str, messages: list[dict[str, Any]], body: Mapping[str, Any]) -> int:
        """Tokens of a conversation as transformers 5.23 gives it to the model (cli/serving/utils.py,
        get_processor_inputs_from_messages). Raises Refused where the model's template does not take it."""
        tokenizer = self._tokenizers[model]
        if not getattr(tokenizer, "chat_template", None):
            raise bad("messages", "this model has no chat template: ask /v1/completions", "no_chat_template")
        try:
            encoded = tokenizer.apply_chat_template(
                [plain_turn(message) for message in messages],
                add_generation_prompt=True,
                tools=body.get("tools"),
                tokenize=True,
                return_dict=True,
                **body.get("chat_template_kwargs", {}),
            )
        except Exception as error:  # whatever a template raises: jinja2's errors, or of a type it did not expect
            raise bad("messages", f"the model's chat template refuses it: {first_line(error)}") from None
        return len(encoded["input_ids"])

    def of_text(self, model: str, text: str) -> int:
        """Tokens of a plain prompt."""
        return len(self._tokenizers[model](text)["input_ids"])

    def text_of(self, model: str, tokens: list[int]) -> str:
        """The text that the tokenizer makes exactly `tokens` of. Raises Refused where there is none."""
        tokenizer = self._tokenizers[model]
        if max(tokens) >= len(tokenizer):
            raise bad("prompt", f"prompt has a token beyond the model's {len(tokenizer):,}")
        for kept in (tokens, tokens[1:]):  # a tokenizer may put its first token before every text
            text = str(tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False))
            if tokenizer(text)["input_ids"] == tokens:
                return text
        raise bad("prompt", "this server takes text, and no text has exactly these tokens", "unsupported_parameter")

    def vocabulary(self, model: str) -> int:
        """How many tokens there are."""
        return len(self._tokenizers[model])


def plain_turn(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as the server gives it to the template: parts as one text, arguments as an object."""
    content = message.get("content") or ""
    if isinstance(content, list):
        content = " ".join(part["text"] for part in content)
    turn: dict[str, Any] = {"role": message["role"], "content": content}
    if message.get("tool_calls"):
        turn |= {"content": "", "tool_calls": [_parsed(call) for call in message["tool_calls"]]}
    if message.get("tool_call_id") is not None:
        turn["tool_call_id"] = message["tool_call_id"]
    return turn


def _parsed(call: Mapping[str, Any]) -> dict[str, Any]:
    function = dict(call["function"])
    if isinstance(function["arguments"], str):
        function["arguments"] = json.loads(function["arguments"])
    return {**call, "function": function}


def _sampling_defaults(folder: Path) -> dict[str, Any]:
    """The model's generation_config.json, else what config.json says of its special tokens."""
    for name, keys in (("generation_config.json", None), ("config.json", _TOKEN_IDS)):
        try:
            content = files.read_json(folder / name, code="bad_model")
        except ModelpickError:
            continue
        if isinstance(content, dict):
            return {key: value for key, value in content.items() if keys is None or (key in keys and value is not None)}
    return {}
