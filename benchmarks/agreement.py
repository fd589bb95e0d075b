"""Do the commands agree? Every model of the catalog, the set-ups people use, asked of four commands.

python benchmarks/agreement.py [--models N] [--base FILE] [--save FILE]

Prints for every set-up how many models have a place, how many of those places another command refuses, and how many
answers differ at all. `--save` writes the answers; `--base` reads those of another version and counts what two commands
answered there and no longer answer here: agreement must not come from refusing more.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelpick.catalog import index
from modelpick.catalog.model import Model
from modelpick.errors import ModelpickError
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.verdict import Judgement
from modelpick.offers import embedded
from modelpick.offers.instance import Families
from modelpick.planning import catalog_search, compare, plan, report
from modelpick.planning.filters import LeftOut
from modelpick.planning.placement import offers_for, place
from modelpick.planning.plan_parts import PlannedPolicy
from modelpick.planning.recommend import placement_of
from modelpick.planning.rejection import Rejection
from modelpick.planning.request import Caps, PlanRequest
from modelpick.planning.workloads import as_the_model_takes
from modelpick.workload import Workload, workload_from

FIXED = {"batch": 1, "gradient_accumulation": 1, "gradient_checkpointing": False}
SETUPS: Mapping[str, Mapping[str, Any]] = {
    "bf16": {"task": "serve", "method": "bf16", "generate": 512},
    "int8": {"task": "serve", "method": "int8", "generate": 512},
    "nf4": {"task": "serve", "method": "nf4", "generate": 512},
    "bf16 fp16": {"task": "serve", "method": "bf16", "dtype": "fp16"},
    "int8 fp16": {"task": "serve", "method": "int8", "dtype": "fp16"},
    "lora": {"task": "finetune", "method": "lora", **FIXED},
    "lora-int8": {"task": "finetune", "method": "lora-int8", **FIXED},
    "qlora": {"task": "finetune", "method": "qlora", **FIXED},
    "full": {"task": "finetune", "method": "full", **FIXED},
}
COMMANDS = ("estimate", "cost", "plan", "recommend")


@dataclass(frozen=True, slots=True)
class Told:
    """What one command says: the instance type, or the cause for which it names none."""

    instance: str | None
    cause: str | None


def ask(model: Model, options: Mapping[str, Any]) -> dict[str, Told]:
    """What each command says on one model and one set-up, over the default offers of us-east-1."""
    try:
        workload = as_the_model_takes(model, workload_from(options), options)
    except ModelpickError as error:  # the same for every command, before anything else is asked
        return dict.fromkeys(COMMANDS, Told(None, error.code))
    return {
        "estimate": _told(lambda: _estimate(model, workload)),
        "cost": _told(lambda: _cost(model, workload)),
        "plan": _told(lambda: _plan(model, workload)),
        "recommend": _told(lambda: _recommend(model, workload)),
    }


def disagreements(told: Mapping[str, Told]) -> list[str]:
    """The commands whose answer is not estimate's."""
    return [name for name in COMMANDS if told[name] != told["estimate"]]


def _told(answer: Any) -> Told:
    try:
        named = answer()
    except ModelpickError as error:
        return Told(None, error.code)
    return named if isinstance(named, Told) else Told(named, None)


def _estimate(model: Model, workload: Workload) -> Told:
    made = report.report(model, workload, embedded.offers(), catalog_search.facts())
    if made.refusal is not None:
        return Told(None, made.refusal.code)
    assert made.on is not None
    return Told(made.on.instance.name, None)


def _request(model: Model, workload: Workload, unset: frozenset[str] = frozenset()) -> PlanRequest:
    if workload.task == "serve":
        return PlanRequest(model, serve=workload)
    return PlanRequest(model, finetune=workload, unset=unset)


def _offers(workload: Workload) -> Sequence[Any]:

    return offers_for(embedded.offers(), Families(gpu_class="G"), None, workload.gpus)


def _cost(model: Model, workload: Workload) -> Told:
    request, facts = _request(model, workload), catalog_search.facts()
    found = place(request, _offers(workload), Caps(), facts)
    if isinstance(found, Rejection):
        return Told(None, found.code)
    rows = compare.compare(found, request, compare.CostOptions(), facts)
    if rows.refusal is not None:
        return Told(None, rows.refusal.code)
    return Told(rows.rows[0].offer.instance.name, None)


def _plan(model: Model, workload: Workload) -> Told:
    made = plan.make(
        _request(model, workload), _offers(workload), Caps(), catalog_search.facts(),
        judgement=Judgement(model.id, None, Verdict.ALLOW, (), (), ()), policy=PlannedPolicy("none", ""),
        region="us-east-1",
    )  # fmt: skip
    return Told(made.instance_type, None)


def _recommend(model: Model, workload: Workload) -> Told:
    found = placement_of(_request(model, workload), _offers(workload), Caps(), catalog_search.search)
    if isinstance(found, LeftOut):
        return Told(None, None if found.code == "cannot_run" else found.code)
    if found.offer.usd_per_hour is None:  # a row of the table, at an unknown price: the others name no instance
        return Told(None, "no_price")
    return Told(found.offer.instance.name, None)


def refused_elsewhere(told: Mapping[str, Told]) -> bool:
    """Whether some command names an instance while another names none."""
    return len({told[name].instance is None for name in COMMANDS}) > 1


def main() -> int:
    """Prints the table; exit 1 where two commands disagree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=int, help="only the most downloaded")
    parser.add_argument("--base", type=Path)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    models = sorted(index.load().models.values(), key=lambda model: -(model.downloads or 0))[: options.models]
    answers: dict[str, dict[str, dict[str, str | None]]] = {}
    bad = 0
    print(f"{len(models)} models\n{'set-up':<12}{'placed':>8}{'refused elsewhere':>19}{'differ':>8}")
    for name, setup in SETUPS.items():
        counts: Counter[str] = Counter()
        for model in models:
            told = ask(model, setup)
            counts["placed"] += told["estimate"].instance is not None
            counts["refused"] += refused_elsewhere(told)
            differ = {told[command].instance for command in COMMANDS}
            counts["differ"] += len(differ) > 1
            if len(differ) > 1 and counts["differ"] <= 3:
                print(f"  {model.id}: {told}", file=sys.stderr)
            answers.setdefault(name, {})[model.id] = {command: told[command].instance for command in COMMANDS}
        bad += counts["refused"] + counts["differ"]
        print(f"{name:<12}{counts['placed']:>8}{counts['refused']:>19}{counts['differ']:>8}", flush=True)
    if options.save:
        options.save.write_text(json.dumps(answers), encoding="utf-8")
    if options.base:
        _against(json.loads(options.base.read_text(encoding="utf-8")), answers)
    return 1 if bad else 0


def _against(base: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """How many answers that estimate and cost both gave before are still given by both."""
    before = kept = 0
    for setup, models in base.items():
        for model, told in models.items():
            if told.get("estimate") and told.get("cost") and model in here.get(setup, {}):
                before += 1
                both = here[setup][model]["estimate"] and here[setup][model]["cost"]
                kept += bool(both)
                if not both:
                    print(f"  no longer answered by both: {setup} {model}", file=sys.stderr)
    print(f"answered by estimate and cost before: {before}; still by both: {kept}")


if __name__ == "__main__":
    sys.exit(main())
