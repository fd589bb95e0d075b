"""`modelpick cost`: instances side by side: time, cost of a job, of a month, of a million tokens."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelpick import api
from modelpick.cli.load_options import ServedLoadOptions, only_serving
from modelpick.cli.options import (
    RUN,
    Data,
    Family,
    Flags,
    Instance,
    MaxUsdPerHour,
    Offline,
    Region,
    amount,
    fraction,
    not_both,
)
from modelpick.cli.output import Console, Output, styled
from modelpick.cli.plan_options import RECOMPUTED, micro_batch
from modelpick.errors import EXIT_NO
from modelpick.planning.compare import InstanceComparison, Row
from modelpick.planning.proposals import MUCH_CHEAPER
from modelpick.planning.recipe import RunSettings
from modelpick.workload import Workload, workload_from

if TYPE_CHECKING:
    from rich.table import Table


def cost(
    out: Output,
    *,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A Hub id or a local folder.")],
    work: Annotated[Mapping[str, object], Flags(Workload, "task", *RUN)],
    data: Data = None,
    passes: Annotated[Mapping[str, float | None], Flags(RunSettings, "epochs")],
    duty: Annotated[
        str | None, typer.Option("--duty", metavar="SHARE", help="Share of the month the server runs. Default: 1.")
    ] = None,
    utilisation: Annotated[
        str | None,
        typer.Option("--utilisation", metavar="SHARE", help="Share of its capacity that is used. Default: 1."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="USD_PER_MTOK", help="API price to compare with."),
    ] = None,
    load: ServedLoadOptions,
    max_usd_per_hour: MaxUsdPerHour = None,
    region: Region = None,
    family: Family = None,
    instance: Instance = None,
    all_sizes: Annotated[bool, typer.Option("--all-sizes", help="Also larger sizes with the same GPU.")] = False,
    offline: Offline = False,
) -> None:
    """Compare instances for one model: speed, time and cost.

    Below the table: what the next cheaper and the next faster instance would change, and which other weights, GPU or
    number of requests at once would cost 30 % less or even less than that. With a limit on the first token,
    on the tokens/s of each request, or a rate of requests: how many instances that takes.
    """

    not_both("--instance", instance, "--family", family)
    epochs = passes["epochs"]
    names = dict(work)
    if names["task"] is None and (data is not None or epochs is not None):
        names["task"] = "finetune"
    workload = workload_from(names)
    if workload.task == "finetune":
        only_serving({"--duty": duty, "--utilisation": utilisation, "--against": against, **load.given()})
    found = api.compare(
        model,
        names,
        region=region,
        family=family,
        instance=instance,
        data=Path(data) if data is not None else None,
        epochs=epochs,
        duty_cycle=fraction("--duty", duty) or 1.0,
        utilisation=fraction("--utilisation", utilisation) or 1.0,
        against_usd_per_mtok=amount("--against", against),
        all_sizes=all_sizes,
        max_usd_per_hour=amount("--max-usd-per-hour", max_usd_per_hour),
        limits=load.limits(),
        offline=offline,
    )
    out.answer(_payload(model, found), lambda console: _draw(console, found), stands_on=("prices", "models"))
    if not any(row.offer.usd_per_hour is not None for row in found.rows):
        raise typer.Exit(found.refusal.exit_code if found.refusal is not None else EXIT_NO)


def _payload(model: str, found: InstanceComparison) -> dict[str, object]:
    memory = found.memory.as_json()
    return {
        "model": found.model,
        "asked": model,
        "workload": found.workload.as_json(),
        "memory": {key: memory[key] for key in ("total_gib", "low_gib", "high_gib", "parts_gib")},
        "rows": [row.as_json() for row in found.rows],
        "changes": [change.as_json() for change in found.changes()],
        "proposals": [proposal.as_json() for proposal in found.proposals],
        "much_cheaper_share": MUCH_CHEAPER,
        "job": found.job,
        "rough": found.rough,
        "not_placed": found.refusal.as_json() if found.refusal else None,
        "left_out": found.left_out,
        "causes": dict(found.causes),
        "unmeasured": found.unmeasured,
        "assumptions": list(found.assumptions),
        "sources": sorted({row.offer.source for row in found.rows if row.offer.source}),
    }


def _draw(console: Console, found: InstanceComparison) -> None:
    from rich.padding import Padding

    serves = found.workload.task == "serve"
    console.print(styled((found.model, "bold"), f": {found.job}"))
    if not found.rows:
        _draw_refusal(console, found)
        return
    if found.rough is not None:
        console.print(styled((found.rough, "yellow")))
    for line in _held(found):
        console.print(line, markup=False)
    console.print()
    console.print(_table(found, serves))
    if all(row.offer.usd_per_hour is None for row in found.rows) and found.refusal is not None:
        console.print(f"{found.refusal.reason}: {found.refusal.remedy}", markup=False)
    if any(row.tuning and row.tuning.workload.gradient_checkpointing for row in found.rows):
        console.print(RECOMPUTED, markup=False)
    console.print()
    for change in found.changes():
        console.print(f"{change.kind}  {change.text}", markup=False)
    for row in found.rows[:1]:
        if row.break_even is not None:
            console.print(_break_even(row), markup=False)
    if _limited(found) and found.rows[0].load is not None:
        console.print(
            "first, s: wait for the first token; tokens/s: of each request; $ a month: of all that are needed"
        )
        console.print(f"{found.rows[0].offer.instance.name}: {found.rows[0].load.text}", markup=False)
    if found.proposals:
        console.print(f"{100 * (1 - MUCH_CHEAPER):.0f} % cheaper or more:", style="bold", markup=False)
    for proposal in found.proposals:
        console.print(Padding(styled(f"- {proposal.text}"), (0, 0, 0, 2)))
    monthly = "$/h is the machine alone; a month has its disk and address too"
    for line in ((monthly,) if serves else ()) + found.assumptions:
        console.print(Padding(styled(f"- {line}"), (0, 0, 0, 2)))
    if found.left_out:
        console.print(f"{len(found.left_out)} types are left out; --json says why, --all-sizes shows larger ones")


def _limited(found: InstanceComparison) -> bool:
    return any(row.load is not None for row in found.rows)


def _held(found: InstanceComparison) -> list[str]:
    """How the weights are held and what runs, where that is the same on every instance."""
    if found.workload.task == "finetune":
        work = found.workload
        return [f"{work.method}, {work.context:,} tokens a sequence, by {_engine(found.rows[0])}"]
    held = {_weights(row) for row in found.rows}
    if len(held) > 1:
        return []
    row = found.rows[0]
    repository = row.setup.get("repository")
    copied = f" of {repository}" if repository not in (None, found.model) else ""
    return [f"weights {next(iter(held))}{copied}, served by {_engine(row)}"]


def _engine(row: Row) -> str:
    return str(row.setup.get("engine") or row.memory.workload.stack)


def _weights(row: Row) -> str:
    return row.memory.workload.method


def _table(found: InstanceComparison, serves: bool) -> "Table":
    from rich.table import Table

    mixed = serves and len({_weights(row) for row in found.rows}) > 1
    table = Table(box=None, pad_edge=False, padding=(0, 2 if serves and not mixed else 1, 0, 0), header_style="bold")
    table.add_column("instance", no_wrap=True, vertical="bottom")
    table.add_column("GPU", no_wrap=True)
    if mixed:
        table.add_column("weights", no_wrap=True)
    titles: tuple[str, ...] = (
        ("$/h", "tokens/s", "$ per million\noutput tokens", "$ a month")
        if serves
        else ("$/h", "batch", "tokens/s", "hours", "$ for the job", "on spot")
    )
    if _limited(found):
        titles = ("$/h", "needed", "first, s", "tokens/s", "$ a month")
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    for row in found.rows:
        weights = [_weights(row)] if mixed else []
        table.add_row(row.offer.instance.name, row.offer.instance.gpu.name, *weights, *_cells(row, serves))
    return table


def _draw_refusal(console: Console, found: InstanceComparison) -> None:
    if found.refusal is None:
        console.print("no instance type can run it")
    elif found.refusal.cause in ("not_offered", "too_expensive"):
        console.print(f"{found.refusal.reason}: {found.refusal.remedy}", markup=False)
    else:
        console.print(f"no instance type can run it: {found.refusal.reason}", markup=False)


def _cells(row: Row, serves: bool) -> list[str]:
    price = row.offer.usd_per_hour
    cells = ["unknown" if price is None else f"{price:.3f}"]
    rate = row.speed
    if row.load is not None and row.load.speed is not None:
        wait, each = row.load.speed.first_token, row.load.speed.per_request
        cells.append(str(row.instances))
        cells.append("queues" if wait is None else f"{wait.likely:.2g} ({wait.low:.1g}-{wait.high:.1g})")
        cells.append(f"{each.likely:,.0f} ({each.low:,.0f}-{each.high:,.0f})")
        cells.append("" if row.usd is None else f"{row.usd:,.0f}")
        return cells
    if serves:
        cells.append(f"{rate.tokens_per_s:,.0f} ({rate.low:,.0f}-{rate.high:,.0f})")
        prices = row.prices
        cells.append("" if prices is None else f"{prices.generated.likely:.2f}")
        cells.append("" if row.month is None else f"{row.month.total_usd:,.0f}")
        return cells
    cells.append(micro_batch(row.tuning.workload) if row.tuning else "")
    cells.append(f"{rate.tokens_per_s:,.0f}")
    cells.append("" if row.time is None else f"{row.time.total.likely:.1f}")
    job, spot = (one.total if one else None for one in (row.job, row.spot_job))
    cells.append("unknown" if job is None else f"{job.likely:.2f} ({job.low:.2f}-{job.high:.2f})")
    cells.append("" if spot is None else f"{spot.likely:.2f}")
    return cells


def _break_even(row: Row) -> str:
    even = row.break_even
    if even is None:
        return ""
    name, share = row.offer.instance.name, even.share_of_capacity
    if not even.reachable:
        return (
            f"against ${even.against_usd_per_mtok:g} per million tokens, renting {name} does not pay: it would take "
            f"{share.likely:.1f} times what the instance can do"
        )
    return (
        f"against ${even.against_usd_per_mtok:g} per million tokens, renting {name} pays above "
        f"{even.mtok_per_month:,.0f} million tokens a month: {share.likely:.0%} of what it can do "
        f"({share.low:.0%}-{share.high:.0%})"
    )
