"""`modelpick extend`: move a machine's end."""

from typing import Annotated

import typer

from modelpick.aws import provision
from modelpick.cli import aws_options
from modelpick.cli.aws_options import Deployment, Profile
from modelpick.cli.options import Region, amount
from modelpick.cli.output import Output


def extend(
    out: Output,
    name: Deployment,
    hours: Annotated[str, typer.Option("--hours", metavar="H", help="Extra time.")],
    max_usd: Annotated[
        str | None, typer.Option("--max-usd", metavar="X", help="New cap for the whole deployment.")
    ] = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Let a machine run longer. The automatic stop stays armed throughout."""
    longer = amount("--hours", hours) or 0.0
    held = provision.extend(aws_options.account(region, profile), name, longer, max_usd=amount("--max-usd", max_usd))
    stop = f"{held.stop_at:%Y-%m-%dT%H:%M:%SZ}"
    out.answer(
        {
            "deployment": name,
            "stop_at": stop,
            "delete_at": f"{held.delete_at:%Y-%m-%dT%H:%M:%SZ}",
            "assumptions": [],
            "sources": [],
        },
        lambda console: console.print(f"{name} now stops by itself at {stop}", markup=False),
    )
