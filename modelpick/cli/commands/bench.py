"""`modelpick bench`: what a server really does, and how far the plan was off."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from modelpick.cli.endpoint_options import EndpointOptions
from modelpick.cli.options import Instance, whole_number
from modelpick.cli.output import Console, Output
from modelpick.errors import UsageError
from modelpick.schema import to_json
from modelpick.serving import bench as measuring
from modelpick.serving import client, machine, prediction
from modelpick.serving.bench import Level, Load
from modelpick.serving.client import Endpoint
from modelpick.serving.prediction import PredictedLevel, Prediction
from modelpick.speed import calibration_file
from modelpick.workload import Workload

_LARGEST_CONCURRENCY = 512  # threads of this client
_UNPLANNED, _UNPLANNED_LEVELS = Workload(context=256, generate=128, batch=16), (4,)


def bench(
    out: Output,
    *,
    server: EndpointOptions,
    concurrency: Annotated[
        str | None,
        typer.Option(
            "--concurrency",
            metavar="LIST",
            help="Numbers of concurrent clients, one level each. Default: 1 and the plan's, or 1,4,16.",
        ),
    ] = None,
    requests: Annotated[
        str | None,
        typer.Option("--requests", metavar="N", help="Requests per level. Default: 4 per client, at least 8."),
    ] = None,
    prompt_tokens: Annotated[
        str | None,
        typer.Option(
            "--prompt-tokens",
            metavar="N",
            help="Tokens in each prompt, approximately. Default: the plan's, or 256.",
        ),
    ] = None,
    generate: Annotated[
        str | None,
        typer.Option("--generate", metavar="N", help="Most tokens in each answer. Default: the plan's, or 128."),
    ] = None,
    plan: Annotated[str | None, typer.Option("--plan", metavar="FILE", help="Plan file to compare with.")] = None,
    instance: Instance = None,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Save the difference for later estimates. Default: with --plan.")
    ] = True,
    seed: Annotated[str, typer.Option("--seed", metavar="N", help="Random seed for the prompts.")] = "0",
    tool: Annotated[
        str, typer.Option("--tool", metavar="own|vllm", help="Measuring tool; vllm is `vllm bench serve`.")
    ] = "own",
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", metavar="DIR", help="Tokenizer folder, for --tool vllm.")
    ] = None,
    results: Annotated[
        list[str] | None,
        typer.Option("--import", metavar="FILE", help="Read a result of vllm bench serve instead."),
    ] = None,
) -> None:
    """Measure a server's speed and latency, against the plan.

    Reports tokens/s, time to the first token and time between tokens at several concurrencies.
    With --plan the difference is kept in a file of yours that later estimates use and name. Exit: 1 if requests failed.
    """
    if instance is not None and plan is None:
        raise UsageError("--instance says on which machine a plan ran", fix="give --plan too", code="contradiction")
    promised = prediction.read(Path(plan), instance) if plan else None
    if results:
        found = [measuring.read_result(Path(file)) for file in results]
        levels = sorted((one.level for one in found), key=lambda level: level.concurrency)
        _answer(out, _Measured(None, found[0].model, found[0].tool, levels), promised, keep)
        return
    measure = _measuring(tool, tokenizer)
    at = server.at(out)
    many = whole_number("--requests", requests, largest=1_000_000)
    usual = promised.workload if promised is not None else _UNPLANNED  # what is compared is what was priced
    between = () if promised is not None else _UNPLANNED_LEVELS
    sizes = _levels(concurrency or ",".join(str(size) for size in (1, *between, usual.batch)))
    load = measuring.Load(
        prompt_tokens=whole_number("--prompt-tokens", prompt_tokens, largest=10_000_000) or usual.context,
        generate=whole_number("--generate", generate, smallest=2, largest=1_000_000) or max(usual.generate, 2),
        seed=whole_number("--seed", seed, smallest=0) or 0,
        plain=server.completions,
    )
    name = client.pick_model(at, server.model)
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
    levels: list[Level]


def _measuring(tool: str, tokenizer: str | None) -> Callable[..., Level]:
    """What measures one level."""
    if tool not in ("own", "vllm"):
        raise UsageError(f"--tool is {tool!r}", fix="use own or vllm", code="unknown_option")
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
) -> Level:
    return measuring.vllm_bench(program, at, model, load, tokenizer, concurrency=concurrency, requests=requests)


def _levels(text: str) -> list[int]:
    sizes = [whole_number("--concurrency", part.strip(), largest=_LARGEST_CONCURRENCY) or 1 for part in text.split(",")]
    return sorted(set(sizes))


def _answer(out: Output, measured: _Measured, promised: Prediction | None, keep: bool) -> None:
    name, levels = measured.model, measured.levels
    compared = [promised.compare(level) for level in levels] if promised else []
    rows = [
        promised.row(level)
        for level, comparison in zip(levels, compared, strict=False)
        if promised is not None and keep and comparison.believable and not level.errors
    ]
    kept = calibration_file.save(rows) if rows else None
    strange = [comparison for comparison in compared if not comparison.believable]
    payload: dict[str, object] = {
        "endpoint": measured.url,
        "model": name,
        "tool": measured.tool,
        "levels": [level.as_json() for level in levels],
        "plan": promised.plan if promised else None,
        "promised": [to_json(comparison) for comparison in compared],
        "calibration": {"file": str(kept) if kept else None, "rows": len(rows)},
        "assumptions": [
            f"measured by {measured.tool}, a closed loop: each client sends its next request when it has its answer",
            *([promised.calibration.standing(promised.instance.gpu.name)] if promised else []),
            *(
                ["a measurement more than 5 times off is taken for another machine's and was not saved"]
                if strange
                else []
            ),
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
    console: Console, name: str, levels: list[Level], compared: list[PredictedLevel], kept: str | None, strange: bool
) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    promised = ("promised",) if compared else ()
    for title in ("clients", "tokens/s", *promised, "to the first", "between two", "failed"):
        table.add_column(title, justify="right", no_wrap=True)
    for number, level in enumerate(levels):
        row = [str(level.concurrency), _rate(level.tokens_per_s)]
        if compared:
            row.append(f"{_rate(compared[number].low_tokens_per_s)} to {_rate(compared[number].high_tokens_per_s)}")
        table.add_row(*row, _wait(level.first_token_s), _wait(level.inter_token_s), str(len(level.errors)))
    console.print(name, markup=False, soft_wrap=True)
    console.print(table)
    console.print("waits for tokens: half are shorter than the first figure, 95 % than the second", markup=False)
    if kept:
        console.print(f"saved in {kept}: later estimates use it and say so", markup=False, soft_wrap=True)
    if strange:
        console.print("more than 5 times off the prediction: not the planned machine; not saved", markup=False)


def _rate(tokens_per_s: float) -> str:
    return f"{tokens_per_s:,.1f}" if tokens_per_s < 100 else f"{tokens_per_s:,.0f}"


def _wait(seconds: dict[str, float | None]) -> str:
    """Half of the waits are shorter than the first figure, 95 % than the second, in one unit."""
    middle, long = seconds["p50"], seconds["p95"]
    if middle is None or long is None:
        return "-"
    if long >= 10:
        return f"{middle:.1f} / {long:.1f} s"
    return f"{middle * 1000:,.0f} / {long * 1000:,.0f} ms"
