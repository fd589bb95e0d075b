"""YAML by its events, so that positions are exact and aliases expand nothing; what is not YAML, line by line. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modelpick.audit.hits import Hits
from modelpick.audit.readers import entries, lines, templates
from modelpick.audit.readers.entries import Entry
from modelpick.audit.rules import Rules

_LARGEST = 1_000_000  # characters; PyYAML without libyaml reads about 50 kB a second (measured), a larger text is data
_DEEPEST = (
    200  # brackets in brackets: libyaml looks at each open one again for every token (measured: 100,000 take a minute)
)
_BRACKET = re.compile(r"[\[\]{}]")


def read(text: str, rules: Rules) -> Hits:
    """Candidates in a YAML text of any number of documents; a template is read without its tags.

    What is not YAML even so is read by its lines.
    """
    if templates.is_template(text):
        yield from templates.inside_tags(text, rules)
        text = templates.without_tags(text)
    found = _parsed(text)
    if found is None:
        yield from lines.read(text, rules)
    else:
        yield from entries.candidates(found, rules)


def _parsed(text: str) -> list[Entry] | None:
    """The values of the text; None for what the parser refuses, or would take too long for."""
    from yaml import YAMLError

    if len(text) > _LARGEST or _flow_depth(text) > _DEEPEST:
        return None
    try:
        return list(_scan(text))
    except (YAMLError, ValueError, IndexError, RecursionError):
        return None


def _flow_depth(text: str) -> int:
    deepest = depth = 0
    for bracket in _BRACKET.findall(text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


@dataclass(slots=True)
class _YamlFrame:
    keys: tuple[str, ...]
    owner: int
    is_list: bool
    key: str | None = None


def _scan(text: str) -> Iterator[Entry]:
    rows = text.split("\n")
    frames: list[_YamlFrame] = []
    owners = 0
    for event in _events(text):
        kind = type(event).__name__
        if kind in ("MappingStartEvent", "SequenceStartEvent"):
            is_list = kind == "SequenceStartEvent"
            owners += not is_list
            frames.append(
                _YamlFrame(_path(frames), (frames[-1].owner if frames else 0) if is_list else owners, is_list)
            )
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            frames.pop()
            _done(frames)
        elif kind == "AliasEvent":
            _done(frames)
        elif kind == "ScalarEvent":
            top = frames[-1] if frames else None
            if top is not None and not top.is_list and top.key is None:
                top.key = event.value
                continue
            if event.value:
                line, column = event.start_mark.line + 1, event.start_mark.column + 1 + bool(event.style)
                indent = 0
                if event.style in ("|", ">") and line < len(rows):  # the text starts below, indented
                    line, indent = line + 1, len(rows[line]) - len(rows[line].lstrip(" "))
                    column = indent + 1
                owner, is_list = (top.owner, top.is_list) if top else (0, False)
                yield Entry(_path(frames), event.value, line, column, owner, is_list, indent)
            _done(frames)


def _events(text: str) -> Iterator[Any]:
    import yaml

    return iter(yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def _path(frames: list[_YamlFrame]) -> tuple[str, ...]:
    if not frames:
        return ()
    top = frames[-1]
    return top.keys if top.key is None else (*top.keys, top.key)


def _done(frames: list[_YamlFrame]) -> None:
    """A node is complete: after a value comes a key; after a key that is not a scalar (an alias, a list) its value."""
    if frames and not frames[-1].is_list:
        frames[-1].key = "" if frames[-1].key is None else None
