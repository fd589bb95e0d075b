"""`modelpick status`: what runs, what it costs, what stops it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated

import typer

from modelpick.aws import status as statuses
from modelpick.aws.status import Seen, Status
from modelpick.cli import aws_options
from modelpick.cli.aws_options import Profile
from modelpick.cli.options import Region
from modelpick.cli.output import Console, Output
from modelpick.errors import EXIT_MAY_BE_BILLING, RemoteError, UsageError, nearest


def status(
    out: Output,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Deployment to show. Default: all.")] = None,
    every: Annotated[bool, typer.Option("--all-regions", help="Search every region of the account.")] = False,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Show deployments: state, cost so far, and when each stops."""
    account = aws_options.account(region, profile)
    seen = statuses.everywhere(account) if every else statuses.Seen(statuses.deployments(account), [account.region], {})
    found = list(seen.deployments)
    if name is not None:
        known = [item.deployment for item in found]
        if name not in known:
            near = nearest(name, known)
            fix = near or "modelpick status --all-regions lists every one"
            here = "in any region" if every else f"in {account.region}"
            raise UsageError(f"there is no deployment {name!r} {here}", fix=fix, code="unknown_deployment")
        found = [item for item in found if item.deployment == name]
    where = f"any region ({len(seen.regions)} searched)" if every else account.region

    def screen(console: Console) -> None:
        draw(console, found, where, account.now())
        if not every:
            console.print(f"in {account.region} only; in all regions: modelpick status --all-regions", markup=False)
        draw_unseen(console, seen.unseen)

    out.answer(payload(found, seen), screen)
    if any(item.unwatched for item in found):
        raise typer.Exit(EXIT_MAY_BE_BILLING)
    if seen.unseen:
        tell_unseen(seen.unseen)


def payload(found: list[Status], seen: Seen) -> dict[str, object]:
    """Deployments in the names of `status --json`; `unseen_regions` could not be searched, and why."""
    return {
        "deployments": [item.as_json() for item in found],
        "regions": list(seen.regions),
        "unseen_regions": dict(seen.unseen),
        "assumptions": ["dollars are the hours that Auto Scaling recorded times the prices at the start"],
        "sources": ["the account: tags, names, scaling activities"],
    }


def tell_unseen(unseen: Mapping[str, str]) -> None:
    """Regions that could not be searched may contain anything. Raises RemoteError."""
    region, why = next(iter(unseen.items()))
    raise RemoteError(
        f"{len(unseen)} region{'s' if len(unseen) > 1 else ''} could not be searched ({', '.join(unseen)}): {why}",
        fix=f"allow the policy of `modelpick doctor --aws --iam-policy` there, or retry: "
        f"modelpick status --region {region}",
        code="unseen_regions",
    )


def draw_unseen(console: Console, unseen: Mapping[str, str]) -> None:
    """A line for each region that could not be searched: it may contain anything."""
    for region, why in unseen.items():
        console.print(f"NOT SEARCHED: {region}: {why}", markup=False)


def draw(console: Console, found: list[Status], where: str, now: datetime) -> None:
    """One table, and the warnings below it."""
    from rich.table import Table

    if not found:
        console.print(f"modelpick has nothing in this account in {where}", markup=False)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("deployment", "region", "state", "machine"):
        table.add_column(title, no_wrap=True)
    for title in ("hours", "$ so far", "stops in"):
        table.add_column(title, justify="right", no_wrap=True)
    for item in found:
        hours = f"{item.hours:.2f}" if item.hours else "-"
        spent = "-" if not item.hours else ("unknown" if item.usd is None else f"{item.usd:.2f}")
        going = item.state in ("running", "starting")
        sure = item.stop_at is not None and item.stop_at > now
        stops = (left(item.stop_at - now) if sure and item.stop_at else "NEVER") if going else "-"
        kind = item.instance_type or "-"
        table.add_row(item.deployment, item.region, item.state, kind, hours, spent, stops)
    console.print(table)
    for item in found:
        if item.machine or item.progress.machine:
            state = " ".join(word for word in (item.machine, item.progress.text()) if word)
            console.print(f"{item.deployment}: {state}", markup=False)
        if item.unwatched:
            console.print(f"NOT SAFE: {item.deployment}: {'; '.join(item.problems)}", markup=False)
            console.print(f"  modelpick down {item.deployment} --region {item.region}", markup=False)


def left(time: timedelta) -> str:
    """A length of time such as 1 h 52 min."""
    minutes = max(int(time.total_seconds() // 60), 0)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
