"""Where model ids are used, from data/patterns.toml. Pure but for `load`, which reads that file once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from modelpick.files import data_file, read_toml

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_REMEMBERED = 1 << 16  # keys: the same ones come again and again in a code base
_NOT_WORD = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class CallRule:
    """A call whose arguments at `positions` or under `keywords` are models."""

    name: str
    positions: tuple[int, ...] = ()
    keywords: frozenset[str] = frozenset()
    bare: bool = False
    organisation: str | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """The patterns, indexed for look-up. See data/patterns.toml for what each means."""

    calls: Mapping[str, tuple[CallRule, ...]]  # by the last word of the called name
    commands: tuple[tuple[str, ...], ...]
    words: Mapping[str, frozenset[str]]  # the lists of [positions] and [names] that are asked "is it in?"
    hub_schemes: tuple[str, ...]
    hosted: tuple[str, ...]
    endings: Mapping[str, str]
    file_names: Mapping[str, str]
    programs: Mapping[str, str]
    fences: Mapping[str, str]
    templates: Mapping[str, str]  # by ending: the kind of what is around the tags
    unread: frozenset[str]  # endings of programs that no reader knows
    own_files: tuple[str, ...]
    skip_folders: frozenset[str]
    max_bytes: int
    max_notebook_bytes: int

    def names_model(self, key: str) -> bool:
        """Whether a variable, option or setting called `key` holds a model: MODEL_ID, --draft-model, modelName."""
        name = plain(key)
        if _is_or_ends_with(name, self.words["other_keys"]):
            return False
        return _is_or_ends_with(name, self.words["keys"])

    def names_data(self, key: str) -> bool:
        """Whether a variable, option or setting called `key` holds a data set."""
        return _is_or_ends_with(plain(key), self.words["data_keys"])

    def calls_of(self, dotted: str) -> tuple[CallRule, ...]:
        """The rules for a call written, or imported, as `dotted` (`transformers.pipeline`)."""
        rules = self.calls.get(dotted.rpartition(".")[2], ())
        return tuple(rule for rule in rules if dotted == rule.name or dotted.endswith("." + rule.name))


@lru_cache(maxsize=_REMEMBERED)
def plain(key: str) -> str:
    """A name in lower snake case without what introduces it: `--modelId`, `$env:MODEL_ID` -> `model_id`."""
    return _NOT_WORD.sub("_", _CAMEL.sub("_", key.rpartition(":")[2]).lower()).strip("_")


@lru_cache(maxsize=_REMEMBERED)
def _is_or_ends_with(name: str, known: frozenset[str]) -> bool:
    words = name.split("_")
    return any("_".join(words[start:]) in known for start in range(len(words)))


@cache
def load() -> Rules:
    """The patterns that come with modelpick."""
    return rules_from(read_toml(data_file("audit", "patterns.toml"), code="bad_patterns"))


def rules_from(table: Mapping[str, Any]) -> Rules:
    """Rules from the parsed file. Raises KeyError or TypeError when the file is not of its schema."""
    calls: dict[str, tuple[CallRule, ...]] = {}
    for row in table["calls"]:
        rule = CallRule(
            name=row["name"],
            positions=tuple(row.get("positions", ())),
            keywords=frozenset(row.get("keywords", ())),
            bare=row.get("bare", False),
            organisation=row.get("organisation"),
        )
        last = rule.name.rpartition(".")[2]
        calls[last] = (*calls.get(last, ()), rule)
    names, positions, files = table["names"], table["positions"], table["files"]
    return Rules(
        calls=calls,
        commands=tuple(tuple(row["words"]) for row in table["commands"]),
        words={key: frozenset(words) for key, words in {**positions, **names}.items()},
        hub_schemes=tuple(names["hub_schemes"]),
        hosted=tuple(names["hosted"]),
        endings=files["endings"],
        file_names=files["names"],
        programs=files["programs"],
        fences=files["fences"],
        templates=files["templates"],
        unread=frozenset(files["unread"]["endings"]),
        own_files=tuple(files["own"]["names"]),
        skip_folders=frozenset(files["skip"]["folders"]),
        max_bytes=files["max_bytes"],
        max_notebook_bytes=files["max_notebook_bytes"],
    )
