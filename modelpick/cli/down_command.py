"""`modelpick down`: nothing is left billing but what was asked to be kept."""

from typing import TYPE_CHECKING, Annotated

import typer

from modelpick.cli import aws_options
from modelpick.cli.aws_options import Profile, Yes
from modelpick.cli.options import Region, command
from modelpick.cli.output import Output
from modelpick.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from modelpick.aws.receipt import Receipt


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(app, "down")(down)


def down(
    out: Output,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The deployment.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every deployment of the region.")] = False,
    purge: Annotated[bool, typer.Option("--purge", help="Results too.")] = False,
    keep_data: Annotated[bool, typer.Option("--keep-data", help="Keep the training data until it expires.")] = False,
    region: Region = None,
    profile: Profile = None,
    yes: Yes = False,
) -> None:
    """Take a deployment down: paid things first, verified gone, with a receipt. Results stay until they expire."""
    from modelpick.aws import inventory, status, teardown
    from modelpick.aws.names import check_id

    if every == (name is not None):
        raise UsageError("give one NAME, or --all", fix="modelpick status lists them", code="contradiction")
    account = aws_options.account(region, profile)
    names = (
        [check_id(name)] if name else [item.deployment for item in status.deployments(account) if item.state != "kept"]
    )
    if purge or every:
        aws_options.agree(
            out, f"Take {', '.join(names) or 'nothing'} down{' with all results' if purge else ''}?", yes=yes
        )
    if name:
        known = {thing.deployment for thing in inventory.everything(account, account.identity()["Account"])}
        if name not in known:  # gone already, or mistyped while the right one runs on
            out.note(f"nothing is called {name} in {account.region}; there is: {', '.join(sorted(known)) or 'nothing'}")
    keep = teardown.Keep(results=not purge, data=keep_data)
    receipts = [teardown.down(account, one, keep=keep, report=out.note) for one in names]
    payload = {
        "receipts": [item.as_json() for item in receipts],
        "assumptions": ["dollars are estimates: hours times the prices noted at the start; the bill is AWS's"],
        "sources": ["Auto Scaling's activities; the deployment's record; embedded storage prices"],
    }
    out.answer(payload, lambda console: _draw(console, receipts))


def _draw(console: "Console", receipts: "list[Receipt]") -> None:
    for item in receipts:
        total = "unknown" if item.total_usd is None else f"${item.total_usd:.2f}"
        console.print(
            f"{item.deployment}: {len(item.lives)} machine(s), {item.hours:.2f} h, {total} in all", markup=False
        )
        for what, usd in item.items_usd.items():
            console.print(f"  {what}: {'unknown' if usd is None else f'${usd:.2f}'}", markup=False)
        if item.kept is None:
            console.print("  nothing is left", markup=False)
            continue
        until = f"until {item.kept.expires_at:%Y-%m-%d}" if item.kept.expires_at else "WITHOUT an expiry"
        price = item.kept.usd_per_month(item.usd_per_gb_month)
        console.print(
            f"  kept: {item.kept.where}, {item.kept.objects} objects, {until}, ${price:.4f} a month", markup=False
        )
    if not receipts:
        console.print("nothing to take down", markup=False)
