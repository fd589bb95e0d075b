"""`modelpick connect`: a port or a shell of a machine that lets nothing in, and the key to what it serves."""

from pathlib import Path
from typing import Annotated

import typer

from modelpick import settings
from modelpick.aws import access, progress, record
from modelpick.aws.account import Account
from modelpick.aws.names import ResourceNames
from modelpick.cli import aws_options
from modelpick.cli.aws_options import Deployment, Profile
from modelpick.cli.options import Region, whole_number
from modelpick.cli.output import Console, Output
from modelpick.errors import UsageError
from modelpick.serving import machine


def connect(
    out: Output,
    name: Deployment,
    port: Annotated[str, typer.Option("--port", metavar="N", help="Port on the machine.")] = "8000",
    local_port: Annotated[
        str | None, typer.Option("--local-port", metavar="N", help="Port on this computer. Default: the same number.")
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", metavar="FILE", help="File for the API key. Default: in your state folder."),
    ] = None,
    shell: Annotated[bool, typer.Option("--shell", help="Open a shell instead of a port.")] = False,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Forward a port of the machine to this computer. Session Manager carries it: no port is opened on the machine.

    The API key of what it serves is put into a file that only you can read. Runs until Ctrl-C, with --json too.
    """
    remote = whole_number("--port", port, largest=65535) or 8000
    local = whole_number("--local-port", local_port, largest=65535) or remote
    if shell and out.as_json:
        raise UsageError(
            "--shell and --json contradict each other", fix="leave out --json or --shell", code="contradiction"
        )
    account = aws_options.account(region, profile)
    held = access.session(account, name, port=remote, local_port=local, shell=shell)
    if not shell:
        answer = {"deployment": name, "port": remote, **_key(account, name, key_file, local)}
        out.answer({**answer, "assumptions": [], "sources": []}, lambda console: _draw(console, name, answer))
    raise typer.Exit(access.connect(held, interactive=shell))


def _key(account: Account, name: str, key_file: Path | None, local: int) -> dict[str, object]:
    """Fetch the key into its file. A key never reaches the screen, a log or a process list."""
    address = f"http://127.0.0.1:{local}"
    secret = access.api_key(account, name)
    if secret is None:
        nothing = dict.fromkeys(("endpoint", "key_file", "ready", "progress"))
        return {"address": address, **nothing}
    path = key_file or settings.state_folder(name) / "key"
    machine.keep_key(path, secret)
    names = ResourceNames(name, account.identity()["Account"], account.region)
    now = progress.read_progress(account, names, record.read(account, names))
    return {
        "address": address, "endpoint": f"{address}/v1", "key_file": str(path), "ready": now.ready,
        "progress": now.text(),
    }  # fmt: skip


def _draw(console: Console, name: str, answer: dict[str, object]) -> None:
    for line in (*_told(name, answer), "forwarding until Ctrl-C"):
        console.print(line, markup=False, soft_wrap=True)


def _told(name: str, answer: dict[str, object]) -> list[str]:
    if answer["key_file"] is None:
        return [
            f"port {answer['port']} of {name} is {answer['address']}; it does not serve a model, so there is no API key"
        ]
    endpoint, path = answer["endpoint"], _typed(Path(str(answer["key_file"])))
    named = "" if endpoint == "http://127.0.0.1:8000/v1" else f" --endpoint {endpoint}"  # else what chat asks anyway
    return [
        *([] if answer["ready"] else [f"{name} does not serve yet: {answer['progress']}"]),
        f"endpoint  {endpoint}",
        f"key       {path}",
        "in another terminal:",
        f"  modelpick chat{named} --key-file {path}",
        "or, for any OpenAI client:",
        f"  export OPENAI_BASE_URL={endpoint}",
        f"  export OPENAI_API_KEY=$(cat {path})",
    ]


def _typed(path: Path) -> str:
    """A path as one would type it in a shell."""
    import shlex

    home = Path.home()
    if path.is_relative_to(home):
        return f"~/{shlex.quote(path.relative_to(home).as_posix())}"
    return shlex.quote(str(path))
