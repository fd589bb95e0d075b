"""`modelpick catalog show|info|diff`: what exists, where each fact came from, and what has changed."""

from pathlib import Path
from typing import Annotated, Any

import typer

from modelpick.catalog import index, snapshot
from modelpick.catalog.index import Catalog
from modelpick.catalog.model import Model
from modelpick.cli.options import whole_number
from modelpick.cli.output import Console, Output
from modelpick.errors import UsageError

_FACTS = (
    *("parameters", "active_parameters", "context", "license", "license_name", "license_link", "base_models"),
    *("datasets", "languages", "pipeline_tag", "downloads", "likes", "release_date"),
)


def info(out: Output) -> None:
    """Show how many models there are, how old, from which sources."""
    catalog = index.load()
    rated = sum(model.quality is not None for model in catalog.models.values())
    payload = {
        "catalog": {
            "source": "embedded",
            "as_of": catalog.as_of,
            "downloads_as_of": catalog.downloads_as_of,
            "models": len(catalog.models),
            "with_quality": rated,
        },
        "sources": [_source(key, catalog) for key in sorted(catalog.sources)],
        "boards": sorted(catalog.boards),
        "assumptions": [],
    }

    def draw(console: Console) -> None:
        console.print(f"{len(catalog.models)} models as of {catalog.as_of}, {rated} with a quality score.")
        console.print("\nsources", style="bold")
        for source in sorted(catalog.sources):
            console.print(f"  {source:14} {catalog.sources[source].title}", markup=False)
        console.print("\nnext: modelpick catalog show falcon", markup=False)

    out.answer(payload, draw)


def _source(key: str, catalog: Catalog) -> dict[str, object]:
    source = catalog.source(key)
    return {"key": key, "title": source.title, "as_of": source.as_of, "read_on": source.read_on}


def show(
    out: Output,
    name: Annotated[str | None, typer.Argument(metavar="MODEL|WORD", help="A model id, or a word in its id.")] = None,
    limit: Annotated[str | None, typer.Option("--limit", metavar="N", help="Rows of a list. Default: 40.")] = None,
) -> None:
    """Show one model with its sources, or models with a word in the id."""
    catalog = index.load()
    model = catalog.find(name) if name else None
    if model is not None:
        found = model
        out.answer(_model_as_json(found, catalog), lambda console: _draw_model(console, found, catalog))
        return
    word = (name or "").lower()
    matches = [entry for id, entry in catalog.models.items() if word in id.lower()]
    if not matches:
        fix = catalog.nearest(name or "") or "modelpick catalog show lists all"
        raise UsageError(f"no model of the catalog is called {name!r} or contains it", fix=fix, code="model_unknown")
    matches.sort(key=lambda entry: (-(entry.downloads or 0), entry.id))
    shown = matches[: whole_number("--limit", limit) or 40]
    payload = {
        "catalog": {"source": "embedded", "as_of": catalog.as_of, "models": len(catalog.models)},
        "matches": len(matches),
        "models": [
            {"model": entry.id, "parameters": entry.parameters, "license": entry.license, "downloads": entry.downloads}
            for entry in shown
        ],
        "assumptions": [],
        "sources": [],
    }
    out.answer(payload, lambda console: _draw_list(console, shown, len(matches)))


def _model_as_json(model: Model, catalog: Catalog) -> dict[str, object]:
    facts: dict[str, object] = {key: _plain(getattr(model, key)) for key in _FACTS}
    return {
        "model": model.id,
        "revision": model.revision,
        **facts,
        "config": dict(model.config) if model.config else None,
        "quality": None
        if model.quality is None
        else {
            "score": model.quality.score,
            "low": model.quality.low,
            "high": model.quality.high,
            "status": model.quality.status,
        },
        "fact_sources": dict(model.sources),
        "conflicts": [
            {
                "field": conflict.field,
                "kept": conflict.kept,
                "kept_source": conflict.kept_source,
                "other": conflict.other,
                "other_source": conflict.other_source,
            }
            for conflict in model.conflicts
        ],
        "notes": list(model.notes),
        "assumptions": [],
        "sources": [_source(key, catalog) for key in sorted(set(model.sources.values()) & set(catalog.sources))],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [item if isinstance(item, str) else {"model": item.id, "relation": item.relation} for item in value]
    return value


def _draw_model(console: Console, model: Model, catalog: Catalog) -> None:
    from rich.table import Table

    console.print(model.id, style="bold")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("fact", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("source", style="dim", overflow="fold", max_width=24)
    rows: list[tuple[str, Any]] = [(key, _plain(getattr(model, key))) for key in _FACTS]
    rows += [(f"config.{key}", value) for key, value in (model.config or {}).items()]
    for key, value in rows:
        if value in (None, [], ()):
            table.add_row(key, "unknown", "")
        else:
            table.add_row(key, _short(value), model.sources.get(key, ""))
    if model.quality is not None:
        quality = model.quality
        interval = f"{quality.score:.1f} ({quality.low:.1f} to {quality.high:.1f}), {quality.status}"
        table.add_row("quality", interval, ", ".join(quality.sources))
    console.print(table)
    for conflict in model.conflicts:
        console.print(
            f"conflict: {conflict.field} kept {conflict.kept} ({conflict.kept_source}), not {conflict.other} "
            f"({conflict.other_source})",
            markup=False,
        )
    for note in model.notes:
        console.print(f"note: {note}", markup=False)
    console.print(f"\nnext: modelpick license {model.id}\n      modelpick estimate {model.id}", markup=False)


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    text = str(value)
    return text if len(text) <= 200 else text[:199] + "…"


def _draw_list(console: Console, shown: list[Model], matches: int) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True, overflow="ellipsis")
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("license", no_wrap=True, overflow="ellipsis", max_width=20)
    table.add_column("downloads", justify="right", no_wrap=True)
    for model in shown:
        table.add_row(
            model.id,
            f"{model.parameters / 1e9:.2f} B" if model.parameters else "unknown",
            str(model.license_name or model.license or "unknown"),
            f"{model.downloads:,}" if model.downloads else "",
        )
    console.print(table)
    if matches > len(shown):
        console.print(f"\n{matches - len(shown)} more: --limit {matches}", markup=False)


def diff(
    out: Output,
    old: Annotated[
        str | None, typer.Argument(metavar="[OLD]", help="A snapshot or embedded. Default: the one before.")
    ] = None,
    new: Annotated[str | None, typer.Argument(metavar="[NEW]", help="Default: the facts in force.")] = None,
    lock: Annotated[
        Path | None, typer.Option("--lock", metavar="FILE", help="Exit 1 if a model of this lock file is touched.")
    ] = None,
) -> None:
    """Show what was relicensed, gated, deleted, renamed or repriced."""
    from modelpick.hub.diff import OF_MODELS, compare

    after = snapshot.in_force() if new is None else snapshot.called(new)
    before = snapshot.before(after) if old is None else snapshot.called(old)
    changes = compare(before, after)
    mine = _locked(lock) if lock is not None else frozenset()
    touched = sorted({change.what for change in changes if change.kind in OF_MODELS and _names(change) & mine})
    payload = {
        "old": before.as_json(),
        "new": after.as_json(),
        "changes": [change.as_json() for change in changes],
        "touched": touched if lock is not None else None,
        "assumptions": [],
        "sources": [],
    }

    def draw(console: Console) -> None:
        from modelpick.cli.render.changes import draw_changes

        console.print(f"{before.name} -> {after.name}: {len(changes):,} differences", markup=False)
        draw_changes(console, changes, None)
        if lock is not None:
            console.print(f"of {lock}: {', '.join(touched) or 'none is touched'}", markup=False)

    out.answer(payload, draw)
    if touched:
        raise typer.Exit(1)


def _locked(file: Path) -> frozenset[str]:
    """The ids of a lock file, in lower case, ancestors included."""
    from modelpick.licensing import lock as locks

    return frozenset(name.lower() for entry in locks.load(file).models for name in (entry.model, *entry.ancestors))


def _names(change: Any) -> set[str]:
    return {str(name).lower() for name in (change.what, change.was if change.kind == "renamed" else change.what)}


SUBCOMMANDS = {"show": show, "info": info, "diff": diff}
