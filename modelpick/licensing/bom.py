"""The AI bill of materials as CycloneDX 1.6 or SPDX 3.0.1: one function for license, lock and audit. I/O."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from modelpick import files
from modelpick.licensing import bom_cyclonedx, bom_spdx
from modelpick.licensing.bom_inventory import inventory
from modelpick.licensing.license import LicenseIndex
from modelpick.licensing.verdict import Judgement

Format = Literal["cyclonedx", "spdx"]
_DEFAULT: dict[Format, Path] = {"cyclonedx": Path("modelpick.cdx.json"), "spdx": Path("modelpick.spdx.json")}


def file_of(asked: str) -> tuple[Path, Format]:
    """The file and the format that --bom asks for: the name of a format, or of a file (*.spdx.json is SPDX)."""
    for format, path in _DEFAULT.items():
        if asked == format:
            return path, format
    return Path(asked), "spdx" if ".spdx" in Path(asked).name.lower() else "cyclonedx"


def render(
    answers: Sequence[Judgement],
    license_index: LicenseIndex,
    *,
    policy: str = "",
    format: Format = "cyclonedx",
    made_at: str | None = None,
) -> str:
    """The bill of materials as text; the same answers and time (UTC, ISO 8601) give the same bytes.

    Raises UsageError where CycloneDX is asked for without the extra `bom`, and for a result that is not valid.
    """
    listed = inventory(answers, policy)
    write_as = bom_spdx.text_of if format == "spdx" else bom_cyclonedx.text_of
    return write_as(listed, license_index, made_at)


def write(
    asked: str, answers: Sequence[Judgement], license_index: LicenseIndex, *, policy: str, made_at: str | None = None
) -> Path:
    """Write the bill of materials that --bom asks for, and return its path. Raises UsageError as `render` does."""
    path, format = file_of(asked)
    files.write_atomically(path, render(answers, license_index, policy=policy, format=format, made_at=made_at))
    return path
