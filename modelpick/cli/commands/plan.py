"""`modelpick plan`: what would be created, time, total cost, what stops it. Spends nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from modelpick.aws.live_prices import live_offers
from modelpick.cli.load_options import ServedLoadOptions, only_serving
from modelpick.cli.options import Run, not_both
from modelpick.cli.output import Output
from modelpick.cli.plan_options import PlanOptions
from modelpick.cli.render import plan as render
from modelpick.errors import RemoteError, UsageError
from modelpick.files import read_text, write_atomically
from modelpick.offers.price import Offer
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
    live: Annotated[bool, typer.Option("--live", help="At AWS's prices of today; needs credentials.")] = False,
    output: Annotated[
        str | None,
        typer.Option("--output", metavar="FILE", help="Plan file. Default: named by its id, in this folder."),
    ] = None,
) -> None:
    """Show what would be created, how long it runs, what it costs.

    Writes a plan file, which `modelpick up` carries out. Spends nothing and needs no credentials, but for --live.
    With a limit on the first token, on the tokens/s of each request, or a rate of requests: how many such servers that
    takes.
    """
    not_both("--offline", planned.offline or None, "--live", live or None)
    if not planned.serve and work.get("task") != "serve":
        only_serving(load.given())
    made = planned.prepare(out, model, work, market, load.limits(), _todays if live else None)
    where = Path(output) if output else Path(f"{made.id}.json")
    _write(where, made)
    payload = {**made.as_json(), "file": str(where)}
    out.answer(payload, lambda console: render.draw(console, made, where), stands_on=("prices", "models"))


def _todays(offers: Sequence[Offer]) -> Sequence[Offer]:
    """The offers at AWS's prices; one that AWS does not sell has none. A price far from the embedded one is not used:
    `up` asks whether it is meant."""
    try:
        return live_offers(offers).offers
    except RemoteError as error:
        raise RemoteError(error.message, fix=f"{error.fix}; or leave out --live", code=error.code) from None


def _write(path: Path, made: Plan) -> None:
    """Write the plan; a file that is something else is left alone."""
    fix = "give another file with --output"
    if path.is_file():
        try:
            read_plan(read_text(path, code="bad_plan"))
        except UsageError:
            raise UsageError(f"{path} exists and is not a plan", fix=fix, code="file_exists") from None
    write_atomically(path, made.to_bytes(), fix=fix)
