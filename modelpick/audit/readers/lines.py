"""Anything with keys and quoted strings: programs, INI, HCL, and whatever its own parser refuses. Pure."""

import re
from collections.abc import Iterator
from functools import cache, partial

from modelpick.audit.hits import AuditHit, Hits, Lines
from modelpick.audit.names import url_pattern
from modelpick.audit.readers import comments
from modelpick.audit.readers.commands import Word, in_command
from modelpick.audit.rules import CallRule, Rules

_PAIR = re.compile(
    r"""(?<![\w.$-])(?P<quote>["']?)(?P<key>[A-Za-z_$][\w.$-]*)(?P=quote)
    (?:[ \t]*:[ \t]*[\w.\[\] |]{1,40})?[ \t]*(?:=>|:=|=|:)[ \t]*
    (?:(?P<open>["'])(?P<text>[^"'\n]{1,300})(?P=open)|(?P<word>[\w.-]+/[\w.@:-]+)[ \t]*(?:\#.*)?$)""",
    re.X | re.M,
)
_STRING = re.compile(r"""(?:(?<!\w)(\w+)\s*[=:]\s*)?(["'`])([^"'`\n]{1,300})\2""")
_COMMENT = re.compile(r"^[ \t]*(?:#|//|;|--(?![\w-])|\*).*$", re.M)
# - --model
# - org/name: the items of a list, however their file is written.
_ITEM = re.compile(r"^(?P<indent>[ \t]*)-[ \t]+(?P<quote>[\"']?)(?P<word>[^\s\"'#]+)(?P=quote)[ \t]*,?[ \t]*$")
_BETWEEN = re.compile(r"\s*,\s*")
_REVISION = re.compile(r"""\brevision["']?\s*[=:]\s*["']([^"'\n]+)["']""")
_NESTED = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]")  # brackets that are closed again
_LONGEST_CALL = 600  # characters read of one call's arguments


def read(text: str, rules: Rules, style: str | None = None) -> Hits:
    """Candidates next to keys that name models, in calls, in lists of words, and as whole strings.

    `style` names the language's comments (comments.py), which are not read; without it, lines that look like comments.
    """
    at = Lines(text)
    text = _COMMENT.sub(lambda match: " " * len(match[0]), text) if style is None else comments.blanked(text, style)
    for match in _PAIR.finditer(text):
        if rules.names_model(match["key"]):
            group = "text" if match["text"] is not None else "word"
            yield AuditHit(match[group], *at.at(match.start(group)), "named", match["key"])
        elif rules.names_data(match["key"]) and match["text"] is not None:
            yield AuditHit(match["text"], *at.at(match.start("text")), "data", match["key"])
    yield from calls(text, rules, at)
    for words in (*_word_lists(text, at), *_items(text)):
        yield from in_command(words, rules)
    url = url_pattern(rules)
    for match in _STRING.finditer(text):
        place = at.at(match.start(3))
        if url.fullmatch(match[3]):
            yield AuditHit(match[3], *place, "url", "Hub address")
        elif "/" in match[3]:
            yield AuditHit(match[3], *place, "anywhere", "string")


def in_style(style: str) -> partial[Hits]:
    """The reader of a language with these comments."""
    return partial(read, style=style)


def _word_lists(text: str, at: Lines) -> Iterator[list[Word]]:
    """Strings with nothing but commas between them: []string{"serve", "--model", "org/name"}."""
    words: list[Word] = []
    end = -1
    for match in _STRING.finditer(text):
        if words and not _BETWEEN.fullmatch(text, end, match.start(2)):
            if len(words) > 1:
                yield words
            words = []
        words.append(Word(match[3], *at.at(match.start(3))))
        end = match.end()
    if len(words) > 1:
        yield words


def _items(text: str) -> Iterator[list[Word]]:
    words: list[Word] = []
    indent = None
    for number, line in enumerate(text.split("\n"), 1):
        match = _ITEM.match(line)
        if match is not None and match["indent"] == indent:
            words.append(Word(match["word"], number, match.start("word") + 1))
            continue
        if match is None and not line.strip():
            continue
        if len(words) > 1:
            yield words
        words, indent = [], None
        if match is not None:
            words, indent = [Word(match["word"], number, match.start("word") + 1)], match["indent"]
    if len(words) > 1:
        yield words


def calls(text: str, rules: Rules, at: Lines) -> Hits:
    """Calls of the functions that take a model, by their look: `name(` and the strings up to the closing bracket."""
    for match in _called(rules).finditer(text):
        arguments = text[match.end() : match.end() + _LONGEST_CALL].partition(")")[0]
        found = _REVISION.search(arguments)
        for rule in rules.calls_of(match[1]):
            for string in _STRING.finditer(arguments):
                if _is_model_argument(string, arguments, rule):
                    place = at.at(match.end() + string.start(3))
                    revision = found[1] if found else None
                    yield AuditHit(string[3], *place, "argument", rule.name, revision, rule.bare, rule.organisation)


def _is_model_argument(string: re.Match[str], arguments: str, rule: CallRule) -> bool:
    if string[1] is not None:
        return string[1] in rule.keywords
    before = _NESTED.sub("", arguments[: string.start()])
    # Inside an object or a list of options nothing is an argument by its position.
    return not any(bracket in before for bracket in "{[") and before.count(",") in rule.positions


@cache
def _called_names(names: frozenset[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)((?:\w+\.){{0,6}}(?:{'|'.join(sorted(map(re.escape, names)))}))\s*\(")


def _called(rules: Rules) -> re.Pattern[str]:
    return _called_names(frozenset(rules.calls))
