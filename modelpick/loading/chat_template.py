"""What a chat template makes of an example, and which parts of its text are learned; what does not hold is named.

A chat is one text in which every learned answer is marked, as long as the template renders an earlier answer as it
would render it when that answer is given. Where it does not (thoughts that are taken out of earlier turns, a stop token
at the very end only), each answer gets a text of its own, which is what the model sees in use.

An answer that the template would cut or rewrite is put in whole: the template is rendered with a mark in its place, and
the mark replaced. So the loss is on what the data say, in the frame that the template gives it.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelpick.datasets.examples import Example, Problem, ToolCall, Turn
from modelpick.datasets.turns import tool_names
from modelpick.errors import UsageError, first_line

# Letters only, in lower case: filters of templates (trim, lower, split at a tag) leave it as it is.
_MARK = "qzanswermarkzq"
_LETTERS = str.maketrans("0123456789", "abcdefghij")
_SHORT = 12  # characters: as long as a word of a template's own, such as <|im_end|>
_THOUGHT = "<think>\n{reasoning}\n</think>\n\n{content}"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A text, and the spans of it that are learned, as (start, end) in characters."""

    text: str
    learned: tuple[tuple[int, int], ...]


class _Lost(Exception):
    """Something of an example that its text does not have."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def rendered(example: Example, tokenizer: Any) -> tuple[list[Rendered], list[Problem]]:
    """The texts to train on, one or one an answer, and what does not hold of them.

    With a problem of severity error there are no texts. Raises UsageError(code="broken_template") for a template that
    no example can be rendered with.
    """
    template = _Template(tokenizer, example.tool_definitions())
    reply = example.reply
    turns = [*example.turns, *([reply] if reply is not None else [])]
    learned = [place for place, turn in enumerate(turns) if turn.role == "assistant" and turn.learned]
    try:
        row = _row(template, turns, learned)
        rows = [row] if row else [_last_row(template, turns[: place + 1]) for place in learned]
        _refuse_lost(rows[-1].text, example)
        _refuse_lost_in_doubt(tokenizer, example)
    except _Lost as lost:
        return [], [Problem(example.line, lost.code, str(lost))]
    problems = [Problem(example.line, "answer_restored", note, "warning") for note in dict.fromkeys(template.restored)]
    return rows, problems


def prompt_of(example: Example, tokenizer: Any) -> str:
    """What the model is shown before it gives the last answer. Raises UsageError(code="template_refused")."""
    try:
        return _Template(tokenizer, example.tool_definitions()).text(example.turns, opens=True)
    except _Lost as lost:
        raise UsageError(
            f"line {example.line}: {lost}",
            fix="give turns in the order user, assistant, ... and put system text into the first user turn",
            code=lost.code,
        ) from None


class _Template:
    """A tokenizer's chat template, with the tools of one example."""

    def __init__(self, tokenizer: Any, tools: list[dict[str, Any]] | None) -> None:
        self._tokenizer = tokenizer
        self._options = {"tools": tools} if tools else {}
        self.restored: list[str] = []

    def text(self, turns: Sequence[Turn], *, opens: bool = False) -> str:
        """The text of some turns, with the opening of an answer after them where it `opens` one."""
        import jinja2

        messages = [turn.as_message() for turn in turns]
        try:
            text = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=opens, **self._options
            )
        except jinja2.TemplateSyntaxError as error:
            raise UsageError(
                f"the model's chat template is broken: {first_line(error)} (line {error.lineno} of the template)",
                fix="correct chat_template in tokenizer_config.json, or chat_template.jinja",
                code="broken_template",
            ) from None
        except Exception as error:  # what templates raise by themselves: a system turn, or turns out of order
            raise _Lost("template_refused", f"the model's chat template rejects it: {first_line(error)}") from None
        return str(text)

    def knows_thoughts(self) -> bool:
        """Whether <think> is a word of this model."""
        template = self._tokenizer.chat_template
        return "<think>" in (template if isinstance(template, str) else str(template))


def _row(template: _Template, turns: list[Turn], learned: list[int]) -> Rendered | None:
    """One text for a whole chat; None where the template renders an earlier answer otherwise than when it is given."""
    last = _last_row(template, turns)
    spans = []
    for place in learned[:-1]:
        before, after = template.text(turns[:place], opens=True), template.text(turns[: place + 1])
        if not (last.text.startswith(before) and last.text.startswith(after)):
            return None
        if not _holds(after[len(before) :], turns[place]):
            return None
        spans.append((len(before), len(after)))
    return Rendered(last.text, (*spans, *last.learned))


def _last_row(template: _Template, turns: Sequence[Turn]) -> Rendered:
    """The text up to an answer, which is learned with what ends it. Raises _Lost where it is not whole in it."""
    asked, reply = turns[:-1], turns[-1]
    before, whole = template.text(asked, opens=True), template.text(turns)
    # Some templates render the opening of an answer differently once the answer is there: what both share is given.
    start = _shared(before, whole)
    if _holds(whole[start:], reply) and not _hides(template, asked, reply, whole):
        return Rendered(whole, ((start, len(whole)),))
    if reply.reasoning and not _stands_in(reply.reasoning, whole[start:]):
        if not template.knows_thoughts():
            raise _Lost("reasoning_lost", "the model's chat template leaves out reasoning_content")
        content = _THOUGHT.format(reasoning=reply.reasoning, content=reply.content)
        reply = replace(reply, reasoning=None, content=content)
    return _restored(template, asked, before, reply)


def _restored(template: _Template, asked: Sequence[Turn], before: str, reply: Turn) -> Rendered:
    """The text with the answer put in whole, in the frame that the template gives to a word."""
    if reply.calls and not _calls_stand_in(reply.calls, template.text([*asked, reply])):
        raise _Lost("tool_call_lost", "the model's chat template leaves out the tool call that is to be learned")
    marked = template.text([*asked, replace(reply, content=_MARK)])
    if marked.count(_MARK) != 1:
        raise _Lost("answer_lost", "the model's chat template leaves out or rewrites the answer that is to be learned")
    opening, ending = marked.split(_MARK)
    if "</think>" in reply.content and "<think>" in opening[_shared(before, opening) :]:
        opening = opening[: opening.rindex("<think>")]  # the answer brings its own thought in place of an empty one
    whole = f"{opening}{reply.content}{ending}"
    template.restored.append("the model's chat template changes answers: they are put in as they are written")
    return Rendered(whole, ((_shared(before, whole), len(whole)),))


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    if other.startswith(one):
        return len(one)
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _hides(template: _Template, asked: Sequence[Turn], reply: Turn, whole: str) -> bool:
    """Whether a short answer, which could stand in the template's own words by chance, is not rendered as it is."""
    if len(reply.content.strip()) > _SHORT or reply.reasoning or reply.calls:
        return False
    return template.text([*asked, replace(reply, content=_MARK)]).replace(_MARK, reply.content) != whole


def _holds(text: str, turn: Turn) -> bool:
    """Whether an answer stands in a text as it is written: what it thinks, says and calls."""
    if turn.content not in text:
        return False
    if turn.reasoning and not _stands_in(turn.reasoning, text):
        return False
    return _calls_stand_in(turn.calls, text)


def _stands_in(text: str, whole: str) -> bool:
    """Whether a text is there, white space and case aside: templates trim what is shown, and some lower it."""
    return text.strip() in whole or _folded(text) in _folded(whole)


def _calls_stand_in(calls: Sequence[ToolCall], text: str) -> bool:
    """Whether each of some calls is there: templates that know one call a turn leave out the others."""
    named = Counter(call.name for call in calls)
    return all(text.count(name) >= count for name, count in named.items()) and all(
        _call_stands_in(call, text) for call in calls
    )


def _call_stands_in(call: ToolCall, text: str) -> bool:
    """Whether a call's name and every value of its arguments are there, in whatever syntax."""
    return call.name in text and all(_value_stands_in(value, text) for value in _leaves(json.loads(call.arguments)))


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in (key, *_leaves(item))]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def _value_stands_in(value: Any, text: str) -> bool:
    if isinstance(value, str):
        written = (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
        return any(one in text for one in written)
    return json.dumps(value) in text or str(value) in text


def _refuse_lost(text: str, example: Example) -> None:
    """Raise _Lost for a turn, or a tool, that the text lacks."""
    for name in tool_names(example.tools):
        if name not in text:
            raise _Lost("tools_lost", f"the model's chat template leaves out the tools ({name})")
    for turn in example.turns:
        if turn.content.strip() and not _stands_in(_without_thought(turn), text):
            code = "system_lost" if turn.role == "system" else "turn_lost"
            raise _Lost(code, f"the model's chat template leaves out what the {turn.role} says")


def _refuse_lost_in_doubt(tokenizer: Any, example: Example) -> None:
    """Raise _Lost for what would be in the text even if the template left it out, since something else says the same:
    the result of a tool that the answer repeats, a tool whose call is learned, a word or two.

    Whatever is in doubt gets a mark in its place, and the marks are looked for in one further text.
    """
    said = _folded("\n".join((example.text, *example.tools)))
    lost: dict[str, tuple[str, str]] = {}

    def mark(code: str, sentence: str) -> str:
        letters = str(len(lost)).translate(_LETTERS)
        lost[f"qzmark{letters}zq"] = (code, sentence)
        return f"qzmark{letters}zq"

    def in_doubt(text: str) -> bool:
        folded = _folded(text)
        return bool(folded) and (len(folded) <= _SHORT or said.count(folded) > 1)

    turns, tools = [], example.tool_definitions()
    for turn in example.turns:
        if in_doubt(_without_thought(turn)):
            code = "system_lost" if turn.role == "system" else "turn_lost"
            turn = replace(turn, content=mark(code, f"what the {turn.role} says"))
        if turn.calls and not turn.learned:  # a learned one was looked for where it is learned
            calls = (replace(call, name=mark("tool_call_lost", "a tool call")) for call in turn.calls)
            turn = replace(turn, calls=tuple(calls))
        turns.append(turn)
    for tool in tools or ():
        name = tool["function"]["name"]
        if in_doubt(name):
            tool["function"]["name"] = mark("tools_lost", f"the tools ({name})")
    if not lost:
        return
    reply = example.reply
    try:
        text = _Template(tokenizer, tools).text([*turns, reply] if reply is not None else turns).lower()
    except _Lost:  # it looks into what it is given: what is there as it stands has to do
        return
    for marked, (code, sentence) in lost.items():
        if marked not in text:
            raise _Lost(code, f"the model's chat template leaves out {sentence}")


def _folded(text: str) -> str:
    return " ".join(text.split()).lower()


def _without_thought(turn: Turn) -> str:
    """What a template must show of an earlier turn: its thoughts may be taken out."""
    return turn.content.rpartition("</think>")[2] if turn.role == "assistant" else turn.content
