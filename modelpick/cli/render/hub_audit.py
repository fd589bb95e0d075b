"""The screen of `modelpick catalog audit`: verdicts, tags that ancestors contradict, publishers, what changed, mine."""

from modelpick.cli.output import VERDICT_COLOUR, Console, styled
from modelpick.hub.audit import HubAudit
from modelpick.hub.verdicts import VERDICTS

_BAR = 16
_FEWER = 10  # rows of a list on the screen; JSON and the page have all


def draw_hub_audit(console: Console, audit: HubAudit) -> None:
    """All of the answer in lists of ten."""
    judged = sum(one.models for one in audit.tallies)
    console.print(f"{judged:,} models under {audit.policy.name}, by tags and ancestors", style="bold")
    _draw_tallies(console, audit)
    if audit.mine is not None:
        _draw_mine(console, audit)
    if audit.changes is not None:
        _draw_changes(console, audit)
    _draw_conflicts(console, audit)
    _draw_organisations(console, audit)
    console.print("\nnext: modelpick license MODEL reads the card and the files of one", markup=False)


def _draw_tallies(console: Console, audit: HubAudit) -> None:
    models = sum(one.models for one in audit.tallies) or 1
    downloads = sum(one.downloads for one in audit.tallies) or 1
    for one in audit.tallies:
        share = one.models / models
        bar = "█" * max(round(share * _BAR), 1 if one.models else 0)
        counts = f" {one.models:>9,}  {share:>5.1%} of models, {one.downloads / downloads:>5.1%} of downloads"
        console.print(styled((f"{one.verdict:<10} ", f"bold {VERDICT_COLOUR[one.verdict]}"), f"{bar:<{_BAR}}", counts))


def _draw_mine(console: Console, audit: HubAudit) -> None:
    mine = audit.mine or ()
    console.print(f"\nyours: {len(mine)} models", style="bold")
    for one in mine[:_FEWER]:
        now = one.now or "absent"
        was = f" (was {one.was})" if one.was and one.was != one.now else ""
        why = f": {', '.join(one.reasons[:3])}" if one.now in ("review", "deny") else ""
        console.print(styled((f"{now:<10} ", VERDICT_COLOUR.get(now, "red")), f"{one.model}{was}{why}"), soft_wrap=True)
    _more(console, len(mine))


def _draw_changes(console: Console, audit: HubAudit) -> None:
    changes = audit.changes
    if changes is None:
        return
    console.print(f"\nsince {changes.since}: {sum(count for _, _, count in changes.counts):,} changed", style="bold")
    for was, now, count in changes.counts[:_FEWER]:
        console.print(f"{count:>9,}  {was or 'not there'} -> {now or 'gone'}", markup=False)
    for one in changes.top[:_FEWER]:
        console.print(
            f"{_short(one.downloads):>9}  {one.model}: {one.was or 'not there'} -> {one.now or 'gone'}", markup=False
        )


def _draw_conflicts(console: Console, audit: HubAudit) -> None:
    from rich.table import Table

    total = sum(models for _, _, models, _ in audit.conflict_counts)
    console.print(f"\ntags that an ancestor contradicts: {total:,} models", style="bold")
    if not total:
        return
    for claimed, requires, models, _ in audit.conflict_counts:
        console.print(f"{models:>9,}  the tag says {claimed}, an ancestor {requires}", markup=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = max(12, (console.width - 36) // 2)
    table.add_column("loads", justify="right", no_wrap=True, min_width=6)
    table.add_column("model", overflow="ellipsis", no_wrap=True, max_width=names)
    table.add_column("tag", overflow="ellipsis", no_wrap=True, min_width=10, max_width=10)
    table.add_column("ancestor", overflow="ellipsis", no_wrap=True, max_width=names)
    table.add_column("requires", no_wrap=True, min_width=10)
    for one in audit.conflicts[:_FEWER]:
        required = styled((one.requires, VERDICT_COLOUR[one.requires]))
        table.add_row(_short(one.downloads), one.model, " + ".join(one.licenses), one.ancestor, required)
    console.print(table)
    _more(console, min(total, len(audit.conflicts)))


def _draw_organisations(console: Console, audit: HubAudit) -> None:
    from rich.table import Table

    console.print("\npublishers with the most downloads in 30 days (loads)", style="bold")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("publisher", overflow="ellipsis", no_wrap=True)
    for title in ("loads", "models", *VERDICTS, "contradicted"):
        table.add_column(title, justify="right", no_wrap=True)
    for one in audit.organisations[:_FEWER]:
        table.add_row(one.name, *map(_short, (one.downloads, one.models, *one.counts, one.conflicts)))
    console.print(table)


def _short(count: int) -> str:
    """A count in at most five characters: 812, 9.1k, 812k, 15.9M."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 100 * size else f"{count / size:.0f}{unit}"
    return str(count)


def _more(console: Console, listed: int) -> None:
    if listed > _FEWER:
        console.print(f"{listed - _FEWER} more with --json or --html", style="dim")
