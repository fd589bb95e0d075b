"""`modelpick down`, `extend`, `logs`, `connect`: what one does with a machine that runs."""

from typing import TYPE_CHECKING, Annotated

import typer

from modelpick.cli import aws_options
from modelpick.cli.aws_options import Deployment, Profile, Yes
from modelpick.cli.options import Region, amount, command
from modelpick.cli.output import Output
from modelpick.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from modelpick.aws.receipt import Receipt


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    command(app, "down")(down)
    command(app, "extend")(extend)
    command(app, "logs")(logs)
    command(app, "connect")(connect)


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
    from modelpick.aws import status, teardown
    from modelpick.aws.names import check_id

    if every == (name is not None):
        raise UsageError("give one NAME, or --all", fix="modelpick status lists them", code="contradiction")
    account = aws_options.account(region, profile)
    names = [check_id(name)] if name else [item.deployment for item in status.deployments(account) if item.state != "kept"]
    if purge or every:
        aws_options.agree(out, f"Take {', '.join(names) or 'nothing'} down{' with all results' if purge else ''}?", yes=yes)
    keep = teardown.Keep(results=not purge, data=keep_data)
    receipts = [teardown.down(account, one, keep=keep, report=out.note) for one in names]
    payload = {
        "receipts": [item.as_json() for item in receipts],
        "assumptions": ["dollars are estimates: hours times the prices noted at the start; the bill is AWS's"],
        "sources": ["Auto Scaling's activities; the deployment's record; embedded storage prices"],
    }
    out.answer(payload, lambda console: _draw(console, receipts))


def extend(
    out: Output,
    name: Deployment,
    hours: Annotated[str, typer.Option("--hours", metavar="H", help="How much longer.")],
    max_usd: Annotated[str | None, typer.Option("--max-usd", metavar="X", help="A new cap for all of it.")] = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Let a machine run longer. Its switches are at no instant off."""
    from modelpick.aws import provision

    longer = amount("--hours", hours) or 0.0
    held = provision.extend(aws_options.account(region, profile), name, longer, max_usd=amount("--max-usd", max_usd))
    stop = f"{held.stop_at:%Y-%m-%dT%H:%M:%SZ}"
    out.answer(
        {"deployment": name, "stop_at": stop, "delete_at": f"{held.delete_at:%Y-%m-%dT%H:%M:%SZ}", "assumptions": [], "sources": []},
        lambda console: console.print(f"{name} now stops by itself at {stop}", markup=False),
    )


def logs(
    out: Output,
    name: Deployment,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Until the machine is gone.")] = False,
    since: Annotated[str | None, typer.Option("--since", metavar="30m", help="Only what is newer.")] = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """What the job said."""
    from modelpick.aws import access

    span = aws_options.span("--since", since) if since else None
    lines = access.log_lines(aws_options.account(region, profile), name, follow=follow and not out.as_json, since=span)
    if out.as_json:
        listed = list(lines)
        out.answer({"deployment": name, "lines": listed, "assumptions": [], "sources": []}, lambda _: None)
        return
    for line in lines:
        typer.echo(line)


def connect(
    out: Output,
    name: Deployment,
    port: Annotated[str, typer.Option("--port", metavar="N", help="The machine's port.")] = "8000",
    local_port: Annotated[str | None, typer.Option("--local-port", metavar="N", help="Ours. Default: the same.")] = None,
    shell: Annotated[bool, typer.Option("--shell", help="A shell instead of a port.")] = False,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """A port of the machine on this computer, through Session Manager: nothing is opened on the machine."""
    from modelpick.aws import access
    from modelpick.cli.options import whole_number

    remote = whole_number("--port", port, largest=65535) or 8000
    local = whole_number("--local-port", local_port, largest=65535)
    words = access.session(aws_options.account(region, profile), name, port=remote, local_port=local, shell=shell)
    if out.as_json:
        out.answer({"deployment": name, "command": words, "assumptions": [], "sources": []}, lambda _: None)
        return
    out.note(" ".join(words))
    raise typer.Exit(access.connect(words))


def _draw(console: "Console", receipts: "list[Receipt]") -> None:
    for item in receipts:
        total = "unknown" if item.total_usd is None else f"${item.total_usd:.2f}"
        console.print(f"{item.deployment}: {len(item.lives)} machine(s), {item.hours:.2f} h, {total} in all", markup=False)
        for what, usd in item.items_usd.items():
            console.print(f"  {what}: {'unknown' if usd is None else f'${usd:.2f}'}", markup=False)
        if item.kept is None:
            console.print("  nothing is left", markup=False)
            continue
        until = f"until {item.kept.expires_at:%Y-%m-%d}" if item.kept.expires_at else "WITHOUT an expiry"
        price = item.kept.usd_per_month(item.usd_per_gb_month)
        console.print(f"  kept: {item.kept.where}, {item.kept.objects} objects, {until}, ${price:.4f} a month", markup=False)
    if not receipts:
        console.print("nothing to take down", markup=False)
