"""Model ids among the words of a command line. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from modelpick.audit.hits import AuditHit
from modelpick.audit.names import url_pattern
from modelpick.audit.rules import Rules, plain

_PAIR = re.compile(r"(?:^|(?<=,))([A-Za-z_][\w.-]*)=([^,\s]*)")
_FLAG = re.compile(r"--?[A-Za-z][\w.-]*(?:=|$)")
_MAKE_ASSIGNS = ("=", ":=", "?=", "+=", "::=")
_SHAPE = re.compile(r"[\w.-]+/[\w.-]+(?:[@:][\w.-]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a command, quotes taken off, where it starts (line and column from 1)."""

    text: str
    line: int
    column: int


def in_command(words: Sequence[Word], rules: Rules) -> Iterator[AuditHit]:
    """The candidates in one command: `vllm serve X`, `--model X`, `MODEL_ID=X`, `pretrained=X,dtype=...`."""
    values = dict(_options(words))
    kinds = [value.text.lower() for flag, value in values.items() if plain(flag) in rules.words["kind_keys"]]
    if any(kind in rules.words["other_kinds"] for kind in kinds):
        return
    revision = next((value.text for flag, value in values.items() if plain(flag) in rules.words["revision_keys"]), None)
    yield from _subject(words, rules, revision)
    for flag, value in _options(words):
        if rules.names_model(flag):
            yield AuditHit(value.text, value.line, value.column, "named", flag, revision)
        elif rules.names_data(flag):
            yield AuditHit(value.text, value.line, value.column, "data", flag)
    url = url_pattern(rules)
    for at, word in enumerate(words):
        if url.fullmatch(word.text):
            yield AuditHit(word.text, word.line, word.column, "url", "Hub address", revision)
        elif not word.text.startswith("-"):
            yield from _pairs(word, rules, revision)
            if _SHAPE.fullmatch(word.text):
                yield AuditHit(word.text, word.line, word.column, "anywhere", "word", revision)
        if at + 1 < len(words):
            yield from _spaced_pair(words[at : at + 3], rules, revision)


def _options(words: Sequence[Word]) -> Iterator[tuple[str, Word]]:
    """Every option with its value, joined by `=` or in the next word."""
    for at, word in enumerate(words):
        if _FLAG.match(word.text):
            flag, joined, value = word.text.partition("=")
            if joined:
                yield flag, Word(value.strip("\"'"), word.line, word.column + len(flag) + 1)
            elif at + 1 < len(words) and not words[at + 1].text.startswith("-"):
                yield flag, words[at + 1]


def _subject(words: Sequence[Word], rules: Rules, revision: str | None) -> Iterator[AuditHit]:
    """What `vllm serve` serves: the word after it, or the first that looks like an id and is not an option's value."""
    texts = [word.text.rpartition("/")[2] for word in words]
    first_words = {head[0] for head in rules.commands}
    for at, text in enumerate(texts):
        for head in rules.commands if text in first_words else ():
            if tuple(texts[at : at + len(head)]) != head or at + len(head) == len(words):
                continue
            rest = words[at + len(head) :]
            free = [
                word
                for before, word in zip([words[at], *rest], rest, strict=False)
                if not word.text.startswith("-") and (not before.text.startswith("-") or "=" in before.text)
            ]
            shaped = [word for word in [*free, *rest] if _SHAPE.fullmatch(word.text)]
            chosen = rest[0] if not rest[0].text.startswith("-") else next(iter(shaped), None)
            if chosen is not None:
                yield AuditHit(chosen.text, chosen.line, chosen.column, "argument", " ".join(head), revision)
            return


def _pairs(word: Word, rules: Rules, revision: str | None) -> Iterator[AuditHit]:
    for match in _PAIR.finditer(word.text):
        if rules.names_model(match[1]):
            value = match[2].strip("\"'")
            column = word.column + match.start(2) + match[2].find(value)
            yield AuditHit(value, word.line, column, "named", match[1], revision)


def _spaced_pair(words: Sequence[Word], rules: Rules, revision: str | None) -> Iterator[AuditHit]:
    """`ENV MODEL_ID org/name` (Dockerfile), `MODEL := org/name` (make), `$env:MODEL = "org/name"` (PowerShell)."""
    first, *rest = words
    if first.text.upper() in ("ENV", "ARG", "EXPORT", "SETENV") and len(rest) == 2 and rules.names_model(rest[0].text):
        yield AuditHit(rest[1].text, rest[1].line, rest[1].column, "named", rest[0].text, revision)
    elif len(rest) == 2 and rest[0].text in _MAKE_ASSIGNS and rules.names_model(first.text):
        yield AuditHit(rest[1].text, rest[1].line, rest[1].column, "named", first.text, revision)
