"""The option --bom of license, lock and audit, and the file that it asks for."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from modelpick.licensing import bom
from modelpick.licensing.load import load_licenses
from modelpick.licensing.verdict import Judgement

BomFile = Annotated[
    str | None,
    typer.Option(
        "--bom",
        metavar="FILE|FORMAT",
        help="Write a bill of materials: CycloneDX, or SPDX for *.spdx.json. FORMAT: cyclonedx, spdx.",
    ),
]


def now() -> str:
    """This second in UTC, as files state it: 2026-11-23T10:00:00Z."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def write_bom(asked: str | None, judgements: Sequence[Judgement], policy: str) -> list[Path]:
    """The file that was written, if one was asked for. Raises UsageError as `bom.render` does."""
    if asked is None:
        return []
    return [bom.write(asked, judgements, load_licenses(), policy=policy, made_at=now())]
