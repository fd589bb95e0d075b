"""Writes what a company owes for its models as files: NOTICE, attribution texts, a list of what else to do.

`render` is pure; `write` puts its files into a directory.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from modelpick.errors import UsageError
from modelpick.licensing.license import License, LicenseIndex
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.verdict import Judgement

NOTICE, ATTRIBUTION, OBLIGATIONS = "NOTICE", "ATTRIBUTION.txt", "OBLIGATIONS.md"


def render(judgements: Sequence[Judgement], license_index: LicenseIndex) -> Mapping[str, str]:
    """File name -> text. Raises UsageError for a model that may not be used: nothing is owed for it."""
    for answer in judgements:
        if answer.verdict > Verdict.CONDITIONS:
            raise UsageError(
                f"{answer.model} is {answer.verdict.value}: what would be owed is not known",
                fix="leave it out, or settle it first (modelpick policy approve)",
                code="not_allowed",
            )
    return texts(judgements, license_index)


def texts(judgements: Sequence[Judgement], license_index: LicenseIndex) -> Mapping[str, str]:
    """As `render`, whatever the verdict: for what a named person has allowed."""
    found = {answer.model: _licenses(answer, license_index) for answer in judgements}
    made = {NOTICE: _notice(judgements, found), OBLIGATIONS: _obligations(judgements, found)}
    attributions = _attributions(judgements, found)
    if attributions:
        made[ATTRIBUTION] = attributions
    return made


def write(judgements: Sequence[Judgement], license_index: LicenseIndex, directory: Path) -> tuple[Path, ...]:
    """Write the files into `directory` (made if absent) and return their paths. Raises UsageError where it cannot."""
    made = render(judgements, license_index)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, text in made.items():
            (directory / name).write_text(text, encoding="utf-8", newline="\n")
            paths.append(directory / name)
    except OSError as error:
        raise UsageError(
            f"{directory} cannot be written: {error.strerror}",
            fix="name a directory you may write",
            code="cannot_write",
        ) from error
    return tuple(paths)


def _licenses(answer: Judgement, license_index: LicenseIndex) -> tuple[License, ...]:
    return tuple(license_index.by_id[id] for id in answer.license_ids if id in license_index.by_id)


def _notice(judgements: Iterable[Judgement], found: Mapping[str, tuple[License, ...]]) -> str:
    lines = ["This product includes or is built on the following models.", ""]
    for answer in judgements:
        lines.append(_name(answer))
        lines += [f"  derived from {step.model}" for step in answer.lineage]
        for one in found[answer.model]:
            by = f", {one.steward}" if one.steward else ""
            lines.append(f"  licensed under {one.title}{by}{_spdx(one)}")
            if one.owes.notice_text:
                lines.append(f"  {one.owes.notice_text}")
        lines.append("")
    return "\n".join(lines)


def _attributions(judgements: Iterable[Judgement], found: Mapping[str, tuple[License, ...]]) -> str:
    lines = []
    for answer in judgements:
        owed = [obligation.text for obligation in answer.obligations if obligation.code == "attribution"]
        if not owed:
            continue
        lines += [_name(answer), *(f"  {text}" for text in owed)]
        lines += [f"  {one.title}: {link}" for one in found[answer.model] for link in _links(one)]
        lines.append("")
    return "\n".join(lines)


def _obligations(judgements: Iterable[Judgement], found: Mapping[str, tuple[License, ...]]) -> str:
    lines = ["# What using these models asks of you", ""]
    for answer in judgements:
        lines += [f"## {_name(answer)}", "", f"Verdict: {answer.verdict.value}", ""]
        lines += [f"- [ ] {obligation.text}" for obligation in answer.obligations] or [
            "Nothing beyond keeping notices."
        ]
        links = [f"- {one.title}: {link}" for one in found[answer.model] for link in _links(one)]
        lines += ["", "Texts and policies:", "", *links, ""] if links else [""]
    return "\n".join(lines)


def _name(answer: Judgement) -> str:
    return f"{answer.model}@{answer.revision}" if answer.revision else f"{answer.model} (revision not known)"


def _spdx(one: License) -> str:
    return f" (SPDX-License-Identifier: {one.spdx})" if one.spdx else ""


def _links(one: License) -> tuple[str, ...]:
    """Where the license, and its use policy, can be read: addresses first, else where its facts were read."""
    if one.source.links:
        return tuple(link if "://" in link else f"https://{link}" for link in one.source.links)
    return one.source.texts
