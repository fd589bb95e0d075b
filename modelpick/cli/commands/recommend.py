"""`modelpick recommend`: which models are allowed, fit, and at what price."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from modelpick import api
from modelpick.catalog.snapshot import Kind
from modelpick.cli.options import (
    Family,
    Instance,
    Offline,
    PolicyName,
    Ranked,
    Region,
    amount,
    not_both,
    one_of,
    parameter_count,
    policy_asked,
    whole_number,
)
from modelpick.cli.output import Console, Output, facts_shown
from modelpick.cli.policy_options import ProductName, judged_for
from modelpick.errors import EXIT_CANNOT_TELL, EXIT_NO, UsageError
from modelpick.files import write_atomically
from modelpick.offers import embedded
from modelpick.offers.embedded import families_named
from modelpick.planning.filters import SORT_KEYS, Filters
from modelpick.report.html import page

_STANDS_ON: tuple[Kind, ...] = ("prices", "models", "scores")


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """Which models and instances are ranked, and in which order."""

    family: Family = None
    instance: Instance = None
    max_usd_per_hour: Annotated[
        str | None, typer.Option("--max-usd-per-hour", metavar="X", help="Most dollars an hour.")
    ] = None
    languages: Annotated[
        str | None, typer.Option("--languages", metavar="en,de", help="Languages that the card must name.")
    ] = None
    min_params: Annotated[str | None, typer.Option("--min-params", metavar="N", help="Fewest parameters, e.g. 7B.")] = (
        None
    )
    max_params: Annotated[str | None, typer.Option("--max-params", metavar="N", help="Most parameters, e.g. 14B.")] = (
        None
    )
    sort: Annotated[str, typer.Option("--sort", metavar="quality|cost|memory|downloads", help="Sort order.")] = (
        "quality"
    )

    def filters(self, strict: bool) -> Filters:
        """The filters of the ranking. Raises UsageError for bad options, and for those that contradict each other."""
        order = one_of("--sort", self.sort, SORT_KEYS)
        not_both("--instance", self.instance, "--family", self.family)
        low, high = parameter_count("--min-params", self.min_params), parameter_count("--max-params", self.max_params)
        if low is not None and high is not None and low > high:
            raise UsageError("--min-params is above --max-params", fix="swap them", code="contradiction")
        return Filters(
            strict=strict,
            languages=tuple(word.strip().lower() for word in (self.languages or "").split(",") if word.strip()),
            min_parameters=low,
            max_parameters=high,
            families=families_named(self.family),
            instance=embedded.instance(self.instance).name if self.instance else None,
            max_usd_per_hour=amount("--max-usd-per-hour", self.max_usd_per_hour),
            sort=order,
        )


def recommend(
    out: Output,
    *,
    commercial: Annotated[bool, typer.Option("--commercial", help="The same as --policy commercial.")] = False,
    policy: PolicyName = None,
    product: ProductName = None,
    strict: Annotated[bool, typer.Option("--strict", help="Show only models allowed without conditions.")] = False,
    work: Ranked,
    region: Region = None,
    filtered: FilterOptions,
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
    filters = filtered.filters(strict)
    rows = whole_number("--limit", limit, largest=100_000) or (None if show_all else 20)
    answer = api.recommend(
        policy=chosen,
        workload=work,
        filters=filters,
        region=region,
        finetune_rows=rows or len(embedded.instances()) * 10_000,
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
        text = f"{found.model} is left out ({found.code}): {found.reason}"
    out.answer({**payload, "assumptions": [], "sources": []}, lambda console: console.print(text, markup=False))
    if not isinstance(found, int):
        raise typer.Exit(EXIT_CANNOT_TELL if found.code == "price_unknown" else EXIT_NO)
