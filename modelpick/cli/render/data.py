"""How reports on training data look: bars for lengths, a line a kind of problem, before and after, what to do next."""

from collections.abc import Iterable, Sequence
from itertools import groupby, islice

from rich.console import Console
from rich.table import Table
from rich.text import Text

from modelpick.cli.output import styled
from modelpick.datasets.check import Report
from modelpick.datasets.curate import Curated
from modelpick.datasets.examples import Problem
from modelpick.errors import printable
from modelpick.evaluation.active_learning import Picked
from modelpick.loading.show import ShownExample

_BAR = 36  # columns of the longest bar
_SHOWN_ALIKE = 3
_SHOWN = 12


def draw_report(console: Console, file: str, report: Report, held_out: str | None = None) -> None:
    """What `data check` found."""
    about = "" if report.tokens_exact else "about "
    lines = len(report.data.wholes)
    more = "" if lines == len(report.data.examples) else f" in {count(lines, 'line')}"
    form = f", {report.data.form} form" if report.data.form else ""
    examples = count(len(report.data.examples), "example")
    console.print(styled((file, "bold"), f": {examples}{more}{form}"), soft_wrap=True)
    if report.tokens:
        console.print(
            f"{about}{sum(report.tokens):,} tokens: half have at most {report.quantile(0.5):,}, "
            f"95 % at most {report.quantile(0.95):,}, the longest {max(report.tokens):,}"
        )
        console.print()
        _draw_lengths(console, report)
    if len(report.labels) > 1:
        console.print()
        _bars(console, "label", [(styled(_cut(label, 24)), number, "") for label, number in report.labels[:_SHOWN]])
        if len(report.labels) > _SHOWN:
            console.print(f"and {len(report.labels) - _SHOWN:,} more labels: --json", style="dim")
    if report.sources:
        named = ", ".join(report.sources[:5]) + (", ..." if len(report.sources) > 5 else "")
        console.print(f"\ndeclared sources: {named}; by the policy: {report.sources_verdict}")
    if report.problems:
        console.print()
        _draw_problems(console, report.problems)
    warnings = len(report.problems) - report.errors
    console.print(f"\n{count(report.errors, 'error')}, {count(warnings, 'warning')}")
    _draw_steps(console, _after_check(file, report, held_out))


def draw_shown(console: Console, shown: ShownExample) -> None:
    """One example as it is trained on: what is learned stands between the marks, in colour where there is any."""
    example = shown.example
    for row, parts in zip(shown.rows, shown.parts, strict=True):
        learned = sum(token.learned for token in row)
        console.print(
            f"line {example.line}, {example.form}: {count(len(row), 'token')}, {learned:,} learned (between ▶ and ◀)",
            style="bold",
        )
        text = Text()
        for taught, part in parts:
            clean = printable(part, keep="\n\t")
            text.append(f"▶{clean}◀" if taught else clean, style="green" if taught else "")
        console.print(text, soft_wrap=True)
        console.print()
    if shown.problems:
        _draw_problems(console, shown.problems)
    elif example.form == "classification":
        console.print(f"the label to be learned: {printable(example.answer or '')}")


def _draw_lengths(console: Console, report: Report) -> None:
    rows = []
    for end, number in report.bars():
        over = report.context is not None and end > report.context and number
        rows.append((styled(f"≤ {end:,}"), number, "cut" if over else ""))
    _bars(console, "tokens", rows)
    if report.context is not None:
        too_long = f"{count(report.too_long, 'example')} longer than the context of {report.context:,}"
        console.print(
            too_long if report.too_long else f"every example fits the context of {report.context:,}", style="dim"
        )


def _bars(console: Console, title: str, rows: Sequence[tuple[Text, int, str]]) -> None:
    most = max((number for _, number, _ in rows), default=1) or 1
    room = max(8, min(_BAR, console.width - 44))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(title, justify="right" if title == "tokens" else "left", no_wrap=True)
    table.add_column("examples", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name, number, remark in rows:
        bar = Text("█" * (max(1, round(room * number / most)) if number else 0), style="yellow" if remark else "cyan")
        table.add_row(name, f"{number:,}", bar.append(f" {remark}" if remark else "", style="yellow"))
    console.print(table)


def _draw_problems(console: Console, problems: Sequence["Problem"]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("", "what", "times", "where"):
        table.add_column(title, justify="right" if title == "times" else "left", no_wrap=title != "where")
    ordered = sorted(problems, key=lambda one: (one.severity != "error", one.code, one.line))
    for code, alike in groupby(ordered, key=lambda one: one.code):
        listed = list(alike)
        texts = [
            f"line {one.line}: {one.text}" if one.line and one.code != "duplicate" else one.text
            for one in listed[:_SHOWN_ALIKE]
        ]
        if len(listed) > _SHOWN_ALIKE:
            texts.append(f"and {len(listed) - _SHOWN_ALIKE:,} more: --json lists them")
        severity = styled((listed[0].severity, "bold red" if listed[0].severity == "error" else "yellow"))
        for row, text in enumerate(texts):
            first = (severity, code, f"{len(listed):,}") if row == 0 else (Text(), "", "")
            table.add_row(*first, text)
    console.print(table)


def _after_check(file: str, report: Report, held_out: str | None) -> list[str]:
    codes = {problem.code for problem in report.problems}
    if report.errors:
        return ["fix the errors: fine-tuning refuses a file that has any"]
    steps = []
    if codes & {"duplicate", "secret_data", "personal_data", "leak"}:
        apart = f" --held-out {held_out}" if "leak" in codes else ""
        steps.append(f"leave those lines out with: modelpick data curate {file}{apart} --output curated.jsonl")
    if "too_long" in codes:
        steps.append(f"shorten the long examples, or train with --context {max(report.tokens)}")
    if codes & {"conflicting_labels", "rare_label"}:
        steps.append("correct the labels above, or add examples of the rare ones")
    if "restricted_source" in codes:
        steps.append("let a person decide about the sources: fine-tuning needs the name (--reviewed-by)")
    return steps or [f"modelpick finetune MODEL --data {file}"]


def draw_curated(console: Console, target: str, read: int, tokens: tuple[int, int], chosen: Curated) -> None:
    """What `data curate` chose, and where the rest went. `tokens` are the medians before and after, estimated."""
    console.print(styled((target, "bold"), f": {len(chosen.chosen):,} of {read:,} examples"), soft_wrap=True)
    console.print()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    pairs = (f"{dropped} as {kept}" for dropped, kept in chosen.duplicates)
    leaks = (f"{here} as {there}" for here, there in chosen.leaked)
    for number, why in (
        (len(chosen.sensitive), "hold secrets or personal data" + _such_as(map(str, chosen.sensitive))),
        (len(chosen.leaked), "repeat the held-out file" + _such_as(leaks)),
        (len(chosen.duplicates), "repeat a better example" + _such_as(pairs)),
        (chosen.beyond_budget, "are beyond the budget: lower quality, or similar to a chosen one"),
    ):
        table.add_row(f"{number:,}", styled((why, "" if number else "dim")))
    console.print("left out:")
    console.print(table)
    console.print()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("", "before", "after"):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    table.add_column("")
    table.add_row("examples", f"{read:,}", f"{len(chosen.chosen):,}")
    table.add_row(
        "quality", f"{chosen.quality_before:.2f}", f"{chosen.quality:.2f}", "mean share of simple quality checks passed"
    )
    table.add_row("tokens", f"{tokens[0]:,}", f"{tokens[1]:,}", "median example, at 4 characters per token")
    table.add_row(
        "vocabulary", "100 %", f"{100 * chosen.vocabulary:.0f} %", "words that occur in at least two examples"
    )
    table.add_row("similarity", "", f"{chosen.coverage:.2f}", "of an example left out to the nearest chosen one")
    console.print(table)
    _draw_steps(console, ["read a handful of them", f"modelpick finetune MODEL --data {target}"])


def draw_picked(console: Console, target: str, picked: Picked) -> None:
    """What `data next` picked."""
    console.print(styled((target, "bold"), f": {count(len(picked.rows), 'example')} to label next"), soft_wrap=True)
    console.print(
        f"{picked.pool - picked.fresh:,} of {picked.pool:,} in the pool ask what was asked before; the model answered "
        f"{picked.asked:,}"
    )
    console.print()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("line", justify="right", no_wrap=True)
    table.add_column("unsure", justify="right", no_wrap=True)
    table.add_column("asks", no_wrap=True, overflow="ellipsis")
    for example, unsure in picked.rows[:_SHOWN]:
        table.add_row(str(example.line), f"{unsure:.2f}", " ".join(example.asked.split())[:200])
    console.print(table)
    if len(picked.rows) > _SHOWN:
        console.print(f"and {len(picked.rows) - _SHOWN:,} more", style="dim")
    _draw_steps(console, ["label them, add them to the examples, fine-tune, and pick again"])


def _draw_steps(console: Console, steps: Sequence[str]) -> None:
    console.print()
    for number, step in enumerate(steps):
        console.print(f"{'next: ' if number == 0 else '      '}{step}", soft_wrap=True)


def count(number: int, what: str) -> str:
    """`1 example`, `1,000 examples`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _such_as(lines: Iterable[str]) -> str:
    shown = list(islice(lines, 4))
    return f" (line {', '.join(shown[:3])}{', ...' if len(shown) > 3 else ''})" if shown else ""


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
