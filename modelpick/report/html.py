"""`recommend` as a page: who passes, why, how full the GPU gets, what it costs, and who was left out. Pure text.

One file that loads nothing: it can be mailed, archived with the purchase, and opened in ten years.
"""

from pathlib import Path
from typing import Any

from modelpick.errors import printable
from modelpick.memory.estimate import GIB, PARTS
from modelpick.planning.answer import ASSUMPTIONS, Answer
from modelpick.planning.recommend import Recommendation, Seat
from modelpick.report import chart

_TEMPLATES = Path(__file__).resolve().parent


def page(answer: Answer, rows: int | None = None) -> str:
    """The whole page for the first `rows` recommendations (None: all) and everything that was left out."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    passed = answer.recommendations.passed[:rows]
    seats = [seat for one in passed for seat in (one.seat, one.finetune) if seat is not None]
    text: str = templates.get_template("recommend.html").render(
        answer=answer,
        work=answer.workload,
        rows=[_row(rank, one) for rank, one in enumerate(passed, 1)],
        chart=chart.chart([_point(one) for one in passed if one.model.quality is not None]),
        box=chart,
        parts=[name for name in PARTS if any(getattr(seat.memory.parts, name) for seat in seats)],
        counts=answer.recommendations.counts(),
        rejected=sorted(answer.recommendations.rejected, key=lambda left: (left.code, left.model.lower())),
        assumptions=ASSUMPTIONS,
        sources=sorted({one.seat.offer.source for one in passed if one.seat.offer.source}),
        priced=max((one.seat.offer.as_of for one in passed if one.seat.offer.as_of), default=None),
    )
    return printable(text, keep="\n")


def _row(rank: int, row: Recommendation) -> dict[str, Any]:
    return {
        "rank": rank,
        "model": row.model.id,
        "billions": row.model.parameters / 1e9 if row.model.parameters else None,
        "quality": row.model.quality,
        "verdict": row.judgement.verdict.value,
        "licenses": list(row.judgement.license_ids) or ["by approval"],
        "obligations": [owed.text for owed in row.judgement.obligations],
        "serve": _seat(row.seat),
        "finetune": _seat(row.finetune) if row.finetune else None,
        "finetune_why": row.finetune_why,
    }


def _seat(seat: Seat) -> dict[str, Any]:
    """A memory bar in per cent of the GPU's usable memory, and what the seat costs."""
    room = seat.offer.instance.usable_memory_gib * GIB
    widths = {name: 100 * getattr(seat.memory.parts, name) / room for name in PARTS}
    return {
        "instance": seat.offer.instance.name,
        "gpu": seat.offer.instance.gpu.name,
        "usd": seat.offer.usd_per_hour,
        "month": seat.cost.get("total_usd_per_month"),
        "job": (seat.cost.get("usd") or {}).get("likely_usd"),
        "total": seat.memory.total / GIB,
        "low": seat.memory.low / GIB,
        "high": seat.memory.high / GIB,
        "room": room / GIB,
        "bar": [(name, width) for name, width in widths.items() if width > 0],
        "high_at": min(100.0, 100 * seat.memory.high / room),
    }


def _point(row: Recommendation) -> chart.Point:
    quality = row.model.quality
    assert quality is not None
    usd = row.seat.offer.usd_per_hour or 0.0
    conditions = row.judgement.verdict.value != "allow"
    return chart.Point(row.model.id, usd, quality.score, quality.low, quality.high, conditions)
