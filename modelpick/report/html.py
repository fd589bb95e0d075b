"""`recommend` as a page: who passes, why, how full the GPU gets, what it costs, and who was left out. Pure text.

One file that loads nothing: it can be mailed, archived with the purchase, and opened in ten years.
"""

from modelpick.memory.estimate import GIB
from modelpick.memory.parts import PARTS
from modelpick.planning.cost import MonthCost
from modelpick.planning.placement import Placement
from modelpick.planning.recommend import ASSUMPTIONS, RecommendAnswer
from modelpick.planning.recommendation import Recommendation, UsualSetup
from modelpick.report import chart
from modelpick.report.template import rendered


def page(answer: RecommendAnswer, rows: int | None = None, *, facts: str = "") -> str:
    """The whole page for the first `rows` recommendations (None: all) and everything that was left out.

    `facts` says how old the facts are on the day the page is made.
    """
    passed = answer.recommendations.passed[:rows]
    placements = [place for row in passed for place in _placements(row)]
    return rendered(
        "recommend.html",
        answer=answer,
        work=answer.workload,
        rows=[_row(rank, one) for rank, one in enumerate(passed, 1)],
        chart=chart.chart([point for one in passed if (point := _point(one)) is not None]),
        box=chart,
        parts=[name for name in PARTS if any(getattr(place.memory.parts, name) for place in placements)],
        counts=answer.recommendations.counts(),
        rejected=sorted(answer.recommendations.rejected, key=lambda left: (left.code, left.model.lower())),
        assumptions=ASSUMPTIONS,
        sources=sorted({row.placement.offer.source for row in passed if row.placement.offer.source}),
        facts=facts,
        priced=max((row.placement.offer.as_of for row in passed if row.placement.offer.as_of), default=None),
    )


def _row(rank: int, row: Recommendation) -> dict[str, object]:
    return {
        "rank": rank,
        "model": row.model.id,
        "billions": row.model.parameters / 1e9 if row.model.parameters else None,
        "quality": row.quality,
        "unbeaten": row.unbeaten,
        "setup": _setup(row.placement),
        "speed": row.speed.per_request.likely if row.speed else None,
        "usd_per_mtok": row.prices.generated.likely if row.prices else None,
        "verdict": row.judgement.verdict.value,
        "licenses": list(row.judgement.license_ids) or ["by approval"],
        "obligations": [owed.text for owed in row.judgement.obligations],
        "serve": _bar(row.placement, month=row.month),
        "usual": [
            (name, [(where, _bar(place), why) if place else (where, None, why) for where, place, why in _places(usual)])
            for name, usual in (("8-bit", row.eight_bit), ("LoRA over 8 bits", row.finetune))
            if usual is not None
        ],
        "job": row.finetune_job.usd.total.likely if row.finetune_job and row.finetune_job.usd else None,
    }


def _placements(row: Recommendation) -> list[Placement]:
    usual = [place for one in (row.eight_bit, row.finetune) if one is not None for place in (one.overall, one.g5)]
    return [place for place in (row.placement, *usual) if place is not None]


def _places(usual: UsualSetup) -> list[tuple[str, Placement | None, str | None]]:
    return [("on g5", usual.g5, usual.g5_why), ("at the least", usual.overall, usual.why)]


def _setup(placement: Placement) -> str:
    workload = placement.memory.workload
    return f"{placement.engine or workload.stack}, {workload.method}" + (
        f" x{workload.gpus}" if workload.gpus > 1 else ""
    )


def _bar(placement: Placement, *, month: MonthCost | None = None) -> dict[str, object]:
    """A memory bar in per cent of the GPU's usable memory, and what the placement costs."""
    room = placement.offer.instance.usable_memory_gib * GIB
    widths = {name: 100 * getattr(placement.memory.parts, name) / room for name in PARTS}
    return {
        "instance": placement.offer.instance.name,
        "gpu": placement.offer.instance.gpu.name,
        "usd": placement.offer.usd_per_hour,
        "month": month.total_usd if month else None,
        "total": placement.memory.total / GIB,
        "low": placement.memory.low / GIB,
        "high": placement.memory.high / GIB,
        "room": room / GIB,
        "bar": [(name, width) for name, width in widths.items() if width > 0],
        "high_at": min(100.0, 100 * placement.memory.high / room),
    }


def _point(row: Recommendation) -> chart.Point | None:
    """The model in the chart of score over price; None where one of the two is not known."""
    quality, usd = row.quality, row.placement.offer.usd_per_hour
    if quality is None or usd is None:
        return None
    conditions = row.judgement.verdict.value != "allow"
    return chart.Point(row.model.id, usd, quality.score, quality.low, quality.high, conditions)
