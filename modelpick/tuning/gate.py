"""The license gate: nothing is trained before it is known that it may be, and what is owed travels with the result."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelpick.errors import CannotTellError, ModelpickError, UsageError

_HEARTBEAT = ("progress.json", "progress.json.partial")
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
    from modelpick import api
    from modelpick.licensing.files import load_licenses

    judged = api.judge(model, policy=policy, offline=offline)
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


def write_notices(permission: Permission, base: Path | None, target: Path, name: str) -> list[str]:
    """Copy the base's license and notice files beside the result and write NOTICE; returns the names written."""
    written = []
    for pattern in _LICENSE_FILES if base is not None else ():
        for file in sorted(base.glob(pattern)) if base is not None else ():
            if file.is_file():
                shutil.copyfile(file, target / file.name)
                written.append(file.name)
    lines = [f"{name} was fine-tuned from {permission.model}.", ""]
    if permission.licenses:
        lines.append(f"License of the base: {', '.join(permission.licenses)}.")
    lines += [text for code, text in permission.obligations if code == "notice_file"]
    lines += [f"- {text}" for code, text in permission.obligations if code != "notice_file"]
    mine = "NOTICE" if "NOTICE" not in written else "NOTICE.modelpick"
    (target / mine).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [*written, mine]


def judge_sources(sources: Sequence[str], policy: str | None) -> tuple[str, tuple[str, ...]]:
    """(verdict, reasons) of the policy's training-data rules on the sources that examples declare.

    They are weighed as the data sets of a model of ours under a permissive license, so that only the data speak.
    """
    from modelpick import api
    from modelpick.catalog.model import Model

    if not sources:
        return "allow", ()
    ours = Model(id="local/declared-data", origin="folder", license="apache-2.0", datasets=tuple(sorted(set(sources))))
    answer = api.judge(ours, policy=policy).as_json()
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
    # A run killed before its settings were decided leaves its heartbeat only: nothing is lost by beginning again.
    if not resume and output.is_dir() and any(path.name.strip(".") not in _HEARTBEAT for path in output.iterdir()):
        fix = (
            "continue it with --resume, or name another with --output"
            if run.is_file()
            else "name another with --output"
        )
        raise UsageError(f"{output} exists and is not empty", fix=fix, code="output_exists")
