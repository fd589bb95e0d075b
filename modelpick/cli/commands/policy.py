"""`modelpick policy list|show|check|approve|reject`: what a company accepts."""

import datetime
from pathlib import Path
from typing import Annotated

import typer

from modelpick.cli.options import Offline, PolicyName
from modelpick.cli.output import Console, Output, styled
from modelpick.cli.policy_options import ProductName, policy_for
from modelpick.licensing import approvals, load
from modelpick.licensing.judge_models import APPROVALS, judge_model, policy_in_force
from modelpick.licensing.policy import Policy
from modelpick.schema import to_json


def list_(out: Output) -> None:
    """List the policies that come with modelpick."""
    policies = [load.load_policy(name) for name in load.policy_names()]
    payload = {
        "policies": [{**policy.as_json(), "title": policy.title} for policy in policies],
        "assumptions": [],
        "sources": [],
    }

    def draw(console: Console) -> None:
        for policy in policies:
            console.print(styled((f"{policy.name:12}", "bold"), f" {policy.title}"))
        console.print("\nnext: modelpick policy show commercial; copy it to make your own: --policy FILE", markup=False)

    out.answer(payload, draw)


def show(
    out: Output, name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Policy name or file.")] = "commercial"
) -> None:
    """Show a policy: company profile and rules, with your settings."""

    policy = policy_in_force(name)
    payload = {**_as_json(policy), "assumptions": [], "sources": [policy.path]}
    out.answer(payload, lambda console: _draw(console, policy))


def check(
    out: Output,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Policy file, or facts such as prose.toml.")],
) -> None:
    """Check a policy file.

    A misspelt key is refused with the key that was probably meant.
    """
    path = Path(file)
    if load.is_facts(path):
        load.check_facts(path)
        answer = {"valid": True, "facts": path.stem, "assumptions": [], "sources": [file]}
        out.answer(answer, lambda console: console.print(f"{path.name}: valid", markup=False))
        return
    policy = load.load_policy(file)
    payload = {"valid": True, **_as_json(policy), "assumptions": [], "sources": [policy.path]}
    out.answer(
        payload, lambda console: console.print(f"{Path(policy.path).name}: valid, policy {policy.name}", markup=False)
    )


Decided = Annotated[str, typer.Argument(metavar="MODEL@SHA", help="Model at the reviewed commit: ORG/NAME@SHA.")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Person who decides.")]
Because = Annotated[str, typer.Option("--because", metavar="TEXT", help="Reason for the decision.")]
Until = Annotated[str, typer.Option("--until", metavar="DATE", help="Last day the decision is valid, e.g. 2027-06-30.")]


def approve(
    out: Output,
    model: Decided,
    by: By,
    because: Because,
    until: Until,
    policy: PolicyName = None,
    product: ProductName = None,
    offline: Offline = False,
) -> None:
    """Record a person's decision on a model in review.

    It is written to ./approvals.toml and is valid for one commit and the evidence it was given on, until a day.
    """
    _decide(out, model, by, because, until, policy_for(policy, product), offline=offline, reject=False)


def reject(
    out: Output,
    model: Decided,
    by: By,
    because: Because,
    until: Until,
    policy: PolicyName = None,
    product: ProductName = None,
    offline: Offline = False,
) -> None:
    """Record a person's decision against a model that the policy would allow.

    It is written to ./approvals.toml and is valid for every commit, until a day; it stands above approvals.
    """
    _decide(out, model, by, because, until, policy_for(policy, product), offline=offline, reject=True)


def _decide(
    out: Output, model: str, by: str, because: str, until: str, policy: Policy, *, offline: bool, reject: bool
) -> None:
    judgement = judge_model(model, policy=policy, offline=offline)
    today = datetime.date.today().isoformat()
    decision = approvals.approval_of(judgement, policy, by=by, because=because, until=until, today=today, reject=reject)
    approvals.record(decision, APPROVALS)
    payload = {"approval": to_json(decision), "file": str(APPROVALS), "assumptions": [], "sources": []}

    def draw(console: Console) -> None:
        done = "rejected" if reject else "approved"
        console.print(f"{decision.model}@{decision.revision[:12]}: {done} by {decision.by} until {decision.until}")
        if decision.overrides:
            console.print(f"overrides: {', '.join(decision.overrides)}", markup=False)
        models = len(decision.evidence) - 1
        console.print(f"bound to the evidence of {models} {'model' if models == 1 else 'models'}", markup=False)
        console.print(f"recorded in {APPROVALS}: add it to version control", markup=False)

    out.answer(payload, draw)


def _as_json(policy: Policy) -> dict[str, object]:
    return {"policy": policy.as_json(), "company": to_json(policy.company), "rules": to_json(policy.rules)}


def _draw(console: Console, policy: Policy) -> None:
    console.print(styled((policy.name, "bold"), f" {policy.title}"))
    console.print(f"{policy.path}, sha256 {policy.sha256[:12]}", style="dim", markup=False)
    console.print("\ncompany", style="bold")
    for key, value in to_json(policy.company).items():
        console.print(f"  {key:22} {_shown(value)}", markup=False)
    console.print(styled(("\nrules", "bold"), ": a fact about a license, and the verdict it requires"))
    for key, value in to_json(policy.rules).items():
        if isinstance(value, dict):
            for inner, verdict in value.items():
                console.print(f"  {key}.{inner:<{22 - len(key) - 1}} {verdict}", markup=False)
        else:
            console.print(f"  {key:22} {value}", markup=False)


def _shown(value: object) -> str:
    if value is None or value == ():
        return "unknown"
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


SUBCOMMANDS = {"list": list_, "show": show, "check": check, "approve": approve, "reject": reject}
