"""The forms that people write training data in: one row of FORMS each. Pure.

A row names the keys that it must have, the keys that change what is learned, and the reader that turns a record into
an Example. A key that changes what is learned is read, or refused by name (REFUSED, turns.REFUSED); any other is
reported as not read. A new form is one row and one reader.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from modelpick.datasets import turns as turns_
from modelpick.datasets.examples import BadExampleError, Example, Form, Turn, is_absent
from modelpick.datasets.turns import MEDIA, one_of, refuse, tools_of, turn_of, turns_of
from modelpick.errors import UsageError

# One example longer than this is a file pasted by mistake: about 250,000 tokens at 4 characters a token, more than any
# model of the catalog trains on in one sequence.
LONGEST_CHARACTERS = 1_000_000
_LONE = re.compile("[\ud800-\udfff]")  # JSON can write it (\\ud800), UTF-8 and every tokenizer refuse it

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RecordReading:
    """How a record is read: where it stands, whether an answer must be there, and the keys that nothing reads."""

    line: int
    labelled: bool
    ignored: set[str]


@dataclass(frozen=True, slots=True)
class FormRow:
    """One form of record.

    - `required`: of each group one key must be there (which of them is read); `meaning`: further keys that are read.
    - `known`: keys without a meaning for training, which are not reported.
    - `texts_alone`: other columns of text make it unclear what is learned, and are refused.
    """

    name: str
    form: Form
    required: tuple[tuple[str, ...], ...]
    meaning: tuple[str, ...]
    reader: Callable[[Record, RecordReading], Example]
    known: tuple[str, ...] = ("id", "idx", "index", "uuid", "source")
    texts_alone: bool = False

    def matches(self, keys: frozenset[str]) -> bool:
        """Whether a record with these keys is in this form."""
        return all(not keys.isdisjoint(group) for group in self.required)

    @property
    def reads(self) -> frozenset[str]:
        """Every key that the reader reads, or may leave unread without a word."""
        return frozenset(self.meaning) | frozenset(self.known) | {key for group in self.required for key in group}


# Keys that would change what is learned in any form, and that no reader supports.
REFUSED: Mapping[str, str] = {
    **{key: reason for key, reason in turns_.REFUSED.items() if reason is MEDIA},
    **dict.fromkeys(
        ("input_ids", "labels", "attention_mask", "completion_mask", "assistant_masks"),
        "tokens of another tokenizer cannot be trained on: give the text",
    ),
    "chat_template_kwargs": "options of the template by example are not supported",
    "weight": "an example counts once: leave out what is to count less, or repeat what is to count more",
    "sample_weight": "an example counts once: leave out what is to count less, or repeat what is to count more",
    "function_call": "one forced call for a whole chat is not supported: give the call as an assistant turn",
    "mask_history": "flag the turns that are not learned with train: false",
    "margin": "a pair counts as one: margins are not supported",
}  # fmt: skip

_ANSWERS = ("output", "response", "answer", "completion")
_TEXT_SYSTEM = (
    "a prompt with its completion is trained without the chat template, which has no place for it: use messages"
)


def read_record(
    record: Any, line: int, *, labelled: bool = True, mapped: bool = False
) -> tuple[Example, FormRow, frozenset[str]]:
    """The example of one record, its form, and the keys that nothing reads.

    `labelled=False` reads a pool: an answer may be absent. `mapped`: the user has said which columns are meant, so that
    others are only reported. Raises BadExampleError when the record is not an example.
    """
    if not isinstance(record, Mapping):
        written = json.dumps(record, ensure_ascii=False, default=str)
        shown = written if len(written) <= 40 else f"{written[:40]}..."
        raise BadExampleError("not_an_object", f"{shown}, not an object with named fields")
    record = {key: value for key, value in record.items() if value is not None}  # tables fill every column
    row = form_row(record)
    reads = _READS[row.name]
    ignored: set[str] = set()
    if not record.keys() <= reads:
        refuse({key: value for key, value in record.items() if key not in reads}, REFUSED)
        ignored = {str(key) for key in record if key not in reads and key not in REFUSED}
        if row.texts_alone and not mapped:
            _refuse_other_texts(record, row, ignored)
    source = record.get("source")
    if not isinstance(source, str | None):
        raise BadExampleError("not_text", f"source is a {type(source).__name__}, not the name of one data set")
    seen = _Record(record)
    example = row.reader(seen, RecordReading(line, labelled, ignored))
    if not record.keys() <= seen.read:
        _refuse_unread(record, row, seen.read)
    _check(example, record, labelled)
    if source is not None:
        example = replace(example, source=source)
    return example, row, frozenset(ignored)


class _Record(dict[str, Any]):
    """A record that remembers which of its keys were read."""

    def __init__(self, record: Record) -> None:
        super().__init__(record)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """The value under a key, noted as read."""
        self.read.add(key)
        return super().get(key, default)


def _refuse_unread(record: Record, row: FormRow, read: set[str]) -> None:
    """Raise BadExampleError for a key with a meaning that the reader had no use for."""
    for key in record:
        if key in row.reads and key not in row.known and key not in read and not is_absent(record[key]):
            raise BadExampleError(
                "not_supported",
                f"{key} has no place in the form {row.name}: leave it out, or write it into the turns",
            )


def example_from(record: Any, line: int, *, labelled: bool = True) -> Example:
    """The example of one record, as `read_record` reads it."""
    return read_record(record, line, labelled=labelled)[0]


def form_row(record: Record) -> FormRow:
    """The row of the form a record is written in. Raises BadExampleError(code="unknown_form") naming the keys found."""
    said = frozenset(key for key, value in record.items() if value or value.__class__ not in (list, dict))
    for keys in (said, frozenset(record)):
        row = _row_of(keys)
        if row is not None:
            return row
    found = ", ".join(sorted(map(str, record))[:6]) or "no keys"
    raise BadExampleError(
        "unknown_form",
        f"keys {found}: neither messages, instruction/output, prompt/completion nor text/label; "
        "--columns names them, as question=KEY,answer=KEY",
    )


@lru_cache(maxsize=1024)
def _row_of(keys: frozenset[str]) -> FormRow | None:
    return next((row for row in FORMS if row.matches(keys)), None)


def columns_of(record: Any, names: Collection[str]) -> dict[str, str]:
    """Of the columns named those that a record has, each with its key there: case aside where nothing else is meant."""
    if not isinstance(record, dict):
        return {}
    lower = {str(key).lower(): key for key in record}
    found = {name: name if name in record else lower.get(name.lower()) for name in names}
    return {name: key for name, key in found.items() if key is not None}


def renamed(record: Any, columns: Mapping[str, str]) -> tuple[Any, frozenset[str]]:
    """A record with the columns that `columns` (ours -> theirs) names under our names, and the columns of its own that
    they replace. Pure."""
    theirs = columns_of(record, columns.values())
    if not theirs:
        return record, frozenset()
    meant = {ours: theirs[name] for ours, name in columns.items() if name in theirs}
    replaced = frozenset(key for key in record if key in columns and key not in meant.values())
    rest = {key: value for key, value in record.items() if key not in meant.values() and key not in columns}
    # A mapped text stands alone: the user has said which column is meant.
    return {**rest, **{ours: record[key] for ours, key in meant.items()}}, replaced


def parse_columns(text: str | None) -> dict[str, str]:
    """The columns that `ours=theirs,...` names, ours -> theirs; {} for None.

    Raises UsageError(code="bad_columns") for what is not that, and for a name of ours that no form has.
    """
    columns: dict[str, str] = {}
    for pair in (text or "").split(",") if text else ():
        ours, equals, theirs = (part.strip() for part in pair.partition("="))
        known = sorted({key for row in FORMS for key in row.reads if key not in _NO_COLUMN})
        if not equals or not theirs or ours not in known:
            raise UsageError(
                f"{pair.strip()!r} does not name a column as OURS=THEIRS",
                fix=f"write --columns question=KEY,answer=KEY; ours are {', '.join(known)}",
                code="bad_columns",
            )
        columns[ours] = theirs
    return columns


_NO_COLUMN = ("id", "idx", "index", "uuid")


def _refuse_other_texts(record: Record, row: FormRow, ignored: set[str]) -> None:
    others = sorted(key for key in ignored if isinstance(record.get(key), str) and record[key].strip())
    if others:
        mine = next(key for group in row.required for key in group if key in record)
        raise BadExampleError(
            "unclear_columns",
            f"{mine} and {', '.join(others[:3])}: which is asked and which is learned is not known; say it with "
            f"--columns prompt={mine},completion={others[0]}, or --columns text={mine} to learn {mine} alone",
        )


def _check(example: Example, record: Record, labelled: bool) -> None:
    text = example.text
    if len(text) > LONGEST_CHARACTERS:
        raise BadExampleError("too_large", f"{len(text):,} characters in one example")
    beside = [*example.tools, *(word for turn in example.turns for word in (turn.name, turn.call_id) if word)]
    if any(not said.isascii() and _LONE.search(said) for said in (text, *beside)):
        raise BadExampleError("not_unicode", "half of a surrogate pair, which is not a character")
    if not example.prompt.strip() and not (example.form == "completion" and example.answer):
        raise BadExampleError("empty", "the question is empty")
    if labelled and not (example.answer or "").strip() and not example.calls:
        raise BadExampleError("empty", "the answer is empty" + _unread(record))
    for turn in example.turns:
        if turn.role == "assistant" and turn.learned and not turn.content.strip() and not turn.calls:
            raise BadExampleError("empty", "an answer is empty: give it, or flag the turn with train: false")


def _unread(record: Record) -> str:
    """The other keys of a record without an answer: the column that was meant, under another name."""
    others = [
        key for key in map(str, record) if key not in ("prompt", "instruction", "question", "input", "source", "id")
    ]
    return f" (no answer that this form reads among {', '.join(others[:4])})" if others else ""


# The readers ---------------------------------------------------------------------------------------------------------


def _chat(record: Record, reading: RecordReading) -> Example:
    one_of({name: record.get(name) or None for name in _CHATS}, _CHATS)
    name = "messages" if not is_absent(record.get("messages")) else "conversations"
    return chat_example(_turns(record, name, reading), record, reading)


def _turns(record: Record, name: str, reading: RecordReading) -> list[Turn]:
    """The turns under a key, after the system turn that LLaMA-Factory keeps apart."""
    found = turns_of(record.get(name), reading.ignored, name)
    system = _text(record, "system")
    if not system:
        return found
    if found[0].role == "system":
        raise BadExampleError("two_meanings", f"system and a system turn in {name}: leave one")
    return [Turn("system", system), *found]


def chat_example(turns: list[Turn], record: Record, reading: RecordReading) -> Example:
    """A chat up to the last answer that is learned. Raises BadExampleError where there is none."""
    tools = tools_of(one_of(record, ("tools", "functions")))
    last = max((at for at, turn in enumerate(turns) if turn.role == "assistant" and turn.learned), default=None)
    if last is None:
        if any(turn.role == "assistant" for turn in turns):
            raise BadExampleError("nothing_learned", "every answer is flagged as not learned")
        if reading.labelled:
            raise BadExampleError("bad_chat", "no assistant turn to learn from")
        return Example(reading.line, "chat", tuple(turns), None, tools=tools)
    if len(turns) > last + 1:
        reading.ignored.add("what follows the last learned answer of a chat")
    return _answered(Example(reading.line, "chat", tuple(turns[:last]), None, tools=tools), turns[last])


def _answered(example: Example, reply: Turn) -> Example:
    return replace(example, answer=reply.content, reasoning=reply.reasoning, calls=reply.calls)


def _instruction(record: Record, reading: RecordReading) -> Example:
    asked = _text(record, "instruction", "question") or ""
    extra = _text(record, "input", "context")
    system = _text(record, "system")
    turns = [Turn("system", system)] if system else []
    for pair in _history(record.get("history")):
        turns += [Turn("user", pair[0]), Turn("assistant", pair[1])]  # learned too, as LLaMA-Factory does
    turns.append(Turn("user", f"{asked}\n\n{extra}" if extra else asked))
    tools = tools_of(record.get("tools"))
    reasoning = _text(record, *turns_.REASONING)
    answer = _text(record, *_ANSWERS)
    return Example(reading.line, "instruction", tuple(turns), answer, reasoning=reasoning or None, tools=tools)


def _history(raw: Any) -> list[tuple[str, str]]:
    if is_absent(raw):
        return []
    raw = turns_.listed(raw)
    pairs: list[Any] = raw if isinstance(raw, list) else [None]
    if not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in pairs
    ):
        raise BadExampleError("bad_history", "history is not a list of pairs of question and answer")
    return [(pair[0], pair[1]) for pair in pairs]


def _completion(record: Record, reading: RecordReading) -> Example:
    prompt = one_of(record, ("prompt",))
    if isinstance(prompt, list):  # TRL's conversational form
        return chat_example(_prompted(record, one_of(record, _ANSWERS), reading), record, reading)
    for key in ("tools", "system", *turns_.REASONING):
        if not is_absent(record.get(key)):
            raise BadExampleError("not_supported", f"{key}: {_TEXT_SYSTEM}")
    answer = _text(record, *_ANSWERS)
    return Example(reading.line, "completion", (Turn("user", _text(record, "prompt") or ""),), answer)


def _prompted(record: Record, completion: Any, reading: RecordReading) -> list[Turn]:
    """The turns of a prompt, none of which is learned, and of its completion (a text, a turn or a list of them)."""
    turns = [replace(turn, learned=False) for turn in turns_of(record["prompt"], reading.ignored, "prompt")]
    if is_absent(completion):
        return turns
    return [*turns, *_side(completion, "completion", reading)]


def _text_alone(record: Record, reading: RecordReading) -> Example:
    text = _text(record, "text")
    if reading.labelled:
        return Example(reading.line, "completion", (Turn("user", ""),), text)
    return Example(reading.line, "completion", (Turn("user", text or ""),), None)


def _classification(record: Record, reading: RecordReading) -> Example:
    label = record["label"]
    if isinstance(label, float) and label.is_integer():
        label = int(label)  # a table with a gap in it makes every whole number a float
    if not isinstance(label, str | int) or isinstance(label, bool):
        raise BadExampleError("bad_label", f"label {label!r} is neither a name nor a number")
    text = _text(record, "text", "sentence") or ""
    return Example(reading.line, "classification", (Turn("user", text),), str(label))


def _preference(record: Record, reading: RecordReading) -> Example:
    """A question with the answer that was chosen and the one that was rejected, in TRL's and LLaMA-Factory's shapes."""
    chosen, rejected = record["chosen"], record["rejected"]
    return _pair(_question(record, reading, (chosen, rejected)), chosen, rejected, reading)


def _openai_preference(record: Record, reading: RecordReading) -> Example:
    """OpenAI's: `input` has messages and tools, `preferred_output` and `non_preferred_output` are lists of turns."""
    asked = record.get("input")
    if not isinstance(asked, Mapping):
        raise BadExampleError("bad_pair", "input is not an object with messages")
    asked = {key: value for key, value in asked.items() if value is not None}
    refuse({key: value for key, value in asked.items() if key not in ("messages", "tools")}, REFUSED)
    reading.ignored.update(f"input.{key}" for key in asked if key not in ("messages", "tools"))
    example = _unanswered(
        "preference", turns_of(asked.get("messages"), reading.ignored, "input.messages"), asked, reading
    )
    return _pair(example, record["preferred_output"], record["non_preferred_output"], reading)


def _question(record: Record, reading: RecordReading, sides: tuple[Any, ...] = ()) -> Example:
    """What is asked in a preference or a judged answer: an example without its answer."""
    for name in ("messages", "conversations"):
        # UltraFeedback's messages are the chosen side once more.
        if not is_absent(record.get(name)) and record[name] not in sides:
            return _unanswered("preference", _turns(record, name, reading), record, reading)
    prompt = record.get("prompt")
    if isinstance(prompt, list):
        return _unanswered("preference", turns_of(prompt, reading.ignored, "prompt"), record, reading)
    if isinstance(prompt, str):
        lists = any(isinstance(side, list | Mapping) for side in sides)
        if not lists and not is_absent(record.get("system")):
            raise BadExampleError("not_supported", f"system: {_TEXT_SYSTEM}")
        system = _text(record, "system")
        before = [Turn("system", system)] if lists and system else []
        if lists and all(isinstance(side, list) and len(side) > 1 for side in sides):
            return _begun(before, prompt, _shared(sides, record, reading))
        return replace(_unanswered("preference", [*before, Turn("user", prompt)], record, reading), plain=not lists)
    if "instruction" in record or "question" in record:
        return replace(_instruction(record, reading), form="preference")
    if sides and all(isinstance(side, list) for side in sides):
        return _shared(sides, record, reading)
    raise BadExampleError("bad_pair", "no prompt: what the two answers were given to is not known")


def _begun(system: list[Turn], prompt: str, asked: Example) -> Example:
    """What is asked in the turns that two sides share, where the prompt's text is one of them, after a system turn."""
    if not any(turn.content.strip() == prompt.strip() for turn in asked.turns):
        raise BadExampleError("two_meanings", "prompt is none of the turns that chosen and rejected begin with")
    if not system or _said(system) == _said(asked.turns[:1]):
        return asked
    if asked.turns[0].role == "system":
        raise BadExampleError("two_meanings", "system and a system turn in chosen: leave one")
    return replace(asked, turns=(*system, *asked.turns))


def _shared(sides: tuple[Any, ...], record: Record, reading: RecordReading) -> Example:
    """What two whole chats have in common before they part."""
    shared = 0
    while shared < min(map(len, sides)) and sides[0][shared] == sides[1][shared]:
        shared += 1
    if not shared:
        raise BadExampleError("bad_pair", "chosen and rejected have no turn in common: what was asked is not known")
    if shared == len(sides[0]) == len(sides[1]):
        raise BadExampleError("equal_sides", "chosen and rejected are the same")
    return _unanswered("preference", turns_of(list(sides[0][:shared]), reading.ignored, "chosen"), record, reading)


def _unanswered(form: Form, turns: list[Turn], record: Record, reading: RecordReading) -> Example:
    """Turns that only ask. Raises BadExampleError where they end with an answer."""
    if turns[-1].role == "assistant":
        raise BadExampleError("bad_pair", "the question ends with an answer")
    quiet = tuple(replace(turn, learned=False) if turn.role == "assistant" else turn for turn in turns)
    return Example(reading.line, form, quiet, None, tools=tools_of(record.get("tools")))


def _pair(asked: Example, chosen: Any, rejected: Any, reading: RecordReading) -> Example:
    sides = ((chosen, "chosen"), (rejected, "rejected"))
    good, bad = (_one_reply(side, name, asked.turns, reading) for side, name in sides)
    if good.text.split() == bad.text.split():
        raise BadExampleError("equal_sides", "chosen and rejected are the same")
    if not bad.text.strip():
        raise BadExampleError("empty", "the rejected answer is empty")
    return replace(_answered(asked, good), rejected=bad)


def _one_reply(side: Any, name: str, asked: Sequence[Turn], reading: RecordReading) -> Turn:
    """The one answer of a side, which may say again what was asked.

    Raises BadExampleError where a side is a whole dialogue of its own, or answers something else.
    """
    *before, reply = _side(side, name, reading)
    if reply.role != "assistant" or len(before) > len(asked):
        raise BadExampleError(
            "bad_pair", f"{name} is not one answer: pairs that differ in several turns are not supported"
        )
    if _said(before) != _said(asked[len(asked) - len(before) :]):
        raise BadExampleError("two_meanings", f"the turns of {name} before its answer are not what is asked")
    _refuse_quiet(reply, name)
    return reply


def _said(turns: Sequence[Turn]) -> list[tuple[str, str]]:
    return [(turn.role, turn.text.strip()) for turn in turns]


def _refuse_quiet(reply: Turn, name: str) -> None:
    """Raise BadExampleError for a judged answer that is flagged as not learned."""
    if not reply.learned:
        raise BadExampleError("not_supported", f"weight or train on the answer of {name}: it is judged, not learned")


def _side(side: Any, name: str, reading: RecordReading) -> list[Turn]:
    """A text, a turn, or a list of turns."""
    if isinstance(side, str):
        return [Turn("assistant", side)]
    if isinstance(side, Mapping):
        return [turn_of(side, reading.ignored, name)]
    if isinstance(side, list) and side:
        return [turn_of(part, reading.ignored, name) for part in side]
    raise BadExampleError("bad_pair", f"{name} is not an answer")


# What marks an answer as good or bad: KTO's label, LLaMA-Factory's kto_tag, and what feedback buttons write.
_THUMBS: Mapping[str, bool] = {
    "true": True, "1": True, "up": True, "thumbs_up": True, "good": True, "desirable": True, "👍": True,
    "false": False, "0": False, "-1": False, "down": False, "thumbs_down": False, "bad": False, "undesirable": False,
    "👎": False,
}  # fmt: skip
_THUMB_KEYS = ("kto_tag", "thumbs", "desirable")


def _thumbs(record: Record, reading: RecordReading) -> Example:
    """One answer, and whether it was liked."""
    raw = one_of(record, ("label", *_THUMB_KEYS))
    liked = _THUMBS.get(str(raw).strip().lower().removesuffix(".0"))
    if liked is None:
        marked = next(key for key in ("label", *_THUMB_KEYS) if record.get(key) is not None)
        raise BadExampleError(
            "bad_label", f"{marked} {raw!r} is neither a thumbs up (true) nor down (false): leave it out if it is none"
        )
    name = next((key for key in ("messages", "conversations") if not is_absent(record.get(key))), None)
    if name is not None:
        turns = _turns(record, name, reading)
        if turns[-1].role != "assistant":
            raise BadExampleError("bad_chat", "the last turn is not the answer that was judged")
        _refuse_quiet(turns[-1], name)
        example = _answered(_unanswered("thumbs", turns[:-1], record, reading), turns[-1])
    elif "prompt" in record and isinstance(record["prompt"], list):
        completion = one_of(record, _ANSWERS)
        asked = _unanswered("thumbs", turns_of(record["prompt"], reading.ignored, "prompt"), record, reading)
        example = _answered(asked, _one_reply(completion, "completion", asked.turns, reading))
    else:
        plain = "prompt" in record
        example = replace((_completion if plain else _instruction)(record, reading), plain=plain)
    return replace(example, form="thumbs", liked=liked)


def _text(record: Record, *names: str) -> str | None:
    value = one_of(record, names)
    if value is not None and not isinstance(value, str):
        name = next(name for name in names if record.get(name) is not None)
        raise BadExampleError("not_text", f"{name} is a {type(value).__name__}, not text")
    return value


_CHATS = ("messages", "conversations")
_ASKED = ("instruction", "question", "prompt", *_CHATS)
_BESIDE = ("system", "tools", "functions")
_ONE = ("input", "context", "system", "history", "tools", *turns_.REASONING, *_ANSWERS)
_BESIDE_A_PROMPT = ("system", "tools", *turns_.REASONING)
# The first that matches is the form: what has more of a meaning stands before what has less.
FORMS: tuple[FormRow, ...] = (
    FormRow(
        "OpenAI preference", "preference", (("preferred_output",), ("non_preferred_output",)), ("input",),
        _openai_preference,
    ),
    FormRow(
        "preference", "preference", (("chosen",), ("rejected",)),
        (*_ASKED, "input", "context", "system", "history", "tools"), _preference,
    ),
    FormRow("thumbs", "thumbs", (_THUMB_KEYS, _ASKED), (*_ONE, "label"), _thumbs),
    FormRow("labelled completion", "thumbs", (("label",), (*_ANSWERS, *_CHATS), _ASKED), _ONE, _thumbs),
    FormRow("chat", "chat", (_CHATS,), _BESIDE, _chat),
    FormRow("classification", "classification", (("label",), ("text", "sentence")), (), _classification),
    FormRow(
        "prompt and completion", "completion", (("prompt",), ("completion", "response", "answer")), _BESIDE_A_PROMPT,
        _completion,
    ),
    FormRow("instruction", "instruction", (("instruction", "question"),), _ONE, _instruction),
    FormRow("prompt", "completion", (("prompt",),), (*_ANSWERS, *_BESIDE_A_PROMPT), _completion),
    FormRow("text", "completion", (("text",),), (), _text_alone, texts_alone=True),
)  # fmt: skip
_READS = {row.name: row.reads for row in FORMS}
