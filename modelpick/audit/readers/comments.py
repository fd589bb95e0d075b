"""Comments of programming languages, blanked so that every other character stays at its place. Pure."""

import re
from collections.abc import Mapping
from functools import cache

# What begins a comment that ends with its line, and what opens and closes a longer one.
_SIGNS: Mapping[str, tuple[tuple[str, ...], tuple[tuple[str, str], ...]]] = {
    "c": (("//",), (("/*", "*/"),)),
    "hash": (("#",), ()),
    "php": (("//", "#"), (("/*", "*/"),)),
    "hcl": (("#", "//"), (("/*", "*/"),)),
    "dashes": (("--",), (("--[[", "]]"), ("{-", "-}"))),
    "semicolon": (("#", ";"), ()),
    "markup": (("//",), (("<!--", "-->"), ("/*", "*/"))),
}
STYLES = tuple(_SIGNS)
"""The names of the ways to write comments: kinds of files in data/patterns.toml are `STYLE code`."""


@cache
def _pattern(style: str) -> re.Pattern[str]:
    line_signs, blocks = _SIGNS[style]
    longer = "|".join(f"{re.escape(opens)}.*?(?:{re.escape(closes)}|\\Z)" for opens, closes in blocks)
    # A sign inside an address (https://) or a word (a#b) begins nothing.
    line = "|".join(rf"(?<![\w:\"'`/]){re.escape(sign)}[^\n]*" for sign in line_signs)
    string = r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|`(?:[^`\\]|\\.)*`'
    return re.compile(rf"(?P<string>{string})|(?P<comment>{'|'.join(filter(None, (longer, line)))})", re.S)


def blanked(text: str, style: str) -> str:
    """The text with its comments as blanks; `style` is a key of the table above. Strings are left alone."""
    return _pattern(style).sub(lambda match: match[0] if match["string"] else _blank(match[0]), text)


def _blank(piece: str) -> str:
    return "".join("\n" if sign == "\n" else " " for sign in piece)
