"""Freezes what was decided (commit, license texts, verdict, policy) and finds what has changed since.

`lock_of` and `drift` are pure; `write` and `load` are the file, modelpick.lock.json: sorted, one entry a model, so that
a change is a readable diff.
"""

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelpick import files
from modelpick.catalog.model import Model
from modelpick.catalog.terms import kind_of
from modelpick.errors import UsageError, printable_json
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement
from modelpick.schema import read, to_json

SCHEMA_VERSION = 1
FILE = "modelpick.lock.json"
_CODE = "bad_lock_file"
_FIX = "write it again with: modelpick lock MODEL..."


@dataclass(frozen=True, slots=True)
class LockedModel:
    """One model as it was decided: commit, SHA-256 of each file of terms, licenses, verdict and ancestors."""

    model: str
    verdict: Verdict
    licenses: tuple[str, ...]
    texts: Mapping[str, str]
    lineage: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    revision: str | None = None  # None: the embedded catalog's facts, which know no commit


@dataclass(frozen=True, slots=True)
class Lock:
    """All models that were frozen together, and the policy they were judged by."""

    policy: str
    policy_sha256: str
    models: tuple[LockedModel, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that changed: of which model (or the policy), what, from what, to what."""

    model: str
    what: str
    was: str
    now: str

    @property
    def text(self) -> str:
        """The change in one sentence."""
        return f"{self.model}: {self.what} was {self.was}, is {self.now}"

    def as_json(self) -> dict[str, str]:
        """For `verify --json`."""
        return {**to_json(self), "text": self.text}


def locked(model: Model, answer: Judgement) -> LockedModel:
    """One model's entry. The texts are those of the license files and use policies, not of the card."""
    texts = {
        name: _digest(text) for name, text in sorted(model.texts.items()) if kind_of(name) in ("license", "use_policy")
    }
    return LockedModel(
        model=answer.model,
        revision=answer.revision,
        verdict=answer.verdict,
        licenses=tuple(sorted(answer.license_ids)),
        texts=texts,
        lineage=tuple(f"{step.model}: {step.license}" for step in answer.lineage),
        reasons=tuple(sorted({reason.code for reason in answer.reasons})),
    )


def lock_of(answers: Iterable[tuple[Model, Judgement]], policy: Policy) -> Lock:
    """The lock of several models, sorted by id."""
    entries = sorted((locked(model, answer) for model, answer in answers), key=lambda entry: entry.model.lower())
    return Lock(policy.name, policy.sha256, tuple(entries))


def drift(before: Lock, after: Lock) -> tuple[Drift, ...]:
    """What changed between two locks. A changed commit alone is a change: its files may say something else."""
    changes = []
    if before.policy_sha256 != after.policy_sha256:
        changes.append(
            Drift(f"policy {before.policy}", "sha256", _short(before.policy_sha256), _short(after.policy_sha256))
        )
    now = {entry.model.lower(): entry for entry in after.models}
    for was in before.models:
        changes += _changes(was, now[was.model.lower()]) if was.model.lower() in now else [_gone(was)]
    return tuple(changes)


def _changes(was: LockedModel, now: LockedModel) -> Sequence[Drift]:
    pairs: list[tuple[str, object, object]] = [
        ("verdict", was.verdict.value, now.verdict.value),
        ("revision", was.revision or "not known", now.revision or "not known"),
        ("licenses", ", ".join(was.licenses) or "none", ", ".join(now.licenses) or "none"),
        ("lineage", "; ".join(was.lineage) or "none", "; ".join(now.lineage) or "none"),
    ]
    names = sorted({*was.texts, *now.texts})
    pairs += [(name, _short(was.texts.get(name, "absent")), _short(now.texts.get(name, "absent"))) for name in names]
    return [Drift(was.model, what, str(old), str(new)) for what, old, new in pairs if old != new]


def _gone(was: LockedModel) -> Drift:
    return Drift(was.model, "model", "there", "not found")


def write(lock: Lock, path: Path) -> None:
    """Write a lock: wholly, or not at all, and then the old one stays. Raises UsageError(code="bad_lock_file")."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **to_json(lock)}, indent=2, ensure_ascii=False)
    files.write_atomically(path, printable_json(text) + "\n", code=_CODE)


def load(path: Path) -> Lock:
    """Read a lock.

    Raises UsageError(code="bad_lock_file") for a file that is not a lock, for one that names no model (it would verify
    whatever happens), and for one of another version, with the command that writes it anew.
    """
    table = files.read_json(path, code=_CODE, fix=_FIX)
    if not isinstance(table, dict):
        raise UsageError(f"{path} is not a lock: it does not contain a JSON object", fix=_FIX, code=_CODE)
    version = table.pop("schema_version", None)
    if type(version) is not int or version != SCHEMA_VERSION:  # True is 1 to Python
        raise _other_version(path, version, table)
    lock = read(Lock, table, str(path), _CODE)
    if not lock.models:
        raise UsageError(f"{path} names no model, so there is nothing to verify", fix=_FIX, code=_CODE)
    return lock


def _other_version(path: Path, version: object, table: Mapping[str, object]) -> UsageError:
    """Why the file is not read, and the command that writes the same lock in this version, as far as it is known."""
    newer = type(version) is int and version > SCHEMA_VERSION
    if newer:
        text = f"{path} was written by a newer modelpick (schema_version {version}; this one reads {SCHEMA_VERSION})"
        return UsageError(text, fix="update modelpick", code=_CODE)
    entries = table.get("models")
    models = [entry.get("model") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    names = [shlex.quote(name) for name in models if isinstance(name, str) and name]
    text = f"{path} has schema_version {version!r}, this modelpick reads {SCHEMA_VERSION}"
    command = f"modelpick lock {' '.join(names)} --output {shlex.quote(str(path))}"
    return UsageError(text, fix=f"write it again with: {command}" if names else _FIX, code=_CODE)


def _digest(text: str) -> str:
    """SHA-256 of a text; line ends do not matter, since a checkout may change them."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode("utf-8", "surrogatepass")).hexdigest()


def _short(digest: str) -> str:
    return digest[:12]
