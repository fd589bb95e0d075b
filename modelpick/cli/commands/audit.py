"""`modelpick audit`: which models does a code base use, and may it?"""

import json
from pathlib import Path
from typing import Annotated

import typer

from modelpick.audit.run import Audit, Use
from modelpick.audit.run import audit as run
from modelpick.audit.sarif import as_sarif
from modelpick.cli.bill_of_materials import BomFile, write_bom
from modelpick.cli.options import Offline, PolicyName, one_of, policy_asked
from modelpick.cli.output import VERDICT_EXIT, Console, Output, answer_json, styled, worst
from modelpick.cli.policy_options import ProductName, judged_for
from modelpick.errors import ModelpickError, UsageError
from modelpick.files import write_atomically
from modelpick.licensing.verdict import Judgement

_COLOUR = {"allow": "green", "conditions": "yellow", "review": "magenta", "deny": "red", "error": "red"}
_FORMATS = ("text", "json", "sarif")


def audit(
    out: Output,
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH", help="Folders or files. Default: this folder.")
    ] = None,
    commercial: Annotated[bool, typer.Option("--commercial", help="The same as --policy commercial.")] = False,
    policy: PolicyName = None,
    product: ProductName = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="GLOB", help="Files and folders to leave out; repeatable.")
    ] = None,
    docs: Annotated[bool, typer.Option("--docs", help="Also read the code blocks in Markdown files.")] = False,
    format: Annotated[str, typer.Option("--format", metavar="text|json|sarif", help="Format of stdout.")] = "text",
    sarif: Annotated[str | None, typer.Option("--sarif", metavar="FILE", help="Also write a SARIF 2.1.0 file.")] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="GLOB", help="Models to leave out, by id; repeatable.")
    ] = None,
    own: Annotated[
        list[str] | None, typer.Option("--own", metavar="GLOB", help="Your own models, not judged; repeatable.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="FILE|COMMIT", help="Count only what is new since this audit or commit."),
    ] = None,
    bom: BomFile = None,
    offline: Offline = False,
) -> None:
    """Judge every model that a code base names, with file and line.

    Exit code: 0 yes (or on conditions), 1 no, 3 a person must decide, 4 a model could not be looked up.
    """
    one_of("--format", format, _FORMATS)
    if out.as_json and format == "sarif":
        raise UsageError(
            "--json and --format sarif contradict each other", fix="give one of them", code="contradiction"
        )
    chosen = judged_for(policy_asked(commercial, policy), product)
    found = run(
        paths or ["."], policy=chosen, offline=offline, exclude=exclude or [], docs=docs, ignore=ignore or [],
        own=own or [], since=since,
    )  # fmt: skip
    if sarif is not None:
        _write_sarif(found, sarif)
    judged = [use.answer for use in found.uses if not isinstance(use.answer, ModelpickError)]
    for path in write_bom(bom, judged, found.policy.name):
        out.note(f"wrote {path}")
    _answer(out, found, format)
    _tell_the_rest(out, found)
    new = [use for use in found.uses if not use.before]
    code = worst((
        *(use.answer.exit_code if isinstance(use.answer, ModelpickError) else VERDICT_EXIT[use.word] for use in new),
        *(VERDICT_EXIT[use.verdict.value] for use in found.data if since is None),
    ))  # fmt: skip
    if code:
        raise typer.Exit(code)


def _answer(out: Output, found: Audit, format: str) -> None:
    if format == "sarif":
        answer_json(as_sarif(found, Path.cwd()), indent=2)
        return
    speaker = Output(True, out.quiet, out.verbose, out.debug) if format == "json" else out
    speaker.answer(found.as_json(), lambda console: _draw(console, found))


def _draw(console: Console, found: Audit) -> None:
    new = [use for use in found.uses if not use.before]
    rows = [(place, use.word, f"{_model(use)}: {use.why}") for use in new for place in use.locations]
    rows += [
        (place, use.verdict.value, f"data set {use.id}: {'; '.join(use.reasons)}")
        for use in found.data
        if use.restricted
        for place in use.locations
    ]
    for place, word, text in sorted(rows, key=lambda row: (row[0].path, row[0].line, row[0].column)):
        where, verdict = f"{place.path}:{place.line}:{place.column}: ", (word, f"bold {_COLOUR[word]}")
        console.print(styled(where, verdict, f" {text}"), soft_wrap=True)
    counts = {word: sum(use.word == word for use in new) for word in _COLOUR}
    tally = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "none"
    kind = "models" if len(new) == len(found.uses) else "new models"
    console.print(f"{len(new)} {kind} in {found.scan.files} files under {found.policy.name}: {tally}", markup=False)


def _model(use: Use) -> str:
    return use.asked.id if use.asked.revision is None else f"{use.asked.id}@{use.asked.revision[:12]}"


def _tell_the_rest(out: Output, found: Audit) -> None:
    """What the answer does not cover: files not read, models chosen at run time. Counted, and listed with -v."""
    for file, keys in found.settings.items():
        out.note(f"{file} sets {', '.join(keys)} for this audit")
    by_tag = sum(isinstance(use.answer, Judgement) and use.answer.basis == "tag" for use in found.uses)
    if by_tag:
        out.note(f"{by_tag} of {len(found.uses)} verdicts stand on tags in the catalog: terms not read")
    scan = found.scan
    for place in scan.unresolved:
        out.detail(f"{place.path}:{place.line}:{place.column}: chosen at run time: {place.text}")
    for one in scan.skipped:
        out.detail(f"{one.path}: not read: {one.reason}")
    parts = []
    if scan.unresolved:
        parts.append(f"{len(scan.unresolved)} places choose their model at run time")
    if found.unread:
        languages = ", ".join(f"{count} {ending}" for ending, count in sorted(found.unread.items()))
        parts.append(f"no reader knows {languages} files")
    if (others := len(scan.skipped) - sum(found.unread.values())) > 0:
        parts.append(f"{others} files or folders were not read")
    if before := sum(use.before for use in found.uses):
        parts.append(f"{before} models were named before")
    if found.aside.own:
        parts.append(f"{len(found.aside.own)} models are your own")
    if ignored := len(found.aside.ignored) + len(scan.ignored):
        parts.append(f"{ignored} are ignored on request")
    if parts and not out.verbose:
        out.note(f"not judged: {'; '.join(parts)} (-v lists them)")


def _write_sarif(found: Audit, path: str) -> None:
    text = json.dumps(as_sarif(found, Path.cwd()), indent=2) + "\n"
    write_atomically(Path(path).expanduser(), text, fix="name a file in a folder that exists and is writable")
