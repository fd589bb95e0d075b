"""Templates (Helm, Jinja, ERB): their tags taken out, the rest read as what it will be. Pure."""

import re

from modelpick.audit.hits import AuditHit, Hits, Lines
from modelpick.audit.names import url_pattern
from modelpick.audit.readers.interface import Reader
from modelpick.audit.rules import Rules

_TAG = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|<%.*?%>", re.S)
_STRING = re.compile(r"""(["'`])([^"'`\n]{1,300})\1""")
_STANDS_IN = "\u00b7"  # no letter of an id, so that what a tag completes is not taken for one


def is_template(text: str) -> bool:
    """Whether a text has tags."""
    return _TAG.search(text) is not None


def without_tags(text: str) -> str:
    """The text with blanks where a tag stands alone, and a letter of no id where it is part of a value."""
    cleaned = _TAG.sub(lambda match: re.sub(r"[^\n]", _STANDS_IN, match[0]), text)
    return "\n".join(
        line if line.strip(f"{_STANDS_IN} \t-") else " " * len(line) if _STANDS_IN in line else line
        for line in cleaned.split("\n")
    )


def inside_tags(text: str, rules: Rules) -> Hits:
    """Strings that stand in tags: {{ .Values.model | default "org/name" }}, {% set model = "org/name" %}."""
    at, url = Lines(text), url_pattern(rules)
    for tag in _TAG.finditer(text):
        words = re.findall(r"[A-Za-z_][\w-]*", _STRING.sub("", tag[0]))
        named = next((word for word in words if rules.names_model(word)), None)
        for string in _STRING.finditer(tag[0]):
            place = at.at(tag.start() + string.start(2))
            if url.fullmatch(string[2]):
                yield AuditHit(string[2], *place, "url", "Hub address")
            elif "/" in string[2]:
                yield AuditHit(string[2], *place, "named" if named else "anywhere", named or "string")


def read(text: str, rules: Rules, inner: Reader) -> Hits:
    """Candidates of a template: in its tags, and in what is around them as `inner` reads it."""
    yield from inside_tags(text, rules)
    yield from inner(without_tags(text), rules)
