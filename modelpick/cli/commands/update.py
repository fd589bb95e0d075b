"""`modelpick update`: newer models, prices and scores, as a snapshot in the user's data folder."""

from typing import Annotated, Any, cast

import typer

from modelpick import settings
from modelpick.catalog import ages, snapshot
from modelpick.catalog.snapshot import Facts, Kind
from modelpick.cli.options import Offline, not_both, one_of
from modelpick.cli.output import Console, Output, Waiting
from modelpick.errors import EXIT_NO, EXIT_REMOTE, UsageError

_SHOWN = 10  # changes of a kind that a screen lists; --json has all


def update(
    out: Output,
    kinds: Annotated[
        list[str] | None, typer.Argument(metavar="[models|prices|scores]...", help="What to renew. Default: all.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say how old each is; 1 when one is stale.")] = False,
    back: Annotated[bool, typer.Option("--back", help="Go back to the snapshot before the current one.")] = False,
    use: Annotated[
        str | None, typer.Option("--use", metavar="NAME", help="Go to a snapshot (its day is enough), or embedded.")
    ] = None,
    offline: Offline = False,
) -> None:
    """Bring newer models, prices and scores; no account is needed."""
    sources, today = settings.load().data, settings.today()
    chosen = tuple(dict.fromkeys(cast(Kind, one_of("kind", kind, snapshot.KINDS)) for kind in kinds or ()))
    not_both("--back", back or None, "--use", use)
    not_both("--check", check or None, "--back or --use", (back or None) or use)
    if check:
        _check(out, chosen or cast(tuple[Kind, ...], snapshot.KINDS), today)
        return
    from modelpick.hub import store
    from modelpick.hub import update as updating

    if back or use is not None:
        with store.changing() as root:
            facts = store.go_back(root) if use is None else store.use(root, use)
        out.answer(_payload(facts), lambda console: _draw_facts(console, facts, today))
        return
    if offline:
        raise UsageError(
            "an update asks the network, and --offline forbids it", code="contradiction",
            fix="leave --offline out, or use --check, --back or --use",
        )  # fmt: skip
    if not chosen:
        chosen = ("models", "prices") if sources.scores is None else ("models", "prices", "scores")
    with Waiting(out) as show:
        done = updating.update(chosen, sources, today, show)
    errors = {kind: error.as_json() for kind, error in done.errors.items()}
    payload = {
        **_payload(done.facts), "before": done.before.as_json(), "changed": done.changed, "kinds": done.kinds,
        "errors": errors, "changes": [change.as_json() for change in done.changes],
    }  # fmt: skip
    out.answer(payload, lambda console: _draw(console, done, today))
    if sources.use != snapshot.NEWEST:
        out.note(f"{settings.DATA_VARIABLE} or `[data] use` says {sources.use}: that stays in force")
    if errors:
        raise typer.Exit(EXIT_REMOTE)


def _payload(facts: Facts) -> dict[str, object]:
    return {"facts": facts.as_json(), "assumptions": [], "sources": []}


def _check(out: Output, kinds: tuple[Kind, ...], today: Any) -> None:
    from modelpick.hub.update import ages as ages_of

    facts, found = snapshot.in_force(), ages_of(kinds, today)
    listed = [folder.name for folder in snapshot.folders()]
    payload = {
        **_payload(facts),
        "kinds": [{"kind": age.kind, "as_of": age.as_of, "days": age.days, "stale": age.stale} for age in found],
        "stale_after_days": ages.OLD_AFTER_DAYS,
        "snapshots": listed,
        "ignored": facts.ignored,
    }

    def draw(console: Console) -> None:
        console.print(f"in force: {facts.name}", markup=False)
        for age in found:
            state = f"stale: run `modelpick update {age.kind}`" if age.stale else "fresh"
            console.print(f"  {age.kind:8} {age.as_of:10}  {age.days:5} days  {state}", markup=False)
        if facts.ignored:
            console.print(facts.ignored, markup=False)
        if listed:
            console.print(f"snapshots: {', '.join(listed)}", markup=False)

    out.answer(payload, draw)
    if any(age.stale for age in found):
        raise typer.Exit(EXIT_NO)


def _draw_facts(console: Console, facts: Facts, today: Any) -> None:
    console.print(f"in force: {facts.name}", markup=False)
    console.print(ages.ages(facts.as_of, snapshot.KINDS, today), markup=False)


def _draw(console: Console, done: Any, today: Any) -> None:
    from modelpick.cli.render.changes import draw_changes

    for kind, told in done.kinds.items():
        console.print(f"{kind}: {_sentence(kind, told)}", markup=False)
    for kind, error in done.errors.items():
        console.print(f"{kind}: not renewed: {error.message}", markup=False)
        console.print(f"  fix: {error.fix}", markup=False)
    if not done.changed:
        console.print("nothing has changed", markup=False)
    draw_changes(console, done.changes, _SHOWN)
    _draw_facts(console, done.facts, today)
    if done.changed:
        console.print("to go back: modelpick update --back", markup=False)


def _sentence(kind: str, told: dict[str, Any]) -> str:
    if "sha256" in told:
        return f"release {told['source']}, sha256 {told['sha256'][:12]}"
    if kind == "models":
        once = f", {told['from_journal']:,} known from an interrupted update" if told["from_journal"] else ""
        return (
            f"{told['asked']:,} asked of {told['source']}: {told['listed']:,} in lists, {told['singly']:,} singly, "
            f"{told['configs']:,} configs read{once}"
        )
    if kind == "prices" and told["unchanged"]:
        return f"{told['source']} has not changed"
    if kind == "prices":
        held = "".join(f"\n  not taken: {text}" for text in told["held"])
        return f"{told['prices']:,} of {told['source']}, {told['missing']:,} known ones are not in it{held}"
    unknown = f", {told['unknown_models']:,} of models that the catalog has not" if told["unknown_models"] else ""
    return f"{told['scores']:,} of {told['source']}{unknown}"
