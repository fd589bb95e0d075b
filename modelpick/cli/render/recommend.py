"""How recommendations look: one line a model, what the first takes, what was left out and why, the next command."""

from typing import Any

from rich.console import Console
from rich.table import Table

from modelpick.catalog.languages import name_of
from modelpick.catalog.model import Quality
from modelpick.cli.output import styled
from modelpick.licensing.outcome import Obligation
from modelpick.offers.price import Offer
from modelpick.planning.placement import Placement
from modelpick.planning.recommend import RecommendAnswer
from modelpick.planning.recommendation import ExampleJob, Recommendation, UsualSetup
from modelpick.workload import Workload

WIDE = 110  # columns from which each row also shows speed, costs and the usual set-ups


def draw_answer(console: Console, answer: RecommendAnswer, rows: int | None, show_all: bool) -> None:
    passed = answer.recommendations.passed
    shown = passed[:rows]
    own = answer.filters.own
    where = _on_own(own) if own else f"{answer.market} in {answer.region}; {_newest_price(answer)}"
    asked = f" policy, {_asked(answer.workload)}, {where}, models {answer.catalog.as_of}"
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
        _draw_first(console, shown[0])
    _draw_larger(console, answer.recommendations.larger)
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


def _asked(work: Workload) -> str:
    """The workload in words: "8 requests at once, 3,584 tokens read and 512 written each"."""
    method = "" if work.method == "auto" else f" with {work.method}"
    if work.task == "finetune":
        at_once = "one sequence" if work.batch == 1 else f"{work.batch} sequences"
        return f"fine-tuning{method}, {at_once} of {work.context:,} tokens a step"
    at_once = "one request" if work.batch == 1 else f"{work.batch} requests"
    each = f"{work.context:,} tokens read" + (f" and {work.generate:,} written each" if work.generate else " each")
    return f"serving{method} {at_once} at once, {each}"


def _newest_price(answer: RecommendAnswer) -> str:
    dates = [row.placement.offer.as_of for row in answer.recommendations.passed if row.placement.offer.as_of]
    return f"prices {max(dates)}" if dates else "no price in use"


_NUMBERS = ("$/h", "tok/s", "$/month", "$/M out")


def _draw_table(console: Console, shown: tuple[Recommendation, ...]) -> list[tuple[str, str]]:
    """The table; returns the footnotes that its license column refers to."""
    wide = console.width >= WIDE
    titles = ["model", "score", "license", "set-up", "instance", "$/h"]
    titles += ["tok/s", "$/month", "$/M out", "8-bit g5", "LoRA g5"] if wide else []
    notes: dict[tuple[str, ...], str] = {}
    rows = [_cells(row, notes, 12, wide) for row in shown]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    widths = [max(len(title), *(len(row[number]) for row in rows)) for number, title in enumerate(titles)]
    # Only the model's name gives way; a terminal too narrow even for that cuts the other columns too.
    widths[0] = max(12, min(widths[0], console.width - sum(widths) + widths[0] - len(widths) + 1))
    for title, width in zip(titles, widths, strict=True):
        justify: Any = "right" if title in _NUMBERS else "left"
        table.add_column(title, justify=justify, no_wrap=True, overflow="ellipsis", max_width=width)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    return [(mark, f"on conditions: {'; '.join(texts)}") for texts, mark in notes.items()]


def _cells(row: Recommendation, notes: dict[tuple[str, ...], str], license_width: int, wide: bool) -> list[str]:
    cells = [
        f"{'*' if row.unbeaten else ' '} {row.model.id}",
        _score(row),
        _shortened(_license(row, notes), license_width),
        setup_text(row.placement),
        row.placement.offer.instance.name,
        _hourly(row.placement.offer),
    ]
    if not wide:
        return cells
    return [
        *cells,
        "-" if row.speed is None else f"{row.speed.per_request.likely:.0f}",
        "-" if row.month is None else f"{row.month.total_usd:,.0f}",
        "-" if row.prices is None else f"{row.prices.generated.likely:.2f}",
        _on_g5(row.eight_bit),
        _on_g5(row.finetune),
    ]


_SHORT = {"compressed-tensors": "w4"}


def setup_text(placement: Placement) -> str:
    """Engine, weights and GPUs: "vllm/fp8", "vllm/awq x4"; of a fine-tuning its method."""
    workload = placement.memory.workload
    method = _SHORT.get(workload.method, workload.method)
    text = method if placement.engine is None else f"{_ENGINES.get(placement.engine, placement.engine)}/{method}"
    return text if workload.gpus == 1 else f"{text} x{workload.gpus}"


_ENGINES = {"transformers": "hf", "llama.cpp": "llama.cpp"}


def _on_g5(usual: UsualSetup | None) -> str:
    """GiB and dollars an hour on the g5 family."""
    if usual is None or usual.g5 is None:
        return "-"
    return f"{usual.g5.memory.total / 2**30:.1f} {_hourly(usual.g5.offer)}"


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _score(row: Recommendation) -> str:
    return score_text(row.quality)


def score_text(quality: Quality | None) -> str:
    """The interval that a score lies in, and whose it is: "84-96", "40-59o"."""
    if quality is None:
        return "-"
    return f"{quality.low:.0f}-{quality.high:.0f}{ {'rated': '', 'vendor-only': 'v', 'legacy': 'o'}[quality.status] }"


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


def _draw_first(console: Console, row: Recommendation) -> None:
    """What the first row does under the load and costs, and what the two usual set-ups of it take."""
    speed, month, prices = row.speed, row.month, row.prices
    if speed is not None:
        first = speed.seconds_to_first_token
        wait = "requests queue" if first is None else f"the first token after {first:.1f} s"
        costs = "" if month is None else f", ${month.total_usd:,.0f} a month"
        costs += "" if prices is None else f", ${prices.generated.likely:.2f} per million tokens written"
        console.print(
            f"{row.model.id}: {speed.per_request.likely:.0f} tokens/s for each request, {wait}{costs}.", markup=False
        )
    if row.placement.setup.model is not row.model:
        console.print(f"Its weights are those of {row.placement.setup.model.id}, judged by itself.", markup=False)
    for what, usual, job in (
        ("In 8 bits", row.eight_bit, None),
        ("LoRA over 8 bits", row.finetune, row.finetune_job),
    ):
        if usual is not None:
            g5 = _place(usual.g5, usual.g5_why) if usual.g5 is not usual.overall else ""
            overall = _place(usual.overall, usual.why)
            console.print(
                f"{what}: on g5 {g5 or overall}; at the least {overall}{_job(job)}."
                if _apart(usual)
                else f"{what}: {overall}{_job(job)}.",
                markup=False,
            )


def _apart(usual: UsualSetup) -> bool:
    """Whether the cheapest place of all is another than the one on g5; where there is none, one reason will do."""
    if usual.overall is None or usual.g5 is None:
        return usual.overall is not usual.g5
    return usual.overall.offer != usual.g5.offer


def _place(placement: Placement | None, why: str | None) -> str:
    if placement is None:
        return f"none ({why})"
    usd = placement.offer.usd_per_hour
    at = "at an unknown price" if usd is None else f"at ${usd:.3f}/h"
    at = "of your own" if placement.offer.market == "own" else at
    return (
        f"{placement.memory.total / 2**30:.1f} GiB, {setup_text(placement)} on {placement.offer.instance.name} {at}"
    )  # fmt: skip


def _draw_larger(console: Console, row: Recommendation | None) -> None:
    if row is None:
        return
    offer = row.placement.offer
    console.print(
        f"Larger: {row.model.id} ({_score(row)}) needs {offer.instance.gpu_count} GPUs: {setup_text(row.placement)} on "
        f"{offer.instance.name}, ${_hourly(offer)}/h (--gpus any).",
        markup=False,
    )


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
            console.print(f"{left.model}: {left.reason}", markup=False, soft_wrap=True)


def _draw_next(console: Console, answer: RecommendAnswer, shown: tuple[Recommendation, ...]) -> None:
    use = answer.filters.use_case
    general = "" if use is None else f"; {sum(row.quality_use is not None for row in shown)} rows by boards for {use}"
    console.print(
        f"score: 80 % interval over public boards, of unquantized weights (v vendor's own, o archived board, - none)"
        f"{general}; sorted by its lower end, equal ones by price. * nothing cheaper is as good. "
        "Sources: modelpick catalog show MODEL.",
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
        lead = "      " if shown else "next: "
        console.print(f"{lead}modelpick recommend --why-not {best_known.model}", markup=False)
