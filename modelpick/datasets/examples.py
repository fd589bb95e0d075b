"""Training examples, in the three forms people write them in, converted to one. Pure.

- chat: `messages` (role/content) or `conversations` (from/value, ShareGPT);
- instruction: `instruction` [+ `input`] + `output` | `response` | `answer`, also `question` + `answer`;
- completion: `prompt` + `completion`, or `text` alone (everything is learned);
- classification: `text` + `label`, for encoders.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Form = Literal["chat", "instruction", "completion", "classification"]
Role = Literal["system", "user", "assistant"]
_ROLES: Mapping[str, Role] = {
    "system": "system", "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant",
}  # fmt: skip
# One example longer than this is a file pasted by mistake: about 250,000 tokens at 4 characters a token, more than any
# model of the catalog trains on in one sequence.
LONGEST_CHARACTERS = 1_000_000
_LONE = re.compile("[\ud800-\udfff]")  # JSON can write it (\\ud800), UTF-8 and every tokenizer refuse it


@dataclass(frozen=True, slots=True)
class Turn:
    """One message."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Example:
    """One example: the question (`turns` up to the answer), the expected `answer`, and its line.

    `answer` is None in an unlabelled pool. For classification, `answer` is the label's name. `line` counts from 1 (the
    row of a table). `source` is where the example's author says it came from.
    """

    line: int
    form: Form
    turns: tuple[Turn, ...]
    answer: str | None
    source: str | None = None

    @property
    def prompt(self) -> str:
        """What is asked, as plain text."""
        return "\n".join(turn.content for turn in self.turns)

    @property
    def text(self) -> str:
        """Everything, as plain text."""
        return self.prompt if self.answer is None else f"{self.prompt}\n{self.answer}"

    @property
    def said(self) -> str:
        """Everything but the system turns, which are the same in every example."""
        spoken = [turn.content for turn in self.turns if turn.role != "system"]
        return "\n".join(spoken if self.answer is None else [*spoken, self.answer])

    @property
    def asked(self) -> str:
        """What is asked, without the system turns."""
        return "\n".join(turn.content for turn in self.turns if turn.role != "system")

    def messages(self) -> list[dict[str, str]]:
        """The turns before the answer in the shape chat templates take."""
        return [{"role": turn.role, "content": turn.content} for turn in self.turns]


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in a line, as a stable code and a sentence. `severity` error stops training, warning does not."""

    line: int
    code: str
    text: str
    severity: Literal["error", "warning"] = "error"

    def as_json(self) -> dict[str, object]:
        """One element of `problems`."""
        return {"line": self.line, "code": self.code, "text": self.text, "severity": self.severity}


class BadExampleError(ValueError):
    """A record that is not an example; `code` and the sentence become a Problem."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def form_of(record: Mapping[str, object]) -> Form:
    """The form a record is written in. Raises BadExampleError(code="unknown_form") naming the keys found."""
    keys = set(record)
    if keys & {"messages", "conversations"}:
        return "chat"
    if "label" in keys and keys & {"text", "sentence"}:
        return "classification"
    if "prompt" in keys or keys == {"text"} or ("text" in keys and not keys & {"instruction", "question"}):
        return "completion"
    if keys & {"instruction", "question"}:
        return "instruction"
    found = ", ".join(sorted(map(str, record))[:6]) or "no keys"
    raise BadExampleError(
        "unknown_form", f"keys {found}: neither messages, instruction/output, prompt/completion nor text/label"
    )


def examples_from(record: Any, line: int, *, labelled: bool = True) -> tuple[Example, ...]:
    """The examples of one record: one for each answer a chat contains, otherwise one.

    `labelled=False` reads a pool: an answer may be absent. Raises BadExampleError when the record is not an example.
    """
    if not isinstance(record, Mapping):
        written = json.dumps(record, ensure_ascii=False, default=str)
        shown = written if len(written) <= 40 else f"{written[:40]}..."
        raise BadExampleError("not_an_object", f"{shown}, not an object with named fields")
    record = {key: value for key, value in record.items() if value is not None}  # tables fill every column
    form = form_of(record)
    source = record.get("source")
    if not isinstance(source, str | None):
        raise BadExampleError("not_text", f"source is a {type(source).__name__}, not the name of one data set")
    made = tuple(_READERS[form](record, line, labelled))
    for example in made:
        if not example.text.isascii() and _LONE.search(example.text):
            raise BadExampleError("not_unicode", "half of a surrogate pair, which is not a character")
        if len(example.text) > LONGEST_CHARACTERS:
            raise BadExampleError("too_large", f"{len(example.text):,} characters in one example")
        if not example.prompt.strip() and not (form == "completion" and example.answer):
            raise BadExampleError("empty", "the question is empty")
        if labelled and not (example.answer or "").strip():
            raise BadExampleError("empty", "the answer is empty" + _unread(record))
    if source is None:
        return made
    return tuple(Example(e.line, e.form, e.turns, e.answer, str(source)) for e in made)


def _unread(record: Mapping[str, object]) -> str:
    """The other keys of a record without an answer: the column that was meant, under another name."""
    others = [
        key for key in map(str, record) if key not in ("prompt", "instruction", "question", "input", "source", "id")
    ]
    return f" (neither output nor completion among {', '.join(others[:4])})" if others else ""


def _chat(record: Mapping[str, object], line: int, labelled: bool) -> Iterable[Example]:
    raw = record.get("messages", record.get("conversations"))
    if not isinstance(raw, list) or not raw:
        raise BadExampleError("bad_chat", "messages is not a list of turns")
    turns: list[Turn] = []
    found = 0
    for part in raw:
        turn = _turn(part)
        if turn.role == "assistant":
            if not any(before.role == "user" for before in turns):
                raise BadExampleError("bad_chat", "an answer comes before any question")
            found += 1
            yield Example(line, "chat", tuple(turns), turn.content)
        turns.append(turn)
    if not found:
        if labelled:
            raise BadExampleError("bad_chat", "no assistant turn to learn from")
        yield Example(line, "chat", tuple(turns), None)


def _turn(part: Any) -> Turn:
    if not isinstance(part, Mapping):
        raise BadExampleError("bad_chat", "a turn is not an object with role and content")
    role = _ROLES.get(str(part.get("role", part.get("from"))).lower())
    content = part.get("content", part.get("value"))
    if role is None:
        raise BadExampleError("bad_chat", f"unknown role {part.get('role', part.get('from'))!r}")
    if isinstance(content, list) and all(isinstance(one, Mapping) and one.get("type") == "text" for one in content):
        content = "".join(str(one.get("text", "")) for one in content)  # the parts of OpenAI's form, when all are text
    if not isinstance(content, str):
        raise BadExampleError("bad_chat", f"the {role}'s content is not text (tool calls and images cannot be learned)")
    return Turn(role, content)


def _instruction(record: Mapping[str, object], line: int, labelled: bool) -> Iterable[Example]:
    asked = _text(record, "instruction", "question") or ""
    extra = _text(record, "input", "context")
    answer = _text(record, "output", "response", "answer", "completion")
    system = _text(record, "system")
    turns = (*((Turn("system", system),) if system else ()), Turn("user", f"{asked}\n\n{extra}" if extra else asked))
    yield Example(line, "instruction", turns, answer)


def _completion(record: Mapping[str, object], line: int, labelled: bool) -> Iterable[Example]:
    if "prompt" in record:
        yield Example(
            line,
            "completion",
            (Turn("user", _text(record, "prompt") or ""),),
            _text(record, "completion", "response", "answer"),
        )
    elif labelled:
        yield Example(line, "completion", (Turn("user", ""),), _text(record, "text"))
    else:
        yield Example(line, "completion", (Turn("user", _text(record, "text") or ""),), None)


def _classification(record: Mapping[str, object], line: int, labelled: bool) -> Iterable[Example]:
    label = record["label"]
    if isinstance(label, float) and label.is_integer():
        label = int(label)  # a table with a gap in it makes every whole number a float
    if not isinstance(label, str | int) or isinstance(label, bool):
        raise BadExampleError("bad_label", f"label {label!r} is neither a name nor a number")
    yield Example(line, "classification", (Turn("user", _text(record, "text", "sentence") or ""),), str(label))


def _text(record: Mapping[str, object], *names: str) -> str | None:
    for name in names:
        value = record.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise BadExampleError("not_text", f"{name} is a {type(value).__name__}, not text")
        return value
    return None


_READERS = {"chat": _chat, "instruction": _instruction, "completion": _completion, "classification": _classification}
