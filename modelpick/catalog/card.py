"""Reads a model card: its front matter, whatever state that is in, and what it says about license and ancestry. Pure.

Cards contain errors. What the Hub itself would not read as metadata (prose or a byte-order mark before the first `---`,
invalid YAML) is not metadata here either, and the notes say so: such a card grants nothing. Values keep the type they
were parsed to (`license: no` is False): the license verdict must see it.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from modelpick.catalog.model import BaseModel, Relation

# The longest front matters on the Hub are evaluation tables of some 300 KB; a megabyte is not a card any more.
LARGEST_FRONT_MATTER = 1_000_000
# Nodes after aliases are expanded, and nesting. Real cards stay below 100,000 and 12; a billion-laughs file does not.
MOST_NODES = 300_000
DEEPEST = 60

_LICENSE_LINE = re.compile(r"^[ \t]*license[ \t]*:(.*)$", re.MULTILINE | re.IGNORECASE)
_HUB_URL = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?:models/)?", re.IGNORECASE)
_RELATIONS: dict[str, Relation] = {name: name for name in get_args(Relation)} | {
    "merged": "merge",
    "quantize": "quantized",
}
_BASE_KEYS = ("name", "id", "model", "model_id", "model_name", "repo_id")


@dataclass(frozen=True, slots=True)
class Card:
    """A card taken apart: parsed front matter, the text below it, and what a reader must know about the parsing."""

    metadata: Mapping[str, object]
    body: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What the front matter says, under the names of `Model`; only `license` keeps whatever type it had."""

    license: object
    license_name: str | None
    license_link: str | None
    base_models: tuple[BaseModel, ...]
    datasets: tuple[str, ...]
    tags: tuple[str, ...]
    languages: tuple[str, ...]
    pipeline_tag: str | None
    library: str | None
    gate_text: str | None
    notes: tuple[str, ...]


def decode(data: bytes) -> tuple[str, tuple[str, ...]]:
    """The text of a file, and a note where it was not plain UTF-8. Never fails: latin-1 reads any bytes."""
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, errors="replace"), ("the text is UTF-16, not UTF-8",)
    try:
        return data.decode("utf-8"), ()
    except UnicodeDecodeError:
        return data.decode("latin-1"), ("the text is not UTF-8: read as latin-1",)


def without_surrogates(value: Any) -> Any:
    """Parsed JSON whose texts can all be written again: `"\\ud800"` is JSON, and no text any output could carry."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    return [without_surrogates(item) for item in value] if isinstance(value, list) else value


def read(text: str) -> Card:
    """Takes a README.md apart. Never raises: what cannot be read is empty metadata and a note that says why."""
    if text.startswith("\ufeff"):
        return Card({}, text[1:], _hidden(text[1:], "there is a byte-order mark before the front matter"))
    start = text.lstrip()
    if not start.startswith(("---\n", "---\r")):
        return Card({}, text, _hidden(text, "there is text before the front matter") if "\n---" in text else ())
    front_matter, body = _split(start)
    if front_matter is None:
        return Card({}, text, _hidden(text, "the front matter is not closed by a line `---`"))
    if len(front_matter) > LARGEST_FRONT_MATTER:
        return Card({}, body, (f"the front matter is {len(front_matter):,} characters long: no metadata read",))
    metadata, notes = _parse(front_matter)
    return Card(metadata, body, notes)


def facts(card: Card) -> CardFacts:
    """What the metadata says in the catalog's own terms. Wrong types become a note, and nothing is read into them."""
    data = card.metadata
    notes = list(card.notes)
    words: dict[str, str | None] = {}
    for key in ("license_name", "license_link", "pipeline_tag", "library_name"):
        words[key] = _word(key, data.get(key), notes)
    prompts = [data.get(key) for key in ("extra_gated_heading", "extra_gated_prompt", "extra_gated_description")]
    return CardFacts(
        license=data.get("license"),
        license_name=words["license_name"],
        license_link=words["license_link"],
        base_models=base_models(data.get("base_model"), data.get("base_model_relation"), notes),
        datasets=_words("datasets", data.get("datasets"), notes),
        tags=_words("tags", data.get("tags"), notes),
        languages=_words("language", data.get("language"), notes),
        pipeline_tag=words["pipeline_tag"],
        library=words["library_name"],
        gate_text="\n\n".join(str(prompt) for prompt in prompts if prompt) or None,
        notes=tuple(notes),
    )


def base_models(value: object, relation: object, notes: list[str]) -> tuple[BaseModel, ...]:
    """Declared parents in every form the Hub has them: an id, a link, a list, mappings that hold an id.

    A parent that cannot be read is noted in `notes`; several parents without a stated relation are a merge.
    """
    parents: list[str] = []
    for item in value if isinstance(value, list | tuple) else [value]:
        if isinstance(item, Mapping):
            item = next((item[key] for key in _BASE_KEYS if key in item), item)
        if isinstance(item, str) and item.strip():
            parents.append(hub_id(item))
        elif item is not None:
            notes.append(f"base_model contains {_shown(item)}, which is not a model id")
    named = list(dict.fromkeys(parents))
    kind = _RELATIONS.get(relation.strip().lower()) if isinstance(relation, str) else None
    if relation is not None and kind is None:
        notes.append(f"base_model_relation is {_shown(relation)}, which the Hub does not define")
    return tuple(BaseModel(parent, kind or ("merge" if len(named) > 1 else "unknown")) for parent in named)


def hub_id(text: str) -> str:
    """An id as written, or the id inside a link to the Hub (`https://huggingface.co/org/name/tree/main`)."""
    text = text.strip().strip("\"'<>")
    prefix = _HUB_URL.match(text)
    if prefix is None:
        return text
    return "/".join(re.split(r"[?#]", text[prefix.end() :])[0].strip("/").split("/")[:2])


def _split(start: str) -> tuple[str | None, str]:
    """Front matter and body of a text that starts with `---`, at the first line that is `---` and nothing else, as
    huggingface_hub has it (repocard.py, REGEX_YAML_BLOCK). (None, text) where no such line follows.
    """
    at = start.find("\n---", 3 - 1)
    while at >= 0:
        after = start[at + 4 : at + 6]
        if after == "" or after.startswith("\n") or after == "\r\n":
            return start[3:at], start[at + 4 :].lstrip("\r\n")
        at = start.find("\n---", at + 1)
    return None, start


def _parse(front_matter: str) -> tuple[Mapping[str, object], tuple[str, ...]]:
    import yaml

    # A lone surrogate is not text that YAML, or any output, could carry.
    loader = _loader()(front_matter.encode("utf-8", "replace").decode("utf-8"))
    try:
        node = loader.get_single_node()
        if node is None:
            return {}, ()
        problem = _blown_up(node)
        if problem:
            return {}, (f"the front matter {problem}: no metadata read",)
        duplicates = _join_duplicates(node)
        value = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f" at line {error.problem_mark.line + 2}"
        return {}, (f"the front matter is not valid YAML{line} ({error.problem}): no metadata read",)
    except Exception as error:  # PyYAML's constructors of dates, numbers and sets raise whatever they come across
        return {}, (f"the front matter cannot be read as YAML ({type(error).__name__}): no metadata read",)
    finally:
        loader.dispose()
    if not isinstance(value, dict):
        return {}, (f"the front matter is {_shown(value)}, not a mapping of keys to values: no metadata read",)
    notes = tuple(f"the front matter sets {key} more than once: all its values count" for key in duplicates)
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


def _hidden(text: str, why: str) -> tuple[str, ...]:
    """The note for a card whose metadata the Hub cannot see, with the license it meant to state."""
    found = _LICENSE_LINE.search(text[:20_000])
    return (
        (f"{why}: the Hub reads no metadata from this card; it says license: {found[1].strip()[:60]}",) if found else ()
    )


def _word(key: str, value: object, notes: list[str]) -> str | None:
    if value is None or isinstance(value, str):
        return value.strip() or None if isinstance(value, str) else None
    notes.append(f"{key} is {_shown(value)}, not text: ignored")
    return None


def _words(key: str, value: object, notes: list[str]) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    words = [item.strip() for item in items if isinstance(item, str) and item.strip()]
    if isinstance(value, Mapping) or any(isinstance(item, list | Mapping) for item in items):
        notes.append(f"{key} contains more than names: the rest is ignored")
    return tuple(words)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
