"""A training example, whatever form it was written in (forms.py). Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Form = Literal["chat", "instruction", "completion", "classification", "preference", "thumbs"]
Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """An answer's call of a tool; `arguments` is the JSON text of an object."""

    name: str
    arguments: str
    id: str | None = None

    def as_message(self) -> dict[str, Any]:
        """The call in OpenAI's shape, with the arguments as an object, which is what chat templates expect."""
        function = {"name": self.name, "arguments": json.loads(self.arguments)}
        return {"type": "function", **({"id": self.id} if self.id else {}), "function": function}


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. `learned` counts for the assistant's turns only: whether its tokens carry loss.

    `reasoning` is what the assistant thinks before its `content`, `calls` the tools that it calls after it. `name` and
    `call_id` are those of a tool's answer.
    """

    role: Role
    content: str
    learned: bool = True
    reasoning: str | None = None
    calls: tuple[ToolCall, ...] = ()
    name: str | None = None
    call_id: str | None = None

    @property
    def text(self) -> str:
        """Everything said in this turn, as plain text."""
        if not self.reasoning and not self.calls:
            return self.content
        called = (f"{call.name} {call.arguments}" for call in self.calls)
        return "\n".join(part for part in (self.reasoning, self.content, *called) if part)

    def as_message(self) -> dict[str, Any]:
        """The turn in the shape chat templates take."""
        message: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.calls:
            message["tool_calls"] = [call.as_message() for call in self.calls]
        if self.name:
            message["name"] = self.name
        if self.call_id:
            message["tool_call_id"] = self.call_id
        return message


@dataclass(frozen=True, slots=True)
class Example:
    """One example: what comes before its last answer (`turns`), that `answer`, and its line.

    A chat is one example: its earlier answers, those with `learned`, are among `turns`. `answer` is None in an
    unlabelled pool; for classification it is the label's name, for a preference the side that was chosen.
    `line` counts from 1 (the row of a table). `source` is where the example's author says it came from.

    - `reasoning`, `calls`: what the answer thinks first, and the tools it calls.
    - `tools`: the JSON text of each tool that is offered, in OpenAI's shape.
    - `rejected`: the other side of a preference. `liked`: whether the answer got a thumbs up; None without thumbs.
    - `plain`: trained as text, without the chat template; a completion always is.
    """

    line: int
    form: Form
    turns: tuple[Turn, ...]
    answer: str | None
    source: str | None = None
    reasoning: str | None = None
    calls: tuple[ToolCall, ...] = ()
    tools: tuple[str, ...] = ()
    rejected: Turn | None = None
    liked: bool | None = None
    plain: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether prompt and answer are put together as they are, without a chat template."""
        return self.plain or self.form == "completion"

    @property
    def reply(self) -> Turn | None:
        """The last answer as a turn; None in an unlabelled pool."""
        if self.answer is None:
            return None
        return Turn("assistant", self.answer, reasoning=self.reasoning, calls=self.calls)

    @property
    def prompt(self) -> str:
        """What is asked, as plain text."""
        return "\n".join(turn.text for turn in self.turns)

    @property
    def _replies(self) -> list[str]:
        if self.answer is not None and not self.calls and not self.reasoning and self.rejected is None:
            return [self.answer]  # nearly always: no turn is made for it
        return [turn.text for turn in (self.reply, self.rejected) if turn is not None]

    @property
    def text(self) -> str:
        """Everything, as plain text."""
        return "\n".join([*(turn.text for turn in self.turns), *self._replies])

    @property
    def said(self) -> str:
        """Everything but the system turns, which are the same in every example."""
        return "\n".join([*(turn.text for turn in self.turns if turn.role != "system"), *self._replies])

    @property
    def asked(self) -> str:
        """What is asked, without the system turns."""
        return "\n".join(turn.text for turn in self.turns if turn.role != "system")

    def sides(self) -> tuple["Example", ...]:
        """A preference as two examples of one answer each, the chosen first; anything else as one."""
        form: Form = "completion" if self.plain else "chat"
        if self.form not in ("preference", "thumbs"):
            return (self,)
        chosen = replace(self, form=form, rejected=None, liked=None)
        if self.rejected is None:
            return (chosen,)
        bad = self.rejected
        return chosen, replace(chosen, answer=bad.content, reasoning=bad.reasoning, calls=bad.calls)

    def last_answer_only(self) -> "Example":
        """The same, of which the last answer alone is learned, or measured."""
        if not any(turn.role == "assistant" and turn.learned for turn in self.turns):
            return self
        return replace(self, turns=tuple(replace(turn, learned=turn.role != "assistant") for turn in self.turns))

    def messages(self) -> list[dict[str, Any]]:
        """The turns before the answer in the shape chat templates take."""
        return [turn.as_message() for turn in self.turns]

    def tool_definitions(self) -> list[dict[str, Any]] | None:
        """The tools offered, in the shape chat templates take; None without any."""
        return [json.loads(tool) for tool in self.tools] or None


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in a line, as a stable code and a sentence. `severity` error stops training, warning does not.

    Line 0 is the file as a whole.
    """

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


def is_absent(value: object) -> bool:
    """Whether a field says nothing: null, and the empty lists and texts that tables fill their columns with."""
    return value is None or (isinstance(value, list | tuple | str | Mapping) and len(value) == 0)
