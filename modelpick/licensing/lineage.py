"""Follows a model's ancestors: declared parents, and those only known from elsewhere. Pure, and always ends.

Chains are followed 30 ancestors deep; beyond that, in a cycle, or where a parent cannot be found, the answer is a
question for a human (unless known_models says what the parent was).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from modelpick.catalog.model import Model, Relation
from modelpick.licensing.overrides import KnownModels

DEEPEST = 30  # ancestors, docs/contracts.md
MOST = 1000  # ancestors in all; a merge of merges beyond it is not followed further

Find = Callable[[str], Model | None]
Trouble = Literal["cycle", "too_deep", "missing_ancestor", "local_path_parent"]
_PATH = re.compile(r"[/\\~]|\.{1,2}[/\\]|[A-Za-z]:|.*\\")
_GGUF_PARENT = re.compile(r"general\.base_model\.\d+\.repo_url")
_HUB = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9_][\w.-]*)?")


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One ancestor: its id, what it is to its child, the model if it was found, and the trouble if there was any."""

    id: str
    child: str
    relation: Relation
    model: Model | None = None
    trouble: Trouble | None = None
    declared: bool = True  # False: known_models says so, the card does not


def ancestry(model: Model, find: Find, known: KnownModels) -> tuple[Ancestor, ...]:
    """Every ancestor once, nearest first."""
    found: dict[str, Ancestor] = {}
    queue: list[tuple[Model, tuple[str, ...]]] = [(model, (model.id.lower(),))]
    while queue:
        child, path = queue.pop(0)
        for parent in _parents(child, path, find, known):
            key = parent.id.lower()
            if parent.trouble is None and len(path) > DEEPEST:
                parent = Ancestor(parent.id, child.id, parent.relation, None, "too_deep", parent.declared)
            if parent.trouble == "cycle":
                key = f"{key} in a cycle"
            if key in found:
                continue
            found[key] = parent
            if len(found) >= MOST:
                return (*found.values(), Ancestor(parent.id, child.id, parent.relation, None, "too_deep"))
            if parent.model is not None and parent.trouble is None:
                queue.append((parent.model, (*path, parent.model.id.lower())))
    return tuple(found.values())


def _parents(child: Model, path: tuple[str, ...], find: Find, known: KnownModels) -> list[Ancestor]:
    wanted: list[tuple[str, Relation, bool]] = [(base.id.strip(), base.relation, True) for base in child.base_models]
    named = {id.lower() for id, _, _ in wanted}
    wanted += [(id, relation, True) for id, relation in _in_files(child) if id.lower() not in named]
    for entry in known.about(child.id, child.revision):
        wanted += [(base, "unknown", False) for base in entry.bases]
    return [_look_up(id, relation, declared, child, path, find, known) for id, relation, declared in wanted]


def _in_files(child: Model) -> Iterator[tuple[str, Relation]]:
    """Parents that adapter_config.json and GGUF headers name."""
    adapted = (child.adapter_config or {}).get("base_model_name_or_path")
    if isinstance(adapted, str) and adapted.strip():
        yield adapted.strip(), "adapter"
    for key, value in (child.gguf or {}).items():
        if _GGUF_PARENT.fullmatch(key) and isinstance(value, str) and (found := _HUB.match(value.strip())):
            yield found[1], "quantized"


def _look_up(
    id: str, relation: Relation, declared: bool, child: Model, path: tuple[str, ...], find: Find, known: KnownModels
) -> Ancestor:
    if _PATH.match(id) or id.count("/") > 1:
        return Ancestor(id, child.id, relation, None, "local_path_parent", declared)
    canonical = known.canonical(id)
    model = find(canonical) if _REPOSITORY.fullmatch(canonical) else None
    name = model.id if model is not None else canonical
    if name.lower() in path or canonical.lower() in path:
        return Ancestor(name, child.id, relation, None, "cycle", declared)
    if model is None:
        return Ancestor(name, child.id, relation, None, "missing_ancestor", declared)
    return Ancestor(name, child.id, relation, model, None, declared)
