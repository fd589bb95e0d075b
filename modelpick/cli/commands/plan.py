"""`modelpick plan`: what would be created, time, total cost, what stops it. Spends nothing."""

from pathlib import Path
from typing import Annotated

import typer

from modelpick.cli.load_options import ServedLoadOptions, only_serving
from modelpick.cli.options import Run
from modelpick.cli.output import Output
from modelpick.cli.plan_options import PlanOptions
from modelpick.cli.render import plan as render
from modelpick.errors import UsageError
from modelpick.files import read_text, write_atomically
from modelpick.planning.plan_file import Plan
from modelpick.planning.plan_file import load as read_plan


def plan(
    out: Output,
    *,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A Hub id or a local folder.")],
    planned: PlanOptions,
    work: Run,
    load: ServedLoadOptions,
    market: Annotated[str, typer.Option("--market", metavar="on-demand|spot", help="Market to buy in.")] = "on-demand",
    output: Annotated[
        str | None,
        typer.Option("--output", metavar="FILE", help="Plan file. Default: named by its id, in this folder."),
    ] = None,
) -> None:
    """Show what would be created, how long it runs, what it costs.

    Writes a plan file, which `modelpick up` carries out. Spends nothing and needs no credentials. With a limit on the
    first token, on the tokens/s of each request, or a rate of requests: how many such servers that takes.
    """
    if not planned.serve and work.get("task") != "serve":
        only_serving(load.given())
    made = planned.prepare(out, model, work, market, load.limits())
    where = Path(output) if output else Path(f"{made.id}.json")
    _write(where, made)
    payload = {**made.as_json(), "file": str(where)}
    out.answer(payload, lambda console: render.draw(console, made, where), stands_on=("prices", "models"))


def _write(path: Path, made: Plan) -> None:
    """Write the plan; a file that is something else is left alone."""
    fix = "give another file with --output"
    if path.is_file():
        try:
            read_plan(read_text(path, code="bad_plan"))
        except UsageError:
            raise UsageError(f"{path} exists and is not a plan", fix=fix, code="file_exists") from None
    write_atomically(path, made.to_bytes(), fix=fix)
