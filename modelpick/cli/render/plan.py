"""What `modelpick plan` shows: the work, time, cost and limit, the candidates, the steps, and what stops it."""

from pathlib import Path

from modelpick.cli.output import Console, styled
from modelpick.cli.plan_options import RECOMPUTED, micro_batch
from modelpick.planning.plan_file import Plan
from modelpick.planning.plan_parts import PlannedData, PlannedServingSpeed
from modelpick.workload import Workload

# Of a plan's assumptions what was asked for, and what the user's own runs changed; the file has all of them.
_SHOWN = ("load of ", "memory: measured", "memory: raised")


def draw(console: Console, plan: Plan, where: Path) -> None:
    """The plan for a person: what runs where, for how long, at what price, the steps, and what stops it."""
    from rich.padding import Padding

    console.print(styled((plan.id, "bold"), f": {' and '.join(plan.tasks)} {plan.model.id}"))
    if plan.model.copy_of is not None:
        console.print(f"weights  a published copy of {plan.model.copy_of}, judged by its own license", markup=False)
    console.print(f"license  {plan.license.verdict} ({', '.join(plan.license.ids) or 'none found'})", markup=False)
    for task, memory in plan.memory.items():
        work = plan.workloads[task]
        console.print(
            f"memory   {task} {work.method}, {_tokens(work)} tokens x {micro_batch(work)}: "
            f"{memory.total_gib:.1f} GiB (up to {memory.high_gib:.1f}) of {memory.usable_gib:.1f}",
            markup=False,
        )
    if plan.data:
        console.print(f"data     {_data(plan.data)}", markup=False)
    console.print(f"time     {_time(plan)}", markup=False)
    if (serving := plan.candidates[0].serving) is not None and plan.serve is not None:
        console.print(f"speed    {_speed(serving, plan.serve)}", markup=False)
    console.print(f"cost     {_cost(plan)}, at ${plan.cost.usd_per_hour:.3f}/h with disk and address", markup=False)
    console.print(f"limit    ${plan.max_usd:.2f} or {plan.max_hours:.4g} h: then it is stopped", style="bold")
    for line in plan.assumptions:
        if line.startswith(_SHOWN):
            console.print(Padding(styled(line), (1, 0, 0, 0)))
    _draw_candidates(console, plan)
    _draw_actions(console, plan)
    console.print("\nstopped by", style="bold")
    for switch in plan.stop:
        after = f" after {switch.after_hours:.2f} h" if switch.after_hours is not None else ""
        console.print(f"  {switch.switch}{after} ({switch.held_by})", markup=False)
    for title, lines in (("take care", [finding.why for finding in plan.care]), ("not checked yet", plan.unchecked)):
        if lines:
            console.print(f"\n{title}", style="bold")
        for line in lines:
            console.print(Padding(styled(f"- {line}"), (0, 0, 0, 2)))
    console.print(f"\nnothing was bought. The plan is in {where}\nnext: modelpick up {where}", markup=False)


def _tokens(work: Workload) -> str:
    return f"{work.context} + {work.generate}" if work.generate else f"{work.context}"


def _speed(serving: PlannedServingSpeed, served: Workload) -> str:
    """Of all requests together, as `bench` compares it; and the wait of one of them."""
    rate, wait = serving.generate, serving.seconds_to_first_token
    span = f"{rate.tokens_per_s:,.0f} tokens/s ({rate.low_tokens_per_s:,.0f} to {rate.high_tokens_per_s:,.0f})"
    first = "requests queue" if wait is None else f"first token after {wait:.1f} s"
    return f"{served.stack}, {span}, {first}"


def _data(data: PlannedData) -> str:
    tokens = f"{data.likely_tokens:,.0f} ({data.low_tokens:,.0f} to {data.high_tokens:,.0f}) tokens"
    rows = f"{data.rows:,} rows, " if data.rows is not None else ""
    how = "counted by the model's tokenizer" if data.counted else "estimated from the text"
    return f"{rows}{tokens} an epoch, {how}"


def _time(plan: Plan) -> str:
    """How long the work takes; a server has no end of its own."""
    work = plan.work
    span = f"{_hours(work.likely_hours)} ({_hours(work.low_hours)} to {_hours(work.high_hours)})" if work else ""
    if not plan.time.until_limit:
        return span
    return f"fine-tuning {span}, then it serves until the limit" if span else "serves until the limit (--max-hours)"


def _cost(plan: Plan) -> str:
    if plan.time.until_limit:
        return f"at most ${plan.max_usd:.2f}"
    return f"${plan.cost.likely_usd:.2f} (${plan.cost.low_usd:.2f} to ${plan.cost.high_usd:.2f})"


def _hours(hours: float) -> str:
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:.1f} h"


def _draw_candidates(console: Console, plan: Plan) -> None:
    from rich.table import Table

    recipes = [candidate.finetune for candidate in plan.candidates if candidate.finetune is not None]
    ends = ("limit", "at most") if plan.time.until_limit else ("time", "cost")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("instance, in order", "GPU"):
        table.add_column(title, no_wrap=True)
    for title in ("$/h", "free GiB", *(("batch",) if recipes else ()), *ends):
        table.add_column(title, justify="right", no_wrap=True)
    for candidate in plan.candidates:
        offer = candidate.offer
        table.add_row(
            f"{offer.instance_type} {offer.region}",
            offer.gpu,
            f"{offer.usd_per_hour:.3f}",
            f"{candidate.headroom_gib:.1f}",
            *((micro_batch(candidate.finetune),) if candidate.finetune else ()),
            _hours(candidate.time.likely_hours),
            f"${candidate.cost.likely_usd:.2f}",
        )
    console.print()
    console.print(table)
    if any(recipe.gradient_checkpointing for recipe in recipes):
        console.print(RECOMPUTED, markup=False)


def _draw_actions(console: Console, plan: Plan) -> None:
    console.print("\nin this order", style="bold")
    for step, action in zip(plan.steps, plan.actions, strict=True):
        paid = f"${action.usd:.2f}" if action.usd else "free"
        creates = f": {action.creates}" if action.creates else ""
        console.print(f"  {action.step:2} {paid:>6}  {step.title}{creates}", markup=False)
