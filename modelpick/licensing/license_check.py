"""The license gate: nothing is trained before it is known that it may be, and what is owed travels with the result."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelpick.errors import CannotTellError, ModelpickError, UsageError
from modelpick.licensing.judge_models import judge_model

_LICENSE_FILES = ("LICENSE*", "LICENCE*", "COPYING*", "NOTICE*", "USE_POLICY*")


class LicenseDeniedError(ModelpickError):
    """The policy denies this model."""


@dataclass(frozen=True, slots=True)
class Permission:
    """What the gate let pass, in the words of the license contract, and whose word a review rests on."""

    model: str
    revision: str | None
    verdict: str
    policy: str
    licenses: tuple[str, ...]
    obligations: tuple[tuple[str, str], ...]  # (code, text)
    lineage: tuple[str, ...]
    name_prefix: str | None
    reviewed_by: str | None = None
    files: tuple[tuple[str, str], ...] = ()  # (name, text) of NOTICE and what else the license asks to go with it

    def as_json(self) -> dict[str, Any]:
        """For run.json and the model card."""
        return {
            "model": self.model,
            "revision": self.revision,
            "verdict": self.verdict,
            "policy": self.policy,
            "licenses": list(self.licenses),
            "obligations": [{"code": code, "text": text} for code, text in self.obligations],
            "lineage": list(self.lineage),
            "reviewed_by": self.reviewed_by,
        }


def permission_for(
    model: str, policy: str | None, *, reviewed_by: str | None = None, offline: bool = False
) -> Permission:
    """Judge a model and its ancestors under a policy.

    Raises LicenseDeniedError for deny, and CannotTellError(code="license_review") for review unless a named person has
    decided. A denial is not a matter of decision: the policy would have to change.
    """
    from modelpick.licensing import notice
    from modelpick.licensing.load import load_licenses

    judged = judge_model(model, policy=policy, offline=offline)
    answer = judged.as_json()
    book: Any = load_licenses()
    names = tuple(dict.fromkeys(found["id"] for found in answer["licenses"]))
    found = Permission(
        model=answer["model"],
        revision=answer.get("revision"),
        verdict=answer["verdict"],
        policy=policy or "commercial",
        licenses=names,
        obligations=tuple((owed["code"], owed["text"]) for owed in answer["obligations"]),
        lineage=tuple(step["model"] for step in answer["lineage"]),
        name_prefix=_prefix(book, names),
        reviewed_by=reviewed_by,
        files=tuple(notice.texts([judged], book).items()),
    )
    why = "; ".join(reason["text"] for reason in answer["reasons"][:2]) or "see modelpick license"
    if found.verdict == "deny":
        raise LicenseDeniedError(
            f"{model} is denied by policy {found.policy}: {why}",
            fix=f"pick another base: modelpick recommend --task finetune; the evidence: modelpick license {model}",
            code="license_denied",
        )
    if found.verdict == "review" and not reviewed_by:
        raise CannotTellError(
            f"the license of {model} needs a human's decision: {why}",
            fix="modelpick policy approve, or name who decided with --reviewed-by",
            code="license_review",
        )
    return found


def _prefix(book: Any, licenses: tuple[str, ...]) -> str | None:
    for name in licenses:
        found = book.by_id.get(name)
        if found is not None and found.owes.name_prefix:
            return str(found.owes.name_prefix)
    return None


def output_name(folder: Path, permission: Permission) -> str:
    """The name of the tuned model: the folder's, with the prefix its license asks for."""
    prefix = permission.name_prefix
    name = folder.resolve().name
    if prefix and not name.lower().startswith(prefix.lower()):
        return f"{prefix.replace(' ', '-')}-{name}"
    return name


def write_notices(permission: Permission, base: Path, target: Path, name: str) -> list[str]:
    """Copy the base's license and notice files beside the result and write what the license asks for.

    Returns the names written. Where the base came without its license text, NOTICE says that it has to be added: an
    obligation to pass it on is not met by silence.
    """
    written = []
    for pattern in _LICENSE_FILES:
        for file in sorted(base.glob(pattern)):
            if file.is_file():
                shutil.copyfile(file, target / file.name)
                written.append(file.name)
    head = f"{name} was fine-tuned from {permission.model}; its weights differ from those of the base.\n\n"
    if not any(one.lower().startswith(("licen", "copying")) for one in written):
        head += "The base came without its license text: add it before you pass this model on.\n\n"
    for own, text in permission.files:
        mine = own if own not in written else f"{own}.modelpick"
        (target / mine).write_text((head if own == "NOTICE" else "") + text, encoding="utf-8")
        written.append(mine)
    return written


def judge_sources(sources: Sequence[str], policy: str | None) -> tuple[str, tuple[str, ...]]:
    """(verdict, reasons) of the policy's training-data rules on the sources that examples declare.

    They are weighed as the data sets of a model of ours under a permissive license, so that only the data speak.
    """
    from modelpick.catalog.model import Model

    if not sources:
        return "allow", ()
    ours = Model(id="local/declared-data", origin="folder", license="apache-2.0", datasets=tuple(sorted(set(sources))))
    answer = judge_model(ours, policy=policy).as_json()
    reasons = tuple(reason["text"] for reason in answer["reasons"] if reason["code"].startswith("training_data"))
    return (answer["verdict"] if reasons else "allow"), reasons


def refuse_restricted_data(sources: Sequence[str], policy: str | None, reviewed_by: str | None) -> tuple[str, ...]:
    """What the policy says of declared sources. Raises LicenseDeniedError or CannotTellError as for a model."""
    verdict, reasons = judge_sources(sources, policy)
    if verdict == "deny":
        raise LicenseDeniedError(
            f"the training data are denied by the policy: {reasons[0]}",
            fix="leave those examples out",
            code="data_denied",
        )
    if verdict == "review" and not reviewed_by:
        raise CannotTellError(
            f"the training data need a human's decision: {reasons[0]}",
            fix="leave those examples out, or name who decided with --reviewed-by",
            code="data_review",
        )
    return reasons


def refuse_existing(output: Path, *, resume: bool) -> None:
    """Refuse an output folder that already holds something, unless this is the continuation of its run.

    Raises UsageError(code="output_exists"), or code="nothing_to_resume" when there is no run to continue.
    """
    run = output / "run.json"
    if resume and not run.is_file():
        raise UsageError(f"{output} holds no run to resume", fix="leave out --resume", code="nothing_to_resume")
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file", fix="name another folder with --output", code="output_exists")
    if not resume and output.is_dir() and any(_is_kept(path.name) for path in output.iterdir()):
        fix = (
            "continue it with --resume, or name another with --output"
            if run.is_file()
            else "name another with --output"
        )
        raise UsageError(f"{output} exists and is not empty", fix=fix, code="output_exists")


def _is_kept(name: str) -> bool:
    """A run killed before its settings were decided leaves its heartbeat, and perhaps half a file: begun again, nothing
    is lost."""
    return name != "progress.json" and not name.endswith(".partial")
