"""`modelpick sweep`: what was left behind, in every region."""

from typing import TYPE_CHECKING

import typer

from modelpick.cli import aws_options
from modelpick.cli.aws_options import Profile, Yes
from modelpick.cli.options import Region, command
from modelpick.cli.output import Output
from modelpick.cli.status_command import line, payload

if TYPE_CHECKING:
    from modelpick.aws.receipt import Receipt


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(app, "sweep")(sweep)


def sweep(out: Output, region: Region = None, profile: Profile = None, yes: Yes = False) -> None:
    """Find what was left behind in every region, and take it down. Results are kept."""
    from modelpick.aws import status as statuses
    from modelpick.aws import teardown

    account = aws_options.account(region, profile)
    found = list(statuses.orphans(account))
    receipts: list[Receipt] = []
    if found:
        if not out.as_json:
            out.note("\n".join(line(item) for item in found))
        aws_options.agree(out, f"Take {len(found)} down?", yes=yes)
        receipts = [teardown.down(account.in_region(item.region), item.deployment, report=out.detail) for item in found]
    answer = {**payload(found), "receipts": [item.as_json() for item in receipts]}
    text = f"{len(receipts)} taken down" if receipts else "nothing was left behind in any region"
    out.answer(answer, lambda console: console.print(text, markup=False))
