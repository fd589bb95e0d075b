"""Writes a company's obligations for its models as files: NOTICE, attribution texts, a list of what else to do.

`render` is pure; `write` puts its files into a directory.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from modelpick import files
from modelpick.errors import UsageError, printable
from modelpick.licensing.license import License, LicenseIndex
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.verdict import Judgement

NOTICE, ATTRIBUTION, OBLIGATIONS = "NOTICE", "ATTRIBUTION.txt", "OBLIGATIONS.md"


def render(judgements: Sequence[Judgement], license_index: LicenseIndex) -> Mapping[str, str]:
    """File name -> text. Raises UsageError(code="not_allowed") for a model that may not be used."""
    for answer in judgements:
        if answer.verdict > Verdict.CONDITIONS:
            raise UsageError(
                f"{answer.model} is {answer.verdict.value}, so its obligations are not known",
                fix="leave it out, or record a decision first (modelpick policy approve)",
                code="not_allowed",
            )
    return texts(judgements, license_index)


def texts(judgements: Sequence[Judgement], license_index: LicenseIndex) -> Mapping[str, str]:
    """As `render`, whatever the verdict: for a model that a named person has allowed. All text is made printable."""
    licenses = {answer.model: _licenses(answer, license_index) for answer in judgements}
    texts = {NOTICE: _notice(judgements, licenses), OBLIGATIONS: _obligations(judgements, licenses)}
    attributions = _attributions(judgements, licenses)
    if attributions:
        texts[ATTRIBUTION] = attributions
    return {name: printable(text, keep="\n") for name, text in texts.items()}


def write(judgements: Sequence[Judgement], license_index: LicenseIndex, directory: Path) -> tuple[Path, ...]:
    """Write the files into `directory` (made if absent) and return their paths.

    Raises UsageError(code="cannot_write") where it cannot; each file is then the old one or the new one.
    """
    texts = render(judgements, license_index)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{directory} cannot be made: {error.strerror}", fix="name a folder you may write", code="cannot_write"
        ) from error
    paths = tuple(directory / name for name in texts)
    for path, text in zip(paths, texts.values(), strict=True):
        files.write_atomically(path, text)
    return paths


def _licenses(answer: Judgement, license_index: LicenseIndex) -> tuple[License, ...]:
    return tuple(license_index.by_id[id] for id in answer.license_ids if id in license_index.by_id)


def _notice(judgements: Iterable[Judgement], licenses: Mapping[str, tuple[License, ...]]) -> str:
    lines = ["This product includes or is built on the following models.", ""]
    for answer in judgements:
        lines.append(_name(answer))
        lines += [f"  derived from {step.model}" for step in answer.lineage]
        for license in licenses[answer.model]:
            by = f", {license.steward}" if license.steward else ""
            lines.append(f"  licensed under {license.title}{by}{_spdx(license)}")
            if license.owes.notice_text:
                lines.append(f"  {license.owes.notice_text}")
        lines.append("")
    return "\n".join(lines)


def _attributions(judgements: Iterable[Judgement], licenses: Mapping[str, tuple[License, ...]]) -> str:
    lines = []
    for answer in judgements:
        attributions = [obligation.text for obligation in answer.obligations if obligation.code == "attribution"]
        if not attributions:
            continue
        lines += [_name(answer), *(f"  {text}" for text in attributions)]
        lines += [f"  {license.title}: {link}" for license in licenses[answer.model] for link in _links(license)]
        lines.append("")
    return "\n".join(lines)


def _obligations(judgements: Iterable[Judgement], licenses: Mapping[str, tuple[License, ...]]) -> str:
    lines = ["# What you must do to use these models", ""]
    for answer in judgements:
        lines += [f"## {_name(answer)}", "", f"Verdict: {answer.verdict.value}", ""]
        lines += [f"- [ ] {obligation.text}" for obligation in answer.obligations] or [
            "Nothing beyond keeping notices."
        ]
        links = [f"- {license.title}: {link}" for license in licenses[answer.model] for link in _links(license)]
        lines += ["", "Texts and policies:", "", *links, ""] if links else [""]
    return "\n".join(lines)


def _name(answer: Judgement) -> str:
    return f"{answer.model}@{answer.revision}" if answer.revision else f"{answer.model} (revision not known)"


def _spdx(license: License) -> str:
    return f" (SPDX-License-Identifier: {license.spdx})" if license.spdx else ""


def _links(license: License) -> tuple[str, ...]:
    """Where the license, and its use policy, can be read: addresses first, else where its facts were read."""
    if license.source.links:
        return tuple(link if "://" in link else f"https://{link}" for link in license.source.links)
    return license.source.texts
