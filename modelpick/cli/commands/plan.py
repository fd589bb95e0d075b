"""`modelpick plan`: what would be created, time, total cost, what stops it. Spends nothing."""

from pathlib import Path
from typing import Annotated, Any

import typer

from modelpick.cli.options import Run
from modelpick.cli.output import Console, Output, styled
from modelpick.cli.plan_options import RECOMPUTED, PlanOptions, micro_batch
from modelpick.errors import UsageError
from modelpick.files import read_text, write_atomically
from modelpick.planning import plan as plans
from modelpick.planning import plan_actions
from modelpick.planning.plan import Plan


def plan(
    out: Output,
    *,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A Hub id or a local folder.")],
    planned: PlanOptions,
    work: Run,
    market: Annotated[str, typer.Option("--market", metavar="on-demand|spot", help="How it is bought.")] = "on-demand",
    output: Annotated[
        str | None, typer.Option("--output", metavar="FILE", help="Where the plan goes. Default: its id, here.")
    ] = None,
) -> None:
    """Show what would be created, how long it runs, what it costs.

    Writes a plan file, which `modelpick up` carries out. Spends nothing and needs no credentials.
    """
    made = planned.prepare(out, model, work, market)
    where = Path(output) if output else Path(f"{made.id}.json")
    _write(where, made)
    out.answer({**made.as_json(), "file": str(where)}, lambda console: _draw(console, made, where))


def _write(path: Path, made: Plan) -> None:
    """Write the plan; a file that is something else is left alone."""

    fix = "give another file with --output"
    if path.is_file():
        try:
            plans.load(read_text(path, code="bad_plan"))
        except UsageError:
            raise UsageError(f"{path} exists and is not a plan", fix=fix, code="file_exists") from None
    write_atomically(path, made.to_bytes(), fix=fix)


def _draw(console: Console, made: Plan, where: Path) -> None:
    from rich.padding import Padding

    body = made.content
    console.print(styled((body["id"], "bold"), f": {' and '.join(body['tasks'])} {body['model']['id']}"))
    verdict = body["license"]["verdict"]
    console.print(f"license  {verdict} ({', '.join(body['license']['ids']) or 'none found'})", markup=False)
    for task, memory in body["memory"].items():
        work = body["workloads"][task]
        console.print(
            f"memory   {task} {work['method']}, {work['context']} tokens x {micro_batch(work)}: "
            f"{memory['total_gib']:.1f} GiB (up to {memory['high_gib']:.1f}) of {memory['usable_gib']:.1f}",
            markup=False,
        )
    if body["data"]:
        data = body["data"]
        tokens = f"{data['likely_tokens']:,.0f} ({data['low_tokens']:,.0f} to {data['high_tokens']:,.0f}) tokens"
        rows = f"{data['rows']:,} rows, " if data["rows"] is not None else ""
        how = "counted by the model's tokenizer" if data["counted"] else "estimated from the text"
        console.print(f"data     {rows}{tokens} an epoch, {how}", markup=False)
    console.print(f"time     {_time(body['time'])}", markup=False)
    console.print(
        f"cost     {_cost(body)}, at ${body['cost']['usd_per_hour']:.3f}/h with disk and address", markup=False
    )
    console.print(f"limit    ${body['max_usd']:.2f} or {body['max_hours']:.4g} h: then it is stopped", style="bold")
    _draw_candidates(console, body)
    _draw_actions(console, body)
    console.print("\nstopped by", style="bold")
    for switch in body["stop"]:
        after = f" after {switch['after_hours']:.2f} h" if switch["after_hours"] is not None else ""
        console.print(f"  {switch['switch']}{after} ({switch['held_by']})", markup=False)
    for title, lines in (("take care", [one["why"] for one in body["care"]]), ("not checked yet", body["unchecked"])):
        if lines:
            console.print(f"\n{title}", style="bold")
        for line in lines:
            console.print(Padding(styled(f"- {line}"), (0, 0, 0, 2)))
    console.print(f"\nnothing was bought. The plan is in {where}\nnext: modelpick up {where}", markup=False)


def _time(time: Any) -> str:
    """How long the work takes; a server has no end of its own."""
    done = time["job"] if time["until_limit"] else time
    tuning = f"{_hours(done, 'likely')} ({_hours(done, 'low')} to {_hours(done, 'high')})" if done else ""
    if not time["until_limit"]:
        return tuning
    return f"fine-tuning {tuning}, then it serves until the limit" if tuning else "serves until the limit (--max-hours)"


def _cost(body: Any) -> str:
    if body["time"]["until_limit"]:
        return f"at most ${body['max_usd']:.2f}"
    low, likely, high = (body["cost"][f"{end}_usd"] for end in ("low", "likely", "high"))
    return f"${likely:.2f} (${low:.2f} to ${high:.2f})"


def _hours(time: Any, end: str) -> str:
    hours = time[f"{end}_hours"]
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:.1f} h"


def _draw_candidates(console: Console, body: Any) -> None:
    from rich.table import Table

    tuned, serves = "finetune" in body["tasks"], body["time"]["until_limit"]
    ends = ("limit", "at most") if serves else ("time", "cost")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("instance, in order", "GPU"):
        table.add_column(title, no_wrap=True)
    for title in ("$/h", "free GiB", *(("batch",) if tuned else ()), *ends):
        table.add_column(title, justify="right", no_wrap=True)
    for one in body["candidates"]:
        offer = one["offer"]
        table.add_row(
            f"{offer['instance_type']} {offer['region']}",
            offer["gpu"],
            f"{offer['usd_per_hour']:.3f}",
            f"{one['headroom_gib']:.1f}",
            *((micro_batch(one["finetune"]),) if tuned else ()),
            _hours(one["time"], "likely"),
            f"${one['cost']['likely_usd']:.2f}",
        )
    console.print()
    console.print(table)
    if tuned and any(one["finetune"]["gradient_checkpointing"] for one in body["candidates"]):
        console.print(RECOMPUTED, markup=False)


def _draw_actions(console: Console, body: Any) -> None:
    console.print("\nin this order", style="bold")
    for title, action in zip(plan_actions.titles(body["actions"]), body["actions"], strict=True):
        paid = f"${action['usd']:.2f}" if action.get("usd") else "free"
        creates = f": {action['creates']}" if action.get("creates") else ""
        console.print(f"  {action['step']:2} {paid:>6}  {title}{creates}", markup=False)
