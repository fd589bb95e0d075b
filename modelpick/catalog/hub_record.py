"""Joins what the Hub's API, a repository's files and the catalog say about one model. Pure.

The files at the commit come first; the API's record fills what they leave open (a gated card, a parsed relation), and
where the two differ both are kept as a Conflict. The catalog adds what the Hub does not state.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelpick.catalog import card
from modelpick.catalog.model import BaseModel, Conflict, Model, Unreadable
from modelpick.catalog.parts import NO_CONFIG, RepositoryParts, assembled

API = "Hub API"
_VAGUE = ("unknown", "merge")  # what several parents without a stated relation are taken for
_CARD_FIELDS = ("license_name", "license_link", "datasets", "languages", "pipeline_tag", "library", "gate_text")


_KNOWN = (
    "context", "trained_context", "dimension", "capabilities", "active_parameters", "release_date", "downloads",
    "languages", "languages_elsewhere",
)  # fmt: skip


def merged(parts: RepositoryParts, record: Mapping[str, object], *, asked: str) -> Model:
    """The Model of a repository: its files, and the API's record of it ({} where there is none)."""
    model = assembled(parts)
    data = record.get("cardData")
    stated = card.facts(card.Card(data if isinstance(data, Mapping) else {}, ""), API)
    sources, conflicts, notes = dict(model.sources), list(model.conflicts), list(model.notes)
    changes: dict[str, Any] = {}
    for field in _CARD_FIELDS:
        if getattr(model, field) in (None, ()) and getattr(stated, field) not in (None, ()):
            changes[field], sources[field] = getattr(stated, field), API
    if model.license is None and stated.license is not None:
        changes["license"], sources["license"] = stated.license, API
    elif stated.license is not None and stated.license != model.license:
        conflicts.append(Conflict("license", model.license, "README.md", stated.license, API))
    named, other = model.license_name, stated.license_name
    if named is not None and other is not None and named != other:
        conflicts.append(Conflict("license_name", named, "README.md", other, API))
    if not set(stated.datasets) <= set(model.datasets):
        changes["datasets"] = tuple(dict.fromkeys((*model.datasets, *stated.datasets)))
    unread = list(model.unreadable)
    listed = record.get("tags")
    tags = tuple(tag for tag in listed if isinstance(tag, str)) if isinstance(listed, list) else ()
    if tags:
        changes["tags"], sources["tags"] = tuple(dict.fromkeys((*tags, *model.tags))), API
    if model.license is None and stated.license is None:
        licenses = [tag.partition(":")[2] for tag in tags if tag.startswith("license:")]
        if licenses:
            changes["license"], sources["license"] = licenses[0] if len(licenses) == 1 else licenses, "Hub tags"
    bases = _bases(model, stated, record, tags, unread)
    if bases != model.base_models:
        changes["base_models"] = bases
        sources.setdefault("base_models", API)
    known = {(each.field, each.value) for each in unread}
    unread += [each for each in stated.unreadable if (each.field, each.value) not in known]
    changes |= _plain_fields(model, record, sources) | {"unreadable": tuple(unread)}
    if parts.id.lower() != asked.lower():
        notes.append(f"{asked} is now called {parts.id}")
        changes["former_ids"] = (asked,)
    if record.get("disabled") is True:
        notes.append("the Hub has disabled this repository")
    if "safetensors" in record and model.parameters is not None:
        sources["parameters"] = "safetensors headers, as the Hub counted them"
    return replace(model, sources=sources, conflicts=tuple(conflicts), notes=tuple(notes), **changes)


def catalog_completes(model: Model, known: Model, as_of: str) -> Model:
    """A live model with what only the catalog knows: quality, context, ..., and the shape where a gate hides it."""
    sources, conflicts, notes = dict(model.sources), list(model.conflicts), list(model.notes)
    changes: dict[str, Any] = {"quality": known.quality, "quality_by_use": known.quality_by_use}
    for field in _KNOWN:
        if getattr(model, field) in (None, ()) and getattr(known, field) not in (None, ()):
            changes[field] = getattr(known, field)
            sources[field] = f"catalog: {known.sources.get(field, 'citation')}"
    told = {name: source for name, source in known.sources.items() if name.startswith("capabilities.")}
    sources |= {name: f"catalog: {source}" for name, source in told.items() if "capabilities" in changes}
    if model.config is None and known.config is not None and model.adapter_config is None and _unread(model):
        changes["config"] = known.config
        sources |= {
            f"config.{key}": f"catalog: {known.sources.get(f'config.{key}', 'citation')}" for key in known.config
        }
        notes = [note for note in notes if note != NO_CONFIG]
        notes.append(f"no config.json could be read: the shape is that of the catalog of {as_of}")
    uncounted = model.parameters is None and not model.parameters_by_dtype
    if uncounted and known.parameters is not None and (model.config is not None or "config" in changes):
        changes |= {"parameters": known.parameters, "parameters_exact": known.parameters_exact}
        sources["parameters"] = f"catalog: {known.sources.get('parameters', 'citation')}"
    if known.license is not None and isinstance(model.license, str) and model.license != known.license:
        source = model.sources.get("license", API)
        was = known.license_name if known.license == "other" and known.license_name else known.license
        conflicts.append(Conflict("license", model.license, source, was, f"catalog {as_of}"))
    formers = (*model.former_ids, known.id, *known.former_ids)
    changes["former_ids"] = tuple({id.lower(): id for id in formers if id.lower() != model.id.lower()}.values())
    return replace(model, sources=sources, conflicts=tuple(conflicts), notes=tuple(notes), **changes)


def _unread(model: Model) -> bool:
    """Whether config.json is behind a gate or absent, rather than damaged."""
    return "config.json" not in model.files or any(note.startswith("gated") for note in model.notes)


def _bases(
    model: Model,
    stated: card.CardFacts,
    record: Mapping[str, object],
    tags: tuple[str, ...],
    unread: list[Unreadable],
) -> tuple[BaseModel, ...]:
    """Every parent that the files, the API or the tags name, each with the most telling relation stated for it."""
    listed = record.get("baseModels")
    if isinstance(listed, Mapping):
        api = card.base_models(listed.get("models"), listed.get("relation"), API, unread)
    else:
        api = card.base_models(listed, None, API, unread)
    tagged: list[BaseModel] = []
    for tag in tags:
        kind, _, rest = tag.partition(":")
        if kind == "base_model" and rest:
            relation, colon, id = rest.partition(":")
            tagged += card.base_models(id if colon else rest, relation if colon else None, API, [])
    joined: dict[str, BaseModel] = {}
    for base in (*model.base_models, *stated.base_models, *api, *tagged):
        key = base.id.lower()
        if key not in joined or (joined[key].relation in _VAGUE and base.relation not in _VAGUE):
            joined[key] = BaseModel(joined[key].id if key in joined else base.id, base.relation)
    return tuple(joined.values())


def _plain_fields(model: Model, record: Mapping[str, object], sources: dict[str, str]) -> dict[str, object]:
    """Fields that only the API states: gating, popularity, dates."""
    found: dict[str, object] = {}
    gated = record.get("gated")
    if gated in ("auto", "manual") or isinstance(gated, bool):
        found["gated"] = gated
    for name in ("downloads", "likes"):
        if isinstance(record.get(name), int) and not isinstance(record[name], bool):
            found[name] = record[name]
    created = record.get("createdAt")
    if isinstance(created, str) and len(created) >= 10:
        found["release_date"] = created[:10]
    for ours, theirs in (("pipeline_tag", "pipeline_tag"), ("library", "library_name")):
        if getattr(model, ours) is None and isinstance(record.get(theirs), str):
            found[ours] = record[theirs]
    sources |= dict.fromkeys(found, API)
    return found
