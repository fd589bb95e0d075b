"""The license check before anything is trained, served or paid for, and the notices copied with the result.

`require` is the one gate: finetune, serve and the launch of a machine all call it, so they cannot differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modelpick import files
from modelpick.catalog.folder import copy_terms
from modelpick.catalog.lookup import download
from modelpick.catalog.model import Model
from modelpick.catalog.terms import kind_of
from modelpick.errors import CannotTellError, ModelpickError
from modelpick.licensing import notice
from modelpick.licensing.judge_models import judge_model, policy_in_force
from modelpick.licensing.license import LicenseIndex
from modelpick.licensing.load import load_licenses
from modelpick.licensing.outcome import Obligation, Verdict
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement


class LicenseDeniedError(ModelpickError):
    """The policy denies this model, or this training data."""


class LicenseReviewError(CannotTellError):
    """A person must decide first, and no decision was given."""


@dataclass(frozen=True, slots=True)
class Permission:
    """A model that passed the license check. `policy` is the policy's name, `reviewed_by` who decided a review.

    `files` are the texts that must accompany a derived model, by file name: NOTICE, attributions, obligations.
    """

    model: str
    revision: str | None
    verdict: Verdict
    policy: str
    licenses: tuple[str, ...]
    obligations: tuple[Obligation, ...]
    lineage: tuple[str, ...]
    name_prefix: str | None
    reviewed_by: str | None = None
    files: tuple[tuple[str, str], ...] = ()

    def as_json(self) -> dict[str, object]:
        """The `license` object of run.json."""
        return {
            "model": self.model,
            "revision": self.revision,
            "verdict": self.verdict.value,
            "policy": self.policy,
            "licenses": list(self.licenses),
            "obligations": [obligation.as_json() for obligation in self.obligations],
            "lineage": list(self.lineage),
            "reviewed_by": self.reviewed_by,
        }


def require(judgement: Judgement, *, policy: str, reviewed_by: str | None = None) -> None:
    """Refuse a model that may not be used: the one gate before training, serving and paying for a machine.

    `policy` is the policy's name, for the message. `reviewed_by` names the person who decided a review; a denial
    cannot be decided away, the policy would have to change.

    Raises LicenseDeniedError(code="license_denied") for deny and LicenseReviewError(code="license_review") for review.
    """
    reasons = [reason.text for reason in judgement.reasons if reason.verdict is judgement.verdict]
    why = "; ".join(reasons[:2]) or f"see modelpick license {judgement.model}"
    if judgement.verdict is Verdict.DENY:
        raise LicenseDeniedError(
            f"policy {policy} denies {judgement.model}: {why}",
            fix="choose another model with `modelpick recommend`; "
            f"`modelpick license {judgement.model}` shows the evidence",
            code="license_denied",
        )
    if judgement.verdict is Verdict.REVIEW and not (reviewed_by or "").strip():
        raise LicenseReviewError(
            f"a person must decide on the license of {judgement.model}: {why}",
            fix="record the decision with `modelpick policy approve`, or name who decided with --reviewed-by",
            code="license_review",
        )


def require_read(judgement: Judgement, *, reviewed_by: str | None = None) -> None:
    """Refuse a verdict that stands on a tag alone: nothing of the repository was read.

    Raises LicenseReviewError(code="terms_not_read"), unless `reviewed_by` names a person who decided.
    """
    if judgement.own_basis == "tag" and not (reviewed_by or "").strip():
        raise LicenseReviewError(
            f"only the tag of {judgement.model} is known, its card and its terms were not read",
            fix="let it ask the Hub (without --offline), give a local folder of its files, or name who decided with "
            "--reviewed-by",
            code="terms_not_read",
        )


def _judged_on_files(model: str, policy: str | Policy | None, offline: bool) -> Judgement:
    """The verdict on a model; where the Hub was not asked, on the files of it that are on this machine."""
    judgement = judge_model(model, policy=policy, offline=offline)
    if judgement.own_basis != "tag":
        return judgement
    id, _, revision = model.partition("@")
    try:
        kept = download(id, revision or None, offline=True)
    except ModelpickError:
        return judgement
    return replace(judge_model(str(kept), policy=policy, offline=offline), model=judgement.model)


def permission_for(
    model: str, policy: str | Policy | None, *, reviewed_by: str | None = None, offline: bool = False
) -> Permission:
    """Judge a model and its ancestors under a policy (None: the one of the settings).

    Raises as `require` and `require_read`, and UsageError or RemoteError as `judge_model`.
    """
    judgement = _judged_on_files(model, policy, offline)
    policy_name = policy_in_force(policy).name
    require(judgement, policy=policy_name, reviewed_by=reviewed_by)
    require_read(judgement, reviewed_by=reviewed_by)
    license_index = load_licenses()
    return Permission(
        model=judgement.model,
        revision=judgement.revision,
        verdict=judgement.verdict,
        policy=policy_name,
        licenses=judgement.license_ids,
        obligations=judgement.obligations,
        lineage=tuple(step.model for step in judgement.lineage),
        name_prefix=_name_prefix(judgement, license_index),
        reviewed_by=reviewed_by,
        files=tuple(notice.texts([judgement], license_index).items()),
    )


def _name_prefix(judgement: Judgement, license_index: LicenseIndex) -> str | None:
    """The prefix that one of the licenses requires in the names of derived models."""
    licenses = (license_index.by_id[id] for id in judgement.license_ids if id in license_index.by_id)
    return next((license.owes.name_prefix for license in licenses if license.owes.name_prefix), None)


def output_name(folder: Path, permission: Permission) -> str:
    """The name of the tuned model: the folder's, with the prefix its license requires."""
    prefix = permission.name_prefix
    name = folder.resolve().name
    if prefix and not name.lower().startswith(prefix.lower()):
        return f"{prefix.replace(' ', '-')}-{name}"
    return name


def write_notices(permission: Permission, base: Path, target: Path, name: str) -> list[str]:
    """Copy the base's license and notice files next to the result and write what the license requires.

    Returns the names written. Where the base came without its license text, NOTICE says that it has to be added: an
    obligation to pass it on is not met by silence.
    """
    written = list(copy_terms(base, target))
    head = f"{name} was fine-tuned from {permission.model}; its weights differ from those of the base.\n\n"
    if not any(kind_of(file_name) == "license" for file_name in written):
        head += "The base model came without its license text: add it before you pass this model on.\n\n"
    for own_name, text in permission.files:
        taken = own_name.lower() in map(str.lower, written)
        file_name = f"{own_name}.modelpick" if taken else own_name
        files.write_atomically(target / file_name, (head if own_name == "NOTICE" else "") + text)
        written.append(file_name)
    return written


def judge_sources(
    sources: Sequence[str], policy: str | Policy | None, *, offline: bool = True
) -> tuple[Verdict, tuple[str, ...]]:
    """(verdict, reasons) of the policy's training-data rules on the sources that examples declare.

    The sources are judged as the data sets of a model under a permissive license, so that only the data count; their
    cards are asked of the Hub unless `offline`.
    """
    if not sources:
        return Verdict.ALLOW, ()
    ours = Model(id="local/declared-data", origin="folder", license="apache-2.0", datasets=tuple(sorted(set(sources))))
    judgement = judge_model(ours, policy=policy, offline=offline)
    reasons = tuple(reason.text for reason in judgement.reasons if reason.code.startswith("training_data"))
    return (judgement.verdict if reasons else Verdict.ALLOW), reasons


def refuse_restricted_data(
    sources: Sequence[str], policy: str | Policy | None, reviewed_by: str | None, *, offline: bool = True
) -> tuple[str, ...]:
    """What the policy says of declared data sources.

    Raises LicenseDeniedError(code="data_denied") or LicenseReviewError(code="data_review"), as `require` for a model.
    """
    verdict, reasons = judge_sources(sources, policy, offline=offline)
    if verdict is Verdict.DENY:
        raise LicenseDeniedError(
            f"the policy denies the training data: {reasons[0]}", fix="leave those examples out", code="data_denied"
        )
    if verdict is Verdict.REVIEW and not (reviewed_by or "").strip():
        raise LicenseReviewError(
            f"a person must decide on the training data: {reasons[0]}",
            fix="leave those examples out, or name who decided with --reviewed-by",
            code="data_review",
        )
    return reasons
