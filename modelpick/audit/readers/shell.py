"""Shell scripts, Dockerfiles, makefiles, .env files: commands, options, variables. Pure."""

import re
from collections.abc import Iterator
from dataclasses import replace

from modelpick.audit.hits import AuditHit, Hits, Lines
from modelpick.audit.readers import lines
from modelpick.audit.readers.commands import Word, in_command
from modelpick.audit.rules import Rules

# Quoted text, a comment, what ends a command, a joined line, or a run of anything else.
_TOKEN = re.compile(
    r"""(?P<comment>(?<![^\s;])\#[^\n]*)
    |(?P<joined>\\\r?\n|`\r?\n|\^\r?\n)
    |(?P<end>\n|;|&&|\|\|?|&)
    |(?P<space>[ \t\r\f\v]+|[\[\],])
    |(?P<piece>"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"';&|\[\],\\]+|\\.|["'\\])""",
    re.X | re.S,
)
_DEFAULT = re.compile(r"\$\{(\w+):?[-=]([^}\s]+)\}")


def read(text: str, rules: Rules) -> Hits:
    """Candidates in a script; commands end at a newline, `;`, `&&`, `|`, and go on after a backslash."""
    at = Lines(text)
    for words in commands(text, at):
        yield from in_command(words, rules)
        for word in words:
            if word.text.startswith(("{", "[")):  # curl -d '{"model": "org/name"}'
                yield from _sent(word, rules)
    for match in _DEFAULT.finditer(text):
        if rules.names_model(match[1]):
            yield AuditHit(match[2].strip("\"'"), *at.at(match.start(2)), "named", match[1])
    yield from lines.calls(text, rules, at)


def _sent(word: Word, rules: Rules) -> Hits:
    """The candidates of JSON that is one word of a command."""
    for found in lines.read(word.text, rules):
        column = found.column + (word.column - 1 if found.line == 1 else 0)
        yield replace(found, line=word.line + found.line - 1, column=column)


def commands(text: str, at: Lines) -> Iterator[list[Word]]:
    """The commands of a script, each as its words."""
    words: list[Word] = []
    pieces: list[str] = []
    start = -1

    def finish() -> None:
        nonlocal start
        if start >= 0:
            words.append(Word("".join(pieces), *at.at(start)))
            pieces.clear()
            start = -1

    for match in _TOKEN.finditer(text):
        kind, piece = match.lastgroup, match[0]
        if kind == "piece":
            quoted = len(piece) > 1 and piece[0] in "\"'" and piece[-1] == piece[0]
            if start < 0:
                start = match.start() + quoted
            pieces.append(piece[1:-1] if quoted else piece)
            continue
        # A comma inside a word (pretrained=a,dtype=b) belongs to it; between quoted words it separates them.
        if piece == "," and start >= 0 and pieces and "=" in pieces[0]:
            pieces.append(piece)
            continue
        finish()
        if kind == "end" and words:
            yield words
            words = []
    finish()
    if words:
        yield words
