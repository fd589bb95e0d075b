"""What `modelpick up` shows: what is about to be paid, the machine in service, what to do next."""

from collections.abc import Mapping
from typing import Any

from modelpick import schema
from modelpick.aws.location import LaunchLocation
from modelpick.aws.provision import RunningMachine
from modelpick.aws.spec import Spec
from modelpick.cli.output import Console
from modelpick.evaluation.score import ComparisonRow
from modelpick.planning.plan_file import Plan


def summary(spec: Spec, plan: Plan, location: LaunchLocation) -> str:
    """What is about to be started, and the most that it costs."""
    likely_hours = plan.work.likely_hours if plan.work else 0.0
    lines = [
        f"{plan.model.id}: {' and '.join(plan.tasks)}, deployment {spec.deployment}",
        f"  account {location.account} ({location.owner}), {spec.region}, {spec.market}, the first available of",
        *(f"    {candidate.instance_type:<14} ${candidate.usd_per_hour:.3f} an hour" for candidate in spec.candidates),
        f"  at most {spec.hours:.2f} h and ${spec.most_usd:.2f}: ${spec.hourly_usd:.3f} an hour with disk and address,",
        "  including the 20 minutes until the forced delete; results stay in a bucket of its own",
    ]
    if likely_hours > spec.hours:
        lines.append(f"  CAUTION: the job is expected to take {likely_hours:.2f} h, more than that")
    return "\n".join(lines)


def price_assumption(spec: Spec) -> str:
    """Which price the limit is computed from."""
    return f"the limit is computed at ${spec.hourly_usd:.4f} an hour: the most expensive type, its disk and address"


def in_service(machine: RunningMachine) -> str:
    """The machine, and what stops it."""
    return (
        f"{machine.deployment}: {machine.instance_type} {machine.instance_id} in {machine.zone} is in service\n"
        f"stops by itself at {machine.stop_at:%Y-%m-%d %H:%M} UTC (by force at {machine.delete_at:%H:%M}), "
        f"at most ${machine.most_usd:.2f}"
    )


def draw(console: Console, machine: RunningMachine, serves: bool, answer: Mapping[str, Any]) -> None:
    """The answer for a person: the machine, or what became of its job, and the commands that come next."""
    name, followed = machine.deployment, "progress" in answer
    lines = [f"results   {answer['results']}"] if followed else in_service(machine).splitlines()
    for row in answer.get("comparisons", ()):
        console.print(schema.read(ComparisonRow, row, code="bad_result", ignore_unknown=True).sentence, markup=False)
    hints = [(f"connect {name}", "its address on this computer, and its key")] if serves else []
    hints += [
        (f"logs {name} -f", "follow the job's log"),
        (f"status {name}", "hours, dollars, when it stops"),
        (f"down {name}", "end it now"),
    ]
    wide = max(len(words) for words, _ in hints)
    for line in (*lines, "", *(f"  modelpick {words:<{wide}}   {why}" for words, why in hints)):
        console.print(line, markup=False, soft_wrap=True)
