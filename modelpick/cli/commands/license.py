"""`modelpick license`: may we use it? Verdict, evidence, rule by rule, lineage, obligations."""

from pathlib import Path
from typing import Annotated

import typer

from modelpick import __version__
from modelpick.catalog.model import Model
from modelpick.cli.bill_of_materials import BomFile, now, write_bom
from modelpick.cli.options import Offline, PolicyName
from modelpick.cli.output import VERDICT_EXIT, Output, report_error, worst
from modelpick.cli.policy_options import ProductName, policy_for
from modelpick.cli.render.license import draw_license
from modelpick.errors import ModelpickError
from modelpick.licensing import archive
from modelpick.licensing import notice as notices
from modelpick.licensing.judge_models import facts_in_force, judge_pairs
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement


def license(
    out: Output,
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Hub ids or local folders.")],
    commercial: Annotated[bool, typer.Option("--commercial", help="The same as --policy commercial.")] = False,
    policy: PolicyName = None,
    product: ProductName = None,
    notice: Annotated[
        str | None,
        typer.Option("--notice", metavar="DIR", help="Write notices, copies of terms and a list of obligations."),
    ] = None,
    bom: BomFile = None,
    evidence: Annotated[
        str | None,
        typer.Option("--evidence", metavar="DIR", help="Archive all that was looked at in a new folder."),
    ] = None,
    offline: Offline = False,
) -> None:
    """May you use a model? Verdict, evidence, ancestors, obligations.

    Exit code: 0 yes (or on conditions), 1 no, 3 a person must decide.
    """
    chosen = policy_for(policy, product, commercial=commercial)
    pairs = judge_pairs(models, policy=chosen, offline=offline)
    answers = [pair if isinstance(pair, ModelpickError) else pair[1] for pair in pairs]
    if len(models) == 1 and isinstance(answers[0], ModelpickError):
        raise answers[0]
    judgements = [answer for answer in answers if not isinstance(answer, ModelpickError)]
    subjects = [pair[0] for pair in pairs if not isinstance(pair, ModelpickError)]
    written = [*_write_notice(judgements, subjects, notice), *write_bom(bom, judgements, chosen.name)]
    if evidence is not None:
        seal = _write_evidence(answers, models, Path(evidence), chosen)
        written.append(Path(evidence))
    payload: dict[str, object] = {
        "policy": chosen.as_json(),
        "results": [_result(asked, answer) for asked, answer in zip(models, answers, strict=True)],
        "assumptions": ["not legal advice: the evidence is listed so that counsel can check it"],
        "sources": [],
    }
    if written:
        payload["written"] = [str(path) for path in written]
    if evidence is not None:
        payload["evidence"] = {"folder": evidence, "sha256": seal}
    out.answer(payload, lambda console: draw_license(console, judgements, chosen), stands_on=("models",))
    for path in written:
        out.note(f"wrote {path}")
    if evidence is not None:
        out.note(f"evidence sha256 {seal}; modelpick verify {evidence} checks it")
    for answer in answers:
        if isinstance(answer, ModelpickError) and not out.as_json:
            report_error(answer, as_json=False)
    code = worst(_exit_code(answer) for answer in answers)
    if code:
        raise typer.Exit(code)


def _result(asked: str, answer: Judgement | ModelpickError) -> dict[str, object]:
    """One element of `results` in the contract."""
    if isinstance(answer, ModelpickError):
        return {"model": None, "asked": asked, "error": answer.as_json()}
    return {**answer.as_json(), "asked": asked}


def _exit_code(answer: Judgement | ModelpickError) -> int:
    return answer.exit_code if isinstance(answer, ModelpickError) else VERDICT_EXIT[answer.verdict.value]


def _write_notice(judgements: list[Judgement], subjects: list[Model], directory: str | None) -> tuple[Path, ...]:
    if directory is None:
        return ()
    facts = facts_in_force()
    return notices.write(judgements, facts.licenses, Path(directory), notices.texts_at_hand(subjects, facts))


def _write_evidence(answers: list[Judgement | ModelpickError], asked: list[str], folder: Path, policy: Policy) -> str:
    """Writes the archive and returns its hash."""
    judgements = [answer for answer in answers if not isinstance(answer, ModelpickError)]
    errors = [
        _result(name, answer) for name, answer in zip(asked, answers, strict=True) if isinstance(answer, ModelpickError)
    ]
    facts = facts_in_force()
    made = archive.contents(
        judgements, policy, facts.licenses, modelpick=__version__, made_at=now(), errors=errors,
        decisions=facts.approvals,
    )  # fmt: skip
    archive.write(made, folder)
    return archive.seal_of(made)
