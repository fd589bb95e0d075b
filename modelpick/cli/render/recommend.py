"""How recommendations look: one line a model, obligations below, the counts of what was left out, the next command."""

from typing import Any

from rich.console import Console
from rich.table import Table

from modelpick.catalog.languages import name_of
from modelpick.cli.output import styled
from modelpick.licensing.outcome import Obligation
from modelpick.offers.price import Offer
from modelpick.planning.recommend import ExampleJob, RecommendAnswer, Recommendation
from modelpick.workload import Workload

_WIDE = 110  # columns from which a row also shows its fine-tuning set-up


def draw_answer(console: Console, answer: RecommendAnswer, rows: int | None, show_all: bool) -> None:
    passed = answer.recommendations.passed
    shown = passed[:rows]
    work = answer.workload
    own = answer.filters.own
    where = f"{answer.market} in {answer.region}; {_newest_price(answer)}"
    asked = f" policy, {_asked(work)}, {_on_own(own) if own else where}, models {answer.catalog.as_of}"
    console.print(styled((answer.policy.name, "bold"), asked))
    console.print()
    if not shown:
        console.print("No model passes.")
        for one in answer.emptied_by:
            nearest = f"; {one.nearest}" if one.nearest else ""
            console.print(f"Without {one.filter}: {one.passes} pass{nearest}.", markup=False)
        if not answer.emptied_by:
            console.print("No filter does that by itself: loosen several. The reasons are counted below.")
        if any(left.code == "price_unknown" for left in answer.recommendations.rejected):
            console.print(_ask_aws(answer.region), markup=False)
    else:
        obligations = _draw_table(console, shown)
        console.print()
        for mark, text in obligations:
            console.print(f"{mark} {text}", markup=False)
        for text in _named_by_others(answer, shown):
            console.print(text, markup=False)
        for text in answer.taken_for_granted:
            console.print(text, markup=False)
        if own is None and any(row.placement.offer.usd_per_hour is None for row in shown):
            unknown = "unknown: it fits, but no list says at what price it is rented here, or whether it is."
            console.print(f"{unknown} {_ask_aws(answer.region)}", markup=False)
    _draw_tuning(console, shown)
    _draw_left_out(console, answer, show_all)
    _draw_next(console, answer, shown)


def _ask_aws(region: str) -> str:
    return f"To ask AWS for prices of {region}: modelpick offers --live --region {region}"


def _named_by_others(answer: RecommendAnswer, shown: tuple[Recommendation, ...]) -> list[str]:
    """A line for each language that was asked for and that the cards of some rows do not name."""
    lines = []
    for language in answer.filters.languages:
        ids = [row.model.id for row in shown if answer.languages_of(row).get(language) == "others"]
        if ids:
            lines.append(f"{name_of(language)}: named by others, not by the card, of {', '.join(ids)}")
    return lines


def _on_own(own: Offer) -> str:
    kind = own.instance
    return f"on your own {kind.name} ({kind.usable_memory_gib:.1f} GiB usable each), no price"


def _hourly(offer: Offer) -> str:
    if offer.market == "own":
        return "own"
    return "unknown" if offer.usd_per_hour is None else f"{offer.usd_per_hour:.3f}"


_WEIGHTS = {"int8": "in 8-bit", "nf4": "in 4-bit", "bf16": "unquantized"}


def _asked(work: Workload) -> str:
    """The workload in words: "serving in 8-bit, 4,096-token prompts, one request at a time"."""
    if work.task == "finetune":
        at_once = "one sequence" if work.batch == 1 else f"{work.batch} sequences"
        return f"fine-tuning with {work.method}, {at_once} of {work.context:,} tokens a step"
    at_once = "one request" if work.batch == 1 else f"{work.batch} requests"
    return f"serving {_WEIGHTS.get(work.method, work.method)}, {work.context:,}-token prompts, {at_once} at a time"


def _newest_price(answer: RecommendAnswer) -> str:
    dates = [row.placement.offer.as_of for row in answer.recommendations.passed if row.placement.offer.as_of]
    return f"prices {max(dates)}" if dates else "no price in use"


def _draw_table(console: Console, shown: tuple[Recommendation, ...]) -> list[tuple[str, str]]:
    """The table; returns the footnotes that its license column refers to."""
    wide = console.width >= _WIDE
    titles = ["#", "model", "score", "license", "GiB", "instance", "$/h"]
    titles += ["LoRA-int8", "on", "$/h"] if wide else []
    notes: dict[tuple[str, ...], str] = {}
    rows = [_cells(rank, row, notes, 30 if wide else 12, wide) for rank, row in enumerate(shown, 1)]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    widths = [max(len(title), *(len(row[number]) for row in rows)) for number, title in enumerate(titles)]
    # Only the model's name gives way; a terminal too narrow even for that cuts the other columns too.
    widths[1] = max(12, min(widths[1], console.width - sum(widths) + widths[1] - len(widths) + 1))
    for title, width in zip(titles, widths, strict=True):
        justify: Any = "left" if title in ("model", "license", "instance", "on") else "right"
        table.add_column(title, justify=justify, no_wrap=True, overflow="ellipsis", max_width=width)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    return [(mark, f"on conditions: {'; '.join(texts)}") for texts, mark in notes.items()]


def _cells(
    rank: int, row: Recommendation, notes: dict[tuple[str, ...], str], license_width: int, wide: bool
) -> list[str]:
    cells = [
        str(rank),
        row.model.id,
        _score(row),
        _shortened(_license(row, notes), license_width),
        f"{row.placement.memory.total / 2**30:.1f}",
        row.placement.offer.instance.name,
        _hourly(row.placement.offer),
    ]
    return cells + _tuning_cells(row) if wide else cells


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _score(row: Recommendation) -> str:
    quality = row.model.quality
    if quality is None:
        return "-"
    suffix = {"rated": " ", "vendor-only": "v", "legacy": "o"}[quality.status]
    return f"{quality.score:.0f}±{(quality.high - quality.low) / 2:.0f}{suffix}"


def _license(row: Recommendation, notes: dict[tuple[str, ...], str]) -> str:
    ids = "+".join(dict.fromkeys(license.id for license in row.judgement.licenses)) or "by approval"
    if row.judgement.verdict.value == "allow":
        return ids
    owed = _shortly(row.judgement.obligations)
    mark = notes.setdefault(owed, f"[{len(notes) + 1}]")
    return f"{mark} {ids}"


# What nearly every license asks of whoever passes a model on: counted below the table, listed by `modelpick license`.
_USUAL = frozenset((
    "keep_notices", "copy_of_license", "mark_changes", "same_license", "same_restrictions", "pass_on_restrictions",
    "patent_litigation", "venue",
))  # fmt: skip


def _shortly(obligations: tuple[Obligation, ...]) -> tuple[str, ...]:
    """What to do for a license, with its usual duties as a number."""
    told = tuple(owed.text for owed in obligations if owed.code not in _USUAL)
    usual = len(obligations) - len(told)
    return (*told, f"{usual} usual duties (modelpick license)") if usual > 1 else tuple(o.text for o in obligations)


def _tuning_cells(row: Recommendation) -> list[str]:
    if row.finetune is None:
        return ["-", "-", "-"]
    offer = row.finetune.offer
    return [f"{row.finetune.memory.total / 2**30:.1f}", offer.instance.name, _hourly(offer)]


def _draw_tuning(console: Console, shown: tuple[Recommendation, ...]) -> None:
    if not shown or console.width >= _WIDE:
        return
    first = shown[0]
    if first.finetune is None:
        text = f"Fine-tuning the top model ({first.model.id}) with 8-bit LoRA: {first.finetune_why}"
    else:
        placement = first.finetune
        usd = placement.offer.usd_per_hour
        at = "at an unknown price" if usd is None else f"at ${usd:.3f}/h"
        at = "of your own" if placement.offer.market == "own" else at
        text = (
            f"Fine-tuning the top model ({first.model.id}) with 8-bit LoRA needs "
            f"{placement.memory.total / 2**30:.1f} GiB: {placement.offer.instance.name} {at}"
            f"{_job(first.finetune_job)}. "
            f"All rows: --json, or {_WIDE} columns."
        )
    console.print(text, markup=False)


def _job(job: ExampleJob | None) -> str:
    """The price of the job everybody plans first, or nothing where it is not known."""
    if job is None or job.usd is None:
        return ""
    usd, examples = job.usd.total, f"for {job.examples:,} examples"
    if usd.high < 1:
        return f", under $1 {examples}"
    return f", about ${usd.likely:.0f} (${usd.low:.0f} to ${usd.high:.0f}) {examples}"


# A reason code in words, after a count.
_REASONS = {
    "context_unknown": "context length unknown",
    "context_too_long": "context too short",
    "license_review": "need a license review",
    "license_deny": "denied by their license",
    "license_conditions": "allowed only with conditions",
    "unknown_architecture": "architecture unknown",
    "does_not_fit": "do not fit",
    "cannot_run": "cannot run there",
    "not_generative": "generate no text",
    "base_model": "base models",
    "use_unknown": "not stated whether they are for it",
    "other_use": "for another use",
    "publisher": "of other publishers",
    "language": "lack a language",
    "languages_unknown": "languages unknown",
    "parameters_unknown": "size unknown",
    "score_unknown": "without a score",
    "score_too_low": "below the least score",
    "too_slow": "too slow under the load",
    "no_offer": "no type matches the filters",
    "price_unknown": "price unknown",
    "not_offered_here": "fit types that AWS does not rent here",
    "quantized_copy": "quantized copies",
    "too_expensive": "too expensive",
}


def _draw_left_out(console: Console, answer: RecommendAnswer, show_all: bool) -> None:
    counts = answer.recommendations.counts()
    total = len(answer.recommendations.rejected)
    listed = ", ".join(f"{count} {_REASONS.get(code, code.replace('_', ' '))}" for code, count in counts)
    console.print(
        f"\n{len(answer.recommendations.passed)} of {len(answer.catalog.models)} models pass; "
        f"{total} left out: {listed}.",
        markup=False,
    )
    if show_all:
        console.print()
        for left in sorted(answer.recommendations.rejected, key=lambda left: (left.code, left.model)):
            console.print(f"{left.code:20} {left.model}: {left.reason}", markup=False, soft_wrap=True)


def _draw_next(console: Console, answer: RecommendAnswer, shown: tuple[Recommendation, ...]) -> None:
    console.print(
        "score: public boards, 80 % interval (v vendor's own, o archived board, - none); overlapping scores are ties,"
        " the cheaper first.",
        style="dim",
        markup=False,
    )
    if shown:
        if any(row.judgement.basis == "tag" for row in shown):
            console.print("license: by its tag in the catalog, terms not read.", style="dim")
        console.print(f"next: modelpick license {shown[0].model.id}", markup=False)
    # What is of another kind needs no reason: one asks why of a model that could have been there.
    left = [one for one in answer.recommendations.rejected if one.code not in ("not_generative", "quantized_copy")]
    if left:
        best_known = max(left, key=lambda one: answer.catalog.models[one.model].downloads or 0)
        console.print(f"      modelpick recommend --why-not {best_known.model}", markup=False)
