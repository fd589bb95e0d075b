"""Writes a company's obligations for its models as files: what licenses prescribe, word for word, and the rest.

`render` is pure; `write` puts its files into a directory:

- Notice.txt: the sentences that licenses prescribe for "a Notice text file", and nothing else;
- NOTICE: the models, what they were made from, and their licenses;
- ATTRIBUTION.txt: the lines to show, and where;
- LICENSES/ID.txt: copies of the terms, where modelpick keeps the text or a model's repository holds it unchanged;
- OBLIGATIONS.md: everything, to tick off, with the clause that asks for it, and where to fetch the other copies.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from modelpick import files
from modelpick.catalog.model import Model
from modelpick.errors import UsageError, printable
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.license import License, LicenseIndex
from modelpick.licensing.license_text import read_text
from modelpick.licensing.load import license_text
from modelpick.licensing.outcome import Obligation, Verdict
from modelpick.licensing.verdict import Judgement

NOTICE, ATTRIBUTION, OBLIGATIONS, COPIES = "NOTICE", "ATTRIBUTION.txt", "OBLIGATIONS.md", "LICENSES"
_SHOWN = ("attribution", "attribution_of_derivatives")

TextOf = Callable[[str], str | None]  # the id of a license -> its text, if it is kept


def render(
    judgements: Sequence[Judgement], license_index: LicenseIndex, text_of: TextOf = lambda id: None
) -> Mapping[str, str]:
    """File name -> text. Raises UsageError(code="not_allowed") for a model that may not be used."""
    for answer in judgements:
        if answer.verdict > Verdict.CONDITIONS:
            raise UsageError(
                f"{answer.model} is {answer.verdict.value}, so its obligations are not known",
                fix="leave it out, or record a decision first (modelpick policy approve)",
                code="not_allowed",
            )
    licenses = {license.id: license for answer in judgements for license in _licenses(answer, license_index)}
    copies = {license: text_of(id) for id, license in licenses.items() if license.owes.copy_of_license}
    written = dict(texts(judgements, license_index))
    written[OBLIGATIONS] += _to_fetch([license for license, text in copies.items() if not text])
    return {**written, **{_copy_name(license): text for license, text in copies.items() if text}}


def texts(judgements: Sequence[Judgement], license_index: LicenseIndex) -> Mapping[str, str]:
    """As `render` without the copies, whatever the verdict: for a model that a named person has allowed.

    All text is made printable.
    """
    licenses = {answer.model: _licenses(answer, license_index) for answer in judgements}
    texts = {NOTICE: _notice(judgements, licenses), OBLIGATIONS: _obligations(judgements, licenses)}
    texts |= _prescribed(license for found in licenses.values() for license in found)
    attributions = _attributions(judgements, licenses)
    if attributions:
        texts[ATTRIBUTION] = attributions
    return {name: printable(text, keep="\n") for name, text in texts.items()}


def texts_at_hand(models: Sequence[Model], facts: LicenseFacts) -> TextOf:
    """A license's text as modelpick keeps it, else the file of one of `models` that is this text, word for word."""

    def holds(text: str, id: str) -> bool:
        readings = read_text(text, facts.fingerprints, facts.licenses)
        whole = all(reading.kind == "whole" for reading in readings)
        return whole and any(license.id == id for reading in readings for license in reading.licenses)

    def text_of(id: str) -> str | None:
        kept = license_text(id)
        if kept is not None:
            return kept
        theirs = (text for model in models for text in model.texts.values())
        return next((printable(text, keep="\n\t\f") for text in theirs if holds(text, id)), None)

    return text_of


def write(
    judgements: Sequence[Judgement], license_index: LicenseIndex, directory: Path, text_of: TextOf = license_text
) -> tuple[Path, ...]:
    """Write the files into `directory` (made if absent) and return their paths.

    Raises UsageError(code="cannot_write") where it cannot; each file is then the old one or the new one.
    """
    texts = render(judgements, license_index, text_of)
    paths = tuple(directory / name for name in texts)
    try:
        for folder in {path.parent for path in (directory / NOTICE, *paths)}:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{directory} cannot be made: {error.strerror}", fix="name a folder you may write", code="cannot_write"
        ) from error
    for path, text in zip(paths, texts.values(), strict=True):
        files.write_atomically(path, text)
    return paths


def _licenses(answer: Judgement, license_index: LicenseIndex) -> tuple[License, ...]:
    return tuple(license_index.by_id[id] for id in answer.license_ids if id in license_index.by_id)


def _prescribed(licenses: Iterable[License]) -> dict[str, str]:
    """The notice files that licenses prescribe, by name, with their sentences: each once, and not a word more."""
    sentences: dict[str, dict[str, None]] = {}
    for license in licenses:
        if license.owes.notice_file and license.owes.notice_text:
            sentences.setdefault(f"{license.owes.notice_file}.txt", {})[license.owes.notice_text] = None
    return {name: "".join(f"{sentence}\n" for sentence in said) for name, said in sentences.items()}


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
        shown = [obligation for obligation in answer.obligations if obligation.code in _SHOWN]
        if not shown:
            continue
        lines += [_name(answer), *(f"  {obligation.text}{_place(obligation)}" for obligation in shown)]
        lines += [f"  {license.owes.attribution}" for license in licenses[answer.model] if license.owes.attribution]
        lines += [f"  {license.title}: {link}" for license in licenses[answer.model] for link in _links(license)]
        lines.append("")
    return "\n".join(lines)


def _obligations(judgements: Iterable[Judgement], licenses: Mapping[str, tuple[License, ...]]) -> str:
    lines = ["# What you must do to use these models", ""]
    for answer in judgements:
        lines += [f"## {_name(answer)}", "", f"Verdict: {answer.verdict.value}", ""]
        lines += [f"- [ ] {obligation.text}{_place(obligation)}" for obligation in answer.obligations] or [
            "Nothing beyond keeping notices."
        ]
        links = [f"- {license.title}: {link}" for license in licenses[answer.model] for link in _links(license)]
        lines += ["", "Texts and policies:", "", *links, ""] if links else [""]
    return "\n".join(lines)


def _to_fetch(licenses: Sequence[License]) -> str:
    """What says where to fetch the texts that are not kept here."""
    if not licenses:
        return ""
    lines = [
        f"- [ ] {_copy_name(license)}: {license.title}, the license file of the model's repository; its text is also "
        f"at {_links(license)[0]}"
        for license in licenses
    ]
    return "\n".join(["", "## Copies that you must fetch: these texts are not at hand", "", *lines, ""])


def _copy_name(license: License) -> str:
    return f"{COPIES}/{license.id}.txt"


def _place(obligation: Obligation) -> str:
    """Where the license asks for it."""
    clause = obligation.clause
    return f' ({clause.license}, {clause.section}: "{clause.words}")' if clause else ""


def _name(answer: Judgement) -> str:
    return f"{answer.model}@{answer.revision}" if answer.revision else f"{answer.model} (revision not known)"


def _spdx(license: License) -> str:
    return f" (SPDX-License-Identifier: {license.spdx})" if license.spdx else ""


def _links(license: License) -> tuple[str, ...]:
    """Where the license, and its use policy, can be read: addresses first, else where its facts were read."""
    if license.source.links:
        return tuple(link if "://" in link else f"https://{link}" for link in license.source.links)
    return license.source.texts
