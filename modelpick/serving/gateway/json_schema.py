"""How large a client's JSON schema is once a server has unfolded it: that is what its grammar costs. Pure."""

import json
import re
from collections.abc import Iterator
from typing import Any

from modelpick.serving.gateway.refusal import Refused, bad

# OpenAI's own bounds (guide "Structured model outputs", supported schemas): 5,000 properties, 10 levels of nesting. A
# level of nesting is up to three of JSON here ("properties", a name, the schema), and references may add to it.
MOST_PARTS = 5_000
DEEPEST_SCHEMA = 40
# llama.cpp and xgrammar write a bounded repetition out (llama-grammar.cpp, MAX_REPETITION_THRESHOLD: 2,000).
MOST_REPETITIONS = 2_000
# What llama.cpp's grammar takes more time for than for a part, by the server of xllamacpp 2026.10.11549 on one core:
# 4,900 values to choose from 3 s; 160 groups in a pattern 0.2 s, 20,000 minutes; 300 properties that may be left out
# 0.2 s, 4,000 minutes (each can follow each); 1,000 texts of up to 2,000 letters minutes. With these weights the
# largest schema that is allowed takes a few tenths of a second.
_PARTS_PER_VALUE, _PARTS_PER_LETTER, _REPETITIONS_PER_PART, _OPTIONAL_SQUARED_PER_PART = 2, 5, 10, 20
_REPEATED = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")


def require_bounded(name: str, value: object) -> None:
    """Raises Refused for what is not a schema, and for one that unfolds to more than a server can be asked to take.

    A reference is counted as often as it is used: ten definitions that each use the next one twice are a thousand.
    """
    if not isinstance(value, dict):
        raise bad(name, f"{name} must be an object", "invalid_type")
    counter = _Parts(name, value)
    if counter.count(value, 0, ()) > MOST_PARTS:
        raise counter.too_large()


def is_object_text(text: str) -> bool:
    """Whether `text` is a JSON object, as the arguments of a function are."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


class _Parts:
    """Counts the objects of a schema with its references put in place."""

    def __init__(self, name: str, root: dict[str, Any]) -> None:
        self.name, self.root = name, root
        self.known: dict[str, int] = {}

    def too_large(self) -> Refused:
        """The error of a schema that would cost too much."""
        return bad(
            self.name,
            f"{self.name} unfolds to more than {MOST_PARTS:,} parts or {DEEPEST_SCHEMA} levels",
            "schema_too_large",
        )

    def count(self, part: object, depth: int, within: tuple[str, ...]) -> int:
        """`within`: the references that lead here; one that leads to itself counts once."""
        if depth > DEEPEST_SCHEMA:
            raise self.too_large()
        if isinstance(part, list):
            return sum(self.count(one, depth + 1, within) for one in part)
        if not isinstance(part, dict):
            return 0
        for key in _REPEATED:
            if isinstance(part.get(key), int) and part[key] > MOST_REPETITIONS:
                raise bad(self.name, f"{self.name} has a {key} above {MOST_REPETITIONS:,}", "schema_too_large")
        found = 1 + self._referenced(part.get("$ref"), depth, within) + self._written_out(part)
        for one in part.values():
            found += self.count(one, depth + 1, within)
            if found > MOST_PARTS:
                raise self.too_large()
        return found

    def _written_out(self, part: dict[str, Any]) -> int:
        """The cost of what a grammar writes out: values, letters of patterns, repetitions, orders of properties."""
        values, named, properties = (part.get(key) for key in ("enum", "patternProperties", "properties"))
        patterns = [*([part["pattern"]] if "pattern" in part else []), *(named if isinstance(named, dict) else ())]
        cost: int = _PARTS_PER_VALUE * len(values) if isinstance(values, list) else 0
        cost += _PARTS_PER_LETTER * sum(len(pattern) for pattern in patterns if isinstance(pattern, str))
        repeated = [max(part[key], 0) for key in _REPEATED if isinstance(part.get(key), int)]
        cost += sum(repeated) // _REPETITIONS_PER_PART
        if isinstance(properties, dict):
            required = part.get("required")
            needed = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
            cost += len(properties.keys() - needed) ** 2 // _OPTIONAL_SQUARED_PER_PART
        if cost <= MOST_PARTS:
            for pattern in patterns:
                self._require_pattern(pattern)
        return cost

    def _require_pattern(self, pattern: object) -> None:
        """A name in "properties" can be `pattern`, too: what stands there is a schema."""
        if isinstance(pattern, dict):
            return
        try:
            re.compile(pattern if isinstance(pattern, str) else "(")
        except (re.error, RecursionError, OverflowError):
            raise bad(self.name, f"{self.name} has a pattern that cannot be read", "invalid_value") from None

    def _referenced(self, target: object, depth: int, within: tuple[str, ...]) -> int:
        if target is None or target in within:
            return 0
        if not isinstance(target, str) or not target.startswith("#"):
            raise bad(self.name, f"{self.name} refers to something outside itself", "schema_refers_outside")
        if target not in self.known:
            for part in _at(self.root, target):
                self.known[target] = self.count(part, depth + 1, (*within, target))
        return self.known.get(target, 0)


def _at(root: dict[str, Any], target: str) -> Iterator[object]:
    """What a reference such as `#/$defs/a` means (RFC 6901); nothing where it leads nowhere."""
    part: Any = root
    for word in target[1:].split("/")[1:]:
        word = word.replace("~1", "/").replace("~0", "~")
        if not isinstance(part, dict) or word not in part:
            return
        part = part[word]
    yield part
