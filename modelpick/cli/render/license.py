"""The screen of `modelpick license`: the verdict, why, what is owed and by which clause; then what it rests on."""

from collections.abc import Iterable, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING

from modelpick.cli.output import VERDICT_COLOUR, Console, styled
from modelpick.licensing.outcome import Obligation, Reason, Verdict
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement

if TYPE_CHECKING:
    from rich.text import Text

_ANSWER = {
    Verdict.ALLOW: ("allowed", "keep its notices"),
    Verdict.CONDITIONS: ("allowed with conditions", "see what you owe below"),
    Verdict.REVIEW: ("needs review", "a person must decide"),
    Verdict.DENY: ("denied", "do not use it under this policy"),
}
_STANDS_ON = {
    "tag": "by its tag, terms not read",
    "card": "by its card",
    "files": "by its files",
}
_WIDTH_OF_VERDICT = 11
_CLAUSE = 64  # characters: with its place one line of a terminal of 80 columns


def draw_license(console: Console, judgements: Sequence[Judgement], policy: Policy) -> None:
    """One model with all that was found, or a line for each of several."""
    if len(judgements) == 1:
        _draw_one(console, judgements[0], policy)
    elif judgements:
        _draw_list(console, judgements)


def _draw_list(console: Console, judgements: Sequence[Judgement]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("model", no_wrap=True, overflow="ellipsis")
    table.add_column("license", no_wrap=True, overflow="ellipsis", max_width=20)
    table.add_column("why", overflow="fold")
    for judgement in judgements:
        table.add_row(
            styled((judgement.verdict.value, VERDICT_COLOUR[judgement.verdict.value])),
            styled(judgement.model),
            styled("+".join(judgement.license_ids) or "-"),
            next((reason.code for reason in judgement.reasons if reason.verdict == judgement.verdict), ""),
        )
    console.print(table)


def _draw_one(console: Console, judgement: Judgement, policy: Policy) -> None:
    answer, advice = _ANSWER[judgement.verdict]
    style = f"bold {VERDICT_COLOUR[judgement.verdict.value]}"
    console.print(styled((judgement.model, "bold"), ": ", (answer, style), f": {advice}"))
    console.print(styled((_read_from(judgement), "dim")))
    console.print(styled((_judged_by(judgement, policy), "dim")))
    _section(console, "why", _reasons(judgement.reasons))
    _section(console, "you owe", _owed(judgement.obligations))
    read = _read_at((*judgement.reasons, *judgement.obligations))
    licenses = [
        (f"{found.id} ({found.source}: {found.evidence})", read.pop(found.id, None)) for found in judgement.licenses
    ]
    _section(console, "license", [(styled(""), styled(text), place) for text, place in licenses])
    steps = [
        (_verdict(step.verdict), styled(f"{step.model} ({step.relation}, {step.license})"), None)
        for step in judgement.lineage
    ]
    _section(console, "ancestors", steps)
    _section(console, "note", [(styled(""), styled(text), None) for text in judgement.notes])


_Line = tuple["Text", "Text", str | None]  # what stands first, the sentence, and what it rests on


def _section(console: Console, title: str, lines: Iterable[_Line]) -> None:
    """A title, and lines that wrap below their own first word."""
    from rich.table import Table

    listed = list(lines)
    if not listed:
        return
    console.print(f"\n{title}", style="bold")
    table = Table.grid(padding=(0, 0, 0, 2))
    if any(first.plain for first, _, _ in listed):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for first, sentence, rests_on in listed:
        shown = [first] if len(table.columns) == 2 else []
        table.add_row(*shown, sentence)
        if rests_on:
            table.add_row(*(styled("") for _ in shown), styled((rests_on, "dim")))
    console.print(table)


def _verdict(verdict: Verdict) -> "Text":
    return styled((f"{verdict.value:<{_WIDTH_OF_VERDICT - 1}}", VERDICT_COLOUR[verdict.value]))


def _reasons(reasons: Iterable[Reason]) -> list[_Line]:
    """Each sentence once, the strictest first; --json has each with its own evidence."""
    once = {(reason.verdict, reason.text, reason.code): reason for reason in reversed(list(reasons))}
    return [
        (_verdict(reason.verdict), styled(reason.text, (f" [{reason.code}]", "dim")), _clause(reason))
        for reason in reversed(once.values())
    ]


def _owed(obligations: Iterable[Obligation]) -> list[_Line]:
    return [(styled("-"), styled(owed.text), _clause(owed)) for owed in obligations]


def _clause(said: Reason | Obligation) -> str | None:
    """The clause that a sentence stands on: license, section, and how the clause begins."""
    if said.clause is None:
        return None
    place = f"{said.clause.license} {said.clause.section}: "
    return f'{place}"{shorten(said.clause.words, max(30, _CLAUSE - len(place)), placeholder="…")}"'


def _read_at(said: Iterable[Reason | Obligation]) -> dict[str, str]:
    """The id of a license -> where its clauses were read, and on which day."""
    clauses = (each.clause for each in said if each.clause is not None)
    return {clause.license: f"{clause.link or clause.source}, read {clause.read_on}" for clause in clauses}


def _judged_by(judgement: Judgement, policy: Policy) -> str:
    """Policy, product, and the hash that covers both the rules and the company's facts."""
    if policy.product is not None:
        product = f" for the product {policy.product}"
    elif judgement.products:
        of = ", ".join(f"{name} {verdict.value}" for name, verdict in judgement.products)
        product = f", the strictest of its products ({of})"
    else:
        product = ""
    return f"policy {policy.name}{product}; sha256 {policy.sha256[:12]}"


def _read_from(judgement: Judgement) -> str:
    """Where the model's facts were read, the commit they are of, and what the verdict stands on."""
    stands_on = _STANDS_ON[judgement.basis]
    if judgement.revision:
        return f"commit {judgement.revision}; {stands_on}"
    if judgement.origin == "folder":
        return f"read from {judgement.model}; no commit to pin; {stands_on}"
    return f"from the embedded catalog, which knows no commit; {stands_on}"
