"""`modelpick policy list|show|check|approve|reject`: what a company accepts."""

import datetime
from pathlib import Path
from typing import Annotated

import typer

from modelpick.cli.options import Offline, PolicyName
from modelpick.cli.output import VERDICT_COLOUR, Console, Output, styled
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
    file: Annotated[str, typer.Argument(metavar="FILE", help="Policy file, or facts such as words.toml.")],
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
    """Record a person's decision against a model.

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
    return {"policy": policy.as_json(), "title": policy.title, **policy.content()}


def _draw(console: Console, policy: Policy) -> None:
    console.print(styled((policy.name, "bold"), f" {policy.title}"))
    console.print(f"{policy.path}, sha256 {policy.sha256[:12]}", style="dim", markup=False)
    console.print("\ncompany", style="bold")
    _draw_facts(console, to_json(policy.company))
    for name in policy.company.products:
        console.print(styled((f"\nproduct {name}", "bold"), ": as the company, but for these"))
        own = to_json(policy.company.products[name])
        _draw_facts(console, {key: value for key, value in own.items() if value is not None})
    for purchase in policy.company.purchased:
        console.print(styled(("\nbought", "bold"), f" from {purchase.licensor}: contract {purchase.contract}"))
        begins = f"from {purchase.since} " if purchase.since else ""
        today = datetime.date.today().isoformat()
        over = "" if purchase.is_in_force(today) else " (not in force today: it opens nothing)"
        console.print(f"  {begins}until {purchase.until}{over}, for {', '.join(purchase.models)}", markup=False)
    console.print(styled(("\nrules", "bold"), ": a fact about a license, and the verdict it requires"))
    for key, value in to_json(policy.rules).items():
        if isinstance(value, dict):
            for inner, verdict in value.items():
                _draw_rule(console, f"{key}.{inner}", verdict)
        else:
            _draw_rule(console, key, value)
    for rule in policy.named_rules:
        named = {key: value for key, value in to_json(rule).items() if value not in (None, [], ())}
        verdict, because = named.pop("verdict"), named.pop("because")
        about = "; ".join(f"{key} {_shown(value)}" for key, value in named.items())
        console.print(styled("  ", (f"{verdict:10}", VERDICT_COLOUR[verdict]), f" {about} (because: {because})"))


def _draw_facts(console: Console, facts: dict[str, object]) -> None:
    for key, value in facts.items():
        if key not in ("products", "purchased"):
            console.print(f"  {key:22} {_shown(value)}", markup=False)


def _draw_rule(console: Console, key: str, verdict: str) -> None:
    console.print(styled(f"  {key:31} ", (verdict, VERDICT_COLOUR[verdict])))


def _shown(value: object) -> str:
    if value is None or value in ((), []):
        return "not given"
    if isinstance(value, tuple | list):
        return ", ".join(str(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.12g}" if isinstance(value, int | float) else str(value)


SUBCOMMANDS = {"list": list_, "show": show, "check": check, "approve": approve, "reject": reject}
