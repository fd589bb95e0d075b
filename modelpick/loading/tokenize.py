"""Examples become token ids and labels: the chat template for chat, and loss on the answers only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from modelpick.catalog.architecture import Kind
from modelpick.datasets.examples import Example
from modelpick.errors import UsageError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_TOGETHER = 1000  # texts that a tokenizer is given at once: it works through them in parallel
IGNORED = -100  # torch.nn.CrossEntropyLoss's ignore_index


class EncodedRow(TypedDict):
    """What a collator takes of one example: token ids, and a label for each token, or the one of an encoder's text."""

    input_ids: list[int]
    labels: Any  # list[int], or int


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows ready for a collator, and what had to be cut or left out to fit the context."""

    rows: tuple[EncodedRow, ...]
    cut: int
    left_out: int
    longest: int
    tokens: int


def encode(
    examples: Sequence[Example],
    tokenizer: "PreTrainedTokenizerBase",
    kind: Kind,
    context: int,
    labels: Sequence[str] = (),
) -> Encoded:
    """Token ids and labels of every example, at most `context` tokens each.

    An example whose question alone fills the context has nothing to learn from and is left out; one whose answer does
    not fit is cut. Raises UsageError when nothing is left, or when the data's form does not suit the kind of model.
    """
    _check_form(examples, kind)
    rows, cut, left_out, longest, tokens = [], 0, 0, 0, 0
    numbers = {name: number for number, name in enumerate(labels)}
    for example in examples:
        row = _ENCODERS[kind](example, tokenizer)
        longest = max(longest, len(row["input_ids"]), len(row["labels"]))
        cut += int(len(row["input_ids"]) > context or (kind == "encoder-decoder" and len(row["labels"]) > context))
        row = {"input_ids": row["input_ids"][:context], "labels": row["labels"][:context]}
        if kind == "encoder":
            row["labels"] = numbers[example.answer or ""]
        elif all(label == IGNORED for label in row["labels"]):
            left_out += 1
            continue
        tokens += len(row["input_ids"])
        rows.append(row)
    if examples and not rows:
        raise UsageError(
            f"no example's question fits in {context} tokens",
            fix=f"raise --context (the longest has {longest})",
            code="context_too_short",
        )
    return Encoded(tuple(rows), cut, left_out, longest, tokens)


def lengths(examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase", kind: Kind) -> list[int]:
    """The tokens that each example takes of the context when `kind` is trained on it. Raises UsageError as `encode`."""
    _check_form(examples, kind)

    def counts(texts: list[str], **options: Any) -> list[int]:
        found: list[int] = []
        for start in range(0, len(texts), _TOGETHER):
            found.extend(map(len, tokenizer(texts[start : start + _TOGETHER], **options)["input_ids"]))
        return found

    answers = [example.answer or "" for example in examples]
    if kind == "encoder":
        return counts([example.prompt for example in examples])
    if kind == "encoder-decoder":
        rows = zip(examples, counts([example.prompt for example in examples]), strict=True)
        return [max(asked, len(_encoder_decoder(example, tokenizer)["labels"])) for example, asked in rows]
    if examples and examples[0].form == "completion":
        ends = int(begins_with_bos(tokenizer)) + int(tokenizer.eos_token_id is not None)
        prompts = counts([example.prompt for example in examples], add_special_tokens=False)
        both = zip(prompts, counts(answers, add_special_tokens=False), strict=True)
        return [ends + asked + answered for asked, answered in both]
    pairs = zip(examples, answers, strict=True)
    whole = [
        _template_text(tokenizer, [*example.messages(), {"role": "assistant", "content": answer}])
        for example, answer in pairs
    ]
    return counts(whole, add_special_tokens=False)


def prompt_text(example: Example, tokenizer: "PreTrainedTokenizerBase", kind: Kind) -> str:
    """What the model is shown before it answers."""
    if kind == "decoder" and example.form in ("chat", "instruction"):
        return str(tokenizer.apply_chat_template(example.messages(), tokenize=False, add_generation_prompt=True))
    return example.prompt


def _check_form(examples: Sequence[Example], kind: Kind) -> None:
    classified = any(example.form == "classification" for example in examples)
    if kind == "encoder" and not classified:
        raise UsageError(
            "an encoder learns to classify, and these examples have no label",
            fix="give text and label fields, or pick a decoder or encoder-decoder model",
            code="wrong_form",
        )
    if kind == "decoder" and classified:
        raise UsageError(
            "a decoder learns answers, and these examples have labels",
            fix="rename text and label to prompt and completion, or pick an encoder",
            code="wrong_form",
        )


def _decoder(example: Example, tokenizer: "PreTrainedTokenizerBase") -> EncodedRow:
    if example.form == "completion":
        prompt = tokenizer(example.prompt, add_special_tokens=False)["input_ids"] if example.prompt else []
        answer = tokenizer(example.answer, add_special_tokens=False)["input_ids"]
        start = [tokenizer.bos_token_id] if begins_with_bos(tokenizer) else []
        end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
        known = start + prompt
        return {"input_ids": known + answer + end, "labels": [IGNORED] * len(known) + answer + end}
    messages = example.messages()
    before = _template_ids(tokenizer, messages, add_generation_prompt=True)
    whole = _template_ids(tokenizer, [*messages, {"role": "assistant", "content": example.answer or ""}])
    # Some templates render the opening of an answer differently once the answer is there: what both share is given.
    shared = next(
        (i for i, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b), min(len(before), len(whole))
    )
    return {"input_ids": whole, "labels": [IGNORED] * shared + whole[shared:]}


def _template_ids(tokenizer: Any, messages: list[dict[str, str]], **options: Any) -> list[int]:
    text = _template_text(tokenizer, messages, **options)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _template_text(tokenizer: Any, messages: list[dict[str, str]], **options: Any) -> str:
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, **options))
    except Exception as error:  # jinja2 errors: a template that refuses a system turn, or turns out of order
        raise UsageError(
            f"the model's chat template rejects an example: {first_line(error)}",
            fix="give turns in the order user, assistant, ... and put system text into the first user turn",
            code="template_refused",
        ) from None


def _encoder_decoder(example: Example, tokenizer: "PreTrainedTokenizerBase") -> EncodedRow:
    asked = tokenizer(example.prompt)["input_ids"]
    answer = tokenizer(text_target=example.answer)["input_ids"]
    if tokenizer.eos_token_id is not None and answer[-1:] != [tokenizer.eos_token_id]:
        answer = [*answer, tokenizer.eos_token_id]
    return {"input_ids": asked, "labels": answer}


def _encoder(example: Example, tokenizer: "PreTrainedTokenizerBase") -> EncodedRow:
    return {"input_ids": tokenizer(example.prompt)["input_ids"], "labels": []}


def begins_with_bos(tokenizer: Any) -> bool:
    """Whether the tokenizer itself puts its begin token before a text."""
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]


_ENCODERS = {"decoder": _decoder, "encoder-decoder": _encoder_decoder, "encoder": _encoder}
