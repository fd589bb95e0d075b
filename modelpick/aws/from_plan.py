"""A plan (modelpick.plan) and what its user adds, as the spec of a machine. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelpick.aws.names import PREFIX, check_id
from modelpick.aws.spec import DELAY_HOURS, MARKETS, InstanceCandidate, Market, Spec, check
from modelpick.errors import UsageError, nearest
from modelpick.workload import workload_from

# Begins a run, or goes on with the one that is there: left by an interrupted machine, or by a process that was killed
# from outside (137: SIGKILL, the kernel's way when memory is short). Told to stop, the shell outlives its child, which
# still has a checkpoint to write: a dead main process would have systemd kill the rest.
_RESUMED = """told=
trap 'told=yes' TERM INT
for try in 1 2 3; do
  code=0
  {} $(test -e results/run/run.json && echo --resume || true) || code=$?
  [ $code -eq 137 ] && [ -z "$told" ] || break
done
[ -z "$told" ] || exit 130
[ $code -eq 0 ] || exit $code
"""
PLANNED = "planned.json"  # beside the job
_ROUNDING = 1.001  # a plan keeps six digits


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """What `up` takes beside the plan. None: as the plan says."""

    name: str | None = None
    max_usd: float | None = None
    max_hours: float | None = None
    market: str | None = None
    subnet: str | None = None
    kms_key: str | None = None
    permission_boundary: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    keep_results_days: int = 30
    idle_minutes: float = 30.0
    keep_data: bool = False


def spec_from(
    plan: Mapping[str, Any],
    wishes: LaunchOptions = LaunchOptions(),
    *,
    data: Sequence[str] = (),
    discounts: Mapping[str, float] | None = None,
    rules: Mapping[str, str] | None = None,
) -> Spec:
    """The machine that `plan` (a plan file's content) asks for. Raises UsageError for what contradicts it.

    The plan's cap is for the ordinary stop; the delay of the second switch comes on top of it, and is shown. A cap
    given to `up` itself holds for both. Candidates too dear for those hours within the cap, or too slow, are left out.
    """
    market = wishes.market or plan["market"]
    if market not in MARKETS:
        fix = nearest(str(market), MARKETS) or f"use one of {', '.join(MARKETS)}"
        raise UsageError(f"unknown market {market!r}", fix=fix, code="unknown_market")
    listed = [(_candidate(row, discounts or {}), float(row["cost"]["usd_per_hour"]), row) for row in plan["candidates"]]
    best, first, _ = listed[0]
    hours = wishes.max_hours or float(plan["max_hours"])
    cap = wishes.max_usd or max(float(plan["max_usd"]), hours * first) + DELAY_HOURS * first
    # The best one decides how long the money lasts; beside it stand those that are done by then and cost no more.
    hours = min(hours, cap / first - DELAY_HOURS)
    kept = [
        one
        for one, hourly, row in listed
        if one.cpu == best.cpu
        and (hours + DELAY_HOURS) * hourly <= cap * (1 + 1e-9)
        and ("serve" in plan["tasks"] or float(row["time"]["likely_hours"]) <= hours)
    ]
    return check(
        Spec(
            deployment=check_id(wishes.name or str(plan["id"]).removeprefix(f"{PREFIX}-")),
            region=str(plan["region"]),
            candidates=tuple(kept) or (best,),
            max_hours=hours,
            max_usd=cap,
            around_usd_per_hour=max(0.0, first - best.usd_per_hour),
            disk_gib=int(plan["disk_gb"]),
            job=job_of(plan, idle_minutes=wishes.idle_minutes, data=data, rules=rules, keep_data=wishes.keep_data),
            market=_market(market),
            subnet=wishes.subnet,
            kms_key=wishes.kms_key,
            permission_boundary=wishes.permission_boundary,
            tags=dict(wishes.tags),
            keep_results_days=wishes.keep_results_days,
            model=str(plan["model"]["id"]),
        )
    )


def job_of(
    plan: Mapping[str, Any],
    *,
    idle_minutes: float,
    data: Sequence[str] = (),
    rules: Mapping[str, str] | None = None,
    keep_data: bool = False,
) -> dict[str, Any]:
    """The job file: the very commands a user would type, in order, and the files they are typed beside.

    `rules`: what the machine judges licenses by (house_rules), since it judges again what was judged here.
    """
    model = plan["model"]["id"]
    pinned = f"{model}@{plan['model']['revision']}" if plan["model"]["revision"] else model
    commands = []
    if "finetune" in plan["tasks"]:
        commands.append(_finetune(plan, pinned, data))
    if "serve" in plan["tasks"]:
        commands.append(_serve(plan, "results/run" if commands else pinned))
    if "finetune" in plan["tasks"]:
        script = _RESUMED.format(_quoted(commands[0]))
        command = ["sh", "-uc", "".join([script, *(f"exec {_quoted(words)}\n" for words in commands[1:])])]
    else:
        command = commands[0]
    kind = "service" if "serve" in plan["tasks"] else "job"
    job = {"schema_version": 1, "command": command, "kind": kind, "idle_minutes": idle_minutes}
    vllm = {"vllm": True} if "serve" in plan["tasks"] and serves_with_vllm(plan) else {}
    kept = {"keep_data": True} if keep_data else {}  # data outlives the machine, until it expires
    files = {**_planned(plan), **(rules or {})}
    return {**job, **vllm, **kept, **({"files": files} if files else {})}


def serves_with_vllm(plan: Mapping[str, Any]) -> bool:
    """Whether `modelpick serve` will choose vLLM on the machine: by its own choice, over the same table. A model the
    catalog does not know is taken for one that vLLM serves."""
    from modelpick.catalog import index
    from modelpick.catalog.model import Model
    from modelpick.offers.rules import load_rules, subject_of
    from modelpick.serving.engines import ENGINES, choose
    from modelpick.workload import Workload

    tuned = plan["workloads"].get("finetune")
    model = index.load().find(plan["model"]["id"]) or Model(plan["model"]["id"], origin="hub")
    subject = subject_of(model, Workload(**plan["workloads"]["serve"]), adapter=tuned is not None)
    try:
        chosen = choose(load_rules(), subject, gpu=True, installed=dict.fromkeys(ENGINES, True))
    except UsageError:
        return False  # `serve` will say why
    return chosen.engine.name == "vllm"


def _finetune(plan: Mapping[str, Any], model: str, data: Sequence[str]) -> list[str]:
    workload = plan["workloads"]["finetune"]
    words = ["modelpick", "finetune", model, "--method", workload["method"], "--context", str(workload["context"])]
    if workload["gpus"] > 1:
        raise UsageError(
            f"the plan fine-tunes over {workload['gpus']} GPUs, and a machine's own command uses one",
            fix="make the plan for one GPU, with a smaller --method or a larger --instance",
            code="several_gpus",
        )
    chosen = plan.get("chosen", ())
    said = [name for name in ("batch", "gradient_accumulation") if name not in chosen]
    words += _asked_for(workload, (*said, "dtype", "lora_rank", "lora_targets", "optimizer"))
    if workload["gradient_checkpointing"] and "gradient_checkpointing" not in chosen:
        words += ["--gradient-checkpointing"]
    if _planned(plan):
        words += ["--planned", PLANNED]
    if epochs := (plan["hyperparameters"] or {}).get("epochs"):
        words += ["--epochs", f"{epochs:g}"]
    for name in data:
        words += ["--data", f"data/{name}"]
    return [*words, "--output", "results/run"]


def _serve(plan: Mapping[str, Any], served: str) -> list[str]:
    """What was planned for is what is served: method, context, answers, sequences at once."""
    workload = plan["workloads"]["serve"]
    words = ["modelpick", "serve", served, "--method", workload["method"]]
    words += ["--context", str(workload["context"]), "--generate", str(workload["generate"])]
    words += ["--concurrency", str(workload["batch"]), *_asked_for(workload, ("gpus",))]
    return [*words, "--key-file", "run/api-key", "--progress", "results/serve/progress.json"]


def _asked_for(workload: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Flags for what the plan was asked for; what it left at its default is chosen for the device, or the default."""
    usual = workload_from({"task": workload["task"], "method": workload["method"]}).as_json()
    asked = [name for name in names if workload[name] != usual[name]]
    return [word for name in asked for word in (f"--{name.replace('_', '-')}", str(workload[name]))]


def _planned(plan: Mapping[str, Any]) -> dict[str, str]:
    """The file that tells the machine what it was priced with, by the size of the GPU that it turns out to have."""
    from modelpick.offers import embedded

    settled: dict[float, Mapping[str, Any]] = {}
    for row in plan["candidates"]:
        if told := row.get("finetune"):
            usable = embedded.instance(row["offer"]["instance_type"]).usable_memory_gib
            settled.setdefault(usable, dict(told))
    if not settled:
        return {}
    method = plan["workloads"]["finetune"]["method"]
    gpus = [{"usable_gib": usable, "method": method, **one} for usable, one in settled.items()]
    return {PLANNED: json.dumps({"schema_version": 1, "gpus": gpus}, indent=1)}


def _quoted(words: Sequence[str]) -> str:
    import shlex

    return shlex.join(words)


def _candidate(row: Mapping[str, Any], discounts: Mapping[str, float]) -> InstanceCandidate:
    from modelpick.offers import embedded

    offer = row["offer"]
    kind = embedded.instance(offer["instance_type"])
    usd = offer["usd_per_hour"]
    if usd is None:
        raise UsageError(
            f"the price of {kind.name} in {offer['region']} is unknown",
            fix="make the plan again with live prices",
            code="no_price",
        )
    now = embedded.offer(kind.name, offer["region"]).discounted(discounts).usd_per_hour
    if offer["market"] == "spot":
        # A spot machine's limit is reckoned at the on-demand price: what an hour can cost at most.
        return InstanceCandidate(kind.name, max(float(usd), now or 0.0), kind.vcpus, kind.cpu)
    if now is not None and now > float(usd) * _ROUNDING:
        raise UsageError(
            f"the plan is older than its prices: {kind.name} was ${float(usd):.3f} an hour, and is ${now:.3f}",
            fix="make the plan again with `modelpick plan`",
            code="prices_changed",
        )
    return InstanceCandidate(kind.name, float(usd), kind.vcpus, kind.cpu)


def _market(name: str) -> Market:
    return next(known for known in MARKETS if known == name)
