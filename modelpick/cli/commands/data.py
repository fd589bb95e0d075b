"""`modelpick data check|curate|next`: training data, before a GPU is paid for."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelpick.cli.options import PolicyName, command, whole_number
from modelpick.cli.output import Output, Waiting
from modelpick.errors import EXIT_NO, UsageError

if TYPE_CHECKING:
    from modelpick.datasets.check import Lengths
    from modelpick.datasets.examples import Example

File = Annotated[str, typer.Argument(metavar="FILE", help="Examples: JSONL, CSV or Parquet; text may be .gz or .zst.")]
Budget = Annotated[str, typer.Option("--budget", metavar="N", help="At most so many examples.")]
Into = Annotated[str, typer.Option("--output", metavar="FILE.jsonl", help="Where the chosen examples go.")]
_ESTIMATED = "4 characters a token"


def register(app: typer.Typer) -> None:
    """Add the command group to the program."""
    group = typer.Typer(
        rich_markup_mode=None, no_args_is_help=True, help="Training data: check, curate, pick the next to label."
    )
    command(group, "check")(check)
    command(group, "curate")(curate)
    command(group, "next")(next_)
    app.add_typer(group, name="data")


def check(
    out: Output,
    file: File,
    held_out: Annotated[
        str | None, typer.Option("--held-out", metavar="FILE", help="Look for leaks into this file.")
    ] = None,
    context: Annotated[
        str | None,
        typer.Option("--context", metavar="N", help="Tokens a sequence may have. Default: what the model knows."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "--tokenizer", metavar="MODEL",
            help="Count tokens as this model is trained: its tokenizer, its chat template. Needs the extra train.",
        ),
    ] = None,
    policy: PolicyName = None,
) -> None:  # fmt: skip
    """Show what is wrong with a file of examples, by line. Exit: 0 nothing that stops training, 1 something does."""
    from modelpick.cli.render.data import draw_report
    from modelpick.datasets.check import check as look

    limit = whole_number("--context", context)
    with Waiting(out) as tell:
        lengths, known = _as_trained(model) if model else (None, None)
        report = look(
            Path(file),
            held_out=Path(held_out) if held_out else None,
            context=limit or known,
            lengths=lengths,
            policy=policy,
            tell=tell,
        )
    payload = {**report.as_json(), "assumptions": [] if model else [_ESTIMATED], "sources": []}
    out.answer(payload, lambda console: draw_report(console, file, report, held_out))
    if report.errors:
        raise typer.Exit(EXIT_NO)


def curate(
    out: Output,
    file: File,
    output: Into,
    budget: Budget = "1000",
    held_out: Annotated[
        str | None, typer.Option("--held-out", metavar="FILE", help="Leave out what this file says too.")
    ] = None,
    keep_sensitive: Annotated[
        bool, typer.Option("--keep-sensitive", help="Do not drop secrets and personal data.")
    ] = False,
) -> None:
    """Choose few, good and diverse examples, without duplicates.

    They are ranked by quality and cut to a budget.
    """
    from modelpick.cli.render.data import draw_curated
    from modelpick.datasets import read as dataset
    from modelpick.datasets.curate import curate as choose

    target = _fresh(output)
    wanted = whole_number("--budget", budget) or 1
    with Waiting(out) as tell:
        data = dataset.read_for_training(Path(file), tell=tell)
        apart = dataset.read(Path(held_out), tell=tell).wholes if held_out else ()
        chosen = choose(data.wholes, wanted, keep_sensitive=keep_sensitive, held_out=apart, tell=tell)
        dataset.copy_lines(Path(file), set(chosen.lines), target)
    read = len(data.wholes)
    payload = {"output": str(target), "read": read, **chosen.as_json(), "assumptions": [_ESTIMATED], "sources": []}
    tokens = _middle(data.wholes), _middle(chosen.chosen)
    out.answer(payload, lambda console: draw_curated(console, output, read, tokens, chosen))


def next_(
    out: Output,
    pool: Annotated[str, typer.Argument(metavar="POOL", help="Unlabelled examples.")],
    output: Into,
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="The current model.")],
    adapter: Annotated[str | None, typer.Option("--adapter", metavar="DIR", help="Its adapter, if it has one.")] = None,
    seen: Annotated[str | None, typer.Option("--seen", metavar="FILE", help="What is labelled already.")] = None,
    count: Annotated[str, typer.Option("--count", metavar="N", help="How many to pick.")] = "20",
    ask: Annotated[
        str,
        typer.Option("--ask", metavar="N", help="Ask the model about at most so many of the pool, spread out over it."),
    ] = "2000",
) -> None:
    """Pick what to label next: what the model is least sure of.

    Among those, the ones most unlike what it has seen come first.
    """
    from modelpick.cli.render.data import draw_picked
    from modelpick.datasets import read as dataset
    from modelpick.evaluation.active_learning import next_to_label

    target = _fresh(output)
    wanted = whole_number("--count", count) or 1
    most = whole_number("--ask", ask) or 1
    with Waiting(out) as tell:
        picked = next_to_label(
            Path(pool), model, wanted, adapter=adapter, seen=Path(seen) if seen else None, ask=most, tell=tell
        )
        dataset.copy_lines(Path(pool), {example.line for example, _ in picked.rows}, target)
    payload = {"output": str(target), **picked.as_json(), "assumptions": [], "sources": []}
    out.answer(payload, lambda console: draw_picked(console, output, picked))


def _middle(examples: "Sequence[Example]") -> int:
    from modelpick.datasets.check import about

    return sorted(map(about, examples))[len(examples) // 2] if examples else 0


def _fresh(output: str) -> Path:
    """Where the answer goes, refused before the work and not after it."""
    target = Path(output)
    if target.exists():
        raise UsageError(f"{target} exists", fix="name another with --output", code="output_exists")
    if target.suffix.lower() != ".jsonl":
        raise UsageError(f"{target} is to hold JSON lines", fix="name it .jsonl with --output", code="not_jsonl")
    if not target.parent.is_dir():
        raise UsageError(
            f"{target.parent} is no folder", fix="make it, or name another with --output", code="no_folder"
        )
    if not os.access(target.parent, os.W_OK):
        raise UsageError(
            f"{target.parent} may not be written to", fix="name another with --output", code="cannot_write"
        )
    return target


def _as_trained(model: str) -> "tuple[Lengths, int | None]":
    """How many tokens examples have for a model, and how many it knows at most."""
    from modelpick.extras import require_train

    require_train()
    from modelpick.loading import load
    from modelpick.loading import tokenize as tokens
    from modelpick.loading.quiet import quietly

    with quietly():
        options = load.LoadOptions()
        config = load.load_config(model, options)
        kind = load.kind_of(config)
        tokenizer = load.load_tokenizer(model, options, kind)[0]

    def lengths(examples: "Sequence[Example]") -> list[int]:
        with quietly():
            return tokens.lengths(examples, tokenizer, kind)

    return lengths, load.longest_known(config, kind)
