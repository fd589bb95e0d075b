"""`modelpick data check|show|curate|next`: training data, before a GPU is paid for."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from modelpick.catalog.architecture import Kind
from modelpick.cli.options import PolicyName, whole_number
from modelpick.cli.output import Output, Waiting
from modelpick.datasets import hub_data
from modelpick.datasets.check import AsTrained, check_data, estimated_tokens
from modelpick.datasets.curate import curate_examples
from modelpick.datasets.examples import Example, Problem
from modelpick.datasets.forms import parse_columns
from modelpick.datasets.read import copy_lines, read, read_for_training
from modelpick.errors import EXIT_NO, UsageError
from modelpick.evaluation.active_learning import next_to_label
from modelpick.extras import require_train
from modelpick.loading import load, tokenize
from modelpick.loading.environment import silence_libraries
from modelpick.loading.show import show_example, shown_example

File = Annotated[
    str,
    typer.Argument(metavar="FILE", help="Examples: JSONL, CSV, Parquet or Arrow, also compressed; or a Hub data set."),
]
Budget = Annotated[str, typer.Option("--budget", metavar="N", help="Most examples to keep.")]
Into = Annotated[str, typer.Option("--output", metavar="FILE.jsonl", help="Output file for the chosen examples.")]
Columns = Annotated[
    str | None,
    typer.Option("--columns", metavar="OURS=THEIRS,...", help="Columns by our names: question=Frage,answer=Antwort."),
]
_ESTIMATED = "4 characters per token"


def check(
    out: Output,
    file: File,
    held_out: Annotated[
        str | None, typer.Option("--held-out", metavar="FILE", help="Also find examples that are in this file.")
    ] = None,
    context: Annotated[
        str | None,
        typer.Option("--context", metavar="N", help="Longest sequence in tokens. Default: the model's limit."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "--tokenizer", metavar="MODEL",
            help="Count tokens with its tokenizer and chat template. Needs the extra train.",
        ),
    ] = None,
    columns: Columns = None,
    policy: PolicyName = None,
) -> None:  # fmt: skip
    """Show what is wrong with a file of examples, by line. Exit: 0 nothing that stops training, 1 something does."""
    from modelpick.cli.render.data import draw_report

    limit = whole_number("--context", context)
    with Waiting(out) as on_progress:
        as_trained, known = _as_trained(model) if model else (None, None)
        report = check_data(
            hub_data.local(file),
            held_out=Path(held_out) if held_out else None,
            context=limit or known,
            as_trained=as_trained,
            columns=parse_columns(columns),
            policy=policy,
            on_progress=on_progress,
        )
    payload = {**report.as_json(), "assumptions": [] if model else [_ESTIMATED], "sources": []}
    out.answer(payload, lambda console: draw_report(console, file, report, held_out))
    if report.errors:
        raise typer.Exit(EXIT_NO)


def show(
    out: Output,
    file: File,
    model: Annotated[
        str,
        typer.Option(
            "--model", "--tokenizer", metavar="MODEL", help="Model whose tokenizer and chat template are used."
        ),
    ],
    line: Annotated[
        str | None, typer.Option("--line", metavar="N", help="Line of the example. Default: the first one.")
    ] = None,
    columns: Columns = None,
) -> None:
    """Show one example with what a model learns of it marked.

    It is rendered as in training, by the model's chat template. Needs the extra train.

    Exit: 0, or 1 where it cannot be trained on.
    """
    from modelpick.cli.render.data import draw_shown

    number = whole_number("--line", line)
    with Waiting(out) as on_progress:
        data = read(hub_data.local(file), columns=parse_columns(columns), on_progress=on_progress)
        example = shown_example(data, number)
        tokenizer, kind, _ = _tokenizer_of(model)
        shown = show_example(example, tokenizer, kind)
    out.answer({**shown.as_json(), "assumptions": [], "sources": []}, lambda console: draw_shown(console, shown))
    if shown.errors:
        raise typer.Exit(EXIT_NO)


def curate(
    out: Output,
    file: File,
    output: Into,
    budget: Budget = "1000",
    held_out: Annotated[
        str | None, typer.Option("--held-out", metavar="FILE", help="Leave out examples that are in this file.")
    ] = None,
    keep_sensitive: Annotated[
        bool, typer.Option("--keep-sensitive", help="Keep examples with secrets or personal data.")
    ] = False,
    columns: Columns = None,
) -> None:
    """Choose few, good and diverse examples, without duplicates.

    They are ranked by quality and cut to a budget.
    """
    from modelpick.cli.render.data import draw_curated

    target = _fresh(output)
    wanted = whole_number("--budget", budget) or 1
    with Waiting(out) as on_progress:
        path, named = hub_data.local(file), parse_columns(columns)
        data = read_for_training(path, columns=named, on_progress=on_progress)
        apart = read(Path(held_out), columns=named, on_progress=on_progress).wholes if held_out else ()
        chosen = curate_examples(
            data.wholes, wanted, keep_sensitive=keep_sensitive, held_out=apart, on_progress=on_progress
        )
        copy_lines(path, set(chosen.lines), target)
    before = len(data.wholes)
    payload = {"output": str(target), "read": before, **chosen.as_json(), "assumptions": [_ESTIMATED], "sources": []}
    tokens = _median_tokens(data.wholes), _median_tokens(chosen.chosen)
    out.answer(payload, lambda console: draw_curated(console, output, before, tokens, chosen))


def next_(
    out: Output,
    pool: Annotated[str, typer.Argument(metavar="POOL", help="File of unlabelled examples.")],
    output: Into,
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="Current model.")],
    adapter: Annotated[str | None, typer.Option("--adapter", metavar="DIR", help="Adapter on the model.")] = None,
    seen: Annotated[str | None, typer.Option("--seen", metavar="FILE", help="File of labelled examples.")] = None,
    count: Annotated[str, typer.Option("--count", metavar="N", help="Number of examples to pick.")] = "20",
    ask: Annotated[
        str,
        typer.Option("--ask", metavar="N", help="Ask the model about at most N examples, spread over the pool."),
    ] = "2000",
    columns: Columns = None,
) -> None:
    """Pick what to label next: what the model is least sure of.

    Among those, the ones most unlike what it has seen come first.
    """
    from modelpick.cli.render.data import draw_picked

    target = _fresh(output)
    wanted = whole_number("--count", count) or 1
    most = whole_number("--ask", ask) or 1
    with Waiting(out) as on_progress:
        path = hub_data.local(pool)
        picked = next_to_label(
            path,
            model,
            wanted,
            adapter=adapter,
            seen=Path(seen) if seen else None,
            ask=most,
            columns=parse_columns(columns),
            on_progress=on_progress,
        )
        copy_lines(path, {example.line for example, _ in picked.rows}, target)
    payload = {"output": str(target), **picked.as_json(), "assumptions": [], "sources": []}
    out.answer(payload, lambda console: draw_picked(console, output, picked))


def _median_tokens(examples: Sequence[Example]) -> int:
    return sorted(map(estimated_tokens, examples))[len(examples) // 2] if examples else 0


def _fresh(output: str) -> Path:
    """The file to write. Raises UsageError before the work, not after it."""
    target = Path(output)
    if target.exists():
        raise UsageError(f"{target} exists", fix="name another file with --output", code="output_exists")
    if target.suffix.lower() != ".jsonl":
        raise UsageError(f"{target} does not end in .jsonl", fix="name a .jsonl file with --output", code="not_jsonl")
    if not target.parent.is_dir():
        raise UsageError(
            f"{target.parent} is not a folder", fix="create it, or name another file with --output", code="no_folder"
        )
    if not os.access(target.parent, os.W_OK):
        raise UsageError(
            f"there is no permission to write to {target.parent}",
            fix="name another file with --output",
            code="cannot_write",
        )
    return target


def _as_trained(model: str) -> tuple[AsTrained, int | None]:
    """How a model is trained on examples, and the most tokens it has positions for (None: no limit)."""
    tokenizer, kind, longest = _tokenizer_of(model)

    def as_trained(examples: Sequence[Example]) -> tuple[list[int], list[Problem]]:
        with silence_libraries():
            made = tokenize.tokenized([side for example in examples for side in example.sides()], tokenizer, kind)
        widths = iter(tokenize.lengths(made))
        longest_sides = (max(next(widths) for _ in example.sides()) for example in examples)
        # What its template refuses has no rows: its length is estimated.
        lengths = [width or estimated_tokens(one) for one, width in zip(examples, longest_sides, strict=True)]
        return lengths, [problem for one in made for problem in one.problems]

    return as_trained, longest


def _tokenizer_of(model: str) -> tuple[Any, Kind, int | None]:
    """A model's tokenizer, its kind, and the most tokens that it has positions for."""
    require_train()
    with silence_libraries():
        options = load.LoadOptions()
        config = load.load_config(model, options)
        kind = load.kind_of(config)
        return load.load_tokenizer(model, options, kind)[0], kind, load.longest_known(config, kind)


SUBCOMMANDS = {"check": check, "show": show, "curate": curate, "next": next_}
