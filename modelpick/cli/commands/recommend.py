"""`modelpick recommend`: which models are allowed, fit, and at what price."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from modelpick import api
from modelpick.catalog.snapshot import Kind
from modelpick.cli.filter_options import FilterOptions, agree
from modelpick.cli.load_options import ServedLoadOptions, only_serving
from modelpick.cli.options import Flags, Offline, PolicyName, Region, policy_asked, whole_number
from modelpick.cli.output import Console, Output, columns, facts_shown
from modelpick.cli.policy_options import ProductName, judged_for
from modelpick.errors import EXIT_CANNOT_TELL, EXIT_NO, UsageError
from modelpick.files import write_atomically
from modelpick.offers import embedded
from modelpick.report.html import page
from modelpick.workload import Workload, workload_from

_WIDE = 110  # columns from which every row shows the usual set-ups
_STANDS_ON: tuple[Kind, ...] = ("prices", "models", "scores")


_ASKED = ("task", "method", "context", "generate", "batch")
Asked = Annotated[Mapping[str, object], Flags(Workload, *_ASKED)]


def recommend(
    out: Output,
    *,
    commercial: Annotated[bool, typer.Option("--commercial", help="The same as --policy commercial.")] = False,
    policy: PolicyName = None,
    product: ProductName = None,
    strict: Annotated[bool, typer.Option("--strict", help="Show only models allowed without conditions.")] = False,
    filtered: FilterOptions,
    work: Asked,
    load: ServedLoadOptions,
    region: Region = None,
    limit: Annotated[str | None, typer.Option("--limit", metavar="N", help="Number of rows. Default: 20.")] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show every row, and every model left out with its reason.")
    ] = False,
    why_not: Annotated[
        str | None, typer.Option("--why-not", metavar="MODEL", help="Say why a model is not in the list.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write the answer as an HTML page.")
    ] = None,
    offline: Offline = False,
) -> None:
    """Rank the open models you may use that fit a GPU you can rent.

    The others are counted with their reasons; --all lists them, --why-not MODEL asks for one.
    """
    del offline  # the ranking reads embedded facts only
    chosen = judged_for(policy_asked(commercial, policy), product)
    filters = filtered.filters(strict, load.limits())
    asked = {**work, **filtered.workload()}
    agree(filters, task := workload_from(asked).task, filtered.engine)
    if task != "serve":
        only_serving(load.given())
    rows = whole_number("--limit", limit, largest=100_000) or (None if show_all else 20)
    most = rows or len(embedded.instances()) * 10_000
    every_row = out.as_json or html is not None or columns() >= _WIDE
    answer = api.recommend(
        policy=chosen,
        workload=asked,
        filters=filters,
        region=region,
        market=filtered.priced_on(),
        shown=most,
        finetune_rows=most if every_row else 1,
    )
    if why_not is not None:
        _explain_absence(out, answer, why_not)
        return

    def draw(console: Console) -> None:
        from modelpick.cli.render.recommend import draw_answer

        draw_answer(console, answer, rows, show_all)

    out.answer(answer.as_json(rows), draw, stands_on=_STANDS_ON)
    if html is not None:
        _write_page(out, html, answer, rows)
    if not answer.recommendations.passed:
        is_open = any(left.code == "price_unknown" for left in answer.recommendations.rejected)
        raise typer.Exit(EXIT_CANNOT_TELL if is_open else EXIT_NO)


def _write_page(out: Output, file: Path, answer: api.RecommendAnswer, rows: int | None) -> None:
    shown = facts_shown(_STANDS_ON)
    facts = shown.line if shown.warning is None else f"{shown.line} ({shown.warning})"
    write_atomically(file, page(answer, rows, facts=facts), fix="name a file you may write")
    out.note(f"wrote {file}")


def _explain_absence(out: Output, answer: api.RecommendAnswer, name: str) -> None:
    found = answer.why_not(name)
    if found is None:
        raise UsageError(
            f"{name} is not in the catalog",
            fix=answer.catalog.nearest(name) or "judge it by itself: modelpick license, modelpick estimate",
            code="model_unknown",
        )
    if isinstance(found, int):
        payload: dict[str, object] = {
            "model": name,
            "recommended": True,
            "rank": found,
            "reason_code": None,
            "reason": None,
        }
        text = f"{name} is recommended: number {found} of {len(answer.recommendations.passed)}."
    else:
        payload = {
            "model": found.model,
            "recommended": False,
            "rank": None,
            "reason_code": found.code,
            "reason": found.reason,
        }
        text = f"{found.model} is left out: {found.reason}"
    out.answer({**payload, "assumptions": [], "sources": []}, lambda console: console.print(text, markup=False))
    if not isinstance(found, int):
        raise typer.Exit(EXIT_CANNOT_TELL if found.code == "price_unknown" else EXIT_NO)
