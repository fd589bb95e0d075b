"""`modelpick verify`: fail on any drift from the lock."""

from pathlib import Path
from typing import Annotated

import typer

from modelpick.cli.options import Offline, PolicyName
from modelpick.cli.output import Console, Output
from modelpick.cli.policy_options import ProductName, policy_for
from modelpick.errors import ModelpickError, RemoteError
from modelpick.licensing import lock as locks
from modelpick.licensing.judge_models import judge_pairs


def verify(
    out: Output,
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="Lock file. Default: modelpick.lock.json.")
    ] = None,
    policy: PolicyName = None,
    product: ProductName = None,
    offline: Offline = False,
) -> None:
    """Check that nothing has changed since the lock.

    Exit code: 0 nothing changed, 1 something did.
    """
    path = Path(file or locks.FILE)
    before = locks.load(path)
    chosen = policy_for(policy, product)
    answers = judge_pairs([entry.model for entry in before.models], policy=chosen, offline=offline)
    pairs = []
    for entry, answer in zip(before.models, answers, strict=True):
        if isinstance(answer, ModelpickError):
            if answer.code in ("model_not_found", "model_unknown") and not offline:
                continue  # a model that is gone is a drift, and reported as one
            raise answer
        if entry.revision is not None and answer[1].revision is None:
            raise RemoteError(
                f"{entry.model} was locked at a commit, and the Hub cannot be reached now",
                fix="try again when the Hub answers",
                code="hub_needed",
            )
        pairs.append(answer)
    drifts = locks.drift(before, locks.lock_of(pairs, chosen))
    payload = {
        "file": str(path),
        "verified": not drifts,
        "models": len(before.models),
        "drift": [drift.as_json() for drift in drifts],
        "assumptions": [],
        "sources": [],
    }

    def draw(console: Console) -> None:
        for drift in drifts:
            console.print(f"changed: {drift.text}", markup=False, soft_wrap=True)
        if drifts:
            changes = "1 change" if len(drifts) == 1 else f"{len(drifts)} changes"
            console.print(f"\n{changes} since {path}. Read them, then: modelpick lock ...", markup=False)
        else:
            plural = "" if len(before.models) == 1 else "s"
            console.print(f"{len(before.models)} model{plural} unchanged since {path}", markup=False)

    out.answer(payload, draw)
    if drifts:
        raise typer.Exit(1)
