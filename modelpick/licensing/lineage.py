"""Follows a model's ancestors: declared parents, and those only known from elsewhere. Pure, and always ends.

Chains are followed 30 ancestors deep; beyond that, in a cycle, or where a parent cannot be found, the answer is a
question for a person (unless known_models says what the parent was).

A card that names no parent may still bear a parent's name: `NameMatches` finds the known model that a repository is
named after. A mirror, a quantization or a fine-tune keeps its parent's name (`someone/LFM2-1.2B-GGUF`) far more often
than it declares it. A matching name is a suspicion, never a permission: it counts only where that license demands more.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from modelpick.catalog.model import Model, Relation
from modelpick.licensing.overrides import Curations

DEEPEST = 30  # ancestors, docs/contracts.md
MOST = 1000  # ancestors in all; a merge of merges beyond it is not followed further

Find = Callable[[str], Model | None]
AncestryProblem = Literal["cycle", "too_deep", "missing_ancestor", "local_path_parent"]
_PATH = re.compile(r"[/\\~]|\.{1,2}[/\\]|[A-Za-z]:|.*\\")
_GGUF_PARENT = re.compile(r"general\.base_model\.\d+\.repo_url")
_HUB = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)")
_SHORTEST_NAME = 6  # characters; "gpt2" or "opt" are parts of too many names
_SEPARATOR = re.compile(r"[-_.]")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9_][\w.-]*)?")


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One ancestor: its id, its relation to its child, the model if it was found, and the problem if there was one."""

    id: str
    child: str
    relation: Relation
    model: Model | None = None
    problem: AncestryProblem | None = None
    declared: bool = True  # False: known_models says so, the card does not


def ancestry(model: Model, find: Find, curations: Curations) -> tuple[Ancestor, ...]:
    """Every ancestor once, nearest first."""
    found: dict[str, Ancestor] = {}
    queue: list[tuple[Model, tuple[str, ...]]] = [(model, (model.id.lower(),))]
    while queue:
        child, path = queue.pop(0)
        for parent in _parents(child, path, find, curations):
            key = parent.id.lower()
            if parent.problem is None and len(path) > DEEPEST:
                parent = Ancestor(parent.id, child.id, parent.relation, None, "too_deep", parent.declared)
            if parent.problem == "cycle":
                key = f"{key} in a cycle"
            if key in found:
                continue
            found[key] = parent
            if len(found) >= MOST:
                return (*found.values(), Ancestor(parent.id, child.id, parent.relation, None, "too_deep"))
            if parent.model is not None and parent.problem is None:
                queue.append((parent.model, (*path, parent.model.id.lower())))
    return tuple(found.values())


def _parents(child: Model, path: tuple[str, ...], find: Find, curations: Curations) -> list[Ancestor]:
    wanted: list[tuple[str, Relation, bool]] = [(base.id.strip(), base.relation, True) for base in child.base_models]
    named = {id.lower() for id, _, _ in wanted}
    wanted += [(id, relation, True) for id, relation in _in_files(child) if id.lower() not in named]
    for entry in curations.about(child.id, child.revision):
        wanted += [(base, "unknown", False) for base in entry.bases]
    return [_look_up(id, relation, declared, child, path, find, curations) for id, relation, declared in wanted]


def _in_files(child: Model) -> Iterator[tuple[str, Relation]]:
    """Parents that adapter_config.json and GGUF headers name."""
    adapted = (child.adapter_config or {}).get("base_model_name_or_path")
    if isinstance(adapted, str) and adapted.strip():
        yield adapted.strip(), "adapter"
    for key, value in (child.gguf or {}).items():
        if _GGUF_PARENT.fullmatch(key) and isinstance(value, str) and (found := _HUB.match(value.strip())):
            yield found[1], "quantized"


def _look_up(
    id: str, relation: Relation, declared: bool, child: Model, path: tuple[str, ...], find: Find, curations: Curations
) -> Ancestor:
    if _PATH.match(id) or id.count("/") > 1:
        return Ancestor(id, child.id, relation, None, "local_path_parent", declared)
    canonical = curations.canonical(id)
    model = find(canonical) if _REPOSITORY.fullmatch(canonical) else None
    name = model.id if model is not None else canonical
    if name.lower() in path or canonical.lower() in path:
        return Ancestor(name, child.id, relation, None, "cycle", declared)
    if model is None:
        return Ancestor(name, child.id, relation, None, "missing_ancestor", declared)
    return Ancestor(name, child.id, relation, model, None, declared)


class NameMatches:
    """The names of known models, loaded when a model without parents is first looked at."""

    def __init__(self, load: Callable[[], Iterable[str]]) -> None:
        self._load = load

    @cached_property
    def _by_name(self) -> dict[str, str]:
        names: dict[str, str] = {}
        for id in self._load():
            name = id.rpartition("/")[2].lower()
            if len(name) >= _SHORTEST_NAME and any(letter.isdigit() for letter in name):
                names.setdefault(name, id)
        return names

    def of(self, id: str) -> str | None:
        """The id of the known model whose whole name begins this repository's name; None for the model itself."""
        name = id.rpartition("/")[2].lower()
        # bartowski/nvidia_Nemotron-Flash-1B-GGUF: the publisher stands before the name.
        for start in (name, name.partition("_")[2]):
            ends = [len(start), *(cut.start() for cut in reversed(list(_SEPARATOR.finditer(start))))]
            for end in ends:
                match = self._by_name.get(start[:end])
                if match is not None:
                    return None if match.lower() == id.lower() else match
        return None
