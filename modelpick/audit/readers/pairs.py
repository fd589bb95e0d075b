"""JSON (with comments, or broken) and TOML: both are keys, separators, strings and brackets. Pure."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from modelpick.audit.hits import Hits, Lines
from modelpick.audit.readers import entries
from modelpick.audit.readers.entries import Entry
from modelpick.audit.rules import Rules

_TOKEN = re.compile(
    r'''(?P<long>"""(?:[^"\\]|\\.|"(?!""))*"""|\'\'\'(?:[^']|'(?!''))*\'\'\')
    |(?P<string>"[^"\\\n]*(?:\\.[^"\\\n]*)*"|'[^'\n]*')
    |(?P<comment>\#[^\n]*|//[^\n]*|/\*[^*]*\*+(?:[^/*][^*]*\*+)*/)
    |(?P<word>[^\s\[\]{},:="'\#]+)
    |(?P<mark>[\[\]{},:=\n])''',
    re.X | re.S,
)
_HEADER = re.compile(r"^[ \t]*\[\[?[ \t]*([^\[\]\n{},]+?)[ \t]*\]\]?[ \t]*(?:#[^\n]*)?$", re.M)

_DEEPEST = 64  # keys remembered: no person nests settings deeper, and a file made to be slow must not be


@dataclass(slots=True)
class _PairsFrame:
    keys: tuple[str, ...]
    owner: int
    is_list: bool = False


def read(text: str, rules: Rules) -> Hits:
    """Candidates in a JSON or TOML text."""
    yield from entries.candidates(scan(text), rules)


def scan(text: str) -> Iterator[Entry]:
    """Every string value with its keys, in the order of the text."""
    at = Lines(text)
    headers = _headers(text)
    frames = [_PairsFrame((), 0)]
    owners = 0
    key: str | None = None
    last: tuple[str, int, bool] | None = None  # the newest scalar, where it starts, whether it is a string
    skip_until = 0
    for match in _TOKEN.finditer(text):
        if match.start() < skip_until:
            continue
        kind, piece = match.lastgroup, match[0]
        if match.start() in headers and piece == "[" and len(frames) == 1:  # [table] of TOML
            owners += 1
            name, skip_until = headers[match.start()]
            frames = [_PairsFrame(name, owners)]
            key = last = None
        elif kind == "comment":
            continue
        elif kind != "mark":
            quotes = 3 if kind == "long" else int(kind == "string")
            last = (_value(piece, kind), match.start() + quotes, quotes > 0)
        elif piece in ":=":
            key, last = (last[0] if last else key), None
        else:
            if last is not None and not (piece == "\n" and key is None and not frames[-1].is_list):
                top = frames[-1]
                keys = top.keys if top.is_list or key is None else (*top.keys, key)
                if last[2]:
                    yield Entry(keys, last[0], *at.at(last[1]), top.owner, top.is_list)
                last = None
            if piece in "{[":
                top = frames[-1]
                owners += piece == "{"
                named = key is not None and not top.is_list and len(top.keys) < _DEEPEST
                inside = (*top.keys, str(key)) if named else top.keys
                frames.append(_PairsFrame(inside, owners if piece == "{" else top.owner, piece == "["))
                key = None
            elif piece in "}]" and len(frames) > 1:
                frames.pop()
                key = None
            elif piece == "," or (piece == "\n" and len(frames) == 1):
                key = None
    if last is not None and last[2] and key is not None:
        yield Entry((*frames[-1].keys, key), last[0], *at.at(last[1]), frames[-1].owner)


def _headers(text: str) -> dict[int, tuple[tuple[str, ...], int]]:
    """Offsets of the table headers of TOML: their keys and where they end."""
    return {
        text.index("[", match.start()): (tuple(part.strip(" \t\"'") for part in match[1].split(".")), match.end())
        for match in _HEADER.finditer(text)
    }


def _value(piece: str, kind: str | None) -> str:
    if kind == "long":
        return piece[3:-3]
    if kind != "string":
        return piece
    if piece[0] == '"' and "\\" in piece:
        try:
            return str(json.loads(piece, strict=False))
        except ValueError:
            pass
    return piece[1:-1]
