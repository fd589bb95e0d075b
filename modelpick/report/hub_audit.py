"""`catalog audit` as a page: how the Hub comes out under a policy, which tags do not hold, who is touched. Pure text.

One file that loads nothing and runs nothing.
"""

from modelpick.hub.audit import HubAudit
from modelpick.hub.verdicts import VERDICTS
from modelpick.report.template import rendered

WIDTH = 700
"""Of the picture, in its own units."""


def page(audit: HubAudit) -> str:
    """The whole page."""
    models = sum(one.models for one in audit.tallies)
    downloads = sum(one.downloads for one in audit.tallies)
    return rendered(
        "hub_audit.html",
        audit=audit, models=models, verdicts=VERDICTS, width=WIDTH,
        bars=[
            ("models", _segments([one.models for one in audit.tallies])),
            ("downloads", _segments([one.downloads for one in audit.tallies])),
        ],
        shares=[(one, one.models / (models or 1), one.downloads / (downloads or 1)) for one in audit.tallies],
        publishers=[(one, _segments(list(one.counts))) for one in audit.organisations],
    )  # fmt: skip


def _segments(counts: list[int]) -> list[tuple[str, float, float]]:
    """The parts of a bar: verdict, where it begins, how wide it is."""
    total, at, found = sum(counts) or 1, 0.0, []
    for verdict, count in zip(VERDICTS, counts, strict=True):
        width = WIDTH * count / total
        if count:
            found.append((verdict, round(at, 1), round(width, 1)))
        at += width
    return found
