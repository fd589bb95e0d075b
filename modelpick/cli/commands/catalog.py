"""`modelpick catalog show|info|diff|audit`: what exists, from where, what has changed, and all of the Hub judged."""

from pathlib import Path
from typing import Annotated, Any

import typer

from modelpick.catalog import index, snapshot
from modelpick.catalog.index import Catalog
from modelpick.catalog.model import Kind, Model, Quality
from modelpick.catalog.snapshot import Kind as FactsKind
from modelpick.cli.options import Offline, PolicyName, whole_number
from modelpick.cli.output import VERDICT_EXIT, Console, Output, Waiting, worst
from modelpick.cli.policy_options import ProductName, policy_for
from modelpick.errors import EXIT_CANNOT_TELL, UsageError
from modelpick.files import write_atomically

_SHOWN: tuple[FactsKind, ...] = ("models", "scores")
_FACTS = (
    *("kind", "parameters", "active_parameters", "quantization", "weights", "context", "trained_context", "dimension"),
    *("license", "license_name", "license_link", "base_models", "capabilities", "languages", "languages_elsewhere"),
    *("datasets", "pipeline_tag", "downloads", "likes", "release_date"),
)
# As the screen calls a fact, where its name alone would not say it.
_WORDS = {
    "languages": "languages (card)",
    "languages_elsewhere": "languages (others)",
    "trained_context": "trained at",
    "release_date": "released",
    "pipeline_tag": "task (card)",
}
_KINDS: tuple[Kind, ...] = ("text", "vision-language", "embedding", "reranking", "encoder", "quantized")
_SHARES = ("license", "config", "context", "capabilities")
_BEST = 200


def info(out: Output, offline: Offline = False) -> None:
    """Count the models by kind, what is known of them, what is missing."""
    del offline  # no command here asks the network
    catalog = index.load()
    models = list(catalog.models.values())
    kinds = {kind: _known([model for model in models if model.kind == kind]) for kind in _KINDS}
    payload = {
        "catalog": {
            "source": snapshot.in_force().source,
            "as_of": catalog.as_of,
            "downloads_as_of": catalog.downloads_as_of,
            "models": len(models),
            "with_quality": sum(model.quality is not None for model in models),
            "kinds": kinds,
            "all": _known(models),
            "quantized_of_the_best": _of_the_best(models),
            "left_out": dict(catalog.left_out),
        },
        "sources": [_source(key, catalog) for key in sorted(catalog.sources)],
        "boards": sorted(catalog.boards),
        "assumptions": [],
    }
    out.answer(payload, lambda console: _draw_info(console, payload["catalog"], catalog), stands_on=_SHOWN)


def _known(models: list[Model]) -> dict[str, int]:
    """How many there are, and of how many each of the facts that most depends on is known."""
    return {
        "models": len(models),
        "license": sum(model.license is not None for model in models),
        "config": sum(model.config is not None for model in models),
        "context": sum((model.context or model.trained_context) is not None for model in models),
        "capabilities": sum(bool(model.capabilities) for model in models),
    }


def _of_the_best(models: list[Model]) -> dict[str, int]:
    """Quantized copies of the best models by the lower end of their scores, and how many of those have one."""
    rated = [model for model in models if model.quality is not None and model.quality.status == "rated"]
    rated.sort(key=lambda model: -(model.quality.low if model.quality else 0))
    best = {model.id for model in rated[:_BEST]}
    originals = [model.original for model in models if model.kind == "quantized" and model.original in best]
    return {"best": len(best), "copies": len(originals), "with_a_copy": len(set(originals))}


def _draw_info(console: Console, about: Any, catalog: Catalog) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(f"{about['models']:,} models as of {catalog.as_of}, {about['with_quality']} with a quality score.\n")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("kind", no_wrap=True)
    for name in ("models", *_SHARES):
        table.add_column(name, justify="right", no_wrap=True)
    for kind, known in (*about["kinds"].items(), ("all", about["all"])):
        shares = (f"{100 * known[name] // max(known['models'], 1)} %" for name in _SHARES)
        table.add_row(kind, f"{known['models']:,}", *shares, style="bold" if kind == "all" else None)
    console.print(table)
    copies = about["quantized_of_the_best"]
    console.print(
        f"\nquantized copies of the {copies['best']} best models by score: {copies['copies']}, "
        f"of {copies['with_a_copy']} of them",
        markup=False,
    )
    if catalog.left_out:
        console.print("\nin the sources and not taken up", style="bold")
        for reason, count in sorted(catalog.left_out.items(), key=lambda one: -one[1]):
            console.print(f"  {count:6,} {reason}", markup=False)
    console.print("\nsources", style="bold")
    listed = Table(box=None, pad_edge=False, show_header=False)
    listed.add_column("key", no_wrap=True)
    listed.add_column("title", overflow="fold")
    for source in sorted(catalog.sources):
        listed.add_row(source, Text(catalog.sources[source].title))
    console.print(listed)
    console.print("\nnext: modelpick catalog show falcon", markup=False)


def _source(key: str, catalog: Catalog) -> dict[str, object]:
    source = catalog.source(key)
    return {"key": key, "title": source.title, "as_of": source.as_of, "read_on": source.read_on}


def show(
    out: Output,
    name: Annotated[str | None, typer.Argument(metavar="MODEL|WORD", help="A model id, or a word in its id.")] = None,
    limit: Annotated[str | None, typer.Option("--limit", metavar="N", help="Rows of a list. Default: 40.")] = None,
    sources: Annotated[bool, typer.Option("--sources", help="Who says each fact, and who says otherwise.")] = False,
    offline: Offline = False,
) -> None:
    """Show one model with its sources, or models with a word in the id."""
    del offline
    catalog = index.load()
    model = catalog.find(name) if name else None
    if model is not None:
        found = model
        payload = _model_as_json(found, catalog)
        out.answer(payload, lambda console: _draw_model(console, found, catalog, sources), stands_on=_SHOWN)
        return
    word = (name or "").lower()
    matches = [entry for id, entry in catalog.models.items() if word in id.lower()]
    if not matches:
        fix = catalog.nearest(name or "") or "modelpick catalog show lists all"
        raise UsageError(f"no model of the catalog is called {name!r} or contains it", fix=fix, code="model_unknown")
    matches.sort(key=lambda entry: (-(entry.downloads or 0), entry.id))
    shown = matches[: whole_number("--limit", limit) or 40]
    payload = {
        "catalog": {"source": snapshot.in_force().source, "as_of": catalog.as_of, "models": len(catalog.models)},
        "matches": len(matches),
        "models": [
            {
                "model": entry.id,
                "kind": entry.kind,
                "parameters": entry.parameters,
                "license": entry.license,
                "downloads": entry.downloads,
            }
            for entry in shown
        ],
        "assumptions": [],
        "sources": [],
    }
    out.answer(payload, lambda console: _draw_list(console, shown, len(matches)), stands_on=("models",))


def _model_as_json(model: Model, catalog: Catalog) -> dict[str, object]:
    facts: dict[str, object] = {key: _plain(getattr(model, key)) for key in _FACTS}
    return {
        "model": model.id,
        "revision": model.revision,
        **facts,
        "config": dict(model.config) if model.config else None,
        "quality": _quality_as_json(model.quality),
        "quality_by_use": {use: _quality_as_json(quality) for use, quality in sorted(model.quality_by_use.items())},
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
        "card_read": model.card_read,
        "quantized_copies": [copy.id for copy in catalog.models.values() if copy.original == model.id],
        "assumptions": [],
        "sources": [_source(key, catalog) for key in sorted(set(model.sources.values()) & set(catalog.sources))],
    }


def _quality_as_json(quality: Quality | None) -> dict[str, object] | None:
    if quality is None:
        return None
    interval = {"score": quality.score, "low": quality.low, "high": quality.high, "status": quality.status}
    return {**interval, "sources": list(quality.sources), "as_of": quality.as_of}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [item if isinstance(item, str) else {"model": item.id, "relation": item.relation} for item in value]
    return value


def _draw_model(console: Console, model: Model, catalog: Catalog, with_sources: bool) -> None:
    from rich.table import Table

    console.print(model.id, style="bold")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("fact", no_wrap=True)
    table.add_column("value", overflow="fold")
    if with_sources:
        table.add_column("source", style="dim", overflow="fold", max_width=24)
    rows: list[tuple[str, Any]] = [(key, _plain(getattr(model, key))) for key in _FACTS]
    rows += [(f"config.{key}", value) for key, value in (model.config or {}).items()]
    for key, value in rows:
        cells = [_WORDS.get(key, key.replace("_", " ") if "." not in key else key), _said(model, key, value)]
        if cells[1]:
            table.add_row(*cells, *([_who(model, key)] if with_sources else []))
    scores = {"quality": model.quality} if model.quality is not None else {}
    scores |= {f"quality for {use}": quality for use, quality in sorted(model.quality_by_use.items())}
    for name, quality in scores.items():
        interval = f"{quality.score:.1f} ({quality.low:.1f} to {quality.high:.1f}), {quality.status}"
        table.add_row(name, interval, *([", ".join(quality.sources)] if with_sources else []))
    console.print(table)
    if with_sources:
        for conflict in model.conflicts:
            console.print(
                f"conflict: {conflict.field} kept {conflict.kept} ({conflict.kept_source}), not {conflict.other} "
                f"({conflict.other_source})",
                markup=False,
            )
    for note in model.notes:
        console.print(f"note: {note}", markup=False)
    copies = [copy.id for copy in catalog.models.values() if copy.original == model.id]
    if copies:
        more = f", and {len(copies) - 5} more (--json)" if len(copies) > 5 else ""
        console.print(f"quantized copies: {', '.join(copies[:5])}{more}", markup=False)
    if not with_sources:
        told = f"{len(model.conflicts)} disagree; who says what: " if model.conflicts else "who says so: "
        console.print(f"{told}--sources", style="dim", markup=False)
    console.print(f"\nnext: modelpick license {model.id}\n      modelpick estimate {model.id}", markup=False)


# What does not apply to most models: said where it is known, and not where it is not.
_RARE = frozenset(
    {"active_parameters", "quantization", "weights", "trained_context", "dimension", "license_name", "license_link",
     "languages_elsewhere", "datasets", "base_models"}
)  # fmt: skip


def _said(model: Model, key: str, value: Any) -> str:
    """A fact in words; nothing where it does not apply."""
    if key == "context" and value is None and model.trained_context is not None:
        return "no limit in the architecture"
    if key == "languages" and not value:
        return "none named by the card" if model.card_read else "unknown: the card was not read"
    if key == "weights" and value is not None:
        return f"{value / 2**30:.1f} GiB"
    if value in (None, [], ()):
        return "" if key in _RARE else "unknown"
    return _short(value)


def _who(model: Model, key: str) -> str:
    if key == "capabilities":
        return ", ".join(f"{one}: {model.sources.get(f'capabilities.{one}', '')}" for one in model.capabilities)
    return model.sources.get(key, "")


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        words = [f"{item['model']} ({item['relation']})" if isinstance(item, dict) else str(item) for item in value]
        more = f" and {len(words) - 12} more" if len(words) > 14 else ""
        return ", ".join(words[:12] if more else words) + more
    text = str(value)
    return text if len(text) <= 200 else text[:199] + "…"


def _draw_list(console: Console, shown: list[Model], matches: int) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    longest = max((len(model.kind) for model in shown), default=0)
    others = longest + sum((7, 12, 11)) + 2 * 4  # the columns beside, and the gaps
    table.add_column("model", no_wrap=True, overflow="ellipsis", max_width=max(console.width - others, 20))
    table.add_column("kind", no_wrap=True, min_width=longest)
    table.add_column("size", justify="right", no_wrap=True, min_width=7)
    table.add_column("license", no_wrap=True, overflow="ellipsis", max_width=12)
    table.add_column("downloads", justify="right", no_wrap=True, min_width=11)
    for model in shown:
        table.add_row(
            model.id,
            model.kind,
            f"{model.parameters / 1e9:.2f}B" if model.parameters else "unknown",
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
    offline: Offline = False,
) -> None:
    """Show what was relicensed, gated, deleted, renamed or repriced."""
    del offline
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


def audit(
    out: Output,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file models.parquet of the data set hub-stats.")],
    commercial: Annotated[bool, typer.Option("--commercial", help="The same as --policy commercial.")] = False,
    policy: PolicyName = None,
    product: ProductName = None,
    out_file: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Write each model's verdict as parquet.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="FILE", help="Show what changed since this file of --out.")
    ] = None,
    mine: Annotated[
        str | None,
        typer.Option("--mine", metavar="FILE", help="Show your own models: a lock, an audit, or ids by line."),
    ] = None,
    html: Annotated[str | None, typer.Option("--html", metavar="FILE", help="Also write the answer as a page.")] = None,
    limit: Annotated[str | None, typer.Option("--limit", metavar="N", help="Rows of each list. Default: 20.")] = None,
    index: Annotated[
        str | None, typer.Option("--index", metavar="DIR", help="Where indexes are kept. Default: the cache.")
    ] = None,
    offline: Offline = False,
) -> None:
    """Judge every model of the Hub with all its ancestors, from a dump.

    Exit code: 0; with --mine 1 where one is denied, 3 where a person must decide.
    """
    from modelpick.cli.render.hub_audit import draw_hub_audit
    from modelpick.hub.audit import TOP, audit_hub
    from modelpick.report.hub_audit import page

    del offline
    chosen = policy_for(policy, product, commercial=commercial)
    with Waiting(out) as show:
        found = audit_hub(
            Path(file).expanduser(), chosen, out=_path(out_file), since=_path(since), mine=_path(mine),
            index=_path(index), top=whole_number("--limit", limit) or TOP, show=show,
        )  # fmt: skip
    out.answer(found.as_json(), lambda console: draw_hub_audit(console, found))
    for text in found.not_judged:
        out.note(text)
    if found.skipped:
        out.note(f"{found.skipped:,} rows have no id that the Hub could have given: not judged")
    if found.repeated:
        out.note(f"{found.repeated:,} rows share their id with another row: each is judged by the strictest of them")
    if html is not None:
        write_atomically(Path(html).expanduser(), page(found), fix="name a file you may write")
    for written in (out_file, html):
        if written is not None:
            out.note(f"wrote {written}")
    code = worst(EXIT_CANNOT_TELL if one.now is None else VERDICT_EXIT[one.now] for one in found.mine or ())
    if code:
        raise typer.Exit(code)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text).expanduser()


SUBCOMMANDS = {"show": show, "info": info, "diff": diff, "audit": audit}
