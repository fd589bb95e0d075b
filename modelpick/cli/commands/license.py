"""`modelpick license`: may we use it? Verdict, evidence, rule by rule, lineage, obligations."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelpick.cli.options import Offline, PolicyName, command
from modelpick.cli.output import VERDICT_EXIT, Output, report_error, styled, worst
from modelpick.errors import ModelpickError, UsageError
from modelpick.licensing.judge_models import facts_in_force, judge_models, policy_in_force

if TYPE_CHECKING:
    from rich.console import Console

    from modelpick.licensing.verdict import Judgement

_COLOUR = {"allow": "green", "conditions": "yellow", "review": "magenta", "deny": "red"}
_MEANING = {
    "allow": "use it; keep its notices",
    "conditions": "use it, if you do what is listed",
    "review": "a human must decide",
    "deny": "do not use it under this policy",
}


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(app, "license")(license)


def license(
    out: Output,
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Hub ids or local folders.")],
    commercial: Annotated[bool, typer.Option("--commercial", help="The same as --policy commercial.")] = False,
    policy: PolicyName = None,
    notice: Annotated[
        str | None, typer.Option("--notice", metavar="DIR", help="Write what is owed: NOTICE, attributions, a list.")
    ] = None,
    bom: Annotated[
        str | None, typer.Option("--bom", metavar="FILE", help="Write a CycloneDX bill of materials.")
    ] = None,
    offline: Offline = False,
) -> None:
    """May you use a model? Verdict, evidence, ancestors, obligations.

    Exit code: 0 yes (or on conditions), 1 no, 3 a human decides.
    """

    answers = judge_models(models, policy="commercial" if commercial else policy, offline=offline)
    chosen = policy_in_force("commercial" if commercial else policy)
    results: list[dict[str, Any]] = []
    codes = []
    for asked, answer in zip(models, answers, strict=True):
        if isinstance(answer, ModelpickError):
            results.append({"model": None, "asked": asked, "error": answer.as_json()})
            codes.append(answer.exit_code)
        else:
            results.append({**answer.as_json(), "asked": asked})
            codes.append(VERDICT_EXIT[answer.verdict.value])
    if len(models) == 1 and isinstance(answers[0], ModelpickError):
        raise answers[0]
    payload = {
        "policy": chosen.as_json(),
        "results": results,
        "assumptions": ["not legal advice: the evidence is listed so that counsel can check it"],
        "sources": [],
    }
    judged = [one for one in answers if not isinstance(one, ModelpickError)]
    written = [*_write_notice(judged, notice), *_write_bom(judged, bom, chosen.name)]
    if written:
        payload["written"] = [str(path) for path in written]
    out.answer(payload, lambda console: _draw(console, judged))
    for path in written:
        out.note(f"wrote {path}")
    if not out.as_json:
        for answer in answers:
            if isinstance(answer, ModelpickError):
                report_error(answer, as_json=False)
    code = worst(codes)
    if code:
        raise typer.Exit(code)


def _write_notice(judged: "list[Judgement]", directory: str | None) -> tuple[Path, ...]:
    if directory is None:
        return ()
    from modelpick.licensing import notice

    return notice.write(judged, facts_in_force().licenses, Path(directory))


def _write_bom(judged: "list[Judgement]", file: str | None, policy: str) -> tuple[Path, ...]:
    if file is None:
        return ()
    from modelpick.licensing import bom

    text = bom.render(judged, facts_in_force().licenses, policy=policy)
    try:
        Path(file).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written: {error.strerror}", fix="name a file you may write", code="cannot_write"
        ) from None
    return (Path(file),)


def _draw(console: "Console", judgements: "list[Judgement]") -> None:
    if len(judgements) > 1:
        _draw_list(console, judgements)
        return
    for judgement in judgements:
        _draw_one(console, judgement)


def _draw_list(console: "Console", judgements: "list[Judgement]") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("model", no_wrap=True, overflow="ellipsis")
    table.add_column("license", no_wrap=True, overflow="ellipsis", max_width=20)
    table.add_column("why", overflow="fold")
    for judgement in judgements:
        verdict = judgement.verdict.value
        table.add_row(
            styled((verdict, _COLOUR[verdict])),
            judgement.model,
            "+".join(dict.fromkeys(finding.id for finding in judgement.licenses)) or "-",
            next((reason.code for reason in judgement.reasons if reason.verdict == judgement.verdict), ""),
        )
    console.print(table)


def _draw_one(console: "Console", judgement: "Judgement") -> None:
    from rich.padding import Padding
    from rich.text import Text

    verdict = judgement.verdict.value
    coloured = (verdict, f"bold {_COLOUR[verdict]}")
    console.print(styled((judgement.model, "bold"), ": ", coloured, f", {_MEANING[verdict]}"))
    revision = (
        f"commit {judgement.revision}" if judgement.revision else "revision not known: the embedded catalog's facts"
    )
    console.print(revision, style="dim", markup=False)

    def section(title: str, lines: list[str]) -> None:
        if lines:
            console.print(f"\n{title}", style="bold")
        for line in lines:
            console.print(Padding(Text(line), (0, 0, 0, 2)))

    section(
        "license",
        [f"{finding.id} ({finding.origin}: {finding.evidence})" for finding in judgement.licenses],
    )
    whys = [f"{reason.verdict.value:10} {reason.text} [{reason.code}]" for reason in judgement.reasons]
    section("why", list(dict.fromkeys(whys)))  # --json has each with its own evidence
    section("you owe", [f"- {obligation.text}" for obligation in judgement.obligations])
    section(
        "ancestors",
        [f"{step.verdict.value:10} {step.model} ({step.relation}, {step.license})" for step in judgement.lineage],
    )
    section("note", list(judgement.notes))
