"""`modelpick logs`: the job's log."""

from typing import Annotated

import typer

from modelpick.aws import access
from modelpick.cli import aws_options
from modelpick.cli.aws_options import Deployment, Profile
from modelpick.cli.options import Region
from modelpick.cli.output import Output, to_stdout


def logs(
    out: Output,
    name: Deployment,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Follow the log until the machine is gone.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="30m", help="Show only lines newer than this.")
    ] = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Show the job's log."""
    span = aws_options.span("--since", since) if since else None
    lines = access.log_lines(aws_options.account(region, profile), name, follow=follow and not out.as_json, since=span)
    if out.as_json:
        listed = list(lines)
        out.answer({"deployment": name, "lines": listed, "assumptions": [], "sources": []}, lambda _: None)
        return
    any_line = False
    for line in lines:
        any_line = True
        to_stdout(line + "\n")
    if not any_line:
        out.note(f"the job of {name} has logged nothing yet; modelpick status {name} shows how far it is")
