"""How a memory report looks: a bar a part, then every card with its room, or one card in full."""

from typing import Any

from rich.console import Console
from rich.table import Table

from modelpick.cli.output import styled
from modelpick.offers.price import Offer
from modelpick.planning.overview import served_elsewhere
from modelpick.planning.report import MemoryReport

_BAR = 32  # columns of a bar


def draw_report(console: Console, report: MemoryReport, *, explain: bool, solve: bool) -> None:
    """Draw one report; `explain` names formulas, `solve` asks what the most is that fits the report's card."""
    memory, work = report.memory, report.memory.workload
    task = "encode" if report.architecture.kind == "encoder" and work.task == "serve" else work.task
    what = f"{task} {work.method}, {work.context} tokens"
    if work.generate:
        what += f" + {work.generate} new"
    what += f" x {work.batch}, {work.stack}, {work.measure} memory"
    if work.gpus > 1:
        what += f", per GPU of {work.gpus} ({work.sharding})"
    console.print(styled((report.model.id, "bold"), f": {what}"))
    count = f"{memory.parameters / 1e9:.2f} B parameters ({memory.parameters_source})"
    console.print(count, style="dim", markup=False)
    console.print()
    _draw_parts(console, report, explain)
    console.print()
    if solve:
        _draw_reach(console, report)
    else:
        _draw_cards(console, report)
    capacity = report.kv_cache_capacity()
    if capacity is not None and report.on is not None:
        tokens = "" if capacity.tokens is None else f", {capacity.tokens:,} tokens"
        console.print(
            f"{report.on.instance.name} at utilization {work.gpu_memory_utilization:g}: {capacity.gib:.1f} GiB of cache"
            f"{tokens}; {capacity.sequences:,} sequences of {work.context:,} at once",
            markup=False,
        )
    for assumption in memory.assumptions:
        console.print(f"assumed: {assumption}", style="dim", markup=False)


def _draw_parts(console: Console, report: MemoryReport, explain: bool) -> None:
    memory = report.memory
    columns = max(8, min(_BAR, console.width - 26))
    scale = columns / max(memory.high, 1.0)
    colours = ("cyan", "green", "yellow", "magenta", "blue", "red", "white")
    for row, colour in zip(memory.explain(), colours, strict=True):
        gib = row["gib"]
        if gib == 0 and not explain:
            continue
        bar = "█" * round(gib * 2**30 * scale)
        console.print(styled(f"{row['part']:<12}{gib:8.2f} GiB  ", (bar, colour)))
        if explain:
            console.print(f"{'':12}{row['formula']}", style="dim", markup=False)
    spread = f"90 % of runs land between {memory.low / 2**30:.1f} and {memory.high / 2**30:.1f} GiB"
    console.print(styled((f"{'total':<12}{memory.total / 2**30:8.2f} GiB", "bold"), f"  {spread}"))


def _draw_cards(console: Console, report: MemoryReport) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("GPU", no_wrap=True, overflow="ellipsis")
    for title in ("usable", "fits"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("room", no_wrap=True)
    encodes = report.architecture.kind == "encoder"
    table.add_column("longest sequence" if encodes else "longest context", justify="right", no_wrap=True)
    table.add_column("batch", justify="right", no_wrap=True)
    table.add_column("cheapest", no_wrap=True)
    table.add_column("$/h", justify="right", no_wrap=True)
    rows = report.gpus()
    for row in rows:
        offer, reach = row.offer, report.reach_on(row.offer)
        room = offer.instance.usable_memory_gib * 2**30
        filled = min(8, round(8 * report.device.high / room))
        share = f" 1/{round(1 / offer.instance.gpu_fraction)}" if offer.instance.gpu_fraction < 1 else ""
        table.add_row(
            offer.instance.gpu.name + share,
            f"{offer.instance.usable_memory_gib:.1f}",
            styled(("yes", "green") if row.fits else ("no", "red")),
            "█" * filled + "░" * (8 - filled),
            _count(reach.longest_context),
            _count(reach.largest_batch),
            *_cheapest(offer),
        )
    console.print(table)
    console.print(f"\nfits: the upper bound, {report.device.high / 2**30:.1f} GiB, against one GPU's usable memory.")
    dtype = report.device.workload.dtype
    lacking = [row.offer.instance.gpu.name for row in rows if row.rejection and row.rejection.cause == "dtype"]
    if lacking:
        console.print(f"No {dtype}: {', '.join(dict.fromkeys(lacking))}", style="dim", markup=False)
    unable: dict[str, list[str]] = {}
    for row in rows:
        if row.rejection and row.rejection.cause in ("engine", "context"):
            unable.setdefault(row.reason, []).append(row.offer.instance.gpu.name)
    for reason, gpus in unable.items():
        named = "" if len(gpus) == len(rows) else f"{', '.join(dict.fromkeys(gpus))}: "
        console.print(f"{named}{reason}", style="dim", markup=False)
    if report.refusal is not None and served_elsewhere(report.architecture, report.refusal):
        console.print(f"modelpick serve starts no server for it: {report.refusal.reason}", style="dim", markup=False)
    if report.refusal is not None and report.refusal.cause in ("context", "price_unknown", "not_offered"):
        console.print(f"no instance: {report.refusal.reason}", style="dim", markup=False)


def _cheapest(offer: Offer) -> tuple[str, str]:
    """The instance and its price. A type without a price is not the cheapest of anything, and is not named as such."""
    if offer.usd_per_hour is not None:
        return offer.instance.name, f"{offer.usd_per_hour:.3f}"
    return ("not rented here", "-") if offer.availability == "not_offered" else ("price unknown", "unknown")


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _draw_reach(console: Console, report: MemoryReport) -> None:
    assert report.on is not None
    instance = report.on.instance
    outcome = report.fit_on(report.on)
    room = instance.usable_memory_gib
    columns = max(8, min(_BAR, console.width - 30))
    filled = min(columns, round(columns * report.device.high / 2**30 / room))
    console.print(f"{instance.name:<12}{room:8.2f} GiB  {'█' * filled}{'░' * (columns - filled)}", markup=False)
    if outcome.fits:
        console.print(styled(("fits", "green"), f", {outcome.free_gib:.1f} GiB free at the upper bound"))
    else:
        console.print(styled(("does not fit", "red"), f": {outcome.reason}"))
    for text in report.on.assumed:
        console.print(text, markup=False)
    for name, value in report.solved().items():
        if name != "change_recipe" or not outcome.fits:
            console.print(f"  {name.replace('_', ' '):20} {_shown(value)}", markup=False)


def _shown(value: Any) -> str:
    """A number, a word, or changes to a recipe as the flags that make them."""
    if isinstance(value, dict):
        return " ".join(
            f"--{name.replace('_', '-')}" + ("" if new is True else f" {new}") for name, new in value.items()
        )
    return value if isinstance(value, str) else f"{value:.1f}" if isinstance(value, float) else _count(value)
