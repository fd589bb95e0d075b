"""`modelpick lock`: freeze revisions, license hashes and verdicts."""

from pathlib import Path
from typing import Annotated

import typer

from modelpick.cli.options import Offline, PolicyName
from modelpick.cli.output import Console, Output
from modelpick.cli.policy_options import ProductName, policy_for
from modelpick.errors import ModelpickError
from modelpick.licensing import lock as locks
from modelpick.licensing.judge_models import judge_pairs


def lock(
    out: Output,
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Hub ids or local folders.")],
    policy: PolicyName = None,
    product: ProductName = None,
    output: Annotated[
        str | None, typer.Option("--output", metavar="FILE", help="Lock file. Default: modelpick.lock.json.")
    ] = None,
    offline: Offline = False,
) -> None:
    """Freeze revisions, license hashes and verdicts.

    `modelpick verify` checks later that nothing has changed since.
    """
    chosen = policy_for(policy, product)
    pairs = []
    for answer in judge_pairs(models, policy=chosen, offline=offline):
        if isinstance(answer, ModelpickError):  # a lock that lacks a model would be taken for a complete one
            raise answer
        pairs.append(answer)
    frozen = locks.lock_of(pairs, chosen)
    path = Path(output or locks.FILE)
    locks.write(frozen, path)
    payload = {
        "file": str(path),
        "policy": {"name": frozen.policy, "sha256": frozen.policy_sha256},
        "models": [
            {"model": entry.model, "revision": entry.revision, "verdict": entry.verdict.value,
             "texts": dict(entry.texts)}
            for entry in frozen.models
        ],
        "assumptions": [],
        "sources": [],
    }  # fmt: skip

    def draw(console: Console) -> None:
        for entry in frozen.models:
            commit = entry.revision[:12] if entry.revision else "commit unknown"
            files = f"{len(entry.texts)} {'license file' if len(entry.texts) == 1 else 'license files'}"
            console.print(f"{entry.verdict.value:10} {entry.model} ({commit}, {files})", markup=False)
        console.print(f"\nwrote {path}: add it to version control\nnext: modelpick verify", markup=False)

    out.answer(payload, draw)
