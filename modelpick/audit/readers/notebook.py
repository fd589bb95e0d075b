"""Notebooks: the code cells, each as Python or shell, at their lines in the .ipynb file. Pure."""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace

from modelpick.audit.hits import Hits, Unresolved
from modelpick.audit.readers import lines, pairs, python, shell
from modelpick.audit.readers.entries import Entry
from modelpick.audit.rules import Rules

_SHELL_CELL = re.compile(r"\s*%%(?:bash|sh|script|!)")
_SHELL_LINE = re.compile(r"^([ \t]*)(?:!{1,2}|%(?:sx|system)\b|%%(?:bash|sh)\b)", re.M)


@dataclass(frozen=True, slots=True)
class _Cell:
    """The text of a cell and, for each of its lines, where that line stands in the file."""

    number: int
    text: str
    places: tuple[tuple[int, int], ...]


def read(text: str, rules: Rules) -> Hits:
    """Candidates in a notebook's code cells; one that is not a notebook is read line by line."""
    found_any = False
    rows = text.split("\n")
    for cell in _cells(text):
        found_any = True
        for found in _in_cell(cell, rules):
            line, column = cell.places[min(found.line, len(cell.places)) - 1]
            column += found.column - 1
            # Every escaped quote before it moves a string one to the right of where its cell has it.
            column = max(rows[line - 1].find(found.text, column - 1) + 1, column)
            moved = replace(found, line=line, column=column)
            yield moved if isinstance(moved, Unresolved) else replace(moved, cell=cell.number)
    if not found_any and not _is_json(text):
        # Quotes inside JSON strings carry a backslash; a blank in its place keeps every column.
        yield from lines.read(text.replace('\\"', ' "'), rules)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _in_cell(cell: _Cell, rules: Rules) -> Hits:
    if _SHELL_CELL.match(cell.text):
        yield from shell.read(cell.text, rules)
        return
    yield from python.read(cell.text, rules)
    for number, line in enumerate(cell.text.split("\n"), 1):
        if (match := _SHELL_LINE.match(line)) is not None:
            blank = " " * match.end()
            for found in shell.read(blank + line[match.end() :], rules):
                yield replace(found, line=number)


def _cells(text: str) -> Iterator[_Cell]:
    """The code cells in order (nbformat 4 says `source`, 3 has `input`)."""
    number, owner, kind = 0, None, ""
    sources: list[Entry] = []
    for entry in pairs.scan(text):
        if entry.keys[:1] not in (("cells",), ("worksheets",)) or entry.keys[1:2] == ("outputs",):
            continue
        if entry.keys[-1] in ("cell_type", "source", "input") and entry.owner != owner:
            if sources and kind == "code":
                yield _cell(number, sources)
            number, owner, kind, sources = number + 1, entry.owner, "", []
        if entry.keys[-1] == "cell_type":
            kind = entry.text
        elif entry.keys[-1] in ("source", "input"):
            sources.append(entry)
    if sources and kind == "code":
        yield _cell(number, sources)


def _cell(number: int, sources: list[Entry]) -> _Cell:
    """The cell's text; line n of it stands where the string that holds its start stands."""
    text = "".join(source.text for source in sources)
    starts = [0]
    for source in sources:
        starts.append(starts[-1] + len(source.text))
    places, offset = [], 0
    for line in text.split("\n"):
        source = sources[min(bisect_right(starts, offset), len(sources)) - 1]
        places.append((source.line, source.column))
        offset += len(line) + 1
    return _Cell(number, text, tuple(places))
