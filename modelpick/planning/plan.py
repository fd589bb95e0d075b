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

from modelpick.errors import CannotTellError, UsageError, printable_json
from modelpick.licensing.verdict import Judgement, Verdict
from modelpick.memory.estimate import GIB, MemoryEstimate
from modelpick.planning import plan_tuning
from modelpick.planning.cost import disk_gb
from modelpick.planning.placement import ASSUMED_TOKENS, Ask, Candidate, Inputs, Refused, ask, candidates
from modelpick.planning.plan_actions import actions, stop_switches
from modelpick.planning.plan_tuning import Tuning

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

    def as_json(self) -> dict[str, Any]:
        """The plan file's content."""
        return dict(self.content)

    def to_bytes(self) -> bytes:
        """The plan file: one key a line, so that two plans can be compared line by line."""
        text = json.dumps(self.content, indent=1, ensure_ascii=False, allow_nan=False)
        return (printable_json(text) + "\n").encode()


def make(inputs: Inputs) -> Plan:
    """The plan for `inputs`.

    Raises Refused (a denied model, an excluded region, what cannot run or fit, caps too small for the job), UsageError
    for what cannot be meant, CannotTellError for an architecture that is not understood.
    """
    _check_license(inputs.judgement, inputs.region)
    asked = ask(inputs)
    for one in asked.findings():
        if one.level == "cannot":
            raise Refused(f"{inputs.model.id}: {one.why}", fix=one.way_out, code=one.code)
        if one.level == "unknown":
            raise CannotTellError(f"{inputs.model.id}: {one.why}", fix=one.way_out, code=one.code)
    return _sealed(_rounded(_content(asked, candidates(asked))))


def load(text: str) -> Plan:
    """A plan file. Raises UsageError where it is no plan, of another schema version, or was changed by hand."""
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
    return Plan(content)


def _sealed(body: dict[str, Any], *, first_list: bool = False) -> Plan:
    """The body with its id, and with the actions and switches that follow from it.

    `first_list`: with the actions that plan files of before modelpick's next release list.
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
        raise Refused(
            f"{judgement.model} may not run in {region}: {excluded}",
            fix="choose a --region that its license covers",
            code="region_excluded",
        )
    why = judgement.reasons[0].text if judgement.reasons else "the policy denies it"
    raise Refused(
        f"{judgement.model} is denied: {why}",
        fix="`modelpick recommend` lists models that the policy allows",
        code="license_denied",
    )


def _content(asked: Ask, chosen: Sequence[Candidate]) -> dict[str, Any]:
    inputs, best, model = asked.inputs, chosen[0], asked.inputs.model
    return {
        "tasks": [name for name, _ in inputs.tasks],
        "model": {"id": model.id, "revision": model.revision, "origin": model.origin, "gated": bool(model.gated)},
        "license": {
            "verdict": inputs.judgement.verdict.value,
            "ids": list(inputs.judgement.license_ids),
            "obligations": [one.as_json() for one in inputs.judgement.obligations],
        },
        "policy": dict(inputs.policy),
        "workloads": {name: one.workload.as_json() for name, one in best.setup.memory.items()},
        "chosen": sorted(plan_tuning.chosen(inputs.finetune, inputs.left_open)) if inputs.finetune else [],
        "hyperparameters": _hyperparameters(inputs, best.setup.tuning),
        "data": inputs.tokens.as_json() if inputs.tokens else None,
        "memory": {name: _memory(one, best) for name, one in best.setup.memory.items()},
        "region": inputs.region,
        "zones": None,
        "market": best.offer.market,
        "instance_type": best.offer.instance.name,
        "candidates": [_candidate(one) for one in chosen],
        "disk_gb": math.ceil(disk_gb(asked.weights_gb)),
        "download_gb": asked.weights_gb,
        "time": {
            **best.hours.as_json("hours"),
            "until_limit": inputs.serve is not None,
            "job": best.time.as_json() if best.time else None,
        },
        "cost": {
            **best.usd.as_json("usd"),
            "usd_per_hour": best.usd_per_hour,
            "job": best.job.as_json() if best.job else None,
        },
        "max_usd": best.limit_usd,
        "max_hours": best.limit_hours,
        "care": [one.as_json() for one in asked.findings(best.offer) if one.code not in _TAKEN_CARE_OF],
        "unchecked": _unchecked(inputs),
        "assumptions": _assumptions(asked, best),
        "sources": sorted({one.offer.source for one in chosen if one.offer.source} | set(inputs.rates.sources)),
    }


def _hyperparameters(inputs: Inputs, tuning: Tuning | None) -> dict[str, Any] | None:
    """The recipe, and the optimizer's steps where the rows are counted."""
    if tuning is None:
        return None
    recipe, rows = tuning.recipe, inputs.tokens.rows if inputs.tokens else None
    steps = math.ceil(rows * recipe.epochs / recipe.effective_batch) if rows is not None else None
    return {**recipe.as_json(), "optimizer_steps": steps}


def _memory(memory: MemoryEstimate, best: Candidate) -> dict[str, Any]:
    listed = memory.as_json()
    kept = {key: listed[key] for key in ("total_gib", "low_gib", "high_gib", "parts_gib")}
    usable = best.offer.instance.usable_memory_gib
    return {**kept, "usable_gib": usable, "headroom_gib": usable - memory.high / GIB}


def _candidate(one: Candidate) -> dict[str, Any]:
    return {
        "offer": one.offer.as_json(),
        "headroom_gib": one.headroom_gib,
        "finetune": one.setup.tuning.as_json() if one.setup.tuning else None,
        "training": one.training.as_json() if one.training else None,
        "serving": one.serving.as_json() if one.serving else None,
        "time": one.hours.as_json("hours"),
        "cost": {**one.usd.as_json("usd"), "usd_per_hour": one.usd_per_hour},
        "max_hours": one.limit_hours,
    }


def _unchecked(inputs: Inputs) -> list[str]:
    """What needs credentials or the Hub, and is settled by `up` before anything is paid."""
    listed = [
        "quota: vCPUs left for the instance's class",
        "zones that offer the instance, and their capacity",
        "price: the live Price List",
        "machine image",
    ]
    if inputs.model.revision is None and inputs.model.origin != "folder":
        listed.append("commit of the model")
    if inputs.model.gated:
        listed.append("access to the gated repository")
    if inputs.judgement.verdict is Verdict.REVIEW:
        listed.append("license: a human must decide (`modelpick policy approve`)")
    if inputs.finetune is not None and inputs.tokens is None:
        listed.append(f"data: no file given, {ASSUMED_TOKENS:,} tokens an epoch assumed")
    return listed


def _assumptions(asked: Ask, best: Candidate) -> list[str]:
    inputs, gpu = asked.inputs, best.offer.instance.gpu.name
    listed = [
        "intervals hold 80 % of cases (memory: 90 %); low and high ends of the parts add up",
        f"disk, address and traffic at {inputs.rates.region} prices of {inputs.rates.as_of}",
    ]
    if inputs.finetune is not None:
        listed.append(inputs.training(inputs.finetune.stack, inputs.finetune.method).standing(gpu))
        listed.append("start, installation and evaluation: 2-10 min, 2-8 min, 0-67 % of the training time")
    if inputs.serve is not None:
        listed.append(inputs.serving(inputs.serve.stack, inputs.serve.method).standing(gpu))
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
    if inputs.tokens is not None:
        listed += inputs.tokens.assumptions
    listed += [one for memory in best.setup.memory.values() for one in memory.assumptions]
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
