"""Markdown: the code between fences, each block as its language. Pure."""

import re
from collections.abc import Mapping
from dataclasses import replace

from modelpick.audit.hits import Hits, Lines
from modelpick.audit.readers.interface import Reader
from modelpick.audit.rules import Rules

_FENCE = re.compile(
    r"^[ \t]*(?P<fence>```+|~~~+)[ \t]*\{?\.?(?P<language>[\w+-]*)[^\n]*\n(?P<code>.*?)^[ \t]*(?P=fence)[ \t]*$",
    re.M | re.S,
)


def read(text: str, rules: Rules, readers: Mapping[str, Reader]) -> Hits:
    """Candidates in the code blocks whose language is known."""
    at = Lines(text)
    for match in _FENCE.finditer(text):
        kind = rules.fences.get(match["language"].lower())
        if kind is not None:
            first, _ = at.at(match.start("code"))
            code = match["code"].replace("\n$ ", "\n  ") if kind == "shell" else match["code"]
            code = "  " + code[2:] if kind == "shell" and code.startswith("$ ") else code
            for hit in readers[kind](code, rules):
                yield replace(hit, line=first + hit.line - 1)
