"""`modelpick down`: nothing is left billing but what was asked to be kept."""

from typing import Annotated

import typer

from modelpick.aws import inventory, status, teardown
from modelpick.aws.names import check_id
from modelpick.aws.teardown import Receipt
from modelpick.cli import aws_options
from modelpick.cli.aws_options import Profile, Yes
from modelpick.cli.options import Region
from modelpick.cli.output import Console, Output
from modelpick.errors import UsageError


def down(
    out: Output,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Deployment name.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Take down every deployment of the region.")] = False,
    purge: Annotated[bool, typer.Option("--purge", help="Delete the results too.")] = False,
    keep_data: Annotated[bool, typer.Option("--keep-data", help="Keep the training data until it expires.")] = False,
    region: Region = None,
    profile: Profile = None,
    yes: Yes = False,
) -> None:
    """Take a deployment down and verify that nothing bills.

    What costs money goes first. A receipt lists what is gone; results stay until they expire.
    """
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
            out.note(
                f"there is no deployment {name} in {account.region}; it has: {', '.join(sorted(known)) or 'none'}\n"
                "in all regions: modelpick status --all-regions"
            )
    keep = teardown.Retention(results=not purge, data=keep_data)
    receipts = [teardown.down(account, one, keep=keep, report=out.note) for one in names]
    payload = {
        "receipts": [item.as_json() for item in receipts],
        "assumptions": [
            "dollars are estimates: hours times the prices at the start (spot: the on-demand price, an upper"
            " bound); the bill comes from AWS"
        ],
        "sources": ["Auto Scaling's activities; the deployment's record; embedded storage prices"],
    }
    out.answer(payload, lambda console: draw_receipts(console, receipts))


def draw_receipts(console: Console, receipts: list[Receipt]) -> None:
    """The end of each deployment: hours, dollars by item, what stays, where, until when, for how much."""
    for item in receipts:
        machines = f"{len(item.runs)} machine{'' if len(item.runs) == 1 else 's'}, {item.hours:.2f} h"
        summary = machines if item.runs else "no machine ran"
        console.print(f"{item.deployment} ({item.region}): {summary}", markup=False)
        for what, usd in (*item.items_usd.items(), ("in all", item.total_usd)) if item.runs else ():
            console.print(f"  {what:<8} {'unknown' if usd is None else f'${usd:.2f}':>10}", markup=False)
        if item.kept is None:
            console.print("  nothing is left", markup=False)
            continue
        until = f"until {item.kept.expires_at:%Y-%m-%d}" if item.kept.expires_at else "WITHOUT an expiry"
        monthly = item.kept.usd_per_month(item.usd_per_gb_month)
        price = f"${monthly:.2f}" if monthly >= 0.005 else "less than a cent"
        console.print(f"  kept     {item.kept.where}", markup=False, soft_wrap=True)
        size = f"{item.kept.objects} objects, {item.kept.size_bytes / 2**20:.1f} MiB"
        console.print(f"           {size}, {until}, {price} a month", markup=False)
        if item.kept.expires_at is None:
            console.print(f"           modelpick down {item.deployment} --purge", markup=False)
    if not receipts:
        console.print("nothing to take down", markup=False)
