"""`modelpick estimate`: does it fit? Memory by part, against every GPU."""

import re
from collections.abc import Mapping
from typing import Annotated

import typer

from modelpick import api
from modelpick.cli.options import Flags, Instance, Offline, not_both
from modelpick.cli.output import Console, Output, report_error, worst
from modelpick.errors import EXIT_NO, EXIT_YES, ModelpickError, UsageError
from modelpick.extras import require_train
from modelpick.offers.own import own_offer
from modelpick.planning.report import MemoryReport
from modelpick.tracing.exact import exact
from modelpick.workload import Workload

_TYPE = re.compile(r"[a-zA-Z]+[0-9]\S*\.\S+")  # an instance type such as g5.xlarge; anything else names a card


def estimate(
    out: Output,
    *,
    models: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="Hub ids or local folders.")] = None,
    work: Annotated[Mapping[str, object], Flags(Workload)],
    fit: Annotated[
        str | None,
        typer.Option(
            "--fit", metavar="TYPE|CARD", help='Find the most that fits an instance type, or a card: "RTX 4090", 12GiB.'
        ),
    ] = None,
    instance: Instance = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show every part with its formula.")] = False,
    cases: Annotated[
        str | None,
        typer.Option("--cases", metavar="FILE", help="JSON Lines file of cases: model and workload names."),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Trace the real code instead of formulas. Needs the extra train.")
    ] = False,
    offline: Offline = False,
) -> None:
    """GPU memory by part; the longest context and largest batch.

    Against every GPU that can be rented; --fit asks for the most that fits one, or a card of your own.
    """

    not_both("--cases", cases, "--exact", exact or None)
    if cases is not None:
        _answer_cases(out, cases, models, work, offline)
        return
    if not models:
        raise UsageError("no model is named", fix="name one: modelpick estimate Qwen/Qwen3-8B", code="usage")
    not_both("--fit", fit, "--instance", instance)
    own = own_offer(fit) if fit is not None and not _TYPE.fullmatch(fit.strip()) else None
    on = own.instance.name if own is not None else fit or instance
    answers = api.estimate_many(models, work, instance=None if own else on, own=own, offline=offline)
    if exact:
        answers = [_traced(answer) for answer in answers]
    if len(models) == 1 and isinstance(answers[0], ModelpickError):
        raise answers[0]
    _answer(out, list(models), answers, on, explain=explain, solve=fit is not None)


def _answer(
    out: Output,
    asked: list[str],
    answers: list[MemoryReport | ModelpickError],
    on: str | None,
    *,
    explain: bool,
    solve: bool,
) -> None:
    results = [
        {"model": None, "asked": name, "error": answer.as_json()}
        if isinstance(answer, ModelpickError)
        else {**answer.as_json(explain=explain, solve=solve), "asked": name}
        for name, answer in zip(asked, answers, strict=True)
    ]
    reports = [answer for answer in answers if not isinstance(answer, ModelpickError)]
    payload = results[0] if len(results) == 1 else {"results": results, "assumptions": [], "sources": []}

    def draw(console: Console) -> None:
        from modelpick.cli.render.estimate import draw_report
        from modelpick.cli.render.setups import draw_setups

        for number, report in enumerate(reports):
            if number:
                console.print()
            if report.setups and on is None and not explain and report.exact is None:
                draw_setups(console, report)
            else:
                draw_report(console, report, explain=explain, solve=solve)

    out.answer(payload, draw, stands_on=("models", "prices"))
    codes = []
    for answer in answers:
        if isinstance(answer, ModelpickError):
            codes.append(answer.exit_code)
            if not out.as_json:
                report_error(answer, as_json=False)
        else:
            codes.append(EXIT_NO if on is not None and not answer.placement_fits else EXIT_YES)
    if code := worst(codes):
        raise typer.Exit(code)


def _traced(answer: MemoryReport | ModelpickError) -> MemoryReport | ModelpickError:
    require_train()

    if isinstance(answer, ModelpickError):
        return answer
    try:
        return exact(answer)
    except ModelpickError as error:
        return error


def _answer_cases(out: Output, path: str, models: list[str] | None, work: Mapping[str, object], offline: bool) -> None:
    if models or any(value is not None for value in work.values()):
        raise UsageError(
            "--cases takes model and workload from its lines", fix="leave out the other options", code="contradiction"
        )

    results = api.estimate_cases(path, offline=offline)
    payload = {"results": [result.body for result in results], "assumptions": [], "sources": []}

    def draw(console: Console) -> None:
        for result in results:
            console.print(result.line, markup=False, soft_wrap=True)

    out.answer(payload, draw, stands_on=("models", "prices"))
    if code := worst(result.exit_code for result in results):
        raise typer.Exit(code)
