"""`modelpick license`: may we use it? Verdict, evidence, rule by rule, lineage, obligations."""

from pathlib import Path
from typing import Annotated

import typer

from modelpick import files
from modelpick.cli.options import Offline, PolicyName
from modelpick.cli.output import VERDICT_EXIT, Console, Output, report_error, styled, worst
from modelpick.cli.policy_options import ProductName, policy_for
from modelpick.errors import ModelpickError
from modelpick.licensing import bom as bill_of_materials
from modelpick.licensing import notice as notices
from modelpick.licensing.judge_models import facts_in_force, judge_models
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.verdict import Judgement

_COLOUR = {Verdict.ALLOW: "green", Verdict.CONDITIONS: "yellow", Verdict.REVIEW: "magenta", Verdict.DENY: "red"}
_ANSWER = {
    Verdict.ALLOW: ("allowed", "keep its notices"),
    Verdict.CONDITIONS: ("allowed with conditions", "see what you owe below"),
    Verdict.REVIEW: ("needs review", "a person must decide"),
    Verdict.DENY: ("denied", "do not use it under this policy"),
}


def license(
    out: Output,
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Hub ids or local folders.")],
    commercial: Annotated[bool, typer.Option("--commercial", help="The same as --policy commercial.")] = False,
    policy: PolicyName = None,
    product: ProductName = None,
    notice: Annotated[
        str | None,
        typer.Option("--notice", metavar="DIR", help="Write NOTICE, attributions and a list of obligations."),
    ] = None,
    bom: Annotated[
        str | None, typer.Option("--bom", metavar="FILE", help="Write a CycloneDX bill of materials.")
    ] = None,
    offline: Offline = False,
) -> None:
    """May you use a model? Verdict, evidence, ancestors, obligations.

    Exit code: 0 yes (or on conditions), 1 no, 3 a person must decide.
    """
    chosen = policy_for(policy, product, commercial=commercial)
    answers = judge_models(models, policy=chosen, offline=offline)
    if len(models) == 1 and isinstance(answers[0], ModelpickError):
        raise answers[0]
    judgements = [answer for answer in answers if not isinstance(answer, ModelpickError)]
    written = [*_write_notice(judgements, notice), *_write_bom(judgements, bom, chosen.name)]
    payload: dict[str, object] = {
        "policy": chosen.as_json(),
        "results": [_result(asked, answer) for asked, answer in zip(models, answers, strict=True)],
        "assumptions": ["not legal advice: the evidence is listed so that counsel can check it"],
        "sources": [],
    }
    if written:
        payload["written"] = [str(path) for path in written]
    out.answer(payload, lambda console: _draw(console, judgements))
    for path in written:
        out.note(f"wrote {path}")
    for answer in answers:
        if isinstance(answer, ModelpickError) and not out.as_json:
            report_error(answer, as_json=False)
    code = worst(_exit_code(answer) for answer in answers)
    if code:
        raise typer.Exit(code)


_STANDS_ON = {
    "tag": "by its tag, terms not read",
    "card": "by its card",
    "files": "by its files",
}


def _result(asked: str, answer: Judgement | ModelpickError) -> dict[str, object]:
    """One element of `results` in the contract."""
    if isinstance(answer, ModelpickError):
        return {"model": None, "asked": asked, "error": answer.as_json()}
    return {**answer.as_json(), "asked": asked}


def _exit_code(answer: Judgement | ModelpickError) -> int:
    return answer.exit_code if isinstance(answer, ModelpickError) else VERDICT_EXIT[answer.verdict.value]


def _write_notice(judgements: list[Judgement], directory: str | None) -> tuple[Path, ...]:
    if directory is None:
        return ()
    return notices.write(judgements, facts_in_force().licenses, Path(directory))


def _write_bom(judgements: list[Judgement], file: str | None, policy: str) -> tuple[Path, ...]:
    if file is None:
        return ()
    files.write_atomically(file, bill_of_materials.render(judgements, facts_in_force().licenses, policy=policy))
    return (Path(file),)


def _draw(console: Console, judgements: list[Judgement]) -> None:
    if len(judgements) > 1:
        _draw_list(console, judgements)
    for judgement in judgements if len(judgements) == 1 else ():
        _draw_one(console, judgement)


def _draw_list(console: Console, judgements: list[Judgement]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("model", no_wrap=True, overflow="ellipsis")
    table.add_column("license", no_wrap=True, overflow="ellipsis", max_width=20)
    table.add_column("why", overflow="fold")
    for judgement in judgements:
        table.add_row(
            styled((judgement.verdict.value, _COLOUR[judgement.verdict])),
            styled(judgement.model),
            styled("+".join(judgement.license_ids) or "-"),
            next((reason.code for reason in judgement.reasons if reason.verdict == judgement.verdict), ""),
        )
    console.print(table)


def _draw_one(console: Console, judgement: Judgement) -> None:
    from rich.padding import Padding

    answer, advice = _ANSWER[judgement.verdict]
    style = f"bold {_COLOUR[judgement.verdict]}"
    console.print(styled((judgement.model, "bold"), ": ", (answer, style), f": {advice}"))
    console.print(styled((_read_from(judgement), "dim")))

    def section(title: str, lines: list[str]) -> None:
        if lines:
            console.print(f"\n{title}", style="bold")
        for line in lines:
            console.print(Padding(styled(line), (0, 0, 0, 2)))

    section("license", [f"{finding.id} ({finding.source}: {finding.evidence})" for finding in judgement.licenses])
    reasons = [f"{reason.verdict.value:10} {reason.text} [{reason.code}]" for reason in judgement.reasons]
    section("why", list(dict.fromkeys(reasons)))  # --json has each with its own evidence
    section("you owe", [f"- {obligation.text}" for obligation in judgement.obligations])
    section(
        "ancestors",
        [f"{step.verdict.value:10} {step.model} ({step.relation}, {step.license})" for step in judgement.lineage],
    )
    section("note", list(judgement.notes))


def _read_from(judgement: Judgement) -> str:
    """Where the model's facts were read, the commit they are of, and what the verdict stands on."""
    stands_on = _STANDS_ON[judgement.basis]
    if judgement.revision:
        return f"commit {judgement.revision}; {stands_on}"
    if judgement.origin == "folder":
        return f"read from {judgement.model}; no commit to pin; {stands_on}"
    return f"from the embedded catalog, which knows no commit; {stands_on}"
