"""A plan is data: what would be created, in which order, for how long, at what price, and what stops it. Pure.

`make` only reads facts and decides; it spends nothing, knows no clock and no network, and the same inputs give the same
bytes. What cannot be known without credentials or the Hub is null and listed under `unchecked`; `up` fills it in and
records it in the deployment, never here.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelpick.catalog.model import Model
from modelpick.licensing.verdict import Judgement, Verdict
from modelpick.memory.estimate import GIB, MemoryEstimate
from modelpick.memory.parts import PARTS
from modelpick.offers.chat_parsers import find, for_version, vllm_flags
from modelpick.offers.price import Offer
from modelpick.planning.caps import PlannedPlacement, within_caps
from modelpick.planning.choose import TUNABLE, Tuning, tuned_names
from modelpick.planning.cost import disk_gb
from modelpick.planning.data_tokens import Tokens
from modelpick.planning.engines import ONE_AFTER_ANOTHER, answered_at_once
from modelpick.planning.job import JobCost, JobTime
from modelpick.planning.launchable import flagless_problem, launch_problem
from modelpick.planning.load import carried_load
from modelpick.planning.placement import place
from modelpick.planning.plan_file import Plan
from modelpick.planning.plan_parts import (
    PlannedCandidate,
    PlannedCost,
    PlannedData,
    PlannedFacts,
    PlannedHours,
    PlannedJobCost,
    PlannedJobHours,
    PlannedLicense,
    PlannedMemory,
    PlannedModel,
    PlannedOffer,
    PlannedPolicy,
    PlannedRate,
    PlannedRecipe,
    PlannedRun,
    PlannedServingSpeed,
    PlannedSpeed,
    PlannedTime,
    PlannedUsd,
)
from modelpick.planning.rejection import NoPlan, Rejection
from modelpick.planning.request import DEFAULT_DATA_TEXT, Caps, PlanRequest, SearchFacts
from modelpick.planning.setups import Setup, findings_on
from modelpick.ranges import Range
from modelpick.schema import to_json
from modelpick.speed.speed import Calibration, ServingSpeed, Speed
from modelpick.workload import Workload

_TAKEN_CARE_OF = ("transformers_serve_open",)  # by `modelpick serve`, which puts a proxy with a key before it


def make(
    request: PlanRequest,
    offers: Sequence[Offer],
    caps: Caps,
    facts: SearchFacts,
    *,
    judgement: Judgement,
    policy: PlannedPolicy,
    region: str,
    named: PlannedFacts | None = None,
    judge: Callable[[Model], Judgement] | None = None,
) -> Plan:
    """The plan for `request` on the best of `offers`, which are those of one region and market; `named` says which
    facts all of it is from. `judge`: the verdict on a published copy, where the request names some.

    Raises NoPlan (a denied model, an excluded region, what cannot run or fit, caps too small for the job), UsageError
    for invalid input, CannotTellError for an architecture that is not understood.
    """
    _check_license(judgement, region)
    for _, workload in request.tasks:
        problem = flagless_problem(workload)
        if workload.task == "finetune":  # of a server only when its engine is settled: that there is none comes first
            problem = launch_problem(workload) or problem
        if problem is not None:
            raise problem
    found = place(request, offers, caps, facts)
    refusal = found if isinstance(found, Rejection) else found.refusal()
    if refusal is not None:
        if refusal.cause == "price_unknown":
            refusal = replace(refusal, reason=f"{refusal.reason}, so no plan can promise a limit in dollars")
        raise refusal.error(request.model.id)
    assert not isinstance(found, Rejection)
    chosen = within_caps(found, request, caps, facts)
    if isinstance(chosen, Rejection):
        raise chosen.error()
    setup = chosen[0].placement.setup
    for memory in chosen[0].placement.memories.values():
        if (problem := launch_problem(memory.workload)) is not None:
            raise problem
    copy_of = None
    if setup.model is not request.model:
        copy_of = request.model.id
        assert judge is not None  # who names copies can judge them
        judgement, request = judge(setup.model), replace(request, model=setup.model)
        _check_license(judgement, region)
    context = _Context(request, setup, facts, judgement, policy, region, named, copy_of)
    return _plan(context, chosen).sealed()


@dataclass(frozen=True, slots=True)
class _Context:
    """The input for the parts of a plan."""

    request: PlanRequest
    setup: Setup
    facts: SearchFacts
    judgement: Judgement
    policy: PlannedPolicy
    region: str
    named: PlannedFacts | None
    copy_of: str | None = None


def _check_license(judgement: Judgement, region: str) -> None:
    if judgement.verdict is not Verdict.DENY:
        return
    excluded = next((one.text for one in judgement.reasons if one.code == "excluded_region"), None)
    if excluded is not None:
        raise NoPlan(
            f"{judgement.model} may not run in {region}: {excluded}",
            fix="choose a --region that its license covers",
            code="region_excluded",
        )
    why = judgement.reasons[0].text if judgement.reasons else "the policy denies it"
    raise NoPlan(
        f"{judgement.model} is denied: {why}",
        fix="`modelpick recommend` lists models that the policy allows",
        code="license_denied",
    )


def _plan(context: _Context, chosen: Sequence[PlannedPlacement]) -> Plan:
    """The plan, not sealed yet."""
    request, setup, best, model = context.request, context.setup, chosen[0], context.request.model
    placement, judgement = best.placement, context.judgement
    return Plan(
        id="",
        tasks=tuple(task for task, _ in request.tasks),
        model=PlannedModel(model.id, model.revision, model.origin, bool(model.gated), context.copy_of),
        license=PlannedLicense(judgement.verdict, tuple(judgement.license_ids), tuple(judgement.obligations)),
        policy=context.policy,
        facts=context.named,
        workloads={task: memory.workload for task, memory in placement.memories.items()},
        chosen=tuple(sorted(tuned_names(request.finetune, request.unset))) if request.finetune else (),
        hyperparameters=_run(placement.tuning, request) if placement.tuning else None,
        data=_data(request.tokens) if request.tokens else None,
        memory={task: _memory(memory, best.offer) for task, memory in placement.memories.items()},
        region=context.region,
        market="spot" if best.offer.market == "spot" else "on-demand",
        instance_type=best.offer.instance.name,
        candidates=tuple(_candidate(row) for row in chosen),
        disk_gb=math.ceil(disk_gb(setup.weights_gb)),
        download_gb=setup.weights_gb,
        time=PlannedTime(
            *_ends(best.hours), request.serve is not None, _job_hours(placement.time) if placement.time else None
        ),
        cost=PlannedCost(*_ends(best.usd), best.usd_per_hour, _job_cost(placement.job) if placement.job else None),
        max_usd=best.limit_usd,
        max_hours=best.limit_hours,
        care=tuple(
            finding
            for finding in findings_on(setup, best.offer.instance)
            if finding.level == "care" and finding.code not in _TAKEN_CARE_OF
        ),
        unchecked=tuple(_unchecked(context)),
        assumptions=tuple(_assumptions(context, best)),
        sources=tuple(
            sorted({row.offer.source for row in chosen if row.offer.source} | set(context.facts.rates.sources))
        ),
    )


def _ends(figure: Range) -> tuple[float, float, float]:
    return figure.low, figure.likely, figure.high


def _run(tuning: Tuning, request: PlanRequest) -> PlannedRun:
    """The recipe, and the optimizer's steps where the rows are counted."""
    recipe, rows = tuning.recipe, request.tokens.rows if request.tokens else None
    steps = math.ceil(rows * recipe.epochs / recipe.effective_batch) if rows is not None else None
    return PlannedRun(**to_json(recipe), optimizer_steps=steps, columns=request.columns)


def _data(tokens: Tokens) -> PlannedData:
    return PlannedData(
        tokens.name, tokens.sha256, tokens.bytes, tokens.rows, tokens.counted, tokens.truncated_rows,
        *_ends(tokens.count),
    )  # fmt: skip


def _memory(memory: MemoryEstimate, offer: Offer) -> PlannedMemory:
    usable = offer.instance.usable_memory_gib
    return PlannedMemory(
        total_gib=memory.total / GIB,
        low_gib=memory.low / GIB,
        high_gib=memory.high / GIB,
        parts_gib={part: getattr(memory.parts, part) / GIB for part in PARTS},
        usable_gib=usable,
        headroom_gib=usable - memory.high / GIB,
    )


def _job_hours(time: JobTime) -> PlannedJobHours:
    return PlannedJobHours(
        *_ends(time.total), {part: PlannedHours(*_ends(hours)) for part, hours in time.parts.items()}
    )


def _job_cost(cost: JobCost) -> PlannedJobCost:
    return PlannedJobCost(*_ends(cost.total), {part: PlannedUsd(*_ends(usd)) for part, usd in cost.parts.items()})


def _candidate(row: PlannedPlacement) -> PlannedCandidate:
    placement, offer = row.placement, row.offer.as_json()
    tuning, training = placement.tuning, placement.training
    del offer["availability"]  # what is planned has a price: it is offered
    return PlannedCandidate(
        offer=PlannedOffer(**offer),
        headroom_gib=placement.headroom_gib,
        finetune=PlannedRecipe(*(getattr(tuning.workload, name) for name in TUNABLE)) if tuning else None,
        training=_speed(training) if training else None,
        serving=_serving_speed(row.serving) if row.serving else None,
        time=PlannedHours(*_ends(row.hours)),
        cost=PlannedRate(*_ends(row.usd), row.usd_per_hour),
        max_hours=row.limit_hours,
    )


def _speed(speed: Speed) -> PlannedSpeed:
    return PlannedSpeed(speed.tokens_per_s, speed.low, speed.high, speed.roof)


def _serving_speed(speed: ServingSpeed) -> PlannedServingSpeed:
    return PlannedServingSpeed(
        _speed(speed.generated), _speed(speed.prompt), speed.prompt_share, speed.seconds_to_first_token
    )


def _unchecked(context: _Context) -> list[str]:
    """Checks that need credentials or the Hub: `up` makes them before anything is paid."""
    request, model = context.request, context.request.model
    listed = [
        "quota: vCPUs left for the instance's class",
        "zones that offer the instance, and their capacity",
        "price: the live Price List",
        "machine image",
    ]
    if model.revision is None and model.origin != "folder":
        listed.append("commit of the model")
    if model.gated:
        listed.append("access to the gated repository")
    if context.judgement.verdict is Verdict.REVIEW:
        listed.append("license: a human must decide (`modelpick policy approve`)")
    if request.finetune is not None and request.tokens is None:
        listed.append(f"data: no file given, {DEFAULT_DATA_TEXT} assumed")
    return listed


def _standing(context: _Context, best: PlannedPlacement) -> list[str]:
    """What the speeds rest on, the rough ones first."""
    facts, gpu, placement = context.facts, best.offer.instance.gpu.name, best.placement
    found: list[Calibration[Any]] = []
    if placement.tuning is not None:
        tuned = placement.tuning.workload
        found.append(facts.training(tuned.stack, tuned.method))
    if placement.serving is not None:
        served = placement.serving.workload
        found.append(facts.serving(served.stack, served.method, served.stack_version))
    found.sort(key=lambda calibration: not calibration.rough(gpu))
    return [calibration.standing(gpu) for calibration in found]


def _chat_flags(context: _Context, served: Workload) -> list[str]:
    """The flags by which the planned server reads tool calls and reasoning; no template is at hand to hold them to."""
    model, table = context.request.model, context.facts.chat_parsers
    if served.stack == "llama.cpp":
        return [f"llama-server starts with {' '.join(table.llama_cpp.flags)}"]
    if served.stack != "vllm":
        return []
    model_type = str((model.config or {}).get("model_type", ""))
    row = find(table, model_type, (model.id, *(parent.id for parent in model.base_models)), None)
    row = for_version(table, row, served.stack_version) if row is not None else None
    flags = vllm_flags(row) if row is not None else ()
    said = [f"vLLM starts with {' '.join(flags)}"] if flags else []
    if row is not None and row.template is not None:
        said.append(f"tools need vLLM's {row.template} in the model's folder where its own chat template lacks them")
    if row is None or row.tool_parser is None:
        said.append(
            "no parser is known for its tool calls by its name: unless its template shows one, tools are refused"
        )
    return said


def _load(context: _Context, best: PlannedPlacement, served: Workload) -> list[str]:
    """How many servers the load takes within the limits that were asked for, where any were."""
    limits, facts = context.request.limits, context.facts
    if limits is None or not limits.asked:
        return []
    by = facts.serving(served.stack, served.method, served.stack_version)
    carried = carried_load(context.setup.shape, best.offer.instance, by, served, limits)
    return [f"load of {carried.asked(served.batch)}: {carried.text}; this plan starts one server"]


def _assumptions(context: _Context, best: PlannedPlacement) -> list[str]:
    facts, placement = context.facts, best.placement
    listed = [  # first what was never measured
        *_standing(context, best),
        "intervals hold 80 % of cases (memory: 90 %); low and high ends of the parts add up",
        f"disk, address and traffic at {facts.rates.region} prices of {facts.rates.as_of}",
    ]
    if placement.tuning is not None:
        listed.append("start, installation and evaluation: 2-10 min, 2-8 min, 0-67 % of the training time")
    if placement.serving is not None:
        served = placement.serving.workload
        listed += _load(context, best, served)
        listed.append("serving lasts until the limit")
        listed += _chat_flags(context, served)
        if answered_at_once(served) < served.batch:
            listed.append(ONE_AFTER_ANOTHER)
    if best.limit_hours < best.hours.high:
        listed.append(
            f"the limit of {best.limit_hours:.2f} h may cut it short: at worst it needs {best.hours.high:.2f} h"
        )
    if best.offer.market == "spot":
        listed.append("spot: the price is an old sample; the limit uses the on-demand price, up to which spot can rise")
        listed.append(
            "spot: none to one interruption a day, likely 20 % a month; each costs half a checkpoint and a restart"
        )
    if context.request.tokens is not None:
        listed += context.request.tokens.assumptions
    listed += [sentence for memory in placement.memories.values() for sentence in memory.assumptions]
    return list(dict.fromkeys(listed))
