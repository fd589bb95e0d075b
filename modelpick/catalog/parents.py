"""Every parent that a repository names, and where: card, tags, configs, adapter, merge recipe, GGUF header. Pure.

What stands in a field made for it (`base_model`) is stated. What a tool left behind (`_name_or_path`, the header of a
converted file) is residue: it names a parent as well, but may as well be a path on somebody's disk.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from modelpick.catalog import card, yaml_text
from modelpick.catalog.model import Model, Relation, Unreadable

_RECIPE = re.compile(r"(?:mergekit|merge)[\w-]*\.ya?ml")
_FENCED = re.compile(r"^[ \t]*```[ \t]*ya?ml[^\n]*\n(.*?)^[ \t]*```", re.MULTILINE | re.DOTALL | re.IGNORECASE)
_MOST_BLOCKS = 10
_LARGEST_RECIPE = 200_000  # characters
# What a block of YAML in a card must set to be a recipe, and not an example of how to call the model: mergekit's,
# axolotl's and LLaMA-Factory's own keys.
_MERGES = frozenset({"merge_method", "slices", "experts", "merge_params"})
_TRAINS = frozenset({"base_model", "model_name_or_path", "base_model_name_or_path"})
_MODEL_KEYS = frozenset({"model", "models", "base_model", "source_model", "merged_models", *_TRAINS})
_GGUF_LINK = re.compile(r"general\.(?:base_model\.\d+|source)\.(?:repo_url|url|huggingface\.repository|repository)")
_GGUF_NAME = re.compile(r"general\.base_model\.(\d+)\.name")
_GGUF_DATA = re.compile(r"general\.dataset\.\d+\.(?:repo_url|url)")
_TITLE = re.compile(r"[^\s/\\]+(?:\s+[^\s/\\]+)+")
_DATA_TAGS = ("dataset", "source_datasets")
_DEEPEST = 6


@dataclass(frozen=True, slots=True)
class NamedParent:
    """A parent as it is written (a Hub id, a link, a path), its relation, and the place, as evidence shows it."""

    id: str
    relation: Relation
    source: str
    residue: bool = False  # left behind by a tool: no question by itself where something else names the parent


def is_recipe(name: str) -> bool:
    """Whether a file at the top of a repository says what the model was merged from (mergekit's own file names)."""
    return _RECIPE.fullmatch(name.lower()) is not None


def in_fields(model: Model) -> Iterator[NamedParent]:
    """The parents of the card's field, the tags and the adapter."""
    for base in model.base_models:
        yield NamedParent(base.id, base.relation, "base_model")
    for tag in model.tags:
        kind, _, rest = tag.partition(":")
        if kind.lower() == "base_model" and rest.strip():
            relation, colon, id = rest.partition(":")
            found = card.base_models(id if colon else rest, relation if colon else None, "tags", [])
            yield from (NamedParent(base.id, base.relation, f"tag {tag[:120]}") for base in found)
    adapted = (model.adapter_config or {}).get("base_model_name_or_path")
    if isinstance(adapted, str) and adapted.strip():
        yield NamedParent(card.hub_id(adapted), "adapter", "adapter_config.json base_model_name_or_path")


def in_files(model: Model) -> Iterator[NamedParent]:
    """The parents that merge recipes, GGUF headers and configs name."""
    for name, text in model.texts.items():
        if is_recipe(name):
            recipe = yaml_text.mapping(text[:_LARGEST_RECIPE], name)[0]
            yield from (NamedParent(id, "merge", name) for id in _models_in(recipe))
        elif name.lower() == "readme.md":
            yield from _in_blocks(text)
    yield from _in_gguf(model.gguf or {})
    for id, key in paths_in(model.config or {}).items():
        yield NamedParent(id, "unknown", key, residue=True)


def unreadable_recipes(texts: Mapping[str, str]) -> tuple[Unreadable, ...]:
    """Merge recipes that cannot be read as YAML, or that name no model."""
    found = []
    for name, text in texts.items():
        if is_recipe(name):
            recipe, notes = yaml_text.mapping(text[:_LARGEST_RECIPE], name)
            if not any(_models_in(recipe)):
                found.append(Unreadable(name, notes[0] if notes else "no model is named in it", name))
    return tuple(found)


def data_in_files(model: Model) -> tuple[str, ...]:
    """The data sets that tags, recipes in the card and GGUF headers name."""
    found = [
        rest for tag in model.tags for kind, _, rest in [tag.partition(":")] if kind.lower() in _DATA_TAGS and rest
    ]
    header = model.gguf or {}
    listed = header.get("general.datasets")
    found += [name for name in (listed if isinstance(listed, list) else []) if isinstance(name, str)]
    found += [value for key, value in header.items() if _GGUF_DATA.fullmatch(key) and isinstance(value, str)]
    for name, text in model.texts.items():
        if name.lower() == "readme.md":
            for recipe in _recipes_in(text):
                data = recipe.get("datasets")
                for entry in data if isinstance(data, list) else ():
                    path = entry.get("path") if isinstance(entry, Mapping) else entry
                    found += [path] if isinstance(path, str) else []
    return tuple(dict.fromkeys(card.hub_id(name).removeprefix("datasets/") for name in found if name.strip()))


def _in_blocks(text: str) -> Iterator[NamedParent]:
    for recipe in _recipes_in(text):
        merges = any(key in recipe for key in _MERGES)
        for id in _models_in(recipe):
            yield NamedParent(id, "merge" if merges else "finetune", "a recipe in README.md", residue=not merges)


def _recipes_in(text: str) -> Iterator[Mapping[str, object]]:
    """The blocks of YAML in a card that say how the model was made."""
    if "```" not in text:
        return
    for number, block in enumerate(_FENCED.finditer(text)):
        if number == _MOST_BLOCKS:
            return
        if len(block[1]) <= _LARGEST_RECIPE and any(key in block[1] for key in (*_MERGES, *_TRAINS)):
            recipe = yaml_text.mapping(block[1], "a recipe in README.md")[0]
            if any(key in recipe for key in (*_MERGES, *_TRAINS)):
                yield recipe


def _models_in(recipe: object, depth: int = 0) -> Iterator[str]:
    """The models of a recipe: the texts under the keys that name one; `model+adapter` names two (mergekit)."""
    if depth > _DEEPEST:
        return
    if isinstance(recipe, Mapping):
        for key, value in recipe.items():
            if key in _MODEL_KEYS:
                yield from _named(value, depth)
            elif isinstance(value, Mapping | list):
                yield from _models_in(value, depth + 1)
    elif isinstance(recipe, list):
        for item in recipe:
            yield from _models_in(item, depth + 1)


def _named(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield from (card.hub_id(part) for part in value.split("+") if part.strip())
    elif isinstance(value, Mapping):
        inner = value.get("path") or value.get("id")
        yield from _named(inner, depth + 1) if isinstance(inner, str) else _models_in(value, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _named(item, depth + 1) if isinstance(item, str) else _models_in(item, depth + 1)


def _in_gguf(header: Mapping[str, object]) -> Iterator[NamedParent]:
    """`general.base_model.*` and `general.source.*` (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""
    numbers = set()
    for key, value in header.items():
        if _GGUF_LINK.fullmatch(key) and isinstance(value, str) and value.strip():
            id = card.hub_id(value)
            on_hub = id != value.strip() or key.endswith("repository")
            if on_hub or key.endswith("repo_url"):
                numbers.add(key.rpartition(".")[0])
                yield NamedParent(id, "quantized", f"GGUF header {key}", residue=not on_hub)
    for key, value in header.items():
        if _GGUF_NAME.fullmatch(key) and isinstance(value, str) and (place := key.rpartition(".")[0]) not in numbers:
            by = header.get(f"{place}.organization")
            id = f"{by}/{value}" if isinstance(by, str) and by.strip() else value
            yield NamedParent(re.sub(r"\s+", "-", id.strip()), "quantized", f"GGUF header {key}", residue=True)


def paths_in(config: Mapping[str, object], where: str = "config.json", depth: int = 0) -> dict[str, str]:
    """The `_name_or_path` of a config and of the configs within it: Hub ids and paths, each with its place.

    Several words without a slash are neither: transformers writes the title of a GGUF file there.
    """
    found: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and depth < _DEEPEST:
            found = paths_in(value, f"{where} {key}", depth + 1) | found
        elif key.endswith("name_or_path") and "tokenizer" not in key and _names_a_model(value):
            found[card.hub_id(value)] = f"{where} {key}"
    return found


def _names_a_model(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip()) and not _TITLE.fullmatch(value.strip())
