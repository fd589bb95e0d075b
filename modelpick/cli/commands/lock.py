"""`modelpick lock`: freeze revisions, license hashes and verdicts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelpick.cli.options import Offline, PolicyName, command
from modelpick.cli.output import Output
from modelpick.errors import ModelpickError
from modelpick.licensing.judge_models import judge_pairs, policy_in_force

if TYPE_CHECKING:
    from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(app, "lock")(lock)


def lock(
    out: Output,
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Hub ids or local folders.")],
    policy: PolicyName = None,
    output: Annotated[
        str | None, typer.Option("--output", metavar="FILE", help="Default: modelpick.lock.json here.")
    ] = None,
    offline: Offline = False,
) -> None:
    """Freeze revisions, license hashes and verdicts.

    `modelpick verify` checks later that nothing has changed since.
    """
    from modelpick.licensing import lock as locks

    found = judge_pairs(models, policy=policy, offline=offline)
    for one in found:
        if isinstance(one, ModelpickError):  # a lock that lacks a model would be taken for a whole one
            raise one
    pairs = [one for one in found if not isinstance(one, ModelpickError)]
    frozen = locks.lock_of(pairs, policy_in_force(policy))
    path = Path(output or locks.FILE)
    locks.write(frozen, path)
    payload = {
        "file": str(path),
        "policy": {"name": frozen.policy, "sha256": frozen.policy_sha256},
        "models": [
            {"model": one.model, "revision": one.revision, "verdict": one.verdict.value, "texts": dict(one.texts)}
            for one in frozen.models
        ],
        "assumptions": [],
        "sources": [],
    }

    def draw(console: "Console") -> None:
        for one in frozen.models:
            commit = one.revision[:12] if one.revision else "no commit known"
            console.print(f"{one.verdict.value:10} {one.model} ({commit}, {len(one.texts)} terms files)", markup=False)
        console.print(f"\nfrozen in {path}: commit it\nnext: modelpick verify", markup=False)

    out.answer(payload, draw)
