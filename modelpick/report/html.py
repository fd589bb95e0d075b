"""`recommend` as a page: who passes, why, how full the GPU gets, what it costs, and who was left out. Pure text.

One file that loads nothing: it can be mailed, archived with the purchase, and opened in ten years.
"""

from modelpick.memory.estimate import GIB
from modelpick.memory.parts import PARTS
from modelpick.planning.cost import MonthCost
from modelpick.planning.placement import Placement
from modelpick.planning.recommend import ASSUMPTIONS, ExampleJob, RecommendAnswer, Recommendation
from modelpick.report import chart
from modelpick.report.template import rendered


def page(answer: RecommendAnswer, rows: int | None = None, *, facts: str = "") -> str:
    """The whole page for the first `rows` recommendations (None: all) and everything that was left out.

    `facts` says how old the facts are on the day the page is made.
    """
    passed = answer.recommendations.passed[:rows]
    placements = [place for row in passed for place in (row.placement, row.finetune) if place is not None]
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
        "quality": row.model.quality,
        "verdict": row.judgement.verdict.value,
        "licenses": list(row.judgement.license_ids) or ["by approval"],
        "obligations": [owed.text for owed in row.judgement.obligations],
        "serve": _bar(row.placement, month=row.month),
        "finetune": _bar(row.finetune, job=row.finetune_job) if row.finetune else None,
        "finetune_why": row.finetune_why,
    }


def _bar(placement: Placement, *, month: MonthCost | None = None, job: ExampleJob | None = None) -> dict[str, object]:
    """A memory bar in per cent of the GPU's usable memory, and what the placement costs."""
    room = placement.offer.instance.usable_memory_gib * GIB
    widths = {name: 100 * getattr(placement.memory.parts, name) / room for name in PARTS}
    return {
        "instance": placement.offer.instance.name,
        "gpu": placement.offer.instance.gpu.name,
        "usd": placement.offer.usd_per_hour,
        "month": month.total_usd if month else None,
        "job": job.usd.total.likely if job and job.usd else None,
        "total": placement.memory.total / GIB,
        "low": placement.memory.low / GIB,
        "high": placement.memory.high / GIB,
        "room": room / GIB,
        "bar": [(name, width) for name, width in widths.items() if width > 0],
        "high_at": min(100.0, 100 * placement.memory.high / room),
    }


def _point(row: Recommendation) -> chart.Point | None:
    """The model in the chart of score over price; None where one of the two is not known."""
    quality, usd = row.model.quality, row.placement.offer.usd_per_hour
    if quality is None or usd is None:
        return None
    conditions = row.judgement.verdict.value != "allow"
    return chart.Point(row.model.id, usd, quality.score, quality.low, quality.high, conditions)
