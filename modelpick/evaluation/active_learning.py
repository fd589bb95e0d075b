"""`modelpick data next`: read a pool, ask the current model how sure it is, pick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelpick.datasets import read
from modelpick.datasets.curate import fresh, pick_next, spread_out
from modelpick.datasets.examples import Example
from modelpick.datasets.similarity import Tell
from modelpick.errors import UsageError
from modelpick.extras import require, require_train


@dataclass(frozen=True, slots=True)
class Picked:
    """What to label next with the model's uncertainty of each, and how many were looked at."""

    rows: tuple[tuple[Example, float], ...]
    pool: int
    fresh: int  # of the pool: not asked before, each question once
    asked: int  # of the fresh: those that the model was asked about

    def as_json(self) -> dict[str, Any]:
        """The report of `data next --json`."""
        rows = [{"line": example.line, "uncertainty": round(unsure, 4)} for example, unsure in self.rows]
        return {"picked": rows, "pool": self.pool, "fresh": self.fresh, "asked": self.asked}


def next_to_label(
    pool: Path,
    model: str,
    wanted: int,
    *,
    adapter: str | None = None,
    seen: Path | None = None,
    ask: int = 2000,
    tell: Tell | None = None,
) -> Picked:
    """The `wanted` members of an unlabelled pool to label next.

    The model is asked about at most `ask` of them (at least `wanted`), spread out over the pool: asking is what takes
    the time. Raises UsageError for a pool with bad lines or nothing new, or for a model that cannot be loaded.
    """
    require_train()
    require("data", "sklearn")
    from modelpick.evaluation.uncertainty import uncertainties
    from modelpick.loading import adapters, environment, load
    from modelpick.loading.quiet import quietly

    data = read.read(pool, labelled=False, tell=tell)
    if data.errors:
        first = data.errors[0]
        raise UsageError(f"{pool}, line {first.line}: {first.text}", fix="mend or remove that line", code="bad_data")
    known = read.read(seen, labelled=False, tell=tell).wholes if seen else ()
    new = fresh(data.wholes, known)
    if not new:
        raise UsageError(
            f"everything in {pool} was asked before", fix="give a pool with other questions", code="nothing_new"
        )
    shortlist = spread_out(new, known, max(ask, wanted), tell)
    with quietly():
        options = load.LoadOptions()
        loaded = adapters.load_adapter(model, Path(adapter), options) if adapter else load.load(model, options)
        environment.place(loaded.model)
        unsure = uncertainties(loaded, shortlist, tell=tell)
    rows = pick_next(shortlist, known, unsure, wanted, tell)
    return Picked(tuple(rows), len(data.wholes), len(new), len(shortlist))
