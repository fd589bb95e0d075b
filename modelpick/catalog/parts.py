"""What was read of a repository, and the Model it makes: the same for a local folder and for the Hub. Pure.

A file of its own, since folder.py reads files and hub_record.py, which joins these parts too, may not.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from modelpick.catalog import card, headers, parents
from modelpick.catalog.gguf_table import GgufTable
from modelpick.catalog.model import BaseModel, Conflict, Model, Origin, Unread, Unreadable
from modelpick.catalog.yaml_text import shown

NO_CONFIG = "there is no config.json: the shape is unknown"
PACKED = "the weights are packed: parameters are counted from the shape, not from the header"
_CARD_FIELDS = (
    "license", "license_name", "license_link", "datasets", "tags", "languages", "pipeline_tag", "library", "gate_text",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RepositoryParts:
    """Names, texts (card and terms), parsed configs and header counts of one revision, and notes on the reading."""

    id: str
    origin: Origin
    revision: str | None
    files: tuple[str, ...]
    texts: dict[str, str]
    config: dict[str, object] | None
    adapter_config: dict[str, object] | None
    gguf: dict[str, object] | None
    parameters_by_dtype: dict[str, int]
    notes: tuple[str, ...]
    unread: tuple[Unread, ...] = ()
    gguf_table: GgufTable | None = None
    gguf_problem: str | None = None


def assembled(parts: RepositoryParts) -> Model:
    """The Model that the parts describe. Every field that is set names the file it came from in `sources`."""
    readme = next((name for name in parts.texts if name.lower() == "readme.md"), None)
    facts = card.facts(card.read(parts.texts[readme]) if readme else card.Card({}, ""))
    sources = {field: readme for field in _CARD_FIELDS if readme and getattr(facts, field) not in (None, ())}
    sources |= {f"config.{key}": "config.json" for key in parts.config or ()}
    bases, conflicts = _with_adapter_base(facts.base_models, parts.adapter_config)
    if bases:
        sources["base_models"] = readme if readme and facts.base_models else "adapter_config.json"
    # What an adapter's repository holds is an addition to its base's weights, not a model's parameters.
    total = None if parts.adapter_config is not None else headers.total_parameters(parts.parameters_by_dtype)
    if total is not None:
        sources["parameters"] = "safetensors headers"
    packed = bool(parts.parameters_by_dtype) and total is None and parts.adapter_config is None
    return Model(
        id=parts.id,
        origin=parts.origin,
        revision=parts.revision,
        config=parts.config,
        parameters=total,
        parameters_exact=total is not None,
        parameters_by_dtype=parts.parameters_by_dtype,
        base_models=bases,
        texts=parts.texts,
        files=parts.files,
        unread=parts.unread,
        adapter_config=parts.adapter_config,
        gguf=parts.gguf,
        gguf_table=parts.gguf_table,
        gguf_problem=parts.gguf_problem,
        sources=sources,
        conflicts=conflicts,
        unreadable=(*facts.unreadable, *_unreadable_adapter(parts), *parents.unreadable_recipes(parts.texts)),
        notes=(*parts.notes, *facts.notes, *((PACKED,) if packed else ())),
        **{field: getattr(facts, field) for field in _CARD_FIELDS},
    )


def _with_adapter_base(
    declared: tuple[BaseModel, ...], adapter: Mapping[str, object] | None
) -> tuple[tuple[BaseModel, ...], tuple[Conflict, ...]]:
    """The card's parents and the one adapter_config.json names; a conflict where the card declares others only."""
    named = (adapter or {}).get("base_model_name_or_path")
    if not isinstance(named, str) or not named.strip():
        return declared, ()
    base = BaseModel(card.hub_id(named)[: card.LONGEST_ID + 1], "adapter")
    others = tuple(parent for parent in declared if parent.id != base.id)
    if len(others) < len(declared) or not declared:
        return (*others, base), ()
    ids = ", ".join(parent.id for parent in declared)
    return (*declared, base), (Conflict("base_models", ids, "README.md", base.id, "adapter_config.json"),)


def _unreadable_adapter(parts: RepositoryParts) -> tuple[Unreadable, ...]:
    """An adapter_config.json that is there and does not tell the base model."""
    name, key = "adapter_config.json", "base_model_name_or_path"
    if parts.adapter_config is None:
        gated = any(note.startswith("gated") for note in parts.notes)
        return () if name not in parts.files or gated else (Unreadable(name, "no JSON object", name),)
    named = parts.adapter_config.get(key)
    return () if named is None or isinstance(named, str) else (Unreadable(key, shown(named), name),)
