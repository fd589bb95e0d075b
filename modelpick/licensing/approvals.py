"""Records a person's decision in approvals.toml: reviewable, for one commit, expiring. I/O."""

import json
import re
from pathlib import Path

from modelpick import files
from modelpick.errors import UsageError, printable, printable_json
from modelpick.licensing import load
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.overrides import Approval
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement
from modelpick.schema import IsoDate, to_json

_DAY = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")


def approval_of(
    answer: Judgement, policy: Policy, *, by: str, because: str, until: str, today: str, reject: bool = False
) -> Approval:
    """A person's decision on one answer, bound to its commit and evidence; dates as 2026-11-23.

    Raises UsageError: an approval of anything but a review (a deny needs the policy changed), a rejection of what is
    denied already, no commit, no name or reason, a date that is not a date, past, or more than two years off.
    """
    _refuse_undecidable(answer, reject)
    if answer.revision is None:
        raise _refused(
            f"the commit of {answer.model} is not known",
            "name one: org/name@sha, with the Hub reachable",
            "no_revision",
        )
    if not by.strip() or not because.strip():
        raise _refused("an approval needs a name and a reason", "give --by and --because", "approval_incomplete")
    if not _DAY.fullmatch(until):
        raise _refused(f"--until is {until!r}", "give a date such as 2027-06-30", "bad_date")
    if until < today or int(until[:4]) - int(today[:4]) > 2:
        raise _refused(f"--until is {until}", "give a day from today on, at most two years ahead", "bad_date")
    return Approval(
        model=answer.model,
        revision=answer.revision,
        by=printable(by.strip()),
        because=printable(" ".join(because.split())),
        until=IsoDate(until),
        on=IsoDate(today),
        policy=policy.name,
        overrides=tuple(sorted({reason.code for reason in answer.questions})),
        licenses=answer.license_ids,
        evidence=answer.evidence(),
        verdict="deny" if reject else "conditions",
        product=policy.product,
    )


def _refuse_undecidable(answer: Judgement, reject: bool) -> None:
    """Raise UsageError for an answer that a decision would not change."""
    if answer.verdict is Verdict.DENY and reject:
        raise _refused(f"{answer.model} is denied already", "use another model", "nothing_to_approve")
    if answer.verdict is Verdict.DENY:
        raise _refused(
            f"{answer.model} is denied, and a deny cannot be approved", "change the policy", "deny_not_approvable"
        )
    if answer.verdict is not Verdict.REVIEW and not reject:
        raise _refused(
            f"{answer.model} is {answer.verdict.value}: there is nothing to approve",
            "use it without an approval",
            "nothing_to_approve",
        )


def record(approval: Approval, path: Path) -> None:
    """Add an approval to a file (made if absent); what stands in it stays as it is, comments too.

    A file that is not sound is refused before anything is written. Raises UsageError where it cannot be written.
    """
    load.load_approvals(path)
    values = {key: value for key, value in to_json(approval).items() if value is not None}
    entry = "\n[[approval]]\n" + "".join(f"{key:9} = {_toml(key, value)}\n" for key, value in values.items())
    old = files.read_text(path, code="cannot_write") if path.exists() else ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(
            f"{path.parent} cannot be made: {error.strerror}", "name a file you may write", "cannot_write"
        ) from error
    files.write_atomically(path, old + ("" if not old or old.endswith("\n") else "\n") + entry)


def _toml(key: str, value: object) -> str:
    if key in ("until", "on"):
        return str(value)  # a TOML date
    if isinstance(value, dict):
        pairs = (f"{json.dumps(name, ensure_ascii=False)} = {json.dumps(digest)}" for name, digest in value.items())
        return printable_json(f"{{{', '.join(pairs)}}}", toml=True)
    # JSON's strings and lists of strings are TOML's, but for its longest escapes.
    return printable_json(json.dumps(value, ensure_ascii=False), toml=True)


def _refused(message: str, fix: str, code: str) -> UsageError:
    return UsageError(message, fix=fix, code=code)
