"""`modelpick status`: what runs, what it costs, what stops it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelpick.cli import aws_options
from modelpick.cli.aws_options import Profile
from modelpick.cli.options import Region, command
from modelpick.cli.output import Output
from modelpick.errors import EXIT_MAY_BE_BILLING, UsageError, nearest

if TYPE_CHECKING:
    from rich.console import Console

    from modelpick.aws.status import Status


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(app, "status")(status)


def status(
    out: Output,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this deployment.")] = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Every deployment of the region: state, machine, hours, dollars so far, when it stops."""
    from modelpick.aws import status as statuses

    found = statuses.deployments(aws_options.account(region, profile))
    if name is not None:
        known = [item.deployment for item in found]
        if name not in known:
            fix = nearest(name, known) or "modelpick status lists them"
            raise UsageError(f"there is no deployment {name!r}", fix=fix, code="unknown_deployment")
        found = [item for item in found if item.deployment == name]
    out.answer(payload(found), lambda console: _draw(console, found))
    if any(item.unwatched for item in found):
        raise typer.Exit(EXIT_MAY_BE_BILLING)


def payload(found: "list[Status]") -> dict[str, Any]:
    """Deployments in the names of `status --json`."""
    return {
        "deployments": [item.as_json() for item in found],
        "assumptions": ["dollars are hours by Auto Scaling's own memory times the prices noted at the start"],
        "sources": ["the account: tags, names, scaling activities"],
    }


def _draw(console: "Console", found: "list[Status]") -> None:
    if not found:
        console.print("nothing of modelpick is in this account and region", markup=False)
    for item in found:
        console.print(line(item), markup=False)
        if item.unwatched:
            console.print(f"  NOTHING STOPS IT: {'; '.join(item.problems)}", markup=False)
            console.print(f"  modelpick down {item.deployment}", markup=False)


def line(item: "Status") -> str:
    """A deployment on one line."""
    parts = [item.deployment, item.region]
    if item.machine:
        parts.append(f"{item.instance_type} {item.machine}")
    text = item.progress.text() if item.machine or item.progress.machine else ""
    if not text.startswith(item.state):  # "ended: idle for 30 minutes" says both
        parts.insert(2, item.state)
    if text:
        parts.append(text)
    if item.hours:
        parts.append(f"{item.hours:.2f} h")
        parts.append("dollars unknown" if item.usd is None else f"${item.usd:.2f} so far")
    if item.state in ("running", "starting") and item.stop_at:
        parts.append(f"stops {item.stop_at:%Y-%m-%d %H:%M} UTC")
    return "  ".join(parts)
