"""`modelpick merge`: one ordinary model of an adapter and its base."""

from typing import Annotated

import typer

from modelpick.cli.options import Offline, PolicyName
from modelpick.cli.output import Console, Output
from modelpick.cli.policy_options import ProductName, judged_for
from modelpick.schema import to_json
from modelpick.training.merge import Merged, MergeRequest
from modelpick.training.merge import merge as run


def merge(
    out: Output,
    asked: Annotated[str, typer.Argument(metavar="RUN|ADAPTER", help="A run of finetune, or an adapter's folder.")],
    output: Annotated[
        str | None, typer.Option("--output", metavar="DIR", help="New folder. Default: merged in the adapter's.")
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", metavar="MODEL", help="Where the base lies now, if it was moved.")
    ] = None,
    policy: PolicyName = None,
    product: ProductName = None,
    reviewed_by: Annotated[
        str | None, typer.Option("--reviewed-by", metavar="NAME", help="Person who decided on a license to review.")
    ] = None,
    offline: Offline = False,
) -> None:
    """Merge an adapter into its base: one ordinary model.

    The base is loaded in 16 or 32 bits, as the run computed, whatever it was quantized to while it was trained.
    """
    request = MergeRequest(asked, output, base, judged_for(policy, product), reviewed_by, offline)
    merged = run(request, out.note)
    out.answer({**_as_json(merged)}, lambda console: _draw(console, merged))


def _as_json(merged: Merged) -> dict[str, object]:
    return {**to_json(merged), "sources": []}


def _draw(console: Console, merged: Merged) -> None:
    console.print(f"wrote {merged.output}", markup=False)
    at = f" at {merged.revision[:12]}" if merged.revision else ""
    console.print(f"{merged.model}: {merged.base}{at} with {merged.adapter}, in {merged.dtype}", markup=False)
    console.print(f"license {merged.license.verdict} under policy {merged.license.policy}", markup=False)
    for owed in merged.license.obligations:
        console.print(f"- {owed.text}", markup=False)
    for text in merged.assumptions:
        console.print(f"note: {text}", markup=False)
    console.print(f"next: modelpick serve {merged.output}", markup=False)
