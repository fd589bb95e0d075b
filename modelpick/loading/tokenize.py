"""Examples become token ids and labels: the chat template for chat, and loss on the answers only."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from modelpick.catalog.architecture import Kind
from modelpick.datasets.examples import Example, Problem
from modelpick.datasets.split import check_kind
from modelpick.errors import UsageError
from modelpick.loading import chat_template
from modelpick.loading.chat_template import Rendered, rendered

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_TOGETHER = 1000  # texts that a tokenizer is given at once: it works through them in parallel
_NO_STOP = "the tokenizer has no end token, so none is learned"
IGNORED = -100  # torch.nn.CrossEntropyLoss's ignore_index


class EncodedRow(TypedDict):
    """What a collator takes of one example: token ids, and a label for each token, or the one of an encoder's text."""

    input_ids: list[int]
    labels: Any  # list[int], or int


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows ready for a collator, what had to be cut or left out to fit the context, and notes on how they were made."""

    rows: tuple[EncodedRow, ...]
    cut: int
    left_out: int
    longest: int
    tokens: int
    notes: tuple[str, ...] = ()


def encode(
    examples: Sequence[Example],
    tokenizer: "PreTrainedTokenizerBase",
    kind: Kind,
    context: int,
    labels: Sequence[str] = (),
) -> Encoded:
    """Token ids and labels of every example, at most `context` tokens each.

    An example whose question alone fills the context has nothing to learn from and is left out; one whose answer does
    not fit is cut. Raises UsageError when nothing is left, when the data's form does not suit the kind of model, or
    with the code of the first problem for which a row would not teach what its example says.
    """
    rows, cut, left_out, longest, tokens = [], 0, 0, 0, 0
    made = tokenized(examples, tokenizer, kind, labels)
    _refuse_problems(made)
    for row in (row for one in made for row in one.rows):
        classified = isinstance(row["labels"], int)
        wide = max(len(row["input_ids"]), 0 if classified else len(row["labels"]))
        longest = max(longest, wide)
        cut += int(wide > context)
        ids = row["input_ids"][:context]
        taught = row["labels"] if classified else row["labels"][:context]
        if not classified and all(label == IGNORED for label in taught):
            left_out += 1
            continue
        tokens += len(ids)
        rows.append(EncodedRow(input_ids=ids, labels=taught))
    if examples and not rows:
        raise UsageError(
            f"no example's question fits in {context} tokens",
            fix=f"raise --context (the longest has {longest})",
            code="context_too_short",
        )
    return Encoded(tuple(rows), cut, left_out, longest, tokens, _notes(made))


@dataclass(frozen=True, slots=True)
class Tokenized:
    """The rows of one example, whole, and what does not hold of them."""

    example: Example
    rows: tuple[EncodedRow, ...]
    problems: tuple[Problem, ...]


def tokenized(
    examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase", kind: Kind, labels: Sequence[str] = ()
) -> list[Tokenized]:
    """The rows of every example and what does not hold of them: parts that are lost, no stop token, doubled ones.

    Raises UsageError(code="wrong_form") where the form of the data does not suit the kind of model, and
    code="broken_template".
    """
    _check_form(examples, kind)
    if kind == "decoder":
        return [
            one
            for start in range(0, len(examples), _TOGETHER)
            for one in _decoder(examples[start : start + _TOGETHER], tokenizer)
        ]
    if kind == "encoder-decoder":
        return [_encoder_decoder(example, tokenizer) for example in examples]
    numbers = {name: number for number, name in enumerate(labels)}
    texts = _ids(tokenizer, [example.prompt for example in examples])
    return [
        Tokenized(example, (EncodedRow(input_ids=ids, labels=numbers[example.answer or ""] if labels else 0),), ())
        for example, ids in zip(examples, texts, strict=True)
    ]


def lengths(made: Sequence[Tokenized]) -> list[int]:
    """The tokens that each example takes of the context."""

    def width(row: EncodedRow) -> int:
        return max(len(row["input_ids"]), 0 if isinstance(row["labels"], int) else len(row["labels"]))

    return [max((width(row) for row in one.rows), default=0) for one in made]


def _refuse_problems(made: Sequence[Tokenized]) -> None:
    errors = [problem for one in made for problem in one.problems if problem.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1:,} more)" if len(errors) > 1 else ""
        raise UsageError(
            f"line {errors[0].line}: {errors[0].text}{more}",
            fix=FIXES.get(errors[0].code, "see them all with: modelpick data check FILE --model MODEL"),
            code=errors[0].code,
        )


def _notes(made: Sequence[Tokenized]) -> tuple[str, ...]:
    """What a run says of its rows: each warning once, with how many examples it is about."""
    counts = Counter(problem.text for one in made for problem in one.problems)
    notes = [f"{text} ({count:,} example{'s' if count > 1 else ''})" for text, count in counts.items()]
    several = sum(len(one.rows) > 1 for one in made)
    if several:
        rows = sum(len(one.rows) for one in made if len(one.rows) > 1)
        notes.append(
            f"{several:,} chats are {rows:,} rows, one an answer: the chat template renders an earlier answer otherwise"
        )
    return tuple(notes)


FIXES = {
    "template_refused": "give turns in the order user, assistant, ... and put system text into the first user turn",
    "system_lost": "put the system text into the first user turn, or pick a model whose template has a system turn",
    "tools_lost": "pick a model whose chat template has tools, or leave out tools",
    "tool_call_lost": "pick a model whose chat template has tool calls, or write the call into content",
    "reasoning_lost": "write the thought into content, or leave out reasoning_content",
    "no_stop_token": "set eos_token in tokenizer_config.json: without it the model never learns to stop",
    "stop_not_learned": "end the assistant's turn with the stop token in chat_template, or set eos_token",
    "doubled_special": "take the special tokens out of the text: the template adds them",
}


def prompt_text(example: Example, tokenizer: "PreTrainedTokenizerBase", kind: Kind) -> str:
    """What the model is shown before it answers."""
    if kind == "decoder" and not example.is_plain and example.form != "classification":
        return chat_template.prompt_of(example, tokenizer)
    return example.prompt


def _check_form(examples: Sequence[Example], kind: Kind) -> None:
    judged = next((example.form for example in examples if example.form in ("preference", "thumbs")), None)
    if judged:
        raise UsageError(
            f"these examples are {'pairs of answers' if judged == 'preference' else 'judged answers'}",
            fix="give examples with one answer to learn",
            code="wrong_form",
        )
    for form in dict.fromkeys(example.form for example in examples):
        check_kind(form, kind)


def _decoder(examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase") -> list[Tokenized]:
    """Rows of causal examples, tokenized together."""
    texts: list[Rendered] = []
    parts: list[tuple[int, list[Problem]]] = []
    for example in examples:
        own, problems = ([], []) if example.is_plain else rendered(example, tokenizer)
        texts += own
        parts.append((len(own), problems))
    rows = _rows(texts, tokenizer)
    made = []
    for example, (count, problems) in zip(examples, parts, strict=True):
        mine = (_plain(example, tokenizer),) if example.is_plain else tuple(itertools.islice(rows, count))
        made.append(Tokenized(example, mine, (*problems, *_problems(example, mine, tokenizer))))
    return made


def _plain(example: Example, tokenizer: "PreTrainedTokenizerBase") -> EncodedRow:
    prompt = tokenizer(example.prompt, add_special_tokens=False)["input_ids"] if example.prompt else []
    answer = tokenizer(example.answer, add_special_tokens=False)["input_ids"]
    start = [tokenizer.bos_token_id] if begins_with_bos(tokenizer) else []
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    known = start + prompt
    return {"input_ids": known + answer + end, "labels": [IGNORED] * len(known) + answer + end}


def _rows(texts: Sequence[Rendered], tokenizer: Any) -> Iterator[EncodedRow]:
    """Ids and labels of rendered texts: a token is learned when any of its characters is."""
    if not getattr(tokenizer, "is_fast", False):
        yield from (_in_pieces(text, tokenizer) for text in texts)
        return
    if not texts:
        return
    made = tokenizer([text.text for text in texts], add_special_tokens=False, return_offsets_mapping=True)
    for text, ids, offsets in zip(texts, made["input_ids"], made["offset_mapping"], strict=True):
        labels, spans, at = [], text.learned, 0
        for id, (start, end) in zip(ids, offsets, strict=True):
            while at < len(spans) and start >= spans[at][1]:
                at += 1
            inside = at < len(spans) and max(end, start + 1) > spans[at][0]
            labels.append(id if inside else IGNORED)
        yield {"input_ids": ids, "labels": labels}


def _in_pieces(text: Rendered, tokenizer: Any) -> EncodedRow:
    """A row by a tokenizer that does not say where its tokens stand: cut where learning begins and ends."""
    ids: list[int] = []
    labels: list[int] = []
    at = 0
    for start, end in text.learned:
        for piece, learned in ((text.text[at:start], False), (text.text[start:end], True)):
            found = tokenizer(piece, add_special_tokens=False)["input_ids"] if piece else []
            ids += found
            labels += found if learned else [IGNORED] * len(found)
        at = end
    return {"input_ids": ids, "labels": labels}


def _problems(example: Example, rows: Sequence[EncodedRow], tokenizer: Any) -> Iterator[Problem]:
    """What does not hold of the tokens: each answer ends with a stop token that is learned, none is doubled."""
    special = _special(tokenizer)
    if example.is_plain and tokenizer.eos_token_id is None:
        yield Problem(example.line, "no_stop_token", _NO_STOP)
        return
    for row in rows:
        ids, labels = row["input_ids"], row["labels"]
        answers = (list(part) for learned, part in itertools.groupby(labels, lambda label: label != IGNORED) if learned)
        if not all(special.intersection(answer) for answer in answers):
            yield Problem(example.line, "stop_not_learned", "no stop token follows the answer, so none is learned")
            return
        doubled = next((a for a, b in itertools.pairwise(ids) if a == b and a in special), None)
        if doubled is not None:
            name = tokenizer.convert_ids_to_tokens(doubled)
            yield Problem(example.line, "doubled_special", f"the special token {name} stands there twice in a row")
            return


def _special(tokenizer: Any) -> frozenset[int]:
    """The ids of control tokens: what ends a turn is one of them."""
    marked = (id for id, token in tokenizer.added_tokens_decoder.items() if token.special)
    return frozenset((*tokenizer.all_special_ids, *marked)) - {tokenizer.unk_token_id}


def _encoder_decoder(example: Example, tokenizer: "PreTrainedTokenizerBase") -> Tokenized:
    """A row for each answer of an example: what came before it is read by the encoder, as plain text."""
    reply = example.reply
    turns = [*example.turns, *([reply] if reply is not None else [])]
    if example.tools or any(turn.calls or turn.reasoning for turn in turns):
        text = "an encoder-decoder has no chat template, so no place for tools, their calls and reasoning"
        return Tokenized(example, (), (Problem(example.line, "tools_lost", text),))
    rows = []
    for place, turn in enumerate(turns):
        if turn.role == "assistant" and turn.learned:
            asked = tokenizer("\n".join(before.content for before in turns[:place]))["input_ids"]
            answer = tokenizer(text_target=turn.content)["input_ids"]
            if tokenizer.eos_token_id is not None and answer[-1:] != [tokenizer.eos_token_id]:
                answer = [*answer, tokenizer.eos_token_id]
            rows.append(EncodedRow(input_ids=asked, labels=answer))
    lacking = tokenizer.eos_token_id is None
    problems = (Problem(example.line, "no_stop_token", _NO_STOP),) if lacking else ()
    return Tokenized(example, tuple(rows), problems)


def _ids(tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> list[list[int]]:
    found: list[list[int]] = []
    for start in range(0, len(texts), _TOGETHER):
        found.extend(tokenizer(texts[start : start + _TOGETHER])["input_ids"])
    return found


def begins_with_bos(tokenizer: Any) -> bool:
    """Whether the tokenizer itself puts its begin token before a text."""
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
