"""`modelpick serve`: a model or a tuned run behind an OpenAI-compatible address, safe by default."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from modelpick.cli.options import Flags, Offline, PolicyName, whole_number
from modelpick.cli.output import Console, Output
from modelpick.cli.policy_options import ProductName, judged_for
from modelpick.planning.launchable import SERVED
from modelpick.serving import server
from modelpick.serving.serve_progress import ServeProgress
from modelpick.serving.server import Launch
from modelpick.workload import SERVED_REQUESTS, Workload


def serve(
    out: Output,
    *,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|RUN", help="A Hub id, a model or adapter folder, a .gguf file, or a run of finetune."
        ),
    ],
    work: Annotated[Mapping[str, object], Flags(Workload, *(name for name in SERVED if name != "batch"))],
    concurrency: Annotated[
        str | None,
        typer.Option(
            "--concurrency",
            metavar="N",
            help=f"Requests answered at once. Default: {SERVED_REQUESTS}, or as many as fit.",
        ),
    ] = None,
    adapter: Annotated[
        str | None, typer.Option("--adapter", metavar="DIR", help="LoRA adapter of MODEL to serve with it.")
    ] = None,
    chat_template: Annotated[
        str | None,
        typer.Option(
            "--chat-template", metavar="FILE", help="Jinja file to use in place of the model's chat template."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Model name for clients. Default: the folder's name.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine", metavar="E", help="Server: vllm, transformers or llama.cpp. Default: the first that works."
        ),
    ] = None,
    port: Annotated[
        str, typer.Option("--port", metavar="N", envvar="MODELPICK_PORT", help="Port on 127.0.0.1.")
    ] = "8000",
    state: Annotated[
        str | None,
        typer.Option(
            "--state", metavar="DIR", help="Folder for key, logs and license files. Default: in your state folder."
        ),
    ] = None,
    key_file: Annotated[
        str | None,
        typer.Option("--key-file", metavar="FILE", help="File with the API key. Default: made in the state folder."),
    ] = None,
    progress: Annotated[
        str | None, typer.Option("--progress", metavar="FILE", help="Keep a progress file up to date.")
    ] = None,
    policy: PolicyName = None,
    product: ProductName = None,
    reviewed_by: Annotated[
        str | None, typer.Option("--reviewed-by", metavar="NAME", help="Person who decided on a license to review.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be started, without starting it.")
    ] = False,
    offline: Offline = False,
) -> None:
    """Serve a model or a tuned run over an OpenAI-compatible API.

    It listens on this machine only (127.0.0.1) and asks for an API key. It runs until SIGTERM or Ctrl-C, then finishes
    what it is answering. Exit: 0 stopped; 1 it died; 2 it cannot start.
    """
    request = server.ServeRequest(
        model=model,
        workload={**work, "batch": whole_number("--concurrency", concurrency, largest=10_000)},
        adapter=Path(adapter) if adapter else None,
        chat_template=Path(chat_template) if chat_template else None,
        name=name,
        engine=engine,
        port=whole_number("--port", port, largest=65_535) or 8000,
        state=Path(state) if state else None,
        key_file=Path(key_file) if key_file else None,
        policy=judged_for(policy, product),
        reviewed_by=reviewed_by,
        offline=offline,
    )
    launch = server.prepare(request)
    for note in launch.notes:
        out.note(note)
    if dry_run:
        out.answer({**launch.as_json(), "started": False}, lambda console: _draw(console, launch, started=False))
        return
    out.note(f"starting: {' '.join(launch.words)}")
    progress_file = ServeProgress(Path(progress) if progress else None, launch.served.names, launch.port)

    def when_ready() -> None:
        progress_file.state("ready")
        out.answer({**launch.as_json(), "started": True}, lambda console: _draw(console, launch, started=True))

    with progress_file:
        server.run(launch, out.note, when_ready)
    out.note("stopped")


def _draw(console: Console, launch: Launch, *, started: bool) -> None:
    sizing = launch.sizing
    free = f" of {sizing.free_gib:.1f} free" if sizing.free_gib is not None else ""
    lines = [
        f"address   {launch.address}" + ("" if started else "  (nothing was started)"),
        f"models    {', '.join(launch.served.names)}",
        f"key       in {launch.key_file}",
        f"server    {' '.join(launch.words)}",
        f"proxy     Caddy on {launch.port}, and a gateway that checks key and request; the server listens on "
        f"{launch.upstream}",
        f"sized     {sizing.workload.context} + {sizing.workload.generate} tokens, {sizing.concurrency} at once, "
        f"up to {sizing.needed_gib:.1f} GiB{free}",
        f"license   {launch.permission.verdict}; files in {launch.state / 'license'}",
    ]
    if started:
        lines.append(f"try       modelpick chat --endpoint {launch.address} --key-file {launch.key_file}")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
