"""How well speeds are predicted, on sources that were left out of the fit. About two minutes on one core.

    python benchmarks/speed_accuracy.py [--by source|publisher] [--rows FILE] [--write]

Every source in turn is taken out, the constants are fitted on the others, and the source is predicted. An error of
50 % is a factor of 1.5, too much or too little. Known stack: another source measured it too. --by publisher leaves out
all that a repository published at once, which is stricter. Beside it stands what is usually quoted: serving at the full
memory bandwidth, training at 6 FLOPs a parameter and 40 % of the datasheet's peak. --rows predicts the rows of another
file (the format of data/speeds.jsonl, or CSV as collected) with the constants as shipped. --write refits on everything
and writes modelpick/speed/data/efficiency.json.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import speed_fit
from speed_fit import Row

from modelpick.speed import roofline as speed

TARGET = Path(__file__).parent.parent / "modelpick" / "speed" / "data" / "efficiency.json"
STRATA = ("batch1", "loaded", "prefill", "training")


@dataclass(frozen=True, slots=True)
class Scored:
    """A row, whether its stack was in the fit, and the logarithms of predicted over measured."""

    row: Row
    known: bool
    error: float
    naive: float


def main() -> int:
    """Prints the tables; 0 always: it is a measurement, not a gate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--by", choices=("source", "publisher"), default="source")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.rows:
        scored = predict_with_shipped(speed_fit.load(options.rows))
        spreads = shipped_spreads()
    else:
        rows = speed_fit.load()
        group, other = (_source, publisher) if options.by == "source" else (publisher, _source)
        scored = leave_one_out(rows, group)
        spreads = spreads_of(scored)
        if options.write:  # ships the wider of both ways of leaving out
            spreads = _wider(spreads, spreads_of(leave_one_out(rows, other)))
            TARGET.write_text(constants(rows, spreads), encoding="utf-8", newline="\n")
            print(f"wrote {TARGET} ({len(scored)} rows scored)\n")
    report(scored, spreads)
    return 0


def _source(row: Row) -> str:
    return row.source


def _wider(one: dict[str, dict[str, float]], two: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {stratum: {name: max(one[stratum][name], two[stratum][name]) for name in one[stratum]} for stratum in one}


def publisher(row: Row) -> str:
    """Who published a row: two states of one repository are one publisher."""
    return row.source.split(":")[0].split("@")[0]


def leave_one_out(rows: Sequence[Row], group: Callable[[Row], str]) -> list[Scored]:
    """Every row predicted by a fit that never saw its source (or its publisher)."""
    scored = []
    for source in sorted({group(row) for row in rows}):
        held = [row for row in rows if group(row) == source]
        rest = [row for row in rows if group(row) != source]
        fits = [fit(rest) for fit, training in _FITS if any(row.training == training for row in held)]
        for row in held:
            found = next(fit for fit in fits if isinstance(fit.general, speed.TrainingEfficiency) == row.training)
            error = math.log(row.predict(found.constants(row.stack)) / row.measured)
            scored.append(Scored(row, found.knows(row.stack), error, math.log(naive(row) / row.measured)))
    return scored


_FITS: tuple[tuple[Callable[[Sequence[Row]], speed_fit.Fit[Any]], bool], ...] = (
    (speed_fit.fit_serving, False),
    (speed_fit.fit_training, True),
)


def naive(row: Row) -> float:
    """Full bandwidth for serving; 6 FLOPs a parameter at 40 % of the peak for training and for prefill 2 at 40 %."""
    shape, on = row.features["shape"], row.features["hardware"]
    if row.training:
        return float(0.4 * on.gpus * on.peak / (6 * shape.parameters))
    if row.task == "serve-prefill":
        return float(0.4 * on.gpus * on.peak / (2 * shape.parameters))
    batch = row.features["batch"]
    return float(batch * on.gpus * on.bandwidth / shape.bytes_read(row.features["method"], batch))


def spreads_of(scored: Sequence[Scored]) -> dict[str, dict[str, float]]:
    """The factor that 84 % of the left-out rows stay within, by stratum and by whether the stack is known: a little
    wider than the 80 % it is quoted for."""
    answer: dict[str, dict[str, float]] = {}
    for stratum in STRATA:
        rows = [one for one in scored if one.row.stratum == stratum]
        answer[stratum] = {
            name: round(
                math.exp(
                    _quantile(
                        [abs(one.error) for one in rows if one.known == known] or [abs(one.error) for one in rows], 0.84
                    )
                ),
                2,
            )
            for name, known in (("known", True), ("unknown", False))
        }
        answer[stratum]["unknown"] = max(answer[stratum].values())
    return answer


def report(scored: Sequence[Scored], spreads: dict[str, dict[str, float]]) -> None:
    """The tables, by stratum and by source."""
    print(f"{'':58} rows  median   90th   inside 80 %   naive median   90th")
    for stratum in STRATA:
        for name, known in (("known stack", True), ("unknown stack", False)):
            _line(f"{stratum}, {name}", [o for o in scored if o.row.stratum == stratum and o.known == known], spreads)
    print()
    for source in sorted({one.row.source for one in scored}):
        for stack in sorted({one.row.stack for one in scored if one.row.source == source}):
            chosen = [one for one in scored if one.row.source == source and one.row.stack == stack]
            _line(f"{source[:40]} {stack}", chosen, spreads)


def _line(title: str, scored: Sequence[Scored], spreads: dict[str, dict[str, float]]) -> None:
    if not scored:
        return
    errors = [math.expm1(abs(one.error)) for one in scored]
    naives = [math.expm1(abs(one.naive)) for one in scored]
    inside = sum(abs(o.error) <= math.log(spreads[o.row.stratum]["known" if o.known else "unknown"]) for o in scored)
    print(
        f"{title:58} {len(scored):4} {_quantile(errors, 0.5):7.0%} {_quantile(errors, 0.9):6.0%}"
        f" {inside / len(scored):12.0%} {_quantile(naives, 0.5):14.0%} {_quantile(naives, 0.9):6.0%}"
    )


def build() -> str:
    """The text of efficiency.json. About a minute on one core."""
    rows = speed_fit.load()
    spreads = [spreads_of(leave_one_out(rows, group)) for group in (_source, publisher)]
    return constants(rows, _wider(*spreads))


def constants(rows: Sequence[Row], spreads: dict[str, dict[str, float]]) -> str:
    """What the product ships, as text: the constants fitted on all rows, and how far left-out rows are off."""
    content: dict[str, Any] = {
        "schema_version": 1,
        "source": f"fitted on {len(rows)} published measurements of {len({row.source for row in rows})} sources by "
        "benchmarks/speed_accuracy.py --write; spread: the factor most left-out rows stay within",
        "spread": spreads,
    }
    for kind, fit in (("serving", speed_fit.fit_serving(rows)), ("training", speed_fit.fit_training(rows))):
        classes: dict[str, Any] = {
            "unknown": fit.general,
            **{f"{name}-family": by for name, by in fit.families.items()},
        }
        classes |= fit.classes
        content[kind] = {
            stack: {
                "rows": fit.rows.get(stack, 0),
                "sources": sorted({row.source for row in rows if row.stack == stack}),
                "gpus": sorted({row.gpu for row in rows if row.stack == stack}),
                **{
                    key: float(f"{value:.4g}") if isinstance(value, float) else value
                    for key, value in asdict(by).items()
                },
            }
            for stack, by in classes.items()
        }
    return json.dumps(content, indent=1) + "\n"


def predict_with_shipped(rows: Sequence[Row]) -> list[Scored]:
    """Rows of another file, predicted with the constants that ship."""
    shipped = json.loads(TARGET.read_text(encoding="utf-8"))
    scored = []
    for row in rows:
        listed = shipped["training" if row.training else "serving"]
        family = f"{speed_fit.FAMILIES.get(row.stack)}-family"
        values = dict(listed.get(row.stack) or listed.get(family) or listed["unknown"])
        for key in ("rows", "sources", "gpus"):
            values.pop(key)
        by = speed.TrainingEfficiency(**values) if row.training else speed.ServingEfficiency(**values)
        error = math.log(row.predict(by) / row.measured)
        scored.append(Scored(row, row.stack in listed, error, math.log(naive(row) / row.measured)))
    return scored


def shipped_spreads() -> dict[str, dict[str, float]]:
    """The spreads that ship."""
    spreads: dict[str, dict[str, float]] = json.loads(TARGET.read_text(encoding="utf-8"))["spread"]
    return spreads


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    sys.exit(main())
