"""`modelpick data check|curate|next`: training data, before a GPU is paid for."""

from collections.abc import Callable, Iterable
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelpick.cli.options import Context, PolicyName, command, whole_number
from modelpick.cli.output import Output
from modelpick.errors import EXIT_NO, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from modelpick.tuning.examples import Example, Problem

File = Annotated[str, typer.Argument(metavar="FILE", help="Examples: JSONL, CSV or Parquet.")]
Budget = Annotated[str, typer.Option("--budget", metavar="N", help="At most so many examples.")]
Into = Annotated[str, typer.Option("--output", metavar="FILE.jsonl", help="Where the chosen examples go.")]
_SHOWN = 20
_SHOWN_ALIKE = 5


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
    context: Context = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", metavar="MODEL", help="Count tokens exactly. Needs the extra train.")
    ] = None,
    policy: PolicyName = None,
) -> None:
    """What is wrong with a file of examples, by line. Exit: 0 nothing that stops training, 1 something does."""
    from modelpick.tuning.check import check as look

    report = look(
        Path(file),
        held_out=Path(held_out) if held_out else None,
        context=whole_number("--context", context),
        length=_counter(tokenizer) if tokenizer else None,
        policy=policy,
    )
    payload = {**report.as_json(), "assumptions": [] if tokenizer else ["4 characters a token"], "sources": []}

    def draw(console: "Console") -> None:
        about = "" if report.tokens_exact else "about "
        console.print(
            f"{file}: {_count(len(report.data.examples), 'example')} ({report.data.form or 'no form'}), "
            f"{about}{report.tokens_total:,} "
            f"tokens, the longest {about}{report.tokens_longest:,}",
            markup=False,
        )
        for code, alike in groupby(sorted(report.problems, key=_by_code), key=lambda problem: problem.code):
            listed = list(alike)
            for problem in listed[:_SHOWN_ALIKE]:
                where = f"line {problem.line}" if problem.line else "file"
                console.print(f"  {problem.severity:7} {where}: {problem.text} [{code}]", markup=False)
            if len(listed) > _SHOWN_ALIKE:
                more = f"          and {len(listed) - _SHOWN_ALIKE:,} more [{code}]: --json lists them all"
                console.print(more, markup=False)
        console.print(f"{_count(report.errors, 'error')}, {_count(len(report.problems) - report.errors, 'warning')}")

    out.answer(payload, draw)
    if report.errors:
        raise typer.Exit(EXIT_NO)


def curate(
    out: Output,
    file: File,
    output: Into,
    budget: Budget = "1000",
    keep_sensitive: Annotated[
        bool, typer.Option("--keep-sensitive", help="Do not drop secrets and personal data.")
    ] = False,
) -> None:
    """Choose few and good examples: no duplicates, diverse, ranked by quality, to a budget."""
    from modelpick.tuning import dataset
    from modelpick.tuning.curate import curate as choose

    target = _fresh(output)
    data = dataset.read_for_training(Path(file))
    chosen = choose(data.examples, whole_number("--budget", budget) or 1, keep_sensitive=keep_sensitive)
    dataset.write_jsonl(target, chosen.chosen)
    payload = {"output": str(target), "read": len(data.examples), **chosen.as_json(), "assumptions": [], "sources": []}

    def draw(console: "Console") -> None:
        console.print(
            f"{target}: {len(chosen.chosen):,} of {len(data.examples):,} examples", markup=False, soft_wrap=True
        )
        drawn = [
            (
                f"{len(chosen.duplicates):,}",
                "say what another says" + _such_as(f"{a} as {b}" for a, b in chosen.duplicates),
            ),
            (f"{len(chosen.sensitive):,}", "hold secrets or personal data" + _such_as(map(str, chosen.sensitive))),
            (f"{chosen.beyond_budget:,}", "are beyond the budget: the least good, or the most like one chosen"),
        ]
        for number, why in drawn:
            console.print(f"  {number:>8} left out: they {why}", markup=False)
        mean = sum(chosen.quality) / max(1, len(chosen.quality))
        console.print(f"  {mean:>8.2f} mean quality, {chosen.quality_before:.2f} before (share of six plain signs)")
        console.print(f"  {chosen.coverage:>8.2f} likeness of what the budget left out to its nearest chosen (0 to 1)")

    out.answer(payload, draw)


def next_(
    out: Output,
    pool: Annotated[str, typer.Argument(metavar="POOL", help="Unlabelled examples.")],
    output: Into,
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="The current model.")],
    adapter: Annotated[str | None, typer.Option("--adapter", metavar="DIR", help="Its adapter, if it has one.")] = None,
    seen: Annotated[str | None, typer.Option("--seen", metavar="FILE", help="What is labelled already.")] = None,
    count: Annotated[str, typer.Option("--count", metavar="N", help="How many to pick.")] = "20",
) -> None:
    """Pick what to label next: what the model is least sure of, and most unlike what it has seen."""
    from modelpick.tuning import dataset
    from modelpick.tuning.active import next_to_label

    target = _fresh(output)
    wanted = whole_number("--count", count) or 1
    picked = next_to_label(Path(pool), model, wanted, adapter=adapter, seen=Path(seen) if seen else None)
    dataset.write_jsonl(target, [example for example, _ in picked])
    rows = [{"line": example.line, "uncertainty": round(unsure, 4)} for example, unsure in picked]
    payload = {"output": str(target), "picked": rows, "assumptions": [], "sources": []}

    def draw(console: "Console") -> None:
        console.print(f"{target}: {len(picked)} to label next", markup=False, soft_wrap=True)
        for example, unsure in picked[:_SHOWN]:
            console.print(f"  line {example.line}: unsure {unsure:.2f}", markup=False)

    out.answer(payload, draw)


def _by_code(problem: "Problem") -> tuple[bool, str, int]:
    """Errors first, like with like, by line."""
    return problem.severity != "error", problem.code, problem.line


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _such_as(lines: Iterable[str]) -> str:
    shown = list(islice(lines, 4))
    return f" (line {', '.join(shown[:3])}{', ...' if len(shown) > 3 else ''})" if shown else ""


def _fresh(output: str) -> Path:
    target = Path(output)
    if target.exists():
        raise UsageError(f"{target} exists", fix="name another with --output", code="output_exists")
    if not target.parent.is_dir():
        raise UsageError(
            f"{target.parent} is no folder", fix="make it, or name another with --output", code="no_folder"
        )
    return target


def _counter(tokenizer: str) -> "Callable[[Example], int]":
    from modelpick.tuning.extra import require_train
    from modelpick.tuning.loading import LoadOptions, load_tokenizer

    require_train()
    loaded: Any = load_tokenizer(tokenizer, LoadOptions(), "causal")[0]
    return lambda example: len(loaded(example.text)["input_ids"])
