"""`modelpick policy list|show|check|approve`: what a company allows itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelpick.cli.options import Offline, PolicyName, command
from modelpick.cli.output import Output, styled
from modelpick.licensing.judge_models import APPROVALS, policy_in_force

if TYPE_CHECKING:
    from rich.console import Console

    from modelpick.licensing.policy import Policy


def register(app: typer.Typer) -> None:
    """Add the command group to the program."""
    group = typer.Typer(
        rich_markup_mode=None, no_args_is_help=True, help="License policies: list, show, check, approve."
    )
    command(group, "list")(list_)
    command(group, "show")(show)
    command(group, "check")(check)
    command(group, "approve")(approve)
    app.add_typer(group, name="policy")


def list_(out: Output) -> None:
    """List the policies that come with modelpick."""
    from modelpick.licensing import load

    policies = [load.load_policy(name) for name in load.policy_names()]
    payload = {
        "policies": [{**policy.as_json(), "title": policy.title} for policy in policies],
        "assumptions": [],
        "sources": [],
    }

    def draw(console: "Console") -> None:
        for policy in policies:
            console.print(styled((f"{policy.name:12}", "bold"), f" {policy.title}"))
        console.print("\nnext: modelpick policy show commercial; copy it to make your own: --policy FILE", markup=False)

    out.answer(payload, draw)


def show(
    out: Output,
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A policy.")] = "commercial",
) -> None:
    """Show a policy: company profile and rules, with your settings."""

    policy = policy_in_force(name)
    payload = {**_as_json(policy), "assumptions": [], "sources": [policy.path]}
    out.answer(payload, lambda console: _draw(console, policy))


def check(
    out: Output,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A policy file, or facts such as prose.toml.")],
) -> None:
    """Check a policy file.

    A misspelt key is refused with the key that was probably meant.
    """
    from modelpick.licensing import load

    path = Path(file)
    if load.is_facts(path):
        load.check_facts(path)
        told = {"valid": True, "facts": path.stem, "assumptions": [], "sources": [file]}
        out.answer(told, lambda console: console.print(f"{path.name}: sound", markup=False))
        return
    policy = load.load_policy(file)
    payload = {"valid": True, **_as_json(policy), "assumptions": [], "sources": [policy.path]}
    out.answer(
        payload, lambda console: console.print(f"{Path(policy.path).name}: sound, policy {policy.name}", markup=False)
    )


def approve(
    out: Output,
    model: Annotated[str, typer.Argument(metavar="MODEL@SHA", help="The model, at the commit that was reviewed.")],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides.")],
    because: Annotated[str, typer.Option("--because", metavar="TEXT", help="Why.")],
    until: Annotated[str, typer.Option("--until", metavar="DATE", help="The last day it holds, e.g. 2027-06-30.")],
    policy: PolicyName = None,
    offline: Offline = False,
) -> None:
    """Record a human's decision on a model in review.

    It is written to ./approvals.toml and holds for one commit, until a day.
    """
    import datetime
    from dataclasses import asdict

    from modelpick import api
    from modelpick.licensing import approvals

    judged = api.judge(model, policy=policy, offline=offline)
    today = datetime.date.today().isoformat()
    approval = approvals.approval_of(judged, policy_in_force(policy), by=by, because=because, until=until, today=today)
    approvals.record(approval, APPROVALS)
    payload = {"approval": asdict(approval), "file": str(APPROVALS), "assumptions": [], "sources": []}

    def draw(console: "Console") -> None:
        console.print(f"{approval.model}@{approval.revision[:12]}: approved by {approval.by} until {approval.until}")
        console.print(f"overrides: {', '.join(approval.overrides)}", markup=False)
        console.print(f"recorded in {APPROVALS}: commit it, so that others see it", markup=False)

    out.answer(payload, draw)


def _as_json(policy: "Policy") -> dict[str, object]:
    from dataclasses import asdict

    return {"policy": policy.as_json(), "company": asdict(policy.company), "rules": asdict(policy.rules)}


def _draw(console: "Console", policy: "Policy") -> None:
    from dataclasses import asdict

    console.print(styled((policy.name, "bold"), f" {policy.title}"))
    console.print(f"{policy.path}, sha256 {policy.sha256[:12]}", style="dim", markup=False)
    console.print("\ncompany", style="bold")
    for key, value in asdict(policy.company).items():
        console.print(f"  {key:22} {_said(value)}", markup=False)
    console.print(styled(("\nrules", "bold"), ": a fact about a license, and the verdict it demands"))
    for key, value in asdict(policy.rules).items():
        if isinstance(value, dict):
            for inner, verdict in value.items():
                console.print(f"  {key}.{inner:<{22 - len(key) - 1}} {verdict}", markup=False)
        else:
            console.print(f"  {key:22} {value}", markup=False)


def _said(value: object) -> str:
    if value is None or value == ():
        return "not said"
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
