"""How the set-ups of one model look side by side: what each takes, the smallest GPU, the cheapest instances."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from modelpick.catalog.architecture import UNLIMITED
from modelpick.cli.output import styled
from modelpick.errors import printable
from modelpick.memory.estimate import GIB
from modelpick.memory.formats import own_method
from modelpick.offers.price import Offer
from modelpick.planning.overview import SetupSummary
from modelpick.planning.report import MemoryReport

_LABELS = {
    "int8": "8-bit int8", "nf4": "4-bit nf4", "lora": "LoRA", "lora-int8": "8-bit LoRA", "qlora": "QLoRA",
    "full": "full",
}  # fmt: skip


def draw_setups(console: Console, report: MemoryReport) -> None:
    """One screen: a row a set-up, those of a server before those of a fine-tuning."""
    limit = report.architecture.longest
    window = "" if limit is None or limit == UNLIMITED else f", at most {limit:,} tokens"
    console.print(styled((report.model.id, "bold"), f": {report.memory.parameters / 1e9:.2f} B parameters{window}"))
    for line in _loads(report.setups):
        console.print(line, style="dim", markup=False)
    console.print()
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("GiB", justify="right", no_wrap=True)
    table.add_column("90 %", justify="right", no_wrap=True)
    table.add_column("smallest GPU", no_wrap=True, overflow="ellipsis")
    table.add_column("on g5", no_wrap=True)
    table.add_column("$/h", justify="right", no_wrap=True)
    table.add_column("cheapest", no_wrap=True)
    table.add_column("$/h", justify="right", no_wrap=True)
    able = [row for row in report.setups if row.memory is not None]
    usual = next((row.engine for row in able if row.task == "serve"), None)
    own = own_method(report.architecture.checkpoint)
    for number, row in enumerate(able):
        if not number or row.task != able[number - 1].task:
            table.add_row(styled((_TASKS[row.task], "bold")))
        table.add_row(*_cells(row, usual, own))
    console.print(table)
    _draw_notes(console, report.setups, usual)
    console.print()
    shown = printable(report.model.id)
    console.print(f"by part, on every GPU: modelpick estimate {shown} --method M", markup=False, soft_wrap=True)
    console.print(f"what it costs: modelpick cost {shown}", markup=False, soft_wrap=True)


_TASKS = {"serve": "to serve", "finetune": "to fine-tune"}


def _loads(rows: Sequence[SetupSummary]) -> list[str]:
    """What each task is counted for."""
    lines = []
    for task in _TASKS:
        row = next((row for row in rows if row.task == task and row.memory is not None), None)
        if row is None or row.memory is None:
            continue
        work, by = row.memory.workload, f" by {row.engine}" if row.engine else ""
        if task == "finetune":
            batch = "one" if work.batch == 1 else f"{work.batch:,}"
            lines.append(f"to fine-tune{by}: sequences of {work.context:,} tokens, {batch} at a time")
        elif work.generate:
            many = "1 request" if work.batch == 1 else f"{work.batch:,} requests"
            lines.append(f"to serve{by}: {many} at once, {work.context:,} prompt and {work.generate:,} new tokens each")
        else:
            lines.append(f"to serve{by}: {work.batch:,} at once, {work.context:,} tokens each")
    return lines


def _cells(row: SetupSummary, usual: str | None, own: str) -> tuple[str, ...]:
    assert row.memory is not None
    label = _LABELS.get(row.method, row.method)
    if row.task == "serve" and row.method == own and own != "bf16":
        label = f"{row.method}, own"
    if row.task == "serve" and row.engine not in (None, usual):
        label += "*"
    low, high = (f"{end / GIB:.1f}" for end in (row.memory.low, row.memory.high))
    return (
        label, f"{row.memory.total / GIB:.1f}", f"{low}-{high}", _gpu(row), *_priced(row.on_g5, short=True),
        *_priced(row.cheapest),
    )  # fmt: skip


def _gpu(row: SetupSummary) -> str:
    if row.smallest is None:
        return "-"
    kind = row.smallest.instance
    share = f" 1/{round(1 / kind.gpu_fraction)}" if kind.gpu_fraction < 1 else ""
    return f"{f'{row.gpus}x' if row.gpus > 1 else ''}{kind.gpu.name}{share}"


def _priced(offer: Offer | None, *, short: bool = False) -> tuple[str, str]:
    """The instance and its price; `short` leaves out the family, which the column says."""
    if offer is None:
        return "-", "-"
    name = offer.instance.name
    price = "unknown" if offer.usd_per_hour is None else f"{offer.usd_per_hour:.3f}"
    return name.partition(".")[2] if short else name, price


def _draw_notes(console: Console, rows: Sequence[SetupSummary], usual: str | None) -> None:
    """What the table has no room for: other servers, GiB of several GPUs, and why a set-up cannot run."""
    others = sorted({row.engine for row in rows if row.task == "serve" and row.engine and row.engine != usual})
    notes = [f"* by {' or '.join(others)}"] if others else []
    if "transformers" in others:
        notes[0] += ", which answers one request after another"
    if any(row.gpus > 1 for row in rows):
        notes.append("GiB: on each of several GPUs; memories are never added up")
    notes += _refusals(rows)
    if notes:
        console.print()
    for note in notes:
        console.print(note, style="dim", markup=False)


def _refusals(rows: Sequence[SetupSummary]) -> list[str]:
    """Why what cannot run, with those together that have one reason."""
    largest: dict[str, list[str]] = {}
    others: dict[str, list[str]] = {}
    for row in rows:
        if row.refusal is None:
            continue
        offer, label = row.refusal.offer, _LABELS.get(row.method, row.method)
        if row.refusal.cause == "memory" and offer is not None:
            kind = offer.instance
            room = f"the largest of one GPU, {kind.gpu.name}, has {kind.usable_memory_gib:.1f} GiB"
            largest.setdefault(room, []).append(label)
        else:
            others.setdefault(row.refusal.reason.removesuffix(f" to {row.method}"), []).append(label)
    told = [f"no room for {', '.join(labels)}: {room}" for room, labels in largest.items()]
    for reason, labels in others.items():
        told.append(reason if len(labels) == len(rows) else f"{', '.join(labels)}: {reason}")
    return told
