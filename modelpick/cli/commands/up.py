"""`modelpick up`: a plan or a model becomes a running machine that stops by itself."""

import hashlib
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from modelpick import settings
from modelpick.aws import bundle, license_gate, live_prices, preflight, progress, provision, teardown
from modelpick.aws.account import Account
from modelpick.aws.from_plan import LaunchOptions, job_of, spec_from
from modelpick.aws.location import LaunchLocation
from modelpick.aws.names import ResourceNames
from modelpick.aws.provision import RunningMachine
from modelpick.aws.resources import Payload
from modelpick.aws.spec import Spec
from modelpick.cli import aws_options
from modelpick.cli.aws_options import Boundary, KmsKey, Profile, Subnet, Tags, Yes
from modelpick.cli.options import Run, amount
from modelpick.cli.output import Output, to_stderr
from modelpick.cli.plan_options import PlanOptions
from modelpick.cli.render import up as render
from modelpick.errors import EXIT_INTERRUPTED, UsageError
from modelpick.exports import cloudformation
from modelpick.files import read_text, write_atomically
from modelpick.planning.plan_file import Plan, load


def up(
    out: Output,
    *,
    target: Annotated[str, typer.Argument(metavar="PLAN|MODEL", help="Plan file, or a model to plan for.")],
    planned: PlanOptions,
    work: Run,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Deployment name.")] = None,
    market: Annotated[
        str | None,
        typer.Option("--market", metavar="on-demand|spot|spot-then-on-demand", help="Market to buy in."),
    ] = None,
    wait: Annotated[str, typer.Option("--wait", metavar="6h", help="Longest wait for capacity.")] = "15m",
    profile: Profile = None,
    expected_account: Annotated[
        str | None, typer.Option("--account", metavar="ID", help="Refuse any other AWS account.")
    ] = None,
    subnet: Subnet = None,
    kms_key: KmsKey = None,
    permission_boundary: Boundary = None,
    tag: Tags = None,
    keep_results: Annotated[
        str, typer.Option("--keep-results", metavar="DAYS", help="Time after which results expire.")
    ] = "30",
    keep_data: Annotated[
        bool, typer.Option("--keep-data", help="Keep the training data after the machine, until it expires.")
    ] = False,
    idle: Annotated[str, typer.Option("--idle", metavar="30m", help="Idle time after which the machine ends.")] = "30m",
    export: Annotated[
        Path | None,
        typer.Option("--cloudformation", metavar="FILE", help="Write a CloudFormation template instead of launching."),
    ] = None,
    follow: Annotated[
        bool | None,
        typer.Option(
            "--follow/--detach",
            help="Follow until it serves or the job is done. Default: follow in a terminal.",
        ),
    ] = None,
    confirm: Annotated[bool, typer.Option("--confirm", help="Accept live prices far from the embedded ones.")] = False,
    yes: Yes = False,
) -> None:
    """Launch what a plan describes. Sets up the automatic stop before starting anything billable.

    Then shows how far it is. Ctrl-C or --detach leaves it running; re-run the command to follow it again.
    """
    planned.check()
    waiting = aws_options.span("--wait", wait)
    options = LaunchOptions(
        name=name, max_usd=planned.most_usd, max_hours=planned.most_hours, market=market,
        subnet=subnet, kms_key=kms_key, permission_boundary=permission_boundary, tags=aws_options.tags(tag or []),
        keep_results_days=max(int(amount("--keep-results", keep_results) or 30), 1),
        idle_minutes=aws_options.span("--idle", idle).total_seconds() / 60, keep_data=keep_data,
    )  # fmt: skip
    plan = _plan(out, target, planned, work, market)
    data, discounts = planned.data, settings.load().discounts
    data_names = [data.name] if data else []
    policy = license_gate.policy_of(plan.policy, planned.policy)
    license_files = bundle.license_inputs(policy, plan.region)
    spec = spec_from(
        plan, options, policy=policy, offline=planned.offline, data=data_names, discounts=discounts,
        license_files=license_files,
    )  # fmt: skip
    judgement = license_gate.require(spec)
    if export is not None:
        _export(out, spec, export)
        return
    account = aws_options.account(spec.region, profile)
    # Prices first: the account is not asked about a type that is too expensive today.
    spec, price_notes = live_prices.at_todays_prices(
        account, spec, discounts=discounts, offline=planned.offline, accept_price_change=confirm
    )
    location = preflight.ready(account, spec, expected_account=expected_account)
    out.note("\n".join([render.summary(spec, plan, location), *(f"  {note}" for note in price_notes)]))
    aws_options.agree(out, f"Start it, for at most ${spec.most_usd:.2f}?", yes=yes)
    pinned = license_gate.pinned(plan, judgement)
    if pinned.model.revision is None and plan.model.origin != "folder":
        why = "--offline" if planned.offline else "the Hub could not be asked"
        out.note(f"the commit of {plan.model.id} is not pinned: {why}")
    if judgement.own_basis == "tag":
        out.note(f"{plan.model.id} was judged by its tag: the machine reads its terms before it trains or serves")
    job = job_of(
        pinned, idle_minutes=options.idle_minutes, data=data_names, license_files=license_files, keep_data=keep_data
    )
    payload = bundle.payload(
        spec, ResourceNames(spec.deployment, location.account, spec.region), job=job,
        data={data.name: data} if data else {}, hub_token=os.environ.get("HF_TOKEN"),
    )  # fmt: skip
    machine = _run(out, account, spec, payload, location, waiting)
    stays = sys.stderr.isatty() and not out.as_json if follow is None else follow
    followed = _follow(out, account, machine, spec.serves) if stays else {}
    assumptions = [render.price_assumption(spec), *price_notes]
    answer = {**machine.as_json(), **followed, "assumptions": assumptions, "sources": list(plan.sources)}
    out.answer(answer, lambda console: render.draw(console, machine, spec.serves, answer))


def _plan(out: Output, target: str, planned: PlanOptions, work: Run, market: str | None) -> Plan:
    """The plan of a file, or one made now for a model."""
    if not target.endswith(".json") and not Path(target).is_file():
        return planned.prepare(out, target, work, "spot" if market == "spot" else "on-demand")
    plan = load(read_text(target, code="bad_plan", fix="make it with `modelpick plan`"))
    planned.refuse_what_the_plan_fixes(work, plan.region)
    planned.check_data_for(plan)
    return plan


def _run(
    out: Output, account: Account, spec: Spec, payload: Payload, place: LaunchLocation, wait: timedelta
) -> RunningMachine:
    while True:
        try:
            return provision.up(account, spec, payload, place=place, wait=wait, report=out.note)
        except KeyboardInterrupt:
            if not _go_on(out, account, spec.deployment):
                raise typer.Exit(EXIT_INTERRUPTED) from None


def _follow(out: Output, account: Account, machine: RunningMachine, serves: bool) -> dict[str, object]:
    """Show how far it is until it serves or is done. Ctrl-C stops following, and says what keeps running."""

    out.note(render.in_service(machine))
    try:
        last = progress.follow(account, machine.deployment, out.note, serves=serves)
    except KeyboardInterrupt:
        to_stderr(
            f"\n{machine.deployment} keeps running, until {machine.stop_at:%Y-%m-%d %H:%M} UTC at the latest\n"
            f"  re-run the command to follow it; to end it: modelpick down {machine.deployment}\n"
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None
    names = ResourceNames(machine.deployment, account.identity()["Account"], account.region)
    return {
        "progress": last.as_json(), "comparisons": progress.comparisons(account, names),
        "results": f"s3://{names.bucket}/results/",
    }  # fmt: skip


def _go_on(out: Output, account: Account, deployment: str) -> bool:
    """After Ctrl-C: say what runs, ask what to do. Whether to continue."""

    names = ResourceNames(deployment, account.identity()["Account"], account.region)
    held = provision.switches_known(account, names)
    end = f"; it stops by itself at {held.stop_at:%Y-%m-%d %H:%M} UTC" if held and held.armed and held.stop_at else ""
    to_stderr(f"\ninterrupted: a machine of {deployment} may be on its way{end}\n")
    if out.as_json or not sys.stdin.isatty():
        to_stderr(f"  re-run the command to continue; to remove it: modelpick down {deployment}\n")
        return False
    choice = typer.prompt("[c]ontinue, take it [d]own, or [l]eave it", default="c", err=True).strip().lower()[:1]
    if choice == "d":
        teardown.down(account, deployment, report=out.note)
        to_stderr("nothing is left\n")
    return bool(choice == "c")


def _export(out: Output, spec: Spec, path: Path) -> None:
    if not path.name:
        raise UsageError(f"--cloudformation is {str(path)!r}", fix="name a file for the template", code="no_file")
    packed = bundle.build(spec.job)
    bundle_path = path.with_suffix(".bundle.tar.gz")
    write_atomically(bundle_path, packed, code="no_file", fix="choose another file")
    template = cloudformation.template_text(spec, hashlib.sha256(packed).hexdigest())
    write_atomically(path, template, code="no_file", fix="choose another file")
    out.answer(
        {
            "template": str(path),
            "bundle": str(bundle_path),
            "deployment": spec.deployment,
            "assumptions": [render.price_assumption(spec)],
            "sources": [],
        },
        lambda console: console.print(
            f"{path}: the deployment {spec.deployment} as a CloudFormation template\n"
            f"{bundle_path}: what its machine runs\n"
            "How it is launched and stopped: docs/exports.md",
            markup=False,
        ),
    )
