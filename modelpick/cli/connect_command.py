"""`modelpick connect`: a port or a shell of a machine that lets nothing in."""

from typing import Annotated

import typer

from modelpick.cli import aws_options
from modelpick.cli.aws_options import Deployment, Profile
from modelpick.cli.options import Region, command, whole_number
from modelpick.cli.output import Output
from modelpick.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(app, "connect")(connect)


def connect(
    out: Output,
    name: Deployment,
    port: Annotated[str, typer.Option("--port", metavar="N", help="The machine's port.")] = "8000",
    local_port: Annotated[
        str | None, typer.Option("--local-port", metavar="N", help="Ours. Default: the same.")
    ] = None,
    shell: Annotated[bool, typer.Option("--shell", help="A shell instead of a port.")] = False,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """A port of the machine on this computer, through Session Manager: nothing is opened on the machine."""
    from modelpick.aws import access

    remote = whole_number("--port", port, largest=65535) or 8000
    local = whole_number("--local-port", local_port, largest=65535)
    if shell and out.as_json:
        raise UsageError("a shell is nothing for programs", fix="leave out --json or --shell", code="contradiction")
    held = access.session(aws_options.account(region, profile), name, port=remote, local_port=local, shell=shell)
    if not shell:
        address = f"http://127.0.0.1:{local or remote}"
        answer = {"deployment": name, "port": remote, "address": address, "assumptions": [], "sources": []}
        said = f"port {remote} of {name} is {address} until Ctrl-C"
        out.answer(answer, lambda console: console.print(said, markup=False))
    raise typer.Exit(access.connect(held, interactive=shell))
