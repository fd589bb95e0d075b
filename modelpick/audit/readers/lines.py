"""Anything with keys and quoted strings: INI, HCL, JavaScript, and whatever its own parser refuses. Pure."""

import re
from functools import cache

from modelpick.audit.hits import AuditHit, Hits, Lines
from modelpick.audit.names import url_pattern
from modelpick.audit.rules import CallRule, Rules

_PAIR = re.compile(
    r"""(?<![\w.$-])(?P<quote>["']?)(?P<key>[A-Za-z_$][\w.$-]*)(?P=quote)
    (?:[ \t]*:[ \t]*[\w.\[\] |]{1,40})?[ \t]*(?:=>|:=|=|:)[ \t]*
    (?:(?P<open>["'])(?P<text>[^"'\n]{1,300})(?P=open)|(?P<word>[\w.-]+/[\w.@:-]+)[ \t]*(?:\#.*)?$)""",
    re.X | re.M,
)
_STRING = re.compile(r"""(?:(?<!\w)(\w+)\s*=\s*)?(["'])([^"'\n]{1,300})\2""")
_COMMENT = re.compile(r"^[ \t]*(?:#|//|;|--|\*).*$", re.M)
_REVISION = re.compile(r"""\brevision["']?\s*[=:]\s*["']([^"'\n]+)["']""")
_LONGEST_CALL = 600  # characters read of one call's arguments


def read(text: str, rules: Rules) -> Hits:
    """Candidates next to keys that name models, in calls, and as whole strings; comment lines are skipped."""
    at = Lines(text)
    text = _COMMENT.sub(lambda match: " " * len(match[0]), text)
    for match in _PAIR.finditer(text):
        if rules.names_model(match["key"]):
            group = "text" if match["text"] is not None else "word"
            yield AuditHit(match[group], *at.at(match.start(group)), "named", match["key"])
    yield from calls(text, rules, at)
    url = url_pattern(rules)
    for match in _STRING.finditer(text):
        place = at.at(match.start(3))
        if url.fullmatch(match[3]):
            yield AuditHit(match[3], *place, "url", "Hub address")
        elif "/" in match[3]:
            yield AuditHit(match[3], *place, "anywhere", "string")


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
    return arguments[: string.start()].count(",") in rule.positions


@cache
def _called_names(names: frozenset[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)((?:\w+\.){{0,6}}(?:{'|'.join(sorted(map(re.escape, names)))}))\s*\(")


def _called(rules: Rules) -> re.Pattern[str]:
    return _called_names(frozenset(rules.calls))
