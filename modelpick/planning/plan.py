"""A plan is data: what would be created, in which order, for how long, at what price, and what stops it. Pure.

`make` only reads facts and decides; it spends nothing, knows no clock and no network, and the same inputs give the same
bytes. What cannot be known without credentials or the Hub is null and listed under `unchecked`; `up` fills it in and
records it in the deployment, never here.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelpick.errors import UsageError, printable_json
from modelpick.licensing.verdict import Judgement, Verdict
from modelpick.memory.estimate import GIB, MemoryEstimate
from modelpick.offers.price import Offer
from modelpick.planning.caps import PlannedPlacement, within_caps
from modelpick.planning.choose import Tuning, tuned_names
from modelpick.planning.cost import disk_gb
from modelpick.planning.placement import (
    ASSUMED_TOKENS,
    Caps,
    NoPlan,
    PlanRequest,
    Rejection,
    SearchFacts,
    Setup,
    findings_on,
    place,
)
from modelpick.planning.plan_actions import actions, stop_switches
from modelpick.planning.plan_file import PlannedDeployment, deployment_from

SCHEMA_VERSION = 1
KIND = "modelpick-plan"
_TAKEN_CARE_OF = ("transformers_serve_open",)  # by `modelpick serve`, which puts a proxy with a key before it
_DERIVED = ("schema_version", "kind", "id", "stop", "actions")


@dataclass(frozen=True, slots=True)
class Plan:
    """A finished plan. `content` is JSON; `id` follows from everything else in it."""

    content: Mapping[str, Any]

    @property
    def id(self) -> str:
        """What every resource of the deployment carries in its name."""
        return str(self.content["id"])

    @property
    def deployment(self) -> PlannedDeployment:
        """The plan as types. Raises UsageError(`bad_plan`) for a value that no plan of ours has."""
        return deployment_from(self.content)

    def as_json(self) -> dict[str, Any]:
        """The plan file's content."""
        return dict(self.content)

    def to_bytes(self) -> bytes:
        """The plan file: one key a line, so that two plans can be compared line by line."""
        text = json.dumps(self.content, indent=1, ensure_ascii=False, allow_nan=False)
        return (printable_json(text) + "\n").encode()


@dataclass(frozen=True, slots=True)
class PolicyName:
    """The policy that a plan was judged by."""

    name: str
    sha256: str


def make(
    request: PlanRequest,
    offers: Sequence[Offer],
    caps: Caps,
    facts: SearchFacts,
    *,
    judgement: Judgement,
    policy: PolicyName,
    region: str,
) -> Plan:
    """The plan for `request` on the best of `offers`, which are those of one region and market.

    Raises NoPlan (a denied model, an excluded region, what cannot run or fit, caps too small for the job), UsageError
    for what cannot be meant, CannotTellError for an architecture that is not understood.
    """
    _check_license(judgement, region)
    found = place(request, offers, caps, facts)
    refusal = found if isinstance(found, Rejection) else found.refusal()
    if refusal is not None:
        raise refusal.error(request.model.id)
    assert not isinstance(found, Rejection)
    chosen = within_caps(found, request, caps, facts)
    if isinstance(chosen, Rejection):
        raise chosen.error()
    context = _Context(request, found.setup, facts, judgement, policy, region)
    return _sealed(_rounded(_content(context, chosen)))


@dataclass(frozen=True, slots=True)
class _Context:
    """What the parts of a plan are written from."""

    request: PlanRequest
    setup: Setup
    facts: SearchFacts
    judgement: Judgement
    policy: PolicyName
    region: str


def load(text: str) -> Plan:
    """A plan file.

    Raises UsageError where it is not a plan, of another schema version, was changed by hand, or holds a value that no
    plan of ours has.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError("the plan file is not JSON", fix="make it again", code="bad_plan") from None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise UsageError("this file is not a plan", fix="make one with `modelpick plan MODEL`", code="bad_plan")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise UsageError(
            f"the plan has schema version {content.get('schema_version')}, this program reads {SCHEMA_VERSION}",
            fix="make it again with `modelpick plan MODEL`",
            code="plan_version",
        )
    body = {key: value for key, value in content.items() if key not in _DERIVED}
    try:
        whole = content in (_sealed(body).content, _sealed(body, first_list=True).content)
    except (KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise UsageError(
            "the plan was changed after it was made", fix="make it again with the options you want", code="plan_changed"
        )
    plan = Plan(content)
    plan.deployment  # noqa: B018 (whoever edits a plan can seal it again: every value is checked)
    return plan


def _sealed(body: dict[str, Any], *, first_list: bool = False) -> Plan:
    """The body with its id, and with the actions and switches that follow from it.

    `first_list`: with the actions that older plan files list.
    """
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    name = f"modelpick-{digest[:10]}"
    head = {"schema_version": SCHEMA_VERSION, "kind": KIND, "id": name}
    return Plan({**head, **body, "stop": stop_switches(body), "actions": actions(name, body, first_list=first_list)})


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


def _content(context: _Context, chosen: Sequence[PlannedPlacement]) -> dict[str, Any]:
    request, setup, best, model = context.request, context.setup, chosen[0], context.request.model
    memories, time, cost = best.placement.memories, best.placement.time, best.placement.job
    return {
        "tasks": [name for name, _ in request.tasks],
        "model": {"id": model.id, "revision": model.revision, "origin": model.origin, "gated": bool(model.gated)},
        "license": {
            "verdict": context.judgement.verdict.value,
            "ids": list(context.judgement.license_ids),
            "obligations": [obligation.as_json() for obligation in context.judgement.obligations],
        },
        "policy": {"name": context.policy.name, "sha256": context.policy.sha256},
        "workloads": {name: memory.workload.as_json() for name, memory in memories.items()},
        "chosen": sorted(tuned_names(request.finetune, request.unset)) if request.finetune else [],
        "hyperparameters": _hyperparameters(request, best.placement.tuning),
        "data": request.tokens.as_json() if request.tokens else None,
        "memory": {name: _memory(memory, best.offer) for name, memory in memories.items()},
        "region": context.region,
        "zones": None,
        "market": best.offer.market,
        "instance_type": best.offer.instance.name,
        "candidates": [_candidate(row) for row in chosen],
        "disk_gb": math.ceil(disk_gb(setup.weights_gb)),
        "download_gb": setup.weights_gb,
        "time": {
            **best.hours.as_json("hours"),
            "until_limit": request.serve is not None,
            "job": time.as_json() if time else None,
        },
        "cost": {
            **best.usd.as_json("usd"),
            "usd_per_hour": best.usd_per_hour,
            "job": cost.as_json() if cost else None,
        },
        "max_usd": best.limit_usd,
        "max_hours": best.limit_hours,
        "care": [
            finding.as_json()
            for finding in findings_on(setup, best.offer.instance)
            if finding.level == "care" and finding.code not in _TAKEN_CARE_OF
        ],
        "unchecked": _unchecked(context),
        "assumptions": _assumptions(context, best),
        "sources": sorted({row.offer.source for row in chosen if row.offer.source} | set(context.facts.rates.sources)),
    }


def _hyperparameters(request: PlanRequest, tuning: Tuning | None) -> dict[str, Any] | None:
    """The recipe, and the optimizer's steps where the rows are counted."""
    if tuning is None:
        return None
    recipe, rows = tuning.recipe, request.tokens.rows if request.tokens else None
    steps = math.ceil(rows * recipe.epochs / recipe.effective_batch) if rows is not None else None
    return {**recipe.as_json(), "optimizer_steps": steps}


def _memory(memory: MemoryEstimate, offer: Offer) -> dict[str, Any]:
    listed = memory.as_json()
    totals = {key: listed[key] for key in ("total_gib", "low_gib", "high_gib", "parts_gib")}
    usable = offer.instance.usable_memory_gib
    return {**totals, "usable_gib": usable, "headroom_gib": usable - memory.high / GIB}


def _candidate(row: PlannedPlacement) -> dict[str, Any]:
    placement = row.placement
    return {
        "offer": row.offer.as_json(),
        "headroom_gib": placement.headroom_gib,
        "finetune": placement.tuning.as_json() if placement.tuning else None,
        "training": placement.training.as_json() if placement.training else None,
        "serving": row.serving.as_json() if row.serving else None,
        "time": row.hours.as_json("hours"),
        "cost": {**row.usd.as_json("usd"), "usd_per_hour": row.usd_per_hour},
        "max_hours": row.limit_hours,
    }


def _unchecked(context: _Context) -> list[str]:
    """What needs credentials or the Hub, and is settled by `up` before anything is paid."""
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
        listed.append(f"data: no file given, {ASSUMED_TOKENS:,} tokens an epoch assumed")
    return listed


def _assumptions(context: _Context, best: PlannedPlacement) -> list[str]:
    facts, gpu, placement = context.facts, best.offer.instance.gpu.name, best.placement
    listed = [
        "intervals hold 80 % of cases (memory: 90 %); low and high ends of the parts add up",
        f"disk, address and traffic at {facts.rates.region} prices of {facts.rates.as_of}",
    ]
    if placement.tuning is not None:
        tuned = placement.tuning.workload
        listed.append(facts.training(tuned.stack, tuned.method).standing(gpu))
        listed.append("start, installation and evaluation: 2-10 min, 2-8 min, 0-67 % of the training time")
    if placement.serving is not None:
        served = placement.serving.workload
        listed.append(facts.serving(served.stack, served.method).standing(gpu))
        listed.append("serving lasts until the limit")
    if best.limit_hours < best.hours.high:
        listed.append(
            f"the limit of {best.limit_hours:.2f} h may cut it short: at worst it needs {best.hours.high:.2f} h"
        )
    if best.offer.market == "spot":
        listed.append("spot: the price is an old sample; the limit reckons with on-demand, which spot may rise to")
        listed.append(
            "spot: none to one interruption a day, likely 20 % a month; each costs half a checkpoint and a start"
        )
    if context.request.tokens is not None:
        listed += context.request.tokens.assumptions
    listed += [said for memory in placement.memories.values() for said in memory.assumptions]
    return list(dict.fromkeys(listed))


def _rounded(value: Any) -> Any:
    """Floats to six digits: what a plan says does not depend on the last bit of a machine's arithmetic."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return value
