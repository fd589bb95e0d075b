"""The spec of a machine, from a plan and its user's options. Reads embedded prices and facts; no network, no clock."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelpick.aws.names import PREFIX, check_id
from modelpick.aws.spec import DELAY_HOURS, MARKETS, InstanceCandidate, LicenseClaim, MachineJob, Market, Spec, check
from modelpick.errors import UsageError, nearest
from modelpick.licensing.policy import Policy
from modelpick.offers import embedded
from modelpick.planning.choose import TUNABLE
from modelpick.planning.cost import HOURS_PER_MONTH
from modelpick.planning.engines import engine_of
from modelpick.planning.launchable import SERVED, launch_problem
from modelpick.planning.plan_file import Plan
from modelpick.planning.plan_parts import PlannedOffer
from modelpick.planning.recipe import SHARED
from modelpick.schema import to_json
from modelpick.workload import Workload, workload_from

# Begins a run, or goes on with the one that is there: left by an interrupted machine, or by a process that was killed
# from outside (137: SIGKILL, the kernel's way when memory is short). On SIGTERM the shell outlives its child, which
# still has a checkpoint to write: a dead main process would have systemd kill the rest.
_RESUMED = """signaled=
trap 'signaled=yes' TERM INT
for try in 1 2 3; do
  code=0
  {} $(test -e results/run/run.json && echo --resume || true) || code=$?
  [ $code -eq 137 ] && [ -z "$signaled" ] || break
done
[ -z "$signaled" ] || exit 130
[ $code -eq 0 ] || exit $code
"""
PLANNED = "planned.json"  # next to the job file
_ROUNDING = 1.001  # a plan keeps six digits


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """What the user of `up` adds to the plan. None: as the plan says."""

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
    plan: Plan,
    options: LaunchOptions = LaunchOptions(),
    *,
    policy: Policy,
    offline: bool = False,
    data: Sequence[str] = (),
    discounts: Mapping[str, float] | None = None,
    license_files: Mapping[str, str] | None = None,
) -> Spec:
    """The machine that `plan` asks for. Raises UsageError for options that contradict it, and for outdated prices.

    `policy` is the one that the plan was made under; `offline`: the license is judged again from embedded facts alone.

    The plan's cap pays for the machine until its scheduled stop; the 20 minutes until the forced delete come on top of
    it, and are shown. A cap among the options pays for both. Candidates that are too expensive for those hours within
    the cap, or too slow, are left out.
    """
    market = options.market or plan.market
    if market not in MARKETS:
        fix = nearest(str(market), MARKETS) or f"use one of {', '.join(MARKETS)}"
        raise UsageError(f"unknown market {market!r}", fix=fix, code="unknown_market")
    priced = [_candidate(row.offer, discounts or {}) for row in plan.candidates]
    best, best_hourly = priced[0], plan.candidates[0].cost.usd_per_hour
    hours = options.max_hours or plan.max_hours
    cap = options.max_usd or max(plan.max_usd, hours * best_hourly) + DELAY_HOURS * best_hourly
    # The best candidate decides how long the budget lasts; the others must be done by then and cost no more.
    hours = min(hours, cap / best_hourly - DELAY_HOURS)
    job = job_of(
        plan, idle_minutes=options.idle_minutes, data=data, license_files=license_files, keep_data=options.keep_data
    )
    return check(
        Spec(
            deployment=check_id(options.name or plan.id.removeprefix(f"{PREFIX}-")),
            region=embedded.check_region(plan.region),
            candidates=_affordable(plan, priced, hours, cap),
            max_hours=hours,
            max_usd=cap,
            around_usd_per_hour=_around_usd_per_hour(plan, best_hourly - best.usd_per_hour),
            disk_gib=plan.disk_gb,
            job=job,
            market=_market(market),
            subnet=options.subnet,
            kms_key=options.kms_key,
            permission_boundary=options.permission_boundary,
            tags=dict(options.tags),
            keep_results_days=options.keep_results_days,
            model=plan.model.id,
            license=LicenseClaim(
                policy,
                plan.license.verdict,
                plan.license.ids,
                plan.model.revision,
                plan.download_gb,
                offline,
                tuple(workload for workload in (plan.finetune, plan.serve) if workload is not None),
            ),
        )
    )


def _affordable(
    plan: Plan, priced: Sequence[InstanceCandidate], hours: float, cap: float
) -> tuple[InstanceCandidate, ...]:
    """The candidates that share the best one's image, are done within `hours`, and cost no more than `cap`."""
    able = tuple(
        candidate
        for candidate, row in zip(priced, plan.candidates, strict=True)
        if candidate.cpu == priced[0].cpu
        and (hours + DELAY_HOURS) * row.cost.usd_per_hour <= cap * (1 + 1e-9)
        and ("serve" in plan.tasks or row.time.likely_hours <= hours)
    )
    return able or (priced[0],)


def _around_usd_per_hour(plan: Plan, planned: float) -> float:
    """Dollars an hour for the disk and the public address: as planned, but not below what they cost.

    A plan for a spot machine, or one that somebody changed, may leave nothing for them; the cap must still hold.
    """
    rates = embedded.billing_rates()
    least = plan.disk_gb * rates.gp3_usd_per_gb_month / HOURS_PER_MONTH + rates.public_ipv4_usd_per_hour
    return planned if planned >= least / _ROUNDING - 1e-4 else least


def job_of(
    plan: Plan,
    *,
    idle_minutes: float,
    data: Sequence[str] = (),
    license_files: Mapping[str, str] | None = None,
    keep_data: bool = False,
) -> MachineJob:
    """The job file: the commands that a user would type, in their order, and the files that belong to them.

    `license_files` are what the machine judges licenses by (bundle.license_inputs): it judges again before it trains.
    """
    model = f"{plan.model.id}@{plan.model.revision}" if plan.model.revision else plan.model.id
    finetune, serve = plan.finetune, plan.serve
    commands = []
    if finetune is not None:
        commands.append(_finetune(plan, finetune, model, data))
    if serve is not None:
        commands.append(_serve(serve, "results/run" if commands else model))
    if finetune is not None:
        script = _RESUMED.format(shlex.join(commands[0]))
        command = ["sh", "-uc", "".join([script, *(f"exec {shlex.join(words)}\n" for words in commands[1:])])]
    else:
        command = commands[0]
    return MachineJob(
        command=tuple(command),
        kind="job" if serve is None else "service",
        idle_minutes=idle_minutes,
        vllm=serve is not None and serves_with_vllm(serve),
        keep_data=keep_data,
        files={**_planned_file(plan), **(license_files or {})},
    )


def serves_with_vllm(serve: Workload) -> bool:
    """Whether the machine needs vLLM: the engine that the plan was priced with is the one that it starts."""
    return serve.stack == "vllm"


def _finetune(plan: Plan, workload: Workload, model: str, data: Sequence[str]) -> list[str]:
    words = ["modelpick", "finetune", model, "--method", workload.method, "--context", str(workload.context)]
    _require_launchable(workload)
    of_a_plan = (*TUNABLE, "method", "context")
    settled = [name for name in ("batch", "gradient_accumulation") if name not in plan.chosen]
    words += _flags(workload, (*settled, *(name for name in SHARED if name not in of_a_plan)))
    if workload.gradient_checkpointing and "gradient_checkpointing" not in plan.chosen:
        words += ["--gradient-checkpointing"]
    if _planned_file(plan):
        words += ["--planned", PLANNED]
    if plan.hyperparameters is not None and plan.hyperparameters.epochs:
        words += ["--epochs", f"{plan.hyperparameters.epochs:g}"]
    if plan.hyperparameters is not None and plan.hyperparameters.columns:
        words += ["--columns", plan.hyperparameters.columns]
    for name in data:
        words += ["--data", f"data/{name}"]
    return [*words, "--output", "results/run"]


def _serve(workload: Workload, served: str) -> list[str]:
    """The server as planned: engine, method, context, answers, concurrent requests, and what else differs."""
    _require_launchable(workload)
    words = ["modelpick", "serve", served, "--method", workload.method]
    words += ["--context", str(workload.context), "--generate", str(workload.generate)]
    named = ("method", "context", "generate", "batch")
    words += ["--concurrency", str(workload.batch), *_flags(workload, [name for name in SERVED if name not in named])]
    if (engine := engine_of(workload)) is not None:
        words += ["--engine", engine]
    return [*words, "--key-file", "run/api-key", "--progress", "results/serve/progress.json"]


def _require_launchable(workload: Workload) -> None:
    """Raises UsageError for what no plan of this version holds: one of another version, or one that somebody edited."""
    problem = launch_problem(workload)
    if problem is not None:
        raise problem


def _flags(workload: Workload, names: Sequence[str]) -> list[str]:
    """Flags for what differs from the defaults; the machine chooses the rest, or takes the default."""
    usual = workload_from({"task": workload.task, "method": workload.method})
    words = []
    for name in names:
        value = getattr(workload, name)
        if value != getattr(usual, name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def _planned_file(plan: Plan) -> dict[str, str]:
    """The file with the settings that were priced, by the memory of the GPUs that the machine may have."""
    if plan.finetune is None:
        return {}
    by_memory: dict[float, Mapping[str, Any]] = {}
    for row in plan.candidates:
        recipe = {} if row.finetune is None else to_json(row.finetune)
        settings = {name: value for name, value in recipe.items() if value is not None}
        if settings:
            usable = embedded.instance(row.offer.instance_type).usable_memory_gib
            by_memory.setdefault(usable, settings)
    if not by_memory:
        return {}
    gpus = [{"usable_gib": usable, "method": plan.finetune.method, **chosen} for usable, chosen in by_memory.items()]
    return {PLANNED: json.dumps({"schema_version": 1, "gpus": gpus}, indent=1)}


def _candidate(offer: PlannedOffer, discounts: Mapping[str, float]) -> InstanceCandidate:
    kind = embedded.instance(offer.instance_type)
    planned = offer.usd_per_hour
    if planned is None:
        raise UsageError(
            f"the price of {kind.name} in {offer.region} is unknown",
            fix="make the plan again with live prices",
            code="no_price",
        )
    now = embedded.offer(kind.name, offer.region).discounted(discounts).usd_per_hour
    if offer.market == "spot":
        # The limit of a spot machine is computed at the on-demand price: what an hour can cost at most.
        return InstanceCandidate(kind.name, max(planned, now or 0.0), kind.vcpus, kind.cpu)
    if now is not None and now > planned * _ROUNDING:
        raise UsageError(
            f"prices have risen since the plan: {kind.name} was ${planned:.3f} an hour, and is ${now:.3f}",
            fix="make the plan again with `modelpick plan`",
            code="prices_changed",
        )
    return InstanceCandidate(kind.name, planned, kind.vcpus, kind.cpu)


def _market(name: str) -> Market:
    return next(known for known in MARKETS if known == name)
