"""YAML that strangers wrote, read within limits: a card's front matter, a merge recipe, a block in a card. Pure.

It is never more than its size is worth: aliases that multiply, nesting, endless numbers are refused before anything is
constructed.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

# Nodes after aliases are expanded, and nesting. Real cards stay below 100,000 and 12; a billion-laughs file does not.
MOST_NODES = 300_000
DEEPEST = 60


def mapping(text: str, what: str) -> tuple[Mapping[str, object], tuple[str, ...]]:
    """The mapping that `text` is, its keys as text, and notes on what is odd; ({}, why) where it cannot be read.

    `what` is what the notes call it. A top-level key stated twice gets the list of its values.
    """
    import yaml

    # A lone surrogate is not text that YAML, or any output, could carry.
    loader = _loader()(text.encode("utf-8", "replace").decode("utf-8"))
    try:
        node = loader.get_single_node()
        if node is None:
            return {}, ()
        problem = _blown_up(node)
        if problem:
            return {}, (f"{what} {problem}: no metadata read",)
        duplicates = _join_duplicates(node)
        value = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f" at line {error.problem_mark.line + 2}"
        return {}, (f"{what} is not valid YAML{line} ({error.problem}): no metadata read",)
    except Exception as error:  # PyYAML's constructors of dates, numbers and sets raise whatever they come across
        return {}, (f"{what} cannot be read as YAML ({type(error).__name__}): no metadata read",)
    finally:
        loader.dispose()
    if not isinstance(value, dict):
        return {}, (f"{what} is {shown(value)}, not a mapping of keys to values: no metadata read",)
    notes = tuple(f"{what} sets {key} more than once: all its values count" for key in duplicates)
    return _plain(value), notes


@cache
def _loader() -> Any:
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _blown_up(root: Any) -> str | None:
    """Why a node graph is too much to construct: aliases that multiply or refer to themselves, or nesting."""
    sizes: dict[int, int] = {}

    def size(node: Any, above: tuple[int, ...]) -> int:
        if id(node) in above:
            raise ValueError("has an alias that refers to itself")
        if len(above) > DEEPEST:
            raise ValueError(f"is nested deeper than {DEEPEST}")
        if id(node) not in sizes:
            total = 1
            if not isinstance(node.value, str):
                for child in node.value:
                    for part in child if isinstance(child, tuple) else (child,):
                        total += size(part, (*above, id(node)))
                        if total > MOST_NODES:
                            raise ValueError(f"expands to more than {MOST_NODES:,} values")
            sizes[id(node)] = total
        return sizes[id(node)]

    try:
        size(root, ())
    except ValueError as error:
        return str(error)
    return None


def _join_duplicates(root: Any) -> list[str]:
    """Turns a top-level key stated twice into one key with the list of all its values; returns such keys."""
    import yaml

    if not isinstance(root, yaml.MappingNode):
        return []
    by_key: dict[str, list[Any]] = {}
    for key, value in root.value:
        by_key.setdefault(str(key.value), []).append((key, value))
    joined = []
    for pairs in by_key.values():
        key, value = pairs[0]
        if len(pairs) > 1:
            value = yaml.SequenceNode("tag:yaml.org,2002:seq", [each for _, each in pairs])
        joined.append((key, value))
    root.value = joined
    return [name for name, pairs in by_key.items() if len(pairs) > 1]


def _plain(value: Any) -> Any:
    """YAML's own types as JSON has them: dates, bytes, infinities, endless numbers become text, sets lists."""
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if hasattr(value, "isoformat"):  # a date or a time
        return value.isoformat()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**64:
        return f"{value:.3e}" if abs(value) < 2**1000 else "a number of hundreds of digits"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value.decode("latin-1") if isinstance(value, bytes) else value


def shown(value: object) -> str:
    """A value as a sentence quotes it: at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
