"""`modelpick bench`: what a server really does, and how far the plan was off."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelpick.cli.options import Instance, command, whole_number
from modelpick.cli.output import Output
from modelpick.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from modelpick.serving.bench import Level, Load
    from modelpick.serving.client import Endpoint
    from modelpick.serving.promise import Promise

_LARGEST_CONCURRENCY = 512  # threads of this client


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(app, "bench")(bench)


def bench(
    out: Output,
    endpoint: Annotated[
        str, typer.Option("--endpoint", metavar="URL", help="The address, up to /v1.")
    ] = "http://127.0.0.1:8000/v1",
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Default: the first that the server names.")
    ] = None,
    concurrency: Annotated[
        str, typer.Option("--concurrency", metavar="LIST", help="Clients at once, one level each.")
    ] = "1,4,16",
    requests: Annotated[
        str | None, typer.Option("--requests", metavar="N", help="Per level. Default: 4 for each client, at least 8.")
    ] = None,
    prompt_tokens: Annotated[
        str, typer.Option("--prompt-tokens", metavar="N", help="About this many in each prompt.")
    ] = "256",
    generate: Annotated[str, typer.Option("--generate", metavar="N", help="At most this many in each answer.")] = "128",
    plan: Annotated[
        str | None, typer.Option("--plan", metavar="FILE", help="Compare with what this plan promised.")
    ] = None,
    instance: Instance = None,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Keep the difference for later estimates. Default: with --plan.")
    ] = True,
    key_file: Annotated[
        str | None, typer.Option("--key-file", metavar="FILE", help="Holds the API key. Default: OPENAI_API_KEY.")
    ] = None,
    seed: Annotated[str, typer.Option("--seed", metavar="N", help="Other prompts.")] = "0",
    completions: Annotated[
        bool, typer.Option("--completions", help="By /completions: for models without a chat template.")
    ] = False,
    tool: Annotated[
        str, typer.Option("--tool", metavar="own|vllm", help="What measures: vllm is `vllm bench serve`.")
    ] = "own",
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", metavar="DIR", help="The model's, for --tool vllm.")
    ] = None,
    results: Annotated[
        list[str] | None,
        typer.Option("--import", metavar="FILE", help="Measure nothing: take a result of vllm bench or guidellm."),
    ] = None,
) -> None:
    """Tokens/s, first-token and inter-token latency at several concurrencies, against the plan.

    With --plan the difference is kept in a file of yours that later estimates use and name. Exit: 1 if requests failed.
    """
    from modelpick.serving import bench as measuring
    from modelpick.serving import client, load_tools, promise

    if instance is not None and plan is None:
        raise UsageError("--instance says where a plan ran", fix="give --plan too", code="contradiction")
    promised = promise.read(Path(plan), instance) if plan else None
    if results:
        found = [load_tools.read(Path(file)) for file in results]
        levels = sorted((level for one in found for level in one.levels), key=lambda level: level.concurrency)
        _answer(out, _Measured(None, found[0].model, found[0].tool, levels), promised, keep)
        return
    measure = _measuring(tool, tokenizer)
    at = client.endpoint(endpoint, Path(key_file) if key_file else None)
    if at.exposed:
        out.note(f"{at.url} is no https address: the key crosses the network unencrypted")
    many = whole_number("--requests", requests, largest=1_000_000)
    sizes = _levels(concurrency)
    load = measuring.Load(
        prompt_tokens=whole_number("--prompt-tokens", prompt_tokens, largest=10_000_000) or 1,
        generate=whole_number("--generate", generate, smallest=2, largest=1_000_000) or 2,
        seed=whole_number("--seed", seed, smallest=0) or 0,
        plain=completions,
    )
    name = client.pick_model(at, model)
    measuring.measure(at, name, load, concurrency=1, requests=1)  # the first request pays for what is lazy
    levels = []
    for size in sizes:
        out.note(f"{size} at once ...")
        count = many or max(4 * size, 8)
        mine = replace(load, seed=load.seed + size)
        levels.append(measure(at, name, mine, concurrency=size, requests=count))
    _answer(out, _Measured(at.url, name, "modelpick" if tool == "own" else "vllm bench serve", levels), promised, keep)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What was measured, where (None: a file says no address), and by what."""

    url: str | None
    model: str
    tool: str
    levels: "list[Level]"


def _measuring(tool: str, tokenizer: str | None) -> "Callable[..., Level]":
    """What measures one level."""
    from modelpick.serving import bench as measuring
    from modelpick.serving import machine

    if tool not in ("own", "vllm"):
        raise UsageError(f"--tool is {tool!r}", fix="use own or vllm; --import for others", code="unknown_option")
    if tool == "own":
        return measuring.measure
    program = machine.program("vllm")
    if program is None:
        raise UsageError(
            "vllm is not installed", fix="put it on PATH or name it by MODELPICK_VLLM", code="engine_absent"
        )
    if tokenizer is None or not Path(tokenizer).is_dir():
        raise UsageError(
            "vllm bench serve needs the model's tokenizer", fix="give --tokenizer DIR", code="no_tokenizer"
        )
    return partial(_by_vllm, program, Path(tokenizer))


def _by_vllm(
    program: str, tokenizer: Path, at: "Endpoint", model: str, load: "Load", *, concurrency: int, requests: int
) -> "Level":
    from modelpick.serving import load_tools

    return load_tools.vllm_bench(program, at, model, load, tokenizer, concurrency=concurrency, requests=requests)


def _levels(text: str) -> list[int]:
    sizes = [whole_number("--concurrency", part.strip(), largest=_LARGEST_CONCURRENCY) or 1 for part in text.split(",")]
    return sorted(set(sizes))


def _answer(out: Output, measured: _Measured, promised: "Promise | None", keep: bool) -> None:
    from modelpick.offers import local_calibration

    name, levels = measured.model, measured.levels
    compared = [promised.compare(level) for level in levels] if promised else []
    rows = [
        promised.row(level)
        for level, one in zip(levels, compared, strict=False)
        if promised is not None and keep and one["believable"] and not level.errors
    ]
    kept = local_calibration.keep(rows) if rows else None
    strange = [one for one in compared if not one["believable"]]
    payload: dict[str, Any] = {
        "endpoint": measured.url,
        "model": name,
        "tool": measured.tool,
        "levels": [level.as_json() for level in levels],
        "plan": promised.plan if promised else None,
        "promised": compared,
        "calibration": {"file": str(kept) if kept else None, "rows": len(rows)},
        "assumptions": [
            f"measured by {measured.tool}, a closed loop: each client asks again when it is answered",
            *([promised.calibration.standing(promised.instance.gpu.name)] if promised else []),
            *(["a measurement more than 5 times off is of another machine, and was not kept"] if strange else []),
        ],
        "sources": [],
    }
    out.answer(
        payload,
        lambda console: _draw(
            console, f"{name}, by {measured.tool}", levels, compared, str(kept) if kept else None, bool(strange)
        ),
    )
    if any(level.errors for level in levels):
        out.note(f"requests failed: {next(level.errors[0] for level in levels if level.errors)}")
        raise typer.Exit(1)


def _draw(
    console: "Console",
    name: str,
    levels: "list[Level]",
    compared: list[dict[str, Any]],
    kept: str | None,
    strange: bool,
) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    titles = (
        "clients",
        "tokens/s",
        "first p50",
        "p95",
        "next p50",
        "p95",
        "failed",
        *(("promised",) if compared else ()),
    )
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    for number, level in enumerate(levels):
        told = level.as_json()
        first, between = told["first_token_s"], told["inter_token_s"]
        row = [
            str(level.concurrency), f"{level.tokens_per_s:.1f}", _ms(first["p50"]), _ms(first["p95"]),
            _ms(between["p50"]), _ms(between["p95"]), str(len(level.errors)),
        ]  # fmt: skip
        if compared:
            one = compared[number]
            row.append(
                f"{one['promised_tokens_per_s']:.1f} ({one['low_tokens_per_s']:.1f} to {one['high_tokens_per_s']:.1f})"
            )
        table.add_row(*row)
    console.print(name, markup=False, soft_wrap=True)
    console.print(table)
    if kept:
        console.print(f"kept in {kept}: later estimates use it and say so", markup=False, soft_wrap=True)
    if strange:
        console.print("more than 5 times off the promise: another machine than planned; not kept", markup=False)


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"
