"""Follows a model's ancestors: those its card, files and text name, and those known from elsewhere. Always ends. Pure.

Chains are followed 30 ancestors deep; beyond that, in a circle of stated parents, or where a parent cannot be found,
the answer is a question for a person (unless known_models says what the parent was).

What a tool left behind (`_name_or_path`, a converted file's header) is followed like the rest where it leads to a
repository. Where it leads nowhere it is a question only if nothing else names the parent: a path on somebody's disk
says that there was a parent only of a model that is derived by its name or its files.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from modelpick.catalog.card import LONGEST_ID, hub_id
from modelpick.catalog.derived import derivation
from modelpick.catalog.model import Model, Relation
from modelpick.catalog.parents import NamedParent, in_fields, in_files
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.former_ids import former_ids

DEEPEST = 30  # ancestors, docs/contracts.md
MOST = 1000  # ancestors in all; a merge of merges beyond it is not followed further

Find = Callable[[str], Model | None]
AncestryProblem = Literal["cycle", "too_deep", "missing_ancestor", "local_path_parent"]
_PATH = re.compile(r"[/\\~]|\.{1,2}[/\\]|[A-Za-z]:|.*\\")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9_][\w.-]*)?")
_CACHED = re.compile(r"models--([\w.-]+?)--([\w.-]+)")
_PERHAPS = "README.md, perhaps"  # the source of what may be a data set as well
_STATED = ("base_model", "adapter_config", "tag", "known_models")  # sources, by their first words
# Folders people train in: `output/checkpoint-500` has the form of an id and is none.
_FOLDERS = re.compile(
    r"(?:outputs?|models?|checkpoints?|ckpts?|results?|runs?|saves?|saved|data|tmp|temp|home|mnt|workspace|content|root|user"
    r"|exp|experiments?|logs?|pretrained|weights|merged|trained|final|work|src|hf|llm|llms|cache|drive|opt|var|srv"
    r"|kaggle|scratch|nfs|share|shared|base|merges?|local)[\w-]*/.*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One ancestor: its id, its relation to its child, the model if it was found, and the problem if there was one."""

    id: str
    child: str
    relation: Relation
    model: Model | None = None
    problem: AncestryProblem | None = None
    declared: bool = True  # False: the card does not say so in a field made for it
    source: str = "base_model"  # where it is named, as evidence
    others: tuple[str, ...] = ()  # further ancestors in the chain that it is a parent of, as well as of `child`

    def is_parent_of(self, id: str) -> bool:
        """Whether the model called `id` names it as a parent."""
        return id.lower() in (name.lower() for name in (self.child, *self.others))


def ancestry(model: Model, find: Find, facts: LicenseFacts) -> tuple[Ancestor, ...]:
    """Every ancestor once, nearest first."""
    found: dict[str, Ancestor] = {}
    again: list[Ancestor] = []  # parents that were found before, by another of their children
    queue: list[tuple[Model, tuple[str, ...]]] = [(model, (model.id.lower(), repository_of(model).lower()))]
    while queue:
        child, path = queue.pop(0)
        for parent in _parents(child, path, find, facts):
            key = f"{parent.id}@{parent.model.revision if parent.model else None}".lower()
            if parent.problem is None and len(path) - 1 > DEEPEST:
                parent = replace(parent, model=None, problem="too_deep")
            if parent.problem == "cycle":
                key = f"{key} in a cycle"
            if key in found:
                found[key] = replace(found[key], others=(*found[key].others, child.id))
                again.append(parent)
                continue
            found[key] = parent
            if len(found) >= MOST:
                return (*found.values(), replace(parent, model=None, problem="too_deep"))
            if parent.model is not None and parent.problem is None:
                queue.append((parent.model, (*path, parent.model.id.lower())))
    circle = _circle(model, found.values(), again) if again else None
    return tuple(found.values()) if circle is None else (*found.values(), circle)


def _circle(model: Model, found: Iterable[Ancestor], again: Iterable[Ancestor]) -> Ancestor | None:
    """A circle of stated parents that was entered at two of its members, so that no path led round it."""
    ancestors = list(found)
    if any(one.problem == "cycle" for one in ancestors):
        return None
    edges = [
        one for one in (*ancestors, *again) if one.model and one.problem is None and one.source.startswith(_STATED)
    ]
    parents: dict[str, list[Ancestor]] = {}
    for edge in edges:
        parents.setdefault(edge.child.lower(), []).append(edge)
    left = {name for edge in edges for name in (edge.child.lower(), edge.id.lower())}
    while ends := {name for name in left if not any(up.id.lower() in left for up in parents.get(name, ()))}:
        left -= ends
    closing = next((edge for edge in again if edge.child.lower() in left and edge.id.lower() in left), None)
    return None if closing is None else replace(closing, model=None, problem="cycle")


def _parents(child: Model, path: tuple[str, ...], find: Find, facts: LicenseFacts) -> list[Ancestor]:
    id = repository_of(child)
    curated = facts.curations.about(id, child.revision)
    formerly = [entry for old in former_ids(child, facts) for entry in facts.curations.about(old, child.revision)]
    named = _named(child, id, facts)
    stated = [_look_up(parent, child, path, find, facts) for parent in named if not parent.residue]
    bases = dict.fromkeys(base for entry in (*curated, *formerly) for base in entry.bases)
    known = [NamedParent(base, "unknown", "known_models") for base in bases]
    stated += [replace(_look_up(base, child, path, find, facts), declared=False) for base in known]
    # A link in prose, or what a tool wrote, that leads back to the model itself is no circle of parents.
    stated = [one for one in stated if one.problem != "cycle" or one.source.startswith(_STATED)]
    if any(entry.independent for entry in curated):
        return stated
    left = [_look_up(parent, child, path, find, facts) for parent in named if parent.residue]
    left = [replace(one, declared=False) for one in left if one.problem != "cycle" and not _is_folder_of(id, one.id)]
    kept = [one for one in left if one.model or (one.problem == "missing_ancestor" and _is_known(one.id, facts))]
    if stated or kept:
        return [*stated, *kept]
    return _own_work(child, id, find) or _left_over(child, id, left)


def _named(child: Model, id: str, facts: LicenseFacts) -> list[NamedParent]:
    """Every parent that the repository names, once, by the place that says most about it."""
    named: dict[str, NamedParent] = {}
    for parent in (*in_fields(child), *in_files(child), *_in_text(child, id, facts)):
        key = parent.id.strip().lower()
        first = named.get(key)
        if first is None or (first.residue and not parent.residue):
            named[key] = parent
        elif first.relation == "unknown" and parent.relation != "unknown":
            named[key] = replace(first, relation=parent.relation)
    return [parent for key, parent in named.items() if key]


def _in_text(child: Model, id: str, facts: LicenseFacts) -> Iterator[NamedParent]:
    """Parents that the card's text names with a relation word, and the repository that its license_link leads to."""
    if (link := child.license_link) and (linked := hub_id(link)) != link.strip() and not linked.startswith("datasets/"):
        yield NamedParent(linked, "unknown", "license_link", residue=True)
    text = next((text for name, text in child.texts.items() if name.lower() == "readme.md"), None)
    for named in facts.relation_words.parents(text) if text else ():
        name, own = named.id.rpartition("/")[2].lower(), id.rpartition("/")[2].lower()
        derived_from_this = len(name) > len(own) > 2 and name.startswith(own)
        if not named.id.startswith("datasets/") and not derived_from_this:
            where = f"{_PERHAPS if named.how == 'perhaps' else 'README.md'}: {named.sentence}"
            yield NamedParent(named.id, "unknown", where, residue=named.how != "link")


def _look_up(parent: NamedParent, child: Model, path: tuple[str, ...], find: Find, facts: LicenseFacts) -> Ancestor:
    id, _, revision = parent.id.strip().partition("@")
    named = Ancestor(parent.id[:LONGEST_ID], child.id, parent.relation, source=parent.source)
    if "://" in id:
        return replace(named, problem="missing_ancestor")
    if _PATH.match(id) or id.count("/") > 1 or len(parent.id) > LONGEST_ID or (parent.residue and _FOLDERS.match(id)):
        return replace(named, problem="local_path_parent")
    canonical = facts.curations.canonical(id)
    asked = f"{canonical}@{revision}" if revision not in ("", "main") else canonical
    model = find(asked) if _REPOSITORY.fullmatch(canonical) else None
    name = model.id if model is not None else asked
    if name.lower() in path or canonical.lower() in path:
        return replace(named, id=name, problem="cycle")
    return replace(named, id=name, model=model, problem="missing_ancestor" if model is None else None)


def _is_folder_of(id: str, parent: str) -> bool:
    """Whether a folder (`/name`) has the name of a repository: what its files call it is then itself."""
    return id.startswith("/") and parent.rpartition("/")[2].lower() == id[1:].lower()


def _is_known(id: str, facts: LicenseFacts) -> bool:
    """Whether a repository that cannot be found is known all the same, by itself or by its family."""
    return bool(facts.curations.about(id)) or bool(facts.families.of(id, None))


def _left_over(child: Model, id: str, left: list[Ancestor]) -> list[Ancestor]:
    """The questions that traces raise which lead nowhere, of a repository that names its parent in no other way."""
    publisher = id.partition("/")[0].lower()
    # unread.py asks about a license_link that leads nowhere.
    left = [one for one in left if one.source != "license_link" and not one.source.startswith(_PERHAPS)]
    gone = [one for one in left if one.problem == "missing_ancestor" and one.id.partition("/")[0].lower() != publisher]
    if gone:
        return gone
    return left if derivation(child, id) is not None else []


def _own_work(child: Model, id: str, find: Find) -> list[Ancestor]:
    """The publisher's own model that this quantization or adapter has the name of: `org/name` of `org/name-GGUF`."""
    made = derivation(child, id)
    publisher, slash, _ = id.partition("/")
    if made is None or made.kind == "merge" or made.stem is None or not slash or not publisher:
        return []
    model = find(f"{publisher}/{made.stem}")
    if model is None or model.id.lower() == child.id.lower():
        return []
    return [Ancestor(model.id, child.id, made.kind, model, None, declared=False, source=made.because)]


def repository_of(model: Model) -> str:
    """The model's id; of a folder what its path tells: the Hub's cache keeps the id, any other path only a name.

    A folder called meta-llama/x does not prove that Meta published it, so its organisation is empty.
    """
    if model.origin != "folder":
        return model.id
    path = model.id.replace("\\", "/").rstrip("/")
    cached = _CACHED.search(path)
    return f"{cached[1]}/{cached[2]}" if cached else "/" + path.rpartition("/")[2]
