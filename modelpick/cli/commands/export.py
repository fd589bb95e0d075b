"""`modelpick export`: a model in another program's format, with the papers that go with it."""

from typing import Annotated

import typer

from modelpick.cli.options import Offline, PolicyName
from modelpick.cli.output import Console, Output
from modelpick.cli.policy_options import ProductName, judged_for
from modelpick.errors import UsageError
from modelpick.exports.gguf import TYPES, Exported, GgufRequest
from modelpick.exports.gguf import export as to_gguf
from modelpick.schema import to_json


def export(
    out: Output,
    asked: Annotated[
        str, typer.Argument(metavar="RUN|MODEL", help="A merged or full run, a model folder, or a Hub id.")
    ],
    to: Annotated[str, typer.Option("--to", metavar="gguf", help="The format to write.")] = "gguf",
    type_: Annotated[str, typer.Option("--type", metavar="|".join(TYPES), help="How the weights are held.")] = "q8_0",
    output: Annotated[
        str | None, typer.Option("--output", metavar="DIR", help="New folder. Default: NAME-gguf, here.")
    ] = None,
    converter: Annotated[
        str | None,
        typer.Option(
            "--converter",
            metavar="FILE",
            help="Converter of llama.cpp (convert_hf_to_gguf.py). Default: the one on PATH.",
        ),
    ] = None,
    policy: PolicyName = None,
    product: ProductName = None,
    reviewed_by: Annotated[
        str | None, typer.Option("--reviewed-by", metavar="NAME", help="Person who decided on a license to review.")
    ] = None,
    offline: Offline = False,
) -> None:
    """Export a model as GGUF, by llama.cpp's own converter.

    License texts and NOTICE are written next to the file. A folder that brings Python code of its own is refused, since
    the converter would run it.
    """
    if to != "gguf":
        raise UsageError(f"there is no format {to!r}", fix="use --to gguf", code="unknown_format")
    request = GgufRequest(asked, type_, output, converter, judged_for(policy, product), reviewed_by, offline)
    exported = to_gguf(request, out.note)
    out.answer({**to_json(exported), "sources": []}, lambda console: _draw(console, exported))


def _draw(console: Console, exported: Exported) -> None:
    console.print(f"wrote {exported.output}/{exported.file}", markup=False)
    size = f"{exported.size_bytes / 2**20:,.1f} MiB"
    console.print(f"{exported.architecture}, {exported.type}, {size}, by {exported.converter}", markup=False)
    console.print(f"license {exported.license.verdict} under policy {exported.license.policy}", markup=False)
    for owed in exported.license.obligations:
        console.print(f"- {owed.text}", markup=False)
    for text in exported.assumptions:
        console.print(f"note: {text}", markup=False)
    console.print(f"next: modelpick serve {exported.output}/{exported.file}", markup=False)
