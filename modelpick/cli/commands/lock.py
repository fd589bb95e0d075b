"""`modelpick lock`: freeze commits, texts, verdicts, obligations and the policy."""

import datetime
from pathlib import Path
from typing import Annotated

import typer

from modelpick import __version__
from modelpick.cli.bill_of_materials import BomFile, write_bom
from modelpick.cli.options import Offline, PolicyName
from modelpick.cli.output import VERDICT_COLOUR, Console, Output, styled
from modelpick.cli.policy_options import ProductName, policy_for
from modelpick.errors import ModelpickError
from modelpick.licensing import lock as locks
from modelpick.licensing.judge_models import judge_pairs
from modelpick.licensing.license_check import require_read


def lock(
    out: Output,
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Hub ids or local folders.")],
    policy: PolicyName = None,
    product: ProductName = None,
    output: Annotated[
        str | None, typer.Option("--output", metavar="FILE", help="Lock file. Default: modelpick.lock.json.")
    ] = None,
    bom: BomFile = None,
    offline: Offline = False,
) -> None:
    """Freeze commits, texts, verdicts, obligations and the policy.

    `modelpick verify` checks later that nothing has changed since. A model named as org/name@sha stays at that commit.
    """
    chosen = policy_for(policy, product)
    pairs = []
    for answer in judge_pairs(models, policy=chosen, offline=offline):
        if isinstance(answer, ModelpickError):  # a lock that lacks a model would be taken for a complete one
            raise answer
        require_read(answer[1])
        pairs.append(answer)
    today = datetime.date.today().isoformat()
    frozen = locks.lock_of(pairs, chosen, asked=models, modelpick=__version__, today=today)
    path = Path(output or locks.FILE)
    locks.write(frozen, path)
    written = write_bom(bom, [answer for _, answer in pairs], chosen.name)
    payload: dict[str, object] = {
        "file": str(path),
        "policy": chosen.as_json(),
        "modelpick": frozen.modelpick,
        "locked_on": frozen.locked_on,
        "models": [
            {"model": entry.model, "revision": entry.revision, "pinned": entry.pinned, "verdict": entry.verdict.value,
             "texts": dict(entry.texts), "obligations": [owed.as_json() for owed in entry.obligations]}
            for entry in frozen.models
        ],
        "assumptions": [],
        "sources": [],
    }  # fmt: skip
    if written:
        payload["written"] = [str(one) for one in written]
    out.answer(payload, lambda console: _draw(console, frozen, path))
    for one in written:
        out.note(f"wrote {one}")


def _draw(console: Console, frozen: locks.Lock, path: Path) -> None:
    for entry in frozen.models:
        console.print(styled((f"{entry.verdict.value:10}", VERDICT_COLOUR[entry.verdict.value]), f" {entry.model}"))
        commit = f"commit {entry.revision[:12]}" if entry.revision else "commit unknown"
        parts = [f"{commit} (pinned)" if entry.pinned else commit]
        parts += [
            _count(len(entry.texts) - 1, "text"),  # besides the card
            _count(len(entry.ancestors), "ancestor"),
            _count(len(entry.obligations), "obligation"),
        ]
        console.print(f"           {', '.join(parts)}", markup=False)
    product = f", product {frozen.product}" if frozen.product else ""
    console.print(f"\npolicy {frozen.policy}{product}, sha256 {frozen.policy_sha256[:12]}", markup=False)
    console.print(f"wrote {path}: add it to version control\nnext: modelpick verify", markup=False)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
