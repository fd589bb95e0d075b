"""`modelpick verify`: fail on any drift from the lock."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from modelpick import __version__
from modelpick.cli.options import Offline, PolicyName
from modelpick.cli.output import Console, Output, styled
from modelpick.cli.policy_options import ProductName, policy_for
from modelpick.errors import ModelpickError, RemoteError
from modelpick.licensing import archive
from modelpick.licensing import lock as locks
from modelpick.licensing.judge_models import judge_pairs


def verify(
    out: Output,
    file: Annotated[
        str | None,
        typer.Argument(metavar="[FILE]", help="Lock file, or a folder of evidence. Default: modelpick.lock.json."),
    ] = None,
    policy: PolicyName = None,
    product: ProductName = None,
    offline: Offline = False,
) -> None:
    """Check that nothing has changed since the lock.

    A folder that `license --evidence` wrote is checked against its own index. Exit code: 0 nothing changed, 1 something
    did.
    """
    path = Path(file or locks.FILE)
    if path.is_dir():
        _verify_evidence(out, path)
        return
    before = locks.load(path)
    chosen = policy_for(policy, product or before.product)
    pairs, names = [], []
    answers = judge_pairs([entry.name for entry in before.models], policy=chosen, offline=offline)
    for entry, answer in zip(before.models, answers, strict=True):
        if isinstance(answer, ModelpickError):
            was_on_hub = entry.revision is not None
            gone = answer.code == "model_not_found" or (answer.code == "model_unknown" and not was_on_hub)
            if gone and not offline:
                continue  # a model that is gone is a drift, and reported as one
            raise answer
        if entry.revision is not None and answer[1].revision is None:
            raise RemoteError(
                f"{entry.model} was locked at a commit, and the Hub cannot be reached now",
                fix="try again when the Hub answers",
                code="hub_needed",
            )
        pairs.append(answer)
        names.append(entry.name)
    drifts = locks.drift(before, locks.lock_of(pairs, chosen, asked=names, modelpick=__version__))
    payload = {
        "file": str(path),
        "verified": not drifts,
        "models": len(before.models),
        "drift": [drift.as_json() for drift in drifts],
        "policy": chosen.as_json(),
        "locked_on": before.locked_on,
        "locked_by": before.modelpick,
        "modelpick": __version__,
        "assumptions": [text for text in (_of_an_older_version(before, path),) if text],
        "sources": [],
    }
    out.answer(payload, lambda console: _draw(console, before, drifts, path))
    if drifts:
        raise typer.Exit(1)


def _verify_evidence(out: Output, folder: Path) -> None:
    found = archive.problems(folder)
    payload = {"file": str(folder), "verified": not found, "problems": list(found), "assumptions": [], "sources": []}

    def draw(console: Console) -> None:
        for problem in found:
            console.print(styled(("changed: ", "red"), problem), soft_wrap=True)
        if not found:
            console.print(styled("every file in ", str(folder), " is as its index says: ", ("unchanged", "green")))

    out.answer(payload, draw)
    if found:
        raise typer.Exit(1)


def _draw(console: Console, before: locks.Lock, drifts: tuple[locks.Drift, ...], path: Path) -> None:
    for drift in drifts:
        console.print(styled(("changed: ", "red"), drift.text), soft_wrap=True)
    when = f" of {before.locked_on}" if before.locked_on else ""
    if drifts:
        changes = "1 change" if len(drifts) == 1 else f"{len(drifts)} changes"
        console.print(f"\n{changes} since {path}{when}. Read them, then: {_command(before, path)}", markup=False)
    else:
        plural = "" if len(before.models) == 1 else "s"
        console.print(styled(f"{len(before.models)} model{plural} ", ("unchanged", "green"), f" since {path}{when}"))
    if text := _of_an_older_version(before, path):
        console.print(text, markup=False)


def _of_an_older_version(before: locks.Lock, path: Path) -> str | None:
    """What a lock of another version does not hold, and how to have it."""
    if before.modelpick is None:
        return (
            f"{path} was written by an older modelpick, without obligations, company and ancestors' texts. "
            f"To lock those too: {_command(before, path)}"
        )
    if before.modelpick != __version__:
        return f"{path} was written by modelpick {before.modelpick}; this is {__version__}"
    return None


def _command(before: locks.Lock, path: Path) -> str:
    names = " ".join(shlex.quote(entry.name) for entry in before.models)
    return f"modelpick lock {names}" + ("" if path == Path(locks.FILE) else f" --output {shlex.quote(str(path))}")
