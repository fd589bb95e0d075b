"""How well speeds are predicted, on sources that were left out of the fit. About five minutes on one core.

    python benchmarks/speed_accuracy.py [--by source|publisher|model|gpu] [--rows FILE] [--write]

Every source in turn is taken out, the constants are fitted on the others, and the source is predicted. An error of
50 % is a factor of 1.5, too much or too little. Known stack: another source measured it too. --by publisher leaves out
all that a repository published at once, which is stricter; --by model every row of a model, whoever measured it; --by
gpu every row of a GPU. Width: the middle of high over low. The engines of 2025 and 2026 (facts/measured_speed_2026.csv)
stand apart from those before; each of their models is a source, and so is each model that our own loop trained. Beside
it stands what is usually quoted: serving at the full memory bandwidth, training at 6 FLOPs a parameter and 40 % of the
datasheet's peak. --rows predicts the rows of another file (the format of data/speeds.jsonl, or CSV as collected) with
the constants as shipped. --write refits on everything and writes modelpick/speed/data/efficiency.json. A stratum below
20 rows is printed and claims nothing. Runs with a doubt are counted by its kind, and neither fitted nor scored; of some
the wait for the first token alone is doubted.
"""

import argparse
import csv
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import speed_fit
from speed_fit import Row

from modelpick.speed.roofline import ServingEfficiency
from modelpick.speed.training import TrainingEfficiency

TARGET = Path(__file__).parent.parent / "modelpick" / "speed" / "data" / "efficiency.json"
TODAY = tuple(sorted(stack for stack, family in speed_fit.FAMILIES.items() if family == "today"))
RUNS = Path(__file__).parent.parent / "facts" / "measured_speed_2026.csv"
STRATA = (
    "batch1", "loaded", *(f"{name} {stack}" for stack in reversed(TODAY) for name in ("loaded", "first-token")),
    "prefill", "training", speed_fit.OWN_LOOP,
)  # fmt: skip
FEWEST = 20  # rows of a stratum that a claim may rest on


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
    parser.add_argument("--by", choices=tuple(GROUPS), default="source")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.rows:
        scored = predict_with_shipped(speed_fit.load(options.rows))
        spreads = shipped_spreads()
    else:
        rows = speed_fit.load()
        if options.write:
            TARGET.write_text(build(), encoding="utf-8", newline="\n")
            print(f"wrote {TARGET}\n")
            return 0
        scored = leave_one_out(rows, GROUPS[options.by])
        spreads = shipped_spreads()
    report(scored, spreads)
    if not options.rows:
        print("\n".join(["", *not_scored()]))
    return 0


def not_scored() -> list[str]:
    """The runs of 2025 and 2026 that are not scored, by engine and by the kind of doubt."""
    counts: Counter[str] = Counter()
    with RUNS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for what, doubt in (("the run", row["doubt"]), ("first token", row["wait_doubt"])):
                if doubt:
                    counts[f"{row['stack']}, {what}: {doubt.partition(':')[0]}"] += 1
                    break
    return [f"not scored: {count:4} {kind}" for kind, count in sorted(counts.items())]


def publisher(row: Row) -> str:
    """Who published a row: two states of one repository are one publisher."""
    return row.source if row.today else row.source.split(":")[0].split("@")[0]


GROUPS: dict[str, Callable[[Row], str]] = {
    "source": lambda row: row.source,
    "publisher": publisher,
    "model": lambda row: row.model,
    "gpu": lambda row: row.gpu,
}


def leave_one_out(
    rows: Sequence[Row], group: Callable[[Row], str], names: Collection[str] | None = None
) -> list[Scored]:
    """Every row, or those of the groups `names`, predicted by a fit that never saw its group."""
    scored = []
    whole = (speed_fit.fit_serving(rows), speed_fit.fit_training(rows))
    for name in sorted({group(row) for row in rows} if names is None else names):
        held = [row for row in rows if group(row) == name]
        rest = [row for row in rows if group(row) != name]
        for one in (
            _scored([row for row in held if not row.training], rest, speed_fit.fit_serving, whole[0]),
            _scored([row for row in held if row.training], rest, speed_fit.fit_training, whole[1]),
        ):
            scored += one
    return scored


def _scored(
    held: Sequence[Row], rest: Sequence[Row], fit: Callable[..., speed_fit.Fit[Any]], like: Any
) -> list[Scored]:
    if not held:
        return []
    found = fit(rest, like, sorted({row.stack for row in held}))
    return [
        Scored(
            row,
            found.knows(row.stack),
            math.log(row.predict(found.constants(row.stack)) / row.measured),
            math.log(naive(row) / row.measured),
        )
        for row in held
    ]


def naive(row: Row) -> float:
    """Full bandwidth for serving; 6 FLOPs a parameter at 40 % of the peak for training and for prefill 2 at 40 %."""
    shape, on = row.features["shape"], row.features["hardware"]
    if row.training:
        return float(0.4 * on.gpus * on.peak / (6 * shape.parameters))
    if row.task == "serve-prefill":
        return float(0.4 * on.gpus * on.peak / (2 * shape.parameters))
    if row.task == "serve-first-token":
        return float(0.4 * on.gpus * on.peak / (2 * shape.active_weights * row.features["prompt"]))
    batch = row.features["batch"]
    return float(batch * on.gpus * on.bandwidth / shape.bytes_read(row.features["method"], batch))


def spreads_of(scored: Sequence[Scored]) -> dict[str, dict[str, float]]:
    """The factor that 84 % of the left-out rows stay within, by stratum and by whether the stack is known: a little
    wider than the 80 % it is quoted for. Of our own loop, whose rows are few, it is the
    error of rank 0.84 (n + 1): as of a row not yet seen."""
    answer: dict[str, dict[str, float]] = {}
    for stratum in STRATA:
        rows = [one for one in scored if one.row.stratum == stratum]
        bound = _unseen if stratum == speed_fit.OWN_LOOP else quantile
        answer[stratum] = {
            name: round(math.exp(bound([abs(one.error) for one in _of(rows, known)], 0.84)), 2)
            for name, known in (("known", True), ("unknown", False))
        }
        answer[stratum]["unknown"] = max(answer[stratum].values())
    return answer


def _of(rows: Sequence[Scored], known: bool) -> Sequence[Scored]:
    """Those whose stack is known, or is not; all where too few are."""
    chosen = [one for one in rows if one.known == known]
    return chosen if len(chosen) >= FEWEST else rows


def report(scored: Sequence[Scored], spreads: dict[str, dict[str, float]]) -> None:
    """The tables, by stratum and by source."""
    print(f"{'':58} rows  median   90th   inside 80 %  width   naive median   90th")
    for stratum in STRATA:
        for name, known in (("known stack", True), ("unknown stack", False)):
            _line(f"{stratum}, {name}", [o for o in scored if o.row.stratum == stratum and o.known == known], spreads)
    print()
    for source in sorted({one.row.source for one in scored}):
        for stack in sorted({one.row.stack for one in scored if one.row.source == source}):
            for first in (False, True):
                chosen = [
                    one
                    for one in scored
                    if (one.row.source, one.row.stack) == (source, stack)
                    and (one.row.task == "serve-first-token") == first
                ]
                _line(f"{_short(source)} {stack}{' first token' if first else ''}", chosen, spreads)


def _short(source: str) -> str:
    return source.rpartition("(Apache-2.0): ")[2][:40]


def _line(title: str, scored: Sequence[Scored], spreads: dict[str, dict[str, float]]) -> None:
    if not scored:
        return
    errors = [math.expm1(abs(one.error)) for one in scored]
    naives = [math.expm1(abs(one.naive)) for one in scored]
    factors = [spreads[o.row.stratum]["known" if o.known else "unknown"] for o in scored]
    inside = sum(abs(one.error) <= math.log(factor) for one, factor in zip(scored, factors, strict=True))
    few = "  (few rows: no claim)" if len(scored) < FEWEST else ""
    print(
        f"{title:58} {len(scored):4} {quantile(errors, 0.5):7.0%} {quantile(errors, 0.9):6.0%}"
        f" {inside / len(scored):12.0%} {quantile(factors, 0.5) ** 2:7.1f}"
        f" {quantile(naives, 0.5):13.0%} {quantile(naives, 0.9):6.0%}{few}"
    )


def build() -> str:
    """The text of efficiency.json. About five minutes on one core."""
    rows = speed_fit.load()
    found = [spreads_of(leave_one_out(rows, GROUPS[name])) for name in ("source", "publisher", "model")]
    spreads = _widest(*found)
    # Our own loop has one publisher, so that only its models can be left out. What another GPU, whose host is another
    # one, may add is what a stack that nobody measured was seen to add.
    own, training = found[0][speed_fit.OWN_LOOP]["known"], spreads["training"]["unknown"]
    spreads[speed_fit.OWN_LOOP] = {"known": own, "unknown": max(training, found[1][speed_fit.OWN_LOOP]["known"])}
    # Today's engines were measured on three GPUs that are much alike: what another GPU adds is what it adds to the
    # engines before, where whole GPUs are left out.
    before = [row for row in rows if not row.today and not row.training]
    elsewhere = math.log(spreads_of(leave_one_out(before, GROUPS["gpu"]))["loaded"]["known"])
    for stratum in (f"{name} {stack}" for stack in TODAY for name in ("loaded", "first-token")):
        known = math.log(spreads[stratum]["known"])
        spreads[stratum]["unknown"] = round(math.exp(math.hypot(known, elsewhere)), 2)
    return constants(rows, spreads)


def _widest(*spreads: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        stratum: {name: max(one[stratum][name] for one in spreads) for name in ("known", "unknown")}
        for stratum in STRATA
    }


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
                "methods": sorted({row.features["method"] for row in rows if row.stack == stack}),
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
        for key in ("rows", "sources", "gpus", "methods"):
            values.pop(key)
        by = TrainingEfficiency(**values) if row.training else ServingEfficiency(**values)
        error = math.log(row.predict(by) / row.measured)
        scored.append(Scored(row, row.stack in listed, error, math.log(naive(row) / row.measured)))
    return scored


def shipped_spreads() -> dict[str, dict[str, float]]:
    """The spreads that ship."""
    spreads: dict[str, dict[str, float]] = json.loads(TARGET.read_text(encoding="utf-8"))["spread"]
    return spreads


def _unseen(values: Sequence[float], share: float) -> float:
    """The bound below which one more value of the same kind lies with this probability; the largest of few."""
    if not values:
        return 0.0
    return sorted(values)[min(len(values), math.ceil(share * (len(values) + 1))) - 1]


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of them stays within; 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    sys.exit(main())
