"""What a bill of materials says, whatever its format: models, ancestors, data sets, and who comes from whom. Pure."""

import hashlib
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modelpick.catalog.model import Model
from modelpick.licensing.quotes import Clause
from modelpick.licensing.verdict import Judgement


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model or an ancestor. `judgement`: its verdict, where it was asked for; `facts`: what its repository states.

    `declared` are the licenses that it states itself, `concluded` all that were found to bind it.
    """

    id: str
    revision: str | None
    declared: tuple[str, ...]
    concluded: tuple[str, ...]
    judgement: Judgement | None = None
    facts: Model | None = None

    @property
    def publisher(self) -> str | None:
        """The organisation of a Hub id; None for a folder, or for a family of models."""
        group, slash, _ = self.id.partition("/")
        return group if slash and is_on_hub(self.id) else None

    @property
    def name(self) -> str:
        """The id without its organisation."""
        return self.id.rpartition("/")[2] or self.id

    @property
    def address(self) -> str | None:
        """Its page on the Hub, at the commit where that is known."""
        if not is_on_hub(self.id):
            return None
        return f"https://huggingface.co/{self.id}" + (f"/tree/{self.revision}" if self.revision else "")

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets that its card declares, each once."""
        return tuple(dict.fromkeys(self.facts.datasets)) if self.facts is not None else ()

    @property
    def architecture(self) -> tuple[str | None, str | None]:
        """The family ("llama") and the class ("LlamaForCausalLM") that config.json names."""
        config = (self.facts.config if self.facts is not None else None) or {}
        family, classes = config.get("model_type"), config.get("architectures")
        first = classes[0] if isinstance(classes, list) and classes else None
        return (family if isinstance(family, str) else None), (first if isinstance(first, str) else None)


@dataclass(frozen=True, slots=True)
class Descent:
    """That one model comes from another. Keys are ids in lower case."""

    child: str
    parent: str
    relation: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything a bill of materials lists; `policy` is the name of the policy, `id` follows from the content."""

    models: dict[str, ListedModel]
    descents: tuple[Descent, ...]
    datasets: tuple[str, ...]
    policy: str
    id: uuid.UUID

    def parents(self, key: str) -> list[ListedModel]:
        """The parents of a model, each once."""
        return [self.models[parent] for parent in dict.fromkeys(d.parent for d in self.descents if d.child == key)]


def is_on_hub(id: str) -> bool:
    """Whether an id is a repository's and neither a folder nor a family's name."""
    group, slash, name = id.partition("/")
    return bool(slash and group and name) and "/" not in name and not id.startswith((".", "~"))


def inventory(answers: Sequence[Judgement], policy: str) -> Inventory:
    """All models of the answers and their ancestors, each once, ignoring case. A circle of ancestors ends it."""
    models: dict[str, ListedModel] = {}
    for answer in answers:
        facts = answer.models[0] if answer.models else None
        models.setdefault(answer.model.lower(), _asked(answer, facts))
    descents: dict[Descent, None] = {}
    for answer in answers:
        known = {model.id.lower(): model for model in answer.models[1:]}
        for step in answer.lineage:
            key = step.model.lower()
            found = known.get(key)
            ids = tuple(step.license.split(" AND ")) if step.license else ()
            models.setdefault(key, ListedModel(step.model, found.revision if found else None, ids, ids, None, found))
            child = step.child.lower() or answer.model.lower()
            if child in models and child != key:
                descents[Descent(child, key, step.relation)] = None
    datasets = tuple(sorted({name for listed in models.values() for name in listed.datasets}))
    # The same answers give the same id, and any other another one.
    content = [policy, [answer.as_json() for answer in answers], datasets]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).digest()
    return Inventory(models, tuple(descents), datasets, policy, uuid.UUID(bytes=digest[:16], version=4))


def _asked(answer: Judgement, facts: Model | None) -> ListedModel:
    stated = [found.id for found in answer.licenses if found.source in ("card", "catalog")]
    declared = tuple(dict.fromkeys(stated)) or answer.license_ids
    return ListedModel(answer.model, answer.revision, declared, answer.license_ids, answer, facts)


def remarks(listed: ListedModel) -> Iterable[tuple[str, str]]:
    """Verdict, reasons, obligations and evidence, each under its word."""
    answer = listed.judgement
    if answer is None:
        return
    yield "verdict", answer.verdict.value
    yield "basis", answer.basis
    for product, verdict in answer.products:
        yield "product", f"{product}: {verdict.value}"
    for reason in answer.reasons:
        yield "reason", f"{reason.code}: {reason.text} ({reason.evidence}){_clause(reason.clause)}"
    for owed in answer.obligations:
        yield "obligation", f"{owed.code}: {owed.text}{_clause(owed.clause)}"
    for found in answer.licenses:
        yield "evidence", f"{found.id} from {found.source}: {found.evidence}"
    for name, digest in answer.evidence().items():
        yield "evidence_sha256", f"{name}: {digest}"


def _clause(clause: Clause | None) -> str:
    """The clause of a sentence, with its words, where they were read and on which day."""
    if clause is None:
        return ""
    return f' [section {clause.section} of {clause.source}, read on {clause.read_on}: "{clause.words}"]'
