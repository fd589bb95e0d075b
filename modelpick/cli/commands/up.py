"""`modelpick up`: a plan or a model becomes a running machine that nobody can forget."""

import hashlib
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelpick.cli import aws_options
from modelpick.cli.aws_options import Boundary, KmsKey, Profile, Subnet, Tags, Yes
from modelpick.cli.comparison import compared
from modelpick.cli.options import Run, amount, command
from modelpick.cli.output import Output, to_stderr
from modelpick.cli.plan_options import PlanOptions
from modelpick.errors import EXIT_INTERRUPTED, ModelpickError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from modelpick.aws.account import Account
    from modelpick.aws.location import LaunchLocation
    from modelpick.aws.provision import RunningMachine
    from modelpick.aws.resources import Payload
    from modelpick.aws.spec import Spec


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(app, "up")(up)


def up(
    out: Output,
    *,
    target: Annotated[str, typer.Argument(metavar="PLAN|MODEL", help="A plan file, or a model to plan for.")],
    planned: PlanOptions,
    work: Run,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="The deployment's name.")] = None,
    market: Annotated[
        str | None,
        typer.Option("--market", metavar="on-demand|spot|spot-then-on-demand", help="How to buy the machine."),
    ] = None,
    wait: Annotated[str, typer.Option("--wait", metavar="6h", help="How long to wait for capacity.")] = "15m",
    profile: Profile = None,
    expected_account: Annotated[
        str | None, typer.Option("--account", metavar="ID", help="Refuse any other AWS account.")
    ] = None,
    subnet: Subnet = None,
    kms_key: KmsKey = None,
    permission_boundary: Boundary = None,
    tag: Tags = None,
    keep_results: Annotated[str, typer.Option("--keep-results", metavar="DAYS", help="Results expire after.")] = "30",
    keep_data: Annotated[
        bool, typer.Option("--keep-data", help="The training data outlives the machine, until it expires.")
    ] = False,
    idle: Annotated[str, typer.Option("--idle", metavar="30m", help="End the machine after this long idle.")] = "30m",
    export: Annotated[
        Path | None, typer.Option("--cloudformation", metavar="FILE", help="Write a template instead; spends nothing.")
    ] = None,
    follow: Annotated[
        bool | None,
        typer.Option(
            "--follow/--detach",
            help="Stay until it serves or the job is done, or only until it runs. Default: stay in a terminal.",
        ),
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Believe live prices that are far from the embedded ones.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Launch what a plan describes. Sets up the automatic stop before starting anything billable.

    Then tells how far it is. Ctrl-C or --detach leaves it running; re-run the command to follow it again.
    """
    from modelpick import settings
    from modelpick.aws import bundle, license_gate, live_prices, preflight
    from modelpick.aws.from_plan import LaunchOptions, job_of, spec_from

    planned.check()
    waiting = aws_options.span("--wait", wait)
    days = amount("--keep-results", keep_results) or 30
    wishes = LaunchOptions(
        name=name, max_usd=planned.most_usd, max_hours=planned.most_hours, market=market,
        subnet=subnet, kms_key=kms_key, permission_boundary=permission_boundary, tags=aws_options.tags(tag or []),
        keep_results_days=max(int(days), 1), idle_minutes=aws_options.span("--idle", idle).total_seconds() / 60,
        keep_data=keep_data,
    )  # fmt: skip
    plan = _plan(out, target, planned, work, market)
    data, offline = planned.data, planned.offline
    names = [data.name] if data else []
    policy = license_gate.policy_of(plan["policy"]["name"], plan["policy"]["sha256"], planned.policy)
    rules = bundle.license_inputs(policy, str(plan["region"]))
    spec = spec_from(plan, wishes, data=names, discounts=settings.load().discounts, rules=rules)
    if export is not None:
        _export(out, spec, export)
        return
    account = aws_options.account(spec.region, profile)
    # Prices first: a type that is too dear today must not be among those the account is looked at for.
    spec, said = live_prices.at_todays_prices(
        account, spec, discounts=settings.load().discounts, offline=offline, accept_price_change=confirm
    )
    place = preflight.ready(account, spec, expected_account=expected_account)
    out.note("\n".join([_summary(spec, plan, place), *(f"  {text}" for text in said)]))
    aws_options.agree(out, f"Start it, for at most ${spec.most_usd:.2f}?", yes=yes)
    pinned = _pinned(out, plan, offline)
    job = job_of(pinned, idle_minutes=wishes.idle_minutes, data=names, rules=rules, keep_data=keep_data)
    payload = _payload(spec, place.account, job, data)
    machine = _run(out, account, spec, payload, place, waiting)
    stays = sys.stderr.isatty() and not out.as_json if follow is None else follow
    told = _follow(out, account, machine, spec.serves) if stays else {}
    assumptions = [_priced(spec), *said]
    answer = {**machine.as_json(), **told, "assumptions": assumptions, "sources": list(plan.get("sources", ()))}
    out.answer(answer, lambda console: _draw(console, machine, spec.serves, answer))


def _plan(out: Output, target: str, planned: PlanOptions, work: Run, market: str | None) -> dict[str, Any]:
    from modelpick.planning import plan as plans

    if target.endswith(".json") or Path(target).is_file():
        try:
            content = plans.load(Path(target).read_text(encoding="utf-8")).as_json()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{target} cannot be read: {error}", fix="make it with `modelpick plan`", code="bad_plan"
            ) from None
        planned.refuse_what_is_settled(work, content["region"])
    else:
        content = planned.prepare(out, target, work, "spot" if market == "spot" else "on-demand").as_json()
    if content["license"]["verdict"] == "review":
        raise ModelpickError(
            f"the license of {content['model']['id']} needs a human's decision first",
            fix=f"modelpick policy approve {content['model']['id']}, then "
            + ("make the plan again" if Path(target).is_file() else "re-run the command"),
            code="needs_review",
        )
    return content


def _pinned(out: Output, plan: dict[str, Any], offline: bool) -> dict[str, Any]:
    """The plan with the model's commit in it: what runs is what was looked at, not what the Hub has by then."""
    model = plan["model"]
    if model["revision"] or model["origin"] == "folder":
        return plan
    from modelpick.catalog import index, lookup

    found = lookup.look_up([model["id"]], catalog=index.load(), offline=offline).results[0]
    revision = None if isinstance(found, ModelpickError) else found.revision
    if revision is None:
        why = "--offline" if offline else "the Hub could not be asked"
        out.note(f"the commit of {model['id']} is not pinned: {why}")
    return {**plan, "model": {**model, "revision": revision}}


def _payload(spec: "Spec", account_id: str, job: dict[str, Any], data: Path | None) -> "Payload":
    from modelpick.aws import bundle
    from modelpick.aws.names import Names

    names = Names(spec.deployment, account_id, spec.region)
    files = {data.name: data} if data else {}
    return bundle.payload(spec, names, job=job, data=files, hub_token=os.environ.get("HF_TOKEN"))


def _run(
    out: Output, account: "Account", spec: "Spec", payload: "Payload", place: "LaunchLocation", wait: timedelta
) -> "RunningMachine":
    from modelpick.aws import provision

    while True:
        try:
            return provision.up(account, spec, payload, place=place, wait=wait, report=out.note)
        except KeyboardInterrupt:
            if not _go_on(out, account, spec.deployment):
                raise typer.Exit(EXIT_INTERRUPTED) from None


def _follow(out: Output, account: "Account", machine: "RunningMachine", serves: bool) -> dict[str, Any]:
    """Say how far it is until it serves or is done. Ctrl-C looks away, and says what goes on."""
    from modelpick.aws import status
    from modelpick.aws.names import Names

    out.note(_in_service(machine))
    try:
        last = status.follow(account, machine.deployment, out.note, serves=serves)
    except KeyboardInterrupt:
        to_stderr(
            f"\n{machine.deployment} goes on without you, until {machine.stop_at:%Y-%m-%d %H:%M} UTC at the latest\n"
            f"  the same command looks on; to end it: modelpick down {machine.deployment}\n"
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None
    names = Names(machine.deployment, account.identity()["Account"], account.region)
    return {
        "progress": last.as_json(), "comparisons": status.comparisons(account, names),
        "results": f"s3://{names.bucket}/results/",
    }  # fmt: skip


def _go_on(out: Output, account: "Account", deployment: str) -> bool:
    """After Ctrl-C: say what runs, ask what to do. Whether to continue."""
    from modelpick.aws import provision, teardown
    from modelpick.aws.names import Names

    names = Names(deployment, account.identity()["Account"], account.region)
    held = provision.switches_known(account, names)
    end = f"; it stops by itself at {held.stop_at:%Y-%m-%d %H:%M} UTC" if held and held.armed and held.stop_at else ""
    to_stderr(f"\ninterrupted: a machine of {deployment} may be on its way{end}\n")
    if out.as_json or not sys.stdin.isatty():
        to_stderr(f"  the same command continues; to remove it: modelpick down {deployment}\n")
        return False
    choice = typer.prompt("[c]ontinue, take it [d]own, or [l]eave it", default="c", err=True).strip().lower()[:1]
    if choice == "d":
        teardown.down(account, deployment, report=out.note)
        to_stderr("nothing is left\n")
    return bool(choice == "c")


def _export(out: Output, spec: "Spec", path: Path) -> None:
    from modelpick.aws import bundle, cloudformation

    packed = bundle.build(spec.job)
    beside = path.with_suffix(".bundle.tar.gz")
    try:
        beside.write_bytes(packed)
        path.write_text(cloudformation.template_text(spec, hashlib.sha256(packed).hexdigest()), encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", fix="choose another file", code="no_file"
        ) from None
    out.answer(
        {
            "template": str(path),
            "bundle": str(beside),
            "deployment": spec.deployment,
            "assumptions": [_priced(spec)],
            "sources": [],
        },
        lambda console: console.print(
            f"{path}: the deployment {spec.deployment} as a CloudFormation template\n{beside}: what its machine runs\n"
            "How it is launched and stopped: docs/exports.md",
            markup=False,
        ),
    )


def _summary(spec: "Spec", plan: dict[str, Any], place: "LaunchLocation") -> str:
    needs = plan.get("time") or {}
    if needs.get("until_limit"):  # a server has no end of its own: what must be done by then is the fine-tuning
        needs = needs["job"] or {}
    lines = [
        f"{plan['model']['id']}: {' and '.join(plan['tasks'])}, deployment {spec.deployment}",
        f"  account {place.account} ({place.owner}), {spec.region}, {spec.market}, the first that is free of",
        *(f"    {one.instance_type:<14} ${one.usd_per_hour:.3f} an hour" for one in spec.candidates),
        f"  at most {spec.hours:.2f} h and ${spec.most_usd:.2f}: ${spec.hourly_usd:.3f} an hour with disk and address,",
        "  the second switch's 20 minutes included; results stay in a bucket of its own",
    ]
    if needs.get("likely_hours") and needs["likely_hours"] > spec.hours:
        lines.append(f"  CARE: the job is reckoned at {needs['likely_hours']:.2f} h, more than that")
    return "\n".join(lines)


def _priced(spec: "Spec") -> str:
    return f"the limit is reckoned at ${spec.hourly_usd:.4f} an hour, the dearest type on demand with disk and address"


def _in_service(machine: "RunningMachine") -> str:
    return (
        f"{machine.deployment}: {machine.instance_type} {machine.instance_id} in {machine.zone} is in service\n"
        f"stops by itself at {machine.stop_at:%Y-%m-%d %H:%M} UTC (by force at {machine.delete_at:%H:%M}), "
        f"at most ${machine.most_usd:.2f}"
    )


def _draw(console: "Console", machine: "RunningMachine", serves: bool, told: dict[str, Any]) -> None:
    name, followed = machine.deployment, "progress" in told
    lines = [f"results   {told['results']}"] if followed else _in_service(machine).splitlines()
    for row in told.get("comparisons", ()):
        console.print(compared(row), markup=False)
    hints = [(f"connect {name}", "its address here, and the key to it")] if serves else []
    hints += [
        (f"logs {name} -f", "what it does"),
        (f"status {name}", "since when, for how much, until when"),
        (f"down {name}", "end it now"),
    ]
    wide = max(len(words) for words, _ in hints)
    for line in (*lines, "", *(f"  modelpick {words:<{wide}}   {why}" for words, why in hints)):
        console.print(line, markup=False, soft_wrap=True)
